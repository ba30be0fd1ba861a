"""TIFFs that are not what they were, and rows made elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apart
import gdalio
import jobs
import numpy as np
import pytest
import tiffs
from cogs import TILED, WINDOW
from conftest import Site, make_index

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


def test_a_row_made_elsewhere_costs_one_look_at_the_file(site: Site, mirror: Site, fresh: Path, tmp_path: Path) -> None:
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
