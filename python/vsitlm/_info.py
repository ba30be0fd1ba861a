"""What this process has: the core, the GDALs that it serves, and what it has asked of hosts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from . import _core
from ._errors import UnsupportedError


@dataclass(frozen=True)
class Gdal:
    """A libgdal of this process."""

    path: str
    """Its file."""
    version: str
    """Such as `"3.10.3"`."""
    openjpeg: str | None
    """The version of the OpenJPEG that it decodes with, where that can be told."""
    served: bool
    """Whether it knows `/vsitlm/`."""
    reason: str | None
    """Why it does not."""


@dataclass(frozen=True)
class Info:
    """What this process has. `print` shows it to people, `json.dumps(info.as_dict())` to programs."""

    version: str | None
    """The core's version; None where there is no core."""
    plugin: str | None
    """The core's file."""
    gdals: tuple[Gdal, ...]
    """The GDALs that have been loaded so far."""
    reason: str | None
    """Why there is no core, or why it does not tell the GDALs."""

    def as_dict(self) -> dict[str, Any]:
        """The same in dicts and lists."""
        return asdict(self) | {"gdals": [asdict(gdal) for gdal in self.gdals]}

    def __str__(self) -> str:
        lines = [f"vsitlm {self.version}, {self.plugin}"] if self.plugin else []
        for gdal in self.gdals:
            openjpeg = f" with OpenJPEG {gdal.openjpeg}" if gdal.openjpeg else ""
            served = "served" if gdal.served else f"not served: {gdal.reason}"
            lines.append(f"GDAL {gdal.version}{openjpeg}, {gdal.path}: {served}")
        return "\n".join([*lines, *filter(None, [self.reason])])


def info() -> Info:
    """Tells which GDALs this process has, and whether `/vsitlm/` serves them. Never fails."""
    try:
        _core.require()
        from . import _vsitlm

        version = _vsitlm.version()
        try:
            told, reason = json.loads(_vsitlm.gdals())["gdals"], None
        except UnsupportedError as error:
            told, reason = [], str(error)
    except UnsupportedError as error:
        return Info(None, None, (), str(error))
    return Info(version, _core.file, tuple(Gdal(**gdal) for gdal in told), reason)


def statistics() -> dict[str, Any]:
    """What this process has asked of each host so far: `total`, and `hosts` by their address, each with `requests`,
    `bytes`, `cache_hits`, `shared_fetches`, `retries`, `waits`, `waited_ms` and `read_errors`.

    Raises:
        UnsupportedError: There is no core.
    """
    _core.require()
    from . import _vsitlm

    told: dict[str, Any] = json.loads(_vsitlm.statistics())
    return told
