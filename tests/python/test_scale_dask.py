"""scripts/dask_index.py on a cluster of processes, shards on an S3 server, and workers that are lost."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apart
import pytest
from conftest import PRODUCT, Sample, Site, band_path, make_index, only_once
from servers import run_s3

pytestmark = only_once

PYTHON = apart.ROOT / "target/py/dask/bin/python"
SCRIPT = apart.ROOT / "scripts/dask_index.py"
SLICES = 5
DAYS = 24
"""Files to index: not the same number a slice."""

COMMAND = """#!{python}
import os, subprocess, sys

part = sys.argv[sys.argv.index("--slice") + 1] if "--slice" in sys.argv else None
marker = {folder!r} + "/lost-" + (part or "").replace("/", "-of-")
if part in {lost!r}.split() and not os.path.exists(marker):
    open(marker, "w").close()
    if {when!r} == "after":
        # The shard is whole, and nobody is told of it.
        subprocess.run([{vsitlm!r}, *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)
    with open({begun!r}, "w") as begun:
        begun.write(f"{{os.getppid():10}}{{os.getpid():10}}")
    if {when!r} != "during":
        with open({folder!r} + "/never") as never:
            never.read()
os.execv({vsitlm!r}, [{vsitlm!r}, *sys.argv[1:]])
"""
"""A vsitlm that tells of some slices that they have begun, and by which worker, and does not end of itself."""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Options by which an empty S3 server is found."""
    if not PYTHON.exists():
        pytest.skip(f"no {PYTHON}: run scripts/setup test")
    with run_s3(tmp_path_factory.mktemp("shards")) as told:
        endpoint = f"http://127.0.0.1:{told['port']}"
        yield told["reader"] | {"AWS_S3_ENDPOINT": endpoint, "AWS_VIRTUAL_HOSTING": "FALSE", "AWS_REGION": "us-east-1"}


@pytest.fixture
def urls(site: Site, small: Sample) -> list[str]:
    """Files of many days, all at a server."""
    days = [f"202406{day:02}" for day in range(1, DAYS + 1)]
    return [site.put(small.path, band_path("SCL", 20).replace("20240601", day)) for day in days]


def start(
    list_of: Path, output: str, options: dict[str, str], command: Path | str, *where: str
) -> subprocess.Popen[str]:
    """The script, with two workers of its own if no others are told of."""
    where = where or ("--processes", "2")
    return subprocess.Popen(
        [PYTHON, SCRIPT, list_of, "-o", output, "--slices", str(SLICES), *where, "--json", "--vsitlm", str(command)],
        env=apart.environment(options | {"VSITLM_CACHE_DIR": str(list_of.with_name("cache"))}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(script: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """How the script ends, the summary that it prints, and what it says on the way."""
    out, err = script.communicate(timeout=apart.KILL_AFTER)
    assert out, err
    return script.returncode, json.loads(out), err


def rows_of(path: str, options: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """All rows of an index, a local file or an object of the server."""
    import pyarrow.fs
    import pyarrow.parquet

    files: pyarrow.fs.FileSystem = pyarrow.fs.LocalFileSystem()
    if options:
        files = pyarrow.fs.S3FileSystem(
            access_key=options["AWS_ACCESS_KEY_ID"],
            secret_key=options["AWS_SECRET_ACCESS_KEY"],
            endpoint_override=options["AWS_S3_ENDPOINT"],
            region=options["AWS_REGION"],
        )
    with files.open_input_file(path) as file:
        return pyarrow.parquet.read_table(file).to_pylist()


def is_running(process: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_lost_workers_lose_no_rows_and_double_none(
    when: str, s3: dict[str, str], urls: list[str], site: Site, tmp_path: Path
) -> None:
    lost = {part: f"{part}/{SLICES}" for part in (2, 4)}
    begun, command = tmp_path / "begun", tmp_path / "vsitlm"
    os.mkfifo(begun)
    os.mkfifo(tmp_path / "never")
    told = os.open(begun, os.O_RDWR)
    names = {"folder": str(tmp_path), "begun": str(begun), "lost": " ".join(lost.values()), "when": when}
    command.write_text(COMMAND.format(python=sys.executable, vsitlm=str(apart.VSITLM), **names))
    command.chmod(0o755)
    (tmp_path / "list").write_text("\n".join(urls))
    stalled = [urls[part - 1 + SLICES].removeprefix(site.url("")[:-1]) for part in lost]
    for path in stalled if when == "during" else ():
        site.control(fail_path=path, kind="stall", times=1)
    output = f"s3://one/{when}.parquet"
    script = start(tmp_path / "list", output, s3, command)
    waiting = {}
    for part in lost:
        assert select.select([told], [], [], apart.KILL_AFTER)[0], f"two slices begin, such as {part}"
        worker, process = map(int, os.read(told, 20).split())
        waiting[process] = worker
    os.close(told)
    while when == "during" and not set(stalled) <= {entry["path"] for entry in site.stats()["ranges"]}:
        assert script.poll() is None, finish(script)
    for worker in waiting.values():
        os.kill(worker, signal.SIGKILL)
    status, summary, said = finish(script)
    assert not any(map(is_running, waiting)), "a command outlives its worker"
    assert (status, summary["failed"], summary["lost"]) == (0, [], {}), said
    assert (summary["files"], summary["rows"], summary["output"]) == (DAYS, DAYS, output)
    alone = rows_of(str(make_index(tmp_path / "alone.parquet", *urls)))
    assert len(alone) == DAYS and rows_of(output.removeprefix("s3://"), s3) == alone


def test_failures_are_told_and_stop_nothing(s3: dict[str, str], urls: list[str], site: Site, tmp_path: Path) -> None:
    bad = site.put_bytes(band_path("SCL", 20).replace("20240601", "20240701"), b"no JP2")
    missing = site.url(PRODUCT + ".SAFE/missing_SCL_20m.jp2")
    (tmp_path / "list").write_text("\n".join([bad, *urls, missing]))
    status, summary, said = finish(start(tmp_path / "list", "s3://one/bad.parquet", s3, apart.VSITLM))
    assert status == 1 and {failure["file"] for failure in summary["failed"]} == {bad, missing}, said
    assert all(failure["error"] for failure in summary["failed"]) and summary["lost"] == {}
    assert len(rows_of("one/bad.parquet", s3)) == DAYS == summary["rows"]


def test_a_slice_that_never_works_is_told_and_stops_nothing(
    s3: dict[str, str], urls: list[str], tmp_path: Path
) -> None:
    command = tmp_path / "vsitlm"
    command.write_text(f'#!/bin/bash\n[[ " $* " != *" 3/{SLICES} "* ]] || {{ echo broken >&2; exit 3; }}\n')
    with command.open("a") as file:
        file.write(f'exec "{apart.VSITLM}" "$@"\n')
    command.chmod(0o755)
    (tmp_path / "list").write_text("\n".join(urls))
    status, summary, said = finish(start(tmp_path / "list", str(tmp_path / "some.parquet"), s3, command))
    assert status == 1 and list(summary["lost"]) == ["3"] and "3: broken" in summary["lost"]["3"], said
    assert len(rows_of(str(tmp_path / "some.parquet"))) == summary["rows"] == DAYS - len(urls[2::SLICES])


CLUSTER = """
import sys
from dask.distributed import LocalCluster

with LocalCluster(n_workers=1, processes=False, dashboard_address=None, host="127.0.0.1") as cluster:
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


def test_a_cluster_that_runs_already_is_used(s3: dict[str, str], urls: list[str], tmp_path: Path) -> None:
    (tmp_path / "list").write_text("\n".join(urls))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([PYTHON, "-c", CLUSTER], env=apart.environment(s3), **pipes) as cluster:
        address = cluster.stdout.readline().strip()
        script = start(tmp_path / "list", "s3://one/elsewhere/", s3, apart.VSITLM, "--scheduler", address)
        status, summary, said = finish(script)
        cluster.stdin.close()
    assert (status, summary["rows"]) == (0, DAYS), said
    assert len(rows_of("one/elsewhere/level=L2A/tile=31UDQ/year=2024/part-0.parquet", s3)) == DAYS


def test_a_second_run_just_asks_for_changes(s3: dict[str, str], urls: list[str], site: Site, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("\n".join(urls))
    output = str(tmp_path / "index.parquet")
    first = finish(start(tmp_path / "list", output, s3, apart.VSITLM))
    rows = rows_of(output)
    site.reset()
    second = finish(start(tmp_path / "list", output, s3, apart.VSITLM))
    assert (first[0], second[0]) == (0, 0), second[2]
    assert site.stats()["requests"] == DAYS and all(length <= 1 for _, length in site.ranges())
    assert rows_of(output) == rows and len(rows) == DAYS
