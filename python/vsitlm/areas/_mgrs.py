"""Which tiles of the MGRS an area touches: Sentinel-2's are its squares of 100 km, 109.8 km wide."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .._area import projected

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

SIDE, SQUARE, OFF = 109_800.0, 100_000.0, 60.0
"""Metres: of a tile; of a square; and how far a tile's upper left corner is from that of its square, at most."""

BANDS = "CDEFGHJKLMNPQRSTUVWX"
"""Of latitude, 8 degrees each from 80 south on; the last one has 12."""

COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")
"""By the remainder of the zone by 3: the letters of squares from 100 km of easting on."""

ROWS = "ABCDEFGHJKLMNPQRSTUV"
"""Of squares from the equator on, over and over; in even zones from F on."""


def tiles_of(area: BaseGeometry) -> list[str]:
    """The tiles that an area in degrees may touch, by their names: some of them may not exist."""
    west, south, east, north = area.bounds
    # Tiles reach beyond their zone, towards the poles by more: at 80 degrees 60 km are 3 degrees.
    reach = math.degrees(SIDE / 6_371_000 / max(math.cos(math.radians(max(abs(south), abs(north)))), 0.1))
    first, last = (math.floor((longitude + 180) / 6) for longitude in (west - reach, east + reach))
    return sorted({name for number in range(first, last + 1) for name in _of_zone(number, area, reach)})


def _of_zone(number: int, area: BaseGeometry, reach: float) -> Iterator[str]:
    """Those of a zone: the one of that many, from 0 at 180 degrees west on."""
    import shapely

    zone, west = number % 60 + 1, 6 * number - 180
    for hemisphere, low, high in (("N", 0, 90), ("S", -90, 0)):
        part = shapely.intersection(area, shapely.box(west - reach, low, west + 6 + reach, high))
        if part.is_empty:
            continue
        part = projected(part, (32600 if hemisphere == "N" else 32700) + zone)
        shapely.prepare(part)
        left, bottom, right, top = part.bounds
        columns = range(max(math.ceil((left - SIDE) / SQUARE), 1), min(math.floor((right + OFF) / SQUARE), 8) + 1)
        for row in range(math.ceil((bottom - OFF) / SQUARE) - 1, math.floor((top + SIDE - SQUARE) / SQUARE) + 1):
            letter = ROWS[(row + (0 if zone % 2 else 5)) % 20]
            for column in columns:
                x, y = column * SQUARE, (row + 1) * SQUARE
                if part.intersects(shapely.box(x - OFF, y - SIDE, x + SIDE, y + OFF)):
                    letters = COLUMNS[zone % 3][column - 1] + letter
                    yield from (f"{zone:02}{band}{letters}" for band in _bands_of(row, hemisphere))


def _bands_of(row: int, hemisphere: str) -> set[str]:
    """The bands of latitude that a row of squares may be in: away from the central meridian a northing is of less."""
    metres = row * SQUARE - (10_000_000 if hemisphere == "S" else 0)
    found = set()
    for northing in (metres - 0.3 * SQUARE, metres + SQUARE):
        latitude = math.degrees(northing / 0.9996 / 6_367_449)
        found.add(BANDS[min(max(math.floor((latitude + 80) / 8), 0), 19)])
    return found
