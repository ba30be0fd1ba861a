#!/usr/bin/env python3
"""Makes a JP2 like a 10 m band of Sentinel-2, and its copy as a COG, for measurements and tests.

    sample.py [FOLDER] [--small] [--no-cog]

The JP2 has what matters of ESA's profile up to baseline N0511: uint16, tiles of 1024 px, LRCP, one layer, precincts of
256, code-blocks of 64, 5/3 reversible, four decompositions, PLT but no TLM, GMLJP2 and no GeoJP2 box, and a jp2c box
whose length field is 0. It is 10980 px wide and about 100 MB; with --small 2500 px (nine tiles). The pixels are made
up, and the same in every run. Both files are kept: a second run only prints where they are, one path a line.

Needs rasterio with OpenJPEG 2.4 or later, for PLT.
"""

from __future__ import annotations

import argparse
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from rasterio.windows import Window

FULL_PX = 10980
SMALL_PX = 2500
TILE_PX = 1024
PRODUCT = "S2B_MSIL2A_20240601T105031_N0510_R051_T31UDQ_20240601T140000"
BAND = "T31UDQ_20240601T105031_B03_10m"
JP2_PATH = Path(f"{PRODUCT}.SAFE/GRANULE/L2A_T31UDQ_A037000_20240601T105031/IMG_DATA/R10m/{BAND}.jp2")
"""Where the JP2 stands below its folder: where the product's name is read from."""
UTM_31N, WEST, NORTH = 32631, 399960.0, 5400000.0
"""Where tile 31UDQ lies: EPSG code, and its upper left corner in metres."""

JP2_PROFILE = {
    "driver": "JP2OpenJPEG",
    "CODEC": "JP2",
    "QUALITY": 100,
    "REVERSIBLE": "YES",
    "RESOLUTIONS": 5,
    "BLOCKXSIZE": TILE_PX,
    "BLOCKYSIZE": TILE_PX,
    "PROGRESSION": "LRCP",
    "PRECINCTS": ",".join(["{256,256}"] * 5),
    "CODEBLOCK_WIDTH": 64,
    "CODEBLOCK_HEIGHT": 64,
    "NBITS": 15,
    "GEOJP2": "NO",
    "GMLJP2": "YES",
    "PLT": "YES",
    "TLM": "NO",
}
TCI_PROFILE = JP2_PROFILE | {
    "BLOCKXSIZE": 256,
    "BLOCKYSIZE": 256,
    "PRECINCTS": ",".join(["{128,128}"] * 5),
    "CODEBLOCK_WIDTH": 16,
    "CODEBLOCK_HEIGHT": 16,
    "NBITS": 8,
    "YCC": "YES",
}
"""As the true colour images of products up to 2022: 1,849 tiles."""
COARSE_PX = 1830
COARSE_PROFILE = JP2_PROFILE | {
    "BLOCKXSIZE": 192,
    "BLOCKYSIZE": 192,
    "PRECINCTS": ",".join(["{64,64}"] * 5),
    "CODEBLOCK_WIDTH": 16,
    "CODEBLOCK_HEIGHT": 16,
}
"""As a 60 m band: 100 tiles, some 3 MB."""
MANY_PX, MANY_TILE_PX = 5760, 128
MANY_PROFILE = JP2_PROFILE | {
    "BLOCKXSIZE": MANY_TILE_PX,
    "BLOCKYSIZE": MANY_TILE_PX,
    "RESOLUTIONS": 2,
    "PRECINCTS": "{128,128},{128,128}",
    "NBITS": 8,
}
"""2,025 tiles of noise, each with about 4 KB for half of its resolution."""
COG_PROFILE = {
    "driver": "COG",
    "COMPRESS": "DEFLATE",
    "PREDICTOR": "YES",
    "BLOCKSIZE": 512,
    "OVERVIEWS": "IGNORE_EXISTING",
    "BIGTIFF": "IF_SAFER",
}


def smooth_noise(rng: np.random.Generator, size: int, cell: float) -> Iterator[tuple[slice, np.ndarray]]:
    """Noise with features `cell` px wide: a random grid, interpolated, given out in strips of TILE_PX rows."""
    nodes = int(size / cell) + 3
    grid = rng.standard_normal((nodes, nodes), dtype=np.float32)
    at = np.arange(size, dtype=np.float32) / np.float32(cell)
    low = at.astype(np.intp)
    part = at - low
    part = part * part * (3 - 2 * part)
    for start in range(0, size, TILE_PX):
        rows = slice(start, min(start + TILE_PX, size))
        lines = grid[low[rows]] + (grid[low[rows] + 1] - grid[low[rows]]) * part[rows, None]
        yield rows, lines[:, low] + (lines[:, low + 1] - lines[:, low]) * part


def landscape(size: int) -> np.ndarray:
    """A size × size image that looks like reflectances of farmland: hills, fields with sharp edges, grain."""
    rng = np.random.default_rng(20240601)
    relief = np.zeros((size, size), np.float32)
    for cell, amplitude in ((2600.0, 420.0), (830.0, 260.0), (210.0, 150.0), (56.0, 90.0), (13.0, 60.0), (4.0, 34.0)):
        for rows, noise in smooth_noise(rng, size, cell):
            relief[rows] += amplitude * noise
    crops = rng.integers(0, 900, (256, 256)).astype(np.float32)
    columns = np.arange(size, dtype=np.float32)
    image = np.empty((size, size), np.uint16)
    for start in range(0, size, TILE_PX):
        lines = np.arange(start, min(start + TILE_PX, size), dtype=np.float32)[:, None]
        across = ((columns + 0.31 * lines + 0.11 * relief[start : start + TILE_PX]) / 67).astype(np.intp) & 255
        along = ((lines - 0.31 * columns + 0.11 * relief[start : start + TILE_PX]) / 41).astype(np.intp) & 255
        grain = rng.standard_normal(across.shape, dtype=np.float32) * 16
        values = 1700 + relief[start : start + TILE_PX] + crops[along, across] + grain
        image[start : start + TILE_PX] = np.clip(values, 1, 16000)
    return image


