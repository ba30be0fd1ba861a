"""What a cube has to know of a JP2, from the header that its row carries: how its samples are stored."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .._errors import MalformedError

SOT = 0xFF90


@dataclass(frozen=True)
class Coding:
    """How an image is coded."""

    origin: tuple[int, int]
    """Where the image begins on the reference grid."""
    tile_origin: tuple[int, int]
    """Where the first tile begins there."""
    width: int
    """Columns of pixels."""
    height: int
    """Rows of pixels."""
    tile: tuple[int, int]
    """Columns and rows of a tile."""
    components: int
    dtype: str
    """numpy's name for the type of its samples."""
    levels: int
    """How often the image can be halved."""

    @property
    def factors(self) -> list[int]:
        """Those of the images that it holds."""
        return [1 << level for level in range(self.levels + 1)]

    def tile_at(self, factor: int) -> tuple[int, int]:
        """Columns and rows of a tile of the image at 1/factor."""
        across, down = self.tile
        return -(-across // factor), -(-down // factor)

    def tiles_at(self, factor: int) -> tuple[int, int]:
        """How many tiles of the image at 1/factor stand side by side, and one below the other."""
        (across, down) = self.tile
        return -(-self.width // across), -(-self.height // down)

    def is_regular(self, factor: int) -> bool:
        """Whether the tiles of the image at 1/factor are chunks of one shape: all of them but those of its edge."""
        begins_with_a_tile = self.origin == self.tile_origin and all(side % factor == 0 for side in self.origin)
        is_one = self.tile[0] >= self.width and self.tile[1] >= self.height
        return begins_with_a_tile and (is_one or all(side % factor == 0 for side in self.tile))


def _segments(header: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker segments of the main header of a file that begins so, each with its marker, and the marker of SOT."""
    # SOC and SIZ stand side by side, and nowhere else (T.800 A.4.1).
    at = header.find(b"\xff\x4f\xff\x51") + 2
    while at >= 2 and at + 4 <= len(header):
        marker, length = struct.unpack_from(">HH", header, at)
        yield marker, header[at : at + 2 + length]
        if marker == SOT:
            return
        at += 2 + length


def coding_of(header: bytes) -> Coding:
    """What the main header says, by its SIZ and COD marker segments (T.800 A.5.1, A.6.1).

    Raises:
        MalformedError: It has not both.
    """
    siz, levels = None, None
    for marker, segment in _segments(header):
        if marker == 0xFF51 and len(segment) >= 43:
            siz = segment[4:]
        elif marker == 0xFF52 and len(segment) >= 10:
            levels = segment[9]
    if siz is None or levels is None:
        raise MalformedError("a row whose header has no SIZ or COD marker segment (T.800 A.5.1): make it anew")
    x1, y1, x0, y0, across, down, tile_x0, tile_y0 = struct.unpack_from(">8I", siz, 2)
    (components,) = struct.unpack_from(">H", siz, 34)
    bits, signed = (siz[36] & 0x7F) + 1, bool(siz[36] & 0x80)
    kind = "int" if signed and bits > 8 else "uint"
    size = 8 if bits <= 8 else 16 if bits <= 16 else 32
    origins = ((x0, y0), (tile_x0, tile_y0))
    return Coding(*origins, x1 - x0, y1 - y0, (across, down), components, f"{kind}{size}", levels)


LEFT_OUT = {0xFF55, 0xFF57, 0xFF63, 0xFF64}
"""TLM, PLM, CRG and COM (T.800 Annex A): of one file, and nothing that decoding needs."""


def template_of(header: bytes) -> str:
    """The main header of a file that begins so, without what is that file's alone, as text (base64): one for a series.

    Raises:
        MalformedError: There is none.
    """
    kept = bytearray(b"\xff\x4f")
    for marker, segment in _segments(header):
        if marker == SOT:
            return base64.b64encode(kept).decode()
        if marker not in LEFT_OUT:
            kept += segment
    raise MalformedError("a row whose header does not end with an SOT marker (T.800 A.4.2): make it anew")
