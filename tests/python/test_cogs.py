"""TIFFs and COGs by their index rows: what a direct read gives, nothing asked until the first pixel, and no byte twice."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import apart
import gdalio
import jobs
import numpy as np
import pytest
import tiffs
from conftest import Sample, Site, make_index, only_once, vsitlm
from servers import run_s3
from test_archives import printed

pytestmark = pytest.mark.xdist_group("test_cogs")

each_kind = pytest.mark.parametrize("kind", tiffs.KINDS)
MOST_MEMORY = 600 << 20
"""Bytes that no damaged file makes a process need, GDAL and Python included."""
FEW = 5
"""Requests that find the header of a file: directories lie at its beginning, at its end and before each overview."""
SMALLEST = 4096
"""Files of no more bytes have no others than those that opening takes."""


def indexed(output: Path, *arguments: str | Path, options: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What `vsitlm index --json` says, failures or not."""
    done = vsitlm("index", *arguments, "-o", output, "--json", options=options)
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) == (not told["failed"]), done.stderr
    return told


class Seen(NamedTuple):
    """What was seen of a file of a kind through an index, and of the same file without it."""

    failed: str | None
    """Why it is not in the index."""
    metadata: tuple[str, str]
    pixels: tuple[dict[str, str] | str, dict[str, str] | str]
    before: list[tuple[int, int]]
    """Offset and length of what was asked for until the first pixel was read."""
    asked: list[tuple[int, int]]
    """The same until all were read."""
    size: int


def by_path(stats: dict[str, Any]) -> dict[str, list[tuple[int, int]]]:
    """Offset and length of what was asked of each file."""
    asked: dict[str, list[tuple[int, int]]] = {}
    for entry in stats["ranges"]:
        asked.setdefault(entry["path"], []).append((entry["offset"], entry["length"]))
    return asked


def twice(asked: list[tuple[int, int]]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of requests that have bytes in common."""
    ordered = sorted(asked)
    return [(one, two) for one, two in zip(ordered, ordered[1:]) if sum(one) > two[0]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of every kind that this GDAL makes."""
    folder = tmp_path_factory.mktemp("tiffs")
    return {name: tiffs.make(name, folder) for name in tiffs.possible()}


@pytest.fixture(scope="module")
def seen(served: Site, files: dict[str, Path], folder: Path) -> Callable[[str], Seen]:
    """What was seen of a kind; all of them are indexed by one command and read by one process."""
    served.control(clear=1)
    urls = [served.put(path, f"tiffs/{path.name}") for path in files.values()]
    told = indexed(folder / "kinds.parquet", *urls)
    failed = {each["file"]: each["error"] for each in told["failed"]}
    served.reset()
    # Bytes between ranges that are fetched as one are not kept: they may be asked for again.
    options = {"VSITLM_INDEX": str(folder / "kinds.parquet"), "VSITLM_MERGE_GAP": "8"}
    paths, stats = [f"/vsitlm/{url}" for url in urls], f"{served.server.url}/__stats"
    ours = apart.call(tiffs.look, paths, stats, options=options)
    after = served.stats()
    assert after["heads"] == 0
    before, asked = by_path(ours.before), by_path(after)
    # The links have nothing beside them, and so no overviews there.
    direct = apart.call(tiffs.look, [str(served.folder / "tiffs" / path.name) for path in files.values()])
    found: dict[str, Seen] = {}
    for number, (name, path) in enumerate(files.items()):
        place = f"/tiffs/{path.name}"
        found[name] = Seen(
            failed.get(urls[number]),
            (ours.metadata[number], direct.metadata[number]),
            (ours.pixels[number], direct.pixels[number]),
            before.get(place, []),
            asked.get(place, []),
            path.stat().st_size,
        )
    return lambda kind: found.get(kind) or pytest.skip("this GDAL does not make it")


@each_kind
def test_every_kind_is_indexed_and_opens_without_a_request(kind: str, seen: Callable[[str], Seen]) -> None:
    file = seen(kind)
    assert file.failed is None
    assert file.before == []
    assert file.metadata[0] == file.metadata[1]


@each_kind
def test_every_kind_has_the_pixels_of_a_direct_read(kind: str, seen: Callable[[str], Seen]) -> None:
    ours, direct = seen(kind).pixels
    assert isinstance(direct, dict) and "image" in direct
    assert ours == direct


@each_kind
def test_of_no_kind_a_byte_is_asked_for_twice(kind: str, seen: Callable[[str], Seen]) -> None:
    file = seen(kind)
    assert file.asked or file.size <= SMALLEST or kind == "nothing but sparse"
    assert twice(file.asked) == []


def test_every_compression_that_this_gdal_lists_has_a_kind() -> None:
    known = {name for kind in tiffs.KINDS.values() for name in kind.compressions}
    assert tiffs.compressions() - known <= {"JXL_DNG_1_7"}


def test_every_kind_is_read_from_disk(files: dict[str, Path], tmp_path: Path) -> None:
    index = tmp_path / "index.parquet"
    told = indexed(index, *files.values())
    assert (told["rows"], told["failed"]) == (len(files), [])
    options = {"VSITLM_INDEX": str(index), "VSITLM_ON_MISS": "FAIL"}
    ours = apart.call(tiffs.look, [f"/vsitlm/{path}" for path in files.values()], options=options)
    direct = apart.call(tiffs.look, [str(path) for path in files.values()])
    for number, name in enumerate(files):
        assert ours.metadata[number] == direct.metadata[number], name
        assert ours.pixels[number] == direct.pixels[number], name


def test_overviews_in_a_file_beside_are_found_where_they_are_wanted(site: Site, files: dict[str, Path]) -> None:
    path = files["overviews beside"]
    url = site.put(path, f"beside/{path.name}")
    site.put(path.with_name(path.name + ".ovr"), f"beside/{path.name}.ovr")
    number = len(tiffs.FACTORS) - 1
    right = gdalio.overview(str(path), number)
    for place, options in ((url, {"VSITLM_SIDECARS": "YES"}), (path, {})):
        assert np.array_equal(apart.call(jobs.overview, f"/vsitlm/{place}", number, options=options), right)


def test_each_page_of_a_file_is_read(site: Site, files: dict[str, Path], tmp_path: Path) -> None:
    path = files["two pages"]
    url = site.put(path, f"pages/{path.name}")
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url))}
    site.reset()
    pages = [f"GTIFF_DIR:{page}:/vsitlm/{url}" for page in (1, 2)]
    steps = [("describe", pages[1]), ("ask", f"{site.server.url}/__stats"), *(("read", page) for page in pages)]
    _, stats, *pixels = apart.call(jobs.play, *steps, options=options)
    # Of a page GDAL looks for an .xml beside the file, whatever a list of siblings says.
    assert json.loads(stats)["requests"] <= 2 and json.loads(stats)["bytes"] == 0
    assert all(np.array_equal(page, gdalio.read(str(path))) for page in pixels)


