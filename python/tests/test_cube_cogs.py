"""Cubes of TIFFs: what xarray and zarr read is what rasterio reads of the files, at full size and of each overview."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gdalio
import numpy as np
import pytest
from conftest import Site

pytest.importorskip("zarr")
xarray = pytest.importorskip("xarray")
import rasterio  # noqa: E402
import rioxarray  # noqa: E402, F401
import zarr  # noqa: E402
from rasterio.enums import Resampling  # noqa: E402
from rasterio.transform import from_origin  # noqa: E402

import vsitlm  # noqa: E402
from vsitlm.cube._check import faults  # noqa: E402
from vsitlm.cube._export import FORMATS, open_store  # noqa: E402

SIDE = 1098
"""Pixels of a side at 10 m. Half of a half of it is 274 for GDAL's COG driver and 275 for others."""
SCENE = "S2A_T31UDQ_{}T105625_L2A"
ESA = "S2A_MSIL2A_{0}T105031_N{1}_R051_T31UDQ_{0}T140000"
WIDE = {"driver": "GTiff", "tiled": True, "blockxsize": 128, "blockysize": 128}


def name_of(format: str) -> str:
    """What an export of a format is called in these tests."""
    return {"icechunk": "cube.icechunk", "kerchunk": "cube.json", "kerchunk-parquet": "cube.parq"}[format]


def scene(day: str, band: str) -> str:
    """Where Earth Search has a band of a day."""
    return f"31/U/DQ/2024/6/{SCENE.format(day)}/{band}.tif"


def esa(day: str, baseline: str, band: str, extension: str) -> str:
    """Where a product of ESA's has a band of 10 m."""
    name = f"T31UDQ_{day}T105031_{band}_10m.{extension}"
    granule = f"L2A_T31UDQ_A037000_{day}T105031/IMG_DATA/R10m"
    return f"{ESA.format(day, baseline)}.SAFE/GRANULE/{granule}/{name}"


def chance(seed: int, pixel: int = 10, dtype: str = "uint16") -> np.ndarray:
    """Pixels, some of them without data."""
    side = SIDE * 10 // pixel
    pixels = np.random.default_rng(seed).integers(0, 200 if dtype == "uint8" else 9000, (1, side, side), dtype)
    pixels[0, :40, :40] = 0
    return pixels


class Archive:
    """TIFFs and JP2s behind a server."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.folder, self.site = folder, site
        self.urls: list[str] = []

    def put(self, name: str, pixels: np.ndarray, pixel: int = 10, ceil: int = 0, **options: Any) -> Path:
        """Makes a file, a COG unless options say otherwise; `ceil` is how many overviews are made as gdaladdo does."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".jp2"):
            gdalio.make_jp2(path, pixels, pixel=pixel, BLOCKXSIZE=512, BLOCKYSIZE=512, RESOLUTIONS=4, PLT="YES")
        else:
            terms = options or {"driver": "COG", "blocksize": 128, "compress": "deflate", "nodata": 0}
            shape = {"count": pixels.shape[0], "height": pixels.shape[1], "width": pixels.shape[2]}
            where = {"crs": "EPSG:32631", "transform": from_origin(399960, 5400000, pixel, pixel)}
            with rasterio.open(path, "w", dtype=pixels.dtype, **shape, **where, **terms) as file:
                file.write(pixels)
            if ceil:
                with rasterio.open(path, "r+") as file:
                    file.build_overviews([1 << level for level in range(1, ceil + 1)], Resampling.nearest)
        return self.serve(path)

    def serve(self, path: Path) -> Path:
        """Puts a file to those that are served, of this archive alone: URLs are of one state each."""
        self.urls.append(self.site.put(path, str(path.relative_to(self.folder.parent))))
        return path

    def index(self, name: str = "tiles.parquet", urls: list[str] | None = None) -> Path:
        """The index of all files, or of some."""
        out = self.folder / name
        assert vsitlm.index(urls or self.urls, out, all_resolutions=True).rows == len(urls or self.urls)
        return out


def right(path: Path, level: int | None = None) -> tuple[np.ndarray, Any]:
    """What rasterio reads of an image, and its transform."""
    with rasterio.open(path, **({} if level is None else {"overview_level": level})) as file:
        return file.read(1), file.transform


@pytest.fixture
def archive(tmp_path: Path, site: Site) -> Archive:
    """An empty one."""
    return Archive(tmp_path, site)


