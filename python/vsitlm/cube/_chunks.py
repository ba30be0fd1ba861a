"""Chunks of a cube: windows of files, read and decoded by the core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .._read import Decoding, Terms
from ..aio import AT_ONCE, outcome, room

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    from ._series import File

Offset: TypeAlias = "Literal['keep', 'harmonise']"
"""What becomes of values since baseline 04.00, which are higher by 1000: they stay, or are brought to the scale of
before."""


PIXELS_AT_ONCE, LEAST_AT_ONCE = 1 << 24, 4
"""Pixels of chunks that are under way at the same time, but at least as many chunks: what was fetched of them has to be
in the core's cache until it is decoded, and larger chunks touch more tiles."""


@dataclass(frozen=True)
class Source:
    """A file that has the pixels of a variable at a time."""

    file: File
    overview: int
    """The factor of its reduced image that has the variable's resolution; 1 is the whole."""
    offset: int
    """What is added to values that are not 0."""


@dataclass(frozen=True)
class Variable:
    """An array of time, rows and columns."""

    dtype: str
    window: tuple[int, int, int, int]
    """The part of the image that it shows: column, row, columns and rows."""
    chunk: tuple[int, int]
    """Rows and columns of a chunk."""
    sources: tuple[tuple[Source, ...], ...]
    """For each time the files that have it, of which the first valid pixel counts; none where there is no data."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Times, rows and columns."""
        return len(self.sources), self.window[3], self.window[2]

    @property
    def chunks(self) -> tuple[int, int, int]:
        """How many chunks there are, in each direction."""
        (times, rows, columns), (high, wide) = self.shape, self.chunk
        return times, -(-rows // high), -(-columns // wide)

    async def read(self, settings: Mapping[str, str], at: tuple[int, int, int]) -> NDArray[Any] | None:
        """A whole chunk by its place among them, with 0 where the image ends; None where there is no data.

        Raises:
            Error: What the core failed with, as the class of its kind.
        """
        import numpy

        time, down, across = at
        (rows, columns), (left, top, width, height) = self.chunk, self.window
        if not self.sources[time]:
            return None
        x, y = across * columns, down * rows
        width, height = min(columns, width - x), min(rows, height - y)
        window = (left + x, top + y, width, height)
        pixels: NDArray[Any] | None = None
        for source in self.sources[time]:
            read = await _read(source, window, settings)
            pixels = read if pixels is None else numpy.where(pixels == 0, read, pixels)
            if len(self.sources[time]) > 1 and pixels.all():
                break
        assert pixels is not None
        if pixels.shape == (rows, columns):
            return pixels
        padded: NDArray[Any] = numpy.zeros((rows, columns), pixels.dtype)
        padded[:height, :width] = pixels
        return padded


async def _read(source: Source, window: tuple[int, int, int, int], settings: Mapping[str, str]) -> NDArray[Any]:
    """A window of a file, its values brought to one scale."""
    terms = Terms(source.overview, None, 1, False, 0, settings)
    pixels = window[2] * window[3]
    async with room(min(max(PIXELS_AT_ONCE // pixels, LEAST_AT_ONCE), AT_ONCE)):
        step = await outcome(terms, source.file.path, window)
    if isinstance(step, Decoding):
        raise step.why
    return shifted(step, source.offset)


def shifted(pixels: NDArray[Any], offset: int) -> NDArray[Any]:
    """Values with an offset added. A pixel that is valid stays so: 0 says that there is none."""
    import numpy

    if offset == 0:
        return pixels
    moved = numpy.maximum(pixels.astype("int32") + offset, 1)
    return numpy.where(pixels == 0, 0, moved).astype(pixels.dtype)