# Requests of a window.

WINDOW = (100, 90, 200, 150)
"""A window over five by four tiles of 64 px."""
TILED = tiffs.Kind(shape=(1, 600, 590), options=tiffs.TILES, nodata=7)
"""Tiles of one size in bytes: with another nodata of one digit, or with other pixels, the file has the same size."""


class Cog(NamedTuple):
    """A COG that is served, and the options by which it is known."""

    path: Path
    url: str
    options: dict[str, str]


@pytest.fixture(scope="module")
def cog(served: Site, folder: Path) -> Cog:
    """A COG of ten by ten tiles of 64 px, and overviews."""
    kind = tiffs.cog(tiffs.Kind(shape=(1, 600, 590)), BLOCKSIZE=64)
    path = tiffs.make_kind(kind, folder / "cog.tif")
    url = served.put(path, "cogs/cog.tif")
    return Cog(path, url, {"VSITLM_INDEX": str(make_index(folder / "cog.parquet", url))})


def slowly(site: Site, function: Callable[..., Any], *arguments: Any, options: dict[str, str]) -> tuple[Any, dict[str, Any]]:
    """What a function gives, and what it asked for, where requests overlap if they may."""
    site.control(rtt_ms=100)
    try:
        return apart.call(function, *arguments, options=options), site.stats()
    finally:
        site.control(rtt_ms=0)


def has(asked: list[tuple[int, int]], offset: int, length: int) -> bool:
    """Whether one of these ranges has all of another."""
    return any(start <= offset and offset + length <= start + long for start, long in asked)


LATER = {"the same": WINDOW, "inside": (130, 100, 20, 20), "around": (50, 70, 300, 220)}


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
def test_what_was_fetched_serves_later_windows(site: Site, cog: Cog, later: gdalio.Window) -> None:
    path, options = f"/vsitlm/{cog.url}", cog.options | {"VSITLM_MERGE_GAP": "8"}
    _, pixels = apart.call(jobs.play, ("read", path, WINDOW), ("read", path, later), options=options)
    assert np.array_equal(pixels, gdalio.read(str(cog.path), later))
    assert twice(site.ranges()) == []


