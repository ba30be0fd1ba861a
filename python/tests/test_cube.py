"""Cubes: what xarray and zarr read of a series is what rasterio reads of its files, and asks for no more."""

from __future__ import annotations

import json
import pickle
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import realdata
from conftest import Site, run
from cubes import BANDS, REAL, STEPS, Series, add, compare_tree

pytest.importorskip("zarr")
xarray = pytest.importorskip("xarray")
import rasterio  # noqa: E402
import rasterio.warp  # noqa: E402
import rioxarray  # noqa: E402, F401
import zarr  # noqa: E402

import vsitlm  # noqa: E402


def test_a_series_is_what_its_files_are(series: Series) -> None:
    series.site.stats()
    dataset = vsitlm.open_cube(series.index, bands=["B04", "B08"])
    assert series.site.stats()["requests"] == 0, "opening asks for nothing"
    assert dataset["B04"].dims == ("time", "y", "x") and dataset["B04"].dtype == "uint16"
    assert dataset.product_id.values.tolist() == STEPS
    assert dataset.processing_baseline.values.tolist() == ["03.01", "04.00", "05.11", "05.11", "05.11"]
    assert dataset.boa_add_offset.values.tolist() == [0, -1000, -1000, -1000, -1000]
    days = [value.astype("datetime64[D]").item() for value in dataset.time.values]
    assert days == [datetime.strptime(step.split("_")[2][:8], "%Y%m%d").date() for step in STEPS]
    for number, product in enumerate(STEPS):
        for band in ("B04", "B08"):
            right = series.pixels(product, band) if (product, band) in series.files else 0
            assert (dataset[band][number].values == right).all(), (product, band)
    assert dataset.rio.crs.to_epsg() == 32631
    with rasterio.open(series.files[STEPS[0], "B04"]) as file:
        assert dataset["B04"].rio.transform() == file.transform == dataset.rio.transform()
        assert np.allclose([dataset.x[0], dataset.y[0]], file.xy(0, 0))


def test_a_tile_part_is_asked_for_once_and_what_is_not_there_never(series: Series) -> None:
    dataset = vsitlm.open_cube(series.index, bands=["B08"], datetime="2024-06-01/2024-06-06")
    series.site.stats()
    assert not dataset["B08"][1].values.any()
    assert series.site.stats()["requests"] == 0
    dataset = vsitlm.open_cube(series.index, bands=["B04"], datetime="2024-06-06/2024-06-06")
    dataset["B04"].load()
    # Nine tiles of 512 px.
    assert series.site.stats()["requests"] <= 9
    # A small file is fetched whole, without looking first at what of its tiles is wanted.
    area = (405000.0, 5395000.0, 408000.0, 5397000.0)
    day, gap = "2024-06-06/2024-06-06", 1_000_000
    dataset = vsitlm.open_cube(series.index, bands=["SCL"], datetime=day, area=area, VSITLM_MERGE_GAP=gap)
    dataset["SCL"].load()
    told = series.site.stats()
    assert told["requests"] == 1, [(r["offset"], r["length"]) for r in told["ranges"]]


