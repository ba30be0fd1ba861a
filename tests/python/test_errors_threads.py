"""Tiles that fail in threads of GDAL's: the program sees an error or right pixels, never others."""

from __future__ import annotations

from pathlib import Path

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import FOUR_TILES, TILE, Sample, Site, make_index, noise

QUICK = {"GDAL_HTTP_MAX_RETRY": "1", "GDAL_HTTP_RETRY_DELAY": "0.01"}
NINE_TILES = (TILE - 30, TILE - 20, TILE + 60, TILE + 40)
THREADS = [None, "4"]
"""GDAL's default, which is as many as there are processors, and more than most have to spare."""
BANDS = ["read_vrt", "read_warped"] if gdalio.rasterio else ["read_band", "read_vrt", "read_warped"]
"""Ways to read bands, not datasets."""


def fail(site: Site, sample: Sample, *tiles: int, **fault: str | int) -> str:
    """Makes some tiles unreadable and gives the file's path."""
    for tile in tiles:
        _, offset, length = sample.stream.tile_parts[tile]
        reach = f"{offset + 2000}-{offset + length - 2000}"
        site.control(fail_path=f"/{sample.name}", fail_range=reach, status=500, **fault)
    return f"/vsitlm/{site.url(sample.name)}"


def with_threads(options: dict[str, str], threads: str | None) -> dict[str, str]:
    """The options, with as many threads of GDAL's."""
    return options | QUICK | ({"GDAL_NUM_THREADS": threads} if threads else {})


def is_error_that_names(failure: object, sample: Sample, last: str) -> bool:
    """Whether the program has seen an exception, and the plugin's last message says why."""
    return isinstance(failure, gdalio.Failed) and sample.name in last and "HTTP 500" in last


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("tiles", [(0,), (4,), (8,), (1, 3), (0, 1, 2, 3, 4, 5, 6, 7, 8)], ids=str)
def test_a_lasting_fault_is_an_exception_and_leaves_nothing_behind(
    site: Site, sample: Sample, indexed: dict[str, str], tiles: tuple[int, ...], threads: str | None
) -> None:
    path = fail(site, sample, *tiles)
    mend = f"{site.server.url}/__control?clear=1"
    steps = [("read", path, NINE_TILES)] * 4
    *failures, last, _, right = apart.call(
        jobs.play,
        *steps,
        ("last",),
        ("ask", mend),
        ("read", path, NINE_TILES),
        options=with_threads(indexed, threads),
    )
    assert all(is_error_that_names(failure, sample, last) for failure in failures)
    assert np.array_equal(right, sample.window(NINE_TILES))


@pytest.mark.parametrize("threads", THREADS)
def test_an_open_dataset_fails_and_recovers(
    site: Site, sample: Sample, indexed: dict[str, str], threads: str | None
) -> None:
    path = fail(site, sample, 1)
    mend = f"{site.server.url}/__control?clear=1"
    again = apart.call(
        jobs.read_again_and_again, path, FOUR_TILES, 3, mend, options=with_threads(indexed, threads)
    )
    assert all(isinstance(failure, gdalio.Failed) for failure in again[:3])
    assert np.array_equal(again[3], sample.window(FOUR_TILES))


@pytest.mark.parametrize("threads", THREADS)
def test_a_fault_that_passes_after_a_thread_has_failed_gives_right_pixels(
    site: Site, sample: Sample, indexed: dict[str, str], threads: str | None
) -> None:
    # As many failures as one read tries: the thread's read fails, and that of the one who asked does not.
    path = fail(site, sample, 1, times=2)
    pixels, errors = apart.call(
        jobs.play, ("read", path, FOUR_TILES), ("errors",), options=with_threads(indexed, threads)
    )
    assert errors >= 1 and np.array_equal(pixels, sample.window(FOUR_TILES))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("tiles", [(0,), (8,), (1, 3), (0, 1, 2, 3, 4, 5, 6, 7, 8)], ids=str)
@pytest.mark.parametrize("way", BANDS)
def test_a_lasting_fault_is_an_exception_where_a_band_is_read(
    site: Site, sample: Sample, indexed: dict[str, str], way: str, tiles: tuple[int, ...], threads: str | None
) -> None:
    path = fail(site, sample, *tiles)
    mend = f"{site.server.url}/__control?clear=1"
    *failures, last, _, right = apart.call(
        jobs.play,
        (way, path, NINE_TILES),
        (way, path, NINE_TILES),
        ("last",),
        ("ask", mend),
        (way, path, NINE_TILES),
        options=with_threads(indexed, threads),
    )
    assert all(is_error_that_names(failure, sample, last) for failure in failures)
    assert np.array_equal(np.squeeze(right), np.squeeze(sample.window(NINE_TILES)))


