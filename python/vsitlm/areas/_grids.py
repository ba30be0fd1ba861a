"""Where a result lies, and which pixels of which file are to be read for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .._area import Area, bounds_in
from .._errors import CubeError
from ..cube._grid import Grid
from ._files import File

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARGIN = 3
"""Pixels of the coarser grid around what a warp needs: the widest kernel, of Lanczos resampling."""

PIECE = 2048
"""Columns and rows of what is read at a time, at most, or little more: so few are in memory beside the result."""

Window = tuple[int, int, int, int]
"""Column, row, columns and rows."""


@dataclass(frozen=True)
class Read:
    """A part of a file that is read for a part of a result."""

    file: File
    factor: int
    """Of the reduced image that is read; 1 is the whole."""
    window: Window
    """Of that."""
    at: Window
    """Of the result: the part that it is for."""
    warped_to: Grid | None
    """The grid of that part; None where pixels go there as they are."""
    scale: float = 1
    """How many pixels of the result one that is read is at least, where it is warped; 1 where that is more."""

    @property
    def where(self) -> tuple[slice, slice]:
        """The part's rows and columns."""
        column, row, width, height = self.at
        return slice(row, row + height), slice(column, column + width)

    def placed(self, pixels: NDArray[Any], resampling: str, nodata: float) -> NDArray[Any]:
        """What was read, on the part's grid."""
        grid = self.warped_to
        if grid is None:
            return pixels
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
            # GDAL would guess from the windows, for each piece anew, how wide its kernels are.
            XSCALE=self.scale, YSCALE=self.scale,
        )  # fmt: skip
        return warped


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
        bounds = bounds_in(area, epsg)
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


def reads_of(file: File, grid: Grid) -> list[Read]:
    """What of a file is read for a grid; nothing where they do not touch.

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
                    return list(_as_they_are(file, factor, there, grid, round(column), round(row)))
    bounds = grid.bounds if own.epsg == grid.epsg else _transformed(grid, own.epsg)
    # Metres of the file's system that a pixel of the result is, at least.
    fine = min((bounds[2] - bounds[0]) / grid.width, (bounds[3] - bounds[1]) / grid.height)
    factor = max((one for one in (1, *file.factors) if own.resolution * one <= fine * 1.001), default=1)
    scale = min(own.resolution * factor / fine, 1)
    return [
        read
        for row in range(0, grid.height, PIECE)
        for column in range(0, grid.width, PIECE)
        if (read := _warped(file, factor, scale, grid, (column, row, *_sides(grid, column, row)))) is not None
    ]


def _sides(grid: Grid, column: int, row: int) -> tuple[int, int]:
    """Columns and rows of a piece of a grid."""
    return min(PIECE, grid.width - column), min(PIECE, grid.height - row)


def _warped(file: File, factor: int, scale: float, whole: Grid, at: Window) -> Read | None:
    """What is read of the image at 1/factor to be warped to a window of a grid."""
    own, grid = file.grid, whole.window(*at)
    assert own is not None
    bounds = grid.bounds if own.epsg == grid.epsg else _transformed(grid, own.epsg)
    there = own.coarser(own.resolution * factor)
    margin = math.ceil(MARGIN / scale)
    left = max(math.floor((bounds[0] - there.west) / there.resolution) - margin, 0)
    top = max(math.floor((there.north - bounds[3]) / there.resolution) - margin, 0)
    right = min(math.ceil((bounds[2] - there.west) / there.resolution) + margin, there.width)
    bottom = min(math.ceil((there.north - bounds[1]) / there.resolution) + margin, there.height)
    if right <= left or bottom <= top:
        return None
    return Read(file, factor, (left, top, right - left, bottom - top), at, grid, scale)


def _as_they_are(file: File, factor: int, there: Grid, grid: Grid, column: int, row: int) -> Iterator[Read]:
    """The pieces of an image that lie in a grid of the same pixels, in which it begins at a column and row."""
    left, top = max(-column, 0), max(-row, 0)
    right, bottom = min(grid.width - column, there.width), min(grid.height - row, there.height)
    wide, high = (_piece(side, 1 if file.format == "tiff" else factor) for side in file.tile_size)
    for y0, y1 in _cuts(top, bottom, high):
        for x0, x1 in _cuts(left, right, wide):
            yield Read(file, factor, (x0, y0, x1 - x0, y1 - y0), (column + x0, row + y0, x1 - x0, y1 - y0), None)


def _piece(side: int, factor: int) -> int:
    """Pixels of a side of pieces that are made of whole tiles of `side` pixels of the image at 1/factor."""
    tile = max(side // factor, 1)
    return tile * max(PIECE // tile, 1) if tile <= 2 * PIECE else PIECE


def _cuts(start: int, end: int, piece: int) -> Iterator[tuple[int, int]]:
    """The stretch from start to end in one, where that is short enough, or cut at multiples of `piece`."""
    if end - start <= PIECE:
        cuts = [start, end] if end > start else []
    else:
        cuts = [start, *range((start // piece + 1) * piece, end, piece), end]
    yield from pairwise(cuts)


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
