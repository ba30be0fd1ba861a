"""Cells: tools that know nothing of the package read small windows at the price of their packets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import rasterio
import sample as scenes
from conftest import Site, band_path, only_once, other, run
from measure import Codestream
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from test_stac import item

import vsitlm

WINDOW = Window(1300, 1400, 64, 64)  # type: ignore[no-untyped-call]
"""Inside the tile in the middle."""
DAYS = ("20240601", "20240606")


class Scene(NamedTuple):
    """A file with the structure of a 10 m band, nine tiles of it."""

    path: Path
    pixels: np.ndarray
    tile_part: int
    """The bytes of the tile that `WINDOW` lies in."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    """One of each day."""
    folder, land = tmp_path_factory.mktemp("scenes"), scenes.landscape(scenes.SMALL_PX)
    made = {}
    for number, day in enumerate(DAYS):
        path, pixels = folder / f"{day}.jp2", land[:: 1 - 2 * number].copy()
        scenes.write_jp2(path, [pixels], scenes.JP2_PROFILE)
        tile_part = Codestream.scan(path).tile_bytes(WINDOW.col_off, WINDOW.row_off)
        made[day] = Scene(path, pixels, tile_part)
    return made


def name(day: str, folder: str = "") -> str:
    """Where a day's file is served."""
    return f"{folder}/{band_path('B04').replace('20240601', day)}"


@pytest.mark.parametrize("packets", [True, False], ids=["packets in the index", "packets in the file"])
def test_rasterio_reads_a_window_of_cells(scene: dict[str, Scene], site: Site, tmp_path: Path, packets: bool) -> None:
    path, pixels, tile_part = scene[DAYS[0]]
    url = site.put(path, name(DAYS[0], f"rasterio-{packets}"))
    vsitlm.index([url], tmp_path / "tiles.parquet", packets=packets)
    site.stats()
    with rasterio.Env(VSITLM_INDEX=tmp_path / "tiles.parquet"), rasterio.open(vsitlm.path(url, cells=256)) as dataset:
        assert dataset.shape == pixels.shape and dataset.crs.to_epsg() == scenes.UTM_31N
        assert np.array_equal(dataset.read(1, window=WINDOW), pixels[WINDOW.toslices()])
        assert dataset.overviews(1) == [2, 4, 8, 16]
    stats = site.stats()
    assert stats["bytes"] < tile_part / 2, (stats["bytes"], tile_part)
    assert all(entry["offset"] > 0 for entry in stats["ranges"]), "the file's header was read"


LOADS = """
import json, sys
from pathlib import Path
import numpy as np
import odc.stac
import pystac
from odc.geo.geobox import GeoBox
import vsitlm
job = json.loads(Path(sys.argv[1]).read_text())
items = pystac.ItemCollection.from_dict(job["collection"])
grid = GeoBox.from_bbox(job["bounds"], crs="EPSG:32631", resolution=10)
patch_url = {"cells": lambda url: vsitlm.path(url, cells=256), "tiles": vsitlm.path}[sys.argv[2]]
data = odc.stac.load(items, bands=["B04"], geobox=grid, patch_url=patch_url)
np.save(sys.argv[3], data["B04"].values)
"""


@only_once
def test_odc_stac_reads_a_window_of_cells(scene: dict[str, Scene], site: Site, tmp_path: Path) -> None:
    items, urls = [], []
    for day, (path, _, _) in scene.items():
        with rasterio.open(path) as file:
            grid = {"proj:shape": file.shape, "proj:transform": file.transform[:6]}
            bounds = transform_bounds(file.crs, "EPSG:4326", *file.bounds)
            window = file.window_bounds(WINDOW)
        urls.append(site.put(path, name(day, "odc")))
        asset = {"href": urls[-1], "type": "image/jp2", "roles": ["data"], **grid}
        items.append(item(day, {"B04": asset}, bounds))
    vsitlm.index(urls, tmp_path / "tiles.parquet", packets=True)
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"collection": {"type": "FeatureCollection", "features": items}, "bounds": window}))
    taken = {}
    for way in ("cells", "tiles"):
        site.stats()
        pixels = tmp_path / f"{way}.npy"
        run(LOADS, job, way, pixels, python=other("stac"), options={"VSITLM_INDEX": str(tmp_path / "tiles.parquet")})
        taken[way] = site.stats()["bytes"]
        expected = [made.pixels[WINDOW.toslices()] for made in scene.values()]
        assert np.array_equal(np.load(pixels), expected), way
    tile_parts = sum(made.tile_part for made in scene.values())
    assert taken["cells"] < tile_parts / 2 < tile_parts <= taken["tiles"], (taken, tile_parts)
