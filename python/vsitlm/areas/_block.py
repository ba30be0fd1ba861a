"""Parts of a result: what is read for them, now or by dask, and how it is put together."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from .._errors import CubeError, VsitlmWarning
from .._many import Chip, read_many
from .._path import address
from ..cube._catalogue import REFLECTANCES
from ..cube._chunks import Offset, shifted
from ..cube._grid import Grid
from ._bands import is_continuous
from ._files import File
from ._grids import Read, reads_of
from ._masks import FILLS, TYPES, Masks
from ._steps import Step

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

AHEAD = 16
"""Windows that are fetched or decoded at a time."""


@dataclass(frozen=True)
class Terms:
    """How pixels are made; picklable, for dask."""

    resampling: str
    offset: Offset
    masks: Masks
    fail_on_error: bool
    settings: Mapping[str, Any]


Key: TypeAlias = "tuple[bool, str]"
"""Whether something is a mask, and the name of its band or variable."""

Job: TypeAlias = "tuple[Key, int, Read]"
"""For what of which time something of a file is read."""


def request_of(job: Job) -> tuple[str, tuple[int, int, int, int]]:
    """A job as `read_many` takes it."""
    _, _, read = job
    return address(read.file.path, overview=read.factor), read.window


@dataclass(frozen=True)
class Block:
    """A part of a result, or all of it."""

    bands: Mapping[str, str]
    """By the names of variables."""
    grid: Grid
    steps: tuple[Step, ...]
    terms: Terms

    @property
    def shape(self) -> tuple[int, int, int]:
        """Times, rows and columns."""
        return len(self.steps), self.grid.height, self.grid.width

    def dtype(self, band: str) -> str:
        """That of a band's files.

        Raises:
            CubeError: They have several.
        """
        found = {file.dtype for step in self.steps for file in step.files if file.has(band)}
        if len(found) > 1:
            raise CubeError(f"the files of {band} have several types of samples: {', '.join(sorted(found))}")
        return found.pop() if found else "uint8"

    def jobs(self) -> list[Job]:
        """What is read for it, in the order in which it counts."""
        wanted: dict[Key, str] = {(True, band): band for band in self.terms.masks.fills}
        wanted.update({(False, name): band for name, band in self.bands.items()})
        return [
            (key, time, read)
            for time, step in enumerate(self.steps)
            for key, band in wanted.items()
            for read in _reads(step, band, self.grid)
        ]

    def load(self, failed: list[str], progress: bool = False) -> dict[str, NDArray[Any]]:
        """Its pixels, by the names of variables."""
        jobs, options = self.jobs(), dict[str, Any](self.terms.settings)
        chips = read_many(map(request_of, jobs), indexes=1, ahead=AHEAD, progress=progress, **options)
        return self.made_of(jobs, chips, failed)

    def made_of(self, jobs: Sequence[Job], chips: Iterator[Chip], failed: list[str]) -> dict[str, NDArray[Any]]:
        """The same of what was read for its jobs, of which no more is taken from `chips`.

        Raises:
            Error: A file could not be read, and that is an error.
        """
        import numpy

        masks = self.terms.masks
        made: dict[str, NDArray[Any]] = {
            name: numpy.zeros(self.shape, self.dtype(band)) for name, band in self.bands.items()
        }
        hidden: dict[str, NDArray[Any]] = {
            band: numpy.full(self.shape, fill, TYPES[band]) for band, fill in masks.fills.items()
        }
        for ((is_mask, name), time, read), chip in zip(jobs, islice(chips, len(jobs)), strict=True):
            if chip.error is not None:
                if self.terms.fail_on_error:
                    raise chip.error
                failed.append(f"{read.file.name}: {chip.error}")
                continue
            pixels = chip.pixels if is_mask else values_of(chip.pixels, read.file, self.terms)
            resampling = self.terms.resampling if is_continuous(read.file.band) else "nearest"
            nodata = masks.fills[name] if is_mask else 0
            target = (hidden if is_mask else made)[name][time][read.where]
            # The first valid one counts.
            numpy.copyto(target, read.placed(pixels, resampling, nodata), where=target == nodata)
        masks.apply(made, self.bands, hidden, [step.is_landsat for step in self.steps])
        return made

    def lazy(self, chunks: Mapping[str, int]) -> dict[str, Any]:
        """The same as arrays of dask."""
        try:
            import dask
            import dask.array
        except ImportError as error:
            raise ImportError("chunks= needs dask: pip install dask") from error
        sizes = dict(zip(("time", "y", "x"), self.shape, strict=True))
        parts = [range(0, sizes[name], max(_side(chunks, name, sizes[name]), 1)) for name in ("time", "y", "x")]

        def part(name: str, time: int, row: int, column: int) -> Any:
            times, rows, columns = (
                min(step.step, step.stop - start) for step, start in zip(parts, (time, row, column), strict=True)
            )
            steps, window = self.steps[time : time + times], self.grid.window(column, row, columns, rows)
            inner = replace(self, bands={name: self.bands[name]}, grid=window, steps=steps)
            made = dask.delayed(_load_one, pure=True)(inner, name)
            return dask.array.from_delayed(made, inner.shape, self.dtype(self.bands[name]))

        return {
            name: dask.array.block(
                [[[part(name, time, row, column) for column in parts[2]] for row in parts[1]] for time in parts[0]]
            )
            for name in self.bands
        }


def _side(chunks: Mapping[str, int], name: str, size: int) -> int:
    """The side of chunks along a dimension; all of it where nothing, or -1, is said."""
    side = chunks.get(name, 1 if name == "time" else 2048)
    return size if side == -1 else side


def _load_one(block: Block, name: str) -> Any:
    """A chunk of a lazy array."""
    failed: list[str] = []
    pixels = block.load(failed)[name]
    warn_of(failed)
    return pixels


def warn_of(failed: Iterable[str]) -> None:
    """Warns of files that could not be read."""
    for one in failed:
        warnings.warn(f"no data of {one}", VsitlmWarning, stacklevel=3)


def _reads(step: Step, band: str, grid: Grid) -> list[Read]:
    """What of a step's files is read for a band: of a product that has it at several resolutions the one that gives the
    grid's pixels as they are, else the one of the fewest bytes.
    """
    of_products: dict[str, list[list[Read]]] = {}
    for file in step.files:
        if file.has(band) and (reads := reads_of(file, grid)):
            of_products.setdefault(file.product, []).append(reads)

    def cost(reads: list[Read]) -> tuple[bool, int, int]:
        is_warped = reads[0].warped_to is not None
        pixels = sum(read.window[2] * read.window[3] for read in reads)
        return is_warped, pixels if is_warped else 0, reads[0].factor

    return [read for several in of_products.values() for read in min(several, key=cost)]


def values_of(pixels: NDArray[Any], file: File, terms: Terms) -> NDArray[Any]:
    """Digital numbers of a file, without saturated ones and with what their baseline adds taken away, where that is
    wanted. No data is 0 in all of them.
    """
    if file.band == "QA_PIXEL":
        import numpy

        # Beside another scene's its fill, 1, would be a valid number.
        pixels = numpy.where(pixels == FILLS["QA_PIXEL"], pixels.dtype.type(0), pixels)
    pixels = terms.masks.without_saturated(pixels, file.band)
    is_moved = terms.offset == "harmonise" and file.band in REFLECTANCES
    return shifted(pixels, file.offset) if is_moved else pixels
