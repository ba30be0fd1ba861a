"""Overviews: those of real files, and whatever way GDAL reads them, they are what the plain file's are."""

from __future__ import annotations

import subprocess
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apart
import gdalio
import jobs
import numpy as np
import opj
import pytest
import realdata
from conftest import Sample, Site, make_index, noise

ALL = {"VSITLM_OVERVIEWS": "ALL"}


def view(place: str | Path, factor: int) -> str:
    """The path of a reduced view."""
    return f"/vsitlm?overview={factor}&url={urllib.parse.quote(str(place), safe='')}"


def count(path: str | Path) -> int:
    """How many overviews GDAL finds."""
    return len(gdalio.describe(str(path))["overviews"][0])


@realdata.each("band")
def test_real_files_have_their_overviews_locally_and_remotely_with_and_without_an_index(
    band: Path, site: Site, tmp_path: Path
) -> None:
    url = site.put(band, str(band.relative_to(realdata.FOLDER)))
    rows = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", band, url)), "VSITLM_ON_MISS": "fail"}
    own = count(band)
    ways = [(f"/vsitlm/{url}", rows), (f"/vsitlm/{url}", {}), (f"/vsitlm/{band}", rows), (f"/vsitlm/{band}", {})]
    assert own > 1
    for number in range(own):
        # GDAL takes seconds for the 1,849 tiles of a PVI; what it gives is what OpenJPEG gives.
        if "PVI" in band.stem and number == 0:
            right = np.frombuffer(opj.decompress(band, 1), np.uint8).reshape(3, 172, 172)
        else:
            right = gdalio.overview(str(band), number)
        # The finest one takes as long as the others together: it is read in one way.
        for place, options in ways if number > 0 else ways[:1]:
            with gdalio.configured(options):
                assert count(place) == own
                assert np.array_equal(gdalio.overview(place, number), right), (place, number)


@realdata.each("band")
def test_real_files_have_views_that_gdal_does_not_offer(band: Path) -> None:
    assert count(f"/vsitlm/{band}") == count(band)
    with gdalio.configured(ALL):
        assert_views_that_gdal_does_not_offer(band)


def assert_views_that_gdal_does_not_offer(band: Path) -> None:
    found = count(f"/vsitlm/{band}")
    assert found >= 4
    for k in range(max(3, count(band) + 1), found + 1):
        content = gdalio.copy_bytes(view(band, 1 << k), 1 << 16)
        pixels = gdalio.overview(f"/vsitlm/{band}", k - 1)
        right = opj.decompress(band, k)
        assert opj.decompress(content) == right
        assert pixels.astype(pixels.dtype.newbyteorder("<")).tobytes() == right


@realdata.each("band")
def test_views_lie_where_the_image_lies_by_gmljp2(band: Path) -> None:
    assert_same_corners(str(band), [2, 4, 8, 16])


def test_views_lie_where_the_image_lies_by_geojp2(sample: Sample) -> None:
    assert b"\xb1\x4b\xf8\xbd\x08\x3d\x4b\x43" in sample.path.read_bytes()[:4096]
    assert_same_corners(str(sample.path), [2, 4, 8])


