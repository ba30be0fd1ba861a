"""What asking an index costs that lies behind HTTP or in an object store, when `vsitlm index` has made it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import apart
import jobs
import pytest
from conftest import Sample, Site, make_index, only_once
from servers import run_s3

pytestmark = only_once

MOST = 1_200_000
"""Bytes of an index that a look-up may read."""

SHARD = "level=L2A/tile=31UDQ/year=2024/part-0.parquet"


TRACED = {"CPL_DEBUG": "VSITLM"}


def describe(options: Mapping[str, str], *paths: str) -> list[str]:
    """Opens files one after the other in a process, and gives the statuses of the requests for indexes."""
    done = apart.outcome(jobs.play, *[("describe", path) for path in paths], options={**options, **TRACED})
    assert done.error is None, done.error
    for path, told in zip(paths, done.value):
        assert isinstance(told, dict), f"{path}: {told}"
    return re.findall(r"GET \S*\.parquet [^:]*: HTTP (\d+)", done.output)


@pytest.fixture
def files(site: Site, sample: Sample, colours: Sample, small: Sample) -> list[str]:
    """The URLs of three files of a product."""
    return [site.put(made.path, made.name) for made in (sample, colours, small)]


@pytest.mark.parametrize("output", ["asked", "asked.parquet"])
def test_the_first_look_up_answers_the_others(site: Site, files: list[str], output: str) -> None:
    made = make_index(site.folder / output, *files)
    assert (made / SHARD if made.is_dir() else made).is_file()
    entry = site.url(output + "/" if made.is_dir() else output)
    options = {"VSITLM_INDEX": entry, "VSITLM_ON_MISS": "fail"}
    site.reset()
    cold = describe(options, f"/vsitlm/{files[0]}")
    stats = site.stats()
    assert 1 <= len(cold) <= 2 and set(cold) == {"206"}
    assert stats["bytes"] <= MOST
    assert (stats["requests"], stats["heads"]) == (len(cold), 0), "a row made from this URL is trusted"
    assert describe(options, *[f"/vsitlm/{file}" for file in files * 2]) == cold


def test_what_is_not_there_is_asked_for_once(site: Site, files: list[str], sample: Sample) -> None:
    make_index(site.folder / "holes", files[0])
    options = {"VSITLM_INDEX": site.url("holes/"), "VSITLM_ON_MISS": "pass"}
    elsewhere = site.put(sample.path, sample.name.replace("31UDQ", "31UDP"))
    for other, status in ((files[1], "206"), (elsewhere, "404")):
        assert describe(options, *[f"/vsitlm/{other}"] * 3) == [status]


def test_an_index_in_an_object_store(site: Site, files: list[str], small: Sample, tmp_path: Path) -> None:
    make_index(tmp_path / "v1", *files)
    (tmp_path / small.name).parent.mkdir(parents=True)
    shutil.copy(small.path, tmp_path / small.name)
    with run_s3(tmp_path) as told:
        endpoint = {"AWS_S3_ENDPOINT": f"http://127.0.0.1:{told['port']}", "AWS_VIRTUAL_HOSTING": "FALSE"}
        options = {**endpoint, **told["reader"], "VSITLM_INDEX": "s3://eodata/v1", "VSITLM_ON_MISS": "fail"}
        assert describe(options, *[f"/vsitlm/s3://eodata/{small.name}"] * 3) == ["206"]
