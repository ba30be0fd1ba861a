"""A tile of a JP2 by itself, as references have it: the bytes of its tile-parts, and a template of the main header.

The tile stays where it lies on the reference grid. Moved to the origin, as other packages do it, its code-blocks and
precincts would be cut at other places (T.800 B.6, B.7), and give wrong pixels without an error.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .._decode import decode
from .._errors import MalformedError
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
    tile at the image's edge ends there.

    Raises:
        MalformedError: The bytes are no tile-parts of such a file.
        UndecodedError: The file has what the decoder leaves out.
    """
    header, coding = _understood(template)
    (x0, y0), (tile_x0, tile_y0) = coding.origin, coding.tile_origin
    if len(parts) < 12 or parts[:4] != b"\xff\x90\x00\x0a":
        raise MalformedError("bytes that are no tile-part: they do not begin with an SOT marker segment (T.800 A.4.2)")
    number = int.from_bytes(parts[4:6], "big")
    (wide, high), (x1, y1) = coding.tile, (x0 + coding.width, y0 + coding.height)
    row, column = divmod(number, -(-(x1 - tile_x0) // wide))

    def span(first: int, side: int, start: int, end: int, wanted: slice) -> tuple[int, int]:
        """Where the tile's pixels that are wanted begin in the image at 1/2^reduce, and how many they are."""
        begin, stop = (-(-max(min(at, end), start) >> reduce) for at in (first, first + side))
        origin = -(-start >> reduce)
        low, up, _ = wanted.indices(max(stop - begin, 0))
        return begin - origin + low, max(up - low, 0)

    y, rows = span(tile_y0 + row * high, high, y0, y1, window[0])
    x, columns = span(tile_x0 + column * wide, wide, x0, x1, window[1])
    if rows == 0 or columns == 0:
        import numpy

        return numpy.zeros((rows, columns), coding.dtype)
    # A codestream of these tile-parts alone: a window needs no others.
    pixels: NDArray[Any] = decode(
        header + parts + b"\xff\xd9", (x, y, columns, rows), reduce=reduce, indexes=1, threads=1
    )
    return pixels
