"""Reading in an event loop of asyncio.

The core fetches without threads, and decodes by a few threads of its own, as many as the process may use cores.
Cancelling a read ends its requests. Names follow async-geotiff where it has one.

    image = await vsitlm.aio.open("https://…/T31UDQ_…_B03_10m.jp2")
    chips = await asyncio.gather(*(image.read((x, 0, 64, 64)) for x in range(0, 640, 64)))
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from . import _core
from ._errors import OverviewError
from ._many import cores
from ._path import path
from ._read import Answer, Decoding, Indexes, Outcome, Terms, advance, elsewhere, prepare, questions
from ._window import Window

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS

AT_ONCE = 64
"""Reads of an event loop that are fetched or decoded at the same time; others wait. What was fetched has to be in the
core's cache (`VSITLM_CACHE_SIZE`, 256 MB) until it is decoded: 64 windows across four tiles of 1 MB each fill it."""


class Bounds(NamedTuple):
    """A rectangle on the ground."""

    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True)
class Image:
    """An image, as its file describes it. It holds no file open."""

    path: str
    """The path by which any GDAL of the process opens it."""
    width: int
    """Columns of pixels."""
    height: int
    """Rows of pixels."""
    count: int
    """How many bands it has."""
    dtype: numpy.dtype[Any]
    """The type of its pixels."""
    tile_shape: tuple[int, int]
    """Rows and columns of a tile."""
    overviews: list[int]
    """The factors by which its coarser images are smaller, the finest first."""
    _transform: tuple[float, ...] = field(repr=False)
    _epsg: int | None = field(repr=False)
    _settings: Mapping[str, str] = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    @property
    def transform(self) -> Affine:
        """From columns and rows to coordinates of `crs`. It needs the package affine, which comes with rasterio."""
        from affine import Affine

        return Affine(*self._transform)

    @property
    def crs(self) -> CRS | None:
        """The reference system; None where the file does not tell it by GMLJP2. It needs rasterio."""
        from rasterio.crs import CRS

        return None if self._epsg is None else CRS.from_epsg(self._epsg)

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right and top, in coordinates of `crs`."""
        a, b, c, d, e, f = self._transform
        corners = [(x, y) for x in (0, self.width) for y in (0, self.height)]
        across, down = [a * x + b * y + c for x, y in corners], [d * x + e * y + f for x, y in corners]
        return Bounds(min(across), min(down), max(across), max(down))

    @property
    def res(self) -> tuple[float, float]:
        """Width and height of a pixel, in units of `crs`."""
        return self._transform[0], -self._transform[4]

    async def read(
        self,
        window: Window | None = None,
        *,
        indexes: Indexes = None,
        overview: int = 0,
        boundless: bool = False,
        fill_value: float = 0,
    ) -> NDArray[Any]:
        """Reads a window, or the whole image where it is None. Arguments, pixels and errors are those of `vsitlm.read`.

        Raises:
            WindowError: The window is empty, of no whole pixels, or, unless `boundless`, not inside the image.
            Error: What the core failed with, as the class of its kind.
            UndecodedError: The core does not decode the file, and there is no rasterio.
            ReadError: What GDAL failed with by itself.
        """
        terms = Terms(overview, None, indexes, boundless, fill_value, self._settings)
        async with room():
            step = await outcome(terms, self.path, window)
            if isinstance(step, Decoding):
                return await asyncio.get_running_loop().run_in_executor(_pool(), step.decode)
            return step

    async def read_overview(
        self, overview: int, window: Window | None = None, *, indexes: Indexes = None
    ) -> NDArray[Any]:
        """Reads a window of a coarser image, or all of it: `overview` is its number among `overviews`, 0 the finest.

        Raises:
            OverviewError: There is none of this number.
            Error: As `read`.
        """
        if not 0 <= overview < len(self.overviews):
            raise OverviewError(f"there is no overview {overview}: the image has {len(self.overviews)}")
        return await self.read(window, indexes=indexes, overview=self.overviews[overview])


async def open(
    path_or_url_or_product: str | os.PathLike[str],
    band: str | None = None,
    *,
    index: str | os.PathLike[str] | None = None,
    **options: object,
) -> Image:
    """Looks a JP2 up, in an index or by its header.

    Args:
        path_or_url_or_product: See `vsitlm.path`.
        band: See `vsitlm.path`.
        index: Where to look rows up, as in `VSITLM_INDEX`.
        **options: Configuration options of GDAL's and of `/vsitlm/`, on top of those of an enclosing `rasterio.Env`.
            They hold for all reads of the image.

    Raises:
        Error: What the core failed with, as the class of its kind.
        UnsupportedError: There is no core.
    """
    prepare()
    name = path(path_or_url_or_product, band)
    settings = elsewhere({"VSITLM_INDEX": index, **options})
    about = _core.answer((await _answer(_core.question("describe", name, settings)))[0])
    return Image(
        path=name,
        width=about["width"],
        height=about["height"],
        count=about["count"],
        dtype=numpy.dtype(about["dtype"]),
        tile_shape=tuple(about["tile_shape"]),
        overviews=about["overviews"],
        _transform=tuple(about["transform"] or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)),
        _epsg=about["epsg"],
        _settings=settings,
    )


async def outcome(terms: Terms, path: str, window: Window | None) -> Outcome:
    """What comes of a read, whose questions are answered without a thread.

    Raises:
        Error: What the core failed with, as the class of its kind.
    """
    asking = questions(terms, path, window)
    step = advance(asking)
    while isinstance(step, str):
        step = advance(asking, await _answer(step))
    return step


async def _answer(question: str) -> Answer:
    """What the core answers; when the task is cancelled, so is the question."""
    from . import _vsitlm

    loop = asyncio.get_running_loop()
    future: asyncio.Future[Answer] = loop.create_future()

    def settle(answer: Answer) -> None:
        if not future.done():
            future.set_result(answer)

    def answered(*answer: Any) -> None:
        """On a thread of the core's."""
        # Nobody waits any more where the loop is closed.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, answer)

    number = _vsitlm.ask(question, answered)
    try:
        return await future
    except BaseException:
        _vsitlm.cancel(number)
        raise


_rooms: dict[tuple[asyncio.AbstractEventLoop, int], asyncio.Semaphore] = {}


def room(at_once: int = AT_ONCE) -> asyncio.Semaphore:
    """What a read of this loop holds while it is under way: `at_once` reads can hold it at the same time."""
    loop = asyncio.get_running_loop()
    if (loop, at_once) not in _rooms:
        for other in [*_rooms]:
            if other[0].is_closed():
                _rooms.pop(other, None)
        _rooms[loop, at_once] = asyncio.Semaphore(at_once)
    return _rooms[loop, at_once]


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """The threads for what rasterio decodes, of all loops."""
    return ThreadPoolExecutor(cores(), "vsitlm")


# A fork's child has none of the threads.
os.register_at_fork(after_in_child=_pool.cache_clear)
