#!/usr/bin/env python3
"""Measures areas: loading from STAC items against a cube, odc-stac and rasteret; values at points against rasterio; and a
search in a large index in S3.

    bench_load.py [--limit 600] [--write docs/benchmarks.md]

Run it by `make bench-load`, with the Python of target/py/cube. Files, server and box are those of bench_cube.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import bench_cube
from bench_cube import BANDS, CDSE, DATES, MBPS, NAME, PRODUCT, ROOT, SIDE, Bench, Clock, days, stac_item
from measure import Server

sys.path.append(str(ROOT / "tests/python"))

RASTERET_PYTHON = ROOT / "target/py/rasteret/bin/python"
COG_NAME = "cogs/{0}_{1}.tif"
FILES, POINTS = 50, 10_000
ROWS, ROWS_OF_A_TILE, YEARS = 1_000_000, 1000, 4
"""Of the index in S3: each tile has as many rows in each year."""
WEST, NORTH, EXTENT = 399960.0, 5400000.0, 109800.0


def load(job: dict[str, Any], clock: Clock) -> Any:
    """`vsitlm.load` of STAC items whose files an index has."""
    import pyarrow  # noqa: F401
    import pyproj  # noqa: F401
    import rasterio  # noqa: F401
    import shapely  # noqa: F401
    import vsitlm
    import xarray  # noqa: F401

    clock.mark()
    # The made files do not lie where tiles of their name do.
    found = vsitlm.search(job["items"], bands=job["bands"], VSITLM_INDEX=job["index"], **job["options"])
    start = clock.start
    clock.mark()
    clock.start = start
    loaded = vsitlm.load(found, area=job["area"], groupby=None)
    return [loaded[band].values for band in job["bands"]]


def rasteret_build(job: dict[str, Any], clock: Clock) -> Any:
    """Reads the headers of COGs, once."""
    import pyarrow
    import rasteret
    import shapely

    items = job["items"]["features"]
    rows = [
        {
            "id": item["id"], "datetime": item["properties"]["datetime"], "proj:code": item["properties"]["proj:code"],
            "geometry": shapely.to_wkb(shapely.geometry.shape(item["geometry"])),
            "assets": {band: {"href": f"{job['url']}/{COG_NAME.format(item['id'], band)}"} for band in job["bands"]},
        }
        for item in items
    ]  # fmt: skip
    clock.mark()
    rasteret.build_from_table(
        pyarrow.Table.from_pylist(rows), name="bench", data_source="bench", workspace_dir=job["collection"], force=True,
        enrich_cog=True, band_codes=job["bands"], backend=_http(job["url"]),
    )  # fmt: skip
    return 0.0


def rasteret_load(job: dict[str, Any], clock: Clock) -> Any:
    """rasteret's `read_window`, by its own reader of COGs."""
    import numpy
    import rasteret

    clock.mark()
    collection = rasteret.load(job["collection"])
    made = collection.read_window(
        record_ids=collection.to_table(columns=["id"]).column("id").to_pylist(), bounds=tuple(job["area"]),
        res=(10.0, 10.0), bands=job["bands"], target_crs=32631, group_by="datetime", backend=_http(job["url"]),
    )  # fmt: skip
    assert made.shape == (DATES, len(job["bands"]), SIDE, SIDE), made.shape
    return [numpy.ascontiguousarray(made[:, number]) for number in range(len(job["bands"]))]


def _http(url: str) -> Any:
    """Its own store, which otherwise refuses servers without TLS."""
    from obstore.store import HTTPStore
    from rasteret.cloud import ObstoreBackend
    from rasteret.fetch.cog import _OBSTORE_CLIENT_OPTIONS, _OBSTORE_RETRY_CONFIG

    options = {**_OBSTORE_CLIENT_OPTIONS, "allow_http": "true"}
    store = HTTPStore.from_url(f"{url}/", client_options=options, retry_config=_OBSTORE_RETRY_CONFIG)
    return ObstoreBackend(store, url_prefix=f"{url}/")


def sample(job: dict[str, Any], clock: Clock) -> Any:
    """`vsitlm.sample`."""
    import numpy
    import pyarrow  # noqa: F401
    import vsitlm

    places = numpy.array(job["points"])
    clock.mark()
    found = vsitlm.search(job["index"], bands=job["bands"])
    table = vsitlm.sample(places, found)
    values = numpy.zeros((FILES, len(places)), "uint16")
    products = table.column("product").to_pandas()
    for number, product in enumerate(sorted(set(products))):
        mine = (products == product).to_numpy()
        values[number, table.column("point").to_numpy()[mine]] = table.column(job["bands"][0]).to_numpy(
            zero_copy_only=False
        )[mine]
    return [values]


