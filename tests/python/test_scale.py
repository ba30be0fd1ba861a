"""The model of what indexing takes, the page that has its tables, and the scripts of that page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import apart
import pytest
import realdata
import scale
from conftest import make_index, only_once
from scale import ARCHIVE, AWS, BANDS_10M, CDSE, COUNTRY, GOOGLE, L1C, L2A, MB, TB, TILE_YEAR, YEAR, Cost

pytestmark = only_once

SCRIPT = apart.ROOT / "scripts/scale.py"
PAGE = apart.ROOT / "docs/scale.md"
BLOCK = re.compile(r"^<!-- test: (\w+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the script."""
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=60)


def test_the_page_says_what_the_model_does() -> None:
    done = run("--check")
    assert done.returncode == 0, done.stderr


def test_a_number_that_differs_is_found_and_put_right(tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    page.write_text(PAGE.read_text().replace("| 121, 124 kB |", "| 121, 125 kB |", 1))
    done = run("--check", "--document", page)
    assert done.returncode == 1 and "--write" in done.stderr
    assert run("--write", "--document", page).returncode == 0
    assert page.read_text() == PAGE.read_text()


def test_a_page_without_one_of_the_tables_is_refused() -> None:
    with pytest.raises(ValueError, match="each stands there once"):
        scale.filled(PAGE.read_text().replace("<!-- scale: ask: begin -->", ""))


def test_a_product_is_made_of_what_is_known_of_it() -> None:
    assert (L2A.count, L1C.count) == (16, 14)
    assert {files.tile_parts for files in L2A.files} == {121, 81, 100, 1849}


def test_the_strategies_of_a_large_band() -> None:
    hop, resync, stream = (strategy(BANDS_10M) for strategy in scale.STRATEGIES.values())
    assert hop.requests == 121 and hop.bytes < 0.002 * BANDS_10M.size
    assert 0.08 <= resync.bytes / BANDS_10M.size <= 0.12
    assert hop.requests < resync.requests < 2 * hop.requests
    assert stream == Cost(67, 100 * MB)


def test_a_small_file_is_streamed_and_a_large_one_hopped_over() -> None:
    for archive in scale.ARCHIVES:
        assert scale.cheapest(L1C.files[-1], archive) is scale.stream
        assert scale.cheapest(BANDS_10M, archive) is not scale.resync
    assert scale.cheapest(BANDS_10M, CDSE) is scale.hop


@pytest.mark.parametrize(
    ("cost", "seconds", "why"),
    [
        (Cost(2000, 0), 60, "requests a minute"),
        (Cost(8, 80 * MB), 1.1, "connections"),
        (Cost(0, 24 * TB), 30 * 86400, "bytes a month"),
        (Cost(0, 12 * TB), 12 * TB / (80 * MB), "connections"),
    ],
)
def test_each_quota_of_cdse_binds(cost: Cost, seconds: float, why: str) -> None:
    assert scale.limit(cost, CDSE) == (pytest.approx(seconds), why)


def test_what_is_feasible() -> None:
    for strategy in [*scale.STRATEGIES, "auto"]:
        cost = scale.extent_cost(ARCHIVE, CDSE, strategy)
        assert scale.limit(cost, CDSE)[0] > 50 * YEAR, "the page says that this is out of question"
    for archive in (GOOGLE, AWS):
        seconds, _ = scale.limit(scale.extent_cost(ARCHIVE, archive, "auto"), archive)
        assert seconds / 64 < YEAR / 4, "the page says that this takes weeks"
    seconds, _ = scale.limit(scale.extent_cost(COUNTRY, CDSE, "stream"), CDSE)
    assert seconds < 2 * scale.DAY and scale.extent_cost(COUNTRY, CDSE, "stream").bytes < CDSE.bytes_per_month


def test_costs_add_up() -> None:
    one, country = (scale.extent_cost(extent, AWS, "auto") for extent in (TILE_YEAR, COUNTRY))
    assert country.requests == pytest.approx(60 * one.requests) and country.bytes == pytest.approx(60 * one.bytes)
    inside = scale.price(TILE_YEAR, one, AWS, abroad=False, seconds=0)
    assert inside == pytest.approx((one.requests - 146) * 0.43e-6 + 146 * 5.4e-6)
    assert scale.price(TILE_YEAR, one, AWS, abroad=True, seconds=0) == pytest.approx(inside + one.bytes * 0.09e-9)
    assert scale.price(TILE_YEAR, one, CDSE, abroad=True, seconds=3600) == pytest.approx(scale.MACHINE)


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "tile_parts"), [("R10m/*_AOT_10m", 121), ("R60m/*_B04_60m", 100)])
def test_a_tile_part_takes_as_many_bytes_of_a_row_as_the_model_says(name: str, tile_parts: int, tmp_path: Path) -> None:
    import pyarrow.parquet

    found = realdata.find(f"*.SAFE/GRANULE/*/IMG_DATA/{name}.jp2")
    group = pyarrow.parquet.read_metadata(make_index(tmp_path / "x.parquet", found[0])).row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    made = sum(each.total_compressed_size for each in columns if each.path_in_schema in ("index", "resolution_ends"))
    assert made == pytest.approx(scale.ROW_SMALL * tile_parts, rel=0.2)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (scale.volume(999.6e3), "1 MB"),
        (scale.volume(1.234e12), "1.2 TB"),
        (scale.volume(0), "0 kB"),
        (scale.duration(90), "1.5 min"),
        (scale.duration(40 * 86400), "40 days"),
        (scale.count(12_345), "12,345"),
        (scale.count(1.2e9), "1.2 billion"),
        (scale.money(0.001), "< $0.01"),
        (scale.money(123_456), "$120,000"),
    ],
)
def test_numbers_are_told_for_people(made: str, told: str) -> None:
    assert made == told


