"""A tile of a JP2 by itself, as references have it: the bytes of its tile-parts, and a template of the main header."""

from __future__ import annotations

import base64
import binascii
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .. import _core
from .._errors import MalformedError
from .._read import array
from ._header import Coding, coding_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

CODEC = "vsitlm.jp2_tile"
"""What the codec is called, in zarr and in numcodecs."""


@lru_cache(maxsize=64)
def _understood(template: str) -> tuple[bytes, Coding]:
    """The header of a template, and what it says."""
    try:
        header = base64.b64decode(template, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(f"the header of the codec {CODEC} is no base64") from error
    return header, coding_of(header)


def shape_of(template: str, reduce: int) -> tuple[int, int]:
    """Rows and columns of a whole tile of the image at 1/2^reduce."""
    (across, down) = _understood(template)[1].tile
    return -(-down >> reduce), -(-across >> reduce)


def decode_tile(
    template: str, reduce: int, parts: bytes, window: tuple[slice, slice] = (slice(None), slice(None))
) -> NDArray[Any]:
    """The pixels of a tile at 1/2^reduce, or those of them that lie in a window of rows and columns of a whole tile. A
    tile at the image's edge ends there. Of the last tile-part there need not be more than the packets of that level.

    Raises:
        MalformedError: The bytes are no tile-parts of one tile of such a file, or some that are needed are missing.
        UndecodedError: The file has what the decoder leaves out.
    """
    header, _ = _understood(template)
    rows, columns = (part.indices(side)[:2] for part, side in zip(window, shape_of(template, reduce), strict=True))
    wanted = {
        "tile": True, "reduce": reduce, "threads": 1,
        "window": (columns[0], rows[0], max(columns[1] - columns[0], 0), max(rows[1] - rows[0], 0)),
    }  # fmt: skip
    _core.require()
    from .. import _vsitlm

    told, samples = _vsitlm.decode(header + parts, json.dumps(wanted))
    return array(_core.answer(told), samples, 1)
