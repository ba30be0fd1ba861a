"""Decoding: the pixels of every structure that OpenJPEG makes, as OpenJPEG decodes them; and what is damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import opj
import pytest

import vsitlm

LEVELS = 3
TILES = ["-t", "64,64", "-n", str(LEVELS + 1)]


def pixels(bands: int = 1, depth: int = 8, signed: bool = False, height: int = 100, width: int = 150) -> np.ndarray:
    """Pixels with smooth parts, edges, noise, and the extreme values of their depth."""
    random = np.random.default_rng(depth + 40 * bands)
    y, x = np.mgrid[:height, :width]
    planes = []
    for band in range(bands):
        plane = np.sin((x + 9 * band) / 17) * np.cos(y / 23) / 2 + (x > 90) * 0.2 + random.normal(0, 0.05, x.shape)
        plane[30:50, 20:60] = random.random((20, 40)) - 0.5
        plane[60:66, :] = (x[60:66] // 3 % 2) - 0.5
        planes.append(plane)
    low = -(1 << depth - 1) if signed else 0
    high = low + (1 << depth) - 1
    kind = f"{'' if signed else 'u'}int{8 if depth <= 8 else 16}"
    return np.clip(np.rint((np.stack(planes) + 0.5) * (high - low) + low), low, high).astype(kind)


ONE, THREE, DEEP = pixels(), pixels(3), pixels(depth=16)

REVERSIBLE = opj.structures(TILES, DEEP, ONE, THREE) | {
    "SOP and EPH": (ONE, [*TILES, "-SOP", "-EPH"]),
    "offsets that are odd": (ONE, [*TILES, "-d", "37,21", "-T", "5,3"]),
    "one tile": (DEEP, [*TILES[2:], "-p", "RPCL", *opj.PRECINCTS]),
    "one tile at an odd offset": (ONE, [*TILES[2:], "-d", "37,21"]),
    "two by two tiles of an uneven size": (ONE, ["-t", "101,77", *TILES[2:]]),
    "a colour transform": (THREE, [*TILES, "-mct", "1"]),
    "no colour transform": (THREE, [*TILES, "-mct", "0"]),
    "two bands": (pixels(2), TILES),
    "no levels": (DEEP, ["-n", "1"]),
    "tiles of a pixel": (ONE[:, :9, :13], ["-t", "1,1", "-n", "1"]),
    "signed": (pixels(depth=16, signed=True), TILES),
    "signed, of 8 bits": (pixels(signed=True), TILES),
    **{
        f"code-blocks of {size}": (DEEP, ["-b", size]) for size in ("4,4", "4,1024", "1024,4", "8,32", "16,64", "64,16")
    },
    # Table A.19: bypass 1, reset 2, termination 4, vertically causal 8, predictable termination 16, symbols 32.
    **{f"style {style}": (DEEP, [*TILES, "-M", str(style)]) for style in range(64)},
    **{f"style {style}, 3 layers": (DEEP, [*TILES, *opj.LAYERS[3], "-M", str(style)]) for style in (1, 4, 5, 13, 63)},
}

IRREVERSIBLE = {
    "plain": (ONE, [*TILES, "-I"]),
    "of 16 bits": (DEEP, [*TILES, "-I"]),
    "at a rate": (DEEP, [*TILES, "-I", "-r", "10"]),
    "layers": (THREE, [*TILES, "-I", *opj.LAYERS[3], *opj.PRECINCTS]),
    "a colour transform": (THREE, [*TILES, "-I", "-mct", "1", "-r", "4"]),
    "one tile at an odd offset": (ONE, [*TILES[2:], "-I", "-d", "37,21"]),
    "signed": (pixels(depth=16, signed=True), [*TILES, "-I"]),
    "every style": (DEEP, [*TILES, "-I", "-M", "63"]),
}


def right(path: Path, made: np.ndarray, k: int) -> np.ndarray:
    """The image at 1/2^k as OpenJPEG decodes it."""
    bands = made.shape[0]
    raw = np.frombuffer(opj.decompress(path, k), made.dtype)
    # Offsets decide how sizes are rounded.
    for height in {made.shape[1] >> k, -(-made.shape[1] >> k)}:
        for width in {made.shape[2] >> k, -(-made.shape[2] >> k)}:
            if bands * height * width == raw.size:
                return raw.reshape(bands, height, width)
    raise AssertionError(f"{raw.size} samples for {made.shape} at 1/{1 << k}")


def assert_alike(path: Path, made: np.ndarray, tolerance: int = 0) -> None:
    """Whole images and random windows, at every factor, are what OpenJPEG decodes."""
    data = path.read_bytes()
    random = np.random.default_rng(len(data))
    for k in range(levels(data) + 1):
        whole = vsitlm.decode(data, reduce=k)
        expected = right(path, made, k)
        assert whole.shape == expected.shape and np.abs(whole.astype(int) - expected).max() <= tolerance, k
        height, width = whole.shape[1:]
        for _ in range(12):
            x, y = random.integers(width), random.integers(height)
            across, down = 1 + random.integers(width - x), 1 + random.integers(height - y)
            part = vsitlm.decode(data, (int(x), int(y), int(across), int(down)), reduce=k, threads=1 + int(x) % 3)
            of_whole = whole[:, y : y + down, x : x + across]
            # The irreversible transform of a window adds up the same numbers.
            assert np.array_equal(part, of_whole), (k, x, y, across, down)


def levels(data: bytes) -> int:
    """The number of decomposition levels (T.800 A.6.1)."""
    return data[data.index(b"\xff\x52\x00") + 9]


@pytest.mark.parametrize("kind", REVERSIBLE)
def test_reversible_files_are_decoded_as_openjpeg_does(kind: str, tmp_path: Path) -> None:
    made, arguments = REVERSIBLE[kind]
    assert_alike(opj.compress(tmp_path / "a.j2k", made, *arguments), made)


@pytest.mark.parametrize("kind", IRREVERSIBLE)
def test_irreversible_files_are_decoded_within_one(kind: str, tmp_path: Path) -> None:
    made, arguments = IRREVERSIBLE[kind]
    assert_alike(opj.compress(tmp_path / "a.j2k", made, *arguments), made, tolerance=1)


@pytest.mark.parametrize("depth", [1, 2, 5, 7, 9, 12, 15])
@pytest.mark.parametrize("signed", [False, True])
def test_every_depth(depth: int, signed: bool, tmp_path: Path) -> None:
    made = pixels(depth=depth, signed=signed) if depth > 1 else pixels(depth=depth)
    data = bytearray(opj.compress(tmp_path / "a.j2k", made, *TILES).read_bytes())
    assert np.array_equal(vsitlm.decode(data), made)
    # By SIZ they are of 8 or 16 bits. Samples are clamped to what it says.
    ssiz = 42
    assert data[ssiz] & 0x7F == 8 * made.itemsize - 1
    data[ssiz] -= 1
    half = 1 << 8 * made.itemsize - 2
    shift = 0 if signed and depth > 1 else half
    clamped = np.clip(made.astype(int) - shift, *((-half, half - 1) if shift == 0 else (0, 2 * half - 1)))
    assert np.array_equal(vsitlm.decode(data), clamped)


def test_bands_and_types(tmp_path: Path) -> None:
    data = opj.compress(tmp_path / "a.jp2", THREE, *TILES).read_bytes()
    assert np.array_equal(vsitlm.decode(memoryview(data), indexes=[3, 1]), THREE[[2, 0]])
    second = vsitlm.decode(bytearray(data), ((10, 40), (5, 30)), indexes=2)
    assert np.array_equal(second, THREE[1, 10:40, 5:30]) and second.flags.writeable and second.flags.owndata is False
    with pytest.raises(vsitlm.Error, match="there is no band 4: the image has 3"):
        vsitlm.decode(data, indexes=4)
    for window in [(0, 0, 151, 1), (150, 0, 1, 1), (0, 0, 0, 5), (-1, 0, 2, 2)]:
        with pytest.raises(vsitlm.WindowError):
            vsitlm.decode(data, window)
    with pytest.raises(vsitlm.OverviewError, match="factors are 2, 4, 8"):
        vsitlm.decode(data, reduce=4)


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    data = opj.compress(tmp_path / "a.j2k", ONE, *TILES).read_bytes()
    with_poc = data.replace(b"\xff\x5c", b"\xff\x5f\x00\x09\0\0\0\1\4\1\0" + b"\xff\x5c", 1)
    style = data.index(b"\xff\x52\x00") + 12
    high_throughput = data[:style] + b"\x40" + data[style + 1 :]
    of_one = data[: style - 4] + b"\1" + data[style - 3 :]
    roi = opj.compress(tmp_path / "roi.j2k", ONE, *TILES, "-ROI", "c=0,U=7").read_bytes()
    sampled = opj.compress(tmp_path / "sampled.j2k", THREE, *TILES, subsampling=2).read_bytes()
    for number, (left_out, feature) in enumerate(
        [(with_poc, "POC"), (high_throughput, "0x40"), (of_one, "fewer than 3"), (roi, "RGN"), (sampled, "sub-sampled")]
    ):
        with pytest.raises(vsitlm.UndecodedError, match=feature):
            vsitlm.decode(left_out)
        path = tmp_path / f"{number}.j2k"
        path.write_bytes(left_out)
        assert feature in str(vsitlm.scan(path)["left_out"])
    assert vsitlm.scan(tmp_path / "a.j2k")["left_out"] is None


def test_what_is_damaged_is_an_error_that_says_where(tmp_path: Path) -> None:
    data = opj.compress(tmp_path / "a.j2k", DEEP, *TILES, "-M", "32").read_bytes()
    for cut in range(0, len(data) - 2, 997):
        with pytest.raises(vsitlm.MalformedError):
            vsitlm.decode(data[:cut])
    # The segmentation symbols of Table A.19 show most errors in the middle of a code-block.
    random, shown = np.random.default_rng(1), 0
    for _ in range(100):
        at = int(random.integers(len(data) // 2, len(data)))
        damaged = bytearray(data)
        damaged[at] ^= 1 << int(random.integers(8))
        try:
            vsitlm.decode(damaged)
        except vsitlm.MalformedError as error:
            shown += "T.800" in str(error)
    assert shown > 50
    # Mb: fewer bit-planes than the packets' zero ones, in QCD.
    qcd = data.index(b"\xff\x5c")
    (length,) = struct.unpack(">H", data[qcd + 2 : qcd + 4])
    none = data[: qcd + 5] + b"\0" * (length - 3) + data[qcd + 2 + length :]
    with pytest.raises(vsitlm.MalformedError, match=r"bit-planes.* of tile 0"):
        vsitlm.decode(none)
