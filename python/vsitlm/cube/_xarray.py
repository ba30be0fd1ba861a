"""xarray's engine: `xr.open_dataset(index, engine="vsitlm", tile="31UDQ")`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import xarray
from xarray.backends import BackendEntrypoint

from ._open import open_cube


class Backend(BackendEntrypoint):  # type: ignore[misc]
    """Opens cubes from an index, by `open_cube`. It is taken where it is named, and never guessed."""

    description = "Time series of Sentinel-2's JPEG 2000 files, from an index of vsitlm"
    url = "https://github.com/vsitlm/vsitlm"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = (
        "filename_or_obj", "drop_variables", "tile", "bands", "datetime", "area", "resolution", "options",
    )  # fmt: skip

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        tile: str | None = None,
        bands: Any = None,
        datetime: Any = None,
        area: Any = None,
        resolution: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> xarray.Dataset:
        """See `open_cube`; `options` are its further arguments."""
        dataset = open_cube(filename_or_obj, tile, bands, datetime, area, resolution, **(options or {}))
        return dataset.drop_vars([drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ()))

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Never: an index is a parquet file like others."""
        return False
