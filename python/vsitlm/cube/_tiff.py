"""What a cube has to know of a TIFF, from its row: the core parses the header that the row carries."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .. import _core
from .._errors import Error, error_of

STRIP = 512
"""Rows of a chunk of an image in strips, at least: strips may be of one row."""


@dataclass(frozen=True)
class Level:
    """An image of a file: the whole one, or an overview."""

    factor: int
    """How many times as wide the whole image is, rounded."""
    width: int
    """Columns of pixels."""
    height: int
    """Rows of pixels."""
    tile: tuple[int, int]
    """Columns and rows of a tile, or of a strip."""


@dataclass(frozen=True)
class Stored:
    """How the images of a TIFF are stored."""

    components: int
    dtype: str
    """numpy's name for the type of its samples."""
    nodata: str | None
    """GDAL's text for the value of pixels that there are none of, which tiles that the file does not have are filled
    with."""
    levels: tuple[Level, ...]
    """The whole image, then its overviews of powers of two, the finest first."""
    refused: tuple[str, str] | None
    """The kind of error and the message, where the core does not decode its tiles."""

    @property
    def factors(self) -> list[int]:
        """Those of its images."""
        return [level.factor for level in self.levels]

    def size_at(self, factor: int) -> tuple[int, int]:
        """Columns and rows of the image at 1/factor."""
        level = self._level(factor)
        return level.width, level.height

    def chunk_at(self, factor: int) -> tuple[int, int]:
        """Columns and rows that are read together of the image at 1/factor: a tile, or strips."""
        level = self._level(factor)
        across, down = level.tile
        return across, down if across < level.width else down * max(STRIP // down, 1)

    def why_refused(self) -> Error | None:
        """Why the core does not decode its tiles."""
        return None if self.refused is None else error_of({"kind": self.refused[0], "message": self.refused[1]})

    def _level(self, factor: int) -> Level:
        return next(level for level in self.levels if level.factor == factor)


def stored_of(index: bytes, header: bytes) -> Stored:
    """What a TIFF is, by the columns `index` and `header` of its row.

    Raises:
        IndexFileError: They are not those of a TIFF's row.
        MalformedError: The header is not valid.
    """
    _core.require()
    from .. import _vsitlm

    told = _core.answer(_vsitlm.decode(index + header, json.dumps({"tiff_row": len(index)}))[0])
    levels: dict[int, Level] = {}
    for level in told["levels"]:
        (height, width), (down, across) = level["shape"], level["tile_shape"]
        # Of several images of a size the core reads the first. Names of levels and paths have powers of two.
        if (factor := level["factor"]).bit_count() == 1:
            levels.setdefault(factor, Level(factor, width, height, (across, down)))
    refused = told["refused"] and (told["refused"]["kind"], told["refused"]["message"])
    in_order = tuple(levels[factor] for factor in sorted(levels))
    return Stored(told["count"], told["dtype"] or "none", told["nodata"], in_order, refused)
