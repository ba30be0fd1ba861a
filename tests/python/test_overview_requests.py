"""What overviews ask of the server: of each tile the packets that they need, by one GET, and nothing else."""

from __future__ import annotations

import urllib.parse
from pathlib import Path

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import Sample, Site, make_index, noise, only_once, vsitlm
from test_overviews import count, view

EIGHTH = (180, 188)
"""Rows and columns of the sample at 1/8."""
BY_TILES = "0"
"""VSITLM_OVERVIEW_PREFETCH for views that are read tile by tile."""

def assert_each_tile_once(asked: list[tuple[int, int]], sample: Sample, tiles: set[int], share: float) -> None:
    """One GET for each of these tile-parts, from its beginning on, for no more than a share of it."""
    parts = {offset: (tile, length) for tile, offset, length in sample.stream.tile_parts}
    assert all(offset in parts for offset, _ in asked), asked
    assert sorted(parts[offset][0] for offset, _ in asked) == sorted(tiles)
    for offset, length in asked:
        assert length <= share * parts[offset][1]


def test_the_list_of_a_known_file_asks_nothing(site: Site, sample: Sample, known: dict[str, str]) -> None:
    path = f"/vsitlm/{site.url(sample.name)}"
    steps = [("describe", path), ("copy", f"{path}.ovr", 4096), ("describe", view(site.url(sample.name), 4))]
    described, listed, reduced = apart.call(jobs.play, *steps, options=known)
    assert len(described["overviews"][0]) == 3 and b"VRTDataset" in listed
    assert reduced["size"] == (375, 359)
    assert site.stats()["requests"] == 0


def test_a_whole_scene_is_one_small_get_a_tile(site: Site, sample: Sample, known: dict[str, str]) -> None:
    path = f"/vsitlm/{site.url(sample.name)}"
    pixels = apart.call(jobs.read, path, None, EIGHTH, options=known)
    assert np.array_equal(pixels, gdalio.read(str(sample.path), shape=EIGHTH))
    assert_each_tile_once(site.ranges(), sample, set(range(9)), 1 / 40)
    stats = site.stats()
    assert (stats["requests"], stats["heads"]) == (9, 0)
    assert stats["bytes"] <= sample.stream.size / 40


@pytest.mark.parametrize("number, share", [(0, 0.3), (1, 0.09)], ids=["1/2", "1/4"])
def test_a_window_of_an_overview_is_one_get(
    site: Site, sample: Sample, known: dict[str, str], number: int, share: float
) -> None:
    side = 512 >> (number + 1)
    window = (side + 5, side + 4, 60, 50)  # in the tile in the middle
    options = known | {"VSITLM_OVERVIEW_PREFETCH": BY_TILES}
    pixels = apart.call(jobs.overview, f"/vsitlm/{site.url(sample.name)}", number, window, options=options)
    assert np.array_equal(pixels, gdalio.overview(str(sample.path), number, window))
    assert_each_tile_once(site.ranges(), sample, {4}, share)
    assert site.stats()["requests"] == 1


def test_a_view_that_is_small_comes_whole_with_its_first_read(
    site: Site, sample: Sample, known: dict[str, str]
) -> None:
    path = f"/vsitlm/{site.url(sample.name)}"
    steps = [("overview", path, 2, (70, 70, 20, 20)), ("overview", path, 2), ("overview", path, 2, (0, 0, 20, 20))]
    first, whole, _ = apart.call(jobs.play, *steps, options=known)
    assert np.array_equal(first, whole[:, 70:90, 70:90])
    assert_each_tile_once(site.ranges(), sample, set(range(9)), 1 / 40)


