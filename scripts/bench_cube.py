#!/usr/bin/env python3
"""Measures cubes on the public benchmark of CDSE time series: 90 dates, 3 bands, a box of 10 by 10 km.

    bench_cube.py [--limit 600] [--write docs/benchmarks.md]

Run it by `make bench-cube`, with the Python of target/py/cube, which has the wheel. One made 10 m band is served under 270
names, at CDSE's limits: 4 connections of 20 MB/s each, 2,000 requests a minute, 50 ms a round trip. Every way is a process
of its own, called with a job as JSON.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench_report import Report, say
from measure import Codestream, Server, ask

ROOT = Path(__file__).resolve().parent.parent
STAC_PYTHON = ROOT / "target/py/stac/bin/python"
SAMPLE_PYTHON = ROOT / "target/py/r144/bin/python"
SITE = ROOT / "target/wheels/site"
BANDS = ("B02", "B03", "B04")
DATES, DATES_OF_A_YEAR = 90, 73
PRODUCT = "S2B_MSIL2A_{0}T105031_N0510_R051_T31UDQ_{0}T140000"
NAME = PRODUCT + ".SAFE/GRANULE/L2A_T31UDQ_A037000_{0}T105031/IMG_DATA/R10m/T31UDQ_{0}T105031_{1}_10m.jp2"
CDSE = {"VSITLM_MAX_CONNECTIONS": "4", "VSITLM_MAX_REQUESTS_PER_MINUTE": "2000"}
MBPS = 160
SIDE = 1000
"""Pixels of the box."""


def box() -> tuple[float, float, float, float]:
    """The box: 10 km, over four tiles."""
    west, north = 399960 + 10 * 2500, 5400000 - 10 * 2600
    return west, north - 10 * SIDE, west + 10 * SIDE, north


class Clock:
    """What a job took, and what it had in memory before its work."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.before = 0

    def mark(self) -> float:
        """Begins anew: gives the seconds that went by. What is in memory by now does not count."""
        took = time.perf_counter() - self.start
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.start, self.before = time.perf_counter(), pages * resource.getpagesize()
        return took


def open_cube(job: dict[str, Any], clock: Clock) -> Any:
    """`vsitlm.open_cube`."""
    import dask  # noqa: F401
    import pyarrow  # noqa: F401
    import pyproj  # noqa: F401
    import vsitlm
    import xarray  # noqa: F401
    import zarr  # noqa: F401

    imported = clock.mark()
    cube = vsitlm.open_cube(
        job["index"], "31UDQ", job["bands"], job["datetime"], job["area"], job["resolution"], **CDSE
    )
    if not job["load"]:
        return imported
    # Opening belongs to what it takes, and not to what loading has in memory.
    start = clock.start
    clock.mark()
    clock.start = start
    return [cube[band].load().values for band in job["bands"]]


