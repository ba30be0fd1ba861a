"""Reading a window: pixels as rasterio has them of the plain file, windows of every form, every error as its class."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import opj
import pytest
import rasterio
from conftest import PRODUCT, Site, noise, run
from gdalio import make_jp2
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

import vsitlm

WIDTH, HEIGHT = 1500, 1600
"""Of `sample`."""

WINDOWS = [
    Window(600, 700, 64, 60),
    Window(600.0, 700.0, 64.0, 60.0),
    (600, 700, 64, 60),
    [600, 700, 64, 60],
    tuple(np.array([600, 700, 64, 60])),
    ((700, 760), (600, 664)),
    (slice(700, 760), slice(600, 664)),
    [[700, 760], [600, 664]],
]
"""The same in every form."""


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three bands of 16 bits."""
    pixels = np.concatenate([noise(300, 280, seed) for seed in (1, 2, 3)]).astype("uint16") * 100
    return make_jp2(
        tmp_path_factory.mktemp("colours") / "colours.jp2", pixels, BLOCKXSIZE=128, BLOCKYSIZE=128, PLT="YES"
    )


def plain(path: Path, window: tuple[int, int, int, int], **how: Any) -> np.ndarray:
    """What rasterio reads of the file itself."""
    with rasterio.open(path) as dataset:
        return dataset.read(window=Window(*window), **how)


