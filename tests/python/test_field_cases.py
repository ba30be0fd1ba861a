"""Files as they are met in the field: whatever plain GDAL opens, `/vsitlm/` opens, with the same pixels and errors."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import Sample, Site, make_index, noise, vsitlm
from measure import Codestream
from test_bad_input import patched
from test_pixels import jp2c, last_psot_0, open_ended

SOD, PLT, PPT, EPH = b"\xff\x93", b"\xff\x58", b"\xff\x61", b"\xff\x92"


def scanned(content: bytes, folder: Path) -> Codestream:
    """Where the parts of a file lie."""
    file = folder / "scanned.jp2"
    file.write_bytes(content)
    return Codestream.scan(file)


def with_tlm(content: bytes, folder: Path, change: Callable[[bytearray], None]) -> bytes:
    """A file with a TLM marker segment of its own that is changed."""
    stream = scanned(content, folder)
    tlm = bytearray(stream.tlm())
    change(tlm)
    return open_ended(content)[: stream.first_sot] + tlm + content[stream.first_sot :]


def in_main_header(content: bytes, folder: Path, segment: bytes) -> bytes:
    """A file with one more marker segment at the end of its main header."""
    first = scanned(content, folder).first_sot
    return open_ended(content)[:first] + segment + content[first:]


def in_tile_headers(content: bytes, folder: Path, change: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> bytes:
    """A file whose tile-parts have other marker segments and packets: both are handed to `change`."""
    stream = scanned(content, folder)
    out = [open_ended(content)[: stream.first_sot]]
    for tile, at, length in stream.tile_parts:
        sod = content.index(SOD, at)
        segments, packets = change(content[at + 12 : sod], content[sod + 2 : at + length])
        size = 12 + len(segments) + 2 + len(packets)
        out += [struct.pack(">HHHIBB", 0xFF90, 10, tile, size, 0, 1), segments, SOD, packets]
    return b"".join([*out, b"\xff\xd9"])


def plt_lengths(segments: bytes) -> list[int]:
    """The packet lengths of the PLT marker segments."""
    lengths, value, at = [], 0, 0
    while at < len(segments):
        length = struct.unpack_from(">H", segments, at + 2)[0]
        if segments[at : at + 2] == PLT:
            for byte in segments[at + 5 : at + 2 + length]:
                value = value << 7 | byte & 0x7F
                if byte < 0x80:
                    lengths.append(value)
                    value = 0
        at += 2 + length
    return lengths


def packed_headers(segments: bytes, packets: bytes) -> tuple[bytes, bytes]:
    """The packets' headers in a PPT marker segment: EPH tells where each ends."""
    headers, bodies, at = b"", b"", 0
    for length in plt_lengths(segments):
        packet = packets[at : at + length]
        end = packet.index(EPH) + 2
        headers, bodies, at = headers + packet[:end], bodies + packet[end:], at + length
    return PPT + struct.pack(">HB", 3 + len(headers), 0) + headers, bodies


def padded_plt(segments: bytes, packets: bytes) -> tuple[bytes, bytes]:
    """A PLT with lengths of 0 behind those of the packets that there are."""
    return segments + PLT + struct.pack(">HB", 3 + 491, 1) + bytes(491), packets


def tpsot_from_1(content: bytes, folder: Path) -> bytes:
    """Each tile's only tile-part is numbered 1."""
    for _, at, _ in scanned(content, folder).tile_parts:
        content = patched(content, at + 10, b"\x01")
    return content


def without_eoc(content: bytes) -> bytes:
    """The last bytes are those of the last tile-part."""
    return open_ended(content)[:-2]


def set_byte(at: int, value: int) -> Callable[[bytearray], None]:
    """Sets a byte."""
    return lambda content: content.__setitem__(at, value)


Make = Callable[[bytes, Path], bytes]
CASES: dict[str, Make] = {
    "zeros behind EOC": lambda good, _: open_ended(good) + bytes(5000),
    "zeros behind the last tile-part": lambda good, _: without_eoc(good) + bytes(5000),
    "noise behind EOC": lambda good, _: open_ended(good) + np.random.default_rng(3).bytes(5000),
    "jp2c past the end": lambda good, _: patched(good, jp2c(good), struct.pack(">I", len(good) - jp2c(good) + 100)),
    "cut": lambda good, _: open_ended(good)[: len(good) * 6 // 10],
    "cut, jp2c with a length": lambda good, _: good[: len(good) * 6 // 10],
    "TLM: Stlm 0x70": lambda good, folder: with_tlm(good, folder, set_byte(5, 0x70)),
    "TLM: wrong tile": lambda good, folder: with_tlm(good, folder, set_byte(11, 3)),
    "TLM: wrong length": lambda good, folder: with_tlm(good, folder, set_byte(10, 7)),
    "TLM: no tile": lambda good, folder: with_tlm(good, folder, set_byte(11, 200)),
    "Psot = 12 after all tiles": lambda good, _: (
        open_ended(good)[:-2] + struct.pack(">HHHIBB", 0xFF90, 10, 0, 12, 1, 2) + b"\xff\xd9"
    ),
    "PPT": lambda good, folder: in_tile_headers(good, folder, packed_headers),
    "padded PLT": lambda good, folder: in_tile_headers(good, folder, padded_plt),
    "unknown marker segment of length 0": lambda good, folder: in_main_header(good, folder, b"\xff\x6f\0\0"),
    "unknown marker without a segment": lambda good, folder: in_main_header(good, folder, b"\xff\x6f"),
    "unknown marker segment": lambda good, folder: in_main_header(good, folder, b"\xff\x6f\0\4ab"),
    "Psot = 0": lambda good, _: last_psot_0(good),
    "Psot = 0, no EOC": lambda good, _: without_eoc(last_psot_0(good)),
    "no EOC": lambda good, _: without_eoc(good),
    "last byte missing": lambda good, _: open_ended(good)[:-1],
    "TPsot from 1 on": tpsot_from_1,
    "a TIFF": lambda _, folder: tiff(folder),
    "text": lambda *_: b"<html>this is no image</html>\n" * 100,
}


def tiff(folder: Path) -> bytes:
    """A GeoTIFF, without a driver that this needs."""
    pixels = noise(20, 30, dtype="uint8")
    tags = [(256, 30), (257, 20), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 20), (279, 600)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = struct.pack("<2sHI", b"II", 42, 8 + 600)
    return head + pixels.tobytes() + struct.pack("<H", len(tags)) + directory + bytes(4)