@pytest.mark.parametrize("gap", ["64", "AUTO"])
def test_a_window_of_a_cog_is_one_round_trip(site: Site, cog: Cog, gap: str) -> None:
    image = tiffs.directories(cog.path.read_bytes())[0]
    rows = tiffs.tiles_of(image, WINDOW)
    assert len(rows) == 3 and {len(row) for row in rows} == {4}
    options = cog.options | {"VSITLM_MERGE_GAP": gap}
    pixels, stats = slowly(site, jobs.read, f"/vsitlm/{cog.url}", WINDOW, options=options)
    assert np.array_equal(pixels, gdalio.read(str(cog.path), WINDOW))
    tiles = [tile for row in rows for tile in row]
    # Where a request is worth a few bytes, neighbours come side by side, else those of a row together.
    assert 1 <= stats["requests"] <= (len(tiles) if gap == "64" else len(rows)) and stats["heads"] == 0
    assert stats["max_inflight"] == stats["requests"], "one round trip"
    asked = [(entry["offset"], entry["length"]) for entry in stats["ranges"]]
    assert all(has(asked, offset, length) for offset, length in tiles)
    if gap == "64":
        assert stats["bytes"] <= sum(length for _, length in tiles) + 64 * len(tiles)


def test_a_window_of_one_tile_is_one_get(site: Site, cog: Cog) -> None:
    window = (70, 70, 40, 40)
    ((tile,),) = tiffs.tiles_of(tiffs.directories(cog.path.read_bytes())[0], window)
    pixels = apart.call(jobs.read, f"/vsitlm/{cog.url}", window, options=cog.options)
    assert np.array_equal(pixels, gdalio.read(str(cog.path), window))
    stats = site.stats()
    assert stats["requests"] == 1 and tile[1] <= stats["bytes"] <= tile[1] + 64


def test_a_whole_image_is_few_requests(site: Site, cog: Cog) -> None:
    pixels, stats = slowly(site, jobs.read, f"/vsitlm/{cog.url}", options=cog.options)
    assert np.array_equal(pixels, gdalio.read(str(cog.path)))
    rows = 10
    assert stats["requests"] <= rows and stats["max_inflight"] == stats["requests"]


def test_an_overview_asks_for_its_own_tiles(site: Site, cog: Cog) -> None:
    found = tiffs.directories(cog.path.read_bytes())
    image = next(each for each in found if each.value(tiffs.SUBFILE) & tiffs.OVERVIEW)
    length = sum(image.values[tiffs.TILE_COUNTS])
    pixels, stats = slowly(site, jobs.overview, f"/vsitlm/{cog.url}", 0, options=cog.options)
    assert np.array_equal(pixels, gdalio.overview(str(cog.path), 0))
    assert stats["max_inflight"] == stats["requests"] and length <= stats["bytes"] <= 1.1 * length


def test_planar_bands_are_one_round_trip_as_well(site: Site, files: dict[str, Path], tmp_path: Path) -> None:
    path = files["planar tiles"]
    url = site.put(path, f"planar/{path.name}")
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url)), "VSITLM_MERGE_GAP": "64"}
    site.reset()
    window = (10, 10, 100, 100)
    pixels, stats = slowly(site, jobs.read, f"/vsitlm/{url}", window, options=options)
    assert np.array_equal(pixels, gdalio.read(str(path), window))
    assert stats["requests"] <= 8, "two tiles of two rows of two bands"


@only_once
def test_connections_are_as_many_as_allowed(site: Site, cog: Cog) -> None:
    options = cog.options | {"VSITLM_MERGE_GAP": "64", "VSITLM_MAX_CONNECTIONS": "2"}
    _, stats = slowly(site, jobs.read, f"/vsitlm/{cog.url}", WINDOW, options=options)
    assert stats["requests"] == 3 and stats["max_inflight"] == 2


# Without a row.


@pytest.mark.parametrize("kind", ["COG", "larger", "told late, with overviews", "thousands of tiles", "hundreds of strips"])
def test_a_header_that_is_unknown_is_read_by_few_requests_and_learned(
    kind: str, site: Site, files: dict[str, Path], tmp_path: Path
) -> None:
    path = files[kind]
    url = site.put(path, f"{tmp_path.name}/{path.name}")
    options = {"VSITLM_CACHE_DIR": str(tmp_path / "learned")}
    first = apart.call(tiffs.metadata, f"/vsitlm/{url}", options=options)
    stats = site.stats()
    assert 1 <= stats["requests"] <= FEW and stats["heads"] == 0
    site.reset()
    second = apart.call(tiffs.look, [f"/vsitlm/{url}"], f"{site.server.url}/__stats", options=options)
    assert second.before["requests"] == 0
    assert first == second.metadata[0] == tiffs.metadata(str(site.folder / tmp_path.name / path.name))
    assert second.pixels[0] == tiffs.all_pixels(str(path))


def test_on_miss_fail_names_the_file_and_pass_reads_it(site: Site, cog: Cog) -> None:
    url = site.put(cog.path, "cogs/unknown.tif")
    (failure,) = apart.call(jobs.play, ("read", f"/vsitlm/{url}", WINDOW), options={"VSITLM_ON_MISS": "FAIL"})
    assert isinstance(failure, gdalio.Failed)
    for word in ("unknown.tif", "VSITLM_ON_MISS", "vsitlm index"):
        assert word in str(failure)
    pixels = apart.call(jobs.read, f"/vsitlm/{url}", WINDOW, options={"VSITLM_ON_MISS": "PASS"})
    assert np.array_equal(pixels, gdalio.read(str(cog.path), WINDOW))