@pytest.fixture(scope="module")
def cogs(tmp_path_factory: pytest.TempPathFactory, site: Site) -> tuple[Archive, Path, Mapping[tuple[str, str], Path]]:
    """COGs of two days, and their index."""
    made = Archive(tmp_path_factory.mktemp("cogs"), site)
    files = {}
    for number, day in enumerate(("20240601", "20240606")):
        for band, pixel, dtype in (("B04", 10, "uint16"), ("B05", 20, "uint16"), ("SCL", 20, "uint8")):
            name = scene(day, band)
            files[day, band] = made.put(name, chance(10 * number + pixel, pixel, dtype), pixel)
    return made, made.index(), files


def test_a_series_is_what_its_files_are_at_every_level(cogs: Any) -> None:
    archive, index, files = cogs
    archive.site.stats()
    dataset = vsitlm.open_cube(index, bands=["B04"])
    assert archive.site.stats()["requests"] == 0, "opening asks for nothing"
    assert dataset["B04"].dims == ("time", "y", "x") and dataset["B04"].dtype == "uint16"
    assert dataset.product_id.values.tolist() == [SCENE.format("20240601"), SCENE.format("20240606")]
    assert dataset.rio.crs.to_epsg() == 32631
    compared = 0
    for band, own in (("B04", 10), ("B05", 20), ("SCL", 20)):
        with rasterio.open(files["20240601", band]) as file:
            overviews = file.overviews(1)
        for level, factor in [(None, 1), *enumerate(overviews)]:
            dataset = vsitlm.open_cube(index, bands=[band], resolution=own * factor)
            for time, day in enumerate(("20240601", "20240606")):
                pixels, transform = right(files[day, band], level)
                assert np.array_equal(dataset[band][time].values, pixels), (band, factor)
            assert np.allclose(dataset.rio.transform(), transform, rtol=0, atol=1e-9)
            assert np.allclose(dataset.rio.bounds(), (399960, 5389020, 410940, 5400000), rtol=0, atol=1e-6)
            compared += 1
    assert compared >= 11, "images of three bands, with their overviews"


def test_a_tree_has_the_overviews_as_groups(cogs: Any) -> None:
    _, index, files = cogs
    store = vsitlm.store(index)
    tree = xarray.open_datatree(store, engine="zarr")
    for name, band, own in (
        ("measurements/reflectance_10m/r{}m/b04", "B04", 10), ("measurements/reflectance/r{}m/b05", "B05", 20),
        ("conditions/mask/l2a_classification/r{}m/scl", "SCL", 20),
    ):  # fmt: skip
        for level in range(3):
            pixels, _ = right(files["20240606", band], level)
            assert np.array_equal(tree[name.format(own << level + 1)][1].values, pixels), (band, level)
    pixels, _ = right(files["20240606", "B04"])
    assert np.array_equal(tree["measurements/reflectance/r10m/b04"][1].values, pixels)
    root = zarr.open_group(store, mode="r")
    layout = root["measurements/reflectance_10m"].attrs["multiscales"]["layout"]
    by_name = {entry["asset"]: entry for entry in layout}
    assert by_name["r40m"]["spatial:shape"] == [274, 274]
    # 549 columns are 274 twice as wide ones, and a little wider.
    assert by_name["r40m"]["transform"]["scale"] == pytest.approx([549 / 274] * 2)
    assert by_name["r40m"]["spatial:transform"][0] == pytest.approx(10980 / 274)


def test_areas_chunks_and_copies_are_those_of_jp2s(cogs: Any) -> None:
    archive, index, files = cogs
    area = (402000.0, 5390000.0, 405000.0, 5392000.0)
    archive.site.stats()
    dataset = vsitlm.open_cube(index, bands=["B04"], area=area, datetime="2024-06-01")
    pixels, _ = right(files["20240601", "B04"])
    assert np.array_equal(dataset["B04"][0].values, pixels[800:1000, 204:504])
    # Three by three tiles of 128 px, of which those of a row lie side by side; not the 81 of the file.
    assert archive.site.stats()["bytes"] < 15 * 128 * 128 * 2
    store = pickle.loads(pickle.dumps(vsitlm.store(index, bands="B04", resolution=40, chunk=100)))
    array = zarr.open_group(store, mode="r")["B04"]
    assert array.chunks == (1, 100, 100)
    assert np.array_equal(array[0], right(files["20240601", "B04"], 1)[0])


