"""Where a result lies, and which pixels of which file are to be read for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import CubeError
from ..cube._grid import Area, Grid, bounds_of
from ._files import File

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARGIN = 3
"""Pixels around what a warp needs: the widest kernel, of cubic resampling."""


@dataclass(frozen=True)
class Read:
    """A part of a file that is read for a part of a result."""

    file: File
    factor: int
    """Of the reduced image that is read; 1 is the whole."""
    window: tuple[int, int, int, int]
    """Column, row, columns and rows of that."""
    at: tuple[int, int] | None
    """Row and column of the result where it goes as it is; None where it is warped."""

    def put(self, pixels: NDArray[Any], grid: Grid, resampling: str, nodata: float) -> tuple[Any, NDArray[Any]]:
        """Where the pixels go in an array of the grid, and what goes there."""
        if self.at is not None:
            (row, column), (height, width) = self.at, pixels.shape
            return (slice(row, row + height), slice(column, column + width)), pixels
        import numpy
        from rasterio import Affine
        from rasterio.enums import Resampling
        from rasterio.warp import reproject

        assert self.file.grid is not None
        own = self.file.grid.coarser(self.file.grid.resolution * self.factor).window(*self.window)
        warped: NDArray[Any] = numpy.full((grid.height, grid.width), nodata, pixels.dtype)
        reproject(
            pixels, warped, src_transform=Affine(*own.transform), src_crs=f"EPSG:{own.epsg}", src_nodata=nodata,
            dst_transform=Affine(*grid.transform), dst_crs=f"EPSG:{grid.epsg}", dst_nodata=nodata,
            resampling=Resampling[resampling],
        )  # fmt: skip
        return (slice(None), slice(None)), warped


def grid_of(files: Sequence[File], area: Area | None, resolution: float | None, crs: Any, own: float) -> Grid:
    """The grid of a result: in the files' reference system where they have one, and there on their pixels.

    Raises:
        CubeError: The files have several and none is named, or the area is none.
    """
    grids = [file.grid for file in files if file.grid is not None]
    systems = sorted({grid.epsg for grid in grids})
    if crs is None and len(systems) > 1:
        names = ", ".join(f"EPSG:{epsg}" for epsg in systems)
        raise CubeError(f"the files lie in several reference systems, {names}: name one, crs='EPSG:{systems[0]}'")
    epsg = systems[0] if crs is None else _epsg(crs)
    step = float(resolution or own)
    mine = [grid for grid in grids if grid.epsg == epsg]
    # Pixels lie as those of the files do, where they can.
    west, north = (mine[0].west, mine[0].north) if mine else (0.0, 0.0)
    if area is not None:
        bounds = bounds_of(unwrapped(area), epsg)
    else:
        shown = [grid.bounds if grid.epsg == epsg else _transformed(grid, epsg) for grid in grids]
        lows, highs = zip(*((one[:2], one[2:]) for one in shown), strict=True)
        bounds = (
            min(low[0] for low in lows),
            min(low[1] for low in lows),
            max(high[0] for high in highs),
            max(high[1] for high in highs),
        )
    # An edge on that of a pixel does not touch it; tolerance of a thousandth.
    left, top = math.floor((bounds[0] - west) / step + 1e-3), math.floor((north - bounds[3]) / step + 1e-3)
    right = max(math.ceil((bounds[2] - west) / step - 1e-3), left + 1)
    bottom = max(math.ceil((north - bounds[1]) / step - 1e-3), top + 1)
    return Grid(epsg, west + left * step, north - top * step, step, right - left, bottom - top)


def unwrapped(area: Area) -> Area:
    """Bounds in degrees that cross 180 degrees with an east that is more than their west; others as they are."""
    if isinstance(area, Sequence) and not isinstance(area, str) and len(area) == 4:
        west, south, east, north = map(float, area)
        if 180 >= west > east >= -180:
            return west, south, east + 360, north
    return area


def read_of(file: File, grid: Grid) -> Read | None:
    """What of a file is read for a grid; None where they do not touch.

    Where the file has the grid's pixels, these; else those of the coarsest reduced image that is no coarser.
    """
    own = file.grid
    assert own is not None
    if own.epsg == grid.epsg:
        for factor in (1, *file.factors):
            if math.isclose(own.resolution * factor, grid.resolution):
                there = own.coarser(grid.resolution)
                column, row = (there.west - grid.west) / grid.resolution, (grid.north - there.north) / grid.resolution
                if abs(column - round(column)) < 1e-3 and abs(row - round(row)) < 1e-3:
                    return _as_it_is(file, factor, there, grid, round(column), round(row))
    bounds = grid.bounds if own.epsg == grid.epsg else _transformed(grid, own.epsg)
    # Metres of the file's system that a pixel of the result is, at least.
    fine = min((bounds[2] - bounds[0]) / grid.width, (bounds[3] - bounds[1]) / grid.height)
    factor = max((one for one in (1, *file.factors) if own.resolution * one <= fine * 1.001), default=1)
    there = own.coarser(own.resolution * factor)
    left = max(math.floor((bounds[0] - there.west) / there.resolution) - MARGIN, 0)
    top = max(math.floor((there.north - bounds[3]) / there.resolution) - MARGIN, 0)
    right = min(math.ceil((bounds[2] - there.west) / there.resolution) + MARGIN, there.width)
    bottom = min(math.ceil((there.north - bounds[1]) / there.resolution) + MARGIN, there.height)
    if right <= left or bottom <= top:
        return None
    return Read(file, factor, (left, top, right - left, bottom - top), None)


def _as_it_is(file: File, factor: int, there: Grid, grid: Grid, column: int, row: int) -> Read | None:
    """The part of an image that lies in a grid of the same pixels, in which it begins at a column and row."""
    left, top = max(-column, 0), max(-row, 0)
    right, bottom = min(grid.width - column, there.width), min(grid.height - row, there.height)
    if right <= left or bottom <= top:
        return None
    return Read(file, factor, (left, top, right - left, bottom - top), (row + top, column + left))


def _transformed(grid: Grid, epsg: int) -> tuple[float, float, float, float]:
    """The bounds of a grid in another reference system."""
    from pyproj import Transformer

    transformer = Transformer.from_crs(grid.epsg, epsg, always_xy=True)
    west, south, east, north = transformer.transform_bounds(*grid.bounds, densify_pts=21)
    return west, south, east, north


def _epsg(crs: Any) -> int:
    """The EPSG code of a reference system.

    Raises:
        CubeError: It has none.
    """
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        code = CRS.from_user_input(crs).to_epsg()
    except CRSError as error:
        raise CubeError(f"{crs!r} is no reference system: {error}") from error
    if code is None:
        raise CubeError(f"the reference system {crs!r} has no EPSG code")
    return int(code)
