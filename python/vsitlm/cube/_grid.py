"""Where a cube lies: the pixels of a tile, or those that an area touches."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .._errors import CubeError


@dataclass(frozen=True)
class Grid:
    """A grid of square pixels, north up."""

    epsg: int
    west: float
    """The left edge of the first column."""
    north: float
    """The upper edge of the first row."""
    resolution: float
    """Metres."""
    width: int
    """Columns."""
    height: int
    """Rows."""

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """From columns and rows to coordinates, as rasterio and `proj:transform` have it."""
        return (self.resolution, 0.0, self.west, 0.0, -self.resolution, self.north)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north."""
        east, south = self.west + self.width * self.resolution, self.north - self.height * self.resolution
        return self.west, south, east, self.north

    def coarser(self, resolution: float) -> Grid:
        """The grid of the same image at a multiple of the resolution: a JP2's reduced image has a pixel for each group
        that it begins (T.800 B-15)."""
        times = round(resolution / self.resolution)
        width, height = math.ceil(self.width / times), math.ceil(self.height / times)
        return Grid(self.epsg, self.west, self.north, self.resolution * times, width, height)

    def window(self, x: int, y: int, width: int, height: int) -> Grid:
        """A window of it, in pixels."""
        west, north = self.west + x * self.resolution, self.north - y * self.resolution
        return Grid(self.epsg, west, north, self.resolution, width, height)

    def touched(self, bounds: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
        """The window of the pixels that bounds (west, south, east, north, in its reference system) touch: column, row,
        columns and rows.

        Raises:
            CubeError: They touch none.
        """
        west, south, east, north = bounds
        first = [(west - self.west) / self.resolution, (self.north - north) / self.resolution]
        last = [(east - self.west) / self.resolution, (self.north - south) / self.resolution]
        left, top = (max(math.floor(value), 0) for value in first)
        # An edge on that of a pixel does not touch it; a point touches one.
        right, bottom = (max(math.ceil(end), math.floor(start) + 1) for start, end in zip(first, last, strict=True))
        right, bottom = min(right, self.width), min(bottom, self.height)
        if right <= left or bottom <= top:
            raise CubeError(
                f"the area {tuple(round(value, 3) for value in bounds)} is outside the tile, "
                f"which is {self.bounds} in EPSG:{self.epsg}"
            )
        return left, top, right - left, bottom - top
