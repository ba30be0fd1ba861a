"""Opening: pixels, products, options, and every kind of error as its class."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import gdalio
import numpy as np
import pytest
import rasterio
from conftest import PRODUCT, Site, band_path
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

import vsitlm


def test_a_local_file_and_a_url(sample: Path, url: str, pixels: np.ndarray, index: Path) -> None:
    for given in (sample, str(sample), os.path.relpath(sample), url, f"/vsicurl/{url}", f"/vsitlm/{url}"):
        with vsitlm.open(given, index=index) as dataset:
            assert isinstance(dataset, rasterio.io.DatasetReader) and dataset.name.startswith("/vsitlm")
            assert np.array_equal(dataset.read(1, window=Window(600, 700, 100, 90)), pixels[700:790, 600:700])


def test_the_index_spares_requests(url: str, index: Path, site: Site) -> None:
    site.stats()
    with vsitlm.open(url, index=index, VSITLM_ON_MISS="fail") as dataset:
        assert dataset.overviews(1) == [2, 4, 8, 16]
    assert site.stats()["requests"] == 0


def test_an_overview(sample: Path) -> None:
    with rasterio.open(sample, overview_level=1) as file, vsitlm.open(sample, overview=4) as dataset:
        assert np.array_equal(dataset.read(1), file.read(1)) and dataset.shape == (400, 375)


def test_a_signed_url(site: Site, sample: Path, pixels: np.ndarray) -> None:
    url = site.put(sample, "signed.jp2") + "?signature=a%2Fb&expires=1"
    with vsitlm.open(url) as dataset:
        assert np.array_equal(dataset.read(1), pixels) and dataset.overviews(1) == [2, 4, 8, 16]


def test_a_product(sample: Path, index: Path, site: Site, pixels: np.ndarray) -> None:
    folder = sample.parents[len(Path(band_path()).parents) - 1]
    for store in (folder, site.server.url):
        with vsitlm.open(PRODUCT, "B03", index=index, VSITLM_STORE=store) as dataset:
            assert np.array_equal(dataset.read(1), pixels)
    with pytest.raises(vsitlm.ProductError, match="VSITLM_STORE"):
        vsitlm.open(PRODUCT, "B03", index=index)
    with pytest.raises(LookupError, match=PRODUCT):
        vsitlm.open(PRODUCT, "B04", index=index, VSITLM_STORE=folder)


def test_what_is_no_jp2_passes_through(tmp_path: Path, site: Site) -> None:
    path = tmp_path / "x.tif"
    profile = {"driver": "GTiff", "width": 2, "height": 3, "count": 1, "dtype": "uint8", "crs": "EPSG:32631"}
    with rasterio.open(path, "w", **profile, transform=rasterio.transform.from_origin(5, 6, 1, 1)) as file:
        file.write(np.ones((1, 3, 2), "uint8"))
    for given in (path, site.put(path, "x.tif")):
        with vsitlm.open(given) as dataset:
            assert dataset.shape == (3, 2)


def test_it_is_decoded_by_the_core_unless_the_caller_wants_the_jp2(sample: Path) -> None:
    with vsitlm.open(sample) as ours, vsitlm.open(sample, as_="jp2", VSITLM_SERVE="TIFF") as gdals:
        assert (ours.driver, gdals.driver) == ("GTiff", "JP2OpenJPEG")
        assert np.array_equal(ours.read(), gdals.read()) and ours.crs == gdals.crs and ours.transform == gdals.transform


def test_options_hold_for_this_dataset_alone(sample: Path) -> None:
    with rasterio.Env(GDAL_NUM_THREADS="2"), vsitlm.open(sample, VSITLM_OVERVIEWS=False, VSITLM_INDEX=None) as dataset:
        assert dataset.overviews(1) == [2, 4, 8, 16]
        assert rasterio.env.getenv() == {"GDAL_NUM_THREADS": "2"} | rasterio.env.getenv()
        assert "VSITLM_OVERVIEWS" not in rasterio.env.getenv()


def test_there_is_no_such_file(site: Site, tmp_path: Path) -> None:
    for given in (tmp_path / "none.jp2", f"{site.server.url}/none.jp2"):
        with pytest.raises(vsitlm.NotFoundError, match="not found") as raised:
            vsitlm.open(given)
        assert isinstance(raised.value, FileNotFoundError) and isinstance(raised.value, vsitlm.Error)
        assert isinstance(raised.value.__cause__, RasterioIOError)
        assert str(raised.value) == str(raised.value.__cause__)


def test_access_is_denied(site: Site, sample: Path) -> None:
    url = site.put(sample, "denied.jp2")
    site.server.control(fail_path="/denied.jp2", status=403)
    try:
        with pytest.raises(vsitlm.DeniedError, match="HTTP 403") as raised:
            vsitlm.open(f"{url}?signature=secret")
        assert isinstance(raised.value, PermissionError) and "secret" not in str(raised.value)
    finally:
        site.server.control(clear=1)


def test_the_server_fails(site: Site, sample: Path) -> None:
    url = site.put(sample, "failing.jp2")
    site.server.control(fail_path="/failing.jp2", status=500)
    try:
        with pytest.raises(vsitlm.ReadError, match="HTTP 500") as raised:
            vsitlm.open(url, GDAL_HTTP_MAX_RETRY=0)
        assert isinstance(raised.value, OSError)
    finally:
        site.server.control(clear=1)


def test_it_is_no_jp2(site: Site, tmp_path: Path) -> None:
    (tmp_path / "text.jp2").write_text("no image " * 100)
    for given in (tmp_path / "text.jp2", site.put(tmp_path / "text.jp2", "text.jp2")):
        with pytest.raises(vsitlm.MalformedError, match=r"T\.800"):
            vsitlm.open(given)


def test_no_index_knows_it(site: Site, sample: Path, tmp_path: Path, index: Path) -> None:
    with pytest.raises(vsitlm.MissError, match="VSITLM_ON_MISS"):
        vsitlm.open(site.put(sample, "unknown.jp2"), index=index, VSITLM_ON_MISS="fail")


def test_an_option_makes_no_sense(sample: Path) -> None:
    with pytest.raises(vsitlm.OptionError, match="VSITLM_ON_MISS=perhaps"):
        vsitlm.open(sample, VSITLM_ON_MISS="perhaps")


def test_there_is_no_such_overview(sample: Path) -> None:
    for factor in (3, 64):
        with pytest.raises(vsitlm.OverviewError, match="overview"):
            vsitlm.open(sample, overview=factor)


def test_a_path_names_nothing() -> None:
    with pytest.raises(vsitlm.PathError, match="read the path"):
        vsitlm.open("ftp://host/x.jp2")


def test_the_file_changed_since_it_was_indexed(site: Site, sample: Path, tmp_path: Path) -> None:
    url = site.put(sample, "changes.jp2")
    vsitlm.index([url], tmp_path / "index.parquet")
    dataset = vsitlm.open(url, index=tmp_path / "index.parquet")
    site.put(sample.read_bytes() + bytes(10), "changes.jp2")
    with dataset, pytest.raises(RasterioIOError) as raised:
        dataset.read(1, window=Window(600, 700, 100, 90))
    assert "the file has changed" in gdalio.chain(raised.value)
    # The next open scans it anew.
    shutil.copy(sample, site.folder / "changes.jp2")
    with vsitlm.open(url, index=tmp_path / "index.parquet") as dataset:
        dataset.read(1)


def test_what_gdal_fails_with_by_itself(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(b"no image")
    with pytest.raises(RasterioIOError, match="not recognized"):
        vsitlm.open(tmp_path / "x.tif")
