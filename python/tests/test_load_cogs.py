"""Areas of COGs: Earth Search's and Landsat's, from indexes and items, beside JP2s."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from areas import NORTH, WEST
from cogs import SCENE_DAY, Cogs, make_cog, read, warped
from conftest import run
from rasterio.warp import transform as warp_points

pytest.importorskip("shapely")
pytest.importorskip("xarray")

import vsitlm


def mosaic(cogs: Cogs, day: str, band: str, loaded: Any, level: int | None = None) -> np.ndarray:
    """What rasterio reads of a day's COGs, on the pixels of what was loaded: the first that is not 0."""
    step = float(loaded.x[1] - loaded.x[0])
    west, north = float(loaded.x[0]) - step / 2, float(loaded.y[0]) + step / 2
    made = np.zeros((loaded.sizes["y"], loaded.sizes["x"]), "uint16")
    for tile in WEST:
        if (day, tile, band) not in cogs.files:
            continue
        pixels = read(cogs.files[day, tile, band], **({} if level is None else {"overview_level": level}))
        column, row = round((WEST[tile] - west) / step), round((north - NORTH) / step)
        whole = np.zeros_like(made)
        top, left = max(row, 0), max(column, 0)
        part = pixels[top - row : made.shape[0] - row, left - column : made.shape[1] - column]
        whole[top : top + part.shape[0], left : left + part.shape[1]] = part
        made = np.where(made == 0, whole, made)
    return made


@pytest.mark.parametrize(("resolution", "level"), [(10, None), (20, 0), (40, 1)])
def test_an_index_of_cogs(resolution: int, level: int | None, cogs: Cogs, cogs_index: Path) -> None:
    cogs.site.stats()
    found = vsitlm.search(cogs_index, cogs.tiles.degrees, "2024-06", "B04")
    assert len(found) == 5 and {file.grid.resolution for file in found} == {10}
    assert cogs.site.stats()["requests"] == 0
    loaded = vsitlm.load(found, resolution=resolution)
    # Nothing but tiles: 25 of 128 px in each file at most, and neighbours by one request.
    assert 0 < cogs.site.stats()["requests"] <= 5 * 25
    assert loaded.sizes["time"] == 3
    for number, day in enumerate(("20240601", "20240606", "20240611")):
        right = mosaic(cogs, day, "B04", loaded, level)
        assert right.any() and np.array_equal(loaded["B04"][number].values, right), day
    # Where these COGs lie, the offset of the baseline is applied already.
    assert loaded.boa_add_offset.values.tolist() == [0, 0, 0]
    lazy = vsitlm.load(found, resolution=resolution, chunks={"y": 100, "x": 90})
    assert np.array_equal(lazy["B04"].values, loaded["B04"].values)
    harmonised = vsitlm.load(found, resolution=resolution, offset="harmonise")
    assert np.array_equal(harmonised["B04"].values, loaded["B04"].values)


def test_cogs_are_warped_by_the_overview_that_a_grid_needs(cogs: Cogs, cogs_index: Path) -> None:
    west, south = cogs.tiles.degrees[:2]
    area = west + 0.02, south + 0.02, west + 0.034, south + 0.028
    loaded = vsitlm.load(cogs_index, "B04", area, 80.0, 3857, datetime="2024-06-11")
    right = warped(cogs.files["20240611", "31UDQ", "B04"], loaded, 3857, overview_level=1)
    assert right.any() and np.array_equal(loaded["B04"][0].values, right)


def test_overviews_whose_pixels_are_no_multiple_are_not_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(6).integers(1, 9000, (1, 500, 597), "uint16")
    path = tmp_path / "S2A_T31UDQ_20240601T105625_L2A/B04.tif"
    make_cog(path, pixels, 32631, (499980.0, 5400000.0), 10)
    with rasterio.open(path) as file:
        assert file.overviews(1)[:2] == [2, 4]
    vsitlm.index([path], tmp_path / "tiles.parquet")
    loaded = vsitlm.load(tmp_path / "tiles.parquet", "red", resolution=20)
    right = warped(path, loaded, 32631)
    assert loaded["red"].shape == (1, 250, 299) and np.array_equal(loaded["red"][0, :, :-1], right[:, :-1])
    # Of Collection 1 the numbers are the product's own, of a baseline of 05.00 or later.
    assert loaded.boa_add_offset.values.tolist() == [-1000]


