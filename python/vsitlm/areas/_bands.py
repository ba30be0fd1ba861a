"""Bands, by the names that products, catalogues and people give them."""

from __future__ import annotations

import re

from ..cube._catalogue import REFLECTANCES

SENTINEL_2 = {
    "coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "rededge": "B05", "rededge1": "B05",
    "rededge2": "B06", "rededge3": "B07", "nir": "B08", "nir08": "B8A", "nir09": "B09", "cirrus": "B10",
    "swir16": "B11", "swir22": "B12", "scl": "SCL", "aot": "AOT", "wvp": "WVP",
}  # fmt: skip
"""Bands by the common names of STAC and the asset keys of catalogues."""

LANDSAT_8 = {
    "coastal": "B1", "blue": "B2", "green": "B3", "red": "B4", "nir08": "B5", "swir16": "B6", "swir22": "B7",
    "pan": "B8", "cirrus": "B9", "lwir11": "B10", "lwir12": "B11",
}  # fmt: skip
"""The same of Landsat 8 and 9."""

LANDSAT_4 = {
    "blue": "B1", "green": "B2", "red": "B3", "nir08": "B4", "swir16": "B5", "lwir": "B6", "swir22": "B7", "pan": "B8",
}  # fmt: skip
"""The same of Landsat 4, 5 and 7 (TM and ETM+)."""

RENAMED = {"CLD": "MSK_CLDPRB"}
"""Files that catalogues have under other names than products: those of Earth Search."""

_LANDSAT = re.compile(r"L([COTEM])(\d\d)_L\d\w\w_")
_LANDSAT_BAND = re.compile(r"(?:SR_|ST_)?(B\d+)")


def is_landsat(product: str) -> bool:
    """Whether a product is one of Landsat's."""
    return _LANDSAT.match(product) is not None


def names_of(product: str, band: str) -> frozenset[str]:
    """All names that a band of a product has, in capitals: its own one, it without zeros and prefixes, common ones."""
    if (satellite := _LANDSAT.match(product)) is not None:
        short = found[1] if (found := _LANDSAT_BAND.fullmatch(band)) else band
        # MSS has other bands than all that came later, and no common names here.
        common = {} if satellite[1] == "M" else LANDSAT_8 if int(satellite[2]) >= 8 else LANDSAT_4
    else:
        short, common = re.sub(r"^B0(\d)$", r"B\1", band), SENTINEL_2
    return frozenset(
        {band.upper(), short.upper(), *(name.upper() for name, of in common.items() if of in (band, short))}
    )


def is_continuous(band: str) -> bool:
    """Whether a band's values are measured ones, which may be interpolated, rather than classes or flags."""
    return band in REFLECTANCES or _LANDSAT_BAND.fullmatch(band) is not None
