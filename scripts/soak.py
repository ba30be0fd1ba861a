#!/usr/bin/env python3
"""Reads for long and by many threads, and checks every pixel against the file itself.

    soak.py [load] [memory] [--seconds 60]

`load`: 64 threads read windows of 50 remote files, while one request in ten goes wrong, for as many seconds.
`memory`: 10,000 reads of 200 remote files, 105 MB in all, with a cache of 64 MB: what the process takes beyond what it took
before the first read, and beyond what it took after a tenth of the reads, when the cache is full.

It ends with 1 where a pixel is wrong, a read fails, or the memory goes on growing by more than 16 MB after that tenth.

Run it by `make soak`, which builds the plugin first. Needs rasterio.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import Server

MIB = 1 << 20
LOAD = {"files": 50, "threads": 64, "px": 700, "tile": 256}
MEMORY = {"files": 200, "threads": 8, "px": 512, "tile": 256}
READS = 10_000
CACHE = 64 * MIB
LEAK = 16
"""MiB by which the memory may grow once the cache is full: what allocators and threads keep varies by as much."""


def pixels_of(number: int, px: int) -> np.ndarray:
    """What a file shows: noise, of which tile-parts of a known size are made."""
    return np.random.default_rng(number).integers(0, 65536, (px, px), np.uint16)


def make(folder: Path, kind: dict[str, int]) -> None:
    """The files of one kind, made if they are not there."""
    import rasterio

    folder.mkdir(parents=True, exist_ok=True)
    profile: dict[str, Any] = {
        "driver": "JP2OpenJPEG",
        "width": kind["px"],
        "height": kind["px"],
        "count": 1,
        "dtype": "uint16",
        "QUALITY": 100,
        "REVERSIBLE": "YES",
        "BLOCKXSIZE": kind["tile"],
        "BLOCKYSIZE": kind["tile"],
        "RESOLUTIONS": 3,
        "PLT": "YES",
    }
    for number in range(kind["files"]):
        path = folder / f"{number}.jp2"
        if not path.exists():
            draft = folder / "draft.jp2"
            with rasterio.open(draft, "w", **profile) as dataset:
                dataset.write(pixels_of(number, kind["px"]), 1)
            draft.replace(path)


def run(kind: dict[str, int], url: str, reads: int | None, seconds: float) -> dict[str, Any]:
    """Reads windows on many threads until there were so many, or it took so long."""
    import rasterio
    from rasterio.windows import Window

    px = kind["px"]
    expected = [pixels_of(number, px) for number in range(kind["files"])]
    wrong: list[str] = []
    end = time.monotonic() + seconds
    left = threading.Semaphore(reads or sys.maxsize)
    filled: list[int] = []
    done = [0] * kind["threads"]

    def work(thread: int) -> None:
        chance = random.Random(thread)
        while (reads or time.monotonic() < end) and left.acquire(blocking=False):
            number, size = chance.randrange(kind["files"]), chance.choice((32, 64, 300))
            x, y = chance.randrange(px - size), chance.randrange(px - size)
            try:
                with rasterio.open(f"/vsitlm/{url}/{number}.jp2") as dataset:
                    got = dataset.read(1, window=Window(x, y, size, size))
            except rasterio.errors.RasterioError as error:
                wrong.append(f"{number} {x} {y}: {error}")
                continue
            if not np.array_equal(got, expected[number][y : y + size, x : x + size]):
                wrong.append(f"{number} {x} {y}: wrong pixels")
            done[thread] += 1
            if reads and not filled and sum(done) >= reads // 10:
                filled.append(memory("VmRSS"))

    def memory(name: str) -> int:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

    with rasterio.Env():
        with rasterio.open(f"/vsitlm/{url}/0.jp2") as dataset:
            dataset.read(1, window=Window(0, 0, 32, 32))
        Path("/proc/self/clear_refs").write_text("5")
        before = memory("VmRSS")
        running = [threading.Thread(target=work, args=(number,)) for number in range(kind["threads"])]
        start = time.monotonic()
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        took = time.monotonic() - start
        peak, after = memory("VmHWM"), memory("VmRSS")
    return {
        "reads": sum(done),
        "wrong": wrong[:5],
        "seconds": round(took, 1),
        "grown": (after - before) // MIB,
        "later": (after - (filled or [before])[0]) // MIB,
        "peak": (peak - before) // MIB,
    }


def soak(name: str, kind: dict[str, int], reads: int | None, seconds: float, arguments: argparse.Namespace) -> bool:
    """Runs one of the two in a new process, and tells whether it went well."""
    folder = arguments.folder / "soak" / name
    make(folder, kind)
    with tempfile.TemporaryDirectory() as temporary, Server(folder, 0) as server:
        stats = Path(temporary) / "stats.json"
        options = {
            "GDAL_DRIVER_PATH": str(arguments.plugin.resolve()),
            "VSITLM_CACHE_DIR": temporary,
            "VSITLM_CACHE_SIZE": str(CACHE),
            "VSITLM_STATS": str(stats),
            "GDAL_CACHEMAX": "16",
            "GDAL_HTTP_MAX_RETRY": "9",
            "GDAL_HTTP_RETRY_DELAY": "0.01",
            "no_proxy": "127.0.0.1",
            # One arena for all threads, as programs of many threads set it: what each keeps for itself is not ours.
            "MALLOC_ARENA_MAX": "1",
        }
        if name == "load":
            for fault in ({"kind": "short"}, {"kind": "close"}, {"status": 503}):
                server.control(fail_path="*", every=30, **fault)
        job = json.dumps({"kind": kind, "url": server.url, "reads": reads, "seconds": seconds})
        command = [sys.executable, str(Path(__file__).resolve()), "--job", job]
        done = subprocess.run(command, env=os.environ | options, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            print(done.stderr[-2000:], file=sys.stderr)
            return False
        told = json.loads(done.stdout.splitlines()[-1])
        total = json.loads(stats.read_text())["total"]
    print(
        f"{name}: {told['reads']} reads of {kind['files']} files by {kind['threads']} threads in {told['seconds']} s;"
        f" {total['requests']} requests, {total['retries']} retries, {total['cache_hits']} units from the cache;"
        f" memory {told['grown']} MiB above the start, {told['peak']} MiB at most,"
        f" {told['later']} MiB since a tenth of the reads; wrong: {told['wrong'] or 'none'}"
    )
    return not told["wrong"] and (name == "load" or told["later"] <= LEAK)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="reads for long and by many threads")
    parser.add_argument("what", nargs="*", choices=["load", "memory", []], help="which of the two (default: both)")
    parser.add_argument("--seconds", type=float, default=60, help="how long the load lasts")
    parser.add_argument("--plugin", type=Path, default=Path("target/plugin"), help="folder of gdal_vsitlm.so")
    parser.add_argument("--folder", type=Path, default=Path("target/sample"), help="where made files are kept")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(run(**json.loads(arguments.job))))
        return 0
    what = arguments.what or ["load", "memory"]
    fine = True
    if "load" in what:
        fine &= soak("load", LOAD, None, arguments.seconds, arguments)
    if "memory" in what:
        fine &= soak("memory", MEMORY, READS, 0, arguments)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
