"""Where a cube lies: the pixels of a tile, or those that an area touches."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .._errors import CubeError


@dataclass(frozen=True)
class Grid:
    """A grid of pixels, north up."""

    epsg: int
    west: float
    """The left edge of the first column."""
    north: float
    """The upper edge of the first row."""
    resolution: float
    """Metres of a pixel's width."""
    width: int
    """Columns."""
    height: int
    """Rows."""
    down: float | None = None
    """Metres of a pixel's height, where that is another one."""

    @property
    def pixel(self) -> tuple[float, float]:
        """Metres of a pixel's width and height."""
        return self.resolution, self.resolution if self.down is None else self.down

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """From columns and rows to coordinates, as rasterio and `proj:transform` have it."""
        across, down = self.pixel
        return (across, 0.0, self.west, 0.0, -down, self.north)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north."""
        across, down = self.pixel
        east, south = self.west + self.width * across, self.north - self.height * down
        return self.west, south, east, self.north

    def coarser(self, resolution: float) -> Grid:
        """The grid of the same image at a multiple of the resolution: a JP2's reduced image has a pixel for each group
        that it begins (T.800 B-15)."""
        times = round(resolution / self.resolution)
        width, height = math.ceil(self.width / times), math.ceil(self.height / times)
        return Grid(self.epsg, self.west, self.north, self.resolution * times, width, height)

    def of_size(self, width: int, height: int) -> Grid:
        """The grid of the same image by so many pixels: an overview of a TIFF has all of the image, whatever its size
        is rounded to."""
        across, down = self.pixel
        across, down = self.width * across / width, self.height * down / height
        return Grid(self.epsg, self.west, self.north, across, width, height, None if down == across else down)

    def window(self, x: int, y: int, width: int, height: int) -> Grid:
        """A window of it, in pixels."""
        across, down = self.pixel
        west, north = self.west + x * across, self.north - y * down
        return Grid(self.epsg, west, north, across, width, height, self.down)

    def touched(self, bounds: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
        """The window of the pixels that bounds (west, south, east, north, in its reference system) touch: column, row,
        columns and rows.

        Raises:
            CubeError: They touch none.
        """
        west, south, east, north = bounds
        across, down = self.pixel
        first = [(west - self.west) / across, (self.north - north) / down]
        last = [(east - self.west) / across, (self.north - south) / down]
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
