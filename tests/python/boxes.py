"""JP2 boxes: those of a file, taken apart and put together anew."""

from __future__ import annotations

import struct
from pathlib import Path

Box = tuple[bytes, bytes]
"""Kind and contents."""


def split(data: bytes) -> list[Box]:
    """The boxes that follow one another."""
    found, at = [], 0
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        end = at + length if length else len(data)
        found.append((kind, data[at + head : end]))
        at = end
    return found


def build(kind: bytes, contents: bytes) -> bytes:
    """A box."""
    return struct.pack(">I4s", 8 + len(contents), kind) + contents


def join(found: list[Box]) -> bytes:
    """The boxes, one after the other."""
    return b"".join(build(*box) for box in found)


def with_jp2h(source: Path, target: Path, *added: Box) -> Path:
    """The file with these boxes in its header box, in place of all but the image header."""
    whole = split(source.read_bytes())
    header = [box for box in split(dict(whole)[b"jp2h"]) if box[0] == b"ihdr"]
    changed = [(kind, join([*header, *added]) if kind == b"jp2h" else contents) for kind, contents in whole]
    target.write_bytes(join(changed))
    return target