# Not by a warped VRT: that reads one tile after the other, so the main thread's read fails at once.
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("way", BANDS[:-1])
def test_a_fault_that_passes_gives_right_pixels_where_a_band_is_read(
    site: Site, sample: Sample, indexed: dict[str, str], way: str, threads: str | None
) -> None:
    path = fail(site, sample, 1, times=2)
    pixels, errors = apart.call(
        jobs.play, (way, path, FOUR_TILES), ("errors",), options=with_threads(indexed, threads)
    )
    assert errors >= 1 and np.array_equal(np.squeeze(pixels), np.squeeze(sample.window(FOUR_TILES)))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize(("overviews", "prefetch"), [("YES", "0"), ("YES", None), ("NO", None)])
@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("tiles", [(0,), (4, 8)], ids=str)
def test_a_decimated_read_fails_as_well(
    site: Site,
    sample: Sample,
    indexed: dict[str, str],
    threads: str | None,
    overviews: str,
    prefetch: str | None,
    factor: int,
    tiles: tuple[int, ...],
) -> None:
    for tile in tiles:
        # The packets that views need stand at the front.
        _, offset, length = sample.stream.tile_parts[tile]
        reach = f"{offset + 13}-{offset + length - 2000}"
        site.control(fail_path=f"/{sample.name}", fail_range=reach, status=500)
    path = f"/vsitlm/{site.url(sample.name)}"
    options = with_threads(indexed, threads) | {"VSITLM_OVERVIEWS": overviews}
    options |= {"VSITLM_OVERVIEW_PREFETCH": prefetch} if prefetch else {}
    height, width = (size // factor for size in sample.pixels.shape[1:])
    mend = f"{site.server.url}/__control?clear=1"
    failure, again, last, _, right = apart.call(
        jobs.play,
        ("read", path, None, None, (height, width)),
        ("read", path, None, None, (height, width)),
        ("last",),
        ("ask", mend),
        ("read", path, None, None, (height, width)),
        options=options,
    )
    assert is_error_that_names(failure, sample, last) and is_error_that_names(again, sample, last)
    assert np.array_equal(right, gdalio.read(str(sample.path), shape=(height, width)))


@pytest.mark.parametrize("threads", THREADS)
def test_a_file_of_several_bands_fails_as_well(
    site: Site, colours: Sample, tmp_path: Path, threads: str | None
) -> None:
    index = make_index(tmp_path / "index.parquet", site.put(colours.path, colours.name))
    path = fail(site, colours, 3)
    options = with_threads({"VSITLM_INDEX": str(index)}, threads)
    failure, last = apart.call(jobs.play, ("read", path), ("last",), options=options)
    assert is_error_that_names(failure, colours, last)


@pytest.mark.parametrize("marker", ["SOP", "EPH"])
def test_a_file_with_marked_packets_fails_as_well(site: Site, folder: Path, tmp_path: Path, marker: str) -> None:
    pixels = noise(512, 480)
    path = gdalio.make_jp2(folder / f"{marker}.jp2", pixels, BLOCKXSIZE=256, BLOCKYSIZE=256, **{marker: "YES"})
    marked = Sample(path, path.name, pixels)
    index = make_index(tmp_path / "index.parquet", site.put(path))
    broken = fail(site, marked, 0, 3)
    steps = [(way, broken, (0, 0, 480, 512)) for way in ("read", "read_vrt")]
    *failures, last = apart.call(jobs.play, *steps, ("last",), options={"VSITLM_INDEX": str(index)} | QUICK)
    assert all(is_error_that_names(failure, marked, last) for failure in failures)


@pytest.mark.parametrize("threads", [None, "4"])
@pytest.mark.parametrize("tiles", [(8,), (0, 1, 2, 3, 4, 5, 6, 7, 8)], ids=str)
@pytest.mark.parametrize("view", ["window=0,0,1464,1436", "window=482,492,600,580"])
def test_a_lasting_fault_is_an_exception_where_a_window_is_read(
    site: Site, sample: Sample, indexed: dict[str, str], view: str, tiles: tuple[int, ...], threads: str | None
) -> None:
    height, width = sample.pixels.shape[1:]
    view = view.replace("1464,1436", f"{width},{height}")
    path = f"/vsitlm?{view}&url={site.url(sample.name)}"
    fail(site, sample, *tiles)
    mend = f"{site.server.url}/__control?clear=1"
    failure, again, last, _, right = apart.call(
        jobs.play,
        ("read", path),
        ("read", path),
        ("last",),
        ("ask", mend),
        ("read", path),
        options=with_threads(indexed, threads),
    )
    left, top, wide, high = map(int, view[7:].split(","))
    assert is_error_that_names(failure, sample, last) and is_error_that_names(again, sample, last)
    assert np.array_equal(right, sample.window((left, top, wide, high)))


@pytest.mark.parametrize("threads", [None, "4"])
def test_a_fault_that_passes_gives_right_pixels_where_a_window_is_read(
    site: Site, sample: Sample, indexed: dict[str, str], threads: str | None
) -> None:
    path = f"/vsitlm?window=482,492,100,90&url={site.url(sample.name)}"
    fail(site, sample, 1, times=1)
    pixels = apart.call(jobs.read, path, options=with_threads(indexed, threads))
    assert np.array_equal(pixels, sample.window(FOUR_TILES))
