#!/usr/bin/env python3
"""Measures what vsitlm has to reach, as ratios to its peers in the same run, and writes a table in Markdown.

    bench.py [--repeat 5] [--only network] [--write docs/benchmarks.md]

Run it by `make bench`, which builds the plugin first. The reads are those of measure.py, on the files of sample.py;
the peers take turns, and the table has the medians. It ends with 0 also where a target is missed: the table says so.
With --write the table replaces what stands between the two marker lines of that file.

Needs rasterio; gdal_translate on PATH; Debian's python3-gdal.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import rasterio
from bench_index import bench_indexing
from bench_report import Readings, Report, in_turns, ratio, say, seconds
from bench_transport import MANY, bench_files, bench_whole, many_files
from measure import COG, LOCAL, PLAIN, SPARSE, VSITLM, Case, Measurement, Peer, Reading
from sample import JP2_PATH, make, make_coarse, make_many, make_tci

FIRST = str(JP2_PATH)
SECOND = FIRST.replace("_B03_", "_B04_")
COGS = {FIRST: "cog/B03.tif", SECOND: "cog/B04.tif"}
TCI = FIRST.replace("_B03_", "_TCI_")
ELSEWHERE = "/vsitlm/, row made elsewhere"
EMBEDDED = "/vsitlm/, embedded overviews"
DEBIAN = "/usr/bin/python3"
"""Debian's Python, with GDAL's own bindings."""
TCI_LINKS = {4: 20, 32: 3}
"""Connections, and MB/s of each: an archive that allows four, and a link of 100 MB/s shared by all."""
MIB = 1 << 20
CACHE = 16 * MIB
"""VSITLM_CACHE_SIZE where memory is measured, in bytes."""
SLACK = 32 * MIB
"""What memory may rise beyond the cache: requests under way, and what the allocator keeps."""
OPENS = 10_000
OPEN_LIMIT = 50e-6
"""Seconds that opening an indexed file may take."""


def bench(measurement: Measurement, repeat: int, report: Report) -> None:
    """All cases but those of the local file."""
    stream = measurement.codestreams[FIRST]

    def peer(kind: str, name: str = FIRST) -> Peer:
        return measurement.peer(kind, COGS[name] if kind == COG else name)

    def reader(kind: str, case: Case) -> Callable[[], Reading]:
        return lambda: measurement.read(peer(kind), case)

    say("512 px in one tile, new process")
    window = stream.inside(512)
    case = Case("512 px in one tile, new process", window)
    elsewhere = measurement.folder / "elsewhere.parquet"
    measurement.make_index([str(measurement.folder / "served" / FIRST)], elsewhere)
    foreign = Peer(ELSEWHERE, peer(VSITLM).path, measurement.plugin_options(elsewhere))
    reads = {kind: reader(kind, case) for kind in (PLAIN, SPARSE, COG, VSITLM)}
    reads[ELSEWHERE] = lambda: measurement.read(foreign, case)
    reads[LOCAL] = reader(LOCAL, case)
    readings = in_turns(repeat, reads)
    report.add(case.name, readings)
    ours = readings[VSITLM][-1]
    theirs = readings[ELSEWHERE][-1]
    report.target("512 px in one tile: GETs", ours.requests - ours.heads, 1, "{:.0f}", exact=True)
    report.target("512 px in one tile: HEADs", ours.heads, 0, "{:.0f}", exact=True)
    # The check of such a row is a GET of one byte in place of a HEAD: see Remote::head in src/source/remote/file.rs.
    report.target("the same, row made elsewhere: requests, the check among them", theirs.requests, 2, "{:.0f}")
    most = stream.tile_bytes(*window[:2]) + 1024
    report.target("512 px in one tile: bytes, the tile-part + 1 kB", ours.bytes, most, "{:,.0f}")
    for other, limit in ((SPARSE, 0.65), (PLAIN, 0.08), (COG, 0.85)):
        report.target(f"512 px in one tile: time to that of {other}", ratio(readings, VSITLM, other), limit)

    say("512 px in one tile of a second file of the host")
    case = Case("512 px, second file of the host, same process", window)

    def second(kind: str) -> Callable[[], Reading]:
        return lambda: measurement.read(peer(kind, SECOND), case, after=peer(kind))

    readings = in_turns(repeat, {kind: second(kind) for kind in (PLAIN, SPARSE, COG, VSITLM, LOCAL)})
    report.add(case.name, readings)
    for other, limit in ((SPARSE, 0.5), (COG, 0.65)):
        report.target(f"second file of the host: time to that of {other}", ratio(readings, VSITLM, other), limit)

    say("512 px in one tile, gdal_translate")
    case = Case("512 px in one tile, gdal_translate", window)

    def translated(kind: str) -> Callable[[], Reading]:
        return lambda: measurement.translate(peer(kind), case)

    readings = in_turns(repeat, {kind: translated(kind) for kind in (PLAIN, VSITLM, LOCAL)})
    report.add(case.name, readings)
    ours = readings[VSITLM][-1]
    report.target("gdal_translate: GETs", ours.requests - ours.heads, 1, "{:.0f}", exact=True)
    report.target(f"gdal_translate: time to that of {PLAIN}", ratio(readings, VSITLM, PLAIN), 0.05)

    say("512 px over four tiles")
    case = Case("512 px over four tiles, 4 threads", stream.across(512), {"GDAL_NUM_THREADS": "4"})
    readings = in_turns(repeat, {kind: reader(kind, case) for kind in (PLAIN, SPARSE, COG, VSITLM, LOCAL)})
    report.add(case.name, readings)
    ours = readings[VSITLM][-1]
    report.target("four tiles: GETs", ours.requests - ours.heads, 4, "{:.0f}", exact=True)
    report.target("four tiles: in flight together", ours.max_inflight, 4, "{:.0f}", exact=True)
    report.target(f"four tiles: time to that of {SPARSE}", ratio(readings, VSITLM, SPARSE), 0.6)


def bench_overviews(measurement: Measurement, repeat: int, report: Report) -> None:
    """The whole scene at a few sizes, and a tile of it."""
    stream = measurement.codestreams[FIRST]
    size = measurement.files[FIRST].stat().st_size
    smallest = min(length for _, _, length in stream.tile_parts)
    embedding = measurement.folder / "embedded.parquet"
    measurement.server.control(rtt_ms=0)
    measurement.make_index([measurement.url(FIRST)], embedding, "--embed-overviews", "16")
    measurement.server.control(rtt_ms=measurement.rtt_ms)

    def peer(kind: str) -> Peer:
        if kind == EMBEDDED:
            return Peer(kind, measurement.peer(VSITLM, FIRST).path, measurement.plugin_options(embedding))
        return measurement.peer(kind, COGS[FIRST] if kind == COG else FIRST)

    def take(case: Case, kinds: Iterable[str]) -> Readings:
        say(case.name)
        report.reduced.add(case.name)

        def reader(kind: str) -> Callable[[], Reading]:
            return lambda: measurement.read(peer(kind), case)

        readings = in_turns(repeat, {kind: reader(kind) for kind in kinds})
        report.add(case.name, readings)
        return readings

    def px(factor: int) -> tuple[int, int]:
        return -(-stream.height // factor), -(-stream.width // factor)

    every = (PLAIN, SPARSE, COG, VSITLM, EMBEDDED, LOCAL)
    for what, python in (("", sys.executable), (f", Debian's GDAL {debian()}", DEBIAN)):
        name = f"scene at {px(16)[1]} px{what}"
        readings = take(Case(name, None, shape=px(16), python=python), every)
        limits = {SPARSE: 0.10, PLAIN: 0.05, COG: 1.6}
        for other in limits:
            report.target(f"{name}: time to that of {other}", ratio(readings, VSITLM, other), limits[other])
        ours = readings[VSITLM][-1]
        report.target(f"{name}: share of the file's bytes, %", 100 * ours.bytes / size, 1.1)
        whole = 0 if ours.largest < smallest else 1
        report.target(f"{name}: whole tile-parts fetched", whole, 0, "{:.0f}", exact=True)
        report.target(f"{name}, embedded: requests", readings[EMBEDDED][-1].requests, 0, "{:.0f}", exact=True)
        report.target(f"{name}, embedded: time to that of {COG}", ratio(readings, EMBEDDED, COG), 0.4)

    name = f"scene at {px(4)[1]} px"
    readings = take(Case(name, None, shape=px(4)), (PLAIN, SPARSE, COG, VSITLM, LOCAL))
    report.target(f"{name}: time to that of {SPARSE}", ratio(readings, VSITLM, SPARSE), 0.25)
    report.target(f"{name}: share of the file's bytes, %", 100 * readings[VSITLM][-1].bytes / size, 8)

    name = f"scene at {px(16)[1]} px, 4 connections"
    readings = take(Case(name, None, {"VSITLM_MAX_CONNECTIONS": "4"}, px(16)), (VSITLM, LOCAL))
    report.target(f"{name}: seconds", seconds(readings[VSITLM]), 2.5)
    report.target(f"{name}: in flight together", readings[VSITLM][-1].max_inflight, 4, "{:.0f}")

    left, top, _, _ = stream.inside(1)
    tile = (left // stream.tile_width * stream.tile_width, top // stream.tile_height * stream.tile_height)
    window = (*tile, stream.tile_width, stream.tile_height)
    name = "one tile at 1/4"
    readings = take(Case(name, window, shape=(window[3] // 4, window[2] // 4)), (COG, VSITLM, LOCAL))
    report.target(f"{name}: requests", readings[VSITLM][-1].requests, 1, "{:.0f}", exact=True)

    for factor in (2, 8):
        take(Case(f"scene at {px(factor)[1]} px", None, shape=px(factor)), (VSITLM, LOCAL))


def bench_tci(measurement: Measurement, report: Report) -> None:
    """Many small tile-parts: asking for each range, or for a few with what lies between them."""
    stream = measurement.codestreams[TCI]
    shape = (-(-stream.height // 16), -(-stream.width // 16))
    for connections, speed in TCI_LINKS.items():
        link = f"{connections} connections of {speed} MB/s"
        name = f"TCI of {len(stream.tile_parts):,} tile-parts at {shape[1]} px, {link}"
        say(name)
        measurement.server.control(mbps=speed * 8)
        report.reduced.add(name)
        readings = {LOCAL: [measurement.read(measurement.peer(LOCAL, TCI), Case(name, None, shape=shape))]}
        for how, gap in (("", "AUTO"), (", each range asked for", "0"), (", gaps up to 1 MB merged", "1MB")):
            options = {"VSITLM_MAX_CONNECTIONS": str(connections), "VSITLM_MERGE_GAP": gap}
            reading = measurement.read(measurement.peer(VSITLM, TCI), Case(name, None, options, shape))
            readings[f"{VSITLM}{how}"] = [reading]
        report.add(name, readings)
    measurement.server.control(mbps=0)


def bench_local(measurement: Measurement, repeat: int, report: Report) -> None:
    """A local file, opening, and memory."""
    say("a local file, whole")
    index = measurement.folder / "local.parquet"
    jp2 = measurement.files[FIRST].resolve()
    measurement.make_index([str(jp2)], index)
    case = Case("whole local file", None)
    through = Peer(VSITLM, f"/vsitlm/{jp2}", measurement.plugin_options(index))
    direct = measurement.peer(LOCAL, FIRST)
    reads = {VSITLM: lambda: measurement.read(through, case), LOCAL: lambda: measurement.read(direct, case)}
    readings = in_turns(max(3, repeat), reads)
    report.add(case.name, readings)
    report.target("whole local file: time to that of reading it directly", ratio(readings, VSITLM, LOCAL), 1.03)

    say(f"opening {OPENS:,} times, and memory")
    remote = measurement.peer(VSITLM, FIRST)
    opened = measurement.run({"do": "opens", "path": remote.path, "times": OPENS}, remote.options)["seconds"]
    report.target(f"opening an indexed file {OPENS:,} times: µs each", opened * 1e6, OPEN_LIMIT * 1e6, "{:.1f}")
    measurement.server.control(rtt_ms=0)
    bounded = remote.options | {"VSITLM_CACHE_SIZE": str(CACHE)}
    streamed = measurement.run({"do": "stream", "path": remote.path}, bounded)
    measurement.server.control(rtt_ms=measurement.rtt_ms)
    what = f"memory that reading {streamed['bytes'] // MIB} MiB takes with a cache of {CACHE // MIB} MiB: MiB"
    report.target(what, streamed["grown"] / MIB, (CACHE + SLACK) / MIB, "{:.0f}")


def debian() -> str:
    """The version of GDAL that Debian's Python has."""
    code = "from osgeo import gdal; print(gdal.__version__)"
    return subprocess.run([DEBIAN, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def described(rtt_ms: float) -> str:
    """What the numbers were measured on."""
    translate = subprocess.run(["gdal_translate", "--version"], capture_output=True, text=True, check=True).stdout
    gdal = translate.split(",")[0].removeprefix("GDAL ")
    return (
        f"{os.cpu_count()} CPUs ({platform.machine()}), round trips of {rtt_ms:g} ms and {3 * rtt_ms:g} ms for a new"
        f" connection, rasterio {rasterio.__version__} (GDAL {rasterio.__gdal_version__}), gdal_translate {gdal}"
    )


def replace_section(file: Path, text: str, name: str = "bench") -> None:
    """Puts `text` between the marker lines of `file` that have this name."""
    begin, end = (f"<!-- {name}: {edge} -->" for edge in ("begin", "end"))
    old = file.read_text()
    section = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not section.search(old):
        raise SystemExit(f"{file}: no lines {begin} and {end}")
    file.write_text(section.sub(lambda _: f"{begin}\n{text}\n{end}", old))


def arguments_of(what: str) -> argparse.ArgumentParser:
    """What the benches of the plugin take."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--plugin", type=Path, default=Path("target/plugin"), help="folder of gdal_vsitlm.so")
    parser.add_argument("--vsitlm", type=Path, default=Path("target/release/vsitlm"), help="the command vsitlm")
    parser.add_argument("--folder", type=Path, default=Path("target/sample"), help="where made files are kept")
    parser.add_argument("--rtt-ms", type=float, default=50, help="round trip of the server in milliseconds")
    parser.add_argument("--repeat", type=int, default=5, help="reads of each kind")
    parser.add_argument("--write", type=Path, help="file to put the table into, between its marker lines")
    return parser


def main() -> None:
    """The command line."""
    parser = arguments_of("measures vsitlm against its targets")
    parser.add_argument("--only", choices=["network", "index"], help="many files at once and whole files; indexing")
    arguments = parser.parse_args()
    say("sample files (made once, a few minutes)")
    jp2, cog = make(arguments.folder)
    assert cog
    report = Report()
    if arguments.only == "index":
        coarse = make_coarse(arguments.folder)
        bench_indexing(arguments.vsitlm, jp2, coarse, arguments.rtt_ms, arguments.repeat, report)
        finish(arguments, report)
        return
    files, cogs = {FIRST: jp2, SECOND: jp2, TCI: make_tci(arguments.folder)}, dict.fromkeys(COGS.values(), cog)
    files[MANY] = make_many(arguments.folder)
    command = (arguments.plugin, arguments.vsitlm, arguments.rtt_ms)
    with Measurement(many_files(jp2), {}, *command) as measurement:
        bench_files(measurement, arguments.repeat, report)
    with Measurement(files, cogs, *command) as measurement:
        bench_whole(measurement, arguments.repeat, report)
        if not arguments.only:
            bench(measurement, arguments.repeat, report)
            bench_overviews(measurement, arguments.repeat, report)
            bench_tci(measurement, report)
            bench_local(measurement, arguments.repeat, report)
    if not arguments.only:
        bench_indexing(
            arguments.vsitlm, jp2, make_coarse(arguments.folder), arguments.rtt_ms, arguments.repeat, report
        )
    finish(arguments, report)


def finish(arguments: argparse.Namespace, report: Report) -> None:
    """Prints the tables, and writes them where they are wanted."""
    command = f"scripts/bench.py --only {arguments.only}" if arguments.only else "make bench"
    text = report.markdown(command, arguments.repeat, described(arguments.rtt_ms))
    print(text)
    if arguments.write:
        replace_section(arguments.write, text)


if __name__ == "__main__":
    main()
