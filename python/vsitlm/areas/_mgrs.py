"""Which tiles of the MGRS an area touches: Sentinel-2's are its squares of 100 km, 109.8 km wide."""

from __future__ import annotations

import math
from collections.abc import Iterator

SIDE, SQUARE, OFF = 109_800.0, 100_000.0, 60.0
"""Metres: of a tile; of a square; and how far a tile's upper left corner is from that of its square, at most."""

BANDS = "CDEFGHJKLMNPQRSTUVWX"
"""Of latitude, 8 degrees each from 80 south on; the last one has 12."""

COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")
"""By the remainder of the zone by 3: the letters of squares from 100 km of easting on."""

ROWS = "ABCDEFGHJKLMNPQRSTUV"
"""Of squares from the equator on, over and over; in even zones from F on."""

Bounds = tuple[float, float, float, float]
"""West, south, east and north."""


def tiles_of(bounds: Bounds) -> list[str]:
    """The tiles that bounds in degrees may touch, by their names: some of them may not exist. East is less than west
    where the area crosses 180 degrees.
    """
    west, south, east, north = bounds
    if east < west:
        return sorted({*tiles_of((west, south, 180.0, north)), *tiles_of((-180.0, south, east, north))})
    # Tiles reach beyond their zone, towards the poles by more: at 80 degrees 60 km are 3 degrees.
    reach = math.degrees(SIDE / 6_371_000 / max(math.cos(math.radians(max(abs(south), abs(north)))), 0.1))
    first, last = (math.floor((longitude + 180) / 6) for longitude in (west - reach, east + reach))
    return sorted({name for zone in range(first, last + 1) for name in _of_zone(zone % 60 + 1, bounds)})


def _of_zone(zone: int, bounds: Bounds) -> Iterator[str]:
    """Those of a zone."""
    west, south, east, north = bounds
    for hemisphere, low, high in (("N", max(south, 0.0), north), ("S", south, min(north, 0.0))):
        if low > high:
            continue
        left, bottom, right, top = _projected(zone, hemisphere, (west, low, east, high))
        columns = range(max(math.ceil((left - SIDE) / SQUARE), 1), min(math.floor((right + OFF) / SQUARE), 8) + 1)
        for row in range(math.ceil((bottom - OFF) / SQUARE) - 1, math.floor((top + SIDE - SQUARE) / SQUARE) + 1):
            for band in _bands_of(row, hemisphere):
                letter = ROWS[(row + (0 if zone % 2 else 5)) % 20]
                for column in columns:
                    yield f"{zone:02}{band}{COLUMNS[zone % 3][column - 1]}{letter}"


def _projected(zone: int, hemisphere: str, bounds: Bounds) -> Bounds:
    """Bounds in degrees in a zone."""
    from pyproj import Transformer

    epsg = (32600 if hemisphere == "N" else 32700) + zone
    transformer = Transformer.from_crs("OGC:CRS84", epsg, always_xy=True)
    projected: Bounds = transformer.transform_bounds(*bounds, densify_pts=21)
    return projected


def _bands_of(row: int, hemisphere: str) -> set[str]:
    """The bands of latitude that a row of squares may be in: away from the central meridian a northing is of less."""
    metres = row * SQUARE - (10_000_000 if hemisphere == "S" else 0)
    found = set()
    for northing in (metres - 0.3 * SQUARE, metres + SQUARE):
        latitude = math.degrees(northing / 0.9996 / 6_367_449)
        found.add(BANDS[min(max(math.floor((latitude + 80) / 8), 0), 19)])
    return found