def test_items_with_both_formats_give_the_one_that_is_preferred(cogs: Cogs) -> None:
    item = cogs.item("20240601", "31UDQ", **{"earthsearch:boa_offset_applied": True})
    found = vsitlm.search(item, bands=["red", "SCL"])
    assert [(file.band, file.format) for file in found] == [("B04", "tiff"), ("SCL", "tiff")]
    loaded = vsitlm.load(found)
    assert loaded.boa_add_offset.values.tolist() == [0] and loaded["red"].any()
    tiff = vsitlm.load(found, "red", offset="harmonise")["red"].values[0]
    assert np.array_equal(tiff, read(cogs.files["20240601", "31UDQ", "B04"]))
    for formats in (("jp2", "tiff"), "jp2"):
        found = vsitlm.search(item, bands=["red", "SCL"], formats=formats)
        assert {file.format for file in found} == {"jp2"} and len(found) == 2
        # What is said of the COGs is not true of JP2s.
        loaded = vsitlm.load(found, "red")
        assert loaded.boa_add_offset.values.tolist() == [-1000]
        right = read(cogs.tiles.files["20240601", "31UDQ", "B04"])
        assert np.array_equal(loaded["red"][0].values, right)
        moved = vsitlm.load(found, "red", offset="harmonise")["red"][0].values
        assert moved.max() == right.max() - 1000
    for formats in ((), ("png",), "tif"):
        with pytest.raises(vsitlm.CubeError, match="formats is"):
            vsitlm.search(item, formats=formats)


def test_an_offset_that_a_cog_still_has_is_the_baselines(cogs: Cogs) -> None:
    item = cogs.item("20240601", "31UDQ", **{"earthsearch:boa_offset_applied": False})
    loaded = vsitlm.load(vsitlm.search(item, bands="red"))
    assert loaded.boa_add_offset.values.tolist() == [-1000]
    moved = vsitlm.load(vsitlm.search(item, bands="red"), offset="harmonise")["red"].values
    assert moved.max() == loaded["red"].values.max() - 1000
    old = cogs.item("20240611", "31UDQ", **{"earthsearch:boa_offset_applied": False})
    assert vsitlm.load(vsitlm.search(old, bands="red")).boa_add_offset.values.tolist() == [0]


def test_a_series_of_jp2s_and_cogs(cogs: Cogs, tiles_index: Path) -> None:
    days = ["2024-06-01", "2024-06-06", "2024-06-11"]
    jp2s = vsitlm.search(tiles_index, cogs.tiles.degrees, "2024-06-01", ["red", "SCL"])
    applied = {"earthsearch:boa_offset_applied": True}
    items = [cogs.item("20240606", tile, **applied) for tile in WEST] + [cogs.item("20240611", "31UDQ")]
    others = vsitlm.search(items, cogs.tiles.degrees, None, ["red", "SCL"])
    options = dict(jp2s.settings)
    several = vsitlm.Result((*jp2s.files, *others.files), ("red", "SCL"), jp2s.area, options)
    loaded = vsitlm.load(several, ["red", "SCL"], resolution=20)
    assert [str(time)[:10] for time in loaded.time.values] == days
    assert loaded.boa_add_offset.values.tolist() == [-1000, 0, 0]
    whole = vsitlm.load(several, ["red"], resolution=10)
    for number, day in enumerate(days):
        day = day.replace("-", "")
        assert np.array_equal(whole["red"][number].values, mosaic(cogs, day, "B04", whole)), day
        assert np.array_equal(loaded["SCL"][number].values, mosaic(cogs, day, "SCL", loaded)), day
    masked = vsitlm.load(several, ["red"], resolution=20, mask="scl")["red"].values
    kept = np.isin(loaded["SCL"].values, (2, 4, 5, 6, 7, 11))
    assert np.array_equal(masked, np.where(kept, loaded["red"].values, 0)) and masked.any()


def test_reflectances_of_unlike_offsets_are_never_one_time(cogs: Cogs) -> None:
    # Of one day, of both tiles, one is a JP2 and has its offset.
    first = vsitlm.search(
        cogs.item("20240601", "31UDQ", **{"earthsearch:boa_offset_applied": True}), bands=["red", "SCL"]
    )
    second = vsitlm.search(cogs.item("20240601", "31UEQ"), bands=["red", "SCL"], formats="jp2")
    both = vsitlm.Result((*first.files, *second.files), ("red", "SCL"), cogs.tiles.degrees, {})
    loaded = vsitlm.load(both, ["red", "SCL"], resolution=20)
    assert sorted(loaded.boa_add_offset.values.tolist()) == [-1000, 0]
    assert all(loaded["SCL"][number].values.any() and loaded["red"][number].values.any() for number in (0, 1))
    assert vsitlm.load(both, "SCL").sizes["time"] == 2
    # A product whose classes are a JP2, and whose reflectances are none, is one time.
    item = cogs.item("20240601", "31UDQ", **{"earthsearch:boa_offset_applied": True})
    item["assets"].pop("scl")
    loaded = vsitlm.load(vsitlm.search(item, bands=["red", "SCL"]), mask="scl", resolution=20)
    assert loaded.boa_add_offset.values.tolist() == [0] and loaded["red"].values.any()


