"""What is asked of the server: a GET for each tile that a window touches, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import FOUR_TILES, ONE_TILE, Sample, Site, make_index, noise

PEEK = 1024
"""Bytes past a tile-part that may come with it: decoders look at the next marker."""


def parts_of(sample: Sample, *tiles: int) -> list[tuple[int, int]]:
    """Offset and length of the tile-parts of some tiles."""
    return [(offset, length) for tile, offset, length in sample.stream.tile_parts if tile in tiles]


def assert_these_parts(asked: list[tuple[int, int]], parts: list[tuple[int, int]]) -> None:
    assert len(asked) == len(parts), asked
    for (offset, length), (start, part) in zip(sorted(asked), parts):
        assert offset == start and part <= length <= part + PEEK


def test_opening_a_known_file_asks_nothing(site: Site, sample: Sample, known: dict[str, str]) -> None:
    metadata = apart.call(jobs.describe, f"/vsitlm/{site.url(sample.name)}", options=known)
    assert metadata["size"] == sample.pixels.shape[:0:-1]
    assert site.stats()["requests"] == 0


@pytest.mark.parametrize("form", ["/vsitlm/", "/vsitlm/vsicurl/", "/vsitlm//vsicurl/"])
def test_a_window_in_one_tile_is_one_get(site: Site, sample: Sample, known: dict[str, str], form: str) -> None:
    pixels = apart.call(jobs.read, form + site.url(sample.name), ONE_TILE, options=known)
    assert np.array_equal(pixels, sample.window(ONE_TILE))
    assert_these_parts(site.ranges(), parts_of(sample, 4))
    stats = site.stats()
    assert (stats["requests"], stats["heads"]) == (1, 0)
    assert stats["bytes"] <= parts_of(sample, 4)[0][1] + PEEK


@pytest.mark.parametrize("threads", ["default", "1", "4"])
def test_a_window_over_four_tiles_is_four_gets(site: Site, sample: Sample, known: dict[str, str], threads: str) -> None:
    options = known if threads == "default" else known | {"GDAL_NUM_THREADS": threads}
    pixels = apart.call(jobs.read, f"/vsitlm/{site.url(sample.name)}", FOUR_TILES, options=options)
    assert np.array_equal(pixels, sample.window(FOUR_TILES))
    assert_these_parts(site.ranges(), parts_of(sample, 0, 1, 3, 4))
    assert site.stats()["requests"] == 4


def test_the_next_window_of_a_tile_asks_nothing(site: Site, sample: Sample, known: dict[str, str]) -> None:
    path = f"/vsitlm/{site.url(sample.name)}"
    apart.call(jobs.play, ("read", path, ONE_TILE), ("read", path, (600, 600, 20, 20)), options=known)
    assert site.stats()["requests"] == 1


def test_looking_for_side_cars_never_leaves_the_process(site: Site, sample: Sample) -> None:
    apart.call(jobs.read, f"/vsitlm/{site.url(sample.name)}", ONE_TILE)
    stats = site.stats()
    assert stats["heads"] == 0
    assert stats["requests"] == len(stats["ranges"])
    assert {asked["path"] for asked in stats["ranges"]} == {f"/{sample.name}"}


AUX = b"""<PAMDataset><Metadata><MDI key="SEEN">yes</MDI></Metadata></PAMDataset>"""


@pytest.mark.parametrize("options, seen", [({}, False), ({"VSITLM_SIDECARS": "YES"}, True)], ids=["default", "wanted"])
def test_remote_side_cars_are_read_where_they_are_wanted(
    site: Site, small: Sample, tmp_path: Path, options: dict[str, str], seen: bool
) -> None:
    url = site.put(small.path, f"{tmp_path.name}/{small.path.name}")
    site.put_bytes(f"{tmp_path.name}/{small.path.name}.aux.xml", AUX)
    assert ("SEEN" in apart.call(jobs.describe, f"/vsitlm/{url}", options=options)["tags"]) == seen


def test_local_side_cars_are_always_read(small: Sample, tmp_path: Path) -> None:
    (tmp_path / "a.jp2").write_bytes(small.path.read_bytes())
    (tmp_path / "a.jp2.aux.xml").write_bytes(AUX)
    assert gdalio.describe(f"/vsitlm/{tmp_path}/a.jp2")["tags"]["SEEN"] == "yes"


def test_an_unknown_file_costs_one_small_read_for_each_tile_part(site: Site, sample: Sample) -> None:
    apart.call(jobs.describe, f"/vsitlm/{site.url(sample.name)}")
    assert site.stats()["requests"] == len(sample.stream.tile_parts)
    first_read = 256 << 10  # as long as another request is worth: small files come with it
    assert site.stats()["bytes"] <= first_read + 1024 * len(sample.stream.tile_parts)


def test_a_small_file_that_is_known_is_one_get(site: Site, small: Sample, tmp_path: Path) -> None:
    url = site.put(small.path, small.name)
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url))}
    site.reset()
    assert np.array_equal(apart.call(jobs.read, f"/vsitlm/{url}", options=options), small.pixels)
    assert site.stats()["requests"] == 1


def test_a_small_file_that_is_unknown_is_one_get(site: Site, small: Sample) -> None:
    apart.call(jobs.read, f"/vsitlm/{site.put(small.path, small.name)}")
    assert site.stats()["requests"] == 1


def test_the_programs_of_gdal_need_one_get_as_well(
    site: Site, sample: Sample, known: dict[str, str], tmp_path: Path
) -> None:
    if gdalio.rasterio:
        pytest.skip("wheels bring no programs")
    output = tmp_path / "window.tif"
    command = ["gdal_translate", "-q", "-srcwin", *map(str, ONE_TILE), f"/vsitlm/{site.url(sample.name)}", str(output)]
    subprocess.run(command, env=apart.environment(known), check=True, timeout=apart.KILL_AFTER)
    assert np.array_equal(gdalio.read(str(output)), sample.window(ONE_TILE))
    assert_these_parts(site.ranges(), parts_of(sample, 4))


@pytest.mark.parametrize("plt", ["YES", "NO"])
@pytest.mark.parametrize("nodata", [0, 1, 4])
def test_what_is_asked_before_pixels_asks_nothing(site: Site, tmp_path: Path, nodata: int, plt: str) -> None:
    pixels = noise(700, 900)
    for tile in range(nodata):  # tile-parts of a few bytes
        pixels[:, :256, 256 * tile : 256 * (tile + 1)] = 0
    path = gdalio.make_jp2(tmp_path / "first.jp2", pixels, BLOCKXSIZE=256, BLOCKYSIZE=256, RESOLUTIONS=4, PLT=plt)
    url = site.put(path, f"{tmp_path.name}/first.jp2")
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url))}
    site.reset()
    apart.call(jobs.everything, f"/vsitlm/{url}", options=options)
    assert site.stats()["requests"] == 0, site.ranges()
    assert np.array_equal(apart.call(jobs.read, f"/vsitlm/{url}", options=options), pixels)
