#!/usr/bin/env python3
"""Measures loading an area from STAC items against a cube of the same, and sampling at points against rasterio.

    bench_load.py [--limit 600] [--write docs/benchmarks.md]

Run it by `make bench-load`, with the Python of target/py/cube. Files, server and limits are those of bench_cube.py.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import bench_cube
from bench_cube import BANDS, CDSE, DATES, MBPS, NAME, Bench, Clock, days, stac_item
from measure import Server

FILES, POINTS = 50, 10_000


def load(job: dict[str, Any], clock: Clock) -> Any:
    """`vsitlm.load` of STAC items whose files an index has."""
    import pyproj
    import vsitlm
    import xarray  # noqa: F401

    clock.mark()
    west, south, east, north = job["area"]
    to_degrees = pyproj.Transformer.from_crs(32631, "OGC:CRS84", always_xy=True)
    # Half a pixel within the box at its corners, and more where its edges bend.
    area = to_degrees.transform_bounds(west, south, east, north)
    # The made files do not lie where tiles of their name do.
    found = vsitlm.search(job["items"], bands=job["bands"], VSITLM_INDEX=job["index"], **CDSE)
    loaded = vsitlm.load(found, area=area, groupby=None)
    inside = loaded.sel(x=slice(west, east), y=slice(north, south))
    return [inside[band].values for band in job["bands"]]


def sample(job: dict[str, Any], clock: Clock) -> Any:
    """`vsitlm.sample`."""
    import numpy
    import vsitlm

    points = numpy.array(job["points"])
    clock.mark()
    found = vsitlm.search(job["index"], bands=job["bands"], **CDSE)
    table = vsitlm.sample(points, found)
    return [table.column(job["bands"][0]).to_numpy(zero_copy_only=False)]


def rasterio_sample(job: dict[str, Any], clock: Clock) -> Any:
    """rasterio's `sample` on local copies."""
    import numpy
    import rasterio
    from rasterio.warp import transform

    clock.mark()
    xs, ys = transform("OGC:CRS84", "EPSG:32631", *zip(*job["points"], strict=True))
    points = list(zip(xs, ys, strict=True))
    values = []
    for path in job["files"]:
        with rasterio.open(path) as file:
            values.append(numpy.array([value[0] for value in file.sample(points)]))
    return values


bench_cube.WAYS.update(load=load, sample=sample, rasterio_sample=rasterio_sample)


class LoadBench(Bench):
    """The same server with other ways."""

    def measure(self) -> None:
        """All ways, one after the other."""
        served = self.folder / "served"
        with Server(served, 0) as self.server:
            urls = [f"{self.server.url}/{NAME.format(day, band)}" for day in days(DATES) for band in BANDS]
            self.index(*urls, self.folder / "cube.parquet")
            # Of 50 files, with the lengths of packets.
            self.index("--packets", *urls[: 3 * FILES : 3], self.folder / "points.parquet")
            self.server.control(mbps=MBPS, rtt_ms=50)
            self.areas()
            self.points()

    def areas(self) -> None:
        """An area."""
        cube, _ = self.take("open_cube(…).load(), 90 dates, 3 bands, 10 x 10 km", self.python, self.job("open_cube"))
        items = {"type": "FeatureCollection", "features": [stac_item(day, self.server.url) for day in days(DATES)]}
        loaded, _ = self.take("load(…) of STAC items, the same box", self.python, self.job("load", items=items))
        assert cube is not None and loaded is not None
        self.report.target("load: time to that of open_cube", loaded["seconds"] / cube["seconds"], 1.1)
        if cube["bytes"] != loaded["bytes"] or cube["sum"] != loaded["sum"]:
            self.report.wrong.append("load")

    def points(self) -> None:
        """Points: 200 for each file, at random."""
        import numpy
        import pyproj

        west, north, side = 399960.0, 5400000.0, 109800.0
        chance = numpy.random.default_rng(1)
        xs, ys = west + chance.uniform(0, side, POINTS // FILES), north - chance.uniform(0, side, POINTS // FILES)
        to_degrees = pyproj.Transformer.from_crs(32631, "OGC:CRS84", always_xy=True)
        points = [list(map(float, point)) for point in zip(*to_degrees.transform(xs, ys), strict=True)]
        job = self.job("sample", points=points, index=str(self.folder / "points.parquet"), bands=[BANDS[0]])
        ours, stats = self.take(f"sample(…), {POINTS:,} values of {FILES} files", self.python, job)
        columns, rows = ((xs - west) // 10240).astype(int), ((north - ys) // 10240).astype(int)
        parts = {tile: length for tile, _, length in self.stream.tile_parts}
        whole = FILES * sum(parts[tile] for tile in {int(row * 11 + column) for row, column in zip(rows, columns, strict=True)})
        files = [str(self.file)] * FILES
        theirs, _ = self.take("rasterio's sample, local copies", self.python, self.job("rasterio_sample", points=points, files=files))
        assert ours is not None
        self.report.target("sample: bytes to those of the tiles", stats["bytes"] / whole, 0.25)
        if theirs is not None:
            self.report.target("sample: rate to that of rasterio's, local", theirs["seconds"] / ours["seconds"], 5, least=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="measures areas")
    parser.add_argument("--limit", type=float, default=600, help="seconds after which a way is stopped")
    parser.add_argument("--write", type=Path, help="file to put the table into, between its marker lines")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vsitlm-load-"))
    try:
        bench = LoadBench(folder, bench_cube.made_band(), arguments.limit)
        bench.make()
        bench.measure()
    finally:
        shutil.rmtree(folder)
    text = bench.report.markdown("make bench-load", 1, bench_cube.described())
    print(text)
    if arguments.write:
        from bench import replace_section

        replace_section(arguments.write, text, "bench-load")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("{"):
        bench_cube.do(json.loads(sys.argv[1]))
    else:
        main()