@pytest.mark.parametrize("threads", ["1", "ALL_CPUS"])
@pytest.mark.parametrize("prefetch", [BY_TILES, "4MB"])
def test_a_large_view_asks_for_each_tile_once(
    site: Site, sample: Sample, known: dict[str, str], prefetch: str, threads: str
) -> None:
    options = known | {"VSITLM_OVERVIEW_PREFETCH": prefetch, "GDAL_NUM_THREADS": threads}
    pixels = apart.call(jobs.overview, f"/vsitlm/{site.url(sample.name)}", 0, options=options)
    assert np.array_equal(pixels, gdalio.overview(str(sample.path), 0))
    assert_each_tile_once(site.ranges(), sample, set(range(9)), 0.3)
    assert site.stats()["requests"] == 9


@only_once
@pytest.mark.parametrize("most", [1, 2, 5])
def test_no_more_connections_than_allowed(site: Site, sample: Sample, indexed: dict[str, str], most: int) -> None:
    options = indexed | {"VSITLM_MAX_CONNECTIONS": str(most)}
    site.control(rtt_ms=30)  # so that requests overlap where they may
    try:
        apart.call(jobs.overview, f"/vsitlm/{site.url(sample.name)}", 2, options=options)
        stats = site.stats()
    finally:
        site.control(rtt_ms=0)
    assert stats["requests"] == 9 and stats["max_inflight"] <= most


def test_overviews_in_the_index_ask_nothing(site: Site, sample: Sample, tmp_path: Path) -> None:
    url, index = site.put(sample.path, sample.name), tmp_path / "index.parquet"
    done = vsitlm("index", url, "-o", index, "--embed-overviews", "4")
    assert done.returncode == 0 and done.stderr == ""
    site.reset()
    path, options = f"/vsitlm/{url}", {"VSITLM_INDEX": str(index)}
    steps = [("describe", path), *(("overview", path, number) for number in (1, 2)), ("read", path, None, None, EIGHTH)]
    _, fourth, eighth, shaped = apart.call(jobs.play, *steps, options=options)
    assert site.stats()["requests"] == 0
    assert np.array_equal(fourth, gdalio.overview(str(sample.path), 1))
    assert np.array_equal(eighth, gdalio.overview(str(sample.path), 2)) and np.array_equal(eighth, shaped)
    assert np.array_equal(apart.call(jobs.overview, path, 0, options=options), gdalio.overview(str(sample.path), 0))
    assert_each_tile_once(site.ranges(), sample, set(range(9)), 0.3)


def test_overviews_of_an_unknown_file_cost_no_more_than_its_scan(site: Site, sample: Sample) -> None:
    path = f"/vsitlm/{site.put(sample.path, sample.name)}"
    site.reset()
    pixels = apart.call(jobs.overview, path, 2)
    assert np.array_equal(pixels, gdalio.overview(str(sample.path), 2))
    stats = site.stats()
    # A look at each tile-part finds where its resolutions end too.
    assert stats["requests"] <= 18 and stats["heads"] == 0
    assert stats["bytes"] <= (256 << 10) + 9 * 1024 + sample.stream.size / 40


@pytest.fixture(params=["v1", "own TLM"])
def without_ends(
    request: pytest.FixtureRequest, site: Site, sample: Sample, index: Path, tmp_path: Path
) -> tuple[str, dict[str, str]]:
    """A file that is known without its resolutions' ends: its path, and the options by which it is known."""
    cache = {"VSITLM_CACHE_DIR": str(tmp_path / "learned")}
    if request.param == "v1":
        pytest.importorskip("pyarrow")
        import pyarrow.parquet as parquet

        columns = ["product_id", "band_id", "path", "index"]
        parquet.write_table(parquet.read_table(index, columns=columns), tmp_path / "v1.parquet")
        # Made elsewhere, for what it knows: READ spares the look at the file when it is opened.
        known = {"VSITLM_INDEX": str(tmp_path / "v1.parquet"), "VSITLM_VERIFY": "READ"}
        return f"/vsitlm/{site.put(sample.path, sample.name)}", cache | known
    done = vsitlm("inject", sample.path, tmp_path / "own.jp2")
    assert done.returncode == 0, done.stderr
    return f"/vsitlm/{site.put(tmp_path / 'own.jp2', f'{tmp_path.name}/own.jp2')}", cache


