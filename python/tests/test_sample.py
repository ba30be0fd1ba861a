"""Values at points, squares around them, and chips: what rasterio reads of the files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gdalio
import numpy as np
import pytest
import rasterio
from areas import AREA, NORTH, SIDE, WEST, Tiles
from conftest import ROOT, run
from rasterio.warp import transform as warp_points, transform_bounds

pytest.importorskip("shapely")
pytest.importorskip("xarray")

import vsitlm


@pytest.mark.parametrize("count", [1, 12, 3000])
def test_points_have_the_values_of_their_pixels(count: int, tiles: Tiles, tiles_index: Path) -> None:
    west, south, east, north = transform_bounds(32631, 4326, *AREA)
    chance = np.random.default_rng(count)
    points = np.stack([chance.uniform(west - 0.01, east + 0.01, count), chance.uniform(south, north, count)], 1)
    table = vsitlm.sample(points, tiles_index, ["red", "SCL"], datetime="2024-06")
    rows = {(row["product"], row["point"]): row for row in table.to_pylist()}
    assert table.column_names == ["point", "time", "product", "red", "SCL"] and len(rows) == len(table)
    compared = 0
    for (day, tile, band), path in tiles.of("B04", "SCL"):
        with rasterio.open(path) as file:
            xs, ys = warp_points("OGC:CRS84", file.crs, *points.T)
            right = [int(value[0]) for value in file.sample(zip(xs, ys, strict=True))]
        (product,) = {product for product, _ in rows if f"_{day}T105031_" in product and tile in product} or {""}
        for point, value in enumerate(right):
            row = rows.get((product, point), {})
            assert row.get({"B04": "red"}.get(band, band)) == (value or None), (day, tile, band, point)
            compared += value != 0
    assert compared or count == 1


@pytest.mark.parametrize("size", [1, 4, 33])
def test_squares_around_points_are_those_of_the_files(size: int, tiles: Tiles, tiles_index: Path) -> None:
    west, south, east, north = transform_bounds(32631, 4326, WEST["31UDQ"], NORTH - SIDE, WEST["31UDQ"] + SIDE, NORTH)
    chance = np.random.default_rng(size)
    points = np.stack([chance.uniform(west, east, 300), chance.uniform(south, north, 300)], 1)
    found = vsitlm.search(tiles_index, datetime="2024-06", bands=["red", "SCL"])
    squares = vsitlm.sample(points, found, size=size)
    assert squares["red"].shape == (squares.sizes["sample"], size, size) and squares["red"].dtype == "uint16"
    got = {
        (str(product), int(point), name): squares[name].values[number]
        for number, (product, point) in enumerate(zip(squares["product"].values, squares["point"].values, strict=True))
        for name in ("red", "SCL")
    }
    for (day, tile, band), path in tiles.of("B04", "SCL"):
        product = next(name for name, *_ in got if f"_{day}T" in name and tile in name)
        with rasterio.open(path) as file:
            pixels, (high, wide) = file.read(1), file.shape
            xs, ys = warp_points("OGC:CRS84", file.crs, *points.T)
            places = [file.index(x, y) for x, y in zip(xs, ys, strict=True)]
        around = np.pad(pixels, size)
        for number, (row, column) in enumerate(places):
            if not (0 <= row < high and 0 <= column < wide):
                continue
            top, left = row - size // 2 + size, column - size // 2 + size
            right = around[top : top + size, left : left + size]
            mine = got.get((product, number, {"B04": "red"}.get(band, band)))
            assert np.array_equal(mine, right) if mine is not None else not right.any(), (day, tile, band, number)


def test_points_of_a_tile_share_its_requests(tiles: Tiles, tmp_path: Path) -> None:
    urls = [url for (day, _, band), url in tiles.urls.items() if (day, band) == ("20240611", "B04")]
    vsitlm.index(urls, tmp_path / "packets.parquet", packets=True)
    west, south, east, north = transform_bounds(32631, 4326, *AREA)
    chance = np.random.default_rng(3)
    points = np.stack([chance.uniform(west, east, 2000), chance.uniform(south, north, 2000)], 1)
    tiles.site.stats()
    table = vsitlm.sample(points, tmp_path / "packets.parquet", "B04", datetime="2024-06", VSITLM_MERGE_GAP=0)
    asked = tiles.site.stats()
    assert len(table) > 500 and asked["requests"] <= 4 * 9
    assert asked["bytes"] <= tiles.files["20240611", "31UDQ", "B04"].stat().st_size


def test_a_hundred_thousand_points(tiles: Tiles, tiles_index: Path) -> None:
    west, south, east, north = transform_bounds(32631, 4326, *AREA)
    chance = np.random.default_rng(5)
    points = np.stack([chance.uniform(west, east, 100_000), chance.uniform(south, north, 100_000)], 1)
    tiles.site.stats()
    table = vsitlm.sample(points, tiles_index, "red", datetime="2024-06")
    # Nine tiles of 256 px are touched in each file at most.
    assert tiles.site.stats()["requests"] <= 5 * 9
    for (day, tile, _), path in tiles.of("B04"):
        with rasterio.open(path) as file:
            xs, ys = warp_points("OGC:CRS84", file.crs, *points.T)
            columns = np.floor((np.array(xs) - file.transform.c) / 10).astype(int)
            rows = np.floor((file.transform.f - np.array(ys)) / 10).astype(int)
            pixels = file.read(1)
        inside = (columns >= 0) & (columns < 600) & (rows >= 0) & (rows < 600)
        right = np.zeros(len(points), "uint16")
        right[inside] = pixels[rows[inside], columns[inside]]
        names = table.column("product").to_numpy(zero_copy_only=False)
        mine = np.array([f"_{day}T" in name and tile in name for name in names])
        values = np.zeros(len(points), "uint16")
        values[table.column("point").to_numpy()[mine]] = table.column("red").to_numpy(zero_copy_only=False)[mine]
        assert np.array_equal(values, right), (day, tile)


def test_points_that_are_none(tiles_index: Path) -> None:
    for points in ([], [(48.8, 102.0)], [(1.0, 2.0, 3.0)]):
        with pytest.raises(vsitlm.CubeError, match="longitude and latitude"):
            vsitlm.sample(points, tiles_index, "B04")


def test_points_far_apart_are_searched_by_their_tiles(tmp_path: Path) -> None:
    paths = []
    for tile, epsg, origin in [("60KZG", 32760, (786000.0, 8120000.0)), ("01KAB", 32701, (204000.0, 8120000.0))]:
        product = f"S2B_MSIL2A_20240601T105031_N0510_R051_T{tile}_20240601T140000"
        path = tmp_path / f"{product}.SAFE/GRANULE/L2A_T{tile}_A1_2/IMG_DATA/R60m/T{tile}_20240601T105031_B01_60m.jp2"
        pixels = np.random.default_rng(len(paths)).integers(1, 9000, (1, 500, 500), "uint16")
        paths.append(gdalio.make_jp2(path, pixels, epsg, origin, 60))
    vsitlm.index(paths, f"{tmp_path}/index/")
    points = []
    for epsg, x in ((32760, 789030.0), (32701, 207030.0)):
        (longitude,), (latitude,) = warp_points(epsg, "OGC:CRS84", [x], [8116970.0])[:2]
        points.append((longitude, latitude))
    assert points[0][0] > 179 and points[1][0] < -179
    table = vsitlm.sample([*points, (2.35, 48.85)], f"{tmp_path}/index", "B01", datetime="2024-06")
    right = []
    for path in paths:
        with rasterio.open(path) as file:
            right.append(int(file.read(1)[50, 50]))
    values = {row["point"]: row["B01"] for row in table.to_pylist()}
    assert values == dict(enumerate(right)), (values, right)


def test_files_that_fail_are_warned_of_or_an_error(tiles: Tiles) -> None:
    items = [tiles.item("20240601", "31UDQ"), tiles.item("20240606", "31UDQ")]
    items[1]["assets"]["red-jp2"]["href"] = items[1]["assets"]["red-jp2"]["href"].replace("R10m", "R11m")
    west, south, east, north = tiles.degrees
    center = ((west + east) / 2, (south + north) / 2)
    for read in (
        lambda **more: vsitlm.sample([center], items, "red", **more),
        lambda **more: list(vsitlm.chips(items, "red", 16, centers=[center], **more)),
    ):
        with pytest.raises(vsitlm.NotFoundError):
            read()
        with pytest.warns(vsitlm.VsitlmWarning, match="no data of .*R11m"):
            assert len(read(fail_on_error=False)) == 1


def test_chips_of_an_area_are_parts_of_what_is_loaded(tiles: Tiles, tiles_index: Path) -> None:
    terms: dict[str, Any] = {"area": tiles.degrees, "datetime": "2024-06", "resolution": 10}
    whole = vsitlm.load(tiles_index, ["B04", "SCL"], **terms)
    count, covered = 0, np.zeros(whole["B04"].shape[1:], bool)
    for chip in vsitlm.chips(tiles_index, ["B04", "SCL"], 100, stride=90, **terms):
        column = round((chip.grid.west + 5 - float(whole.x[0])) / 10)
        row = round((float(whole.y[0]) - chip.grid.north + 5) / 10)
        inner = (slice(row, min(row + 100, whole.sizes["y"])), slice(column, min(column + 100, whole.sizes["x"])))
        for time, moment in enumerate(chip.times):
            number = [str(day)[:10] for day in whole.time.values].index(f"{moment:%Y-%m-%d}")
            for name in ("B04", "SCL"):
                right = whole[name][number].values[inner]
                assert np.array_equal(chip.pixels[name][time][: right.shape[0], : right.shape[1]], right), (name, row)
        covered[inner] = True
        count += 1
        assert chip.stack().shape == (len(chip.times), 2, 100, 100)
    assert covered.all() and count > 10


def test_chips_around_points(tiles: Tiles, tiles_index: Path) -> None:
    (xs, ys) = warp_points(32631, "OGC:CRS84", [500005.0, 503005.0, 900000.0], [5397995.0, 5395995.0, 5398000.0])[:2]
    points = list(zip(xs, ys, strict=True))
    found = list(vsitlm.chips(tiles_index, "B04", 64, centers=points, datetime="2024-06-11"))
    assert [len(chip.times) for chip in found] == [1] and found[0].products[0].startswith("S2B_MSIL2A_20240611")
    with rasterio.open(tiles.files["20240611", "31UDQ", "B04"]) as file:
        row, column = file.index(500005.0, 5397995.0)
        right = file.read(1)[row - 32 : row + 32, column - 32 : column + 32]
    assert np.array_equal(found[0].pixels["B04"][0], right)
    with pytest.raises(vsitlm.CubeError, match="at least 1"):
        vsitlm.chips(tiles_index, "B04", 0)


def test_the_example_for_torch_with_samplers(tiles: Tiles, tiles_index: Path) -> None:
    """With a stand-in for torch, as in test_many.py."""
    west, south, east, north = tiles.degrees
    code = f"""