def open_jp2c_length(jp2: Path) -> None:
    """Writes 0, "up to the end of the file", into the length field of the jp2c box, as ESA's writer does."""
    with jp2.open("r+b") as file:
        size, offset = jp2.stat().st_size, 0
        while offset < size:
            file.seek(offset)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1:
                length = struct.unpack(">Q", file.read(8))[0]
            if kind == b"jp2c":
                if length not in (0, size - offset):
                    raise ValueError(f"{jp2}: jp2c is not the last box")
                file.seek(offset)
                file.write(bytes(4))
                return
            if length < 8:
                break
            offset += length
    raise ValueError(f"{jp2}: no jp2c box")


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; renamed to it at the end, so that `target` is never half a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{os.getpid()}-{target.name}")
    try:
        yield draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def make_jp2(folder: Path, size: int) -> Path:
    """The band below `folder`, made if it is not there."""
    jp2 = folder / JP2_PATH
    if not jp2.exists():
        write_jp2(jp2, [landscape(size)], JP2_PROFILE)
    return jp2


def make_tci(folder: Path) -> Path:
    """The true colour image below `folder`, made if it is not there: three times the band, in other greys."""
    jp2 = folder / "full" / str(JP2_PATH).replace("_B03_", "_TCI_")
    if not jp2.exists():
        image = landscape(FULL_PX)
        bands = [np.clip(image // divisor, 1, 255).astype(np.uint8) for divisor in (14, 16, 19)]
        del image
        write_jp2(jp2, bands, TCI_PROFILE)
    return jp2


def make_many(folder: Path) -> Path:
    """A file of small tiles below `folder`, made if it is not there."""
    jp2 = folder / "many" / str(JP2_PATH).replace("_B03_", "_B01_")
    if not jp2.exists():
        noise = np.random.default_rng(1).integers(0, 256, (MANY_PX, MANY_PX), np.uint8)
        write_jp2(jp2, [noise], MANY_PROFILE)
    return jp2


def make_coarse(folder: Path) -> Path:
    """A 60 m band below `folder`, made if it is not there."""
    jp2 = folder / "coarse" / str(JP2_PATH).replace("10m", "60m")
    if not jp2.exists():
        write_jp2(jp2, [landscape(COARSE_PX)], COARSE_PROFILE)
    return jp2


def write_jp2(jp2: Path, bands: list[np.ndarray], creation: dict[str, str | int]) -> None:
    """Writes square `bands` as one JP2."""
    size = len(bands[0])
    profile = {
        "driver": "GTiff",
        "width": size,
        "height": size,
        "count": len(bands),
        "dtype": bands[0].dtype,
        "crs": f"EPSG:{UTM_31N}",
        "transform": from_origin(WEST, NORTH, 10, 10),
        "interleave": "band",
    }
    with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS", GDAL_PAM_ENABLED="NO"), MemoryFile() as memory:
        with memory.open(**profile) as made:
            for number, image in enumerate(bands, 1):
                for row in range(0, size, TILE_PX):
                    strip = image[row : row + TILE_PX]
                    made.write(strip, number, window=Window(0, row, size, len(strip)))
        with memory.open() as source, written_whole(jp2) as draft:
            rasterio.shutil.copy(source, draft, **creation)
            open_jp2c_length(draft)


def make_cog(jp2: Path, cog: Path) -> Path:
    """A copy of `jp2` as a COG with the same pixels, made if it is not there or older than `jp2`.

    Sentinel-2's bands have 15 bits; a TIFF must say 16 to be allowed a predictor.
    """
    if cog.exists() and cog.stat().st_mtime >= jp2.stat().st_mtime:
        return cog
    with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS", GDAL_PAM_ENABLED="NO"), written_whole(cog) as draft:
        with rasterio.open(jp2) as source:
            bits = {"NBITS": 16} if source.dtypes[0] == "uint16" else {}
        rasterio.shutil.copy(jp2, draft, **COG_PROFILE, **bits)
    return cog


def make(folder: Path, small: bool = False, cog: bool = True) -> tuple[Path, Path | None]:
    """The sample JP2 and, unless it is not wanted, its COG; `folder` gets a subfolder for each of the two sizes."""
    folder = folder / ("small" if small else "full")
    jp2 = make_jp2(folder, SMALL_PX if small else FULL_PX)
    return jp2, make_cog(jp2, folder / f"{BAND}.tif") if cog else None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="makes a JP2 to the Sentinel-2 profile, and its copy as a COG")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("target/sample"), help="where to keep them")
    parser.add_argument("--small", action="store_true", help=f"{SMALL_PX} px wide instead of {FULL_PX}")
    parser.add_argument("--no-cog", action="store_true", help="only the JP2")
    arguments = parser.parse_args()
    for path in make(arguments.folder, arguments.small, not arguments.no_cog):
        if path is not None:
            print(path)


if __name__ == "__main__":
    main()