# Files that are not what they were.

CHANGES = {
    "pixels": TILED,
    "header": replace(TILED, nodata=9),
    "size": replace(TILED, shape=(1, 500, 590), nodata=9),
}
"""What a file of the kind TILED is replaced by."""


def replaced(path: Path, change: str) -> np.ndarray:
    """Puts another file in place of one, a little later than that is, and gives its pixels."""
    before = path.stat()
    path.unlink()
    tiffs.make_kind(CHANGES[change], path, seed=1)
    after = path.stat()
    assert (after.st_size == before.st_size) == (change != "size")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 5_000_000_000))
    return gdalio.read(str(path))


@pytest.fixture
def fresh(site: Site, tmp_path: Path) -> Path:
    """A file that is served at a place of its own and can be replaced."""
    return tiffs.make_kind(TILED, site.folder / tmp_path.name / "fresh.tif")


@pytest.mark.parametrize("knows", ["index", "learned"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_replaced_file_is_one_clear_error_and_then_right(
    site: Site, fresh: Path, tmp_path: Path, change: str, knows: str
) -> None:
    url = site.url(f"{tmp_path.name}/fresh.tif")
    path = f"/vsitlm/{url}"
    if knows == "index":
        options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url))}
    else:
        options = {"VSITLM_CACHE_DIR": str(tmp_path / "learned")}
        apart.call(jobs.describe, path, options=options)
    was = fresh.stat()
    right = replaced(fresh, change)
    now = fresh.stat()
    steps = [("read", path, WINDOW), ("last",), ("describe", path), ("read", path)]
    done = apart.outcome(jobs.play, *steps, options=options | {"GDAL_NUM_THREADS": "1"})
    assert done.error is None, done.output
    failure, last, about, pixels = done.value
    assert isinstance(failure, gdalio.Failed), done.output
    values = [was.st_size, now.st_size] if change == "size" else [f"{each.st_mtime_ns:x}" for each in (was, now)]
    assert fresh.name in last and all(str(value) in last for value in values), last
    assert about["nodata"] == CHANGES[change].nodata
    assert np.array_equal(pixels, right)


