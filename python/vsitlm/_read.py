"""Reading a window: what the core is asked first, and decoding.

A read is a generator of questions to the core, and at its end gives what is to be decoded. Who runs it has the
questions answered: `read` waits for that, `read_many` and `aio` do not. The last question is that all bytes be fetched:
so decoding waits for no network, and what fails there fails with the core's own error, before anything is opened.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _core
from ._errors import Error, ReadError, WindowError
from ._open import failure
from ._path import path, without_query
from ._window import Area, Window, area

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

Questions: TypeAlias = "Generator[str, dict[str, Any], Decoding]"
"""Questions to the core, which are sent its answers, and at the end what is to be decoded."""

Indexes: TypeAlias = "int | Sequence[int] | None"
"""Numbers of bands, from 1; None are all."""


@dataclass(frozen=True)
class Terms:
    """How windows are read: what is the same for all windows of a call. See `read`."""

    overview: int
    band: str | None
    indexes: Indexes
    boundless: bool
    fill_value: float
    settings: Mapping[str, str]
    """Configuration options, which go before those of the thread that asks or decodes."""


def read(
    path_or_url_or_product: str | os.PathLike[str],
    window: Window,
    overview: int = 0,
    *,
    band: str | None = None,
    indexes: Indexes = None,
    boundless: bool = False,
    fill_value: float = 0,
    index: str | os.PathLike[str] | None = None,
    **options: object,
) -> NDArray[Any]:
    """Reads a window of a JP2 for the packets that it needs: a fraction of its tiles' bytes and of their decoding.

    Args:
        path_or_url_or_product: See `path`.
        window: A `rasterio.windows.Window`; column, row, width and height; or rows and columns, each a pair or a slice
            (None as an end is that of the image). In pixels of the overview where there is one.
        overview: Read the image at 1/2, 1/4, 1/8, …; 0 and 1 are full size.
        band: See `path`.
        indexes: The band to read, or several, numbered from 1; all where None.
        boundless: The window may reach beyond the image, and need not even touch it.
        fill_value: What pixels outside the image are.
        index: Where to look rows up, as in `VSITLM_INDEX`.
        **options: Configuration options of GDAL's and of `/vsitlm/`, on top of those of an enclosing `rasterio.Env`.

    Returns:
        The pixels in the file's type, as (bands, rows, columns); as (rows, columns) where `indexes` is a number.

    Raises:
        WindowError: The window is empty, of no whole pixels, or, unless `boundless`, not inside the image.
        Error: What the core failed with, as the class of its kind.
        ReadError: What GDAL failed with by itself.
        UnsupportedError: There is no core.
    """
    prepare()
    import rasterio.env

    from . import _vsitlm

    settings = _core.texts({"VSITLM_INDEX": index, **options})
    terms = Terms(overview, band, indexes, boundless, fill_value, settings)
    asking = questions(terms, path_or_url_or_product, window)
    with rasterio.Env():
        rasterio.env.setenv(**settings)
        step = advance(asking)
        while isinstance(step, str):
            step = advance(asking, _vsitlm.ask_and_wait(step))
        return step.decode()


_prepared = False


def prepare() -> None:
    """Has the core serve rasterio's libgdal, which may have been loaded after the package.

    Raises:
        UnsupportedError: There is no core.
    """
    global _prepared
    _core.require()
    if not _prepared:
        import rasterio  # noqa: F401

        from . import _vsitlm

        _vsitlm.register()
        _prepared = True


def elsewhere(options: Mapping[str, object]) -> dict[str, str]:
    """Options as threads that decode need them: on top of those of the `rasterio.Env` around the caller. GDAL's own
    threads are off."""
    import rasterio.env

    around = rasterio.env.getenv() if rasterio.env.hasenv() else {}
    return {**_core.texts(around), "GDAL_NUM_THREADS": "1", **_core.texts(options)}


def questions(terms: Terms, given: str | os.PathLike[str], window: Window | None) -> Questions:
    """What reading a window asks the core; None is the whole image.

    Raises:
        PathError: See `path`.
        WindowError: See `read`.
    """
    if window is None:
        name = path(given, terms.band, overview=terms.overview)
        yield _core.question("fetch", name, terms.settings)
        return Decoding(name, terms.indexes)
    wanted, frame = area(window), None
    # Otherwise the core checks it against the image's size.
    if terms.boundless or not wanted.may_be_inside:
        name = path(given, terms.band, overview=terms.overview)
        about = yield _core.question("describe", name, terms.settings)
        columns, rows = about["width"], about["height"]
        around = area(window, columns, rows)
        wanted = around.within(columns, rows)
        if around.is_empty or (wanted != around and not terms.boundless):
            raise WindowError(
                f"{without_query(os.fspath(given))}: the window of {around.width} x {around.height} pixels from column "
                f"{around.x}, row {around.y} on is not within the image of {columns} x {rows} pixels"
            )
        if wanted != around:
            frame = Frame(around, wanted, terms.fill_value, about["dtype"], about["count"])
        if wanted.is_empty:
            return Decoding(None, terms.indexes, frame)
    name = path(given, terms.band, overview=terms.overview, window=wanted)
    yield _core.question("fetch", name, terms.settings)
    return Decoding(name, terms.indexes, frame)


def advance(asking: Questions, told: str | None = None) -> str | Decoding:
    """The next question of a read, or what is to be decoded. `told` is the core's answer to the question before.

    Raises:
        Error: What the core failed with; the read is at its end.
    """
    try:
        return next(asking) if told is None else asking.send(_core.answer(told))
    except StopIteration as end:
        decoding: Decoding = end.value
        return decoding


@dataclass(frozen=True)
class Frame:
    """A window that reaches beyond the image."""

    around: Area
    inside: Area
    """What of it is in the image."""
    fill_value: float
    dtype: str
    count: int
    """How many bands the image has."""

    def fill(self, indexes: Indexes, pixels: NDArray[Any] | None) -> NDArray[Any]:
        """The window with the image's pixels in their place; there are none where it does not touch the image."""
        import numpy

        shape: tuple[int, ...] = (self.around.height, self.around.width)
        if not isinstance(indexes, int):
            shape = (self.count if indexes is None else len(indexes), *shape)
        filled: NDArray[Any] = numpy.full(shape, self.fill_value, self.dtype)
        if pixels is not None:
            top, left = self.inside.y - self.around.y, self.inside.x - self.around.x
            filled[..., top : top + self.inside.height, left : left + self.inside.width] = pixels
        return filled


@dataclass(frozen=True)
class Decoding:
    """A dataset that is to be read whole; its bytes are at hand."""

    name: str | None
    """Its path; None where nothing of the window is in the image."""
    indexes: Indexes
    frame: Frame | None = None

    def decode(self) -> NDArray[Any]:
        """Its pixels, by the options of this thread.

        Raises:
            ReadError: What GDAL failed with by itself.
            Error: What the core has against the file, or that it lacks one of the bands.
        """
        pixels = None if self.name is None else self._read(self.name)
        if self.frame is not None:
            return self.frame.fill(self.indexes, pixels)
        assert pixels is not None
        return pixels

    def _read(self, name: str) -> NDArray[Any]:
        import rasterio
        from rasterio.errors import RasterioIOError

        try:
            with rasterio.open(name) as dataset:
                pixels: NDArray[Any] = dataset.read(self.indexes)
                return pixels
        except RasterioIOError as error:
            raise failure(name, {}) or ReadError(str(error.__cause__ or error)) from error
        except IndexError as error:
            raise Error(str(error)) from error
