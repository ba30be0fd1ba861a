#!/usr/bin/env python3
"""Measures COGs by the index: a window and many files against /vsicurl/, headers and windows against async-geotiff.

    bench_cogs.py [--repeat 5] [--write docs/benchmarks.md]

Run it by `make bench-cogs`, with the Python of target/py/cube, which has the wheel. The COG is that of sample.py, under many
names behind a server with injected round trips; what is compared is read in turns, each way in processes of its own. As a
program with one argument that is JSON this is such a process: see `JOBS`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import COG, LOCAL, VSITLM, Case, Measurement, Peer, Reading, ask

FILES, THREADS = 40, 8
SIDE = 512
NAMES = [f"cogs/{number:02}.tif" for number in range(FILES)]
ASYNC_GEOTIFF = "async-geotiff"
PYTHON_OF_IT = Path(__file__).resolve().parent.parent / "target/py/async-geotiff/bin/python"
PACKAGE = "vsitlm, Python"


def digest(arrays: list[Any]) -> str:
    """One hash for the pixels of several windows of one band."""
    return hashlib.sha256(b"".join(hashlib.sha256(array.tobytes()).digest() for array in arrays)).hexdigest()


def timed(work: Callable[[], list[Any]]) -> dict[str, Any]:
    """How long it takes, and the pixels that it gives."""
    start = time.perf_counter()
    arrays = work()
    return {"seconds": time.perf_counter() - start, "pixels": digest(arrays)}


def rasterio_opens(job: dict[str, Any]) -> dict[str, Any]:
    """Opens each file once, one after the other, by rasterio."""
    import rasterio

    def opens() -> list[Any]:
        for path in job["paths"]:
            rasterio.open(path).close()
        return []

    with rasterio.Env():
        return timed(opens)


def package_opens(job: dict[str, Any]) -> dict[str, Any]:
    """Opens all files at once, by the package's own reader."""
    import numpy  # noqa: F401
    from vsitlm import aio

    async def opens() -> list[Any]:
        await asyncio.gather(*(aio.open(path) for path in job["paths"]))
        return []

    return timed(lambda: asyncio.run(opens()))


def package_windows(job: dict[str, Any]) -> dict[str, Any]:
    """Opens all files and reads a window of each, by the package's own reader."""
    import numpy  # noqa: F401
    import vsitlm

    def read() -> list[Any]:
        windows = zip(job["paths"], map(tuple, job["windows"]), strict=True)
        chips = list(vsitlm.read_many(windows, indexes=1))
        if failed := [chip.error for chip in chips if chip.error]:
            raise failed[0]
        return [chip.pixels for chip in chips]

    return timed(read)


def their_opens(job: dict[str, Any]) -> dict[str, Any]:
    """Reads the headers of all files at once, by async-geotiff."""
    from async_geotiff import GeoTIFF
    from obstore.store import HTTPStore

    async def opens() -> list[Any]:
        store = HTTPStore(job["url"], client_options={"allow_http": True})
        await asyncio.gather(*(GeoTIFF.open(name, store=store) for name in job["names"]))
        return []

    return timed(lambda: asyncio.run(opens()))


def their_windows(job: dict[str, Any]) -> dict[str, Any]:
    """Opens all files and reads a window of each, by async-geotiff."""
    from async_geotiff import GeoTIFF, Window
    from obstore.store import HTTPStore

    async def read(store: Any, name: str, window: list[int]) -> Any:
        image = await GeoTIFF.open(name, store=store)
        return (await image.read(window=Window(*window))).data[0]

    async def read_all() -> list[Any]:
        store = HTTPStore(job["url"], client_options={"allow_http": True})
        windows = zip(job["names"], job["windows"], strict=True)
        return list(await asyncio.gather(*(read(store, name, window) for name, window in windows)))

    return timed(lambda: asyncio.run(read_all()))