def test_offsets_of_earth_search_are_not_known_and_those_of_esa_are(cogs: Any, archive: Archive) -> None:
    _, index, _ = cogs
    dataset = vsitlm.open_cube(index, bands=["B04"])
    assert "boa_add_offset" not in dataset.coords
    with pytest.raises(vsitlm.CubeError, match="boa_add_offset"):
        vsitlm.reflectance(dataset)
    with pytest.raises(vsitlm.CubeError, match=f"{SCENE.format('20240601')} have is not known"):
        vsitlm.store(index, bands=["B04"], resolution=10, offset="harmonise")
    # SCL is no reflectance.
    vsitlm.store(index, bands=["SCL"], resolution=20, offset="harmonise")
    path = archive.put(esa("20240601", "0510", "B04", "tif"), chance(1))
    dataset = vsitlm.open_cube(archive.index(), offset="harmonise")
    pixels = right(path)[0].astype(int)
    assert np.array_equal(dataset["B04"][0].values, np.where(pixels == 0, 0, np.maximum(pixels - 1000, 1)))
    assert vsitlm.open_cube(archive.folder / "tiles.parquet").boa_add_offset.values.tolist() == [-1000]


@pytest.mark.parametrize(
    "options",
    [
        {"driver": "GTiff", "blockysize": 7},
        {"driver": "GTiff", "blockysize": 300, "compress": "lzw", "predictor": 2},
        {"driver": "GTiff", "blockysize": SIDE, "compress": "zstd", "predictor": 2, "ENDIANNESS": "BIG"},
        {**WIDE, "compress": "deflate", "predictor": 2, "BIGTIFF": "YES"},
        {**WIDE, "compress": "packbits"},
    ],
)
def test_strips_and_tiles_of_all_packings(archive: Archive, options: dict[str, Any]) -> None:
    path = archive.put(scene("20240601", "B04"), chance(5), ceil=2, **options)
    index = archive.index()
    for level, resolution in ((None, 10), (0, 20), (1, 40)):
        dataset = vsitlm.open_cube(index, resolution=resolution)
        pixels, transform = right(path, level)
        assert np.array_equal(dataset["B04"][0].values, pixels), resolution
        assert np.allclose(dataset.rio.transform(), transform, rtol=0, atol=1e-9)
    # A strip of seven rows is no chunk by itself.
    high, wide = zarr.open_group(vsitlm.store(index, resolution=10), mode="r")["B04"].chunks[1:]
    assert (high, wide) == (128, 128) if options.get("tiled") else (high >= 300 and wide == SIDE)


def test_tiles_that_a_file_does_not_have_are_no_data(archive: Archive) -> None:
    for day, nodata in (("20240601", None), ("20240606", 0)):
        path = archive.folder / scene(day, "B04")
        path.parent.mkdir(parents=True)
        where = {"crs": "EPSG:32631", "transform": from_origin(399960, 5400000, 10, 10), "dtype": "uint16"}
        shape = {"count": 1, "height": SIDE, "width": SIDE, "nodata": nodata, "SPARSE_OK": True, "compress": "deflate"}
        with rasterio.open(path, "w", **WIDE, **where, **shape) as file:
            file.write(chance(7)[:, 100:200, 300:500], window=((100, 200), (300, 500)))
        archive.serve(path)
        assert path.stat().st_size < SIDE * SIDE
    dataset = vsitlm.open_cube(archive.index())
    for time, day in enumerate(("20240601", "20240606")):
        pixels, _ = right(archive.folder / scene(day, "B04"))
        assert pixels.any() and np.array_equal(dataset["B04"][time].values, pixels)


def test_of_jp2s_and_tiffs_of_a_datatake_the_first_format_counts(archive: Archive) -> None:
    jp2 = archive.put(esa("20240601", "0510", "B04", "jp2"), chance(1))
    cog = archive.put(scene("20240601", "B04"), chance(2))
    later = archive.put(scene("20240606", "B04"), chance(3))
    index = archive.index()
    first, second, third = ESA.format("20240601", "0510"), SCENE.format("20240601"), SCENE.format("20240606")
    for formats, products, files in (
        (["jp2", "tiff"], [first, third], [jp2, later]), (["tiff", "jp2"], [second, third], [cog, later]),
        (["tiff"], [second, third], [cog, later]), (["jp2"], [first], [jp2]),
    ):  # fmt: skip
        dataset = vsitlm.open_cube(index, bands=["B04"], formats=formats)
        assert dataset.product_id.values.tolist() == products
        for time, path in enumerate(files):
            assert np.array_equal(dataset["B04"][time].values, right(path)[0]), (formats, time)
    assert vsitlm.open_cube(index).product_id.values.tolist() == [first, third]
    dataset = vsitlm.open_cube(index, duplicates="all")
    assert dataset.product_id.values.tolist() == [first, second, third]
    with pytest.raises(vsitlm.CubeError, match="jp2, tiff, not 'cog'"):
        vsitlm.open_cube(index, formats="cog")
    with pytest.raises(vsitlm.CubeError, match="2024-06-01 to 2024-06-01"):
        vsitlm.open_cube(index, formats=["jp2"], datetime="2024-06-06")


