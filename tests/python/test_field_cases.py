"""Files as they are met in the field: whatever plain GDAL opens, `/vsitlm/` opens, with the same pixels and errors."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import Site, band_path, make_index, noise, vsitlm
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


EXACT = [
    "zeros behind EOC",
    "zeros behind the last tile-part",
    "noise behind EOC",
    "jp2c past the end",
    "TLM: Stlm 0x70",
    "TLM: wrong tile",
    "TLM: wrong length",
    "TLM: no tile",
    "Psot = 12 after all tiles",
    "PPT",
    "padded PLT",
    "unknown marker segment",
    "Psot = 0",
    "Psot = 0, no EOC",
    "no EOC",
    "last byte missing",
    "TPsot from 1 on",
]
"""What is read exactly, some of it where plain GDAL fails. An index has rows of them."""

TILES: list[gdalio.Window] = [(0, 0, 64, 64), (64, 0, 64, 64), (0, 64, 64, 56), (64, 64, 64, 56)]
"""One by one, since plain GDAL hides what fails in a read of several."""

PIXELS = noise(120, 128, dtype="uint8")


@pytest.fixture(scope="module")
def good(folder: Path) -> bytes:
    """Two by two tiles of 64 px with PLT and EPH."""
    file = folder / "field.jp2"
    gdalio.make_jp2(file, PIXELS, BLOCKXSIZE=64, BLOCKYSIZE=64, RESOLUTIONS=3, PLT="YES", EPH="YES")
    return file.read_bytes()


Place = tuple[Path, str]
"""A local file and the URL of the same."""


@pytest.fixture(scope="module")
def cases(served: Site, good: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Place]:
    """Where every case lies, each by the name of another product."""
    folder, placed = tmp_path_factory.mktemp("cases"), {}
    for day, (case, make) in enumerate(CASES.items(), 1):
        name = f"field/{band_path('SCL', 20)}".replace("20240601", f"202406{day:02}")
        url = served.put_bytes(name, make(good, folder))
        placed[case] = (served.folder / name, url)
    return placed


def window_of(window: gdalio.Window) -> np.ndarray:
    """The pixels that were written."""
    left, top, width, height = window
    return PIXELS[:, top : top + height, left : left + width]


def is_as_good(got: object, plain: object, window: gdalio.Window | None) -> bool:
    """Whether a read has come to the same as plain GDAL's, or to the right pixels where that fails."""
    if isinstance(got, gdalio.Failed):
        return isinstance(plain, gdalio.Failed)
    return np.array_equal(got, window_of(window) if isinstance(plain, gdalio.Failed) else plain)


def test_what_plain_gdal_reads_is_read_alike_by_every_way(cases: dict[str, Place], tmp_path: Path) -> None:
    reads: list[tuple[str, str, gdalio.Window | None]] = []
    for case, (file, url) in cases.items():
        archive = tmp_path / f"{len(reads)}.zip"
        with zipfile.ZipFile(archive, "w") as written:
            written.write(file, "a.jp2")
        windows = [None, (5, 5, 10, 10)] if file.read_bytes().startswith((b"II", b"<")) else TILES
        places = [str(file), f"/vsitlm/{file}", f"/vsitlm/{url}", f"/vsitlm//vsizip/{archive}/a.jp2"]
        reads += [(case, place, window) for window in windows for place in places]
    done = apart.outcome(jobs.play, *(("read", place, window) for _, place, window in reads))
    assert done.error is None and done.returncode == 0, done.output
    differ, plain = [], None
    for (case, place, window), got in zip(reads, done.value):
        if not place.startswith("/vsitlm/"):
            plain = got
        elif not is_as_good(got, plain, window):
            differ.append(f"{case}: {place} {window}: {got} instead of {plain}")
    assert differ == []


def test_what_is_understood_is_read_exactly_with_a_row_and_without(cases: dict[str, Place], tmp_path: Path) -> None:
    index = make_index(tmp_path / "index.parquet", *(cases[case][1] for case in EXACT))
    checked = vsitlm("validate", index)
    assert checked.returncode == 0 and f"{len(EXACT)} rows" in checked.stdout, checked.stdout + checked.stderr
    reads = [(case, f"/vsitlm/{place}") for case in EXACT for place in cases[case]]
    for options in ({}, {"VSITLM_INDEX": str(index), "VSITLM_ON_MISS": "fail"}):
        done = apart.outcome(jobs.play, *(("read", place) for _, place in reads), options=options)
        assert done.error is None and done.returncode == 0, done.output
        wrong = [f"{case}: {place}: {got}" for (case, place), got in zip(reads, done.value) if not right(got)]
        assert wrong == [], f"{options}\n{done.output}"
        assert "unchanged" not in done.output and "PLT" not in done.output, done.output


def right(got: object) -> bool:
    """Whether these are the pixels of the whole image."""
    return isinstance(got, np.ndarray) and np.array_equal(got, PIXELS)


def test_what_is_not_understood_passes_with_one_warning(cases: dict[str, Place]) -> None:
    places = [place for case in ("cut", "a TIFF", "unknown marker segment of length 0") for place in cases[case]]
    done = apart.outcome(jobs.play, *(("copy", f"/vsitlm/{place}", 1 << 16) for place in places * 2))
    assert done.error is None, done.output
    for place, got in zip(places * 2, done.value):
        local = place if isinstance(place, Path) else cases_file(cases, place)
        assert got == local.read_bytes(), f"{place}\n{done.output}"
        told = [line for line in done.output.splitlines() if "is served unchanged" in line and f"{place} " in line]
        assert len(told) == 1, f"{place}\n{done.output}"
    options = {"VSITLM_ON_MISS": "fail"}
    for refused in apart.call(jobs.play, *(("read", f"/vsitlm/{place}") for place in places), options=options):
        assert isinstance(refused, gdalio.Failed) and "VSITLM_ON_MISS=fail" in str(refused)


def cases_file(cases: dict[str, Place], url: str) -> Path:
    """The file behind a URL."""
    return next(file for file, other in cases.values() if other == url)


def test_a_padded_plt_has_views(cases: dict[str, Place], good: bytes, tmp_path: Path) -> None:
    (tmp_path / "good.jp2").write_bytes(good)
    views = ["?overview=2", "?window=10,20,30,40"]
    places = [tmp_path / "good.jp2", *cases["padded PLT"]]
    paths = [f"/vsitlm{view}&url={place}" for place in places for view in views]
    done = apart.outcome(jobs.play, *(("read", path) for path in paths))
    assert done.error is None and "PLT" not in done.output, done.output
    for got, expected in zip(done.value[2:], done.value[:2] * 2):
        assert isinstance(expected, np.ndarray) and np.array_equal(got, expected), got


def test_a_tlm_with_the_right_sum_is_read_at_the_second_open(site: Site, good: bytes, tmp_path: Path) -> None:
    def swap(tlm: bytearray) -> None:
        tlm[7:11], tlm[12:16] = tlm[12:16], tlm[7:11]

    content = with_tlm(good, tmp_path, swap)
    (tmp_path / "a.jp2").write_bytes(content)
    url = site.put_bytes(f"{tmp_path.name}/a.jp2", content)
    local, first, second = apart.call(
        jobs.play, ("read", f"/vsitlm/{tmp_path}/a.jp2"), ("read", f"/vsitlm/{url}"), ("read", f"/vsitlm/{url}")
    )
    assert np.array_equal(local, PIXELS) and np.array_equal(second, PIXELS)
    assert np.array_equal(first, PIXELS) or isinstance(first, gdalio.Failed)
