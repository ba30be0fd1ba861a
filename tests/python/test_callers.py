"""Callers are kept apart: what was obtained with credentials is given to callers with the same credentials alone."""

from __future__ import annotations

from pathlib import Path

import apart
import callerjobs
import gdalio
import numpy as np
import pytest
from conftest import FOUR_TILES, ONE_TILE, Sample, make_index
from servers import guarded_server

RIGHT, GUEST, WRONG = ({"GDAL_HTTP_USERPWD": user} for user in ("user:right", "guest:right", "user:wrong"))
NOBODY: dict[str, str] = {}
USERS = ["user:right", "guest:right"]
OPTIONS = {"GDAL_HTTP_AUTH": "BASIC", "GDAL_HTTP_MAX_RETRY": "0", "GDAL_NUM_THREADS": "4"}


def is_denied(outcome: object, is_read: bool = False) -> bool:
    """Whether a caller was refused, and heard why; of a read only rasterio 1.4 and later give more than the last error."""
    hears = not is_read or (gdalio.rasterio is not None and gdalio.version() >= (3, 10))
    return isinstance(outcome, gdalio.Failed) and ("401" in str(outcome) or not hears)


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("window", [ONE_TILE, FOUR_TILES])
def test_an_open_file_is_not_handed_to_callers_with_other_credentials(
    sample: Sample, tmp_path: Path, window: gdalio.Window, learns: bool
) -> None:
    options = OPTIONS | ({"VSITLM_CACHE_DIR": str(tmp_path / "cache")} if learns else {})
    with guarded_server({"/a.jp2": (sample.path.read_bytes(), USERS)}) as (url, asked):
        path = f"/vsitlm/{url}/a.jp2"
        told = apart.call(callerjobs.beside, path, RIGHT, [WRONG, NOBODY, GUEST], window, options=options)
        right = sample.window(window)
        assert all(np.array_equal(pixels, right) for pixels in told["held"]), told["held"]
        for wrong, nobody, guest in (told["during"], told["after"]):
            assert is_denied(wrong) and is_denied(nobody), (wrong, nobody)
            assert np.array_equal(guest, right)
        assert {user for user, _, status in asked if status < 300} == set(USERS)
        # Rows that were learned on a disk are a caller's own, too.
        again = apart.call(callerjobs.open_as, path, [WRONG, NOBODY, RIGHT], options=options)
        assert is_denied(again[0]) and is_denied(again[1]) and again[2] is True


def test_threads_of_gdals_read_with_the_credentials_of_the_open_that_they_work_for(sample: Sample) -> None:
    with guarded_server({"/a.jp2": (sample.path.read_bytes(), USERS)}) as (url, asked):
        callers = [RIGHT, GUEST, RIGHT]
        path = f"/vsitlm/{url}/a.jp2"
        got = apart.call(callerjobs.side_by_side, path, callers, FOUR_TILES, 12, options=OPTIONS)
        right = sample.window(FOUR_TILES)
        for pixels in got:
            assert not isinstance(pixels, gdalio.Failed), pixels
            assert all(np.array_equal(read, right) for read in pixels)
        assert {user for user, _, _ in asked} == set(USERS), "no thread asks without credentials"


def test_an_index_serves_those_who_can_read_it_whatever_the_origin_of_its_rows(sample: Sample, tmp_path: Path) -> None:
    content = sample.path.read_bytes()
    with guarded_server({"/a.jp2": (content, USERS)}) as (url, asked):
        index = make_index(tmp_path / "index.parquet", url.replace("//", "//user:right@") + "/a.jp2")
        asked.clear()
        path, options = f"/vsitlm/{url}/a.jp2", OPTIONS | {"VSITLM_INDEX": str(index)}
        assert apart.call(callerjobs.open_as, path, [NOBODY, WRONG, RIGHT], options=options) == [True] * 3
        assert not asked, "the index has it all"
        told = apart.call(callerjobs.beside, path, RIGHT, [WRONG, NOBODY], FOUR_TILES, options=options)
        assert all(np.array_equal(pixels, sample.window(FOUR_TILES)) for pixels in told["held"])
        denied = told["during"] + told["after"]
        assert all(is_denied(outcome, is_read=True) for outcome in denied), denied


def test_what_an_index_has_is_given_to_those_who_can_read_it(sample: Sample, tmp_path: Path) -> None:
    content = sample.path.read_bytes()
    files = {"/a.jp2": (content, [])}
    with guarded_server(files) as (url, asked):
        index = make_index(tmp_path / "index.parquet", f"{url}/a.jp2")
        files["/index.parquet"] = (index.read_bytes(), ["user:right"])
        path, options = f"/vsitlm/{url}/a.jp2", OPTIONS | {"VSITLM_INDEX": f"{url}/index.parquet"}
        asked.clear()
        told = apart.call(callerjobs.beside, path, RIGHT, [WRONG, RIGHT], ONE_TILE, options=options)
        assert all(np.array_equal(outcome, sample.window(ONE_TILE)) for outcome in told["during"] + told["after"])
        refused = [one for one in asked if one.path == "/index.parquet" and one.status == 401]
        assert refused and all(one.user == "user:wrong" for one in refused)
        # Without the index the file has to be walked.
        walked = sum(one.path == "/a.jp2" and one.user == "user:wrong" for one in asked)
        by_index = sum(one.path == "/a.jp2" and one.user == "user:right" for one in asked)
        assert walked > by_index > 0
