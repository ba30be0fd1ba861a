"""Reduced views of files of every structure that OpenJPEG's encoder makes are what its decoder makes of the file."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import apart
import gdalio
import jobs
import numpy as np
import opj
import pytest
from conftest import noise, only_once, vsitlm
from measure import Codestream
from test_overviews import ALL, count, view
from test_pixels import jp2c

LEVELS = 3
TILES = ["-t", "64,64", "-n", str(LEVELS + 1), "-PLT"]
ONE, THREE = noise(150, 200), noise(150, 200, 3, "uint8")

MADE = opj.structures(TILES, ONE, ONE, THREE) | {
    "SOP and EPH": (ONE, [*TILES, "-SOP", "-EPH"]),
    "tile-parts by component": (THREE, [*TILES, "-TP", "C", "-p", "CPRL"]),
    "offsets that are odd": (ONE, [*TILES, "-d", "37,21", "-T", "5,3"]),
    "one tile": (ONE, [*TILES[2:], "-p", "RPCL", *opj.PRECINCTS]),
    "one tile at an offset": (ONE, [*TILES[2:], "-d", "37,21"]),
    "two by two tiles of an uneven size": (ONE, ["-t", "101,77", *TILES[2:]]),
    "a colour transform": (THREE, [*TILES, "-mct", "1"]),
    "no colour transform": (THREE, [*TILES, "-mct", "0"]),
    "irreversible": (ONE, [*TILES, "-I"]),
    "irreversible with a colour transform": (THREE, [*TILES, "-I", "-r", "10"]),
    "subsampled": (ONE, [*TILES, "-s", "2,2"]),
    "every mode switch": (ONE, [*TILES, "-M", "63"]),
    "signed": (noise(150, 200, dtype="int16"), TILES),
    "a TLM of its own": (ONE, [*TILES, "-TLM"]),
    "tile indexes of 16 bits": (noise(140, 140), ["-t", "8,8", *TILES[2:]]),
}


def reduced(path: Path, k: int) -> bytes:
    """A reduced view, whole."""
    return gdalio.copy_bytes(view(path, 1 << k), 4096)


def assert_right(path: Path, levels: int = LEVELS) -> None:
    """Views are what a decoder makes of the file, and what GDAL reads is what it reads of the file."""
    with gdalio.configured(ALL):
        assert gdalio.copy_bytes(f"/vsitlm/{path}.ovr", 4096).startswith(b"<VRTDataset")
    for k in range(1, levels + 1):
        content = reduced(path, k)
        assert opj.decompress(content) == opj.decompress(path, k), k
        assert b"\xff\x55" in content[: content.index(b"\xff\x90\x00\x0a")] and content.endswith(b"\xff\xd9")
    if path.stem == "subsampled":
        return  # GDAL does not open it
    assert count(f"/vsitlm/{path}") == count(path)
    with gdalio.configured(ALL):
        assert count(f"/vsitlm/{path}") == levels
        assert_equal_overviews(path, levels)


def assert_equal_overviews(path: Path, levels: int) -> None:
    if "offset" in path.stem:
        return  # GDAL 3.12 mixes up the tiles of the plain file: "Assertion at line 646 of jp2opjlikedataset.cpp failed"
    for number in range(min(count(path), levels)):
        assert np.array_equal(gdalio.overview(f"/vsitlm/{path}", number), gdalio.overview(str(path), number))


# The views are the same under every GDAL: what takes long is checked against OpenJPEG once.
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[only_once] * ("3 layers" in kind)) for kind in MADE])
def test_files_of_every_kind_have_their_views(kind: str, tmp_path: Path) -> None:
    pixels, arguments = MADE[kind]
    assert_right(opj.compress(tmp_path / f"{kind}.jp2", pixels, *arguments))


def half_colours(path: Path, height: int, width: int, *arguments: str) -> Path:
    """Y, Cb and Cr of 4:2:0: three components, two of them of half the width and height."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(np.random.default_rng(5).bytes(height * width * 3 // 2))
    form = f"{width},{height},3,8,u@1x1:2x2:2x2"
    opj.run("opj_compress", "-i", raw, "-F", form, "-o", path, *TILES, "-mct", "0", *arguments)
    return path


@pytest.mark.parametrize("order", ["LRCP", "RPCL", "CPRL"])
def test_colours_of_half_the_resolution_have_views(order: str, tmp_path: Path) -> None:
    assert_right(half_colours(tmp_path / "a.jp2", 160, 256, "-p", order))


def test_a_list_has_no_view_that_gdal_cannot_open(tmp_path: Path) -> None:
    path = half_colours(tmp_path / "a.jp2", 160, 200)
    with gdalio.configured({"VSITLM_OVERVIEWS": "NO"}):
        assert count(f"/vsitlm/{path}") == 1
    with gdalio.configured(ALL):
        try:
            found = count(f"/vsitlm/{path}")
        except (ZeroDivisionError, AttributeError):  # an overview that is listed and is not there
            found = 0
        assert found == 2