def test_points_of_cogs(cogs: Cogs, cogs_index: Path) -> None:
    west, south, east, north = cogs.tiles.degrees
    chance = np.random.default_rng(8)
    points = np.stack([chance.uniform(west, east, 50), chance.uniform(south, north, 50)], 1)
    table = vsitlm.sample(points, cogs_index, "red", datetime="2024-06").to_pylist()
    values = {(row["product"], row["point"]): row["red"] for row in table}
    for (day, tile, band), path in cogs.files.items():
        if band not in ("B04", "SR_B4"):
            continue
        (product,) = {name for name, _ in values if (f"_{day}" in name and tile in name)}
        with rasterio.open(path) as file:
            xs, ys = warp_points("OGC:CRS84", file.crs, *points.T)
            right = [int(value[0]) for value in file.sample(zip(xs, ys, strict=True))]
        assert any(right) and [values.get((product, point)) for point in range(50)] == [one or None for one in right]
    squares = vsitlm.sample(points[:3], vsitlm.search(cogs.scene(), bands="red"), size=5)
    with rasterio.open(cogs.files[SCENE_DAY, "", "SR_B4"]) as file:
        xs, ys = warp_points("OGC:CRS84", file.crs, *points[:3].T)
        for number, (x, y) in enumerate(zip(xs, ys, strict=True)):
            row, column = file.index(x, y)
            right = file.read(1)[row - 2 : row + 3, column - 2 : column + 3]
            assert right.shape == (5, 5) and np.array_equal(squares["red"].values[number], right)


def test_chips_of_cogs(cogs: Cogs, cogs_index: Path) -> None:
    (chip,) = vsitlm.chips(
        cogs_index,
        ["red", "SCL"],
        64,
        centers=[[(one + other) / 2 for one, other in _sides(cogs)]],
        datetime="2024-06-11",
    )
    with rasterio.open(cogs.files["20240611", "31UDQ", "B04"]) as file:
        row, column = file.index(chip.grid.west + 5, chip.grid.north - 5)
        right = file.read(1)[row : row + 64, column : column + 64]
    assert right.any() and np.array_equal(chip.pixels["red"][0], right) and chip.pixels["SCL"].any()


def _sides(cogs: Cogs) -> list[tuple[float, float]]:
    west, south, east, north = cogs.tiles.degrees
    return [(west, east), (south, north)]


def test_a_search_finds_cogs_by_area_and_time(cogs: Cogs, cogs_index: Path) -> None:
    found = vsitlm.search(cogs_index, cogs.tiles.degrees, "2024-06-01/2024-06-02")
    assert [file.band for file in found].count("B04") == 2 and {"SR_B4", "QA_PIXEL"} <= set(found.bands)
    # Landsat has no tile of the MGRS: the outline of its image tells where it is.
    for area in ((1.0, 48.6, 1.2, 48.7), (12.0, 45.0, 12.1, 45.1)):
        assert len(vsitlm.search(cogs_index, area)) == 0 == len(vsitlm.search(found, area))
        assert len(vsitlm.search(cogs.scene(), area)) == 0
    assert len(vsitlm.search(cogs.scene(), cogs.tiles.degrees)) == 3
    assert {file.product for file in vsitlm.search(cogs_index, level="L1C")} == set()


