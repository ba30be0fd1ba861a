"""Servers that misbehave, quotas, files that change, and what is told of it all, through the real GDAL."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import apart
import gdalio
import jobs
import loadjobs
import numpy as np
import pytest
from conftest import FOUR_TILES, ONE_TILE, Sample, Site, make_index, noise, only_once

pytestmark = only_once

QUICK = {"GDAL_HTTP_RETRY_DELAY": "0.01", "GDAL_HTTP_TIMEOUT": "1"}
FAULTS: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 503, "retry_after": "0"},
    {"status": 429},
    {"kind": "close"},
    {"kind": "short"},
    {"kind": "stall"},
    {"kind": "long"},
    {"kind": "shifted"},
    {"kind": "whole"},
    {"kind": "etag"},
    {"kind": "status", "status": 403},
    {"kind": "status", "status": 404},
]


@pytest.fixture
def path(site: Site, sample: Sample) -> str:
    """The sample's path."""
    return f"/vsitlm/{site.url(sample.name)}"


@pytest.mark.parametrize("threads", ["1", "4"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_pixels_are_right_or_the_error_is_clear(
    site: Site, sample: Sample, indexed: dict[str, str], path: str, fault: dict[str, Any], threads: str
) -> None:
    """The fault strikes each second request, then all of them, then none."""
    control = f"{site.server.url}/__control"
    site.control(fail_path=f"/{sample.name}", every=2, **fault)
    always = f"{control}?fail_path=/{sample.name}&" + "&".join(f"{key}={value}" for key, value in fault.items())
    windows = [ONE_TILE, FOUR_TILES, (100, 100, 50, 50)]
    corner = (1300, 1300, 100, 90)
    options = indexed | QUICK | {"GDAL_NUM_THREADS": threads, "GDAL_HTTP_MAX_RETRY": "2"}
    start = time.monotonic()
    done = apart.call(
        jobs.play,
        *(("read", path, window) for window in windows),
        ("ask", always),
        ("read", path, corner),
        ("ask", f"{control}?clear=1"),
        ("read", path, corner),
        *(("read", path, window) for window in windows),
        options=options,
    )
    # Twelve tries of a second each are the longest that can be.
    assert time.monotonic() - start < 60
    half, lasting, right, again = done[:3], done[4], done[6], done[7:]
    for window, pixels in zip(windows, half):
        assert_right_or_told(sample, window, pixels)
    if fault != {"kind": "whole"}:  # the file is small enough for that
        assert isinstance(lasting, gdalio.Failed), "a fault that lasts is seen"
    assert_right_or_told(sample, corner, lasting)
    for window, pixels in zip([corner, *windows], [right, *again]):
        assert isinstance(pixels, np.ndarray), f"nothing wrong was kept: {pixels}"
        assert np.array_equal(pixels, sample.window(window))


def assert_right_or_told(sample: Sample, window: gdalio.Window, pixels: np.ndarray | gdalio.Failed) -> None:
    if isinstance(pixels, gdalio.Failed):
        assert sample.name in str(pixels), pixels
    else:
        assert np.array_equal(pixels, sample.window(window)), window


def test_one_fault_in_three_requests_costs_no_window(
    site: Site, sample: Sample, indexed: dict[str, str], path: str
) -> None:
    site.control(fail_path="*", kind="short", every=9)
    site.control(fail_path="*", status=503, every=9)
    site.control(fail_path="*", kind="close", every=9)
    # Ten in place of four tries: of a hundred windows one would meet four faults in a row.
    options = indexed | QUICK | {"GDAL_HTTP_MAX_RETRY": "9", "VSITLM_CACHE_SIZE": "0"}
    wrong, told = apart.call(loadjobs.random_windows, path, str(sample.path), 100, options=options)
    assert wrong == []
    assert told["total"]["retries"] >= 20 and told["total"]["read_errors"] == 0, told


def test_quotas_hold_for_all_files_together(site: Site, sample: Sample, tmp_path: Path) -> None:
    urls = [site.put(sample.path, f"{tmp_path.name}/{number}.jp2") for number in range(6)]
    index = make_index(tmp_path / "index.parquet", *urls)
    sources = [(f"/vsitlm/{url}", str(sample.path)) for url in urls]
    site.reset()
    site.control(rtt_ms=20)
    try:
        options = {"VSITLM_INDEX": str(index), "VSITLM_MAX_CONNECTIONS": "3"}
        assert apart.call(jobs.read_in_threads, sources, 12, 4, options=options) == []
        stats = site.stats()
    finally:
        site.control(rtt_ms=0)
    assert stats["requests"] > 30 and stats["max_inflight"] == 3


def test_identical_reads_from_64_threads_are_one_request(
    site: Site, sample: Sample, indexed: dict[str, str], path: str
) -> None:
    site.control(rtt_ms=100)
    try:
        same = apart.call(loadjobs.at_the_same_time, path, ONE_TILE, 64, options=indexed)
    finally:
        site.control(rtt_ms=0)
    assert all(np.array_equal(pixels, sample.window(ONE_TILE)) for pixels in same)
    assert site.stats()["requests"] == 1


@pytest.mark.parametrize("size", ["same size", "another size"])
def test_a_file_that_is_replaced_between_reads(site: Site, tmp_path: Path, size: str) -> None:
    pixels = [noise(1200, 1200, seed=seed) for seed in (1, 2)]
    files = [
        gdalio.make_jp2(tmp_path / f"{number}.jp2", each, BLOCKXSIZE=512, BLOCKYSIZE=512, RESOLUTIONS=3)
        for number, each in enumerate(pixels)
    ]
    length = files[0].stat().st_size
    second = files[1].read_bytes()
    if size == "same size":
        # Bytes behind the codestream change no pixel.
        files[0].write_bytes(files[0].read_bytes().ljust(length + 4096, b"\0"))
        second = second.ljust(length + 4096, b"\0")
    url = site.put_bytes(f"{tmp_path.name}/x.jp2", files[0].read_bytes())
    served = site.folder / tmp_path.name / "x.jp2"
    first, windows = apart.call(
        loadjobs.replaced_meanwhile, f"/vsitlm/{url}", str(served), second, [(0, 0, 50, 50), (1100, 1100, 50, 50)]
    )
    assert np.array_equal(first, pixels[0][:, :50, :50])
    while_open, reopened = windows[:2], windows[2:]
    assert np.array_equal(while_open[0], pixels[0][:, :50, :50]), "it was read before"
    assert isinstance(while_open[1], gdalio.Failed) and "changed" in str(while_open[1])
    assert np.array_equal(reopened[0], pixels[1][:, :50, :50])
    assert np.array_equal(reopened[1], pixels[1][:, 1100:1150, 1100:1150])


@pytest.mark.parametrize("where", ["file", "-"])
def test_statistics_are_written_at_the_end(
    site: Site, sample: Sample, indexed: dict[str, str], path: str, tmp_path: Path, where: str
) -> None:
    site.control(fail_path=f"/{sample.name}", status=503, times=1)
    stats = str(tmp_path / "stats.json") if where == "file" else where
    options = indexed | QUICK | {"VSITLM_STATS": stats}
    done = apart.outcome(loadjobs.read_and_fork_twice, path, ONE_TILE, options=options)
    assert done.error is None, done.output
    if where == "file":
        told = [json.loads(file.read_text()) for file in sorted(tmp_path.iterdir())]
    else:
        told = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
    assert len(told) == 2, "the process, and its fork"
    assert len({each["process"] for each in told}) == 2
    parent = next(each for each in told if each["total"]["retries"])
    host = parent["hosts"][site.server.url]
    assert (host["requests"], host["retries"], host["read_errors"]) == (2, 1, 0)
    assert host["bytes"] >= 500_000 and host["cache_hits"] >= 1
    assert parent["total"] == {**host}
    if where == "file":
        assert {file.name for file in tmp_path.iterdir()} == {
            "stats.json",
            *(f"stats.{each['process']}.json" for each in told if each is not parent),
        }


def test_debug_messages_tell_rows_requests_and_retries(
    site: Site, sample: Sample, indexed: dict[str, str], path: str
) -> None:
    site.control(fail_path=f"/{sample.name}", status=503, times=1)
    options = indexed | QUICK | {"CPL_DEBUG": "VSITLM"}
    done = apart.outcome(jobs.read, path + "?sig=sesame", FOUR_TILES, options=options)
    assert done.error is None, done.output
    for text in ("row of the index", "GET http", "HTTP 503", "try 1"):
        assert text in done.output, done.output
    ours = [line for line in done.output.splitlines() if "VSITLM:" in line]
    assert ours and not any("sesame" in line for line in ours)