def rasterio_sample(job: dict[str, Any], clock: Clock) -> Any:
    """rasterio's `sample` of local copies, by two threads: as many as there are cores."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy
    import rasterio
    from rasterio.sample import sort_xy
    from rasterio.warp import transform

    clock.mark()
    xs, ys = transform("OGC:CRS84", "EPSG:32631", *zip(*job["points"], strict=True))
    points = list(zip(xs, ys, strict=True))
    # What its documentation advises, so that a block is decoded once.
    ordered = sort_xy(points)
    places = {point: place for place, point in enumerate(points)}

    def values(path: str) -> Any:
        with rasterio.open(path) as file:
            of_file = numpy.zeros(len(points), "uint16")
            for point, value in zip(ordered, file.sample(ordered), strict=True):
                of_file[places[point]] = value[0]
            return of_file

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [numpy.stack(list(pool.map(values, job["files"])))]


def search(job: dict[str, Any], clock: Clock) -> Any:
    """`vsitlm.search` in an index in S3."""
    import pyarrow  # noqa: F401
    import pyproj  # noqa: F401
    import shapely  # noqa: F401
    import vsitlm

    clock.mark()
    found = vsitlm.search(job["index"], job["area"], "2022-06", ["B02"], **job["options"])
    asked = vsitlm.statistics()["total"]
    assert len(found) > 0
    return {"files": len(found), "requests": asked["requests"]}


bench_cube.WAYS.update(
    load=load, rasteret_build=rasteret_build, rasteret_load=rasteret_load, sample=sample, rasterio_sample=rasterio_sample,
    search=search,
)  # fmt: skip


class LoadBench(Bench):
    """The same server with other ways, and with a COG of the same pixels."""

    def __init__(self, folder: Path, file: Path, cog: Path, limit: float) -> None:
        super().__init__(folder, file, limit)
        self.cog = cog

    def measure(self) -> None:
        """All ways, one after the other."""
        served = self.folder / "served"
        for day in days(DATES):
            for band in BANDS:
                link = served / COG_NAME.format(day, band)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self.cog)
        with Server(served, 0) as self.server:
            urls = [f"{self.server.url}/{NAME.format(day, band)}" for day in days(DATES) for band in BANDS]
            self.index(*urls, self.folder / "cube.parquet")
            self.index("--packets", *urls[: 3 * FILES : 3], self.folder / "points.parquet")
            self.server.control(mbps=MBPS, rtt_ms=50)
            self.areas()
            self.points()
        self.search()

    def areas(self) -> None:
        """An area: at the limits of CDSE, and without limits."""
        items = {"type": "FeatureCollection", "features": [stac_item(day, self.server.url) for day in days(DATES)]}
        what = "90 dates, 3 bands, 10 x 10 km"
        cube, _ = self.take(f"open_cube(…).load(), {what}", self.python, self.job("open_cube"))
        loaded, _ = self.take("load(…) of STAC items", self.python, self.job("load", items=items, options=CDSE))
        free, _ = self.take(
            "load(…), without limits of connections", self.python, self.job("load", items=items, options={})
        )
        assert cube is not None and loaded is not None and free is not None
        self.report.target("load: time to that of open_cube", loaded["seconds"] / cube["seconds"], 1.1)
        self.report.target("load: memory beyond the result, once it is open, MB", loaded["memory"] / 1e6, 300, "{:.0f}")
        if not cube["sum"] == loaded["sum"] == free["sum"]:
            self.report.wrong.append("load")
        if RASTERET_PYTHON.exists():
            terms = {"items": items, "collection": str(self.folder / "bench_records")}
            self.take(
                "rasteret reads the headers of the COGs, once",
                RASTERET_PYTHON,
                self.job("rasteret_build", load=False, **terms),
            )
            theirs, _ = self.take("rasteret on COGs of the same", RASTERET_PYTHON, self.job("rasteret_load", **terms))
            if theirs:
                self.report.target(
                    "load of JP2s: time to that of rasteret on COGs", free["seconds"] / theirs["seconds"], 1
                )
                if theirs["sum"] != cube["sum"]:
                    self.report.wrong.append("rasteret")
        job = self.job("odc", items=items, prefix="/vsicurl/")
        options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
        theirs, _ = self.take("odc-stac on /vsicurl/, 8 threads", bench_cube.STAC_PYTHON, job, **options)
        if theirs:
            self.report.target(
                "load: how much faster than odc-stac", theirs["seconds"] / free["seconds"], 10, least=True
            )
            if theirs["sum"] != cube["sum"]:
                self.report.wrong.append("odc-stac")

    def points(self) -> None:
        """Points by chance: 200 of each file."""
        import numpy
        import pyproj

        chance = numpy.random.default_rng(1)
        xs, ys = WEST + chance.uniform(0, EXTENT, POINTS // FILES), NORTH - chance.uniform(0, EXTENT, POINTS // FILES)
        to_degrees = pyproj.Transformer.from_crs(32631, "OGC:CRS84", always_xy=True)
        points = [list(map(float, point)) for point in zip(*to_degrees.transform(xs, ys), strict=True)]
        job = self.job("sample", points=points, index=str(self.folder / "points.parquet"), bands=[BANDS[0]])
        ours, stats = self.take(f"sample(…), {POINTS:,} values of {FILES} files", self.python, job)
        columns, rows = ((xs - WEST) // 10240).astype(int), ((NORTH - ys) // 10240).astype(int)
        parts = {tile: length for tile, _, length in self.stream.tile_parts}
        touched = {int(row * 11 + column) for row, column in zip(rows, columns, strict=True)}
        whole = FILES * sum(parts[tile] for tile in touched)
        files = [str(self.file)] * FILES
        theirs, _ = self.take(
            "rasterio's sample, local copies", self.python, self.job("rasterio_sample", points=points, files=files)
        )
        assert ours is not None
        self.report.target("sample: bytes to those of the tiles", stats["bytes"] / whole, 0.25, "{:.3f}")
        rate = (theirs["seconds"] if theirs else self.limit) / ours["seconds"]
        stopped = "" if theirs else f", which was stopped after {self.limit:.0f} s: at least"
        self.report.target(f"sample: rate to that of rasterio's, local{stopped}", rate, 5, least=True)
        if theirs and theirs["sum"] != ours["sum"]:
            self.report.wrong.append("sample")

    def search(self) -> None:
        """A box and a month of an index of a million rows in S3."""
        from servers import run_s3

        folder = self.folder / "objects"
        area = make_index(self.folder / "cube.parquet", folder / "index")
        with run_s3(folder, "eodata") as told:
            endpoint = f"http://127.0.0.1:{told['port']}"
            options = {"AWS_S3_ENDPOINT": endpoint, "AWS_VIRTUAL_HOSTING": "FALSE", **told["reader"]}
            job = {"way": "search", "index": "s3://eodata/index", "area": area, "options": options, "load": False}
            told = bench_cube.run(self.python, job, self.limit)
        assert told is not None
        found, requests = told["imports"]["files"], told["imports"]["requests"]
        self.report.note(
            f"search of a box and a month in {ROWS:,} rows in S3: {told['seconds']:.2f} s, {requests} requests, {found} files"
        )
        self.report.target("search: seconds", told["seconds"], 3)
        self.report.target("search: requests", requests, 20, "{:.0f}")


def make_index(source: Path, out: Path) -> tuple[float, float, float, float]:
    """Writes an index of the partition layout with as many rows as are wanted, which are those of another with other keys,
    and gives a box of four of its tiles.
    """
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(source)
    rows = table.take([number % len(table) for number in range(ROWS_OF_A_TILE)])
    squares = [f"{zone}U{column}{row}" for zone in (31, 32, 33, 34, 35) for column in "CDEFG" for row in "NPQRSTUVAB"]
    for tile in squares[: ROWS // ROWS_OF_A_TILE // YEARS]:
        for year in range(2021, 2021 + YEARS):
            shard = out / f"level=L2A/tile={tile}/year={year}/part-0.parquet"
            shard.parent.mkdir(parents=True)
            stamps = [f"{year}{1 + number // 84 % 12:02}{1 + number // 3 % 28:02}" for number in range(len(rows))]
            products = [PRODUCT.format(stamp).replace("T31UDQ", f"T{tile}") for stamp in stamps]
            times = [f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:]}T10:50:31Z" for stamp in stamps]
            made = rows
            for name, values in {
                "product_id": products, "mgrs_tile": [tile] * len(rows),
                "datetime": pyarrow.array(times).cast(pyarrow.timestamp("s", "UTC")),
                "path": [path.replace("31UDQ", tile) for path in rows.column("path").to_pylist()],
            }.items():  # fmt: skip
                place = rows.schema.get_field_index(name)
                made = made.set_column(
                    place, rows.schema.field(name), pyarrow.array(values).cast(rows.schema.field(name).type)
                )
            pyarrow.parquet.write_table(made, shard, compression="zstd")
    return 2.9, 48.5, 3.1, 48.7


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="measures areas")
    parser.add_argument("--limit", type=float, default=600, help="seconds after which a way is stopped")
    parser.add_argument("--write", type=Path, help="file to put the table into, between its marker lines")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vsitlm-load-"))
    try:
        bench = LoadBench(folder, *made_files(), arguments.limit)
        bench.make()
        bench.measure()
    finally:
        shutil.rmtree(folder)
    described = bench_cube.described().replace("4 connections of", "connections of")
    text = bench.report.markdown("make bench-load", 1, described)
    print(text)
    if arguments.write:
        from bench import replace_section

        replace_section(arguments.write, text, "bench-load")


def made_files() -> tuple[Path, Path]:
    """The made 10 m band, and its COG."""
    command = [str(bench_cube.SAMPLE_PYTHON), str(ROOT / "scripts/sample.py"), str(ROOT / "target/sample")]
    made = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    jp2, cog = (Path(line).resolve() for line in made.stdout.splitlines()[:2])
    return jp2, cog


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("{"):
        bench_cube.do(json.loads(sys.argv[1]))
    else:
        main()
