"""Threads, forks, several libgdals, and being registered again and again."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import quote

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import FOUR_TILES, ONE_TILE, Sample, Site, noise


def test_sixteen_threads_over_six_files_read_right(site: Site, tmp_path: Path) -> None:
    sources = []
    for number in range(6):
        path = tmp_path / f"{number}.jp2"
        gdalio.make_jp2(path, noise(300, 300, seed=number), BLOCKXSIZE=128, BLOCKYSIZE=128, RESOLUTIONS=3)
        sources.append((f"/vsitlm/{site.put(path, f'{tmp_path.name}/{path.name}')}", str(path)))
    assert apart.call(jobs.read_in_threads, sources, 16, 15) == []


def test_a_forked_child_reads_right_and_its_parent_too(site: Site, sample: Sample, indexed: dict[str, str]) -> None:
    path = f"/vsitlm/{site.url(sample.name)}"
    options = indexed | {"GDAL_NUM_THREADS": "1"}
    first, child, parent = apart.call(jobs.read_and_fork, path, ONE_TILE, FOUR_TILES, options=options)
    assert np.array_equal(first, sample.window(ONE_TILE))
    assert np.array_equal(child, sample.window(FOUR_TILES))
    assert np.array_equal(parent, sample.window(FOUR_TILES))


def test_a_forked_child_does_not_wait_for_what_its_parent_has_sent_for(
    site: Site, sample: Sample, indexed: dict[str, str]
) -> None:
    view = "/vsitlm?overview=2&url={}"
    whole = gdalio.read(view.format(quote(str(sample.path))))
    # One request after the other, and slow: when the first window is there, the others are on their way.
    options = indexed | {"GDAL_NUM_THREADS": "1", "VSITLM_MERGE_GAP": "0", "VSITLM_MAX_CONNECTIONS": "1"}
    other = (0, 0, whole.shape[2], whole.shape[1])
    site.control(rtt_ms=100)
    try:
        path = view.format(quote(site.url(sample.name)))
        first, child, parent = apart.call(jobs.read_and_fork, path, (0, 0, 50, 50), other, options=options)
    finally:
        site.control(rtt_ms=0)
    assert np.array_equal(first, whole[:, :50, :50])
    assert np.array_equal(child, whole) and np.array_equal(parent, whole)
    # The child asked for each tile itself, the parent once.
    assert len(site.ranges()) == 2 * 9


def test_being_registered_many_times_changes_nothing(site: Site, sample: Sample, indexed: dict[str, str]) -> None:
    for pixels in apart.call(jobs.register_often, f"/vsitlm/{site.url(sample.name)}", ONE_TILE, options=indexed):
        assert np.array_equal(pixels, sample.window(ONE_TILE))


def test_two_libgdals_of_one_process_are_both_served(site: Site, sample: Sample, indexed: dict[str, str]) -> None:
    others = sorted(Path("/usr/lib").glob("*-linux-gnu/libgdal.so.*"))
    if not gdalio.rasterio or not others:
        pytest.skip("takes a wheel's libgdal and the system's")
    path = f"/vsitlm/{site.url(sample.name)}"
    first, second, versions = apart.call(jobs.read_by_two_libraries, path, str(others[0]), options=indexed)
    assert versions[0] != versions[1]
    assert first == second and len(first) > sample.stream.size


def test_the_version_is_that_of_the_crate() -> None:
    manifest = (apart.ROOT / "Cargo.toml").read_text()
    assert f'version = "{gdalio.plugin().vsitlm_version().decode()}"' in manifest


def test_the_binary_names_no_libgdal_and_no_symbol_of_it() -> None:
    def readelf(*options: str) -> str:
        command = ["readelf", "-W", *options, str(apart.PLUGIN)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("-d"))
    assert needed and not [name for name in needed if "gdal" in name]
    undefined = re.findall(r" UND (\w+)", readelf("--dyn-syms"))
    assert undefined and not [name for name in undefined if re.match("GDAL|VSI|CPL|OGR|OSR", name)]