@pytest.mark.parametrize(("band", "resolution"), [("B04", 20), ("B04", 80), ("B05", 20), ("B05", 160), ("B01", 120)])
def test_reduced_levels_are_those_of_the_files(band: str, resolution: int, series: Series) -> None:
    dataset = vsitlm.open_cube(series.index, bands=[band], resolution=resolution)
    level = (resolution // BANDS[band]).bit_length() - 2
    for number, product in enumerate(STEPS):
        right = series.pixels(product, band, level if level >= 0 else None)
        assert np.array_equal(dataset[band][number].values, right)
    assert dataset["B05" if band == "B05" else band].rio.resolution() == (resolution, -resolution)


@pytest.mark.parametrize("chunk", [None, 100, 333])
def test_an_area_is_the_pixels_that_it_touches(chunk: int | None, series: Series) -> None:
    bounds = (401003.0, 5395021.0, 403999.0, 5397000.0)
    shown = vsitlm.open_cube(series.index, bands=["B04", "SCL"], resolution=20, area=bounds, chunk=chunk)
    rows, columns = slice(150, 249), slice(52, 202)
    assert shown["SCL"].shape == (5, 99, 150)
    for number, product in enumerate(STEPS):
        assert np.array_equal(shown["SCL"][number].values, series.pixels(product, "SCL")[rows, columns])
        assert np.array_equal(shown["B04"][number].values, series.pixels(product, "B04", 0)[rows, columns])
    degrees = rasterio.warp.transform_bounds(32631, 4326, *bounds)
    west, south, east, north = degrees
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    geometry = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
    for area in (degrees, geometry):
        same = vsitlm.open_cube(series.index, bands=["SCL"], area=area)
        assert set(shown.x.values) <= set(same.x.values) and set(shown.y.values) <= set(same.y.values)
        assert same.sizes["x"] <= 156 and same.sizes["y"] <= 106


def test_values_are_brought_to_one_scale_by_the_baseline(series: Series) -> None:
    kept = vsitlm.open_cube(series.index, bands=["B05", "SCL"])
    made = vsitlm.open_cube(series.index, bands=["B05", "SCL"], offset="harmonise")
    assert "boa_add_offset" not in made.coords and np.array_equal(made["SCL"], kept["SCL"])
    for number, step in enumerate(STEPS):
        values = kept["B05"][number].values.astype(int)
        right = values if "N0301" in step else np.where(values == 0, 0, np.maximum(values - 1000, 1))
        assert np.array_equal(made["B05"][number], right)
    of_kept, of_made = (vsitlm.reflectance(one)["B05"] for one in (kept, made))
    assert of_kept.dtype == "float32" and np.isnan(of_kept[:, :20, :20]).all()
    bright = kept["B05"].values > 1001
    assert np.allclose(of_kept.values[bright], of_made.values[bright])
    assert np.allclose(of_kept[1].values[bright[1]], (kept["B05"][1].values[bright[1]].astype(int) - 1000) / 10000)


def test_duplicates_and_days(series: Series) -> None:
    everything = vsitlm.open_cube(series.index, bands=["B04"], duplicates="all")
    assert everything.sizes["time"] == 6
    with pytest.raises(vsitlm.CubeError, match="20240611"):
        vsitlm.open_cube(series.index, bands=["B04"], duplicates="error")
    days = vsitlm.open_cube(series.index, bands=["B04"], groupby="solar_day")
    assert days.product_id.values[-1].split("; ") == STEPS[3:]
    first, second = (series.pixels(product, "B04") for product in STEPS[3:])
    assert np.array_equal(days["B04"][-1].values, np.where(first == 0, second, first))


def test_the_tree_has_the_groups_of_eopf_and_their_levels(series: Series) -> None:
    made = vsitlm.store(series.index)
    tree = xarray.open_datatree(made, engine="zarr")
    groups = {group.path: sorted(group.data_vars) for group in tree.subtree if group.data_vars}
    reflectance = "/measurements/reflectance"
    assert groups[f"{reflectance}/r10m"] == ["b04", "b08"] and groups[f"{reflectance}/r20m"] == ["b05"]
    assert groups[f"{reflectance}/r60m"] == ["b01"] and f"{reflectance}/r360m" not in groups
    for level, name in ((20, "_10m/r20m"), (80, "_10m/r80m")):
        right = series.pixels(STEPS[0], "B04", level // 20 - 1 if level == 20 else 2)
        assert np.array_equal(tree[f"{reflectance}{name}/b04"][0].values, right)
    assert np.array_equal(tree[f"{reflectance}/r40m/b05"][0].values, series.pixels(STEPS[0], "B05", 0))
    assert np.array_equal(tree[f"{reflectance}/r120m/b01"][0].values, series.pixels(STEPS[0], "B01", 0))
    scl = tree["conditions/mask/l2a_classification/r20m/scl"]
    assert np.array_equal(scl[0].values, series.pixels(STEPS[0], "SCL")) and scl.dtype == "uint8"
    layout = zarr.open_group(made, mode="r")["measurements/reflectance"].attrs["multiscales"]["layout"]
    assert [entry["asset"] for entry in layout][:4] == ["r10m", "r20m", "r40m", "r60m"]
    assert {entry["asset"]: entry.get("derived_from") for entry in layout}["r40m"] == "r20m"
    assert tree[f"{reflectance}/r10m"].ds.rio.crs.to_epsg() == 32631


def test_dask_reads_it_by_threads_and_processes(series: Series) -> None:
    dataset = vsitlm.open_cube(series.index, bands=["B04"], chunks={})
    right = np.stack([series.pixels(product, "B04") for product in STEPS])
    assert dataset["B04"].chunks == ((1,) * 5, (512, 512, 176), (512, 512, 176))
    assert np.array_equal(dataset["B04"].compute(scheduler="threads").values, right)
    assert dataset["B04"].mean().compute(scheduler="processes").item() == pytest.approx(right.mean())
    assert np.array_equal(pickle.loads(pickle.dumps(dataset))["B04"][1].values, right[1])


def test_workers_of_distributed_read_it(series: Series) -> None:
    from dask.distributed import Client, LocalCluster

    dataset = vsitlm.open_cube(series.index, bands=["B04", "SCL"], resolution=20, chunks={})
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(**options) as cluster, Client(cluster):
        largest, scl = dataset["B04"].max("time").compute(), dataset["SCL"].compute()
    right = np.stack([series.pixels(product, "B04", 0) for product in STEPS])
    assert np.array_equal(largest, right.max(0))
    assert all(np.array_equal(scl[number], series.pixels(product, "SCL")) for number, product in enumerate(STEPS))


def test_cloud_cover_is_that_of_stac_items(series: Series, tmp_path: Path) -> None:
    items = []
    for step, cover in zip(STEPS[:3], (12.5, None, 99.0), strict=True):
        (url,) = (url for url in series.urls if step in url and "B04" in url)
        properties = {} if cover is None else {"eo:cloud_cover": cover}
        item = {"type": "Feature", "stac_version": "1.0.0", "id": step, "properties": properties}
        item["assets"] = {"red": {"href": url}}
        (tmp_path / f"{step}.json").write_text(json.dumps(item))
        items.append(tmp_path / f"{step}.json")
    vsitlm.index(items, tmp_path / "tiles.parquet")
    dataset = vsitlm.open_cube(tmp_path / "tiles.parquet")
    assert np.array_equal(dataset.cloud_cover.values, [12.5, np.nan, 99.0], equal_nan=True)
    assert dataset["B04"][dataset.cloud_cover.argmin("time").item()].product_id == STEPS[0]
    assert "cloud_cover" not in vsitlm.open_cube(series.index, bands=["B04"]).coords


def test_another_process_opens_a_pickled_dataset(series: Series, tmp_path: Path) -> None:
    dataset = vsitlm.open_cube(series.index, bands=["SCL"], datetime=("2024-06-01", None))
    (tmp_path / "cube.pickle").write_bytes(pickle.dumps(dataset))
    code = "import pickle, sys; print(int(pickle.load(open(sys.argv[1], 'rb'))['SCL'].astype('int64').sum()))"
    done = run(code, tmp_path / "cube.pickle", python=sys.executable)
    assert int(done.stdout) == sum(series.pixels(product, "SCL").astype(int).sum() for product in STEPS)


def test_the_engine_of_xarray(series: Series) -> None:
    with xarray.open_dataset(series.index, engine="vsitlm", tile="31UDQ", bands=["B01"], chunks={}) as dataset:
        assert dataset["B01"].chunks is not None
        assert np.array_equal(dataset["B01"][0].values, series.pixels(STEPS[0], "B01"))
    with pytest.raises(ValueError, match=r"did not find a match|engine"):
        xarray.open_dataset(series.index)


def test_a_plain_zarr_reader_reads_the_store(series: Series) -> None:
    store = vsitlm.store(series.index, bands=["B04"], resolution=10)
    array = zarr.open_array(store, path="B04", mode="r")
    assert np.array_equal(array[2, 500:530, 1190:], series.pixels(STEPS[2], "B04")[500:530, 1190:])
    assert array.fill_value == 0 and zarr.config.get("async.concurrency") >= 128
    with pytest.raises(ValueError, match="read-only"):
        store.with_read_only(False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bands": ["B12"]}, "no band B12: it has B01, B04, B05, B08, SCL"),
        ({"tile": "32TQM"}, "it has 31UDQ"),
        ({"datetime": "2023"}, "nothing .* at 2023: it has 2024-06-01 to 2024-06-16"),
        ({"datetime": "2024-06-10/2024-06-01"}, "ends before it begins"),
        ({"datetime": "June"}, "write it as"),
        ({"bands": ["B01"], "resolution": 10}, "not there at 10 m: it is at 60, 120"),
        ({"bands": ["B04"], "area": (0, 0, 1, 1)}, "outside the tile"),
        ({"bands": ["B04"], "area": (2, 1, 0, 0)}, "the wrong way round"),
        ({"bands": ["B04"], "area": {"type": "Polygon", "coordinates": []}}, "empty"),
        ({"bands": ["B04"], "area": "{"}, "no GeoJSON"),
        ({"bands": ["B04"], "offset": "add"}, "'keep' or 'harmonise'"),
        ({"bands": ["B04"], "duplicates": "first"}, "'newest', 'all' or 'error'"),
        ({"bands": ["B04"], "groupby": "day"}, "'solar_day'"),
        ({"level": "L1C"}, "no L1C product"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_what_is_not_there_is_an_error_that_tells_what_is(
    arguments: dict[str, Any], words: str, series: Series
) -> None:
    with pytest.raises(vsitlm.CubeError, match=words):
        vsitlm.open_cube(series.index, **arguments)


def test_a_file_that_has_changed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    site = Site(tmp_path / "served")
    with site.server:
        made = Series(tmp_path / "tiles.parquet", site, {})
        product = add(made, "20240601", "0510", bands=("B01",))
        (file,) = site.folder.glob("S2B*/**/*.jp2")
        vsitlm.index(made.urls, made.index)
        dataset = vsitlm.open_cube(made.index, bands=["B01"])
        other = add(made, "20240602", "0510", bands=("B01",))
        file.write_bytes(made.files[other, "B01"].read_bytes())
        with pytest.raises(vsitlm.ChangedError):
            dataset["B01"].load()
        assert product in dataset.product_id.values[0]


@pytest.mark.real_data
def test_real_files(tmp_path: Path) -> None:
    paths = realdata.find(REAL)
    vsitlm.index(paths, tmp_path / "real.parquet", all_resolutions=True, masks=True)
    tree = xarray.open_datatree(vsitlm.store(tmp_path / "real.parquet", masks=True), engine="zarr")
    compare_tree(tree, paths)
