"""The command `vsitlm cube`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from .._errors import Error

ABOUT = """\
Writes a cube of references to the files of an index, which zarr, xarray, GDAL and others read.

  vsitlm cube INDEX -o OUT [options]    writes one, or puts times to it
  vsitlm cube info OUT                  shows what one is
  vsitlm cube validate OUT              checks one against its files
"""


def run(arguments: Sequence[str]) -> int:
    """Runs it, and gives its exit code: 0 all went well, 1 something failed, 2 the arguments make no sense."""
    # Its hints at what local folders cannot do are no news to a single writer.
    os.environ.setdefault("ICECHUNK_LOG", "error")
    try:
        if arguments and arguments[0] in ("info", "validate"):
            return _look(arguments[0], arguments[1:])
        return _export(arguments)
    except (Error, ImportError, OSError) as error:
        print(f"vsitlm cube: {error}", file=sys.stderr)
        return 1


def _export(arguments: Sequence[str]) -> int:
    """Writes a cube."""
    from ._export import FORMATS, export

    parser = argparse.ArgumentParser(
        prog="vsitlm cube", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", nargs="+", help="an index: a file, or a folder or prefix of the partition layout")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="a folder, s3://bucket/prefix, or JSON file"
    )
    parser.add_argument("--tile", help="the MGRS tile, such as 31UDQ")
    parser.add_argument("--bands", help="such as B04,B08,SCL; all where it is not given")
    parser.add_argument("--datetime", help="such as 2024-05/2024-09; all where it is not given")
    parser.add_argument("--resolution", type=int, help="metres: one group of bands; a tree of groups where not given")
    parser.add_argument("--format", choices=FORMATS, default="icechunk", help="what to write (default: %(default)s)")
    parser.add_argument(
        "--store", help="where the files lie: cdse, gcs, aws or a base; by default where rows were made"
    )
    parser.add_argument("--append", action="store_true", help="put the times that OUT lacks to those that it has")
    parser.add_argument("--masks", action="store_true", help="with detector footprints, in a tree")
    parser.add_argument("--duplicates", choices=("newest", "all", "error"), default="newest", help="of one datatake")
    parser.add_argument("--level", choices=("L2A", "L1C"), default="L2A", help="of processing (default: %(default)s)")
    given = parser.parse_args(arguments)
    made = export(
        given.index, given.output, given.tile, given.bands.split(",") if given.bands else None, given.datetime,
        given.resolution, format=given.format, append=given.append, duplicates=given.duplicates, masks=given.masks,
        level=given.level, archive=given.store,
    )  # fmt: skip
    times = f"{made.times} times, {made.added} of them new"
    print(f"{given.output}: {times}, {made.arrays} arrays, {made.references} references")
    if made.without_state:
        print(f"{made.without_state} references are of files whose state is not known", file=sys.stderr)
    return 0


def _look(what: str, arguments: Sequence[str]) -> int:
    """Shows or checks a cube."""
    from ._check import describe, faults

    parser = argparse.ArgumentParser(prog=f"vsitlm cube {what}")
    parser.add_argument("out", metavar="OUT", help="an Icechunk repository, or references of kerchunk's")
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args(arguments)
    if what == "validate":
        found = faults(given.out, {})
        print(json.dumps({"faults": found}) if given.json else "\n".join(found) or f"{given.out} is sound")
        return 1 if found else 0
    told = describe(given.out, {})
    if given.json:
        print(json.dumps(asdict(told)))
        return 0
    print(f"{told.format}, tile {told.tile}, {len(told.times)} times, {told.times[0]} to {told.times[-1]}")
    print(f"{told.files:,} files, {told.bytes / 1e6:,.1f} MB of chunks")
    for path, array in told.arrays.items():
        shape, chunks = (" x ".join(map(str, array[key])) for key in ("shape", "chunks"))
        reduced = f", 1/{1 << array['reduce']}" if array["reduce"] else ""
        print(f"  {path}: {array['dtype']}, {shape}, chunks {chunks}{reduced}, {array['references']:,} references")
    return 0
