"""Reading in an event loop: what an image tells, pixels, cancelling, threads, errors, forks."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from conftest import PRODUCT, Site, run
from test_many import Stalled, part, stalled, until, windows

import vsitlm

assert stalled  # a fixture


async def soon(condition: Callable[[], bool]) -> None:
    """Waits for a condition that will come true, while the loop goes on."""
    await asyncio.to_thread(until, condition)


def go(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs it in a loop of its own."""
    return asyncio.run(work)


def test_it_is_imported_when_it_is_used() -> None:
    code = """
import sys, vsitlm
assert not {"asyncio", "numpy", "rasterio"} & set(sys.modules)
assert "aio" in dir(vsitlm) and vsitlm.aio.open.__module__ == "vsitlm.aio"
"""
    run(code)


def test_what_an_image_tells(sample: Path, url: str, index: Path) -> None:
    with rasterio.open(sample) as dataset:
        for given in (sample, url):
            image = go(vsitlm.aio.open(given, index=index))
            assert (image.width, image.height, image.shape, image.count) == (1500, 1600, (1600, 1500), 1)
            assert image.dtype == np.uint8 and isinstance(image.dtype, np.dtype)
            assert image.transform == dataset.transform and image.crs == dataset.crs
            assert image.bounds == dataset.bounds and image.res == dataset.res
            assert image.tile_shape == (512, 512) and image.overviews == [2, 4, 8, 16]
            with rasterio.open(image.path) as ours:
                assert ours.shape == image.shape


def test_a_product(index: Path, site: Site, pixels: np.ndarray) -> None:
    async def work() -> np.ndarray:
        image = await vsitlm.aio.open(PRODUCT, "B03", index=index, VSITLM_STORE=site.server.url)
        return await image.read((5, 6, 7, 8))

    assert np.array_equal(go(work()), part(pixels, (5, 6, 7, 8)))


def test_the_index_spares_requests(url: str, index: Path, site: Site) -> None:
    site.stats()
    go(vsitlm.aio.open(url, index=index, VSITLM_ON_MISS="fail"))
    assert site.stats()["requests"] == 0


def test_many_reads_in_a_loop(url: str, index: Path, pixels: np.ndarray) -> None:
    async def work() -> list[np.ndarray]:
        image = await vsitlm.aio.open(url, index=index)
        return await asyncio.gather(*(image.read(window) for window in windows(150, 8)))

    before = threading.active_count()
    for window, read in zip(windows(150, 8), go(work()), strict=True):
        assert np.array_equal(read, part(pixels, window))
    assert threading.active_count() <= before + len(os.sched_getaffinity(0))


def test_reads_as_those_of_read(sample: Path, pixels: np.ndarray) -> None:
    async def work() -> None:
        image = await vsitlm.aio.open(sample)
        assert np.array_equal(await image.read(), pixels[None])
        for how in ({"indexes": 1}, {"overview": 4}, {"boundless": True, "fill_value": 3}):
            window: Any = (-5, 0, 20, 10) if "boundless" in how else ((0, 10), (5, None))
            assert np.array_equal(await image.read(window, **how), vsitlm.read(sample, window, **how))
        for number in range(4):
            with rasterio.open(sample, overview_level=number) as dataset:
                right = dataset.read()
            assert np.array_equal(await image.read_overview(number), right)
            assert np.array_equal(await image.read_overview(number, (3, 4, 5, 6), indexes=1), right[0, 4:10, 3:8])

    go(work())


def test_cancelling_ends_requests(stalled: Stalled, sample: Path, pixels: np.ndarray) -> None:
    async def work() -> None:
        image, other = await vsitlm.aio.open(stalled.url, index=stalled.index), await vsitlm.aio.open(sample)
        with stalled:
            # More than may be under way: some wait for room.
            reads = [asyncio.create_task(image.read(window)) for window in windows(vsitlm.aio.AT_ONCE + 9)]
            await soon(lambda: stalled.requests() > 0)
            assert not stalled.is_quiet()
            for read in reads:
                read.cancel()
            assert {type(one) for one in await asyncio.gather(*reads, return_exceptions=True)} == {
                asyncio.CancelledError
            }
            await soon(stalled.is_quiet)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(image.read((0, 0, 9, 9)), 0.01)
            await soon(stalled.is_quiet)
        # The room is free again.
        got = await asyncio.gather(*(one.read((1, 2, 3, 4)) for one in (image, other) * vsitlm.aio.AT_ONCE))
        assert all(np.array_equal(one, part(pixels, (1, 2, 3, 4))) for one in got)

    go(work())


