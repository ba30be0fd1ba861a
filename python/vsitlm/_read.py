"""Reading a window: what the core is asked, and what GDAL decodes where the core does not.

A read is a generator of questions to the core, and at its end gives pixels. Who runs it has the questions answered:
`read` waits for that, `read_many` and `aio` do not. The core fetches and decodes; a file that has what its decoder
leaves out is decoded by rasterio, where there is rasterio.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _core
from ._errors import Error, OverviewError, ReadError, UndecodedError, WindowError
from ._path import address, is_tiff_name, without_query
from ._window import Area, Squares, Window, area

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    from ._vsitlm import Samples

Answer: TypeAlias = "tuple[str, Samples | None]"
"""What the core answers: JSON, and the samples that it tells of."""

Outcome: TypeAlias = "NDArray[Any] | Decoding"
"""Pixels, or what rasterio is to decode."""

Questions: TypeAlias = "Generator[str, tuple[dict[str, Any], Samples | None], Outcome]"
"""Questions to the core, which are sent its answers, and at the end what came of it."""

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
    """Reads a window for what it needs: packets of a JP2, which are a fraction of its tiles, or tiles of a TIFF.

    Args:
        path_or_url_or_product: See `path`.
        window: A `rasterio.windows.Window`; column, row, width and height; or rows and columns, each a pair or a slice
            (None as an end is that of the image). In pixels of the overview where there is one.
        overview: Read the image at 1/2, 1/4, 1/8, …; 0 and 1 are full size. Of a TIFF, one of its own overviews.
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
        UndecodedError: The core does not decode the file, and there is no rasterio.
        ReadError: What GDAL failed with by itself.
        UnsupportedError: There is no core.
    """
    prepare()
    from . import _vsitlm

    settings = _core.texts({"VSITLM_INDEX": index, **options})
    terms = Terms(overview, band, indexes, boundless, fill_value, settings)
    asking = questions(terms, path_or_url_or_product, window)
    step = advance(asking)
    while isinstance(step, str):
        step = advance(asking, _vsitlm.ask_and_wait(step))
    return step.decode() if isinstance(step, Decoding) else step


_prepared = False


def prepare() -> None:
    """Has the core serve rasterio's libgdal, where that was loaded after the package: its options are asked for.

    Raises:
        UnsupportedError: There is no core.
    """
    global _prepared
    _core.require()
    if not _prepared and sys.modules.get("rasterio") is not None:
        from . import _vsitlm

        _vsitlm.register()
        _prepared = True


def elsewhere(options: Mapping[str, object]) -> dict[str, str]:
    """Options as other threads need them: on top of those of the `rasterio.Env` around the caller."""
    env = sys.modules.get("rasterio.env")
    around = env.getenv() if env is not None and env.hasenv() else {}
    return {**_core.texts(around), **_core.texts(options)}


def questions(terms: Terms, given: str | os.PathLike[str], window: Window | Squares | None) -> Questions:
    """What reading a window asks the core; None is the whole image. Squares come one below the other.

    Raises:
        PathError: See `path`.
        WindowError: See `read`.
    """
    if window is None:
        return (yield from _pixels(terms, given, None, None))
    if isinstance(window, Squares):
        return (yield from _pixels(terms, given, window, None))
    wanted, frame = area(window), None
    # Otherwise the core checks it against the image's size.
    if terms.boundless or not wanted.may_be_inside:
        name = address(given, terms.band, terms.overview)
        about, _ = yield _core.question("describe", name, terms.settings)
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
                return frame.fill(terms.indexes, None)
    return (yield from _pixels(terms, given, wanted, frame))


def _pixels(
    terms: Terms, given: str | os.PathLike[str], wanted: Area | Squares | None, frame: Frame | None
) -> Questions:
    """The pixels of a window within an image, of squares, or of all of it."""
    squares = wanted.question() if isinstance(wanted, Squares) else None
    name = address(given, terms.band, terms.overview, None if isinstance(wanted, Squares) else wanted)
    indexes = terms.indexes
    bands = None if indexes is None else [int(band) for band in ([indexes] if isinstance(indexes, int) else indexes)]
    try:
        about, samples = yield _core.question("read", name, terms.settings, bands=bands, squares=squares)
    except UndecodedError as error:
        # A TIFF is served as itself, and has its overviews in itself.
        whole = address(given, terms.band)
        if not is_tiff_name(whole):
            whole = address(given, terms.band, terms.overview, form="jp2")
        return Decoding(whole, wanted, terms, frame, error)
    pixels = array(about, samples, indexes)
    return pixels if frame is None else frame.fill(indexes, pixels)


def array(about: Mapping[str, Any], samples: Samples | None, indexes: Indexes) -> NDArray[Any]:
    """Samples as an array over the core's memory; `about` is the answer that they came with."""
    import numpy

    pixels: NDArray[Any] = numpy.asarray(samples).view(about["dtype"]).reshape(about["shape"])
    return pixels[0] if isinstance(indexes, int) else pixels


def advance(asking: Questions, told: Answer | None = None) -> str | Outcome:
    """The next question of a read, or what came of it. `told` is the core's answer to the question before.

    Raises:
        Error: What the core failed with; the read is at its end.
    """
    try:
        if told is None:
            return next(asking)
        try:
            answer = _core.answer(told[0])
        except Error as error:
            return asking.throw(error)
        return asking.send((answer, told[1]))
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


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
    """A dataset that rasterio is to read, since the core does not decode it."""

    name: str
    """Its path."""
    wanted: Area | Squares | None
    """What of it is read; all of it where None."""
    terms: Terms
    frame: Frame | None
    why: UndecodedError

    def decode(self) -> NDArray[Any]:
        """Its pixels.

        Raises:
            UndecodedError: There is no rasterio.
            ReadError: What GDAL failed with by itself.
            Error: What the core has against the file, or that it lacks one of the bands.
        """
        try:
            import rasterio.env
        except ImportError:
            raise UndecodedError(f"{self.why}; rasterio, which may decode it, is not installed") from self.why
        prepare()
        with rasterio.Env():
            # Not as the environment's own options, among which rasterio takes no keys of AWS.
            rasterio.env.setenv(**self.terms.settings)
            pixels = self._read()
        return pixels if self.frame is None else self.frame.fill(self.terms.indexes, pixels)

    def _read(self) -> NDArray[Any]:
        import rasterio
        from rasterio.errors import RasterioIOError
        from rasterio.windows import Window as RasterioWindow

        from ._open import failure

        wanted = self.wanted.around if isinstance(self.wanted, Squares) else self.wanted
        window = None if wanted is None else RasterioWindow(*wanted)
        try:
            with rasterio.open(self.name, **self._level()) as dataset:
                pixels: NDArray[Any] = dataset.read(self.terms.indexes, window=window)
                return self.wanted.cut(pixels) if isinstance(self.wanted, Squares) else pixels
        except RasterioIOError as error:
            raise failure(self.name, {}) or ReadError(str(error.__cause__ or error)) from error
        except IndexError as error:
            raise Error(str(error)) from error

    def _level(self) -> dict[str, int]:
        """The option by which GDAL opens the overview of a TIFF that is wanted.

        Raises:
            OverviewError: The TIFF has none of that factor.
        """
        import rasterio

        if self.terms.overview in (0, 1) or not is_tiff_name(self.name):
            return {}
        with rasterio.open(self.name) as dataset:
            factors = dataset.overviews(1)
        if self.terms.overview not in factors:
            raise OverviewError(f"{without_query(self.name)}: the TIFF has overviews of the factors {factors}")
        return {"overview_level": factors.index(self.terms.overview)}