def test_of_a_product_and_band_in_both_formats_the_first_counts(archive: Archive) -> None:
    files = {kind: archive.put(esa("20240601", "0510", "B04", kind), chance(ord(kind[0]))) for kind in ("jp2", "tif")}
    # A row is that of a product and a band: an index has one of both.
    indexes = [archive.index(f"{number}.parquet", [url]) for number, url in enumerate(archive.urls)]
    for formats, kind in ((["jp2", "tiff"], "jp2"), (["tiff", "jp2"], "tif")):
        dataset = vsitlm.open_cube(indexes, formats=formats)
        assert np.array_equal(dataset["B04"].values[0], right(files[kind])[0])
        assert dataset.sizes["time"] == 1


def test_files_that_are_not_of_one_grid_at_a_level_are_refused_there(archive: Archive) -> None:
    first = archive.put(scene("20240601", "B04"), chance(1))
    second = archive.put(scene("20240606", "B04"), chance(2), ceil=3, **WIDE)
    index = archive.index()
    for resolution, level in ((10, None), (20, 0)):
        dataset = vsitlm.open_cube(index, resolution=resolution)
        for time, path in enumerate((first, second)):
            assert np.array_equal(dataset["B04"][time].values, right(path, level)[0])
    with pytest.raises(vsitlm.CubeError, match=r"20240601\S*/B04.tif has 274 x 274 .*20240606\S*/B04.tif has 275 x"):
        vsitlm.open_cube(index, resolution=40)
    # Each by itself has its level.
    for day, path in (("2024-06-01", first), ("2024-06-06", second)):
        dataset = vsitlm.open_cube(index, resolution=40, datetime=day)
        pixels, transform = right(path, 1)
        assert np.array_equal(dataset["B04"][0].values, pixels)
        assert np.allclose(dataset.rio.transform(), transform, rtol=0, atol=1e-9)
    groups = xarray.open_datatree(vsitlm.store(index), engine="zarr").groups
    assert "/measurements/reflectance_10m/r20m" in groups and "/measurements/reflectance/r10m" in groups
    assert not any(group.endswith("r40m") for group in groups)


def test_a_file_without_the_level_is_named(archive: Archive) -> None:
    archive.put(scene("20240601", "B04"), chance(1))
    archive.put(scene("20240606", "B04"), chance(2), **WIDE)
    index = archive.index()
    with pytest.raises(vsitlm.CubeError, match=r"20240606\S*/B04.tif does not hold 20 m: it has 10 m"):
        vsitlm.open_cube(index, resolution=20)
    with pytest.raises(vsitlm.CubeError, match="not there at 30 m"):
        vsitlm.open_cube(index, resolution=30)


def test_what_cannot_be_decoded_is_refused_by_name_and_nothing_else(archive: Archive) -> None:
    archive.put(scene("20240601", "B04"), chance(1))
    archive.put(scene("20240601", "SCL"), chance(2, 20, "uint8"), 20, **WIDE, compress="jpeg")
    archive.put(scene("20240601", "B05"), chance(3, 20), 20, **WIDE, nodata=65535)
    rgb = np.concatenate([chance(seed, 10, "uint8") for seed in range(3)])
    archive.put(scene("20240601", "TCI"), rgb)
    index = archive.index()
    assert vsitlm.open_cube(index, bands=["B04"]).sizes["x"] == SIDE
    with pytest.raises(vsitlm.UndecodedError, match=r"/SCL.tif: .*JPEG"):
        vsitlm.open_cube(index, bands=["SCL"])
    with pytest.raises(vsitlm.UndecodedError, match=r"/SCL.tif: .*JPEG"):
        vsitlm.store(index, bands=["B04", "SCL"])
    with pytest.raises(vsitlm.CubeError, match=r"/B05.tif has 65535 where there is no data"):
        vsitlm.open_cube(index, bands=["B05"])
    with pytest.raises(vsitlm.CubeError, match=r"TCI is no array .*3 components"):
        vsitlm.open_cube(index, bands=["TCI"])
    with pytest.raises(vsitlm.CubeError, match="is read where its row was made"):
        vsitlm.open_cube(index, bands=["B04"], archive="https://elsewhere")


