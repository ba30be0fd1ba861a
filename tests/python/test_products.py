"""Files by the names of their products: one index of a product, wherever the product lies."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import apart
import folderjobs
import gdalio
import jobs
import numpy as np
import pytest
from conftest import ONE_TILE, PRODUCT, Sample, Site, make_index, only_once
from servers import run_s3

STORES = {
    "cdse": ("eodata", "Sentinel-2/MSI/L2A/2024/06/01/{name}"),
    "gcs": ("gcp-public-data-sentinel-2", "L2/tiles/31/U/DQ/{name}"),
    "aws": ("sentinel-s2-l2a", "tiles/31/U/DQ/2024/6/1/1/R{metres}m/{band}.jp2"),
}
"""Each archive's bucket, and where it has a file. At AWS another product of that day has the number 0."""

FOLDER = f"/vsitlm/{PRODUCT}"
BANDS = ["B03.jp2", "SCL.jp2"]


def place(archive: str, sample: Sample) -> str:
    """Where an archive has a file: bucket and key."""
    band, metres = ("B03", 10) if "B03" in sample.name else ("SCL", 20)
    bucket, key = STORES[archive]
    return f"{bucket}/" + key.format(name=sample.name, band=band, metres=metres)


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory, sample: Sample, small: Sample) -> Path:
    """A folder with a product as each archive has it."""
    folder = tmp_path_factory.mktemp("products")
    for archive in STORES:
        for file in (sample, small):
            path = folder / place(archive, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.path, path)
    other = folder / place("aws", sample).replace("/1/R10m", "/0/R10m")
    other.parent.mkdir(parents=True)
    shutil.copy(small.path, other)
    return folder


@pytest.fixture(scope="module")
def index(products: Path, small: Sample, folder: Path) -> dict[str, str]:
    """Options by which the plugin knows the product: an index that was made on a disk."""
    safe = products / STORES["cdse"][0] / "Sentinel-2/MSI/L2A/2024/06/01" / f"{PRODUCT}.SAFE"
    return {"VSITLM_INDEX": str(make_index(folder / "products.parquet", safe)), "VSITLM_ON_MISS": "fail"}


@pytest.fixture(scope="module")
def web(products: Path) -> Iterator[Site]:
    """The archives behind HTTP."""
    site = Site(products)
    with site.server:
        yield site


