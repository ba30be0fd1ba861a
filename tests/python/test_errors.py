"""A read that fails for good shows it, in every way there is, and only as long as it fails."""

from __future__ import annotations

import signal
import struct

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import FOUR_TILES, ONE_TILE, Sample, Site, only_once

QUICK = {"GDAL_HTTP_MAX_RETRY": "1", "GDAL_HTTP_RETRY_DELAY": "0.01"}


@pytest.fixture
def broken(site: Site, sample: Sample) -> str:
    """The sample's path; the second of the four tiles cannot be had."""
    _, offset, length = sample.stream.tile_parts[1]
    site.control(fail_path=f"/{sample.name}", fail_range=f"{offset + 2000}-{offset + length - 2000}", status=500)
    return f"/vsitlm/{site.url(sample.name)}"


def test_a_failed_tile_among_four_shows_every_sign_and_is_forgotten(
    site: Site, sample: Sample, indexed: dict[str, str], broken: str
) -> None:
    mend = f"{site.server.url}/__control?clear=1"
    done = apart.outcome(
        jobs.play,
        ("errors",),
        ("read", broken, FOUR_TILES),
        ("errors",),
        ("last",),
        ("ask", mend),
        ("read", broken, FOUR_TILES),
        ("errors",),
        options=indexed | QUICK,
    )
    assert done.error is None, done.output
    before, failure, errors, last, _, right, after = done.value
    assert before == 0 and errors >= 1 and after == errors
    assert isinstance(failure, gdalio.Failed), "GDAL has given wrong pixels"
    for text in (last, done.output + str(failure)):
        assert sample.name in text and "HTTP 500" in text and "VSITLM_ON_READ_ERROR=ABORT" in text, done.output
    assert np.array_equal(right, sample.window(FOUR_TILES))


def test_with_abort_no_program_goes_on(sample: Sample, indexed: dict[str, str], broken: str) -> None:
    options = indexed | QUICK | {"VSITLM_ON_READ_ERROR": "ABORT"}
    done = apart.outcome(jobs.read, broken, FOUR_TILES, options=options)
    assert done.returncode == -signal.SIGABRT
    assert sample.name in done.output and "HTTP 500" in done.output


@only_once
@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"kind": "short"}, {"kind": "close"}], ids=str)
def test_a_fault_that_passes_costs_no_pixel(
    site: Site, sample: Sample, indexed: dict[str, str], fault: dict[str, str]
) -> None:
    site.control(fail_path=f"/{sample.name}", times=1, **fault)
    path = f"/vsitlm/{site.url(sample.name)}"
    options = indexed | QUICK
    pixels, errors = apart.call(jobs.play, ("read", path, FOUR_TILES), ("errors",), options=options)
    assert np.array_equal(pixels, sample.window(FOUR_TILES)) and errors == 0
    assert site.stats()["requests"] == 5


@only_once
@pytest.mark.parametrize("kind", ["short", "close", "shifted"])
def test_an_answer_that_is_not_what_was_asked_for_is_an_error(
    site: Site, sample: Sample, indexed: dict[str, str], kind: str
) -> None:
    site.control(fail_path=f"/{sample.name}", kind=kind)
    options = indexed | QUICK | {"GDAL_NUM_THREADS": "1"}
    done = apart.outcome(
        jobs.play,
        ("read", f"/vsitlm/{site.url(sample.name)}", (600, 600, 50, 50)),
        ("last",),
        ("ask", f"{site.server.url}/__control?clear=1"),
        ("read", f"/vsitlm/{site.url(sample.name)}", (600, 600, 50, 50)),
        options=options,
    )
    failure, last, _, right = done.value
    assert isinstance(failure, gdalio.Failed) and sample.name in last, done.output
    assert np.array_equal(right, sample.window((600, 600, 50, 50)))


@only_once
def test_a_server_without_ranges_serves_small_files(site: Site, sample: Sample) -> None:
    site.control(fail_path=f"/{sample.name}", kind="whole")
    pixels = apart.call(jobs.read, f"/vsitlm/{site.url(sample.name)}", ONE_TILE)
    assert np.array_equal(pixels, sample.window(ONE_TILE))


@only_once
def test_a_server_without_ranges_does_not_send_a_large_file_for_every_tile(site: Site, sample: Sample) -> None:
    large = sample.path.read_bytes() + struct.pack(">I4s", 8 + (9 << 20), b"free") + bytes(9 << 20)
    url = site.put_bytes("large.jp2", large)
    site.control(fail_path="/large.jp2", kind="whole")
    failure, good = apart.call(
        jobs.play, ("read", f"/vsitlm/{url}", ONE_TILE), ("read", f"/vsitlm/{site.url(sample.name)}", ONE_TILE)
    )
    assert isinstance(failure, gdalio.Failed)
    assert "large.jp2" in str(failure) and "ranges" in str(failure)
    assert site.stats()["bytes"] < len(large)
    assert np.array_equal(good, sample.window(ONE_TILE))