def test_a_row_that_is_cut_is_refused(archive: Archive) -> None:
    import pyarrow
    import pyarrow.parquet

    archive.put(scene("20240601", "B04"), chance(1))
    table = pyarrow.parquet.read_table(archive.index())
    (header,) = table["header"].to_pylist()
    at = table.column_names.index("header")
    cut = table.set_column(at, table.schema.field("header"), pyarrow.array([header[:-1]], pyarrow.binary()))
    pyarrow.parquet.write_table(cut, archive.folder / "cut.parquet")
    with pytest.raises(vsitlm.Error, match="its header is cut"):
        vsitlm.open_cube(archive.folder / "cut.parquet")


@pytest.mark.parametrize("format", FORMATS)
def test_references_have_tiles_as_chunks(cogs: Any, tmp_path: Path, format: Any) -> None:
    archive, index, files = cogs
    out = tmp_path / name_of(format)
    resolution = 20 if format == "kerchunk-parquet" else None
    archive.site.stats()
    made = vsitlm.export(index, out, bands=["B04", "SCL"], resolution=resolution, format=format)
    assert archive.site.stats()["requests"] == 0, "the index records where everything lies"
    if resolution is None:
        tree = xarray.open_datatree(open_store(str(out), {}), engine="zarr", consolidated=False, mask_and_scale=False)
        for place, band, own in (
            ("measurements/reflectance_10m", "B04", 10),
            ("conditions/mask/l2a_classification", "SCL", 20),
        ):
            for level in range(3):
                for time, day in enumerate(("20240601", "20240606")):
                    array = tree[f"{place}/r{own << level + 1}m/{band.lower()}"]
                    assert np.array_equal(array[time].values, right(files[day, band], level)[0]), (band, level)
        whole = tree["measurements/reflectance/r10m/b04"]
        assert np.array_equal(whole[0].values, right(files["20240601", "B04"])[0])
        # Nine by nine tiles.
        assert made.references >= 2 * 81
    else:
        dataset = xarray.open_zarr(open_store(str(out), {}), consolidated=False, mask_and_scale=False)
        assert np.array_equal(dataset["B04"][1].values, right(files["20240606", "B04"], 0)[0])
        assert np.array_equal(dataset["SCL"][1].values, right(files["20240606", "SCL"])[0])
    assert made.without_state == 0
    assert faults(str(out), {}) == []


def test_references_of_files_without_tiles_or_coded_otherwise(archive: Archive, tmp_path: Path) -> None:
    sparse = {**WIDE, "SPARSE_OK": True, "compress": "lzw", "predictor": 2, "nodata": 0}
    pixels = chance(1)
    pixels[:, :, 500:] = 0
    path = archive.put(scene("20240601", "B04"), pixels, **sparse)
    index = archive.index()
    made = vsitlm.export(index, tmp_path / "one.icechunk", resolution=10)
    # Four of nine columns of tiles have pixels.
    assert made.references == 4 * 9
    dataset = xarray.open_zarr(open_store(str(tmp_path / "one.icechunk"), {}), consolidated=False)
    assert np.array_equal(dataset["B04"][0].values, right(path)[0])
    archive.put(scene("20240606", "B04"), chance(2))
    index = archive.index("more.parquet")
    with pytest.raises(vsitlm.CubeError, match="files of band B04 are coded in 2 ways"):
        vsitlm.export(index, tmp_path / "two.icechunk", resolution=10)
    with pytest.raises(vsitlm.CubeError, match="coded in another way"):
        vsitlm.export(index, tmp_path / "one.icechunk", resolution=10, append=True)
    with pytest.raises(vsitlm.CubeError, match=r"B04.tif is a TIFF, which is not parsed as a JP2"):
        vsitlm.JP2Parser(index)(archive.urls[0], None)


@pytest.mark.parametrize(("rows", "is_chunk"), [(549, True), (SIDE, True), (500, False)])
def test_strips_are_chunks_where_they_have_the_same_rows(
    archive: Archive, tmp_path: Path, rows: int, is_chunk: bool
) -> None:
    path = archive.put(scene("20240601", "B04"), chance(1), driver="GTiff", blockysize=rows, compress="deflate")
    index, out = archive.index(), tmp_path / "cube.json"
    if not is_chunk:
        with pytest.raises(vsitlm.CubeError, match=f"tiles of {SIDE} x {rows} px are no chunks of one shape"):
            vsitlm.export(index, out, resolution=10, format="kerchunk")
        return
    assert vsitlm.export(index, out, resolution=10, format="kerchunk").references == SIDE // rows
    dataset = xarray.open_zarr(open_store(str(out), {}), consolidated=False, mask_and_scale=False)
    assert np.array_equal(dataset["B04"][0].values, right(path)[0])
