#!/usr/bin/env python3
"""Measures the decoder against OpenJPEG, as the newest rasterio carries it: files in memory, pixels compared.

    bench_decode.py [--wheel FILE] [--repeat N] [--data FOLDER] [--write docs/benchmarks.md]

What is compared is decoded in turns, in one process; of each way the least time counts, since whatever else the machine
does adds to it. CPU is that of the whole process, pinned to one core. `--data` is a folder with real products: their 60 m
and 20 m bands are measured, too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Way = Callable[[], Any]

TILE_PX = 1024
WINDOWS = {64: 3.5, 256: 12.0, 512: 26.0}
"""Windows in pixels, and the most that decoding them may take of OpenJPEG's decoding of their tile, in percent."""


def least(repeat: int, clock: Callable[[], float], ways: dict[str, Way]) -> dict[str, float]:
    """The least seconds of each way, in turns."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeat):
        for name, way in ways.items():
            start = clock()
            way()
            best[name] = min(best[name], clock() - start)
    return best


PEAK = """
import sys, vsitlm
def resident(what):
    return 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(what))
data, side, threads = open(sys.argv[1], "rb").read(), int(sys.argv[2]), int(sys.argv[3])
vsitlm.decode(data, (0, 0, 8, 8), threads=threads)
open("/proc/self/clear_refs", "w").write("5")  # the peak from now on: proc(5)
before, start = resident("VmRSS"), 300 if side < 1024 else 0
kept = vsitlm.decode(data, (start, start, side, side), threads=threads)
print(resident("VmHWM") - before)
"""
"""What a process of its own does: decodes little, and then a window; by how many bytes that made it grow at most."""


class Bench:
    """The files and the report."""

    def __init__(self, repeat: int, report: Any) -> None:
        self.repeat, self.report = repeat, report
        self.cores = sorted(os.sched_getaffinity(0))

    def gdal(self, data: bytes, threads: str = "1", **how: Any) -> Way:
        """Decoding by GDAL and its OpenJPEG."""
        import rasterio
        from rasterio.io import MemoryFile

        def decode() -> Any:
            with rasterio.Env(GDAL_NUM_THREADS=threads), MemoryFile(data) as file, file.open() as dataset:
                return dataset.read(**how)

        return decode

    def ours(self, data: bytes, *window: Any, threads: int = 1, **how: Any) -> Way:
        """Decoding by vsitlm."""
        import vsitlm

        return lambda: vsitlm.decode(data, *window, threads=threads, **how)

    def compare(self, what: str, ours: Way, other: Way) -> None:
        """Notes where pixels differ."""
        import numpy

        if not numpy.array_equal(ours(), other()):
            self.report.wrong.append(what)

    def cpu(self, what: str, data: bytes, limit: float, exact: bool = True) -> None:
        """A whole file on one core."""
        ways = {"ours": self.ours(data), "OpenJPEG": self.gdal(data)}
        if exact:
            self.compare(what, *ways.values())
        best = self.pinned(ways)
        self.report.target(f"{what}: CPU to OpenJPEG's", best["ours"] / best["OpenJPEG"], limit)
        self.report.note(f"{what}: {1e3 * best['ours']:.1f} ms, OpenJPEG {1e3 * best['OpenJPEG']:.1f} ms")

    def pinned(self, ways: dict[str, Way]) -> dict[str, float]:
        """The least CPU of each way on one core."""
        os.sched_setaffinity(0, self.cores[-1:])
        try:
            return least(self.repeat, time.process_time, ways)
        finally:
            os.sched_setaffinity(0, self.cores)

    def windows(self, tile: bytes) -> None:
        """Windows of one tile."""
        ways = {f"{side} px": self.ours(tile, (300, 300, side, side)) for side in WINDOWS}
        whole = self.gdal(tile)()
        for side in WINDOWS:
            self.compare(f"{side} px", ways[f"{side} px"], lambda side=side: whole[:, 300 : 300 + side, 300 : 300 + side])
        best = self.pinned(ways | {"OpenJPEG": self.gdal(tile)})
        for side, limit in WINDOWS.items():
            share = 100 * best[f"{side} px"] / best["OpenJPEG"]
            self.report.target(f"window of {side} px: CPU to OpenJPEG's of its whole tile, %", share, limit, "{:.1f}")

    def memory(self, tile: bytes, site: str) -> None:
        """The most memory that decoding holds at once: its samples, and what it needs beside them."""
        count, most = len(self.cores), 0.0
        path = Path(site) / "tile.jp2"
        path.write_bytes(tile)
        for side in (*WINDOWS, TILE_PX):
            for threads in (1, count):
                command = [sys.executable, "-c", PEAK, str(path), str(side), str(threads)]
                done = subprocess.run(command, env=os.environ | {"PYTHONPATH": site}, capture_output=True, check=True)
                taken = int(done.stdout)
                most = max(most, taken / (8 * side * side + threads * 4 * 2**20))
                self.report.note(f"{side} px, {threads} threads: {taken >> 10} kB, {taken / side**2:.1f} bytes a sample")
        self.report.target("memory of windows and a tile to 8 bytes a sample and 4 MB a thread", most, 1.0)

    def cores_used(self, tile: bytes, scene: bytes) -> None:
        """One core and all of them."""
        count = len(self.cores)
        several = (0, 0, 8 * TILE_PX, 5 * TILE_PX)
        for what, one, all_of, limit in (
            ("a tile", self.ours(tile), self.ours(tile, threads=count), 1.1 / count),
            ("40 tiles", self.ours(scene, several), self.ours(scene, several, threads=count), 1.04 / count),
        ):
            best = least(max(2, self.repeat // 3), time.perf_counter, {"one": one, "all": all_of})
            self.report.target(f"{what} on {count} cores: time to that on one", best["all"] / best["one"], limit)

    def scenes(self, scene: bytes) -> None:
        """Reduced images, with all cores."""
        import rasterio
        from rasterio.io import MemoryFile

        with MemoryFile(scene) as file, file.open() as dataset:
            height, width = dataset.shape
        for k in (4, 3, 2):
            shape = (1, -(-height >> k), -(-width >> k))
            ours = self.ours(scene, reduce=k, threads=len(self.cores))
            other = self.gdal(scene, threads="ALL_CPUS", out_shape=shape)
            what = f"the scene at 1/{1 << k}"
            if rasterio.__gdal_version__:
                self.compare(what, ours, other)
            best = least(2, time.perf_counter, {"ours": ours, "GDAL": other})
            self.report.target(f"{what}, from packets at hand: time to GDAL's, all cores", best["ours"] / best["GDAL"], 0.5)


def made(pixels: Any, **profile: Any) -> bytes:
    """A JP2 of these pixels."""
    import rasterio.shutil
    from rasterio.io import MemoryFile

    count, height, width = pixels.shape
    with MemoryFile(ext=".jp2") as file:
        with file.open(count=count, height=height, width=width, dtype=pixels.dtype, **profile) as dataset:
            dataset.write(pixels)
        return file.read()


def main() -> None:
    """The command line."""
    from bench import replace_section
    from bench_report import Report, say
    from sample import JP2_PROFILE, TCI_PROFILE, make

    parser = argparse.ArgumentParser(description="measures the decoder against OpenJPEG")
    parser.add_argument("--wheel", type=Path, help="the wheel; the one in target/wheels if not given")
    parser.add_argument("--folder", type=Path, default=Path("target/sample"), help="where made files are kept")
    parser.add_argument("--data", type=Path, help="a folder with real products")
    parser.add_argument("--repeat", type=int, default=15, help="how often each way decodes")
    parser.add_argument("--write", type=Path, help="file to put the table into, between its marker lines")
    options = parser.parse_args()
    wheel = options.wheel or next(Path("target/wheels").glob("vsitlm-*.whl"))
    say("sample files (made once, a few minutes)")
    jp2, _ = make(options.folder)
    report = Report()
    with tempfile.TemporaryDirectory() as site:
        zipfile.ZipFile(wheel).extractall(site)
        sys.path.insert(0, site)
        import rasterio
        import vsitlm

        bench, scene = Bench(options.repeat, report), jp2.read_bytes()
        pixels = vsitlm.decode(scene, (0, 0, TILE_PX, TILE_PX))
        tile = made(pixels, **JP2_PROFILE)
        colours = (vsitlm.decode(scene, (0, 0, 3 * 256, 256)).reshape(3, 256, 256) // 40).clip(0, 255).astype("uint8")
        say("CPU")
        bench.cpu("a tile of a 10 m band", tile, 0.5)
        bench.cpu("the same, 9-7", made(pixels, **{**JP2_PROFILE, "REVERSIBLE": "NO", "QUALITY": 30}), 0.65, exact=False)
        bench.cpu("a tile of TCI", made(colours, **TCI_PROFILE), 0.65)
        for path in sorted(options.data.rglob("*.jp2")) if options.data else []:
            if path.stem.endswith(("_60m", "_20m")):
                say(path.stem)
                bench.cpu(f"real {path.stem.split('_', 2)[-1]}", path.read_bytes(), 0.6)
        say("windows")
        bench.windows(tile)
        say("memory")
        bench.memory(tile, site)
        say("cores")
        bench.cores_used(tile, scene)
        say("scenes")
        bench.scenes(scene)
        openjpeg = next((gdal.openjpeg for gdal in vsitlm.info().gdals if gdal.openjpeg), "?")
        described = f"{len(bench.cores)} CPUs, rasterio {rasterio.__version__}, OpenJPEG {openjpeg}"
    text = report.markdown("make bench-decode", options.repeat, described).replace("medians of", "the least of")
    print(text)
    if options.write:
        replace_section(options.write, text, "bench-decode")


if __name__ == "__main__":
    main()