import numpy, rasterio, vsitlm, area_chips
from torch.utils.data import DataLoader
bounds = ({west + 0.02}, {south}, {east}, {north})
found = vsitlm.search({str(tiles_index)!r}, bounds, "2024-06", ["B04", "SCL"])
chips = area_chips.AreaChips(found, ["B04"], 32)
places = area_chips.RandomPlaces(bounds, 10)
assert list(places) == list(places) and len(places) == 10
batches = [list(DataLoader(chips, batch_size=4, sampler=places, num_workers=workers)) for workers in (0, 2)]
assert [len(batch) for batch in batches[0]] == [4, 4, 2]
for one, other in zip(*batches, strict=True):
    assert one.shape[1:] == (1, 32, 32) and numpy.isfinite(one).any()
    assert numpy.array_equal(one, other, equal_nan=True)
place = next(iter(places))
(chip,) = vsitlm.chips(found, ["B04"], 32, centers=[place], offset="harmonise", mask="scl")
valid = numpy.where(chip.stack() == 0, numpy.nan, chip.stack() / numpy.float32(10000))
assert numpy.allclose(chips[place], numpy.nanmedian(valid, 0), equal_nan=True)
grid = area_chips.GridPlaces(bounds, 0.01)
assert len(list(grid)) == len(grid) > 10 and numpy.allclose(list(grid)[1][0] - list(grid)[0][0], 0.01)
"""
    paths = [Path(__file__).parent / "torch_stand_in", ROOT / "examples", os.environ.get("PYTHONPATH", "")]
    run(code, options={"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONWARNINGS": "ignore"})
