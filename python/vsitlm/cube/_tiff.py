"""What a cube has to know of a TIFF, from its row: the core parses the header that the row carries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _core
from .._errors import Error, error_of
from .._read import array

if TYPE_CHECKING:
    from numpy.typing import NDArray

CODEC = "vsitlm.tiff_tile"
"""What the codec of tiles is called, in zarr and in numcodecs."""


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
    coding: str | None
    """How a tile is packed, as JSON; None where its tiles are no chunks: those of several bands, and strips of which
    the last has fewer rows."""


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

    def tile_at(self, factor: int) -> tuple[int, int]:
        """Columns and rows of a tile, or of a strip, of the image at 1/factor."""
        return self._level(factor).tile

    def tiles_at(self, factor: int) -> tuple[int, int]:
        """How many tiles of the image at 1/factor stand side by side, and one below the other."""
        level = self._level(factor)
        return -(-level.width // level.tile[0]), -(-level.height // level.tile[1])

    def coding_at(self, factor: int) -> str | None:
        """How a tile of the image at 1/factor is packed, see `Level`."""
        return self._level(factor).coding

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
            coding = level["coding"] and json.dumps(level["coding"], sort_keys=True)
            levels.setdefault(factor, Level(factor, width, height, (across, down), coding))
    refused = told["refused"] and (told["refused"]["kind"], told["refused"]["message"])
    in_order = tuple(levels[factor] for factor in sorted(levels))
    return Stored(told["count"], told["dtype"] or "none", told["nodata"], in_order, refused)


def decode_tile(coding: str, packed: bytes) -> NDArray[Any]:
    """The pixels of a tile of a TIFF, as rows and columns.

    Raises:
        MalformedError: The bytes are no tile that is packed so.
        UndecodedError: It has what the core does not decode.
        Error: There is no such coding.
    """
    _core.require()
    from .. import _vsitlm

    told, samples = _vsitlm.decode(packed, f'{{"tiff_tile": {coding}}}')
    return array(_core.answer(told), samples, 1)