def virtual_cube(job: dict[str, Any], clock: Clock) -> Any:
    """What a cube of references to tile-parts does: whole tiles, fetched and decoded one by one, by eight threads."""
    import imagecodecs
    import numpy

    clock.mark()
    header, parts, (across, side) = bytes.fromhex(job["header"]), job["parts"], job["grid"]
    left, top = 2500, 2600
    columns, rows = (range(start // side, (start + SIDE - 1) // side + 1) for start in (left, top))
    out = {band: numpy.zeros((len(job["names"]), SIDE, SIDE), "uint16") for band in job["bands"]}

    def read(date: int, band: str, column: int, row: int) -> None:
        offset, length = parts[row * across + column]
        request = urllib.request.Request(
            f"{job['url']}/{job['names'][date].replace('BAND', band)}",
            headers={"Range": f"bytes={offset}-{offset + length - 1}"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            body = bytearray(reply.read())
        # The tile stays where it lies on the reference grid.
        x, y = column * side, row * side
        siz = header.find(b"\xff\x51") + 6
        head = bytearray(header)
        wide, high = min(side, 10980 - x), min(side, 10980 - y)
        head[siz : siz + 32] = struct.pack(">8I", x + wide, y + high, x, y, side, side, x, y)
        body[4:6] = b"\0\0"
        tile = imagecodecs.jpeg2k_decode(bytes(head) + bytes(body) + b"\xff\xd9")
        inside = (
            slice(max(y, top) - y, min(y + high, top + SIDE) - y),
            slice(max(x, left) - x, min(x + wide, left + SIDE) - x),
        )
        at = (slice(max(y - top, 0), max(y - top, 0) + inside[0].stop - inside[0].start),
              slice(max(x - left, 0), max(x - left, 0) + inside[1].stop - inside[1].start))  # fmt: skip
        out[band][date][at] = tile[inside]

    with ThreadPoolExecutor(8) as pool:
        jobs = [
            pool.submit(read, date, band, column, row)
            for date in range(len(job["names"]))
            for band in job["bands"]
            for row in rows
            for column in columns
        ]
        for each in jobs:
            each.result()
    return list(out.values())


def odc(job: dict[str, Any], clock: Clock) -> Any:
    """odc-stac by eight threads, of paths with a prefix."""
    import dask
    import odc.stac
    import pystac
    from affine import Affine
    from odc.geo.geobox import GeoBox

    clock.mark()
    west, _, _, north = job["area"]
    grid = GeoBox((SIDE, SIDE), Affine(10, 0, west, 0, -10, north), "EPSG:32631")
    items = pystac.ItemCollection.from_dict(job["items"])
    data = odc.stac.load(
        items, bands=job["bands"], geobox=grid, chunks={}, groupby="id", patch_url=lambda url: job["prefix"] + url
    )
    with dask.config.set(scheduler="threads", num_workers=8):
        loaded = data.compute()
    # It gives floats.
    return [loaded[band].values.astype("uint16") for band in job["bands"]]


WAYS = {"open_cube": open_cube, "virtual_cube": virtual_cube, "odc": odc}


def do(job: dict[str, Any]) -> None:
    """Does a job, and prints what it took."""
    import zlib

    clock = Clock()
    given = WAYS[job["way"]](job, clock)
    told: dict[str, Any] = {"seconds": time.perf_counter() - clock.start}
    if job["load"]:
        told["bytes"] = sum(array.nbytes for array in given)
        told["memory"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - clock.before - told["bytes"]
        told["sum"] = [zlib.crc32(array) for array in given]
    else:
        told["imports"] = given
    print(json.dumps(told))


def run(python: Path, job: dict[str, Any], limit: float, **options: str) -> dict[str, Any] | None:
    """Has a job done by a process of its own, which runs the program that this is; None where it was stopped."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VSITLM_", "GDAL_"))}
    environment = {**kept, "VSITLM_CACHE_DIR": "NO", "NO_PROXY": "*", "no_proxy": "*", **options}
    try:
        done = subprocess.run(
            [str(python), str(Path(sys.argv[0]).resolve()), json.dumps(job)],
            env=environment, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def days(count: int) -> list[str]:
    """Dates, five days apart."""
    first = dt.date(2024, 1, 1)
    return [f"{first + dt.timedelta(days=5 * number):%Y%m%d}" for number in range(count)]


def stac_item(day: str, url: str) -> dict[str, Any]:
    """The STAC item of a date."""
    west, north = 399960.0, 5400000.0
    shape = {"proj:shape": [10980, 10980], "proj:transform": [10, 0, west, 0, -10, north]}
    assets = {
        band: {"href": f"{url}/{NAME.format(day, band)}", "type": "image/jp2", "roles": ["data"], **shape}
        for band in BANDS
    }
    ring = [[1.6, 47.8], [3.2, 47.8], [3.2, 48.8], [1.6, 48.8], [1.6, 47.8]]
    return {
        "type": "Feature", "stac_version": "1.1.0", "id": day, "bbox": [1.6, 47.8, 3.2, 48.8], "links": [],
        "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
        "geometry": {"type": "Polygon", "coordinates": [ring]}, "assets": assets,
        "properties": {"datetime": f"{day[:4]}-{day[4:6]}-{day[6:]}T10:50:31Z", "proj:code": "EPSG:32631"},
    }  # fmt: skip


class Bench:
    """The server, the index, and the report."""

    def __init__(self, folder: Path, file: Path, limit: float) -> None:
        self.folder, self.file, self.limit = folder, file, limit
        self.report = Report()
        self.python = Path(sys.executable)
        self.stream = Codestream.scan(file)

    def make(self) -> None:
        """270 names of one file, their index, and the shard of a year."""
        served = self.folder / "served"
        for day in days(DATES):
            for band in BANDS:
                link = served / NAME.format(day, band)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self.file)
        year = self.folder / "year"
        for day in days(DATES_OF_A_YEAR):
            for band in (*BANDS, "B08"):
                link = year / NAME.format(day, band)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self.file)
        self.index(year, f"{served / 'index'}/")

    def index(self, *arguments: object) -> None:
        """Makes an index."""
        command = [str(self.python), "-m", "vsitlm", "index"]
        *inputs, out = map(str, arguments)
        environment = {**os.environ, "VSITLM_CACHE_DIR": "NO", "NO_PROXY": "*", "no_proxy": "*"}
        subprocess.run([*command, *inputs, "-o", out], check=True, capture_output=True, env=environment)

    def job(self, way: str, **changes: Any) -> dict[str, Any]:
        """A job: the whole of the benchmark, unless changed."""
        return {
            "way": way, "index": str(self.folder / "cube.parquet"), "bands": list(BANDS), "datetime": "2024/2025",
            "area": box(), "resolution": 10, "url": self.server.url, "load": True,
        } | changes  # fmt: skip

    def measure(self) -> None:
        """All ways, one after the other."""
        with Server(self.folder / "served", 0) as self.server:
            # Rows are made where the files lie, so that no file has to be looked at again when it is opened.
            urls = [f"{self.server.url}/{NAME.format(day, band)}" for day in days(DATES) for band in BANDS]
            say("two indexes of 270 files, without latency")
            self.index(*urls, self.folder / "cube.parquet")
            self.index("--embed-overviews", "16", *urls, self.folder / "overviews.parquet")
            self.server.control(mbps=MBPS, rtt_ms=50)
            self.ways()

    def take(self, what: str, python: Path, job: dict[str, Any], **options: str) -> tuple[dict[str, Any] | None, Any]:
        """A job and what was asked of the server for it."""
        say(what)
        ask(f"{self.server.url}/__stats?reset=1")
        told = run(python, job, self.limit, **options)
        stats = self.server.stats()
        took = f"{told['seconds']:.1f} s" if told else f"stopped after {self.limit:.0f} s"
        note = f"{what}: {took}, {stats['requests']:,} requests, {stats['bytes'] / 1e6:,.0f} MB"
        say(f"  {note}")
        self.report.note(note)
        return told, stats

    def ways(self) -> None:
        """See `measure`."""
        report, tiles = self.report, 4 * DATES * len(BANDS)
        cube, stats = self.take(
            "open_cube(…).load(), 90 dates, 3 bands, 10 x 10 km", self.python, self.job("open_cube")
        )
        assert cube is not None
        report.target("open_cube: seconds", cube["seconds"], 30, "{:.1f}")
        report.target("open_cube: requests a tile touched", stats["requests"] / tiles, 1.1)
        report.target(
            "open_cube: requests a minute, at most", 60 * stats["requests"] / max(cube["seconds"], 60), 2000, "{:.0f}"
        )
        report.target("open_cube: in flight together", stats["max_inflight"], 4, "{:.0f}")
        report.target("open_cube: memory beyond the result, once it is open, MB", cube["memory"] / 1e6, 300, "{:.0f}")
        for what, index in (("", "cube"), (", overviews in the index", "overviews")):
            job = self.job("open_cube", resolution=160, index=str(self.folder / f"{index}.parquet"))
            coarse, _ = self.take(f"the same box at 160 m{what}", self.python, job)
            assert coarse is not None
            report.target(f"open_cube at 1/16{what}: seconds", coarse["seconds"], 5, "{:.1f}")
        opening = self.job(
            "open_cube", index=f"{self.server.url}/index", bands=[*BANDS, "B08"], datetime="2024", area=None, load=False
        )
        year, stats = self.take("opening a year of the tile from a shard (73 dates, 4 bands)", self.python, opening)
        assert year is not None
        report.target("opening a year of the tile: seconds", year["seconds"], 0.5)
        report.note(f"Before it, imports of xarray, dask, zarr, pyarrow and pyproj: {year['imports']:.1f} s")
        report.target("opening a year of the tile: requests", stats["requests"], 2, "{:.0f}")
        header = self.file.read_bytes()[: self.stream.first_sot]
        parts = {tile: (offset, length) for tile, offset, length in self.stream.tile_parts}
        virtual = self.job(
            "virtual_cube", header=header[header.find(b"\xff\x4f") :].hex(), parts=[parts[n] for n in sorted(parts)],
            grid=[-(-self.stream.width // self.stream.tile_width), self.stream.tile_width],
            names=[NAME.format(day, "BAND") for day in days(DATES)],
        )  # fmt: skip
        whole, _ = self.take("a virtual cube: whole tiles by imagecodecs, 8 threads", self.python, virtual)
        if whole:
            report.target("open_cube: time to that of the virtual cube", cube["seconds"] / whole["seconds"], 0.5)
            if whole["sum"] != cube["sum"]:
                report.wrong.append("open_cube or the virtual cube")
        items = {"type": "FeatureCollection", "features": [stac_item(day, self.server.url) for day in days(DATES)]}
        if STAC_PYTHON.exists():
            for what, prefix, options in [
                ("odc-stac on /vsitlm/, 8 threads", "/vsitlm/", {**CDSE, "VSITLM_INDEX": str(self.folder / "cube.parquet"),
                 "GDAL_DRIVER_PATH": str(SITE / "vsitlm/plugin"), "VSITLM_SERVE": "TIFF"}),
                ("odc-stac on /vsicurl/, 8 threads", "/vsicurl/", {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}),
            ]:  # fmt: skip
                told, _ = self.take(what, STAC_PYTHON, self.job("odc", items=items, prefix=prefix), **options)
                if told and told["sum"] != cube["sum"]:
                    report.wrong.append(what)


def made_band() -> Path:
    """The made 10 m band."""
    command = [str(SAMPLE_PYTHON), str(ROOT / "scripts/sample.py"), str(ROOT / "target/sample"), "--no-cog"]
    made = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    return Path(made.stdout.splitlines()[0]).resolve()


def described() -> str:
    """Where it was measured."""
    return (
        f"{os.cpu_count()} CPUs ({platform.machine()}), 4 connections of {MBPS // 8} MB/s each, round trips of 50 ms, "
        f"Python {platform.python_version()}"
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="measures cubes")
    parser.add_argument("--limit", type=float, default=600, help="seconds after which a way is stopped")
    parser.add_argument("--write", type=Path, help="file to put the table into, between its marker lines")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vsitlm-cube-"))
    try:
        bench = Bench(folder, made_band(), arguments.limit)
        bench.make()
        bench.measure()
    finally:
        shutil.rmtree(folder)
    text = bench.report.markdown("make bench-cube", 1, described())
    print(text)
    if arguments.write:
        from bench import replace_section

        replace_section(arguments.write, text, "bench-cube")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("{"):
        do(json.loads(sys.argv[1]))
    else:
        main()
