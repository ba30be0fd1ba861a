"""Loading: what comes of an area and a time is what rasterio reads of the files, side by side or warped."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import areas
import gdalio
import numpy as np
import pytest
import rasterio
import realdata
from areas import PRODUCTS, Tiles, mosaic
from conftest import other, run
from cubes import REAL
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as warp_points, transform_bounds

pytest.importorskip("shapely")
xarray = pytest.importorskip("xarray")

import vsitlm  # noqa: E402
from vsitlm.areas import _grids  # noqa: E402


@pytest.mark.parametrize("resolution", [10, 20])
def test_tiles_of_a_zone_are_put_side_by_side(resolution: int, tiles: Tiles, tiles_index: Path) -> None:
    found = vsitlm.search(tiles_index, tiles.degrees, "2024-06", ["red", "SCL"])
    assert len(found) == 10 and found.bands == ("red", "SCL")
    tiles.site.stats()
    bands = ["red"] if resolution == 10 else ["red", "SCL"]
    loaded = vsitlm.load(found, bands, resolution=resolution)
    assert tiles.site.stats()["requests"] <= 5 * 9 * len(bands)
    assert [str(time)[:10] for time in loaded.time.values] == ["2024-06-01", "2024-06-06", "2024-06-11"]
    assert loaded.boa_add_offset.values.tolist() == [-1000, -1000, 0]
    assert loaded.product_id.values[0].count("; ") == 1 and loaded.spatial_ref.attrs["spatial_ref"].startswith(
        "PROJCRS"
    )
    west, north = float(loaded.x[0]) - resolution / 2, float(loaded.y[0]) + resolution / 2
    for number, day in enumerate(("20240601", "20240606", "20240611")):
        for name in bands:
            right = mosaic(
                tiles, day, "B04" if name == "red" else name, west, north, resolution, loaded[name].shape[1:]
            )
            assert right.any() and np.array_equal(loaded[name][number].values, right), (day, name)
    assert loaded["red"].dtype == "uint16"


def bounds_of(loaded: Any, down: str, across: str, resolution: float) -> tuple[float, float, float, float]:
    """West, south, east and north of a Dataset."""
    half = resolution / 2
    xs, ys = loaded[across].values, loaded[down].values
    return float(xs[0]) - half, float(ys[-1]) - half, float(xs[-1]) + half, float(ys[0]) + half


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize(
    ("crs", "resolution", "level"),
    [(3857, 33.0, 0), (3857, 80.0, 1), (32632, 10.0, None), (4326, 0.0005, 0), (32631, 15.0, None), (32631, 300.0, 2)],
)
def test_another_grid_is_warped_as_gdal_does_it(
    crs: int, resolution: float, level: int | None, resampling: str, tiles: Tiles, tiles_index: Path
) -> None:
    # Less than a block of a WarpedVRT, so that both have the same scanlines, in which GDAL approximates.
    west, south = tiles.degrees[:2]
    area = west + 0.02, south + 0.02, west + 0.034, south + 0.028
    loaded = vsitlm.load(
        tiles_index, "B04", area, resolution, crs, datetime="2024-06-11", resampling=resampling
    )  # fmt: skip
    down, across = loaded["B04"].dims[1:]
    assert loaded.sizes[down] <= 128 and loaded.sizes[across] <= 512
    options = {} if level is None else {"overview_level": level}
    with rasterio.open(tiles.files["20240611", "31UDQ", "B04"], **options) as file:
        transform = rasterio.Affine(
            resolution, 0, float(loaded[across][0]) - resolution / 2,
            0, -resolution, float(loaded[down][0]) + resolution / 2,
        )  # fmt: skip
        terms = {"crs": f"EPSG:{crs}", "transform": transform, "nodata": 0, "src_nodata": 0}
        own = file.res[0]
        bounds = transform_bounds(crs, 32631, *bounds_of(loaded, down, across, resolution))
        fine = min((bounds[2] - bounds[0]) / loaded.sizes[across], (bounds[3] - bounds[1]) / loaded.sizes[down])
        terms |= {"resampling": rasterio.enums.Resampling[resampling], "XSCALE": min(own / fine, 1)}
        terms["YSCALE"] = terms["XSCALE"]
        with WarpedVRT(file, width=loaded.sizes[across], height=loaded.sizes[down], **terms) as warped:
            right = warped.read(1)
    assert right.any() and np.array_equal(loaded["B04"][0].values, right)


def test_the_newest_baseline_of_a_datatake_is_taken_and_its_offset_is_the_products(tiles: Tiles) -> None:
    lying = {"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "02.00"}
    older = tiles.item("20240611", "31UDQ")
    newer = json.loads(json.dumps(tiles.item("20240601", "31UDQ", **lying)))
    # The same sensing as that of the older one, by name; the file stays where it is.
    newer["properties"]["s2:product_uri"] = "S2B_MSIL2A_20240611T105031_N0510_R051_T31UDQ_20240701T000000.SAFE"
    loaded = vsitlm.load([older, newer], "red", tiles.degrees)
    assert loaded.sizes["time"] == 1 and loaded.boa_add_offset.values.tolist() == [-1000]
    right = vsitlm.load([tiles.item("20240601", "31UDQ")], "red", tiles.degrees)
    assert np.array_equal(loaded["red"].values, right["red"].values)


def test_an_area_over_two_zones_needs_a_reference_system(tmp_path: Path) -> None:
    right, transformers = {}, {"31UGR": (32631, 700000.0), "32ULB": (32632, 300000.0)}
    for number, (tile, (epsg, west)) in enumerate(transformers.items()):
        product = f"S2B_MSIL2A_20240601T105031_N0510_R051_T{tile}_20240601T140000"
        path = tmp_path / f"{product}.SAFE/GRANULE/L2A_T{tile}_A1_2/IMG_DATA/R60m/T{tile}_20240601T105031_B01_60m.jp2"
        pixels = np.random.default_rng(number).integers(1, 9000, (1, 500, 500), "uint16")
        right[tile] = gdalio.make_jp2(path, pixels, epsg, (west, 5600000.0), 60)
    vsitlm.index(list(right.values()), tmp_path / "tiles.parquet")
    with pytest.raises(vsitlm.CubeError, match="EPSG:32631, EPSG:32632: name one"):
        vsitlm.load(tmp_path / "tiles.parquet", "B01")
    loaded = vsitlm.load(tmp_path / "tiles.parquet", "B01", crs=32631)
    assert loaded.sizes["time"] == 1 and loaded.product_id.values[0].count("; ") == 1
    with rasterio.open(right["31UGR"]) as file:
        pixels = file.read(1)
    column, row = (
        round(abs(700000.0 - float(loaded.x[0]) + 30) / 60),
        round((float(loaded.y[0]) + 30 - 5600000.0) / 60),
    )
    assert np.array_equal(loaded["B01"][0].values[row : row + 500, column : column + 500], pixels)
    assert (loaded["B01"][0].values[:, column + 500 :] > 0).sum() > 200_000, "the other one, warped"


def test_masks_hide_what_they_say(tiles: Tiles, tiles_index: Path) -> None:
    terms: dict[str, Any] = {"area": tiles.degrees, "datetime": "2024-06-11", "resolution": 20}
    plain = vsitlm.load(tiles_index, ["B04", "SCL", "MSK_CLDPRB"], **terms)
    kept = np.isin(plain["SCL"].values, (4, 5))
    clear = plain["MSK_CLDPRB"].values <= 30
    assert kept.any() and clear.any() and not clear.all()
    for mask, right in [("scl", kept), ("cloud_probability", clear), (["scl", "cloud_probability"], kept & clear)]:
        masked = vsitlm.load(tiles_index, "B04", mask=mask, keep=(4, 5), clouds=30, **terms)
        assert np.array_equal(masked["B04"].values, np.where(right, plain["B04"].values, 0)), mask
    # A product of which nobody says what is cloud has nothing that is clear.
    items = [tiles.item("20240611", "31UDQ"), tiles.item("20240606", "31UDQ")]
    items[1]["assets"].pop("cloud")
    loaded = vsitlm.load(items, "B04", tiles.degrees, mask="cloud_probability")
    assert loaded["B04"][1].values.any() and not loaded["B04"][0].values.any()
    with pytest.raises(vsitlm.CubeError, match="MSK_CLDPRB, which the mask is made of"):
        vsitlm.load(items[1:], "B04", tiles.degrees, mask="cloud_probability")


def test_saturated_pixels_are_no_data_where_that_is_asked_for(tmp_path: Path) -> None:
    product = "S2B_MSIL2A_20240601T105031_N0510_R051_T31UDQ_20240601T140000"
    path = tmp_path / f"{product}.SAFE/GRANULE/L2A_T31UDQ_A1_2/IMG_DATA/R60m/T31UDQ_20240601T105031_B01_60m.jp2"
    pixels = np.random.default_rng(4).integers(1001, 9000, (1, 200, 200), "uint16")
    pixels[0, 3:9] = 65535
    vsitlm.index([gdalio.make_jp2(path, pixels, pixel=60)], tmp_path / "tiles.parquet")
    assert np.array_equal(vsitlm.load(tmp_path / "tiles.parquet", "B01")["B01"].values, pixels)
    for offset, shift in (("keep", 0), ("harmonise", -1000)):
        made = vsitlm.load(tmp_path / "tiles.parquet", "B01", mask="saturated", offset=offset)["B01"].values
        assert np.array_equal(made, np.where(pixels == 65535, 0, pixels.astype(int) + shift)), offset


def test_types_and_what_stands_for_no_data(tiles: Tiles, tiles_index: Path) -> None:
    plain = vsitlm.load(tiles_index, ["B04", "SCL"], tiles.degrees, 20)
    for chunks in (None, {}):
        floats = vsitlm.load(tiles_index, ["B04"], tiles.degrees, 20, dtype="float32", nodata=np.nan, chunks=chunks)
        values = floats["B04"].values
        assert values.dtype == "float32" and np.isnan(floats["B04"].attrs["nodata"])
        assert np.array_equal(values, np.where(plain["B04"] == 0, np.nan, plain["B04"]), equal_nan=True)
        whole = vsitlm.load(tiles_index, ["B04"], tiles.degrees, 20, nodata=65535, chunks=chunks)["B04"].values
        assert whole.dtype == "uint16" and np.array_equal(whole, np.where(plain["B04"] == 0, 65535, plain["B04"]))
    for terms in ({"nodata": np.nan}, {"nodata": -1}, {"nodata": 0.5, "dtype": "int32"}):
        with pytest.raises(vsitlm.CubeError, match="for no data: name a dtype"):
            vsitlm.load(tiles_index, "B04", tiles.degrees, **terms)


@pytest.mark.parametrize(("crs", "resolution"), [(None, 10), (None, 40), (3857, 25)])
def test_what_is_large_is_read_in_pieces(
    crs: int | None, resolution: int, tiles: Tiles, tiles_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms: dict[str, Any] = {"area": tiles.degrees, "resolution": resolution, "crs": crs, "mask": "scl"}
    whole = vsitlm.load(tiles_index, ["B04", "SCL"], **terms)
    tiles.site.stats()
    monkeypatch.setattr(_grids, "PIECE", 100)
    pieces = vsitlm.load(tiles_index, ["B04", "SCL"], **terms)
    for name in ("B04", "SCL"):
        same = (whole[name].values == pieces[name].values).mean()
        # The warper's own approximation, of an eighth of a pixel, is made by scanlines of pieces.
        assert same == 1 or (crs is not None and same > 0.97), same


def test_workers_of_distributed_read_it(tiles: Tiles, tiles_index: Path) -> None:
    from dask.distributed import Client, LocalCluster

    lazy = vsitlm.load(tiles_index, ["B04", "SCL"], tiles.degrees, 20, chunks={"y": 100}, mask="scl")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(**options) as cluster, Client(cluster):
        made = lazy.compute()
    now = vsitlm.load(tiles_index, ["B04", "SCL"], tiles.degrees, 20, mask="scl")
    assert all(np.array_equal(made[name].values, now[name].values) for name in ("B04", "SCL"))


def test_each_product_is_a_time_by_its_id(tiles: Tiles, tiles_index: Path) -> None:
    by_id = vsitlm.load(tiles_index, "B04", tiles.degrees, groupby="id")
    assert by_id.sizes["time"] == 5 and all(";" not in str(name) for name in by_id.product_id.values)
    by_none = vsitlm.load(tiles_index, "B04", tiles.degrees, groupby=None)
    by_time = vsitlm.load(tiles_index, "B04", tiles.degrees, groupby="time")
    assert by_none.identical(by_id) and by_time.sizes["time"] == 3


@pytest.mark.real_data
def test_real_files(tmp_path: Path) -> None:
    paths = [path for path in realdata.find(REAL) if "IMG_DATA" in path.parts and "TCI" not in path.name]
    vsitlm.index(paths, tmp_path / "real.parquet", all_resolutions=True)
    found = vsitlm.search(tmp_path / "real.parquet")
    compared = 0
    for path in paths:
        band, resolution = path.stem.split("_")[2], int(path.stem.split("_")[3].removesuffix("m"))
        with rasterio.open(path) as file:
            levels = [None, *range(len(file.overviews(1)))]
        for level in levels:
            asked = resolution << (0 if level is None else level + 1)
            if level is not None and any(other.stem.endswith(f"{band}_{asked}m") for other in paths):
                break  # that file's own pixels are taken
            with rasterio.open(path, **({} if level is None else {"overview_level": level})) as file:
                right, bounds = file.read(1), file.bounds
            loaded = vsitlm.load(found, band, resolution=asked)
            # Of a reduced image of an odd size, whose pixels GDAL stretches, the corner is the same.
            assert (float(loaded.x[0]) - asked / 2, float(loaded.y[0]) + asked / 2) == (bounds.left, bounds.top)
            assert np.array_equal(loaded[band][0].values, right), (path.name, asked)
            compared += 1
    assert compared > len(paths)


ODC = """
import json, sys
import numpy, odc.stac, pystac
from affine import Affine
from odc.geo.geobox import GeoBox
job = json.load(open(sys.argv[1]))
grid = GeoBox(job["shape"], Affine(*job["transform"]), "EPSG:32631")
items = pystac.ItemCollection.from_dict(job["items"])
data = odc.stac.load(items, bands=["B04"], geobox=grid, groupby="solar_day", nodata=0)
numpy.save(sys.argv[2], data["B04"].values.astype("uint16"))
"""


def test_pixels_are_those_of_odc_stac(tiles: Tiles, tiles_index: Path, tmp_path: Path) -> None:
    loaded = vsitlm.load(tiles_index, "B04", tiles.degrees, 10)
    _, high, wide = loaded["B04"].shape
    features = []
    for day, tile, _ in PRODUCTS:
        item = tiles.item(day, tile, datetime=f"{day[:4]}-{day[4:6]}-{day[6:]}T10:50:31Z")
        asset = {"href": str(tiles.files[day, tile, "B04"]), "type": "image/jp2", "roles": ["data"]}
        item["properties"]["proj:code"] = "EPSG:32631"
        asset |= {"proj:shape": [600, 600], "proj:transform": [10, 0, areas.WEST[tile], 0, -10, areas.NORTH]}
        west, south, east, north = tiles.degrees
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        item |= {"assets": {"B04": asset}, "bbox": list(tiles.degrees)}
        item["geometry"] = {"type": "Polygon", "coordinates": [ring]}
        item["stac_extensions"] = ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"]
        features.append(item)
    transform = [10, 0, float(loaded.x[0]) - 5, 0, -10, float(loaded.y[0]) + 5]
    job = {"shape": [high, wide], "transform": transform, "items": {"type": "FeatureCollection", "features": features}}
    (tmp_path / "job.json").write_text(json.dumps(job))
    run(ODC, tmp_path / "job.json", tmp_path / "odc.npy", python=other("stac"))
    assert np.array_equal(np.load(tmp_path / "odc.npy"), loaded["B04"].values)


def test_dask_reads_the_same(tiles: Tiles, tiles_index: Path) -> None:
    now = vsitlm.load(tiles_index, ["B04", "SCL"], tiles.degrees, 20)
    lazy = vsitlm.load(tiles_index, ["B04", "SCL"], tiles.degrees, 20, chunks={"x": 100, "y": -1})
    assert lazy["B04"].chunks is not None and lazy["B04"].chunks[0] == (1, 1, 1)
    for name in ("B04", "SCL"):
        assert np.array_equal(lazy[name].compute(scheduler="threads").values, now[name].values)


def test_values_of_one_scale(tiles: Tiles, tiles_index: Path) -> None:
    kept = vsitlm.load(tiles_index, "B04", tiles.degrees)["B04"].values.astype(int)
    made = vsitlm.load(tiles_index, "B04", tiles.degrees, offset="harmonise")
    right = np.where(kept == 0, 0, np.maximum(kept - 1000, 1))
    right[2] = kept[2]
    assert np.array_equal(made["B04"].values, right) and "boa_add_offset" not in made.coords


def test_a_file_that_fails_is_an_error_or_no_data(tiles: Tiles, tmp_path: Path) -> None:
    items = [tiles.item("20240601", "31UDQ"), tiles.item("20240606", "31UDQ")]
    items[1]["assets"]["red-jp2"]["href"] = items[1]["assets"]["red-jp2"]["href"].replace("R10m", "R11m")
    with pytest.raises(vsitlm.NotFoundError):
        vsitlm.load(items, "red", tiles.degrees)
    with pytest.warns(vsitlm.VsitlmWarning, match="no data of .*R11m"):
        loaded = vsitlm.load(items, "red", tiles.degrees, fail_on_error=False)
    assert loaded.sizes["time"] == 1 and "R11m" in loaded.attrs["failed"][0]


def test_a_server_that_fails_in_the_middle(tiles: Tiles, tiles_index: Path, tmp_path: Path) -> None:
    right = vsitlm.load(tiles_index, "B04", tiles.degrees, groupby="id")
    # Other names, of which nothing is in the cache.
    items = [tiles.item(day, tile) for day, tile, _ in PRODUCTS]
    for (day, tile, _), item in zip(PRODUCTS, items, strict=True):
        name = tiles.urls[day, tile, "B04"].split("/", 3)[3]
        item["assets"] = {"red": {"href": tiles.site.put(tiles.files[day, tile, "B04"], f"again/{name}")}}
        if (day, tile) == ("20240606", "31UDQ"):
            path, size = f"/again/{name}", tiles.files[day, tile, "B04"].stat().st_size
    vsitlm.index(vsitlm.search(items), tmp_path / "again.parquet")
    options: dict[str, Any] = {"GDAL_HTTP_MAX_RETRY": 1, "GDAL_HTTP_RETRY_DELAY": 0.001, "groupby": "id"}
    options["VSITLM_INDEX"] = tmp_path / "again.parquet"
    tiles.site.server.control(fail_path=path, fail_range=f"{size // 2}-{size}", status=503)
    try:
        with pytest.raises(vsitlm.Error, match="20240606"):
            vsitlm.load(items, "B04", tiles.degrees, **options)
        options["fail_on_error"] = False
        with pytest.warns(vsitlm.VsitlmWarning, match="no data of .*20240606.*503"):
            loaded = vsitlm.load(items, "B04", tiles.degrees, **options)
        with pytest.warns(vsitlm.VsitlmWarning, match="no data of .*20240606"):
            lazy = vsitlm.load(items, "B04", tiles.degrees, chunks={}, **options).compute(scheduler="synchronous")
    finally:
        tiles.site.server.control(clear=1)
    names = [str(name) for name in right.product_id.values]
    (failed,) = [number for number, name in enumerate(names) if "20240606" in name and "31UDQ" in name]
    assert not loaded["B04"][failed].values.any() and len(loaded.attrs["failed"]) == 1
    for number in set(range(5)) - {failed}:
        assert np.array_equal(loaded["B04"][number].values, right["B04"][number].values)
    assert np.array_equal(lazy["B04"].values, loaded["B04"].values)


def command(*arguments: str | Path) -> tuple[int, str, str]:
    """The exit code, output and errors of the console script."""
    done = run("from vsitlm.__main__ import main; main()", *arguments, python=sys.executable, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_commands_search_and_load(tiles: Tiles, tiles_index: Path, tmp_path: Path) -> None:
    area = ",".join(map(str, tiles.degrees))
    code, told, count = command("search", tiles_index, f"--area={area}", "--datetime=2024-06-11", "--bands=red")
    assert (code, count) == (0, "1 files\n") and told.startswith("2024-06-11T10:50:31Z 31UDQ B04 http://")
    west, south, east, north = tiles.degrees
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    (tmp_path / "field.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    right = vsitlm.load(tiles_index, ["B04", "SCL"], tiles.degrees, datetime="2024-06")
    high, wide = right["B04"].shape[1:]
    terms = ("--area", tmp_path / "field.geojson", "--bands", "B04,SCL", "--datetime", "2024-06")
    for name in ("field.zarr", "field.nc", "field.tif"):
        out = tmp_path / name
        code, told, errors = command("load", tiles_index, "-o", out, *terms, "--preview", tmp_path / "sheet.png")
        assert code == 0 and told.startswith(f"{out}: B04, SCL, 3 x {high} x {wide}; ") and not errors, errors
        if name == "field.tif":
            with rasterio.open(out) as file:
                assert (file.crs.to_epsg(), file.descriptions[3]) == (32631, "SCL 2024-06-01T10:50:31")
                assert np.array_equal(file.read([1, 2, 3]), right["B04"].values)
        else:
            opened = xarray.open_dataset(
                out, mask_and_scale=False, **({"engine": "zarr"} if name.endswith("zarr") else {})
            )
            assert np.array_equal(opened["SCL"].values, right["SCL"].values)
        assert command("load", tiles_index, "-o", out, *terms)[0] == 1, "it is there already"
    with rasterio.open(tmp_path / "sheet.png") as sheet:
        assert (sheet.count, sheet.shape) == (1, (2 * high + 4, 2 * wide + 4)) and len(np.unique(sheet.read())) > 100
    code, _, errors = command("load", tiles_index, "-o", tmp_path / "x.txt", *terms)
    assert code == 1 and "end in one of .zarr, .nc, .tif" in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"area": (2.0, 48.9, 1.0, 48.8)}, "wrong way round"),
        ({"area": (48.7, 102.0, 48.8, 102.5)}, "not in degrees"),
        ({"area": {"type": "Polygon", "coordinates": []}}, "empty"),
        ({"bands": "B12"}, "no files of B12 to load"),
        ({"bands": ["B04", "B12"]}, "has the band B12"),
        ({"datetime": "2024-07/2024-06"}, "ends before it begins"),
        ({"datetime": "2023"}, "no files"),
        ({"groupby": "month"}, "'solar_day'"),
        ({"mask": "clouds"}, "mask is"),
        ({"mask": "cloud_probability", "clouds": 101}, "0 to 100 percent"),
        ({"area": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}}, "not valid"),
        ({"resolution": 1e-4}, "load it lazily"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_refused(
    arguments: dict[str, Any], words: str, tiles: Tiles, tiles_index: Path
) -> None:
    tiles.site.stats()
    with pytest.raises(vsitlm.CubeError, match=words):
        vsitlm.load(tiles_index, **{"bands": "B04", "area": tiles.degrees, **arguments})
    assert tiles.site.stats()["requests"] == 0


def test_an_area_across_180_degrees(tmp_path: Path) -> None:
    # 60 km at 17 degrees south, from 179.7 degrees on to the east.
    origin, product = (786000.0, 8120000.0), "S2B_MSIL2A_20240601T105031_N0510_R051_T60KZG_20240601T140000"
    path = tmp_path / f"{product}.SAFE/GRANULE/L2A_T60KZG_A1_2/IMG_DATA/R60m/T60KZG_20240601T105031_B01_60m.jp2"
    gdalio.make_jp2(path, np.random.default_rng(9).integers(1, 9000, (1, 1000, 1000), "uint16"), 32760, origin, 60)
    vsitlm.index([path], tmp_path / "tiles.parquet")
    loaded = vsitlm.load(tmp_path / "tiles.parquet", "B01", (179.9, -17.2, -179.95, -17.1), crs="EPSG:32760")
    x, y = warp_points("OGC:CRS84", "EPSG:32760", [179.9, 180.05], [-17.15, -17.15])[:2]
    assert loaded.x[0] - 60 < x[0] < loaded.x[20] and loaded.x[-20] < x[1] < loaded.x[-1] + 60 and y[0] < loaded.y[0]
    with rasterio.open(path) as file:
        column, row = (
            round((float(loaded.x[0]) - 30 - origin[0]) / 60),
            round((origin[1] - float(loaded.y[0]) - 30) / 60),
        )
        right = file.read(1)[row : row + loaded.sizes["y"], column : column + loaded.sizes["x"]]
    assert np.array_equal(loaded["B01"][0].values, right)