@pytest.fixture(scope="module")
def s3(products: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Options by which an S3 server is found whose bucket `eodata` has CDSE's files, and the archives' in folders."""
    folder = tmp_path_factory.mktemp("buckets")
    for source in (products, products / "eodata"):
        shutil.copytree(source, folder, dirs_exist_ok=True)
    with run_s3(folder) as told:
        yield told["reader"] | {
            "AWS_S3_ENDPOINT": f"http://127.0.0.1:{told['port']}",
            "AWS_VIRTUAL_HOSTING": "FALSE",
        }


def reads(sample: Sample, options: Mapping[str, str], *paths: str) -> None:
    """Reads a window and an overview of the band B03 by these paths, and checks them against the pixels."""
    for path in paths:
        window, overview = apart.call(jobs.play, ("read", path, ONE_TILE), ("overview", path, 0), options=options)
        assert np.array_equal(window, sample.window(ONE_TILE)), f"{path}: {window}"
        direct = gdalio.overview(str(sample.path), 0)
        assert np.array_equal(overview, direct), f"{path}: {overview}"


def looked_and_read(web: Site, options: Mapping[str, str], path: str) -> tuple[int, int]:
    """How many requests a window of one tile takes that ask for a file's size, and how many that read."""
    web.reset()
    apart.call(jobs.play, ("read", path, ONE_TILE), options=options)
    lengths = [length for _, length in web.ranges()]
    return lengths.count(1), len(lengths) - lengths.count(1)


@pytest.mark.parametrize("archive", STORES)
def test_a_band_is_read_over_http(
    web: Site, index: dict[str, str], products: Path, sample: Sample, archive: str
) -> None:
    store = {"VSITLM_STORE": web.url(STORES[archive][0])}
    looks = 2 if archive == "aws" else 1  # at the sizes of the day's products
    assert looked_and_read(web, index | store, f"{FOLDER}/B03") == (looks, 1)
    reads(sample, index | store, f"{FOLDER}/B03")
    reads(sample, index | store, f"{FOLDER}.SAFE/B03.jp2", f"{FOLDER}/B03_10m", f"/vsitlm?url={PRODUCT}/B03")


@pytest.mark.parametrize("archive", STORES)
def test_one_index_serves_the_urls_of_every_archive(
    web: Site, index: dict[str, str], sample: Sample, archive: str
) -> None:
    reads(sample, index, "/vsitlm/" + web.url(place(archive, sample)))
    assert looked_and_read(web, index, "/vsitlm/" + web.url(place(archive, sample))) == (1, 1)


@pytest.mark.parametrize("archive", STORES)
def test_a_band_is_read_from_a_disk(index: dict[str, str], products: Path, sample: Sample, archive: str) -> None:
    reads(sample, index | {"VSITLM_STORE": str(products / STORES[archive][0])}, f"{FOLDER}/B03")


@only_once
@pytest.mark.parametrize("store", ["cdse", "/vsis3/eodata", "s3://eodata/", "s3://one/sentinel-s2-l2a", "s3://one/eodata"])
def test_a_band_is_read_from_s3(s3: dict[str, str], index: dict[str, str], sample: Sample, store: str) -> None:
    reads(sample, s3 | index | {"VSITLM_STORE": store}, f"{FOLDER}/B03")


@pytest.mark.parametrize("path", [FOLDER, f"{FOLDER}.SAFE", f"{FOLDER}/"])
def test_a_folder_lists_its_bands(index: dict[str, str], products: Path, path: str) -> None:
    options = index | {"VSITLM_STORE": str(products / "eodata")}
    told = apart.call(folderjobs.folder_of, path, options=options)
    assert told == {"names": BANDS, "mode": 0o040000, "modes": [0o100000] * 2}
    absent = apart.call(folderjobs.folder_of, path.replace("N0510", "N0511"), options=options)
    assert absent == {"names": [], "mode": None, "modes": []}


@pytest.mark.skipif(gdalio.rasterio is not None, reason="osgeo.gdal is there without rasterio alone")
def test_osgeo_lists_a_folder(index: dict[str, str]) -> None:
    assert apart.call(folderjobs.read_dir, FOLDER, options=index) == BANDS


@pytest.mark.skipif(gdalio.version() < (3, 11), reason="gdal vsi list is there from GDAL 3.11 on")
def test_gdal_vsi_list_works(index: dict[str, str], web: Site, small: Sample) -> None:
    options = index | {"VSITLM_STORE": web.url("eodata")}
    web.reset()
    assert apart.call(folderjobs.vsi_list, "--output-format=text", FOLDER, options=options).split() == BANDS
    long = apart.call(folderjobs.vsi_list, "--output-format=text", "-l", FOLDER, options=options)
    lines = [line.split() for line in long.splitlines()]
    assert [line[-1] for line in lines] == BANDS and all(line[0].startswith("-") for line in lines), long
    size = str(small.path.stat().st_size)
    assert len(size) == len(lines[1][-4]) and web.stats()["requests"] == 0, "the index records all that is shown"
    with pytest.raises(AssertionError, match="does not exist"):
        apart.call(folderjobs.vsi_list, "--output-format=text", FOLDER + "x", options=options)


def test_what_is_missing_is_said(index: dict[str, str]) -> None:
    for options, path, says in [
        ({}, "B03", "set VSITLM_INDEX"),
        (index, "B03", "set VSITLM_STORE"),
        (index | {"VSITLM_STORE": "/nowhere"}, "B03", "not found"),
        (index | {"VSITLM_STORE": "/nowhere"}, "B04", "no row of it, but of B03, SCL"),
        (index | {"VSITLM_STORE": "https://u:opensesame@h/b?sig=opensesame"}, "B03", "VSITLM_STORE=https://h/b"),
    ]:
        [failure] = apart.call(jobs.play, ("read", f"{FOLDER}/{path}"), options=options)
        assert isinstance(failure, gdalio.Failed), failure
        assert says in str(failure) and PRODUCT in str(failure) and "opensesame" not in str(failure), failure


@only_once
def test_a_hostile_index_reads_nothing(index: dict[str, str], web: Site, products: Path, tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(index["VSITLM_INDEX"])
    real = table.column("path")[0].as_py()
    secret = products / "eodata" / "Sentinel-2/MSI/L2A/2024/06/01" / real
    assert secret.is_file()
    paths = [
        str(secret),
        f"../eodata/Sentinel-2/MSI/L2A/2024/06/01/{real}",
        f"x/../../eodata/Sentinel-2/MSI/L2A/2024/06/01/{real}",
        f"%2e%2e/eodata/Sentinel-2/MSI/L2A/2024/06/01/{real}",
        web.url(f"eodata/Sentinel-2/MSI/L2A/2024/06/01/{real}"),
        f"vsicurl/{web.url(real)}",
        f"{real}?x=.jp2",
        f"a\n/{real}",
    ]
    for path in paths:
        column = pa.array([path] * table.num_rows)
        hostile = tmp_path / "hostile.parquet"
        pq.write_table(table.set_column(table.column_names.index("path"), "path", column), hostile)
        web.reset()
        for store in (str(products / "base"), web.url("base"), str(products / "sentinel-s2-l2a"), web.url("eodata")):
            options = {"VSITLM_INDEX": str(hostile), "VSITLM_STORE": store}
            [failure] = apart.call(jobs.play, ("read", f"{FOLDER}/B03"), options=options)
            assert "its path is none that an archive has" in str(failure), failure
        assert web.stats()["requests"] == 0, path