def test_a_local_file_that_is_replaced_is_never_wrong(fresh: Path, tmp_path: Path) -> None:
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", fresh))}
    right = replaced(fresh, "header")
    steps = [("read", f"/vsitlm/{fresh}"), ("describe", f"/vsitlm/{fresh}"), ("read", f"/vsitlm/{fresh}")]
    first, about, second = apart.call(jobs.play, *steps, options=options | {"GDAL_NUM_THREADS": "1"})
    assert isinstance(first, gdalio.Failed) or np.array_equal(first, right)
    assert about["nodata"] == 9 and np.array_equal(second, right)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Another server."""
    site = Site(tmp_path_factory.mktemp("mirror"))
    with site.server:
        yield site


def test_a_row_made_elsewhere_costs_one_look_at_the_file(
    site: Site, mirror: Site, fresh: Path, tmp_path: Path
) -> None:
    index = make_index(tmp_path / "index.parquet", site.url(f"{tmp_path.name}/fresh.tif"))
    path = f"/vsitlm/{mirror.put(fresh, f'{tmp_path.name}/fresh.tif')}"
    site.reset()
    mirror.reset()
    stats = f"{mirror.server.url}/__stats"
    steps = [("describe", path), ("describe", path), ("ask", stats), ("read", path, WINDOW)]
    about, _, asked, pixels = apart.call(jobs.play, *steps, options={"VSITLM_INDEX": str(index)})
    assert json.loads(asked)["requests"] <= 1 and about["nodata"] == 7
    assert np.array_equal(pixels, gdalio.read(str(fresh), WINDOW))
    assert site.stats()["requests"] == 0


@pytest.mark.parametrize("told_late", [False, True], ids=["header first", "header last"])
@pytest.mark.parametrize("change", ["header", "size"])
def test_a_row_made_elsewhere_of_another_file_is_set_aside(
    site: Site, mirror: Site, tmp_path: Path, change: str, told_late: bool
) -> None:
    here, there = (where.folder / tmp_path.name / "fresh.tif" for where in (site, mirror))
    tiffs.make_kind(replace(TILED, told_late=told_late), here)
    tiffs.make_kind(replace(CHANGES[change], told_late=told_late), there, seed=1)
    assert (here.stat().st_size == there.stat().st_size) == (change != "size")
    index = make_index(tmp_path / "index.parquet", site.url(f"{tmp_path.name}/fresh.tif"))
    path = f"/vsitlm/{mirror.url(f'{tmp_path.name}/fresh.tif')}"
    steps = [("describe", path), ("read", path)]
    about, pixels = apart.call(jobs.play, *steps, options={"VSITLM_INDEX": str(index)})
    assert about["nodata"] == 9
    assert np.array_equal(pixels, gdalio.read(str(there)))


# What `vsitlm index` takes.


@only_once
def test_a_folder_of_tiffs_and_jp2s_is_taken(files: dict[str, Path], small: Sample, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    for name in ("COG", "tiles"):
        shutil.copy(files[name], folder / "deep" / files[name].name)
    shutil.copy(files["strips"], folder / "upper.TIFF")
    shutil.copy(small.path, folder / small.path.name)
    (folder / "notes.txt").write_text("neither")
    told = indexed(tmp_path / "index.parquet", folder)
    assert (told["rows"], told["failed"]) == (4, [])
    options = {"VSITLM_INDEX": str(tmp_path / "index.parquet"), "VSITLM_ON_MISS": "FAIL"}
    found = sorted(path for path in folder.rglob("*.*") if path.suffix != ".txt")
    read = apart.call(jobs.play, *[("read", f"/vsitlm/{path}") for path in found], options=options)
    for path, pixels in zip(found, read):
        assert np.array_equal(pixels, gdalio.read(str(path))), path
    assert indexed(tmp_path / "index.parquet", folder)["unchanged"] == 4


@only_once
def test_a_second_run_asks_once_for_each_tiff(site: Site, cog: Cog, tmp_path: Path) -> None:
    index = make_index(tmp_path / "index.parquet", cog.url)
    site.reset()
    assert indexed(index, cog.url)["unchanged"] == 1
    assert site.ranges() == [(0, 1)]
    done = vsitlm("validate", index, "--against", site.folder, "--json")
    assert json.loads(done.stdout)["problems"] == [], done.stderr


SCENE = "LC08_L2SP_196027_20240601_20240610_02_T1"
LANDSAT = f"collection02/level-2/standard/oli-tirs/2024/196/027/{SCENE}"
EARTH_SEARCH = "sentinel-s2-l2a-cogs/31/U/DQ/2024/6"
ITEMS = ("S2B_31UDQ_20240601_0_L2A", "S2A_31UDQ_20240603_0_L2A")
OBJECTS = [f"{LANDSAT}/{SCENE}_SR_B{band}.TIF" for band in (4, 5)] + [f"{EARTH_SEARCH}/{item}/B04.tif" for item in ITEMS]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scene and the items, whose files are of one size and of different pixels."""
    folder = tmp_path_factory.mktemp("cog archive")
    for seed, name in enumerate(OBJECTS):
        tiffs.make_kind(TILED, folder / name, seed)
    (folder / LANDSAT / f"{SCENE}_MTL.json").write_text("{}")
    (folder / LANDSAT / f"{SCENE}_thumb_small.jpeg").write_bytes(b"no JPEG")
    return folder


@pytest.fixture(scope="module")
def s3(archive: Path) -> Iterator[dict[str, str]]:
    """Options by which the S3 server is found, where the requester pays."""
    with run_s3(archive, "paying", "eodata") as told:
        at = {"AWS_S3_ENDPOINT": f"http://127.0.0.1:{told['port']}", "AWS_VIRTUAL_HOSTING": "FALSE"}
        yield at | told["reader"] | {"AWS_REQUEST_PAYER": "requester"}


def without_payer(options: dict[str, str]) -> dict[str, str]:
    """The options of one who does not pay."""
    return {name: value for name, value in options.items() if name != "AWS_REQUEST_PAYER"}


def reads_all(archive: Path, index: Path, options: dict[str, str]) -> None:
    """Every object is read by its row, each with its own pixels, and opened without a request."""
    paths = [f"/vsitlm/s3://paying/{name}" for name in OBJECTS]
    known = options | {"VSITLM_INDEX": str(index), "VSITLM_ON_MISS": "FAIL"}
    stats = index.with_suffix(".json")
    apart.call(jobs.play, *[("describe", path) for path in paths], options=known | {"VSITLM_STATS": str(stats)})
    assert not stats.exists() or json.loads(stats.read_text())["total"]["requests"] == 0
    pixels = apart.call(jobs.play, *[("read", path) for path in paths], options=known)
    for name, got in zip(OBJECTS, pixels):
        assert np.array_equal(got, gdalio.read(str(archive / name))), name