def test_no_thread_waits_for_bytes(stalled: Stalled, sample: Path) -> None:
    def threads() -> int:
        """Those of the process: of Python, GDAL and the core."""
        return len(os.listdir("/proc/self/task"))

    async def work() -> None:
        image, other = await vsitlm.aio.open(stalled.url, index=stalled.index), await vsitlm.aio.open(sample)
        # Every pool has its threads by now.
        await asyncio.gather(*(other.read(window) for window in windows(20)), *(soon(lambda: True) for _ in range(4)))
        with stalled:
            before = threads()
            reads = [asyncio.create_task(image.read(window)) for window in windows(50)]
            await soon(lambda: stalled.requests() > 0)
            # The core opens files on four threads of its own.
            assert threads() <= before + 4
            # The threads that decode are free.
            assert (await other.read((0, 0, 9, 9))).shape == (1, 9, 9)
            for read in reads:
                read.cancel()
            await asyncio.wait(reads)

    go(work())


def test_what_fails_is_of_the_class_it_is_elsewhere(site: Site, sample: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jp2").write_text("no image " * 100)
    url, index = site.put(sample, "aio/changes.jp2"), tmp_path / "index.parquet"
    vsitlm.index([url], index)

    async def fails(kind: type[vsitlm.Error], text: str, what: Coroutine[Any, Any, Any]) -> None:
        with pytest.raises(kind, match=text):
            await what

    async def work() -> None:
        await fails(vsitlm.NotFoundError, "not found", vsitlm.aio.open(tmp_path / "none.jp2"))
        await fails(vsitlm.MalformedError, r"T\.800", vsitlm.aio.open(tmp_path / "text.jp2"))
        await fails(vsitlm.PathError, "read the path", vsitlm.aio.open("ftp://host/x.jp2"))
        await fails(vsitlm.ProductError, PRODUCT, vsitlm.aio.open(PRODUCT, "B03"))
        await fails(vsitlm.OptionError, "perhaps", vsitlm.aio.open(sample, VSITLM_ON_MISS="perhaps"))
        image = await vsitlm.aio.open(sample)
        for window in ((1490, 0, 20, 10), (-1, 0, 10, 10), (0, 0, 0, 10)):
            await fails(vsitlm.WindowError, "1500 x 1600", image.read(window))
        await fails(vsitlm.OverviewError, "factors are", image.read((0, 0, 1, 1), overview=3))
        await fails(vsitlm.Error, "no band 2", image.read((0, 0, 1, 1), indexes=2))
        for number in (-1, 4):
            await fails(vsitlm.OverviewError, "the image has 4", image.read_overview(number))
        changed = await vsitlm.aio.open(url, index=index)
        site.put(sample.read_bytes() + bytes(10), "aio/changes.jp2")
        await fails(vsitlm.ChangedError, "has changed", changed.read((0, 0, 10, 10)))

    go(work())


def test_options_of_an_enclosing_environment_hold(site: Site, sample: Path, pixels: np.ndarray, tmp_path: Path) -> None:
    url, index = site.put(sample, "aio/enclosed.jp2"), tmp_path / "index.parquet"
    vsitlm.index([url], index)

    async def work() -> np.ndarray:
        with rasterio.Env(VSITLM_INDEX=str(index), VSITLM_ON_MISS="fail"):
            image = await vsitlm.aio.open(url)
        return await image.read((9, 8, 7, 6))

    assert np.array_equal(go(work()), part(pixels, (9, 8, 7, 6)))


@pytest.mark.filterwarnings("error")
def test_a_loop_that_ends_before_its_answer(site: Site, sample: Path, tmp_path: Path, pixels: np.ndarray) -> None:
    """The answer is dropped, and another loop reads."""
    url, index = site.put(sample, "aio/late.jp2"), tmp_path / "index.parquet"
    vsitlm.index([url], index)

    async def begin() -> None:
        image = await vsitlm.aio.open(url, index=index)
        site.stats()
        task = asyncio.get_running_loop().create_task(image.read((0, 0, 9, 9)))
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        await soon(lambda: site.server.stats()["requests"] > 0)

    async def work() -> np.ndarray:
        return await (await vsitlm.aio.open(url, index=index)).read((0, 0, 9, 9))

    loop = asyncio.new_event_loop()
    site.server.control(rtt_ms=300)
    try:
        loop.run_until_complete(begin())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        assert np.array_equal(go(work()), part(pixels, (0, 0, 9, 9)))
    finally:
        site.server.control(rtt_ms=0)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forks(sample: Path, url: str, index: Path, pixels: np.ndarray) -> None:
    def read() -> None:
        async def work() -> None:
            images = [await vsitlm.aio.open(given, index=index) for given in (sample, url)]
            got = await asyncio.gather(*(image.read((5, 6, 7, 8)) for image in images * 5))
            assert all(np.array_equal(one, part(pixels, (5, 6, 7, 8))) for one in got)

        go(work())

    for _ in range(2):
        read()
        child = multiprocessing.get_context("fork").Process(target=read, daemon=True)
        child.start()
        child.join(100)
        assert child.exitcode == 0
