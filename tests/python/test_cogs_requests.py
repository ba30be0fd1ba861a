"""What windows of COGs ask for, and files without a row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apart
import gdalio
import jobs
import numpy as np
import pytest
import tiffs
from cogs import FEW, WINDOW, Cog, twice
from conftest import Site, make_index, only_once


def slowly(
    site: Site, function: Callable[..., Any], *arguments: Any, options: dict[str, str]
) -> tuple[Any, dict[str, Any]]:
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


@pytest.mark.parametrize(
    "kind", ["COG", "larger", "told late, with overviews", "thousands of tiles", "hundreds of strips"]
)
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
