"""The notebook of the documentation runs, cell by cell, and draws what rasterio finds in the local files."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from pathlib import Path

import gdalio
import numpy as np
import pytest
import rasterio
import realdata
import sample as scenes
from conftest import ROOT, Site, band_path, only_once, run
from rasterio.warp import transform_bounds
from rasterio.windows import Window

import vsitlm

pytestmark = only_once

NOTEBOOK = ROOT / "docs/time-series.ipynb"
PYTHON = ROOT / "target/py/r144/bin/python"
"""An interpreter that has matplotlib and pyarrow."""

RUNS = """
import json, sys
from pathlib import Path
cells = json.loads(Path(sys.argv[1]).read_text())["cells"]
space = {"__name__": "__main__"}
for cell in cells:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), cell["id"], "exec"), space)
(axes,) = space["plt"].gcf().axes
(line,) = axes.lines
times = [time.isoformat() for time in line.get_xdata(orig=True)]
Path(sys.argv[2]).write_text(json.dumps(dict(zip(times, map(float, line.get_ydata()), strict=True))))
space["figure"].canvas.draw()
"""

Bands = dict[str, Path]
"""The file of each band."""


def ndvi(bands: Bands, red: str, nir: str, area: tuple[float, ...]) -> float:
    """NDVI by rasterio alone, from the local files."""
    with rasterio.open(bands["SCL"]) as dataset:
        window = dataset.window(*transform_bounds("EPSG:4326", dataset.crs, *area))
        left, top = math.floor(window.col_off), math.floor(window.row_off)
        right, bottom = math.ceil(window.col_off + window.width), math.ceil(window.row_off + window.height)
        bounds = dataset.window_bounds(Window.from_slices((top, bottom), (left, right)))
        clear = np.isin(dataset.read(1, window=Window.from_slices((top, bottom), (left, right))), [4, 5, 6, 7])
    means = []
    for band in (red, nir):
        with rasterio.open(bands[band]) as dataset:
            pixels = dataset.read(1, window=dataset.window(*bounds).round())
        means.append(
            pixels[np.kron(clear, np.ones(np.divide(pixels.shape, clear.shape).astype(int), bool))].mean() - 1000
        )
    return (means[1] - means[0]) / (means[1] + means[0])


def draw(
    days: dict[str, Bands], bands: str, area: tuple[float, ...], index: Path, folder: Path
) -> tuple[dict[datetime, float], str]:
    """Runs the notebook; gives the points that it has drawn, and what it has printed."""
    if not PYTHON.exists():
        pytest.skip(f"no {PYTHON}: run scripts/setup test")
    options = {"VSITLM_INDEX": str(index), "AREA": ",".join(map(repr, area)), "BANDS": bands, "MPLBACKEND": "agg"}
    done = run(RUNS, NOTEBOOK, folder / "points.json", python=PYTHON, options=options)
    assert f"{len(days)} dates" in done.stdout
    points = json.loads((folder / "points.json").read_text())
    return {datetime.fromisoformat(time): value for time, value in points.items()}, done.stdout


def middle(path: Path, share: float) -> tuple[float, ...]:
    """An area around the middle of an image, of this share of its sides, in degrees."""
    with rasterio.open(path) as dataset:
        west, south, east, north = transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
    x, y, dx, dy = (west + east) / 2, (south + north) / 2, (east - west) * share / 2, (north - south) * share / 2
    return x - dx, y - dy, x + dx, y + dy


def test_the_notebook_stores_no_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")


def test_the_series_of_made_products(site: Site, tmp_path: Path) -> None:
    land = scenes.landscape(1200)
    days: dict[str, Bands] = {}
    urls = {}
    for number, day in enumerate(("20240601", "20240606", "20240611", "20240616")):
        classes = np.random.default_rng(number).integers(0, 12, (1, 600, 600), "uint8")
        days[day] = {band: tmp_path / f"{day}-{band}.jp2" for band in ("B04", "B08", "SCL")}
        scenes.write_jp2(days[day]["B04"], [land], scenes.JP2_PROFILE)
        scenes.write_jp2(days[day]["B08"], [land + np.uint16(500 * (number + 1))], scenes.JP2_PROFILE)
        gdalio.make_jp2(days[day]["SCL"], classes, pixel=20, BLOCKXSIZE=320, BLOCKYSIZE=320, PLT="YES")
        for band, path in days[day].items():
            name = band_path(band, 20 if band == "SCL" else 10).replace("20240601", day)
            urls[day, band] = site.put(path, name)
    index = tmp_path / "tiles.parquet"
    vsitlm.index(urls.values(), index, packets=True)
    # One of them is lost.
    (site.folder / urls["20240606", "B08"].removeprefix(site.server.url + "/")).unlink()
    area = middle(days["20240601"]["SCL"], 0.2)
    site.stats()
    points, printed = draw(days, "B04,B08,SCL", area, index, tmp_path)
    assert "B08 is left out: " in printed and "11 windows for " in printed
    read = sum(path.stat().st_size for bands in days.values() for path in bands.values())
    assert 0 < site.stats()["bytes"] < read / 2
    del days["20240606"]
    assert points == {
        datetime(int(day[:4]), int(day[4:6]), int(day[6:]), 10, 50, 31, tzinfo=timezone.utc): pytest.approx(
            ndvi(bands, "B04", "B08", area)
        )
        for day, bands in days.items()
    }
    assert sorted(points.values()) == list(points.values())


@pytest.mark.real_data
def test_the_series_of_a_real_product(site: Site, tmp_path: Path) -> None:
    real = {path.stem.split("_")[2]: path for path in realdata.find("S2A_MSIL2A_20221005*.SAFE/**/*_60m.jp2")}
    # There is one real date. So that there is a series, its bands stand in for others on three more.
    days, urls = {}, []
    for day, bands in {"05": ("B04", "B03"), "10": ("B02", "B04"), "15": ("B03", "B02"), "20": ("B02", "B03")}.items():
        days[day] = {"B04": real[bands[0]], "B8A": real[bands[1]], "SCL": real["SCL"]}
        for band, path in days[day].items():
            name = (
                str(real["B04"].relative_to(realdata.FOLDER)).replace("B04", band).replace("20221005", f"202210{day}")
            )
            urls.append(site.put(path, name))
    index = tmp_path / "tiles.parquet"
    vsitlm.index(urls, index, packets=True)
    area = middle(real["SCL"], 0.2)
    points, _ = draw(days, "B04_60m,B8A_60m,SCL_60m", area, index, tmp_path)
    assert points == {
        datetime(2022, 10, int(day), 11, 54, 11, tzinfo=timezone.utc): pytest.approx(ndvi(bands, "B04", "B8A", area))
        for day, bands in days.items()
    }
    assert len(points) == 4 and all(-1 < value < 1 for value in points.values())