def test_cogs_that_lack_a_time_or_a_place_are_left_out_with_a_warning(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(1, 9000, (1, 64, 64), "uint16")
    origin = (499980.0, 5400000.0)
    paths = [
        make_cog(tmp_path / "S2A_31UDQ_20240601_0_L2A/B04.tif", pixels, 32631, origin, 10),
        make_cog(tmp_path / "S2A_T31UDQ_20240601T105625_L2A/B04.tif", pixels, None, origin, 10),
        make_cog(tmp_path / "S2A_T31UDQ_20240603T105625_L2A/B04.tif", pixels, 32631, origin, 10),
    ]
    vsitlm.index(paths, tmp_path / "tiles.parquet")
    with pytest.warns(vsitlm.VsitlmWarning) as warned:
        found = vsitlm.search(tmp_path / "tiles.parquet")
    told = sorted(str(one.message).partition("left out: ")[2] for one in warned)
    assert told == [
        "they have no EPSG code, which says where they lie",
        "they have no time, which neither their names nor a STAC item told",
    ]
    assert [file.time.day for file in found] == [3] and np.array_equal(vsitlm.load(found)["B04"][0].values, pixels[0])


def test_a_cog_with_no_place_or_oblong_pixels_is_refused(tmp_path: Path) -> None:
    pixels = np.ones((1, 64, 64), "uint16")
    item = {"id": "x", "properties": {"datetime": "2024-06-01T10:00:00Z"}, "assets": {"height": {}}}
    item["assets"]["height"] = {"href": str(make_cog(tmp_path / "one.tif", pixels, None, (0.0, 0.0), 10))}
    with pytest.raises(vsitlm.CubeError, match=r"one\.tif does not say where it lies"):
        vsitlm.load(item, "height")
    with rasterio.open(tmp_path / "two.tif", "w", driver="GTiff", width=64, height=64, count=1, dtype="uint16",
                       crs="EPSG:32631", transform=rasterio.Affine(10, 0, 0, 0, -20, 0)) as file:  # fmt: skip
        file.write(pixels)
    item["assets"]["height"] = {"href": str(tmp_path / "two.tif")}
    with pytest.raises(vsitlm.CubeError, match="no squares with north up"):
        vsitlm.load(item, "height")


def test_any_cog_of_an_item_by_its_key_and_in_degrees(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(300, 50, (1, 128, 96)).astype("float32")
    path = make_cog(tmp_path / "N48E002.tif", values, 4326, (2.0, 49.0), 1 / 3600)
    assets = {
        "data": {"href": str(path), "bands": [{"name": "b1", "eo:common_name": "height"}]},
        "visual": {"href": str(tmp_path / "x.tif")}, "rgb": {"href": str(tmp_path / "y.tif"), "eo:bands": [{}, {}, {}]},
    }  # fmt: skip
    item = {"id": "dem", "properties": {"datetime": "2024-06-01T10:00:00Z"}, "assets": assets}
    for name in ("data", "height"):
        loaded = vsitlm.load(vsitlm.search(item), name)
        assert np.array_equal(loaded[name][0].values, values[0]) and loaded[name].dims == (
            "time",
            "latitude",
            "longitude",
        )
    table = vsitlm.sample([(2.0 + 10.5 / 3600, 49.0 - 20.5 / 3600)], item, "data")
    assert table["data"].to_pylist() == [float(values[0, 20, 10])]


def test_signed_hrefs_reach_the_core_and_are_never_told(cogs: Cogs, tmp_path: Path, capfd: Any) -> None:
    # As the Planetary Computer has them.
    product = "S2B_MSIL2A_20240601T105031_N0510_R051_T31UDQ_20240601T140000"
    path = f"31/U/DQ/2024/06/01/{product}.SAFE/GRANULE/L2A_T31UDQ_A1_2/IMG_DATA/R10m/T31UDQ_20240601T105031_B04_10m.tif"
    url = cogs.site.put(cogs.files["20240601", "31UDQ", "B04"], path)
    item: dict[str, Any] = {"id": "S2B_MSIL2A_20240601T105031_R051_T31UDQ_20240601T140000", "properties": {}}
    item["assets"] = {"B04": {"href": f"{url}?sv=1&sig=se%2Fcret%3D", "eo:bands": [{"common_name": "red"}]}}
    found = vsitlm.search(item, bands="red")
    assert found.files[0].url.endswith("?sv=1&sig=se%2Fcret%3D") and found.files[0].format == "tiff"
    assert (found.files[0].product, found.files[0].offset, found.files[0].tile) == (product, -1000, "31UDQ")
    assert np.array_equal(vsitlm.load(found)["red"][0].values, read(cogs.files["20240601", "31UDQ", "B04"]))
    assert "cret" not in repr(found.files[0]) + repr(found)
    item["assets"]["B04"]["href"] = item["assets"]["B04"]["href"].replace("_B04_10m", "_B04_20m")
    with pytest.raises(vsitlm.NotFoundError) as failed:
        vsitlm.load(item, "red")
    assert "B04_20m.tif" in str(failed.value) and "cret" not in str(failed.value)
    both = [item, cogs.item("20240606", "31UDQ")]
    with pytest.warns(vsitlm.VsitlmWarning) as warned:
        loaded = vsitlm.load(both, "red", fail_on_error=False)
    told = [*loaded.attrs["failed"], *(str(one.message) for one in warned)]
    assert len(told) == 2 and all("B04_20m.tif" in one and "cret" not in one for one in told)
    (tmp_path / "item.json").write_text(json.dumps(item))
    for json_or_not in ([], ["--json"], ["--formats=tiff"]):
        done = run(
            "from vsitlm.__main__ import main; main()", "search", tmp_path / "item.json", *json_or_not, check=False
        )
        assert done.returncode == 0 and "B04_20m.tif" in done.stdout and "cret" not in done.stdout + done.stderr