@only_once
def test_a_prefix_where_the_requester_pays_is_listed_and_read(
    s3: dict[str, str], archive: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index.parquet"
    prefixes = [f"s3://paying/{name.split('/')[0]}/" for name in OBJECTS[1:3]]
    denied = indexed(index, *prefixes, options=without_payer(s3))
    assert denied["rows"] == 0 and "403" in denied["failed"][0]["error"]
    told = indexed(index, *prefixes, options=s3)
    assert (told["rows"], told["failed"]) == (len(OBJECTS), [])
    reads_all(archive, index, s3)
    path, options = f"/vsitlm/s3://paying/{OBJECTS[0]}", without_payer(s3) | {"VSITLM_INDEX": str(index)}
    (failure,) = apart.call(jobs.play, ("read", path), options=options)
    assert isinstance(failure, gdalio.Failed)
    assert "403" in str(failure) and "AWS_REQUEST_PAYER" in str(failure)


def stac_items() -> dict[str, Any]:
    """Items as the archives have them: Landsat's with other addresses of its files, and those of Earth Search."""
    cog_type = "image/vnd.stac.geotiff; cloud-optimized=true"
    landsat = {
        f"SR_B{band}": {
            "href": f"s3://paying/{LANDSAT}/{SCENE}_SR_B{band}.TIF",
            "type": cog_type,
            "alternate": {"https": {"href": f"https://landsatlook.usgs.gov/data/{LANDSAT}/{SCENE}_SR_B{band}.TIF"}},
        }
        for band in (4, 5)
    }
    landsat["mtl.json"] = {"href": f"s3://paying/{LANDSAT}/{SCENE}_MTL.json", "type": "application/json"}
    landsat["thumbnail"] = {"href": f"s3://paying/{LANDSAT}/{SCENE}_thumb_small.jpeg", "type": "image/jpeg"}
    features = [{"type": "Feature", "id": f"{SCENE}_SR", "properties": {"eo:cloud_cover": 3.5}, "assets": landsat}]
    for item in ITEMS:
        href = f"s3://paying/{EARTH_SEARCH}/{item}/B04.tif"
        asset = {"href": href, "type": "image/tiff; application=geotiff; profile=cloud-optimized"}
        features.append({"type": "Feature", "id": item, "properties": {}, "assets": {"red": asset}})
    return {"type": "FeatureCollection", "features": features}


@only_once
def test_the_tiffs_of_stac_items_are_taken(s3: dict[str, str], archive: Path, tmp_path: Path) -> None:
    items = tmp_path / "items.json"
    items.write_text(json.dumps(stac_items()))
    told = indexed(tmp_path / "index.parquet", items, options=s3)
    assert (told["rows"], told["failed"]) == (len(OBJECTS), [])
    reads_all(archive, tmp_path / "index.parquet", s3)


TOKEN = (
    "?st=2026-01-01T00%3A00%3A00Z&se=2026-01-02T00%3A00%3A00Z&sp=rl&sv=2021-06-08&sr=c"
    "&skoid=a&sktid=b&skt=c&ske=d&sks=b&skv=2021-06-08&sig="
)
"""What Planetary Computer adds to an address, up to the signature."""
SIGNATURES = ("opensesame%2B1", "opensesame%2F2")


def test_signed_addresses_share_a_row_and_are_not_printed(site: Site, cog: Cog, tmp_path: Path) -> None:
    url = site.put(cog.path, f"{tmp_path.name}/signed.tif")
    index = tmp_path / "index.parquet"
    done = vsitlm("index", url + TOKEN + SIGNATURES[0], "-o", index, options={"CPL_DEBUG": "VSITLM"})
    assert done.returncode == 0, done.stderr
    told = vsitlm("info", url + TOKEN + SIGNATURES[1], "--json", options={"VSITLM_INDEX": str(index)})
    assert len(json.loads(told.stdout)["index"]) == 1, told.stderr
    site.reset()
    path, options = f"/vsitlm/{url}{TOKEN}{SIGNATURES[1]}", {"VSITLM_INDEX": str(index), "CPL_DEBUG": "VSITLM"}
    steps = [("describe", path), ("ask", f"{site.server.url}/__stats"), ("read", path, WINDOW)]
    read = apart.outcome(jobs.play, *steps, options=options)
    assert read.error is None, read.output
    assert json.loads(read.value[1])["requests"] == 0
    assert np.array_equal(read.value[2], gdalio.read(str(cog.path), WINDOW))
    site.control(fail_path=f"/{tmp_path.name}/signed.tif", status=403)
    denied = apart.outcome(jobs.play, ("read", path, WINDOW), ("last",), options=options | {"GDAL_NUM_THREADS": "1"})
    assert isinstance(denied.value[0], gdalio.Failed) and "403" in denied.value[1]
    said = [done.stdout, done.stderr, told.stdout, told.stderr]
    said += [printed(read.output), printed(denied.output), denied.value[1]]
    lines = [line for text in said for line in text.splitlines()]
    # GDAL's driver names the file by its path where a block cannot be read.
    assert [line for line in lines if "opensesame" in line and "IReadBlock failed" not in line] == []
    assert b"opensesame" not in index.read_bytes()


# Bad files.


def patched(content: bytes, *changes: tuple[int, bytes]) -> bytes:
    """The file with other bytes at some places."""
    made = bytearray(content)
    for at, new in changes:
        made[at : at + len(new)] = new
    return bytes(made)


def damaged(good: bytes) -> dict[str, bytes]:
    """Files that cannot be indexed, by what is wrong with them; `good` is little-endian and has overviews at its end."""
    found = tiffs.directories(good)
    first, last = found[0], found[-1]
    entry, long, far = first.entries, struct.Struct("<I").pack, struct.pack("<I", 1 << 31)

    def one(tag: int, value: int) -> tuple[int, bytes]:
        """The tag with one value."""
        return entry[tag] + 2, struct.pack("<HII", 4, 1, value)

    def count(tag: int, number: int) -> tuple[int, bytes]:
        """The tag with another number of values."""
        return entry[tag] + 4, long(number)

    many = [one(tiffs.WIDTH, 1 << 19), one(tiffs.LENGTH, 1 << 19), one(tiffs.TILE_WIDTH, 16), one(tiffs.TILE_LENGTH, 16)]
    tiles = len(first.values[tiffs.TILE_OFFSETS])
    files = {
        "nothing": b"",
        "two bytes": b"II",
        "text": b"<html>this is no image</html>\n" * 100,
        "zeros": bytes(100_000),
        "noise": np.random.default_rng(7).bytes(100_000),
        "the head alone": b"II*\0\x08\0\0\0",
        "no directory": patched(good, (4, bytes(4))),
        "a directory past the end": patched(good, (4, far)),
        "a BigTIFF of petabytes": b"II+\0\x08\0\0\0" + struct.pack("<Q", 1 << 60) + good[16:],
        # GDAL reads these two.
        "directories in a loop": patched(good, (last.following, long(first.start))),
        "a directory that follows itself": patched(good, (first.following, long(first.start))),
        "65535 entries": patched(good, (first.start, b"\xff\xff")),
        "offsets past the end": patched(good, (first.places[tiffs.TILE_OFFSETS], far * tiles)),
        "an array past the end": patched(good, (entry[tiffs.TILE_OFFSETS] + 8, far)),
        "four billion offsets": patched(good, count(tiffs.TILE_OFFSETS, 0xFFFFFFFF)),
        "a billion tiles": patched(
            good, *many, count(tiffs.TILE_OFFSETS, 1 << 30), count(tiffs.TILE_COUNTS, 1 << 30)
        ),
        "a billion tiles without offsets": patched(good, *many),
        "tiles of no pixels": patched(good, one(tiffs.TILE_WIDTH, 0)),
        "no pixels": patched(good, one(tiffs.WIDTH, 0)),
    }
    cuts = [3, 7, 9, first.start + 1, first.start + 40, first.following + 2, last.start + 5, last.following + 1]
    cuts += [int(len(good) * share) for share in (0.02, 0.3, 0.7, 0.99)]
    files.update({f"cut at {cut}": good[:cut] for cut in cuts})
    return files


@pytest.fixture(scope="module")
def bad(folder: Path) -> dict[str, Path]:
    """These files, by what is wrong with them."""
    kind = replace(tiffs.of(tiffs.ONE_BAND, ENDIANNESS="LITTLE", **tiffs.TILES), overviews=tiffs.FACTORS)
    good = tiffs.make_kind(kind, folder / "good.tif").read_bytes()
    made = {}
    for number, (what, content) in enumerate(damaged(good).items()):
        made[what] = folder / "bad" / f"bad-{number:02}.tif"
        made[what].parent.mkdir(exist_ok=True)
        made[what].write_bytes(content)
    return made


@only_once
def test_bad_files_are_refused_by_the_command_one_error_each(bad: dict[str, Path], tmp_path: Path) -> None:
    command = [str(apart.VSITLM), "index", *map(str, bad.values()), "-o", str(tmp_path / "x.parquet"), "--json"]
    done = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=apart.environment()
    )
    told = json.loads(done.stdout.read())
    _, status, usage = os.wait4(done.pid, 0)
    done.returncode = os.waitstatus_to_exitcode(status)
    assert done.returncode == 1
    failed = {Path(each["file"]): each["error"] for each in told["failed"]}
    assert len(failed) == len(told["failed"])
    assert [what for what, path in bad.items() if path not in failed] == []
    assert told["rows"] == 0 and all(failed.values())
    assert not any("panic" in error or "met a bug" in error for error in failed.values())
    assert usage.ru_maxrss * 1024 < MOST_MEMORY / 2


