#!/usr/bin/env python3
"""Measures the Python package: small windows, many chips, many reads on one event loop, and importing it.

    bench_python.py [--wheel FILE] [--repeat N] [--rtt-ms MS] [--chips N] [--write docs/benchmarks.md]

The files are those of sample.py, behind a server with injected round trips. What is compared is read in one run, each way
in processes of its own; the pixels of every way are those of rasterio on the local file. As a program with one argument
that is JSON this is such a process: see `JOBS`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measure import LOCAL, SPARSE, Codestream, Measurement, Window, ask

Chip = tuple[int, Window]
"""A file's number, and a window of it."""

FILES = 50
THREADS, MANY_THREADS, READS = 8, 32, 200
SIDES = {64: 0.35, 256: 0.6}
"""Windows in pixels, and the most that reading them may take of a local read."""


def digest(pixels: Iterable[Any]) -> str:
    """One hash for arrays, whatever their order."""
    return hashlib.sha256("".join(sorted(hashlib.sha256(array).hexdigest() for array in pixels)).encode()).hexdigest()


def tuples(chips: list[Any]) -> list[Chip]:
    """Chips as they were before JSON made lists of their windows."""
    return [(file, tuple(window)) for file, window in chips]


def local_read(path: str, window: Window) -> Any:
    """What everything is compared with."""
    import rasterio
    from rasterio.windows import Window as RasterioWindow

    with rasterio.open(path) as dataset:
        return dataset.read(window=RasterioWindow(*window))


@contextmanager
def thread_count() -> Iterator[list[int]]:
    """How many threads the process has at most meanwhile beyond those that it had, the watcher aside."""
    import rasterio

    with rasterio.Env():  # what importing it and registering GDAL's drivers starts
        pass
    before = len(os.listdir("/proc/self/task"))
    stop, seen = threading.Event(), [0]

    def look() -> None:
        while not stop.wait(0.005):
            seen[0] = max(seen[0], len(os.listdir("/proc/self/task")) - 1 - before)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        stop.set()
        watcher.join()