def assert_same_corners(path: str, factors: list[int]) -> None:
    whole = gdalio.describe(path)
    for factor in factors:
        reduced = gdalio.describe(view(path, factor))
        assert reduced["crs"] == whole["crs"] and whole["crs"]
        assert reduced["size"] == tuple(-(-pixels // factor) for pixels in whole["size"])
        assert corners(reduced) == pytest.approx(corners(whole), abs=1e-6)
        for same in ("bands", "types", "colours", "nodata", "masks"):
            assert reduced[same] == whole[same]


def corners(described: dict[str, Any]) -> list[float]:
    """Left, top, right and bottom, of an image that is not turned."""
    width, height = described["size"]
    if gdalio.rasterio:
        across, _, left, _, down, top = described["transform"][:6]
    else:
        left, across, _, top, _, down = described["transform"]
    return [left, top, left + across * width, top + down * height]


def gray(folder: Path) -> Path:
    return gdalio.make_jp2(folder / "gray.jp2", noise(260, 300), **TILED)


def colour(folder: Path) -> Path:
    return gdalio.make_jp2(folder / "colour.jp2", noise(260, 300, 3, "uint8"), YCC="YES", **TILED)


def with_alpha(folder: Path) -> Path:
    return gdalio.make_jp2(folder / "alpha.jp2", noise(260, 300, 4, "uint8"), ALPHA="YES", **TILED)


def with_alpha_of_one_bit(folder: Path) -> Path:
    pixels = noise(260, 300, 4, "uint8")
    pixels[3] &= 1
    path = folder / "one.jp2"
    return gdalio.make_jp2(path, pixels, **{**TILED, "1BIT_ALPHA": "YES", "ALPHA": "YES"})


def of_twelve_bits(folder: Path) -> Path:
    return gdalio.make_jp2(folder / "twelve.jp2", noise(260, 300) >> 4, NBITS=12, **TILED)


def signed(folder: Path) -> Path:
    return gdalio.make_jp2(folder / "signed.jp2", noise(260, 300, dtype="int16"), **TILED)


TILED = {"BLOCKXSIZE": 64, "BLOCKYSIZE": 64, "RESOLUTIONS": 4, "PLT": "YES"}
LOOKS: dict[str, Callable[[Path], Path]] = {made.__name__: made for made in (gray, colour, with_alpha, with_alpha_of_one_bit, of_twelve_bits, signed)}
SIDE_CAR = """<PAMDataset><PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>"""


@pytest.mark.parametrize("nodata", [False, True], ids=["no nodata", "nodata"])
@pytest.mark.parametrize("look", LOOKS)
def test_gdal_says_the_same_of_overviews(look: str, nodata: bool, tmp_path: Path) -> None:
    path = LOOKS[look](tmp_path)
    if nodata:
        path.with_name(f"{path.name}.aux.xml").write_text(SIDE_CAR)
    own, place = count(path), f"/vsitlm/{path}"
    assert own == 2 and count(place) == 2
    for number in range(own):
        assert gdalio.describe_overview(place, number) == gdalio.describe_overview(str(path), number)
    plain, ours = gdalio.describe(str(path)), gdalio.describe(place)
    assert ours == plain and (plain["nodata"] == 7) == nodata


@pytest.mark.parametrize("look", LOOKS)
def test_images_of_every_look_have_the_same_overviews(look: str, tmp_path: Path) -> None:
    path = LOOKS[look](tmp_path)
    for number in range(2):
        assert np.array_equal(gdalio.overview(f"/vsitlm/{path}", number), gdalio.overview(str(path), number))


@pytest.mark.parametrize("shape", [(130, 150), (65, 75), (100, 99), (20, 30), (1, 1)], ids=str)
@pytest.mark.parametrize("look", LOOKS)
def test_reads_of_fewer_pixels_give_the_same(look: str, shape: tuple[int, int], tmp_path: Path) -> None:
    path = LOOKS[look](tmp_path)
    for window in (None, (10, 20, 256, 128)):
        right = gdalio.read(str(path), window, shape=shape)
        assert np.array_equal(gdalio.read(f"/vsitlm/{path}", window, shape=shape), right)


def warp_by_rasterio(path: str) -> np.ndarray:
    from rasterio.vrt import WarpedVRT
    from rasterio.warp import calculate_default_transform

    crs = "EPSG:32632"
    with gdalio.rasterio.open(path) as dataset:
        transform, width, height = calculate_default_transform(
            dataset.crs, crs, dataset.width, dataset.height, *dataset.bounds, resolution=47
        )
        with WarpedVRT(dataset, crs=crs, transform=transform, width=width, height=height) as warped:
            return warped.read()


def dataset_mask(path: str) -> np.ndarray:
    with gdalio.rasterio.open(path) as dataset:
        return dataset.dataset_mask(out_shape=(65, 75))


@pytest.mark.skipif(gdalio.rasterio is None, reason="rasterio's own ways")
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("way", [warp_by_rasterio, dataset_mask], ids=["WarpedVRT", "dataset_mask"])
def test_rasterio_gives_the_same(way: Callable[[str], np.ndarray], look: str, tmp_path: Path) -> None:
    path = LOOKS[look](tmp_path)
    right = way(str(path))
    assert right.any() and np.array_equal(way(f"/vsitlm/{path}"), right)


COMMANDS = {
    "outsize": ["gdal_translate", "-outsize", "10%", "10%"],
    "outsize average": ["gdal_translate", "-outsize", "180", "0", "-r", "average"],
    "ovr": ["gdal_translate", "-ovr", "1"],
    "no ovr": ["gdal_translate", "-ovr", "NONE", "-outsize", "20%", "20%"],
    "warp": ["gdalwarp", "-tr", "45", "45"],
    "warp to another": ["gdalwarp", "-t_srs", "EPSG:32632", "-tr", "60", "60", "-r", "bilinear"],
    "warp with ovr": ["gdalwarp", "-ovr", "0", "-tr", "60", "60"],
}


@pytest.mark.skipif(gdalio.rasterio is not None, reason="wheels bring no programs")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_programs_of_gdal_give_the_same(command: str, site: Site, sample: Sample, tmp_path: Path) -> None:
    name, *arguments = COMMANDS[command]
    places = [str(sample.path), f"/vsitlm/{sample.path}", f"/vsitlm/{site.put(sample.path, sample.name)}"]
    made = []
    for number, place in enumerate(places):
        output = tmp_path / f"{number}.tif"
        run(name, "-q", *arguments, place, str(output))
        made.append((gdalio.describe(str(output)), gdalio.read(str(output)).tobytes()))
    assert made[0] == made[1] == made[2]


def run(*command: str, **options: str) -> str:
    done = subprocess.run(
        command, env=apart.environment(options), check=True, capture_output=True, text=True, timeout=apart.KILL_AFTER
    )
    return done.stdout


@pytest.mark.skipif(gdalio.rasterio is not None, reason="wheels bring no programs")
def test_gdalinfo_lists_overviews(tmp_path: Path) -> None:
    path = gray(tmp_path)
    assert "Overviews: 150x130, 75x65\n" in run("gdalinfo", str(path))
    assert "Overviews: 150x130, 75x65\n" in run("gdalinfo", f"/vsitlm/{path}")
    assert "Overviews: 150x130, 75x65, 38x33\n" in run("gdalinfo", f"/vsitlm/{path}", **ALL)
    assert "Overviews: 75x65\n" in run("gdalinfo", view(path, 2)), "its own: there is no list of a view's"
    # Beside the file, and as GDAL lists the files of a dataset.
    assert f"{path}.ovr" in run("gdalinfo", f"/vsitlm/{path}")
    assert run("gdalinfo", f"/vsitlm/{path}", VSITLM_OVERVIEWS="NO") == run("gdalinfo", str(path)).replace(
        f"{path}\n", f"/vsitlm/{path}\n"
    )


def test_without_them_everything_is_as_the_plain_file_has_it(tmp_path: Path) -> None:
    path = gray(tmp_path)
    place = f"/vsitlm/{path}"
    steps = [("describe", place), ("overview", place, 1), ("overview", place, 2), ("copy", f"{place}.ovr", 100)]
    described, second, third, listed = apart.call(jobs.play, *steps, options={"VSITLM_OVERVIEWS": "NO"})
    assert described == gdalio.describe(str(path))
    assert np.array_equal(second, gdalio.overview(str(path), 1))
    assert isinstance(third, gdalio.Failed) and isinstance(listed, gdalio.Failed)


def test_a_real_list_beside_the_file_wins(tmp_path: Path) -> None:
    path = gray(tmp_path)
    pixels = noise(130, 150, seed=9)
    gdalio.make_jp2(tmp_path / "other.jp2", pixels, **{**TILED, "RESOLUTIONS": 1})
    (tmp_path / "other.jp2").rename(f"{path}.ovr")
    for place in (str(path), f"/vsitlm/{path}"):
        assert count(place) == 1
        assert np.array_equal(gdalio.overview(place, 0), pixels)


@pytest.mark.parametrize("form", ["/vsitlm/{}?a=1&b=c/d.jp2", "/vsitlm/vsicurl?url={}%3Fa%3D1%26b%3Dc%2Fd.jp2"])
def test_urls_with_a_query_string_have_overviews(form: str, site: Site, tmp_path: Path) -> None:
    path = gray(tmp_path)
    url = site.put(path, f"{tmp_path.name}/{path.name}")
    place = form.format(url if form.endswith("/d.jp2") and "url=" not in form else urllib.parse.quote(url, safe=""))
    assert count(place) == 2
    assert np.array_equal(gdalio.overview(place, 1), gdalio.overview(str(path), 1))


@pytest.mark.parametrize("query", ["", "?a=1"], ids=["plain", "query"])
def test_paths_given_by_url_have_overviews(query: str, site: Site, tmp_path: Path) -> None:
    path = gray(tmp_path)
    for place in (site.put(path, f"{tmp_path.name}/{path.name}") + query, str(path)):
        assert count(f"/vsitlm?url={urllib.parse.quote(place, safe='')}") == 2


@pytest.mark.parametrize("form", ["/vsitlm/vsicurl/", "/vsitlm//vsicurl/"])
def test_paths_by_vsicurl_have_overviews_unless_there_is_a_query_string(form: str, site: Site, tmp_path: Path) -> None:
    path = gray(tmp_path)
    url = site.put(path, f"{tmp_path.name}/{path.name}")
    with gdalio.configured(ALL):
        assert count(f"{form}{url}") == 3
    # GDAL looks for nothing beside a path with "/vsicurl/" and "?" in it: the file's own overviews serve.
    assert count(f"{form}{url}?a=1") == 2
    assert np.array_equal(gdalio.overview(f"{form}{url}?a=1", 1), gdalio.overview(str(path), 1))


SIZES = {
    "one tile": ((687, 687), []),
    "one small tile": ((343, 343), []),
    "tiny": ((20, 20), []),
    "one large tile": ((1100, 900), []),
    "tiles of an odd size": ((300, 400), ["-t", "101,101"]),
    "tiles of a size that is odd once halved": ((300, 400), ["-t", "102,102"]),
    "tiles of 8 px": ((150, 140), ["-t", "8,8"]),
    "tiles of 8 px in a wide image": ((24, 1030), ["-t", "8,8"]),
    "small tiles": ((260, 300), ["-t", "64,64"]),
    "tiles": ((520, 700), ["-t", "256,256"]),
    "a tile larger than the image": ((300, 200), ["-t", "512,512"]),
    "a tile wider than the image": ((600, 200), ["-t", "256,256"]),
    "128 px": ((128, 128), ["-t", "64,64"]),
    "129 px": ((129, 128), ["-t", "64,64"]),
}
"""Rows and columns, and how they are tiled."""


def overview_sizes(path: str) -> list[tuple[int, int]]:
    """Columns and rows of every overview."""
    return [gdalio.describe_overview(path, number)["size"] for number in range(count(path))]


@pytest.mark.parametrize("levels", range(7))
@pytest.mark.parametrize("kind", SIZES)
def test_the_list_is_that_of_the_plain_file(kind: str, levels: int, tmp_path: Path) -> None:
    (height, width), tiles = SIZES[kind]
    smallest = min(height, width, *(int(side) for side in tiles[-1:] and tiles[-1].split(",")))
    if 1 << levels > smallest:
        pytest.skip("OpenJPEG does not code so many levels of so few pixels")
    pixels = noise(height, width, dtype="uint8")
    path = opj.compress(tmp_path / "listed.jp2", pixels, *tiles, "-n", str(levels + 1), "-PLT")
    place = f"/vsitlm/{path}"
    plain, ours = gdalio.describe(str(path)), gdalio.describe(place)
    assert ours == plain
    assert overview_sizes(place) == overview_sizes(str(path))
    for divisor in (2, 3, 5) if levels in (2, 6) else (3,):
        shape = (-(-height // divisor), -(-width // divisor))
        assert np.array_equal(gdalio.read(place, shape=shape), gdalio.read(str(path), shape=shape)), divisor
