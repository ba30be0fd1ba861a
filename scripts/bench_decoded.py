#!/usr/bin/env python3
"""Measures decoded images (VSITLM_SERVE=TIFF) against a COG of the same image and against OpenJPEG.

    bench_decoded.py [--repeat 5] [--write docs/benchmarks.md]

Run it by `make bench-decoded`, which builds the plugin first. The reads are those of measure.py, on the files of sample.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

from bench import COGS, DEBIAN, EMBEDDED, FIRST, SECOND, arguments_of, debian, described, replace_section
from bench_report import Readings, Report, in_turns, ratio, say, seconds
from bench_transport import NAMES
from measure import COG, LOCAL, SPARSE, VSITLM, Case, Codestream, Measurement, Peer, Reading
from sample import make

TIFF = "/vsitlm/ decoded"
THREADS = {"GDAL_NUM_THREADS": "ALL_CPUS"}
AT_HAND = {64: 0.08, 256: 0.20, 512: 0.40}
"""Windows in pixels whose bytes are at hand, and the most time that they may take of a direct read of the JP2."""
PLACES = 40
OPENS = 10_000


def decoded(peer: Peer) -> Peer:
    """The same file, decoded by vsitlm."""
    return Peer(TIFF, peer.path, peer.options | {"VSITLM_SERVE": "TIFF"})


class Bench:
    """The files and the report."""

    def __init__(self, measurement: Measurement, repeat: int, report: Report) -> None:
        self.measurement, self.repeat, self.report = measurement, repeat, report

    def peer(self, kind: str, name: str = FIRST) -> Peer:
        """How a file is read."""
        if kind == TIFF:
            return decoded(self.measurement.peer(VSITLM, name))
        return self.measurement.peer(kind, COGS[name] if kind == COG else name)

    def take(self, case: Case, kinds: Iterable[str], after: str | None = None) -> Readings:
        """The readings of one case; `after` is a file that was read before, in the same process."""
        say(case.name)

        def reader(kind: str) -> Callable[[], Reading]:
            if after:
                return lambda: self.measurement.read(self.peer(kind, after), case, after=self.peer(kind))
            return lambda: self.measurement.read(self.peer(kind), case)

        readings = in_turns(self.repeat, {kind: reader(kind) for kind in kinds})
        self.report.add(case.name, readings)
        return readings

    def windows(self, stream: Codestream) -> None:
        """512 px over the network."""
        every = (COG, VSITLM, TIFF, LOCAL)
        name = "512 px in one tile, new process"
        readings = self.take(Case(name, stream.inside(512)), every)
        self.report.target(f"{name}: time to that of {COG}", ratio(readings, TIFF, COG), 0.80)
        self.report.target(f"{name}: requests", readings[TIFF][-1].requests, 1, "{:.0f}")
        name = "512 px, second file of the host, same process"
        readings = self.take(Case(name, stream.inside(512)), every, after=SECOND)
        self.report.target(f"{name}: time to that of {COG}", ratio(readings, TIFF, COG), 0.60)
        name = "512 px over four tiles"
        readings = self.take(Case(name, stream.across(512), THREADS), every)
        self.report.target(f"{name}: time to that of {COG}", ratio(readings, TIFF, COG), 0.85)

    def at_hand(self, stream: Codestream) -> None:
        """Windows of a local file, each in another tile: no window has code-blocks that one before it has decoded."""
        path = self.measurement.files[FIRST].resolve()
        across, down = stream.width // stream.tile_width, stream.height // stream.tile_height
        for px, limit in AT_HAND.items():
            say(f"{px} px at hand")
            chance = random.Random(px)
            tiles = chance.sample([(column, row) for column in range(across) for row in range(down)], PLACES)
            inside = [chance.randrange(stream.tile_width - px) for _ in range(2 * PLACES)]
            places = [
                (column * stream.tile_width + inside[2 * n], row * stream.tile_height + inside[2 * n + 1], px, px)
                for n, (column, row) in enumerate(tiles)
            ]
            index = self.measurement.folder / "local.parquet"
            self.measurement.make_index([str(path)], index)
            ours = Peer(TIFF, f"/vsitlm/{path}", self.measurement.plugin_options(index) | {"VSITLM_SERVE": "TIFF"})
            times: dict[str, list[float]] = {TIFF: [], LOCAL: []}
            for _ in range(max(1, self.repeat // 2)):
                for peer in (ours, self.peer(LOCAL)):
                    job = {"do": "windows", "path": peer.path, "windows": places}
                    done = self.measurement.run(job, peer.options | THREADS)
                    times[peer.name].append(done["seconds"])
                    pixels = done["pixels"] if peer.name == TIFF else pixels
                    if done["pixels"] != pixels:
                        self.report.wrong.append(f"{px} px at hand")
            took, direct = min(times[TIFF]), min(times[LOCAL])
            what = f"{px} px, bytes at hand: time to that of a direct read"
            self.report.target(what, took / direct, limit, "{:.3f}")
            self.report.note(f"{px} px at hand, {PLACES} places: {1e3 * took:.1f} ms, read directly {1e3 * direct:.1f} ms")

    def scenes(self, stream: Codestream) -> None:
        """The whole scene, smaller."""

        def px(factor: int) -> tuple[int, int]:
            return -(-stream.height // factor), -(-stream.width // factor)

        embedding = self.measurement.folder / "embedded.parquet"
        self.measurement.server.control(rtt_ms=0)
        self.measurement.make_index([self.measurement.url(FIRST)], embedding, "--embed-overviews", "16")
        self.measurement.server.control(rtt_ms=self.measurement.rtt_ms)
        path = self.measurement.peer(VSITLM, FIRST).path
        embedded = decoded(Peer(EMBEDDED, path, self.measurement.plugin_options(embedding)))
        for factor, limit, python in ((16, 1.3, None), (16, 1.3, DEBIAN), (4, 1.2, None)):
            name = f"scene at {px(factor)[1]} px" + (f", Debian's GDAL {debian()}" if python else "")
            case = Case(name, None, shape=px(factor), **({"python": python} if python else {}))
            self.report.reduced.add(name)
            readings = self.take(case, (COG, VSITLM, TIFF, LOCAL))
            self.report.target(f"{name}: time to that of {COG}", ratio(readings, TIFF, COG), limit)
            if factor == 16:
                taken = [self.measurement.read(embedded, case) for _ in range(self.repeat)]
                wrong = [reading for reading in taken if reading.pixels != readings[LOCAL][0].pixels]
                self.report.wrong.extend([f"{name}, embedded"] if wrong else [])
                share = seconds(taken) / seconds(readings[COG])
                self.report.target(f"{name}, embedded overviews: time to that of {COG}", share, 0.25)

    def whole(self) -> None:
        """A local file, whole, and opening."""
        say("a local file, whole")
        index = self.measurement.folder / "local.parquet"
        jp2 = self.measurement.files[FIRST].resolve()
        self.measurement.make_index([str(jp2)], index)
        case = Case("whole local file, all threads", None, THREADS)
        ours = decoded(Peer(VSITLM, f"/vsitlm/{jp2}", self.measurement.plugin_options(index)))
        reads = {peer.name: (lambda peer=peer: self.measurement.read(peer, case)) for peer in (ours, self.peer(LOCAL))}
        readings = in_turns(max(2, self.repeat // 2), reads)
        self.report.add(case.name, readings)
        self.report.target(f"{case.name}: time to that of a direct read", ratio(readings, TIFF, LOCAL), 0.6)
        say(f"opening {OPENS:,} times")
        remote = self.peer(TIFF)
        opened = self.measurement.run({"do": "opens", "path": remote.path, "times": OPENS}, remote.options)["seconds"]
        self.report.target(f"opening an indexed file {OPENS:,} times: µs each", opened * 1e6, 100, "{:.1f}")


def bench_files(measurement: Measurement, repeat: int, report: Report) -> None:
    """Windows of many files of one host on 8 threads of one process."""
    case = Case(f"512 px of {len(NAMES)} files, 8 threads", measurement.codestreams[NAMES[0]].inside(512))
    say(case.name)

    def reader(kind: str) -> Callable[[], Reading]:
        peers = [measurement.peer(VSITLM if kind == TIFF else kind, name) for name in NAMES]
        peers = [decoded(peer) if kind == TIFF else peer for peer in peers]
        if kind == COG:
            peers = [measurement.peer(COG, name.replace(".jp2", ".tif")) for name in NAMES]
        return lambda: measurement.read_many(peers, case, 8)

    readings = in_turns(repeat, {kind: reader(kind) for kind in (COG, SPARSE, VSITLM, TIFF, LOCAL)})
    report.add(case.name, readings)
    report.target(f"{case.name}: rate to that of {COG}", 1 / ratio(readings, TIFF, COG), 1.0, least=True)


def main() -> None:
    """The command line."""
    arguments = arguments_of("measures decoded images against a COG and OpenJPEG").parse_args()
    say("sample files (made once, a few minutes)")
    jp2, cog = make(arguments.folder)
    assert cog
    report = Report()
    command = (arguments.plugin, arguments.vsitlm, arguments.rtt_ms)
    many: dict[str, Path] = dict.fromkeys(NAMES, jp2)
    with Measurement(many, {name.replace(".jp2", ".tif"): cog for name in NAMES}, *command) as measurement:
        bench_files(measurement, arguments.repeat, report)
    with Measurement(dict.fromkeys(COGS, jp2), dict.fromkeys(COGS.values(), cog), *command) as measurement:
        bench = Bench(measurement, arguments.repeat, report)
        stream = measurement.codestreams[FIRST]
        bench.windows(stream)
        bench.at_hand(stream)
        bench.scenes(stream)
        bench.whole()
    text = report.markdown("make bench-decoded", arguments.repeat, described(arguments.rtt_ms))
    print(text)
    if arguments.write:
        replace_section(arguments.write, text, "bench-decoded")


if __name__ == "__main__":
    main()
