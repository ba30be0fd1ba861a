"""The commands `vsitlm search` and `vsitlm load`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._errors import CubeError, Error
from .._info import statistics
from .._path import without_query
from ._load import load
from ._masks import NAMES
from ._result import Result
from ._search import FORMATS, search


def run(what: str, arguments: Sequence[str]) -> int:
    """Runs one of them, and gives its exit code: 0 all went well, 1 something failed, 2 the arguments make no sense."""
    try:
        return _search(arguments) if what == "search" else _load(arguments)
    except (Error, ImportError, OSError) as error:
        print(f"vsitlm {what}: {error}", file=sys.stderr)
        return 1


def _parser(what: str, about: str) -> argparse.ArgumentParser:
    """The arguments that both have."""
    parser = argparse.ArgumentParser(prog=f"vsitlm {what}", description=about)
    parser.add_argument("catalogue", nargs="+", help="an index, STAC items (JSON or parquet), or the URL of a STAC API")
    parser.add_argument("--area", help="a GeoJSON file, or west,south,east,north in degrees")
    parser.add_argument("--datetime", help="such as 2024-04/2024-10")
    parser.add_argument("--bands", help="such as B04,B08 or red,nir")
    parser.add_argument("--cloud-cover", type=float, help="percent of a product, at most")
    parser.add_argument("--collections", help="of a STAC API")
    parser.add_argument("--formats", default=",".join(FORMATS), help="of files, the best first (default: %(default)s)")
    parser.add_argument("--level", choices=("L2A", "L1C"), default="L2A", help="of an index (default: %(default)s)")
    return parser


def _found(given: argparse.Namespace, bands: Sequence[str] | None) -> Result:
    """What the arguments ask for."""
    collections = given.collections.split(",") if given.collections else None
    return search(
        given.catalogue, _area(given.area), given.datetime, bands, cloud_cover=given.cloud_cover, level=given.level,
        collections=collections, formats=given.formats.split(","),
    )  # fmt: skip


def _area(text: str | None) -> Any:
    """An area as an argument has it.

    Raises:
        CubeError: It is none.
    """
    if text is None or text.lstrip().startswith("{"):
        return text
    if Path(text).is_file():
        return Path(text).read_text(encoding="utf-8")
    try:
        west, south, east, north = map(float, text.split(","))
    except ValueError as error:
        raise CubeError(f"the area {text} is no file, and not west,south,east,north") from error
    return west, south, east, north


def _search(arguments: Sequence[str]) -> int:
    """Lists files."""
    parser = _parser("search", "Lists the files of an area, a span of time and some bands.")
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args(arguments)
    found = _found(given, given.bands.split(",") if given.bands else None)
    for row in found.to_arrow().to_pylist():
        row["time"] = f"{row['time']:%Y-%m-%dT%H:%M:%SZ}"
        # A signature is nobody's business who reads a log.
        row["url"] = without_query(row["url"])
        cover = "" if row["cloud_cover"] is None else f" {row['cloud_cover']:.0f}%"
        print(json.dumps(row) if given.json else f"{row['time']} {row['tile']} {row['band']}{cover} {row['url']}")
    print(f"{len(found)} files", file=sys.stderr)
    return 0


def _load(arguments: Sequence[str]) -> int:
    """Writes what was found."""
    parser = _parser("load", "Reads the pixels of an area, a span of time and some bands, and writes them.")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="a file that ends in .zarr, .nc or .tif")
    parser.add_argument("--resolution", type=float, help="of the grid; by default the coarsest of the bands' own")
    parser.add_argument("--crs", help="of the grid, such as EPSG:3035; by default that of the files")
    parser.add_argument("--resampling", default="nearest", help="of what is warped (default: %(default)s)")
    parser.add_argument("--offset", choices=("keep", "harmonise"), default="keep", help="see docs/cubes.md")
    parser.add_argument("--groupby", choices=("solar_day", "time", "id"), default="solar_day", help="what is a time")
    parser.add_argument(
        "--mask", choices=tuple(NAMES), action="append", help="what is left out, see docs/areas.md; may be repeated"
    )
    parser.add_argument("--preview", metavar="PNG", help="a contact sheet of the dates")
    given = parser.parse_args(arguments)
    if not given.bands:
        parser.error("name the bands: --bands B04,B08")
    bands = given.bands.split(",")
    start, writer = time.perf_counter(), _writer(given.output)
    found = _found(given, [*bands, *(band for name in given.mask or () if (band := NAMES[name]))])
    made = load(
        found, bands, resolution=given.resolution, crs=given.crs, resampling=given.resampling, offset=given.offset,
        groupby=given.groupby, mask=given.mask, progress=sys.stderr.isatty(),
    )  # fmt: skip
    writer(made, given.output)
    if given.preview:
        from ._sheet import write_sheet

        write_sheet(made, given.preview)
    asked = statistics()["total"]
    sizes = " x ".join(str(size) for size in made[bands[0]].shape)
    print(
        f"{given.output}: {', '.join(bands)}, {sizes}; {asked['requests']} requests, {asked['bytes'] / 1e6:.1f} MB, "
        f"{time.perf_counter() - start:.1f} s"
    )
    return 0


def _writer(out: str) -> Any:
    """How a file of this name is written.

    Raises:
        CubeError: No way is known, or there is one already.
    """
    writers = {".zarr": _to_zarr, ".nc": _to_netcdf, ".tif": _to_tiff}
    writer = writers.get(Path(out).suffix)
    if writer is None:
        raise CubeError(f"{out} is to end in one of {', '.join(writers)}")
    if Path(out).exists():
        raise CubeError(f"{out} is there already")
    return writer


def _to_zarr(made: Any, out: str) -> None:
    made.to_zarr(out, consolidated=False)


def _to_netcdf(made: Any, out: str) -> None:
    made.to_netcdf(out, engine="h5netcdf")


def _to_tiff(made: Any, out: str) -> None:
    """A GeoTIFF with a band for each time of each variable."""
    import numpy
    import rasterio

    names = list(made.data_vars)
    down, across = made[names[0]].dims[1:]
    rows, columns = made.sizes[down], made.sizes[across]
    terms = [float(number) for number in made.spatial_ref.attrs["GeoTransform"].split()]
    profile = {
        "driver": "GTiff", "width": columns, "height": rows, "count": len(names) * made.sizes["time"], "tiled": True,
        "dtype": numpy.result_type(*(made[name].dtype for name in names)), "compress": "deflate",
        "crs": made.spatial_ref.attrs["crs_wkt"], "transform": rasterio.Affine.from_gdal(*terms), "nodata": 0,
    }  # fmt: skip
    with rasterio.open(out, "w", **profile) as file:
        number = 0
        for name in names:
            for place, moment in enumerate(made.time.values):
                number += 1
                file.write(made[name].values[place], number)
                file.set_band_description(number, f"{name} {str(moment)[:19]}")