def test_bad_files_are_read_as_gdal_reads_them(site: Site, bad: dict[str, Path], tmp_path: Path) -> None:
    """From disk or over HTTP: what is cut before its offsets is an error from disk and black over HTTP, also in GDAL."""
    urls = [site.put(path, f"{tmp_path.name}/{path.name}") for path in bad.values()]
    options = {"GDAL_NUM_THREADS": "1"}  # plain GDAL hides what fails in other threads
    expected = [*bad.values(), *(f"/vsicurl/{url}" for url in urls)]
    plain, usual = apart.call(tiffs.attempts, [str(path) for path in expected], options=options)
    places = [f"/vsitlm/{place}" for place in (*bad.values(), *urls)]
    done = apart.outcome(tiffs.attempts, places, options=options)
    assert done.error is None and done.returncode == 0, done.output
    ours, most = done.value
    wrong = []
    for number, (place, got) in enumerate(zip(places, ours)):
        what = list(bad)[number % len(bad)]
        right = [(each.opens, each.digest) for each in plain[number % len(bad) :: len(bad)]]
        if (got.opens, got.digest) not in right:
            wrong.append(f"{what}: {got} instead of {right} ({place})")
    assert wrong == []
    assert "panic" not in done.output and "met a bug" not in done.output
    assert most < max(MOST_MEMORY, usual + (100 << 20))


