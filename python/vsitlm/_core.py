"""The core of the process: finding it, and making it known to every GDAL.

A process has one core, the library `gdal_vsitlm.so`, whoever loads it. A copy that is loaded already is taken; else one
that GDAL would load by GDAL_DRIVER_PATH; else the package's own.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from ._errors import UnsupportedError, VsitlmWarning, error_of

if TYPE_CHECKING:
    from collections.abc import Mapping

PLUGIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plugin", "gdal_vsitlm.so")
"""The package's own copy; nothing else lies in its folder, so that GDAL can be told to look there."""

VARIABLE = "GDAL_DRIVER_PATH"

file: str | None = None
"""The core's file; `None` where there is none."""

trouble: str | None = None
"""Why there is no core."""


def start() -> None:
    """Loads the core. Warns, and raises nothing, where that cannot be done or a GDAL cannot be served."""
    global file, trouble
    named = os.environ.get(VARIABLE, "")
    folders = [] if named.upper() == "DISABLE" else [folder for folder in named.split(os.pathsep) if folder]
    copies = [os.path.join(folder, os.path.basename(PLUGIN)) for folder in folders]
    try:
        from . import _vsitlm

        file, version = _vsitlm.load([*filter(os.path.exists, copies), PLUGIN])
    except (ImportError, OSError) as error:
        trouble = f"/vsitlm/ is not available: {error}"
        _warn(trouble)
        return
    import atexit

    atexit.register(_vsitlm.close)
    folder = os.path.dirname(file)
    if folder not in folders and named.upper() != "DISABLE":
        os.environ[VARIABLE] = os.pathsep.join([folder, named]) if named else folder
    if version != _vsitlm.PACKAGE_VERSION:
        _warn(f"this process has version {version} of the plugin, {file}; the package's is {_vsitlm.PACKAGE_VERSION}")
    _warn_of_unserved()


def _warn_of_unserved() -> None:
    """Warns of GDALs that were loaded before and cannot be served."""
    from . import _vsitlm

    try:
        told = _vsitlm.gdals()
    except UnsupportedError:
        return
    if "false" in told:
        import json

        for gdal in json.loads(told)["gdals"]:
            if not gdal["served"]:
                _warn(f"/vsitlm/ is not available in GDAL {gdal['version']}, {gdal['path']}: {gdal['reason']}", 5)


def _warn(message: str, level: int = 4) -> None:
    """Warns at the line that imports the package: `level` functions above this one."""
    warnings.warn(message, VsitlmWarning, stacklevel=level)


def require() -> None:
    """Makes sure that there is a core.

    Raises:
        UnsupportedError: There is none, for the reason that was warned of.
    """
    if trouble is not None:
        raise UnsupportedError(trouble)


def texts(options: Mapping[str, object]) -> dict[str, str]:
    """Values of GDAL's configuration options as it has them; those that are None are not set."""
    words = {True: "YES", False: "NO"}
    return {
        name: words[value] if isinstance(value, bool) else str(value)
        for name, value in options.items()
        if value is not None
    }


def question(kind: str, path: str, options: Mapping[str, str] | None = None, **more: object) -> str:
    """A question to the core about a GDAL path, as it is asked; `options` go before those of the thread that asks.
    Members of `more` that are None are left out.
    """
    import json

    told = {name: value for name, value in more.items() if value is not None}
    return json.dumps({"ask": kind, "path": path, "options": options or {}, **told})


def answer(told: str) -> dict[str, Any]:
    """What the core has answered.

    Raises:
        Error: What the core failed with.
    """
    import json

    answer: dict[str, Any] = json.loads(told)
    if "error" in answer:
        raise error_of(answer["error"])
    return answer


def ask(kind: str, path: str, options: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Asks the core about a GDAL path, and waits for the answer without holding the interpreter.

    Raises:
        Error: What the core failed with.
        UnsupportedError: There is no core, or it is too old for the question.
    """
    require()
    from . import _vsitlm

    return answer(_vsitlm.ask_and_wait(question(kind, path, texts(options or {})))[0])


def capsule(kind: str, index: str, options: Mapping[str, str]) -> object:
    """The rows of indexes as Arrow's C interface has them: `kind` is `index_rows` or `index_schema`. Options go before
    those of the thread that asks.

    Raises:
        Error: What the core failed with.
        UnsupportedError: There is no core, or it is too old.
    """
    require()
    import json

    from . import _vsitlm

    told: object = getattr(_vsitlm, kind)(index, json.dumps(options))
    return answer(told) if isinstance(told, str) else told
