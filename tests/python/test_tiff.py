"""The decoded view: the GeoTIFF of a JP2 has the pixels, the place and the types of the JP2, at the price of its packets."""

from __future__ import annotations

import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

import apart
import gdalio
import jobs
import numpy as np
import opj
import pytest
import realdata
from conftest import FOUR_TILES, ONE_TILE, Sample, Site, noise, vsitlm
from test_bands import colormap, palette
from test_overview_kinds import LEVELS, MADE, ONE, TILES
from test_windows import told as told_of
from test_windows import windows

SERVE = {"VSITLM_SERVE": "TIFF"}
STRUCTURE = {"blocks"}
"""What the two views may differ in, but for the driver and metadata of structure, which `gdalio.describe` does not give."""
BY_BLOCK = {"GDAL_MAX_RAW_BLOCK_CACHE_SIZE": "1000", "GTIFF_HAS_OPTIMIZED_READ_MULTI_RANGE": "NO"}
"""Makes GDAL read block by block, as it does beyond the first 10 MB."""


def tiff(place: str | Path) -> str:
    """The path of the decoded view."""
    return f"/vsitlm?as=tiff&url={urllib.parse.quote(str(place), safe='/')}"


def decoded(path: Path, k: int, like: np.ndarray) -> np.ndarray:
    """What opj_decompress makes of a file at 1/2^k: bands, rows, columns."""
    height, width = gdalio.describe(tiff(path))["size"][::-1] if k == 0 else overview_size(path, k)
    kind = like.dtype.newbyteorder("<")
    return np.frombuffer(opj.decompress(path, k), kind).reshape(like.shape[0], height, width)


def overview_size(path: Path, k: int) -> tuple[int, int]:
    """Rows and columns of an overview."""
    return gdalio.overview(tiff(path), k - 1).shape[1:]


@pytest.mark.parametrize("kind", [kind for kind in MADE if kind != "subsampled"])
def test_files_of_every_kind(kind: str, tmp_path: Path) -> None:
    pixels, arguments = MADE[kind]
    # opj_decompress makes red, green and blue of bands that a JP2 box calls sYCC, which GDAL does not.
    suffix = "j2k" if kind == "no colour transform" else "jp2"
    path = opj.compress(tmp_path / f"{kind}.{suffix}", pixels, *arguments)
    most = 1 if "irreversible" in kind else 0
    with gdalio.configured({"VSITLM_OVERVIEWS": "ALL"}):
        listed = len(gdalio.describe(tiff(path))["overviews"][0])
        assert listed == LEVELS or "odd" in kind or "offset" in kind
        for k in range(listed + 1):
            read = gdalio.overview(tiff(path), k - 1) if k else gdalio.read(tiff(path))
            right = decoded(path, k, pixels)
            assert read.dtype == pixels.dtype and np.abs(read.astype(int) - right).max() <= most, k
            for left, top, width, height in windows(right.shape[:0:-1], 5, f"{kind}{k}"):
                window = (left, top, width, height)
                part = gdalio.overview(tiff(path), k - 1, window) if k else gdalio.read(tiff(path), window)
                assert np.array_equal(part, read[:, top : top + height, left : left + width]), (k, window)


