"""The part of bench.py about indexing: a product on the disk, remote files by each strategy, and writing many rows."""

from __future__ import annotations

import json
import os
import statistics
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_report import Report, say
from measure import Server, ask
from sample import JP2_PATH, PRODUCT

FILES = 36
"""Band files of a product of level L2A at all resolutions."""
CONNECTIONS = 16
LIMITS = {"seconds": 1.2, "share": 12.0, "requests": 3}
ROWS_TEST = "bench_writing_the_rows_of_a_tile"


def index(vsitlm: Path, source: str | Path, *options: str, **environment: str) -> tuple[dict[str, Any], float]:
    """What `vsitlm index` says of a source, and the seconds that the whole command took."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(vsitlm.resolve()), "index", str(source), "-o", f"{folder}/x.parquet", "--json", *options]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VSITLM_", "AWS_", "GDAL_"))}
        start = time.perf_counter()
        done = subprocess.run(
            command,
            env=kept | {"VSITLM_CACHE_DIR": "NO", "NO_PROXY": "127.0.0.1"} | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stderr}")
        return json.loads(done.stdout), seconds


def hop(path: Path) -> int:
    """Walks a file from tile-part to tile-part by one unbuffered read of 12 bytes each; how many there are."""
    parts = 0
    with path.open("rb", buffering=0) as file:
        size = path.stat().st_size
        at = file.read(16384).index(b"\xff\x90\x00\x0a")
        while at + 12 <= size:
            file.seek(at)
            marker, _, _, length = struct.unpack(">HHHI", file.read(12)[:10])
            if marker != 0xFF90:
                break
            parts += 1
            at += length
    return parts


def bench_product(vsitlm: Path, jp2: Path, repeat: int, report: Report) -> None:
    """A product of many files on the disk, against a walk by Python in a process that runs already."""
    say(f"a product of {FILES} files on the disk")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / JP2_PATH.parent.parent / "R10m"
        images.mkdir(parents=True)
        name = JP2_PATH.name
        files = [images / name.replace("_B03_", f"_X{number:02}_") for number in range(FILES)]
        for file in files:
            file.symlink_to(jp2.resolve())
        safe = Path(folder) / f"{PRODUCT}.SAFE"
        ours, whole, theirs = [], [], []
        for _ in range(repeat):
            told, seconds = index(vsitlm, safe, "--all-resolutions")
            if told["rows"] != FILES:
                raise RuntimeError(f"{told['rows']} rows of {FILES} files")
            ours.append(told["seconds"])
            whole.append(seconds)
            start = time.perf_counter()
            for file in files:
                hop(file)
            theirs.append(time.perf_counter() - start)
        skipped = FILES * jp2.stat().st_size / 1e9
        ms = [1e3 * statistics.median(times) for times in (ours, whole, theirs)]
        what = f"{FILES} local files of {jp2.stat().st_size / 1e6:.0f} MB"
        report.target(
            f"{what}: times as fast as hopping by Python ({ms[2]:.0f} ms; the command {ms[0]:.0f} ms, {ms[1]:.0f} with "
            "the start of its process)",
            ms[2] / ms[0],
            20,
            least=True,
        )
        report.target(f"{what}: GB skipped a second", skipped / (ms[1] / 1e3), 1, least=True)


def bench_remote(vsitlm: Path, jp2: Path, coarse: Path, rtt_ms: float, repeat: int, report: Report) -> None:
    """A 10 m band and a 60 m band over HTTP, a new process each."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), rtt_ms) as server:
        for name, path in (("ten.jp2", jp2), ("sixty.jp2", coarse)):
            (Path(folder) / name).symlink_to(path.resolve())

        def asked(name: str, *options: str) -> tuple[float, int, int]:
            ask(f"{server.url}/__stats?reset=1")
            _, seconds = index(
                vsitlm, f"{server.url}/{name}", *options, VSITLM_MAX_CONNECTIONS=str(CONNECTIONS)
            )
            counted = server.stats()
            return seconds, counted["requests"], counted["bytes"]

        size = jp2.stat().st_size
        for options in ((), ("--strategy", "hop"), ("--strategy", "stream")):
            name = f"a remote band of {size / 1e6:.0f} MB, {CONNECTIONS} connections{', '.join(('', *options[1:]))}"
            say(name)
            several = [asked("ten.jp2", *options) for _ in range(repeat if not options else 1)]
            seconds = statistics.median(one[0] for one in several)
            _, requests, count = several[-1]
            if not options:
                report.target(f"{name}: seconds, {requests} requests", seconds, LIMITS["seconds"])
                report.target(f"{name}: share of its bytes, %", 100 * count / size, LIMITS["share"])
            else:
                report.note(f"{name}: {seconds:.2f} s, {requests} requests, {100 * count / size:.1f} % of the bytes")
        say("a remote 60 m band")
        seconds, requests, _ = asked("sixty.jp2")
        name = f"a remote 60 m band of {coarse.stat().st_size / 1e6:.1f} MB: requests ({seconds:.2f} s)"
        report.target(name, requests, LIMITS["requests"], "{:.0f}")


def bench_writing(report: Report) -> None:
    """25,600 rows, by the test that makes them."""
    say("writing 25,600 rows (builds the tests in release)")
    command = ["cargo", "test", "--release", "--locked", "--lib", "--", "--ignored", "--nocapture", ROWS_TEST]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"rows"')))
    rows = f"writing {told['rows']:,} rows"
    report.target(f"{rows}: seconds", told["seconds"], 3)
    report.target(f"{rows}: MB", told["bytes"] / 1e6, 14, "{:.1f}")


def bench_indexing(vsitlm: Path, jp2: Path, coarse: Path, rtt_ms: float, repeat: int, report: Report) -> None:
    """All of it."""
    bench_product(vsitlm, jp2, max(3, repeat), report)
    bench_remote(vsitlm, jp2, coarse, rtt_ms, repeat, report)
    bench_writing(report)
