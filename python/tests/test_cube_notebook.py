"""The notebook of cubes runs, cell by cell, and draws what rasterio finds in the local files."""

from __future__ import annotations

import json
import math
import re
import sys
from datetime import datetime
from pathlib import Path

import gdalio
import numpy as np
import pytest
from conftest import ROOT, Site, band_path, run
from cubes import BANDS, PRODUCT, WIDTH, Series

pytest.importorskip("zarr")
pytest.importorskip("xarray")
pytest.importorskip("matplotlib")
import rasterio
from rasterio.warp import transform_bounds
from rasterio.windows import Window

import vsitlm

NOTEBOOK = ROOT / "docs/cubes.ipynb"
CLEAR = [4, 5, 6, 7]
AREA = (1.702, 48.683, 1.731, 48.702)
"""West, south, east and north in degrees: four tiles of each file. There is no data in its north-western corner."""

RUNS = """
import ast, json, sys
from pathlib import Path
cells = json.loads(Path(sys.argv[1]).read_text())["cells"]
space = {"__name__": "__main__"}
for cell in cells:
    if cell["cell_type"] == "code":
        tree = ast.parse("".join(cell["source"]), cell["id"])
        # What a cell ends with is shown.
        shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, cell["id"], "exec"), space)
        if shown is not None:
            print(repr(eval(compile(ast.Expression(shown.value), cell["id"], "eval"), space)))
space["figure"].canvas.draw()
axes, picture, _ = space["plt"].gcf().axes
(line,) = axes.lines
times = [str(time)[:10] for time in line.get_xdata(orig=True)]
points = list(zip(times, map(float, line.get_ydata()), strict=True))
image = picture.images[0].get_array().filled(float("nan")).tolist()
Path(sys.argv[2]).write_text(json.dumps({"points": points, "day": picture.get_title(), "image": image}))
"""


def put(series: Series, day: str, baseline: str, part: str, green: float, cloudy: float) -> str:
    """Makes a product and gives its name: `green` is about its NDVI, `cloudy` the share of what is not clear."""
    product = PRODUCT.format(day, baseline, part)
    chance = np.random.default_rng(len(series.files))
    for band in ("B04", "B08", "SCL"):
        side = WIDTH * 10 // BANDS[band]
        if band == "SCL":
            clear = chance.random((1, side, side)) >= cloudy
            pixels = np.where(clear, chance.choice(CLEAR, clear.shape), chance.choice([3, 8, 9, 10], clear.shape))
        else:
            # Some are 1000 or less, which is no reflectance above 0 from baseline 04.00 on.
            mean = 2500 * (1 + (green if band == "B08" else -green)) + (1000 if baseline >= "0400" else 0)
            pixels = chance.normal(mean, 900, (1, side, side)).clip(1, 12000)
        hole = slice(0, 5000 // BANDS[band])
        pixels[0, hole, hole] = 0
        path = series.site.folder / f"cube/{product}-{band}.jp2"
        tile = 320 if band == "SCL" else 512
        pixels = pixels.astype("uint8" if band == "SCL" else "uint16")
        gdalio.make_jp2(path, pixels, pixel=BANDS[band], BLOCKXSIZE=tile, BLOCKYSIZE=tile, RESOLUTIONS=5, PLT="YES")
        name = band_path(band, BANDS[band]).replace("20240601", day).replace("N0510", f"N{baseline}")
        series.site.put(path, name.replace("T140000", f"T{part}"))
        series.files[product, band] = path
    return product


def ndvi(series: Series, product: str) -> np.ndarray:
    """NDVI of the area by rasterio alone, NaN where it is not clear."""
    with rasterio.open(series.files[product, "SCL"]) as dataset:
        window = dataset.window(*transform_bounds("EPSG:4326", dataset.crs, *AREA))
        left, top = math.floor(window.col_off), math.floor(window.row_off)
        right, bottom = math.ceil(window.col_off + window.width), math.ceil(window.row_off + window.height)
        place = Window.from_slices((top, bottom), (left, right))
        clear = np.isin(dataset.read(1, window=place), CLEAR)
    added = 1000 if product.split("_")[3] >= "N0400" else 0
    values = []
    for band in ("B04", "B08"):
        with rasterio.open(series.files[product, band], overview_level=0) as dataset:
            pixels = dataset.read(1, window=place).astype(float)
        clear &= (pixels != 0) & (pixels > added)
        values.append(pixels - added)
    red, nir = values
    return np.divide(nir - red, nir + red, out=np.full(clear.shape, np.nan), where=clear)


def test_the_notebook_stores_no_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")
    assert len({cell["id"] for cell in cells}) == len(cells)


def test_the_series_and_the_picture_are_those_of_rasterio(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    site = Site(tmp_path / "served")
    with site.server:
        series = Series(tmp_path / "tiles.parquet", site, {})
        products = [
            put(series, "20240601", "0301", "140000", green=0.3, cloudy=0.2),
            put(series, "20240606", "0400", "140000", green=0.4, cloudy=0.9),
            put(series, "20240611", "0511", "150000", green=0.5, cloudy=0.1),
            put(series, "20240616", "0511", "140000", green=0.6, cloudy=0.3),
            put(series, "20240621", "0511", "140000", green=0.2, cloudy=1),
        ]
        # The same date by an older baseline, which is left out.
        put(series, "20240611", "0400", "140000", green=0.1, cloudy=0)
        vsitlm.index(series.urls, series.index, packets=True)
        site.stats()
        options = {
            "VSITLM_INDEX": str(series.index), "AREA": ",".join(map(str, AREA)), "DATES": "2024-06", "TILE": "31UDQ",
            "MPLBACKEND": "agg",
        }  # fmt: skip
        done = run(RUNS, NOTEBOOK, tmp_path / "drawn.json", python=sys.executable, options=options)
        asked = site.stats()
    right = {product: ndvi(series, product) for product in products}
    points = {
        datetime.strptime(product.split("_")[2][:8], "%Y%m%d").date().isoformat(): np.nanmean(values)
        for product, values in right.items()
        if np.isfinite(values).mean() >= 0.5
    }
    drawn = json.loads((tmp_path / "drawn.json").read_text())
    assert list(points) == ["2024-06-01", "2024-06-11", "2024-06-16"]
    assert [day for day, _ in drawn["points"]] == list(points)
    assert [value for _, value in drawn["points"]] == pytest.approx(list(points.values()), rel=1e-5)
    assert drawn["day"] == "2024-06-11"
    assert np.allclose(drawn["image"], right[products[2]], rtol=1e-4, atol=1e-6, equal_nan=True)
    assert "and 0 requests so far" in done.stdout and "3 of 5 dates are clear enough" in done.stdout
    assert not done.stderr
    (told,) = re.findall(r"^5 dates for (\d+) requests", done.stdout, re.MULTILINE)
    # Of three bands four tiles each, at most one request a tile.
    assert 0 < int(told) == asked["requests"] <= 5 * 3 * 4
    offsets = re.findall(r"^2024-06-\d\d .* (0|-1000)$", done.stdout, re.MULTILINE)
    assert offsets == ["0", *["-1000"] * 4]