def warm_job(url: str, local: str, windows: list[Window], repeat: int) -> dict[str, Any]:
    """Seconds of each way to read windows whose bytes are at hand, in turns; the medians of all."""
    import vsitlm

    ways: dict[str, Callable[[Window], Any]] = {
        "local": lambda window: local_read(local, window),
        "window": lambda window: vsitlm.read(url, window),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    same = True
    for _, window in tuples([(0, window) for window in windows]):
        expected = [digest([read(window)]) for read in ways.values()]  # fetches, too
        same &= len(set(expected)) == 1
        for _ in range(repeat):
            for name, read in ways.items():
                start = time.perf_counter()
                read(window)
                taken[name].append(time.perf_counter() - start)
    return {"same": same} | {name: statistics.median(times) for name, times in taken.items()}


def cold_job(url: str, window: Window) -> dict[str, Any]:
    """One window of a file that is not open yet."""
    import vsitlm

    return {"pixels": digest([vsitlm.read(url, tuple(window))])}


def chips_job(paths: list[str], chips: list[Chip], way: str) -> dict[str, Any]:
    """Seconds for all chips: by `read_many`, or by rasterio on some threads."""
    from concurrent.futures import ThreadPoolExecutor

    import rasterio

    chips = tuples(chips)
    if way == "read_many":
        import vsitlm

        start = time.perf_counter()
        requests = ((paths[file], window) for file, window in chips)
        pixels = [chip.pixels for chip in vsitlm.read_many(requests, ordered=False)]
    else:
        start = time.perf_counter()
        with rasterio.Env(), ThreadPoolExecutor(THREADS) as pool:
            pixels = list(pool.map(lambda chip: local_read(paths[chip[0]], chip[1]), chips))
    return {"seconds": time.perf_counter() - start, "pixels": digest(pixels)}


def async_job(paths: list[str], chips: list[Chip], way: str) -> dict[str, Any]:
    """Seconds for all chips at once: on one event loop, or by rasterio on many threads, and how many threads there were."""
    from concurrent.futures import ThreadPoolExecutor

    import vsitlm

    chips = tuples(chips)
    if way == "loop":
        import asyncio

        async def read_all() -> list[Any]:
            images = await asyncio.gather(*(vsitlm.aio.open(path) for path in paths))
            return await asyncio.gather(*(images[file].read(window=window) for file, window in chips))

        with thread_count() as threads:
            start = time.perf_counter()
            pixels = asyncio.run(read_all())
            seconds = time.perf_counter() - start
    else:
        with thread_count() as threads, ThreadPoolExecutor(MANY_THREADS) as pool:
            start = time.perf_counter()
            pixels = list(pool.map(lambda chip: local_read(vsitlm.path(paths[chip[0]]), chip[1]), chips))
            seconds = time.perf_counter() - start
    return {"seconds": seconds, "pixels": digest(pixels), "threads": threads[0]}


JOBS = {"warm": warm_job, "cold": cold_job, "chips": chips_job, "async": async_job}
"""What a process can be told to do."""


class Bench:
    """The files behind a server, the package, and the report."""

    def __init__(
        self,
        measurement: Measurement,
        site: Path,
        options: argparse.Namespace,
        report: Any,
    ) -> None:
        self.measurement, self.site, self.options, self.report = (
            measurement,
            site,
            options,
            report,
        )
        self.names = list(measurement.files)
        self.stream: Codestream = measurement.codestreams[self.names[0]]
        self.local = str(measurement.files[self.names[0]].resolve())
        self.urls = [measurement.url(name) for name in self.names]
        self.packets = measurement.folder / "packets.parquet"
        measurement.server.control(rtt_ms=0)
        measurement.make_index(self.urls, self.packets, "--packets")
        measurement.server.control(rtt_ms=measurement.rtt_ms)

    def run(self, job: str, options: dict[str, str], **arguments: Any) -> dict[str, Any]:
        """A job in a process of its own, with what it asked of the server."""
        ask(f"{self.measurement.server.url}/__stats?reset=1")
        environment = self.measurement.environment({"PYTHONPATH": str(self.site), **options})
        done = subprocess.run(
            [
                sys.executable,
                str(Path(__file__).resolve()),
                json.dumps({"job": job, **arguments}),
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{job} failed:\n{done.stderr.strip()}")
        stats = self.measurement.server.stats()
        return {
            **json.loads(done.stdout),
            "requests": stats["requests"],
            "bytes": stats["bytes"],
        }

    def indexed(self, packets: bool = True) -> dict[str, str]:
        """The index, with the lengths of packets or without."""
        return {"VSITLM_INDEX": str(self.packets if packets else self.measurement.index)}

    def chips(self, count: int, side: int, seed: int, inside: bool = False) -> list[Chip]:
        """Windows by chance; `inside`: of one tile each."""
        chance, stream, found = random.Random(seed), self.stream, []
        while len(found) < count:
            left, top = (
                chance.randrange(stream.width - side),
                chance.randrange(stream.height - side),
            )
            tiles = {
                (at // size, (at + side - 1) // size)
                for at, size in ((left, stream.tile_width), (top, stream.tile_height))
            }
            if not inside or all(first == last for first, last in tiles):
                found.append((chance.randrange(len(self.names)), (left, top, side, side)))
        return found

    def windows(self) -> None:
        """One window inside a tile: what it asks for, and its time once its bytes are at hand."""
        from bench_report import say

        say("64 px in one tile, cold")
        several = [window for _, window in self.chips(25, 64, 1, inside=True)]
        for what, packets, most in (
            ("lengths of packets in the index", True, 4),
            ("the tile's PLT read first", False, 5),
        ):
            shares, requests = [], []
            for window in several:
                told = self.run("cold", self.indexed(packets), url=self.urls[0], window=window)
                if told["pixels"] != digest([local_read(self.local, window)]):
                    self.report.wrong.append(f"64 px at {window}")
                shares.append(100 * told["bytes"] / self.stream.tile_bytes(*window[:2]))
                requests.append(told["requests"])
            name = f"64 px in one tile, {len(several)} places by chance, {what}"
            self.report.target(
                f"{name}: share of the tile-part's bytes, %, median",
                statistics.median(shares),
                25,
                "{:.1f}",
            )
            self.report.target(f"{name}: requests, at most", max(requests), most, "{:.0f}")
            self.report.note(f"{name}: {min(shares):.0f} to {max(shares):.0f} % of the bytes")
        for side, most in SIDES.items():
            say(f"{side} px in one tile, warm")
            told = self.run(
                "warm",
                self.indexed(),
                url=self.urls[0],
                local=self.local,
                windows=[window for _, window in self.chips(8, side, 2, inside=True)],
                repeat=self.options.repeat,
            )
            if not told["same"]:
                self.report.wrong.append(f"{side} px, warm")
            name = f"{side} px in one tile, by chance, bytes at hand"
            ms = {kind: 1e3 * told[kind] for kind in ("local", "window")}
            self.report.note(f"{name}: local file {ms['local']:.0f} ms, window {ms['window']:.0f} ms")
            self.report.target(f"{name}: time to that of a local file", ms["window"] / ms["local"], most)

    def many(self) -> None:
        """Many chips of many files."""
        from bench_report import say

        count = self.options.chips
        chips = self.chips(count, 64, 4)
        sparse = [self.measurement.peer(SPARSE, name) for name in self.names]
        ways = {
            "read_many": (self.urls, "read_many", self.indexed()),
            LOCAL: ([self.local] * FILES, "rasterio", {}),
            SPARSE: ([peer.path for peer in sparse], "rasterio", sparse[0].options),
        }
        told = {}
        for name, (paths, way, options) in ways.items():
            say(f"{count} chips of {FILES} files: {name}")
            several = [
                self.run("chips", options, paths=paths, chips=chips, way=way) for _ in range(1 if name == SPARSE else 3)
            ]
            told[name] = sorted(several, key=lambda one: one["seconds"])[len(several) // 2]
        if len({one["pixels"] for one in told.values()}) > 1:
            self.report.wrong.append(f"{count} chips")
        rate = {name: count / one["seconds"] for name, one in told.items()}
        what = f"{count:,} chips of 64 px over {FILES} remote files"
        self.report.target(
            f"{what}: chips a second to those of rasterio with {THREADS} threads on local copies",
            rate["read_many"] / rate[LOCAL],
            12,
            least=True,
        )
        self.report.target(
            f"{what}: bytes to those of {SPARSE}",
            told["read_many"]["bytes"] / told[SPARSE]["bytes"],
            0.3,
        )
        for name, one in told.items():
            self.report.note(
                f"{what}, {name}: {rate[name]:.1f} a second, {one['requests']:,} requests, {one['bytes'] / 1e6:.0f} MB"
            )

    def loop(self) -> None:
        """Many reads at once."""
        from bench_report import say

        chips = self.chips(READS, 64, 5)
        told = {}
        for way in ("threads", "loop"):
            say(f"{READS} reads at once: {way}")
            several = [
                self.run("async", self.indexed(), paths=self.urls, chips=chips, way=way)
                for _ in range(self.options.repeat)
            ]
            told[way] = sorted(several, key=lambda one: one["seconds"])[len(several) // 2]
        if told["loop"]["pixels"] != told["threads"]["pixels"]:
            self.report.wrong.append(f"{READS} reads at once")
        what = f"{READS} reads of 64 px on one event loop"
        self.report.target(
            f"{what}: time to that of rasterio on {MANY_THREADS} threads",
            told["loop"]["seconds"] / told["threads"]["seconds"],
            0.4,
        )
        self.report.target(
            f"{what}: threads that it takes to those of rasterio with {MANY_THREADS}",
            told["loop"]["threads"] / told["threads"]["threads"],
            0.1,
        )
        self.report.note(
            f"{what}: {told['loop']['seconds']:.2f} s, {told['loop']['threads']} threads: 2 decode, 2 move bytes, 3 open "
            f"files, 1 tells answers; rasterio with {MANY_THREADS} threads {told['threads']['seconds']:.2f} s, "
            f"{told['threads']['threads']} threads, those that GDAL decodes with among them"
        )

    def imports(self) -> None:
        """Importing the package."""
        code = "import time; start = time.perf_counter(); import vsitlm; print(time.perf_counter() - start)"
        environment = self.measurement.environment({"PYTHONPATH": str(self.site)})
        command = [sys.executable, "-c", code]
        times = [
            float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout) for _ in range(15)
        ]
        self.report.target("importing the package, ms", 1e3 * statistics.median(times), 30, "{:.1f}")


def main() -> None:
    """The command line."""
    from bench import described, replace_section
    from bench_report import Report, say
    from sample import JP2_PATH, make

    parser = argparse.ArgumentParser(description="measures the Python package against its targets")
    parser.add_argument("--wheel", type=Path, help="the wheel; the one in target/wheels if not given")
    parser.add_argument(
        "--vsitlm",
        type=Path,
        default=Path("target/release/vsitlm"),
        help="the command vsitlm",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("target/sample"),
        help="where made files are kept",
    )
    parser.add_argument(
        "--rtt-ms",
        type=float,
        default=50,
        help="round trip of the server in milliseconds",
    )
    parser.add_argument("--repeat", type=int, default=5, help="reads of each kind")
    parser.add_argument("--chips", type=int, default=1000, help="how many chips are read of many files")
    parser.add_argument("--only", choices=["windows", "many", "loop", "imports"], help="one part of it")
    parser.add_argument(
        "--write",
        type=Path,
        help="file to put the table into, between its marker lines",
    )
    options = parser.parse_args()
    wheel = options.wheel or next(Path("target/wheels").glob("vsitlm-*.whl"))
    say("sample files (made once, a few minutes)")
    jp2, _ = make(options.folder)
    name = str(JP2_PATH)
    files = {name.replace("_B03_", f"_X{number:02}_"): jp2 for number in range(FILES)}
    report = Report()
    with (
        tempfile.TemporaryDirectory() as site,
        Measurement(files, {}, None, options.vsitlm, options.rtt_ms) as measurement,
    ):
        zipfile.ZipFile(wheel).extractall(site)
        bench = Bench(measurement, Path(site), options, report)
        for part in (bench.windows, bench.many, bench.loop, bench.imports):
            if options.only in (None, part.__name__):
                part()
    text = report.markdown("make bench-python", options.repeat, described(options.rtt_ms))
    print(text)
    if options.write:
        replace_section(options.write, text, "bench-python")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("{"):
        job = json.loads(sys.argv[1])
        print(json.dumps(JOBS[job.pop("job")](**job)))
    else:
        main()
