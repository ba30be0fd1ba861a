#!/usr/bin/env python3
"""Indexes a long list of JP2 files by many workers of Dask, each with slices of it, and merges what they made.

    dask_index.py LIST -o OUT [--slices 64] [--scheduler ADDRESS | --processes N] [--shards PREFIX] [--json]

LIST has a path or URL a line; OUT is an index as `vsitlm index` writes it, s3://bucket/index/ for instance. A task runs
`vsitlm index - --slice K/N` and writes a shard of its own below PREFIX (by default OUT with `.shards`). A task that
fails or whose worker is lost is run again, on any worker: it finds the rows of its shard there, and writes the same
ones. Files that cannot be indexed are listed at the end, and stop nothing. Running it all again adds what is new or has
changed.

Without --scheduler the workers are processes of this machine. Else `vsitlm` has to be installed where they run, and OUT
and LIST's files to be within their reach, by the variables of their own environment. Needs the packages of
scripts/requirements/dask.txt, and setpriv (util-linux) on the workers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dask.distributed import Client, LocalCluster, as_completed
from tqdm import tqdm

RETRIES = 3
"""How often a task is run again that has failed."""
LINES = 20
"""Lines of standard error that a failure tells."""

Summary = dict[str, Any]
"""What `vsitlm index --json` tells."""


def shard_name(shards: str, part: int, parts: int) -> str:
    """Where a slice goes."""
    return f"{shards.rstrip('/')}/slice-{part}-of-{parts}.parquet"


def run(command: list[str], stdin: bytes = b"") -> Summary:
    """What a command of vsitlm's tells as JSON. It does not outlive this process.

    Raises RuntimeError where it tells nothing.
    """
    # A worker that is lost must not leave a command behind that holds on to what the next try needs.
    done = subprocess.run(["setpriv", "--pdeathsig", "KILL", *command], input=stdin, capture_output=True)
    try:
        return json.loads(done.stdout)
    except ValueError:
        told = "\n".join(done.stderr.decode(errors="replace").splitlines()[-LINES:])
        raise RuntimeError(f"vsitlm {command[1]} ended with {done.returncode}: {told}") from None


def index(vsitlm: str, part: int, parts: int, shards: str, urls: bytes) -> Summary:
    """Makes the shard of a slice.

    Raises RuntimeError where it is not there afterwards; files that cannot be indexed are told in its summary alone.
    """
    shard = shard_name(shards, part, parts)
    summary = run([vsitlm, "index", "-", "--slice", f"{part}/{parts}", "-o", shard, "--resume", "--json"], urls)
    for failure in summary["failed"]:
        # That of the shard itself, which can be mended by another try.
        if summary["output"] and failure["file"].strip() == summary["output"]:
            raise RuntimeError(f"{shard}: {failure['error']}")
    return summary


def merge(vsitlm: str, shards: list[str], output: str) -> Summary:
    """Makes the index of its shards; what stands against it is told among its failures."""
    try:
        return run([vsitlm, "merge", *shards, "-o", output, "--json"])
    except RuntimeError as error:
        return {"output": None, "rows": 0, "failed": [{"file": output, "error": str(error)}]}


def index_slices(
    client: Client, arguments: argparse.Namespace, shards: str
) -> tuple[dict[int, Summary], dict[int, str]]:
    """What came of each slice, by its number: the summary, or why there is none."""
    parts = arguments.slices
    # A task of its own, so that it is sent to each worker once, and once more if a worker with it is lost.
    urls = client.submit(bytes, arguments.list.read_bytes(), key="list")
    tasks = {
        client.submit(index, arguments.vsitlm, part, parts, shards, urls, key=f"slice-{part}", retries=RETRIES): part
        for part in range(1, parts + 1)
    }
    made, lost, files = {}, {}, 0
    with tqdm(as_completed(tasks), total=parts, unit="slice") as progress:
        for task in progress:
            part = tasks[task]
            if task.status == "finished":
                made[part] = task.result()
                files += made[part]["files"]
            else:
                lost[part] = str(task.exception())
            failed = sum(len(summary["failed"]) for summary in made.values())
            progress.set_postfix(files=files, failed=failed, lost=len(lost))
    return made, lost


def workers(arguments: argparse.Namespace, stack: ExitStack) -> Client:
    """The cluster that runs already, or one of processes of this machine."""
    if arguments.scheduler:
        return stack.enter_context(Client(arguments.scheduler))
    # A process each, so that the loss of one is that of one slice.
    cluster = LocalCluster(n_workers=arguments.processes, threads_per_worker=1, processes=True, dashboard_address=None)
    return stack.enter_context(Client(stack.enter_context(cluster)))


def report(summary: Summary) -> None:
    """Tells people what came of it all."""
    for failure in summary["failed"]:
        print(f"{failure['file']}: {failure['error']}", file=sys.stderr)
    for part, why in summary["lost"].items():
        print(f"slice {part}: {why}", file=sys.stderr)
    lost = f"{len(summary['lost'])} of {summary['slices']} slices lost"
    told = f"{summary['files']} files, {summary['rows']} rows, {len(summary['failed'])} failed, {lost}"
    print(f"{summary['output'] or 'nothing written'}: {told}")


def main() -> int:
    """Indexes, merges, and tells; 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("list", type=Path, metavar="LIST", help="a file with a path or URL a line")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="the index, as vsitlm index has it")
    parser.add_argument("--slices", type=int, default=64, help="shards to make: several for each worker")
    parser.add_argument("--shards", metavar="PREFIX", help="a folder or prefix for the shards: OUT.shards by default")
    parser.add_argument("--vsitlm", default="vsitlm", help="the command, where it is not in the workers' PATH")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--scheduler", metavar="ADDRESS", help="that of a cluster: tcp://10.0.0.5:8786")
    where.add_argument("--processes", type=int, metavar="N", help="of this machine; by default as many as processors")
    arguments = parser.parse_args()
    shards = arguments.shards or arguments.output.rstrip("/") + ".shards"
    if "://" not in shards:
        Path(shards).mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        made, lost = index_slices(workers(arguments, stack), arguments, shards)
    # A slice without a single row has no shard.
    names = [shard_name(shards, part, arguments.slices) for part, summary in sorted(made.items()) if summary["rows"]]
    merged: Summary = {"output": None, "rows": 0, "failed": []}
    if names:
        merged = merge(arguments.vsitlm, names, arguments.output)
    summary = {
        "output": merged["output"],
        "rows": merged["rows"],
        "files": sum(each["files"] for each in made.values()),
        "slices": arguments.slices,
        "failed": [failure for _, each in sorted(made.items()) for failure in each["failed"]] + merged["failed"],
        "lost": dict(sorted(lost.items())),
    }
    if arguments.json:
        print(json.dumps(summary))
    else:
        report(summary)
    return 1 if summary["failed"] or lost or not names else 0


if __name__ == "__main__":
    sys.exit(main())
