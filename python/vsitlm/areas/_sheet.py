"""A contact sheet: the dates of a result side by side, as a PNG."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE, GAP = 256, 4
"""Pixels of a picture's longer side, at most, and between pictures."""

SHARES = (2, 98)
"""Percentiles that become black and white."""


def write_sheet(made: Any, out: str) -> None:
    """Writes the first three variables as red, green and blue, or the first one as grey, scaled alike at all dates."""
    import numpy
    import rasterio
    import rasterio.errors

    names = list(made.data_vars)[: 3 if len(made.data_vars) >= 3 else 1]
    step = max(-(-max(made[names[0]].shape[1:]) // SIDE), 1)
    bands = [_scaled(made[name].values[:, ::step, ::step]) for name in names]
    pictures = numpy.stack(bands, 1)
    count, channels, high, wide = pictures.shape
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    sheet = numpy.full((channels, down * (high + GAP) - GAP, across * (wide + GAP) - GAP), 255, "uint8")
    for number, picture in enumerate(pictures):
        row, column = divmod(number, across)
        top, left = row * (high + GAP), column * (wide + GAP)
        sheet[:, top : top + high, left : left + wide] = picture
    profile = {"driver": "PNG", "count": channels, "height": sheet.shape[1], "width": sheet.shape[2], "dtype": "uint8"}
    with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED="NO"):
        # A sheet lies nowhere.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(out, "w", **profile) as file:
            file.write(sheet)


def _scaled(values: NDArray[Any]) -> NDArray[Any]:
    """Values as bytes, 0 where there is no data."""
    import numpy

    valid = values[values > 0]
    low, high = numpy.percentile(valid, SHARES) if valid.size else (0, 1)
    scaled = numpy.clip((values.astype("float32") - low) / max(high - low, 1) * 254 + 1, 1, 255)
    pixels: NDArray[Any] = numpy.where(values > 0, scaled, 0).astype("uint8")
    return pixels
