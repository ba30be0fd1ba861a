"""What a cube has to know of a JP2, from the header that its row carries: how its samples are stored."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass

from .._errors import MalformedError


@dataclass(frozen=True)
class Coding:
    """How an image is coded."""

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


def coding_of(header: bytes) -> Coding:
    """What the main header says, by its SIZ and COD marker segments (T.800 A.5.1, A.6.1).

    Raises:
        MalformedError: It has not both.
    """
    # SOC and SIZ stand side by side, and nowhere else (A.4.1).
    at = header.find(b"\xff\x4f\xff\x51")
    siz, levels = None, None
    at += 2
    while at >= 2 and at + 4 <= len(header):
        marker, length = struct.unpack_from(">HH", header, at)
        body = header[at + 4 : at + 2 + length]
        if marker == 0xFF51 and len(body) >= 39:
            siz = body
        elif marker == 0xFF52 and len(body) >= 6:
            levels = body[5]
        elif marker == 0xFF90:
            break
        at += 2 + length
    if siz is None or levels is None:
        raise MalformedError("a row whose header has no SIZ or COD marker segment (T.800 A.5.1): make it anew")
    x1, y1, x0, y0, across, down = struct.unpack_from(">6I", siz, 2)
    (components,) = struct.unpack_from(">H", siz, 34)
    bits, signed = (siz[36] & 0x7F) + 1, bool(siz[36] & 0x80)
    kind = "int" if signed and bits > 8 else "uint"
    size = 8 if bits <= 8 else 16 if bits <= 16 else 32
    return Coding(x1 - x0, y1 - y0, (across, down), components, f"{kind}{size}", levels)


LEFT_OUT = {0xFF55, 0xFF57, 0xFF63, 0xFF64}
"""TLM, PLM, CRG and COM (T.800 Annex A): of one file, and nothing that decoding needs."""


def template_of(header: bytes) -> str:
    """The main header of a file that begins so, without what is that file's alone, as text (base64): one for a series.

    Raises:
        MalformedError: There is none.
    """
    at = header.find(b"\xff\x4f\xff\x51")
    kept, at = bytearray(b"\xff\x4f"), at + 2
    while at >= 2 and at + 4 <= len(header):
        marker, length = struct.unpack_from(">HH", header, at)
        if marker == 0xFF90:
            return base64.b64encode(kept).decode()
        if marker not in LEFT_OUT:
            kept += header[at : at + 2 + length]
        at += 2 + length
    raise MalformedError("a row whose header does not end with an SOT marker (T.800 A.4.2): make it anew")
