"""Forks, exec, the process's end, event loops, and what belongs to a thread."""

from __future__ import annotations

from collections.abc import Iterator

import apart
import forkjobs
import gdalio
import numpy as np
import pytest
from conftest import FOUR_TILES, ONE_TILE, Sample, Site, only_once
from servers import guarded_server

WINDOWS = [ONE_TILE, FOUR_TILES, (0, 0, 100, 100)]


@pytest.fixture(params=["NATIVE", "GDAL"])
def remote(request: pytest.FixtureRequest, site: Site, sample: Sample, indexed: dict[str, str]) -> dict[str, str]:
    """Options that read the sample by either transport."""
    return indexed | {"VSITLM_TRANSPORT": request.param}


def are_right(sample: Sample, pixels: list[np.ndarray], windows: list[tuple[int, int, int, int]]) -> bool:
    """Whether each window is as it should be."""
    pairs = list(zip(pixels, windows, strict=True))
    return all(np.array_equal(found, sample.window(window)) for found, window in pairs)


def test_children_of_a_parent_that_has_read(site: Site, sample: Sample, remote: dict[str, str]) -> None:
    # Not while the parent's threads are inside GDAL: its own locks are held at the fork then, and children hang with
    # plain local files as well.
    path = f"/vsitlm/{site.url(sample.name)}"
    options = remote | {"GDAL_NUM_THREADS": "1"}
    pixels = apart.call(forkjobs.in_children, path, WINDOWS, options=options)
    assert are_right(sample, pixels, WINDOWS * 3 + WINDOWS[-1:])


def test_children_of_a_parent_whose_threads_have_read(site: Site, sample: Sample, remote: dict[str, str]) -> None:
    path = f"/vsitlm/{site.url(sample.name)}"
    pixels = apart.call(forkjobs.in_threads_then_in_children, path, WINDOWS, options=remote)
    assert are_right(sample, pixels, WINDOWS * 4 + WINDOWS[-1:])


def test_children_that_read_first(site: Site, sample: Sample, remote: dict[str, str]) -> None:
    pixels = apart.call(forkjobs.before_any_read, f"/vsitlm/{site.url(sample.name)}", WINDOWS, options=remote)
    assert are_right(sample, pixels, WINDOWS)


def test_a_dataset_of_the_parents_is_read_by_children(site: Site, sample: Sample, remote: dict[str, str]) -> None:
    path = f"/vsitlm/{site.url(sample.name)}"
    pixels = apart.call(forkjobs.by_what_the_parent_opened, path, WINDOWS, options=remote)
    assert are_right(sample, pixels, [WINDOWS[0], *WINDOWS, WINDOWS[-1], WINDOWS[-1]])


# With CPL_DEBUG and with errors, rasterio takes the interpreter's lock for each message, and Python ends a daemon thread
# that asks for it late by pthread_exit(). Both together are tried with every GDAL.
@pytest.mark.parametrize(
    ("debug", "fails"),
    [("VSITLM", True), *(pytest.param(*each, marks=only_once) for each in [("", False), ("", True), ("VSITLM", False)])],
)
@pytest.mark.parametrize("how", ["exec", "exit", "return"])
def test_a_process_ends_while_it_reads(
    site: Site, sample: Sample, remote: dict[str, str], how: str, debug: str, fails: bool
) -> None:
    if how != "exec" and gdalio.rasterio is None:
        pytest.skip("osgeo.gdal aborts the process there, whatever the file system: seen with plain /vsicurl/")
    # Callbacks run on the program's own threads.
    options = remote | {"GDAL_NUM_THREADS": "1", "GDAL_HTTP_MAX_RETRY": "0"} | ({"CPL_DEBUG": debug} if debug else {})
    path = f"/vsitlm/{site.url(sample.name)}"
    # The threads spend their time inside the callbacks, not with decoding.
    site.control(rtt_ms=100)
    if fails:
        _, offset, length = sample.stream.tile_parts[4]
        reach = f"{offset + 2000}-{offset + length - 2000}"
        site.control(fail_path=f"/{sample.name}", fail_range=reach, status=500)
    try:
        done = apart.outcome(forkjobs.leave_while_reading, path, ONE_TILE, how, options=options)
    finally:
        site.control(rtt_ms=0)
    told = done.output[-2000:]
    assert done.returncode == 0 and "panicked" not in told and "FATAL" not in told, told


@pytest.mark.parametrize("debug", ["", "VSITLM"])
def test_a_process_ends_with_a_dataset_open(site: Site, sample: Sample, remote: dict[str, str], debug: str) -> None:
    options = remote | ({"CPL_DEBUG": debug} if debug else {})
    path = f"/vsitlm/{site.url(sample.name)}"
    done = apart.outcome(forkjobs.leave_an_open_dataset, path, FOUR_TILES, options=options)
    assert done.value == "left" and done.returncode == 0 and "panicked" not in done.output, done.output[-2000:]


def test_event_loops_are_no_hindrance(site: Site, sample: Sample, remote: dict[str, str]) -> None:
    pixels = apart.call(forkjobs.in_asyncio, f"/vsitlm/{site.url(sample.name)}", WINDOWS, options=remote)
    assert are_right(sample, pixels, [WINDOWS[0], *WINDOWS])


def test_threads_start_at_the_first_remote_read(site: Site, sample: Sample, indexed: dict[str, str]) -> None:
    options = indexed | {"GDAL_NUM_THREADS": "1"}
    local, far = f"/vsitlm/{sample.path}", f"/vsitlm/{site.url(sample.name)}"
    before, loaded, after_local, after_remote = apart.call(forkjobs.count_threads, local, far, options=options)
    assert before == loaded == after_local
    assert after_local < after_remote <= after_local + 4


@pytest.fixture
def guarded(sample: Sample) -> Iterator[str]:
    """The sample's URL at a server that asks for a password."""
    with guarded_server({"/a.jp2": (sample.path.read_bytes(), ["reader:word"])}) as (url, _):
        yield f"{url}/a.jp2"


@pytest.mark.parametrize("transport", ["NATIVE", "GDAL"])
def test_what_one_thread_may_read_the_threads_that_it_starts_may_read(
    sample: Sample, guarded: str, transport: str
) -> None:
    options = {"VSITLM_TRANSPORT": transport, "GDAL_NUM_THREADS": "4"}
    secret = {"GDAL_HTTP_USERPWD": "reader:word", "GDAL_HTTP_AUTH": "BASIC"}
    path = f"/vsitlm/{guarded}"
    pixels, errors = apart.call(forkjobs.with_thread_options, path, FOUR_TILES, secret, options=options)
    assert np.array_equal(pixels, sample.window(FOUR_TILES))
    assert errors == 0, "the threads could not, and the one that started them has read what they should"
    denied = apart.outcome(forkjobs.with_thread_options, path, FOUR_TILES, {}, options=options)
    assert denied.error and "Failed" in denied.error
