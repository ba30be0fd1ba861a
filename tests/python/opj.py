"""OpenJPEG's own programs, as makers of files of every structure and as what reduced images are checked against."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

MISSING = "no opj_compress and opj_decompress: run scripts/setup test"


PRECINCTS = ["-c", "[32,32],[16,16]"]
LAYERS = {1: [], 3: ["-r", "20,5,1"]}

Made = tuple[np.ndarray, list[str]]
"""Pixels, and how opj_compress is to code them."""


def structures(tiles: list[str], plain: np.ndarray, one: np.ndarray, three: np.ndarray) -> dict[str, Made]:
    """Files of every progression and number of layers: `one` is a band, `three` are bands, `plain` is coded plainly."""
    return {
        f"{order}, {layers} layers, {kind}": (pixels, [*tiles, "-p", order, *LAYERS[layers], *arguments])
        for order in ("LRCP", "RLCP", "RPCL", "PCRL", "CPRL")
        for layers in LAYERS
        for kind, pixels, arguments in (
            ("plain", plain, []),
            ("precincts", three, PRECINCTS),
            ("offsets", one, ["-d", "40,24", "-T", "8,16", *PRECINCTS]),
            ("tile-parts by resolution", three, ["-TP", "R"]),
            ("tile-parts by layer", three, ["-TP", "L", *PRECINCTS]),
        )
    }


def compress(path: Path, pixels: np.ndarray, *arguments: str, subsampling: int = 1) -> Path:
    """Writes pixels (bands, rows, columns), coded as the arguments of opj_compress say."""
    bands, height, width = pixels.shape
    sign = "us"[np.issubdtype(pixels.dtype, np.signedinteger)]
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "pixels.raw"
        raw.write_bytes(pixels.astype(pixels.dtype.newbyteorder(">")).tobytes())
        form = f"{width},{height},{bands},{8 * pixels.itemsize},{sign}"
        if subsampling > 1:
            step = f"{subsampling}x{subsampling}"
            form += "@" + ":".join(["1x1"] + [step] * (bands - 1))
        run("opj_compress", "-i", raw, "-F", form, "-o", path, *arguments)
    return path


def decompress(jp2: Path | bytes, k: int = 0) -> bytes:
    """The samples of a file, or of its bytes, at 1/2^k: one component after the other, little-endian."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "pixels.raw"
        if isinstance(jp2, bytes):
            # The program tells the formats apart by their first bytes, and wants a name that fits.
            boxed = jp2[4:8] == b"jP  "
            path = Path(folder) / ("a.jp2" if boxed else "a.j2k")
            path.write_bytes(jp2)
            jp2 = path
        run("opj_decompress", "-i", jp2, "-o", raw, "-r", str(k))
        return raw.read_bytes()


def run(*command: str | Path) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    told = done.stdout + done.stderr
    # It ends with 0 although some tile could not be decoded.
    assert done.returncode == 0 and "[ERROR]" not in told, f"{' '.join(map(str, command))}\n{told}"
