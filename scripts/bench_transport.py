"""The part of bench.py about the network: many files at once, whole files, many small ranges, reading again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench_report import Readings, Report, in_turns, ratio, say, seconds
from measure import COG, LOCAL, PLAIN, SPARSE, VSITLM, Case, Measurement, Peer, Reading
from sample import JP2_PATH, MANY_PX, MANY_TILE_PX

FILES = 40
NAMES = [str(JP2_PATH).replace("_B03_", f"_B03{number:02}_") for number in range(FILES)]
BAND = str(JP2_PATH)
TCI = BAND.replace("_B03_", "_TCI_")
MANY = BAND.replace("_B03_", "_B01_")
CONNECTIONS = 32
STOP = 120
"""Seconds after which a read is given up: plain /vsicurl/ takes more than ten minutes for the whole TCI."""


def bench_files(measurement: Measurement, repeat: int, report: Report) -> None:
    """Windows of many files of one host, on several threads, and the same again from the cache."""
    window = measurement.codestreams[NAMES[0]].inside(512)

    def reader(kind: str, case: Case, threads: int, rounds: int = 1) -> Callable[[], Reading]:
        peers = [measurement.peer(kind, name) for name in NAMES]
        return lambda: measurement.read_many(peers, case, threads, rounds)

    for threads in (1, 8, 32):
        case = Case(f"512 px of {FILES} files, {threads} thread{'s'[: threads - 1]}", window)
        say(case.name)
        readings = in_turns(repeat, {kind: reader(kind, case, threads) for kind in (SPARSE, VSITLM, LOCAL)})
        report.add(case.name, readings)
        if threads == 8:
            report.target(f"{case.name}: rate to that of local files", 1 / ratio(readings, VSITLM, LOCAL), 0.95, least=True)
        if threads == 1:
            report.target(f"{case.name}: rate to that of {SPARSE}", 1 / ratio(readings, VSITLM, SPARSE), 1.8, least=True)
    case = Case(f"512 px of {FILES} files again, 1 thread", window)
    say(case.name)
    readings = in_turns(repeat, {kind: reader(kind, case, 1, 2) for kind in (VSITLM, LOCAL)})
    report.add(case.name, readings)
    report.target(f"{case.name}: requests", readings[VSITLM][-1].requests, 0, "{:.0f}", exact=True)
    report.target(f"{case.name}: time to that of local files", ratio(readings, VSITLM, LOCAL), 1.1)


def bench_whole(measurement: Measurement, repeat: int, report: Report) -> None:
    """Whole remote files, a window of one of many tile-parts, and 2,000 small ranges."""
    for name, what in ((BAND, "band"), (TCI, "TCI of 1,849 tile-parts")):
        case = Case(f"whole remote {what}", None)
        say(case.name)

        def reader(kind: str) -> Callable[[], Reading]:
            return lambda: measurement.read(measurement.peer(kind, name), case, stop=STOP)

        kinds = (PLAIN, VSITLM, LOCAL)
        readings = in_turns(min(repeat, 3) if name == BAND else 1, {kind: reader(kind) for kind in kinds})
        report.add(case.name, readings)
        report.target(f"{case.name}: time to that of {PLAIN}", ratio(readings, VSITLM, PLAIN), 0.9)

    window = measurement.codestreams[TCI].inside(512)
    case = Case("512 px of that TCI", window)
    say(case.name)
    readings = in_turns(repeat, {kind: tci_reader(measurement, kind, case) for kind in (PLAIN, VSITLM, LOCAL)})
    report.add(case.name, readings)
    report.target(f"{case.name}: requests", max(each.requests for each in readings[VSITLM]), 3, "{:.0f}")

    tiles = (MANY_PX // MANY_TILE_PX) ** 2
    case = Case(f"{tiles:,} ranges of about 4 KB", None, {"VSITLM_MERGE_GAP": "0", "VSITLM_OVERVIEW_PREFETCH": "64MB"})
    say(case.name)
    whole = measurement.peer(VSITLM, MANY)
    view = Peer(VSITLM, f"/vsitlm?overview=2&url={measurement.url(MANY)}", whole.options)
    local = Peer(LOCAL, f"/vsitlm?overview=2&url={measurement.files[MANY].resolve()}", whole.options)
    reads = {VSITLM: lambda: measurement.stream(view, case), LOCAL: lambda: measurement.stream(local, case)}
    readings = in_turns(repeat, reads)
    report.add(case.name, readings)
    ours = readings[VSITLM][-1]
    rate = ours.requests / seconds(readings[VSITLM])
    most = CONNECTIONS / (measurement.rtt_ms / 1000)
    what = f"{case.name}, mean {ours.bytes / max(1, ours.requests) / 1024:.1f} KB: requests a second to connections ÷ round trip"
    report.target(what, rate / most, 0.8, least=True)


def tci_reader(measurement: Measurement, kind: str, case: Case) -> Callable[[], Reading]:
    """Reads a window of the TCI."""
    return lambda: measurement.read(measurement.peer(kind, TCI), case)


def many_files(band: Path) -> dict[str, Path]:
    """The band under many names."""
    return dict.fromkeys(NAMES, band)
