"""Chips of an area: the same pixels of several bands and times, for training."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from .._area import Area
from .._errors import CubeError
from .._many import read_many
from ..cube._catalogue import Span
from ..cube._chunks import Offset
from ..cube._grid import Grid
from ._block import AHEAD, Block, Job, Terms, request_of, warn_of
from ._masks import SCL_KEPT, masks_of
from ._plan import Plan, longitude_of, planned
from ._sample import degrees_of
from ._steps import GroupBy

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class AreaChip:
    """A square of pixels at all times that have it."""

    pixels: Mapping[str, NDArray[Any]]
    """By band, with the shape (time, y, x)."""
    times: tuple[dt.datetime, ...]
    products: tuple[str, ...]
    """Of each time."""
    grid: Grid
    """Where it lies: `epsg`, `transform`, `bounds`."""

    def stack(self) -> NDArray[Any]:
        """The bands as one array, (time, band, y, x), in the type that holds them all."""
        import numpy

        return numpy.stack(list(self.pixels.values()), 1)


def chips(
    found: Any,
    bands: Sequence[str] | str | None = None,
    size: int = 256,
    *,
    centers: Any = None,
    stride: int | None = None,
    area: Area | None = None,
    datetime: Span = None,
    resolution: float | None = None,
    resampling: str = "nearest",
    groupby: GroupBy = "solar_day",
    offset: Offset = "keep",
    mask: str | Sequence[str] | None = None,
    keep: Sequence[int] = SCL_KEPT,
    clouds: float = 50,
    fail_on_error: bool = True,
    **options: object,
) -> Iterator[AreaChip]:
    """Chips of `size` pixels a side, one after the other: bands of all resolutions on one grid, that of the files.

    What chips need is fetched ahead and decoded while others are used. Chips without data are left out.

    Args:
        found: See `load`.
        bands: See `load`.
        size: Pixels of a side.
        centers: Points as `sample` takes them; None covers the area, or all of the files, with a grid of chips.
        stride: Pixels from one chip of that grid to the next; `size` where None.
        area: See `load`.
        datetime: See `load`.
        resolution: Metres; the finest of the bands' own where None.
        resampling: See `load`: of bands whose own pixels are others.
        groupby: See `load`.
        offset: See `load`.
        mask: See `load`.
        keep: See `load`.
        clouds: See `load`.
        fail_on_error: Whether a file that cannot be read is an error; else it is warned of, and no data.
        **options: Configuration options of GDAL's and of `/vsitlm/`.

    Raises:
        CubeError: What is asked for is not there.
        Error: What the core failed with, as the class of its kind.
    """
    if size < 1 or (stride is not None and stride < 1):
        raise CubeError("the size and stride of chips are at least 1")
    terms = Terms(resampling, offset, masks_of(mask, keep, clouds), fail_on_error, options)
    plan = planned(found, bands, area, datetime, terms, groupby)
    step = resolution or plan.finest
    grids = _around(plan, centers, size, step) if centers is not None else _tiled(plan, size, stride or size, step)
    return _stream(plan, grids)


def _stream(plan: Plan, grids: Iterable[Grid]) -> Iterator[AreaChip]:
    """The chips of grids, whose windows are read in one go."""
    under_way: deque[tuple[Block, list[Job]]] = deque()

    def requests() -> Iterator[Any]:
        for grid in grids:
            steps = plan.steps(longitude_of(grid))
            jobs = Block(plan.bands, grid, steps, plan.terms).jobs()
            # Of the times that have no data here none is left.
            times = sorted({time for (is_mask, _), time, _ in jobs if not is_mask})
            places = {time: place for place, time in enumerate(times)}
            jobs = [(key, places[time], read) for key, time, read in jobs if time in places]
            if jobs:
                block = Block(plan.bands, grid, tuple(steps[time] for time in times), plan.terms)
                under_way.append((block, jobs))
                yield from map(request_of, jobs)

    options: dict[str, Any] = dict(plan.terms.settings)
    read = read_many(requests(), indexes=1, ahead=AHEAD, **options)
    failed = list(plan.failed)
    for first in read:
        block, jobs = under_way.popleft()
        pixels = block.made_of(jobs, chain([first], read), failed)
        warn_of(failed)
        failed.clear()
        times = tuple(step.time for step in block.steps)
        yield AreaChip(pixels, times, tuple(step.products for step in block.steps), block.grid)


def _around(plan: Plan, centers: Any, size: int, step: float) -> Iterator[Grid]:
    """Grids around points, on the pixels of the first file that has the point; none where no file has it."""
    from pyproj import Transformer

    longitudes, latitudes = degrees_of(centers)
    grids = {file.grid: file.grid.epsg for file in plan.files if file.grid is not None}
    to = {epsg: Transformer.from_crs("OGC:CRS84", epsg, always_xy=True) for epsg in set(grids.values())}
    for longitude, latitude in zip(longitudes, latitudes, strict=True):
        for grid, epsg in grids.items():
            x, y = to[epsg].transform(longitude, latitude)
            west, south, east, north = grid.bounds
            if west <= x < east and south < y <= north:
                left = west + (int((x - west) // step) - size // 2) * step
                top = north - (int((north - y) // step) - size // 2) * step
                yield Grid(epsg, left, top, step, size, size)
                break


def _tiled(plan: Plan, size: int, stride: int, step: float) -> Iterator[Grid]:
    """A grid of chips over the area, or over the files; its last ones reach beyond."""
    whole = plan.block(step, None).grid
    for row in range(0, whole.height, stride):
        for column in range(0, whole.width, stride):
            yield whole.window(column, row, size, size)
