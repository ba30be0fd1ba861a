"""The index and DuckDB, pyarrow and geopandas: what they read, and the code of docs/interop.md."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import apart
import gdalio
import numpy as np
import pytest
from conftest import Site, noise, only_once, vsitlm

pytestmark = only_once

PYTHON = apart.ROOT / "target/py/interop/bin/python"
PAGE = apart.ROOT / "docs/interop.md"
BLOCK = re.compile(r"^<!-- test: interop -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PRODUCTS = (
    "S2A_MSIL2A_20230915T105031_N0509_R051_T31UDQ_20230915T140000",
    "S2B_MSIL2A_20240601T105031_N0510_R051_T31UDQ_20240601T150000",
    "S2C_MSIL2A_20240611T104031_N0511_R008_T31UDQ_20240611T140000",
    "S2A_MSIL2A_20240604T085601_N0510_R107_T33LVC_20240604T120000",
    "S2B_MSIL1C_20240605T222549_N0510_R029_T01KAB_20240605T230000",
)
BANDS = ("B03", "B04")


FULL = "33LVC"
"""The tile whose images have all of its 110 km, so that their edges are curves in degrees; they have 60 m."""


def place(tile: str) -> tuple[int, tuple[float, float]]:
    """EPSG code and upper left corner of a tile's images."""
    if tile == "01KAB":
        from rasterio.warp import transform

        [[x], [y]] = transform("EPSG:4326", "EPSG:32701", [180.0], [-18.0])
        # A kilometre on the other side of the antimeridian.
        return 32701, (round(x, -1) - 1000, round(y, -1))
    return {"31UDQ": (32631, (399960.0, 5400000.0)), FULL: (32733, (399960.0, 8700040.0))}[tile]


def key(product: str, band: str) -> str:
    """Where a band of a product lies below a folder of products."""
    _, level, time, _, _, tile, _ = product.split("_")
    if level == "MSIL1C":
        return f"{product}.SAFE/GRANULE/L1C_{tile}_A037000_{time}/IMG_DATA/{tile}_{time}_{band}.jp2"
    metres = 60 if tile[1:] == FULL else 10
    images = f"{product}.SAFE/GRANULE/L2A_{tile}_A037000_{time}/IMG_DATA/R{metres}m"
    return f"{images}/{tile}_{time}_{band}_{metres}m.jp2"


def make(file: Path, product: str, seed: int) -> Path:
    """Makes an image of a product."""
    tile = product.split("_")[5][1:]
    pixels, size = noise(250, 300, dtype="uint8", seed=seed), 10.0
    if tile == FULL:
        pixels, size = np.zeros((1, 1830, 1830), "uint8"), 60.0
    layout = {"BLOCKXSIZE": 128, "BLOCKYSIZE": 128, "RESOLUTIONS": 3, "PLT": "YES"}
    return gdalio.make_jp2(file, pixels, *place(tile), size, **layout)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory, served: Site) -> Path:
    """A folder with an index of all products, as a file and in the partition layout."""
    if not PYTHON.exists():
        pytest.skip(f"no {PYTHON}: run scripts/setup test")
    folder = tmp_path_factory.mktemp("interop")
    urls = []
    for seed, product in enumerate(PRODUCTS):
        for band in BANDS:
            file = make(folder / "files" / key(product, band), product, seed)
            urls.append(served.put(file, key(product, band)))
    # A list of failures lies in the folder of the layout.
    urls.append(served.put_bytes(key(PRODUCTS[0], "B02"), b"no JP2"))
    for output in ("tiles.parquet", "tiles"):
        done = vsitlm("index", *urls, "-o", folder / output, "--json")
        assert len(json.loads(done.stdout)["failed"]) == 1, done.stderr
    return folder


def run(folder: Path, *arguments: str | Path, script: str | None = None) -> None:
    """Runs the other Python in the folder; the plugin has the index."""
    done = subprocess.run(
        [PYTHON, *arguments],
        input=script or "",
        env=apart.environment({"VSITLM_INDEX": str(folder / "tiles.parquet"), "VSITLM_ON_MISS": "fail"}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=apart.KILL_AFTER,
    )
    assert done.returncode == 0, f"{script or arguments}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("check", ["schema", "grids", "outlines", "names", "frames", "partitions"])
def test_other_tools_read_the_index(check: str, tiles: Path) -> None:
    run(tiles, apart.HERE / "interop.py", check)


CHECKS = """
june = {june!r}
assert [path for path, in found.fetchall()] == ["/vsitlm/" + url for url in june]
assert [product for product, _ in counts] == {products!r} and {{count for _, count in counts}} == {{2}}
assert table.column("origin").to_pylist() == june and dataset.schema.field("year").type == pa.int32()
assert list(near.origin) == {every!r} and near.crs == "OGC:CRS84"
"""


def test_the_code_of_the_page_runs(tiles: Path, served: Site) -> None:
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) == PAGE.read_text().count("<!-- test:") == 4
    every = [served.url(key(product, "B04")) for product in PRODUCTS[:3]]
    checks = CHECKS.format(june=every[1:], every=every, products=list(PRODUCTS[1:3]))
    served.reset()
    run(tiles, "-", script="".join(blocks) + checks)
    read = {entry["path"] for entry in served.stats()["ranges"]}
    assert read == {"/" + key(product, "B04") for product in PRODUCTS[1:3]}