@pytest.mark.parametrize("name", ["sample", "colours", "small"])
def test_what_is_told_differs_in_structure_alone(name: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(name).path
    assert_alike(gdalio.describe(str(path)), gdalio.describe(tiff(path)))


def assert_alike(plain: dict[str, Any], ours: dict[str, Any]) -> None:
    """Nothing but the structure differs."""
    for name in plain.keys() - STRUCTURE:
        assert ours[name] == plain[name], name
    assert set(map(tuple, ours["blocks"])) == {(32, 32)}


def test_an_overview_has_those_that_are_coarser(sample: Sample) -> None:
    place = f"/vsitlm?as=tiff&overview=2&url={sample.path}"
    plain, ours = (gdalio.describe(place.replace("as=tiff&", form)) for form in ("as=jp2&", ""))
    assert ours["overviews"] == plain["overviews"] and ours["transform"] == plain["transform"]
    assert np.array_equal(gdalio.read(place), gdalio.overview(str(sample.path), 0))
    assert np.array_equal(gdalio.overview(place, 1), gdalio.overview(str(sample.path), 2))


@pytest.mark.parametrize("name", ["a.dat", "a"])
def test_a_file_of_any_name_is_decoded_where_the_path_says_so(name: str, sample: Sample, tmp_path: Path) -> None:
    place = tmp_path / name
    place.write_bytes(sample.path.read_bytes())
    assert gdalio.driver(tiff(place)) == "GTiff"
    assert gdalio.driver(f"/vsitlm/{place}") == gdalio.driver(f"/vsitlm?as=jp2&url={place}") == "JP2OpenJPEG"
    assert np.array_equal(gdalio.read(tiff(place), ONE_TILE), sample.window(ONE_TILE))


def made_by_gdal(path: Path, pixels: np.ndarray, *options: str, **metadata: dict[str, str] | list[str]) -> Path:
    """A JP2 with metadata, as GDAL writes it."""
    source = gdalio.gdal_array.OpenArray(pixels)
    for domain, items in metadata.items():
        source.SetMetadata(items, domain.replace("_", ":", 1) if domain != "usual" else "")
    driver = gdalio.gdal.GetDriverByName("JP2OpenJPEG")
    driver.CreateCopy(str(path), source, options=["QUALITY=100", "REVERSIBLE=YES", *options])
    return path


def file_of_kind(kind: str, folder: Path, request: pytest.FixtureRequest) -> Path:
    """A file of which GDAL tells more than its pixels."""
    path = folder / "a.jp2"
    pixels = noise(70, 90, dtype="uint8")
    if kind in ("sample", "colours", "small"):
        return request.getfixturevalue(kind).path
    if kind == "palette":
        return palette(path, noise(5, 3, dtype="uint8")[0])
    if kind == "metadata":
        items = {"A": "1 < 2 & 3", "é": "è"}
        xmp = ["<x:xmpmeta xmlns:x='adobe:ns:meta/'>é &amp; <![CDATA[<]]></x:xmpmeta>"]
        boxes = {"xml_BOX_0": ["<a b='c'>d</a>"], "xml_XMP": xmp}
        return made_by_gdal(path, pixels, "WRITE_METADATA=YES", usual=items, D=items, **boxes)
    made_by_gdal(path, pixels)
    if kind == "world file":
        path.with_suffix(".j2w").write_text("10\n0\n0\n-10\n300005\n5999995\n")
    if kind == "another world file":
        path.with_suffix(".wld").write_text("10\n1\n2\n-10\n300005\n5999995\n")
    if kind == "statistics":
        gdalio.gdal.Info(str(path), stats=True)
        assert (folder / "a.jp2.aux.xml").exists()
    return path


KINDS = ["sample", "colours", "small", "palette", "metadata", "world file", "another world file", "statistics"]
MAY_DIFFER = {"description", "driverShortName", "driverLongName", "files", "block", "IMAGE_STRUCTURE", "DERIVED_SUBDATASETS"}
"""The names and driver, how the file is divided, and domains of names and of structure."""


def told(place: str) -> Any:
    """What gdalinfo tells, but for what may differ."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {name: without(each) for name, each in value.items() if name not in MAY_DIFFER}
            return {name: each for name, each in kept.items() if each != {}}
        return [without(each) for each in value] if isinstance(value, list) else value

    found = without(gdalio.gdal.Info(place, format="json", extraMDDomains=["all"]))
    for band in found["bands"]:
        if table := band.get("colorTable"):
            # A TIFF's colour map has as many entries as a byte has values.
            table.update(count=5, entries=table["entries"][:5])
    return found


@pytest.mark.skipif(gdalio.rasterio is not None, reason="wheels bring no gdalinfo")
@pytest.mark.parametrize("kind", KINDS)
def test_what_gdalinfo_tells_differs_in_nothing_else(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = file_of_kind(kind, tmp_path, request)
    plain = told(str(path))
    for place in (tiff(path), f"/vsitlm?as=jp2&url={path}"):
        assert told(place) == plain
    gdalio.gdal.SetConfigOption("VSITLM_SERVE", "TIFF")
    try:
        assert told(f"/vsitlm/{path}") == plain and gdalio.driver(f"/vsitlm/{path}") == "GTiff"
    finally:
        gdalio.gdal.SetConfigOption("VSITLM_SERVE", None)


@realdata.each("path")
def test_real_files(path: Path) -> None:
    assert_alike(gdalio.describe(str(path)), gdalio.describe(tiff(path)))
    pixels = gdalio.read(str(path))
    assert np.array_equal(gdalio.read(tiff(path)), pixels)
    for left, top, width, height in windows(pixels.shape[:0:-1], 10, path.stem):
        right = pixels[:, top : top + height, left : left + width]
        assert np.array_equal(gdalio.read(tiff(path), (left, top, width, height)), right)


@pytest.mark.parametrize("columns", [3, 4])
def test_a_palette_is_shown_as_it_is(columns: int, tmp_path: Path) -> None:
    path = palette(tmp_path / "a.jp2", noise(5, columns, dtype="uint8")[0])
    if columns == 4:
        assert gdalio.driver(tiff(path)) == "JP2OpenJPEG", "with opacities"
        assert np.array_equal(gdalio.read(tiff(path)), gdalio.read(str(path)))
        return
    assert_alike(gdalio.describe(str(path)), gdalio.describe(tiff(path)))
    # A TIFF's colour map has as many entries as a byte has values.
    assert colormap(tiff(path))[:5] == colormap(str(path))
    assert np.array_equal(gdalio.read(tiff(path)), gdalio.read(str(path)))


@pytest.mark.parametrize("options", [{}, BY_BLOCK, BY_BLOCK | {"VSITLM_CACHE_SIZE": "1MB"}, {"GDAL_NUM_THREADS": "4"}])
def test_long_reads_are_right_however_gdal_divides_them(
    options: dict[str, str], sample: Sample, colours: Sample
) -> None:
    for one in (sample, colours):
        pixels = apart.call(jobs.read, tiff(one.path), options=options)
        assert np.array_equal(pixels, one.pixels)


def test_opening_asks_for_nothing_and_a_window_for_its_packets(
    site: Site, sample: Sample, known: dict[str, str]
) -> None:
    url = site.url(sample.name)
    told = apart.call(jobs.everything, "/vsitlm/" + url, options=known | SERVE)
    assert "GTiff" in told and site.stats()["requests"] == 0
    for window in (ONE_TILE, FOUR_TILES):
        site.reset()
        pixels = apart.call(jobs.read, "/vsitlm/" + url, window, options=known | SERVE)
        assert np.array_equal(pixels, sample.window(window))
        stats = site.stats()
        touched = 1 if window == ONE_TILE else 4
        part = max(length for _, _, length in sample.stream.tile_parts)
        assert stats["requests"] <= touched and stats["bytes"] <= touched * part


def test_an_overview_asks_for_its_own_packets(site: Site, sample: Sample, known: dict[str, str]) -> None:
    url = site.url(sample.name)
    read = apart.call(jobs.overview, "/vsitlm/" + url, 2, options=known | SERVE)
    assert np.array_equal(read, gdalio.overview(str(sample.path), 2))
    assert site.stats()["bytes"] < sample.path.stat().st_size / 20


WAYS = ["read", "read_vrt", "read_warped"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("threads", ["1", "4"])
@pytest.mark.parametrize("window", [(ONE_TILE[0], ONE_TILE[1], 20, 20), ONE_TILE, FOUR_TILES])
def test_what_cannot_be_read_is_an_error_and_the_next_read_is_right(
    site: Site, sample: Sample, known: dict[str, str], window: gdalio.Window, threads: str, way: str
) -> None:
    url = "/vsitlm/" + site.url(sample.name)
    options = known | SERVE | {"GDAL_NUM_THREADS": threads, "GDAL_HTTP_MAX_RETRY": "0"}
    fault = f"{site.server.url}/__control?fail_path=/{sample.name}&status=500"
    clear = f"{site.server.url}/__control?clear=1"
    failed, right = apart.call(
        jobs.play,
        ("ask", fault), (way, url, window), ("ask", clear), (way, url, window),
        options=options,
    )[1::2]  # fmt: skip
    assert isinstance(failed, gdalio.Failed), "an error, and no pixels"
    assert told_of(failed, "500") or way == "read_warped", failed
    assert np.array_equal(right, sample.window(window))


@pytest.mark.skipif(gdalio.rasterio is not None, reason="wheels bring no programs")
@pytest.mark.parametrize("threads", ["1", "4"])
def test_gdal_translate_fails_where_a_tile_cannot_be_read(
    site: Site, sample: Sample, known: dict[str, str], threads: str, tmp_path: Path
) -> None:
    place = "/vsitlm/" + site.url(sample.name)
    options = known | SERVE | {"GDAL_NUM_THREADS": threads, "GDAL_HTTP_MAX_RETRY": "0"}
    window = [str(number) for number in FOUR_TILES]

    def translate() -> subprocess.CompletedProcess[str]:
        command = ["gdal_translate", "-q", "-srcwin", *window, place, str(tmp_path / "a.tif")]
        return subprocess.run(
            command, env=apart.environment(options), check=False, capture_output=True, text=True, timeout=60
        )

    site.control(fail_path="*", status=500)
    failed = translate()
    assert failed.returncode != 0 and "500" in failed.stderr, failed
    site.control(clear=1)
    done = translate()
    assert done.returncode == 0 and done.stderr == "", done
    assert np.array_equal(gdalio.read(str(tmp_path / "a.tif")), sample.window(FOUR_TILES))


def test_what_the_decoder_leaves_out_is_served_as_a_jp2(tmp_path: Path) -> None:
    path = opj.compress(tmp_path / "roi.jp2", ONE, *TILES, "-ROI", "c=0,U=7")
    right = gdalio.read(str(path))
    for place, options in ((tiff(path), {}), (f"/vsitlm/{path}", SERVE)):
        pixels, driver = (apart.call(job, place, options=options) for job in (jobs.read, gdalio.driver))
        assert np.array_equal(pixels, right) and driver == "JP2OpenJPEG"


def test_a_path_says_in_which_form_whatever_the_option_is(sample: Sample) -> None:
    window = (100, 100, 50, 50)
    for form, driver in {"": "GTiff", "as=tiff&": "GTiff", "as=jp2&": "JP2OpenJPEG"}.items():
        for view in ("", "overview=4&"):
            place = f"/vsitlm?{form}{view}url={sample.path}"
            assert apart.call(gdalio.driver, place, options=SERVE) == driver
            right = gdalio.read(f"/vsitlm?{view}url={sample.path}", window)
            assert np.array_equal(apart.call(jobs.read, place, window, options=SERVE), right)
    for options in ("as=png", "as=jp2&window=0,0,1,1"):
        with pytest.raises(gdalio.Failed, match="as="):
            gdalio.read(f"/vsitlm?{options}&url={sample.path}")
    done = vsitlm("info", "x.jp2", options={"VSITLM_SERVE": "PNG"})
    assert done.returncode != 0 and "JP2 or TIFF" in done.stderr


def test_the_ranges_of_other_files_are_read_together(site: Site, tmp_path: Path) -> None:
    pixels = noise(512, 512)
    path = write_tiff(tmp_path / "a.tif", pixels)
    url = site.put(path, "together.tif")
    apart.call(jobs.describe, "/vsitlm/" + url)
    site.reset()
    read = apart.call(jobs.read, "/vsitlm/" + url, (100, 100, 300, 300))
    assert np.array_equal(read, pixels[:, 100:400, 100:400])


def write_tiff(path: Path, pixels: np.ndarray) -> Path:
    """A tiled GeoTIFF."""
    bands, height, width = pixels.shape
    if gdalio.rasterio:
        profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": str(pixels.dtype)}
        with gdalio.rasterio.open(path, "w", tiled=True, blockxsize=64, blockysize=64, **profile) as made:
            made.write(pixels)
    else:
        source = gdalio.gdal_array.OpenArray(pixels)
        options = ["TILED=YES", "BLOCKXSIZE=64", "BLOCKYSIZE=64"]
        gdalio.gdal.GetDriverByName("GTiff").CreateCopy(str(path), source, options=options)
    return path