# `vsitlm info`.


def info(path: str | Path, options: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What `vsitlm info --json` tells of a file."""
    done = vsitlm("info", path, "--json", options=options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sizes(about: dict[str, Any], *kinds: str) -> list[tuple[int, int]]:
    """Width and height of directories of some kinds."""
    return [(each["width"], each["height"]) for each in about["directories"] if each["kind"] in kinds]


@only_once
def test_info_tells_what_a_cog_is_made_of(cog: Cog) -> None:
    about = info(cog.url, cog.options)
    assert about["bytes"] == cog.path.stat().st_size
    found = tiffs.directories(cog.path.read_bytes())
    assert sizes(about, "image", "overview") == [(each.value(tiffs.WIDTH), each.value(tiffs.LENGTH)) for each in found]
    image = about["directories"][0]
    assert (image["tile"], image["tiles"], image["bits"], image["bands"]) == ([64, 64], 100, 16, 1)
    assert image["bytes"] == sum(found[0].values[tiffs.TILE_COUNTS])
    assert image["compression"] == "LZW" and about["epsg"] == 32631
    assert (about["is_big"], about["is_big_endian"], about["is_cog"], about["against_cog"]) == (False, False, True, [])
    assert [row["fits_size"] for row in about["index"]] == [True]
    text = vsitlm("info", cog.url, options=cog.options).stdout
    for words in ("590 × 600", "100 tiles of 64 × 64", "LZW", "COG", "cog.tif"):
        assert words in text, text
    assert info(cog.path)["index"] is None


@only_once
@pytest.mark.parametrize(
    ("kind", "is_cog"),
    [
        ("COG with DEFLATE", True),
        ("COG with a mask", True),
        ("COG as before the driver", True),
        ("COG in BigTIFF", True),
        ("changed COG", False),
        ("hundreds of strips", False),
        ("larger", False),
        ("a mask and overviews", False),
        ("told late, with overviews", False),
    ],
)
def test_info_tells_whether_a_tiff_is_a_cog_and_why_not(kind: str, is_cog: bool, files: dict[str, Path]) -> None:
    about = info(files[kind])
    assert about["is_cog"] is is_cog, about["against_cog"]
    assert bool(about["against_cog"]) is not is_cog
    found = tiffs.directories(files[kind].read_bytes())
    masks = [each for each in found if each.value(tiffs.SUBFILE) & tiffs.MASK]
    named = [each["kind"] for each in about["directories"]]
    assert len(masks) == sum("mask" in name for name in named) and ("mask" in kind) == bool(masks)
    text = vsitlm("info", files[kind]).stdout
    assert all(reason in text for reason in about["against_cog"]), text


@only_once
def test_info_tells_how_every_kind_is_stored(files: dict[str, Path]) -> None:
    kinds = {"planar tiles": "is_planar", "BigTIFF, big-endian": "is_big", "classic, big-endian": "is_big_endian"}
    for kind, name in kinds.items():
        about = info(files[kind])
        assert {**about, **about["directories"][0]}[name] is True, kind
    assert info(files["sparse"])["directories"][0]["missing"] > 0
    assert info(files["LZW, predictor 2"])["directories"][0]["predictor"] == 2


@only_once
@pytest.mark.parametrize("what", ["text", "nothing", "a directory past the end", "directories in a loop"])
def test_info_refuses_what_is_no_tiff(what: str, bad: dict[str, Path]) -> None:
    done = vsitlm("info", bad[what])
    assert done.returncode == 1 and bad[what].name in done.stderr