def block(kind: str) -> str:
    """The page's block of that kind."""
    [text] = [text for name, text in BLOCK.findall(PAGE.read_text()) if name == kind]
    return text


STUB = """#!{python}
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    stdin = "" if sys.stdin.isatty() else sys.stdin.read()
    print(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:], stdin]), file=calls)
print("17" if {answers!r} in sys.argv else "")
"""


def play(script: str, folder: Path, answers: str = "", **variables: str) -> list[list[str]]:
    """Runs a script of bash whose programs just write down their arguments and standard input; gives those."""
    programs, calls = folder / "bin", folder / "calls"
    programs.mkdir(exist_ok=True)
    calls.write_text("")
    for name in ("aws", "sbatch", "vsitlm"):
        (programs / name).write_text(STUB.format(python=sys.executable, answers=answers))
        (programs / name).chmod(0o755)
    environment = os.environ | variables | {"CALLS": str(calls), "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in calls.read_text().splitlines()]


def index_call(k: int, out: str, urls: str) -> tuple[list[str], str]:
    """What a worker of slice K has to call: its arguments, sorted, and its standard input."""
    arguments = [
        "vsitlm",
        "index",
        "-",
        "--slice",
        f"{k}/64",
        "--resume",
        "--json",
        "-o",
        f"{out}slice-{k}-of-64.parquet",
    ]
    return sorted(arguments), urls


def test_the_script_for_slurm(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a\nb\n")
    index, merge = play(block("slurm"), tmp_path, answers="--parsable")
    assert index[:2] == ["sbatch", "--parsable"] and "--array=1-64%16" in index
    assert "--dependency=afterany:17" in merge and merge[-2] == "vsitlm merge shards/ -o index/"
    [called] = play(index[-1], tmp_path, SLURM_ARRAY_TASK_ID="3", SLURM_ARRAY_TASK_COUNT="64")
    assert (sorted(called[:-1]), called[-1]) == index_call(3, "shards/", "a\nb\n")


def test_the_script_for_aws_batch(tmp_path: Path) -> None:
    index, merge = play(block("batch"), tmp_path, answers="submit-job")
    assert "size=64" in index and "jobId=17" in merge
    commands = [json.loads(call[call.index("--container-overrides") + 1])["command"] for call in (index, merge)]
    assert [command[:-1] for command in commands] == [["bash", "-o", "pipefail", "-c"]] * 2
    # The first and the last job of the array.
    for number in (0, 63):
        calls = play(commands[0][-1], tmp_path, AWS_BATCH_JOB_ARRAY_INDEX=str(number))
        assert ["aws", "s3", "cp", "s3://bucket/list.txt", "-", ""] in calls and len(calls) == 2
        [called] = [call for call in calls if call[0] == "vsitlm"]
        assert sorted(called[:-1]) == index_call(number + 1, "s3://bucket/shards/", "")[0]
    [called] = play(commands[1][-1], tmp_path)
    assert called == ["vsitlm", "merge", "s3://bucket/shards/", "-o", "s3://bucket/index/", ""]


def test_the_script_for_spark_is_python() -> None:
    compile(block("spark"), "scale.md", "exec")