def open_datasets(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """What GDAL has open."""
    capfd.readouterr()
    with rasterio.Env() as env:
        env._dump_open_datasets()
    return capfd.readouterr().err.splitlines()[1:]


@pytest.mark.parametrize("window", WINDOWS, ids=repr)
def test_windows_of_every_form(sample: Path, window: Any) -> None:
    pixels = vsitlm.read(sample, window)
    assert pixels.dtype == np.uint8 and np.array_equal(pixels, plain(sample, (600, 700, 64, 60)))


def test_windows_that_end_with_the_image(sample: Path) -> None:
    right = plain(sample, (1400, 1590, 100, 10))
    for window in (((1590, None), (1400, None)), (slice(1590, None), slice(1400, None)), ((1590, 1600), (1400, None))):
        assert np.array_equal(vsitlm.read(sample, window), right)
    assert np.array_equal(vsitlm.read(sample, ((None, 10), (None, 20))), plain(sample, (0, 0, 20, 10)))


def test_local_remote_and_by_product(sample: Path, url: str, index: Path, site: Site) -> None:
    right = plain(sample, (500, 500, 40, 30))
    assert np.array_equal(vsitlm.read(str(sample), (500, 500, 40, 30)), right)
    assert np.array_equal(vsitlm.read(url, (500, 500, 40, 30), index=index), right)
    by_name = vsitlm.read(PRODUCT, (500, 500, 40, 30), band="B03", index=index, VSITLM_STORE=site.server.url)
    assert np.array_equal(by_name, right)


def test_a_window_costs_less_than_its_tile(site: Site, tmp_path: Path) -> None:
    options = {"RESOLUTIONS": 5, "PLT": "YES", "PRECINCTS": ",".join(["{256,256}"] * 5)}
    path = make_jp2(tmp_path / "tile.jp2", noise(1024, 1024), BLOCKXSIZE=1024, BLOCKYSIZE=1024, **options)
    url = site.put(path, "read/tile.jp2")
    vsitlm.index([url], tmp_path / "index.parquet")
    site.stats()
    pixels = vsitlm.read(url, (600, 600, 32, 32), index=tmp_path / "index.parquet")
    stats = site.stats()
    assert np.array_equal(pixels, plain(path, (600, 600, 32, 32)))
    assert stats["heads"] == 0 and 0 < stats["requests"] <= 5
    assert stats["bytes"] < path.stat().st_size / 3


def test_bands_and_types(colours: Path) -> None:
    window = (100, 120, 50, 40)
    for indexes in (None, 2, [2], [3, 1], (1, 2, 3)):
        pixels, right = vsitlm.read(colours, window, indexes=indexes), plain(colours, window, indexes=indexes)
        assert pixels.dtype == right.dtype == np.uint16 and np.array_equal(pixels, right)
    with pytest.raises(vsitlm.Error, match="no band 4"):
        vsitlm.read(colours, window, indexes=4)


@pytest.mark.parametrize("factor", [0, 1, 2, 4, 16])
def test_overviews(sample: Path, factor: int) -> None:
    level = {0: None, 1: None, 2: 0, 4: 1, 16: 3}[factor]
    with rasterio.open(sample, **({} if level is None else {"overview_level": level})) as dataset:
        right = dataset.read(window=Window(20, 30, 50, 40))
    assert np.array_equal(vsitlm.read(sample, (20, 30, 50, 40), factor), right)


@pytest.mark.parametrize("indexes", [None, 1, [2, 3]])
@pytest.mark.parametrize(
    "window", [(-10, -20, 30, 40), (250, 280, 60, 50), (-5, -5, 300, 320), (50, 60, 20, 10), (400, 0, 5, 5)]
)
def test_boundless(colours: Path, window: tuple[int, int, int, int], indexes: Any) -> None:
    right = plain(colours, window, boundless=True, fill_value=7, indexes=indexes)
    pixels = vsitlm.read(colours, window, boundless=True, fill_value=7, indexes=indexes)
    assert pixels.dtype == right.dtype and np.array_equal(pixels, right)


@pytest.mark.parametrize(
    "window",
    [
        (WIDTH, 0, 1, 1),
        (WIDTH - 10, 0, 20, 10),
        (-1, 0, 10, 10),
        (-20, 0, 10, 10),
        (0, 0, 2000, 2000),
        (0, 0, 2**40, 10),
        (5, 5, 0, 10),
        (5, 5, 10, -1),
        ((5, 5), (0, 10)),
        ((10, 5), (0, 10)),
        ((1700, None), (0, 10)),
    ],
)
def test_a_window_that_is_not_within_the_image_is_an_error_that_names_both(
    sample: Path, window: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        vsitlm.WindowError, match=rf"{sample.name}: the window of .* pixels .*{WIDTH} x {HEIGHT} pixels"
    ):
        vsitlm.read(sample, window)
    assert open_datasets(capfd) == []


def test_an_empty_window_is_an_error_where_any_may_reach_beyond(sample: Path) -> None:
    with pytest.raises(vsitlm.WindowError, match="0 x 5 pixels"):
        vsitlm.read(sample, (0, 0, 0, 5), boundless=True)


@pytest.mark.parametrize(
    "window", [(0.5, 0, 10, 10), Window(0, 0, 10.25, 10), (1, 2, 3), (float("nan"), 0, 1, 1), (slice(0, 9, 2), (0, 9))]
)
def test_a_window_that_is_not_of_whole_pixels(sample: Path, window: Any) -> None:
    with pytest.raises(vsitlm.WindowError, match=r"whole pixels|leaves out pixels"):
        vsitlm.read(sample, window)


def test_there_is_no_such_file(tmp_path: Path, site: Site) -> None:
    for given in (tmp_path / "none.jp2", f"{site.server.url}/none.jp2"):
        for boundless in (False, True):
            with pytest.raises(vsitlm.NotFoundError, match=r"none\.jp2: not found"):
                vsitlm.read(given, (0, 0, 1, 1), boundless=boundless)


def test_it_is_no_jp2(tmp_path: Path, site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.jp2").write_text("no image " * 100)
    with rasterio.open(tmp_path / "x.tif", "w", driver="GTiff", width=9, height=9, count=1, dtype="uint8") as file:
        file.write(np.ones((1, 9, 9), "uint8"))
    for path in (tmp_path / "text.jp2", tmp_path / "x.tif"):
        for one in (path, site.put(path, f"read/{path.name}")):
            if path.suffix == ".tif":  # by rasterio, as what the core does not decode
                assert vsitlm.read(one, (0, 0, 1, 1)) == [[[1]]]
                continue
            with pytest.raises(vsitlm.MalformedError, match=r"T\.800"):
                vsitlm.read(one, (0, 0, 1, 1))
    assert open_datasets(capfd) == []


def test_no_index_knows_it(sample: Path, index: Path, site: Site) -> None:
    with pytest.raises(vsitlm.ProductError, match=PRODUCT):
        vsitlm.read(PRODUCT, (0, 0, 1, 1), band="B04", index=index, VSITLM_STORE=site.server.url)
    with pytest.raises(vsitlm.MissError, match="VSITLM_ON_MISS"):
        vsitlm.read(site.put(sample, "read/unknown.jp2"), (0, 0, 1, 1), index=index, VSITLM_ON_MISS="fail")


def test_there_is_no_such_overview(sample: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for factor in (3, 64):
        with pytest.raises(vsitlm.OverviewError, match="the factors are 2, 4, 8, 16"):
            vsitlm.read(sample, (0, 0, 1, 1), factor)
    assert open_datasets(capfd) == []


def test_the_file_changed_since_it_was_indexed(
    site: Site, sample: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url, index = site.put(sample, "read/changes.jp2"), tmp_path / "index.parquet"
    vsitlm.index([url], index)
    site.put(sample.read_bytes() + bytes(10), "read/changes.jp2")
    with pytest.raises(vsitlm.ChangedError, match="the file has changed"):
        vsitlm.read(url, (0, 0, 10, 10), index=index)
    assert open_datasets(capfd) == []
    # The next read scans it anew.
    assert np.array_equal(vsitlm.read(url, (0, 0, 10, 10), index=index), plain(sample, (0, 0, 10, 10)))


def test_the_server_fails(site: Site, sample: Path, tmp_path: Path) -> None:
    url, index = site.put(sample, "read/failing.jp2"), tmp_path / "index.parquet"
    vsitlm.index([url], index)
    for status, kind in ((403, vsitlm.DeniedError), (500, vsitlm.ReadError)):
        site.server.control(fail_path="/read/failing.jp2", status=status)
        try:
            with pytest.raises(kind, match=f"HTTP {status}"):
                vsitlm.read(url, (0, 0, 10, 10), index=index, GDAL_HTTP_MAX_RETRY=0)
        finally:
            site.server.control(clear=1)
    assert vsitlm.read(url, (0, 0, 10, 10), index=index).shape == (1, 10, 10)


def test_what_the_core_leaves_out_is_decoded_by_rasterio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = opj.compress(tmp_path / "roi.jp2", noise(300, 280), "-t", "128,128", "-ROI", "c=0,U=7")
    window = (100, 120, 50, 40)
    assert np.array_equal(vsitlm.read(path, window), plain(path, window))
    assert np.array_equal(vsitlm.read(path, (-9, 0, 20, 9), boundless=True)[0, :, 9:], plain(path, (0, 0, 11, 9))[0])
    chips = [chip.pixels for chip in vsitlm.read_many([(path, window)] * 9)]
    assert all(np.array_equal(chip, plain(path, window)) for chip in chips) and len(chips) == 9

    def fail(_: str) -> None:
        raise RasterioIOError("Read failed. See previous exception for details.") from RuntimeError("out of luck")

    with monkeypatch.context() as context:
        context.setattr(rasterio, "open", fail)
        with pytest.raises(vsitlm.ReadError, match="out of luck"):
            vsitlm.read(path, window)
    monkeypatch.setitem(sys.modules, "rasterio.env", None)
    with pytest.raises(vsitlm.UndecodedError, match=r"RGN.*rasterio, which may decode it, is not installed"):
        vsitlm.read(path, window)


def test_windows_of_files_whose_packets_are_not_known(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_jp2(tmp_path / "no_plt.jp2", noise(300, 280), BLOCKXSIZE=128, BLOCKYSIZE=128, PLT="NO", RESOLUTIONS=3)
    right = {window: plain(path, window) for window in [(100, 120, 50, 40), (0, 0, 280, 300), (279, 299, 1, 1)]}
    with rasterio.open(path, OVERVIEW_LEVEL=0) as dataset:
        half = dataset.read(window=Window(20, 30, 60, 70))
    monkeypatch.setattr(rasterio, "open", None)
    for place in (path, site.put(path, "read/no_plt.jp2")):
        for window, pixels in right.items():
            assert np.array_equal(vsitlm.read(place, window), pixels)
        assert np.array_equal(vsitlm.read(place, (20, 30, 60, 70), 2), half)
        with pytest.raises(vsitlm.WindowError, match="280 x 300"):
            vsitlm.read(place, (279, 299, 2, 1))
    before = site.stats()["requests"]
    vsitlm.read(site.put(path, "read/anew.jp2"), (130, 10, 5, 5))
    assert site.stats()["requests"] - before <= 4


def test_the_core_decodes_without_rasterio(sample: Path, tmp_path: Path) -> None:
    right = plain(sample, (600, 700, 64, 60))
    code = f"""
import sys
sys.modules["rasterio"] = None
import numpy, vsitlm
pixels = vsitlm.read({str(sample)!r}, (600, 700, 64, 60))
assert pixels.flags.writeable and pixels.flags.aligned and pixels.dtype == "{right.dtype}", pixels.flags
numpy.save({str(tmp_path / "pixels.npy")!r}, pixels)
[chip] = vsitlm.read_many([({str(sample)!r}, (600, 700, 64, 60))])
assert numpy.array_equal(chip.pixels, pixels)
import asyncio
from vsitlm import aio
async def read():
    image = await aio.open({str(sample)!r})
    return await image.read((600, 700, 64, 60))
assert numpy.array_equal(asyncio.run(read()), pixels)
assert not any("gdal" in line and "gdal_vsitlm" not in line for line in open("/proc/self/maps"))
"""
    run(code)
    assert np.array_equal(np.load(tmp_path / "pixels.npy"), right)


def test_options_hold_for_this_read_alone(sample: Path) -> None:
    with rasterio.Env(GDAL_NUM_THREADS="2"):
        before = rasterio.env.getenv()
        vsitlm.read(sample, (0, 0, 1, 1), VSITLM_OVERVIEWS=False)
        with pytest.raises(vsitlm.OptionError, match="perhaps"):
            vsitlm.read(sample, (0, 0, 1, 1), VSITLM_ON_MISS="perhaps")
        assert rasterio.env.getenv() == before
    assert not rasterio.env.hasenv()
    assert os.environ["VSITLM_CACHE_DIR"] == "NO"
