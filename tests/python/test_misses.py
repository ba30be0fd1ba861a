"""Files that no index row names, rows that are not of their file, and what is learned."""

from __future__ import annotations

import os
from pathlib import Path

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import ONE_TILE, TILE, Sample, Site, band_path, make_index, noise, only_once

pytestmark = only_once


@pytest.fixture
def fresh(site: Site, sample: Sample, tmp_path: Path) -> Path:
    """A copy of the sample that is served at a place of its own, and can be replaced."""
    copy = site.folder / tmp_path.name / band_path()
    copy.parent.mkdir(parents=True)
    copy.write_bytes(sample.path.read_bytes())
    return copy


@pytest.fixture
def url(site: Site, fresh: Path) -> str:
    """Where it is served."""
    return site.url(str(fresh.relative_to(site.folder)))


@pytest.fixture
def row(fresh: Path, url: str, tmp_path: Path) -> dict[str, str]:
    """An index with its row, made from its URL."""
    return {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url))}


def test_on_miss_fail_refuses_and_says_what_to_do(url: str, fresh: Path) -> None:
    failure = apart.call(jobs.play, ("read", f"/vsitlm/{url}"), options={"VSITLM_ON_MISS": "fail"})[0]
    assert isinstance(failure, gdalio.Failed)
    for word in (fresh.name, "VSITLM_ON_MISS=fail", "vsitlm index"):
        assert word in str(failure)


def test_on_miss_pass_serves_the_bytes_as_they_are(url: str, fresh: Path, sample: Sample) -> None:
    path = f"/vsitlm/{url}"
    copied, pixels = apart.call(
        jobs.play, ("copy", path, 1 << 16), ("read", path, ONE_TILE), options={"VSITLM_ON_MISS": "pass"}
    )
    assert copied == fresh.read_bytes()
    assert np.array_equal(pixels, sample.window(ONE_TILE))


def test_on_miss_is_held_against_its_values(url: str) -> None:
    failure = apart.call(jobs.play, ("read", f"/vsitlm/{url}"), options={"VSITLM_ON_MISS": "scna"})[0]
    assert "VSITLM_ON_MISS=scna" in str(failure) and "scan, pass or fail" in str(failure)


def test_what_a_scan_learns_serves_the_next_process(site: Site, url: str, sample: Sample, tmp_path: Path) -> None:
    options = {"VSITLM_CACHE_DIR": str(tmp_path / "learned")}
    first = apart.call(jobs.read, f"/vsitlm/{url}", ONE_TILE, options=options)
    site.reset()
    second = apart.call(jobs.read, f"/vsitlm/{url}", ONE_TILE, options=options)
    assert site.stats()["requests"] == 1
    assert np.array_equal(first, sample.window(ONE_TILE)) and np.array_equal(second, first)


def test_without_a_store_only_the_process_remembers(site: Site, url: str, tmp_path: Path) -> None:
    path = f"/vsitlm/{url}"
    options = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    apart.call(jobs.play, ("describe", path), ("describe", path), options=options)
    once = site.stats()["requests"]
    assert once > 1 and not list(tmp_path.rglob("*.parquet"))
    apart.call(jobs.describe, path, options=options)
    assert site.stats()["requests"] == 2 * once


def test_a_store_that_cannot_be_written_or_read_does_no_harm(url: str, sample: Sample, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    options = {"VSITLM_CACHE_DIR": str(blocked)}
    assert np.array_equal(apart.call(jobs.read, f"/vsitlm/{url}", ONE_TILE, options=options), sample.window(ONE_TILE))
    options = {"VSITLM_CACHE_DIR": str(tmp_path / "learned")}
    apart.call(jobs.describe, f"/vsitlm/{url}", options=options)
    for file in (tmp_path / "learned").rglob("*.parquet"):
        file.write_bytes(file.read_bytes()[:-100])
    assert np.array_equal(apart.call(jobs.read, f"/vsitlm/{url}", ONE_TILE, options=options), sample.window(ONE_TILE))


@pytest.mark.parametrize("knows", ["index", "learned"])
@pytest.mark.parametrize("change", ["size", "etag"])
def test_a_replaced_file_is_one_clear_error_and_then_read_anew(
    request: pytest.FixtureRequest, url: str, fresh: Path, sample: Sample, tmp_path: Path, knows: str, change: str
) -> None:
    if knows == "index":
        options = request.getfixturevalue("row")
    else:
        options = {"VSITLM_CACHE_DIR": str(tmp_path / "learned")}
        apart.call(jobs.describe, f"/vsitlm/{url}", options=options)
    pixels = sample.pixels
    was = fresh.stat()
    if change == "size":
        pixels = noise(3 * TILE - 100, 3 * TILE - 36, seed=2)
        gdalio.make_jp2(fresh, pixels, BLOCKXSIZE=TILE, BLOCKYSIZE=TILE, RESOLUTIONS=5)
        values = [str(was.st_size), str(fresh.stat().st_size)]
    else:
        os.utime(fresh, ns=(was.st_atime_ns, was.st_mtime_ns + 5_000_000_000))
        values = [f"{each.st_mtime_ns:x}" for each in (was, fresh.stat())]
    path = f"/vsitlm/{url}"
    options = options | {"GDAL_NUM_THREADS": "1"}
    done = apart.outcome(jobs.play, ("read", path, ONE_TILE), ("last",), ("read", path, ONE_TILE), options=options)
    failure, last, right = done.value
    assert isinstance(failure, gdalio.Failed), done.output
    assert fresh.name in last and all(value in last for value in values), last
    left, top, width, height = ONE_TILE
    assert np.array_equal(right, pixels[:, top : top + height, left : left + width])


def test_a_row_made_elsewhere_costs_one_look_at_the_file(site: Site, url: str, sample: Sample, tmp_path: Path) -> None:
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", sample.path))}
    path = f"/vsitlm/{url}"
    site.reset()
    apart.call(jobs.play, ("describe", path), ("describe", path), options=options)
    assert site.stats()["requests"] == 1 and site.stats()["bytes"] <= 1
    site.reset()
    pixels = apart.call(jobs.read, path, ONE_TILE, options=options)
    assert site.stats()["requests"] == 2
    assert np.array_equal(pixels, sample.window(ONE_TILE))


def test_a_row_made_elsewhere_from_another_file_is_set_aside_at_open(
    url: str, fresh: Path, sample: Sample, tmp_path: Path
) -> None:
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", sample.path))}
    pixels = noise(700, 700, seed=3)
    gdalio.make_jp2(fresh, pixels, BLOCKXSIZE=TILE, BLOCKYSIZE=TILE)
    assert np.array_equal(apart.call(jobs.read, f"/vsitlm/{url}", options=options), pixels)


@pytest.mark.parametrize("verify, made_here, requests", [("OPEN", True, 1), ("AUTO", True, 0), ("READ", False, 0)])
def test_verify_says_when_a_row_is_held_against_the_file(
    site: Site,
    url: str,
    row: dict[str, str],
    sample: Sample,
    tmp_path: Path,
    verify: str,
    made_here: bool,
    requests: int,
) -> None:
    if not made_here:
        row = {"VSITLM_INDEX": str(make_index(tmp_path / "elsewhere.parquet", sample.path))}
    site.reset()
    apart.call(jobs.describe, f"/vsitlm/{url}", options=row | {"VSITLM_VERIFY": verify})
    assert site.stats()["requests"] == requests