def test_what_a_row_lacks_is_found_once_for_all_processes(
    site: Site, sample: Sample, without_ends: tuple[str, dict[str, str]]
) -> None:
    path, options = without_ends
    right = gdalio.overview(str(sample.path), 2)
    site.reset()
    apart.call(jobs.copy, path, 12, options=options)
    opening = site.stats()["requests"]
    site.reset()
    assert np.array_equal(apart.call(jobs.overview, path, 2, options=options), right)
    first = site.stats()
    # The headers of the tile-parts, then the packets.
    assert first["requests"] <= opening + 18 and first["heads"] == 0
    assert first["bytes"] <= opening * (256 << 10) + 9 * 1024 + sample.stream.size / 40
    site.reset()
    assert np.array_equal(apart.call(jobs.overview, path, 2, options=options), right)
    assert site.stats()["requests"] <= opening + 9, "what opening it costs, and packets"


def test_only_a_view_that_is_read_costs_the_headers(site: Site, without_ends: tuple[str, dict[str, str]]) -> None:
    path, options = without_ends
    site.reset()
    apart.call(jobs.copy, path, 12, options=options)
    opening = site.stats()["requests"]
    site.reset()
    pixels = apart.call(jobs.read, path, (600, 600, 20, 20), options=options | {"VSITLM_CACHE_DIR": "NO"})
    assert pixels.any() and site.stats()["requests"] <= opening + 2


def test_nothing_is_looked_for_beside_views_and_lists(site: Site, sample: Sample, known: dict[str, str]) -> None:
    url = site.url(sample.name)
    encoded = urllib.parse.quote(url, safe="")
    beside = (".ovr.ovr", ".ovr.msk", ".ovr.aux.xml", ".msk", ".aux.xml", ".msk.ovr")
    names = [f"/vsitlm/{url}{suffix}" for suffix in beside]
    names += [f"{view(url, 2)}{suffix}" for suffix in (".ovr", ".msk", ".aux.xml", ".ovr.ovr")]
    names += [f"/vsitlm?overview=2&url={encoded}.ovr", f"/vsitlm?url={encoded}.ovr.ovr", f"/vsitlm?url={encoded}.aux.xml"]
    for failure in apart.call(jobs.play, *(("copy", name, 100) for name in names), options=known):
        assert isinstance(failure, gdalio.Failed)
    assert site.stats()["requests"] == 0


FACTORS = "the factors are 2, 4, 8"


@pytest.mark.parametrize(
    "factor, words",
    [
        ("3", FACTORS),
        ("16", FACTORS),
        ("0", FACTORS),
        ("1", FACTORS),
        ("4294967295", FACTORS),
        ("2147483648", FACTORS),
        ("99999999999999999999", "overview= takes a factor"),
        ("-2", "overview= takes a factor"),
        ("two", "overview= takes a factor"),
        ("", "overview= takes a factor"),
    ],
)
def test_a_factor_that_does_not_exist_is_told(sample: Sample, factor: str, words: str) -> None:
    path = view(sample.path, 2).replace("overview=2", f"overview={factor}")
    failure, good = apart.call(jobs.play, ("read", path), ("overview", f"/vsitlm/{sample.path}", 2))
    assert isinstance(failure, gdalio.Failed) and words in str(failure) and sample.path.name in str(failure)
    assert np.array_equal(good, gdalio.overview(str(sample.path), 2))