def rasterio_windows(job: dict[str, Any]) -> dict[str, Any]:
    """The right pixels: of the local file."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(job["local"]) as dataset:
        return timed(lambda: [dataset.read(1, window=Window(*window)) for window in job["windows"]])


JOBS = {
    job.__name__: job
    for job in (rasterio_opens, package_opens, package_windows, their_opens, their_windows, rasterio_windows)
}


class Bench:
    """The COG under many names, and what was measured of it."""

    def __init__(self, measurement: Measurement, cog: Path, repeat: int, report: Any) -> None:
        self.measurement, self.cog, self.repeat, self.report = measurement, cog, repeat, report
        chance = random.Random(1)
        self.windows = [[chance.randrange(10_980 - SIDE), chance.randrange(10_980 - SIDE), SIDE, SIDE] for _ in NAMES]

    def peer(self, kind: str, name: str) -> Peer:
        """How a file is read in the way of `kind`."""
        return Peer(LOCAL, str(self.cog)) if kind == LOCAL else self.measurement.peer(kind, name)

    def job(self, name: str, kind: str, python: Path | str = sys.executable) -> Reading:
        """Does a job in a process of its own."""
        measurement = self.measurement
        peers = [self.peer(kind, name) for name in NAMES]
        job = {
            "do": name, "paths": [peer.path for peer in peers], "names": NAMES, "url": measurement.server.url,
            "windows": self.windows, "local": str(self.cog),
        }  # fmt: skip
        ask(f"{measurement.server.url}/__stats?reset=1")
        result = measurement.run(job, peers[0].options, str(python), program=Path(__file__))
        return measurement.reading(result["seconds"], result["pixels"])

    def window(self) -> None:
        """A window of one file, and of forty."""
        from bench_report import in_turns, ratio, say

        case = Case(f"{SIDE} px of the COG, new process", (3000, 3000, SIDE, SIDE))
        say(case.name)

        def reader(kind: str) -> Callable[[], Reading]:
            return lambda: self.measurement.read(self.peer(kind, NAMES[0]), case)

        readings = in_turns(self.repeat, {kind: reader(kind) for kind in (COG, VSITLM, LOCAL)})
        self.report.add(case.name, readings)
        self.report.target(f"{case.name}: time to that of /vsicurl/", ratio(readings, VSITLM, COG), 0.75)
        case = Case(f"{SIDE} px of {FILES} COGs, {THREADS} threads", (3000, 3000, SIDE, SIDE))
        say(case.name)

        def many(kind: str) -> Callable[[], Reading]:
            peers = [self.peer(kind, name) for name in NAMES]
            return lambda: self.measurement.read_many(peers, case, THREADS)

        readings = in_turns(self.repeat, {kind: many(kind) for kind in (COG, VSITLM, LOCAL)})
        self.report.add(case.name, readings)
        self.report.target(f"{case.name}: rate to that of /vsicurl/", 1 / ratio(readings, VSITLM, COG), 2, least=True)

    def opens(self) -> None:
        """Headers, by whatever reads them."""
        from bench_report import in_turns, ratio, say

        name = f"opening {FILES} COGs in one process"
        say(name)
        # The process first learns its host's connections.
        readings = in_turns(
            self.repeat,
            {
                "rasterio, /vsicurl/": lambda: self.job("rasterio_opens", COG),
                "rasterio, /vsitlm/": lambda: self.job("rasterio_opens", VSITLM),
                PACKAGE: lambda: self.job("package_opens", VSITLM),
                ASYNC_GEOTIFF: lambda: self.job("their_opens", COG, PYTHON_OF_IT),
                LOCAL: lambda: self.job("rasterio_opens", LOCAL),
            },
        )
        self.report.add(name, readings)
        rate = 1 / ratio(readings, "rasterio, /vsitlm/", "rasterio, /vsicurl/")
        self.report.target(f"{name}: rate to that of rasterio on /vsicurl/", rate, 20, least=True)
        self.report.target(f"{name}: time to that of {ASYNC_GEOTIFF}", ratio(readings, PACKAGE, ASYNC_GEOTIFF), 1)

    def many_windows(self) -> None:
        """Windows here and there, by the two readers that need no GDAL."""
        from bench_report import in_turns, ratio, say

        name = f"{SIDE} px somewhere in each of {FILES} COGs"
        say(name)
        readings = in_turns(
            self.repeat,
            {
                PACKAGE: lambda: self.job("package_windows", VSITLM),
                ASYNC_GEOTIFF: lambda: self.job("their_windows", COG, PYTHON_OF_IT),
                LOCAL: lambda: self.job("rasterio_windows", LOCAL),
            },
        )
        self.report.add(name, readings)
        self.report.target(f"{name}: time to that of {ASYNC_GEOTIFF}", ratio(readings, PACKAGE, ASYNC_GEOTIFF), 1)


def main() -> None:
    """The command line."""
    import bench
    from bench_report import Report
    from sample import make

    arguments = bench.arguments_of("measures COGs by the index").parse_args()
    _, cog = make(arguments.folder)
    assert cog
    report = Report()
    command = (arguments.plugin, arguments.vsitlm, arguments.rtt_ms)
    with Measurement({}, dict.fromkeys(NAMES, cog), *command) as measurement:
        measurement.server.control(rtt_ms=0)
        measurement.make_index([measurement.url(name) for name in NAMES], measurement.index)
        measurement.server.control(rtt_ms=measurement.rtt_ms)
        of = Bench(measurement, cog.resolve(), arguments.repeat, report)
        of.window()
        of.opens()
        of.many_windows()
    described = f"{bench.described(arguments.rtt_ms)}, async-geotiff 0.5.1"
    text = report.markdown("make bench-cogs", arguments.repeat, described)
    print(text)
    if arguments.write:
        bench.replace_section(arguments.write, text, "bench-cogs")


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        given = json.loads(sys.argv[1])
        print(json.dumps(JOBS[given["do"]](given)))
    else:
        main()