@pytest.mark.parametrize("order", ["LRCP", "RPCL"])
def test_decimated_reads_of_colours_of_half_the_resolution_are_the_plain_files(order: str, tmp_path: Path) -> None:
    path = half_colours(tmp_path / "a.jp2", 320, 512, "-p", order)
    plain, ours = (jobs.play(("describe", place), *decimated(place)) for place in (str(path), f"/vsitlm/{path}"))
    assert ours[0] == plain[0]
    for one, other in zip(plain[1:], ours[1:]):
        assert type(one) is type(other)
        assert isinstance(one, gdalio.Failed) or np.array_equal(one, other)


def decimated(place: str) -> list[jobs.Step]:
    """Reads of fewer pixels."""
    return [("read", place, None, None, (320 // by, 512 // by)) for by in (2, 3, 4)]


def test_a_local_file_replaced_within_a_second_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.jp2"
    made = [opj.compress(tmp_path / f"{order}.jp2", THREE, *TILES, "-p", order) for order in ("LRCP", "CPRL")]
    assert made[0].stat().st_size == made[1].stat().st_size
    for number, other in enumerate(made):
        path.write_bytes(other.read_bytes())
        os.utime(path, ns=(0, 1_700_000_000_000_000_000 + 50_000_000 * number))
        try:
            pixels = gdalio.read(f"/vsitlm/{path}")
        except gdalio.Failed as failure:
            pytest.fail(str(failure))
        assert np.array_equal(pixels, THREE)


def test_a_codestream_without_boxes_has_its_views(tmp_path: Path) -> None:
    path = opj.compress(tmp_path / "a.j2k", ONE, *TILES)
    for k in range(1, LEVELS + 1):
        content = reduced(path, k)
        assert content.startswith(b"\xff\x4f\xff\x51") and opj.decompress(content) == opj.decompress(path, k)


@pytest.mark.parametrize("tile, levels", [(50, 1), (52, 2), (75, 0)])
def test_tiles_that_make_no_grid_have_no_view(tile: int, levels: int, tmp_path: Path) -> None:
    path = opj.compress(tmp_path / "a.jp2", noise(260, 300), "-t", f"{tile},{tile}", *TILES[2:])
    for k in range(1, levels + 1):
        assert opj.decompress(reduced(path, k)) == opj.decompress(path, k)
    with pytest.raises(gdalio.Failed, match=f"tiles of {tile} by {tile} make no grid at 1/{2 << levels}"):
        reduced(path, levels + 1)
    # GDAL 3.12 finds overviews of the view that a list of one view has.
    own, ours = count(path), count(f"/vsitlm/{path}")
    assert own == levels and own <= ours <= LEVELS
    for number in range(ours):
        right = opj.decompress(path, number + 1)
        assert gdalio.overview(f"/vsitlm/{path}", number).astype("<u2").tobytes() == right


NO_VIEWS = {
    "no PLT": (ONE, TILES[:-1], "no PLT"),
    "RGN": (ONE, [*TILES, "-ROI", "c=0,U=5"], "RGN"),
    "POC": (THREE, [*TILES, "-POC", "T1=0,0,1,3,3,CPRL/T1=3,0,1,4,3,CPRL"], "POC"),
    "one resolution": (ONE, ["-t", "64,64", "-n", "1", "-PLT"], "full size only"),
}


@pytest.mark.parametrize("kind", NO_VIEWS)
def test_what_has_no_views_keeps_its_own_overviews(kind: str, tmp_path: Path) -> None:
    pixels, arguments, why = NO_VIEWS[kind]
    path = opj.compress(tmp_path / "a.jp2", pixels, *arguments)
    place = f"/vsitlm/{path}"
    with pytest.raises(gdalio.Failed):
        gdalio.copy_bytes(f"{place}.ovr", 4096)
    with pytest.raises(gdalio.Failed, match=rf"a\.jp2.*{why}"):
        reduced(path, 1)
    assert gdalio.describe(place) == gdalio.describe(str(path))
    for number in range(count(path)):
        assert np.array_equal(gdalio.overview(place, number), gdalio.overview(str(path), number))


PARSED = {name: MADE[name] for name in MADE if "plain" in name or "precincts" in name or "SOP" in name}


@only_once
@pytest.mark.parametrize("kind", PARSED)
def test_packets_that_the_command_has_parsed_make_views(kind: str, tmp_path: Path) -> None:
    pixels, arguments = PARSED[kind]
    path = opj.compress(tmp_path / "a.jp2", pixels, *[each for each in arguments if each != "-PLT"])
    index = tmp_path / "index.parquet"
    done = vsitlm("index", "--parse-packets", path, "-o", index)
    assert done.returncode == 0
    with gdalio.configured({"VSITLM_INDEX": str(index)}):
        if "mixes resolutions" in done.stderr:
            assert "LRCP, 1" not in kind and "RLCP" not in kind and "RPCL" not in kind
            assert gdalio.describe(f"/vsitlm/{path}") == gdalio.describe(str(path))
        else:
            assert_right(path)


def insert(path: Path, at: int, segment: bytes) -> None:
    """Inserts a marker segment; the jp2c box, which then ends with the file, may be as long as it is (LBox = 0)."""
    content = path.read_bytes()
    box = jp2c(content)
    content = content[:box] + bytes(4) + content[box + 4 :]
    path.write_bytes(content[:at] + segment + content[at:])


def segments_of_component(content: bytes, component: int) -> bytes:
    """COC and QCC that say of a component what COD and QCD say of all."""
    start = jp2c(content)
    cod, qcd = content.index(b"\xff\x52", start), content.index(b"\xff\x5c", start)
    cod = content[cod + 4 : cod + 2 + struct.unpack_from(">H", content, cod + 2)[0]]
    qcd = content[qcd + 4 : qcd + 2 + struct.unpack_from(">H", content, qcd + 2)[0]]
    coc = bytes([component, cod[0] & 1]) + cod[5:]
    qcc = bytes([component]) + qcd
    return b"".join(struct.pack(">HH", code, len(body) + 2) + body for code, body in ((0xFF53, coc), (0xFF5D, qcc)))


@pytest.mark.parametrize("where", ["main header", "first tile-part", "second tile-part"])
@pytest.mark.parametrize("arguments", [[], opj.PRECINCTS, ["-I"], ["-p", "PCRL"]], ids=str)
def test_segments_of_components_are_understood(where: str, arguments: list[str], tmp_path: Path) -> None:
    path = opj.compress(tmp_path / "a.jp2", THREE, *TILES, "-mct", "0", *arguments)
    content, stream = path.read_bytes(), Codestream.scan(path)
    segments = segments_of_component(content, 2)
    right = [opj.decompress(path, k) for k in range(LEVELS + 1)]
    if where == "main header":
        insert(path, stream.first_sot, segments)
    else:
        _, sot, length = stream.tile_parts[where == "second tile-part"]
        patched = content[: sot + 6] + struct.pack(">I", length + len(segments)) + content[sot + 10 :]
        path.write_bytes(patched)
        insert(path, sot + 12, segments)
    assert [opj.decompress(path, k) for k in range(LEVELS + 1)] == right
    assert_right(path)


PLT = b"\xff\x58"


def longer(plt: bytearray) -> None:
    """A packet is told a byte longer."""
    plt[-1] ^= 1


def fewer(plt: bytearray) -> None:
    """Two lengths are one."""
    at = next(at for at in range(5, len(plt)) if not plt[at] & 0x80)
    plt[at] |= 0x80


def more(plt: bytearray) -> None:
    """One length is two."""
    at = next(at for at in range(5, len(plt)) if plt[at] & 0x80)
    plt[at] &= 0x7F


def noisy(plt: bytearray) -> None:
    """Bytes that mean nothing."""
    plt[5:] = np.random.default_rng(3).bytes(len(plt) - 5)
    plt[-1] &= 0x7F  # OpenJPEG 2.5.3 refuses a PLT that ends inside a length


@pytest.mark.parametrize("order", ["LRCP", pytest.param("PCRL", marks=only_once)])
@pytest.mark.parametrize("lie", [longer, fewer, more, noisy])
def test_a_plt_that_lies_leaves_the_files_own_overviews(lie: Callable[[bytearray], None], order: str, tmp_path: Path) -> None:
    path = opj.compress(tmp_path / "lying.jp2", noise(260, 300), *TILES, "-p", order, *opj.PRECINCTS)
    content = path.read_bytes()
    at = content.index(PLT, Codestream.scan(path).tile_parts[3][1])
    length = struct.unpack_from(">H", content, at + 2)[0] + 2
    plt = bytearray(content[at : at + length])
    lie(plt)
    assert plt != content[at : at + length]
    path.write_bytes(content[:at] + plt + content[at + length :])
    index, place = tmp_path / "index.parquet", f"/vsitlm/{path}"
    done = vsitlm("index", path, "-o", index)
    assert done.returncode == 0 and "lying.jp2" in done.stderr and "PLT" in done.stderr
    own = count(path)
    steps = [("describe", place), *(("overview", place, number) for number in range(own)), ("copy", view(path, 2), 4096)]
    for options in ({}, {"VSITLM_INDEX": str(index)}):
        done = apart.outcome(jobs.play, *steps, options=options)
        assert done.error is None, done.output
        described, *overviews, failure = done.value
        assert described == gdalio.describe(str(path))
        assert all(np.array_equal(ours, gdalio.overview(str(path), n)) for n, ours in enumerate(overviews))
        assert isinstance(failure, gdalio.Failed) and "lying.jp2" in str(failure) and "PLT" in str(failure)