def test_a_view_of_what_is_no_jp2_is_told(site: Site, sample: Sample, tmp_path: Path) -> None:
    good = sample.path.read_bytes()
    contents = {
        "nothing.jp2": b"",
        "text.jp2": b"<html>" * 1000,
        "cut.jp2": good[:3000],
        "tiff.tif": b"II*\0" + bytes(5000),
        "noise.bin": np.random.default_rng(7).bytes(9000),
    }
    places = [tmp_path / "absent.jp2", site.url(f"{tmp_path.name}/absent.jp2"), tmp_path]
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        places += [tmp_path / name, site.put_bytes(f"{tmp_path.name}/{name}", content)]
    steps = [step for place in places for step in (("read", view(place, 2)), ("copy", f"/vsitlm/{place}.ovr", 100))]
    done = apart.outcome(jobs.play, *steps, ("overview", f"/vsitlm/{sample.path}", 2))
    assert done.error is None and done.returncode == 0, done.output
    *failures, pixels = done.value
    assert all(isinstance(failure, gdalio.Failed) for failure in failures), failures
    for place, failure in zip(places, failures[::2]):
        assert Path(str(place)).name in str(failure), failure
    assert np.array_equal(pixels, gdalio.overview(str(sample.path), 2))
    assert "panic" not in done.output and "met a bug" not in done.output


def test_where_unknown_files_pass_there_are_no_views(site: Site, sample: Sample) -> None:
    url = site.put(sample.path, sample.name)
    steps = [("describe", f"/vsitlm/{url}"), ("copy", f"/vsitlm/{url}.ovr", 100), ("read", view(url, 2))]
    described, listed, failure = apart.call(jobs.play, *steps, options={"VSITLM_ON_MISS": "pass"})
    assert described == gdalio.describe(str(sample.path))
    assert isinstance(listed, gdalio.Failed)
    assert isinstance(failure, gdalio.Failed) and "there is no such overview" in str(failure)


def refuse_tile(site: Site, sample: Sample, number: int) -> dict[str, str]:
    """Makes the server refuse a tile; options by which that is told at once, and requests follow each other."""
    _, offset, _ = sample.stream.tile_parts[number]
    site.control(fail_path=f"/{sample.name}", fail_range=f"{offset + 100}-{offset + 200}")
    return {"GDAL_HTTP_MAX_RETRY": "0", "GDAL_NUM_THREADS": "1", "VSITLM_MAX_CONNECTIONS": "1"}


@only_once
def test_a_request_that_fails_for_good_is_an_error_and_not_wrong_pixels(
    site: Site, sample: Sample, indexed: dict[str, str]
) -> None:
    path = f"/vsitlm/{site.url(sample.name)}"
    options = indexed | refuse_tile(site, sample, 5)
    failure, last = apart.call(jobs.play, ("overview", path, 2), ("last",), options=options)
    assert isinstance(failure, gdalio.Failed) and sample.path.name in last and "503" in last


@only_once
def test_a_tile_that_fails_fails_no_other(site: Site, sample: Sample, indexed: dict[str, str]) -> None:
    path, window = f"/vsitlm/{site.url(sample.name)}", (130, 130, 40, 40)
    options = indexed | refuse_tile(site, sample, 5)
    pixels = apart.call(jobs.play, ("overview", path, 2, window), options=options)[0]
    assert np.array_equal(pixels, gdalio.overview(str(sample.path), 2, window)), pixels


@only_once
def test_a_file_that_was_replaced_gives_no_wrong_pixels(site: Site, sample: Sample, tmp_path: Path) -> None:
    name = f"{tmp_path.name}/{sample.path.name}"
    url = site.put(sample.path, name)
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url)), "GDAL_NUM_THREADS": "1"}
    pixels = noise(1000, 1100, seed=4)
    other = gdalio.make_jp2(tmp_path / "other.jp2", pixels, BLOCKXSIZE=512, BLOCKYSIZE=512, RESOLUTIONS=3, PLT="YES")
    site.put(other, name)
    path = f"/vsitlm/{url}"
    failure, right = apart.call(jobs.play, ("overview", path, 1), ("overview", path, 1), options=options)
    assert isinstance(failure, gdalio.Failed) and isinstance(right, np.ndarray)
    assert np.array_equal(right, gdalio.overview(str(other), 1))
