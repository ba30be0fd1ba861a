"""`vsitlm index`, `merge`, `validate` and `info` as users run them: broken off and gone on with, run again, with bad input."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apart
import pytest
from conftest import Site, only_once, vsitlm
from servers import run_s3
from test_index_interop import codestream

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

pytestmark = only_once

FILES = 60
PARTITION = "level=L2A/tile=31UDQ/year=2024/part-0.parquet"


def product(number: int) -> str:
    """The name of one of many products of a tile."""
    return f"S2A_MSIL2A_2024{1 + number // 28:02}{1 + number % 28:02}T105031_N0511_R051_T31UDQ_20250101T{number:06}"


def path_of(number: int) -> str:
    """Where a band of it lies below a folder of products."""
    name = product(number)
    return f"{name}.SAFE/GRANULE/L2A_T31UDQ_A1_2/IMG_DATA/R10m/T31UDQ_{name[11:26]}_B03_10m.jp2"


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of products of one band each."""
    folder = tmp_path_factory.mktemp("products")
    for number in range(FILES):
        file = folder / path_of(number)
        file.parent.mkdir(parents=True)
        file.write_bytes(codestream(50 + number, plt=True))
    return folder


@pytest.fixture(scope="module")
def s3(products: Path) -> Iterator[dict[str, str]]:
    """Options by which an S3 server is found that has these files."""
    with run_s3(products) as told:
        at = {"AWS_S3_ENDPOINT": f"http://127.0.0.1:{told['port']}", "AWS_VIRTUAL_HOSTING": "FALSE"}
        yield at | told["reader"]


def run(*arguments: str | Path, options: dict[str, str] | None = None) -> dict[str, Any]:
    """What a command says with --json, failures or not."""
    done = vsitlm(*arguments, "--json", options=options)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of an index file."""
    return pq.ParquetFile(path).read().to_pylist()


def hidden(folder: Path) -> list[str]:
    """What is neither an index nor a list of failures."""
    return [file.name for file in folder.rglob(".*")]


def served_list(site: Site, products: Path, name: str) -> tuple[Path, list[str]]:
    """A list of URLs of all files, in a file beside."""
    urls = [site.put(products / path_of(number), f"{name}/{path_of(number)}") for number in range(FILES)]
    listed = products.parent / f"{name}.txt"
    listed.write_text("\n".join(urls))
    return listed, urls


@pytest.mark.parametrize("partitioned", [False, True])
def test_a_run_that_is_killed_goes_on(site: Site, products: Path, tmp_path: Path, partitioned: bool) -> None:
    """Killed again and again wherever it is; in the end nothing is lost, and nothing doubled."""
    listed, urls = served_list(site, products, f"killed-{partitioned}")
    whole, broken = ((tmp_path / name if partitioned else tmp_path / f"{name}.parquet") for name in ("whole", "broken"))
    with listed.open() as lines:
        done = subprocess.run(
            [apart.VSITLM, "index", "-", "-o", whole], stdin=lines, env=apart.environment(), capture_output=True
        )
    assert done.returncode == 0, done.stderr
    site.server.control(rtt_ms=20)
    kills = 0
    try:
        while True:
            with listed.open() as lines:
                command = [apart.VSITLM, "index", "-", "-o", broken, "--resume", "--jobs", "2", "--json"]
                process = subprocess.Popen(
                    command, stdin=lines, env=apart.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
            before, stage = size_of(tmp_path), None
            # Killed as soon as it has kept some rows more, at whatever moment that is.
            while process.poll() is None and kills < 6 and size_of(tmp_path) <= before + 1500 * (1 + kills % 3):
                time.sleep(0.001)
            if process.poll() is None and kills < 6:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                assert not (broken.exists() if not partitioned else (broken / PARTITION).exists())
                continue
            out, err = process.communicate()
            assert process.returncode == 0, err
            stage = json.loads(out)
            break
    finally:
        site.server.control(rtt_ms=0)
    assert kills >= 3 and stage["resumed"] > 0, (kills, stage)
    assert stage["resumed"] + stage["scanned"] == FILES and stage["rows"] == FILES
    files = [path / PARTITION if partitioned else path for path in (whole, broken)]
    assert rows(files[0]) == rows(files[1])
    assert hidden(tmp_path) == []


def size_of(folder: Path) -> int:
    """The bytes of the journals below a folder, which may go at any moment."""
    sizes = 0
    for file in folder.rglob(".*.stage"):
        with contextlib.suppress(FileNotFoundError):
            sizes += file.stat().st_size
    return sizes


def test_what_was_broken_off_is_not_thrown_away(products: Path, tmp_path: Path) -> None:
    stage = tmp_path / ".x.parquet.stage"
    one = products / path_of(0)
    # As a run leaves it that ends before it writes.
    limited = [apart.VSITLM, "index", one, "-o", tmp_path / "x.parquet"]
    done = subprocess.run(
        limited,
        env=apart.environment(),
        capture_output=True,
        text=True,
        # The journal fits, the index does not: its footer alone is longer.
        preexec_fn=lambda: limit_files(1800),
    )
    assert done.returncode == 1 and "could not be written" in done.stderr, done.stderr
    assert stage.exists() and not (tmp_path / "x.parquet").exists()
    refused = vsitlm("index", products / path_of(1), "-o", tmp_path / "x.parquet")
    assert refused.returncode == 1 and "--resume" in refused.stderr and stage.name in refused.stderr
    told = run("index", one, products / path_of(1), "-o", tmp_path / "x.parquet", "--resume")
    assert (told["resumed"], told["scanned"], told["rows"]) == (1, 1, 2)
    assert hidden(tmp_path) == []


def limit_files(size: int) -> None:
    """Makes a disk full for this process: no file of it can have more bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_full_disk_ends_the_run_and_leaves_the_index(products: Path, tmp_path: Path) -> None:
    index = tmp_path / "x.parquet"
    run("index", products / path_of(0), "-o", index)
    before = index.read_bytes()
    done = subprocess.run(
        [apart.VSITLM, "index", products, "-o", index],
        env=apart.environment(),
        capture_output=True,
        text=True,
        preexec_fn=lambda: limit_files(5000),
    )
    assert done.returncode == 1 and "rows cannot be kept" in done.stderr, done.stderr
    assert index.read_bytes() == before
    assert run("index", products, "-o", index, "--resume")["rows"] == FILES


def test_a_second_run_adds_what_is_new_or_changed(tmp_path: Path) -> None:
    index, files = tmp_path / "x.parquet", [tmp_path / path_of(number) for number in range(3)]
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True)
        file.write_bytes(codestream(50 + number))
    run("index", *files[:2], "-o", index)
    files[1].write_bytes(codestream(90))
    os.utime(files[1], (1, 1))  # older than the one before, and yet what is there now
    told = run("index", *files, "-o", index)
    assert (told["unchanged"], told["scanned"], told["rows"]) == (1, 2, 3)
    sizes = {row["product_id"]: row["file_size"] for row in rows(index)}
    assert sizes == {product(number): file.stat().st_size for number, file in enumerate(files)}
    before = index.stat().st_mtime_ns
    assert run("index", *files, "-o", index)["unchanged"] == 3 and index.stat().st_mtime_ns == before


def test_a_second_run_asks_once_for_each_url(site: Site, products: Path, tmp_path: Path) -> None:
    url = site.put(products / path_of(0), f"again/{path_of(0)}")
    run("index", url, "-o", tmp_path / "x.parquet")
    site.reset()
    assert run("index", url, "-o", tmp_path / "x.parquet")["unchanged"] == 1
    assert site.ranges() == [(0, 1)]


@pytest.mark.parametrize("partitioned", [False, True])
def test_packets_cost_a_look_up_nothing(site: Site, products: Path, tmp_path: Path, partitioned: bool) -> None:
    """A column beside the others: what others read of an index stays what it is, and so do the requests of look-ups."""
    asked, tables = [], []
    for name, options in {"plain": [], "packets": ["--packets"]}.items():
        output = tmp_path / name if partitioned else tmp_path / f"{name}.parquet"
        told = run("index", products, "-o", output, *options)
        assert told["rows"] == FILES and told["packets"] == ({"rows": FILES, "bytes": 5 * FILES} if options else None)
        index = output / PARTITION if partitioned else output
        served = f"{name}-{partitioned}"
        site.put(index, f"{served}/{PARTITION}" if partitioned else f"{served}/i.parquet")
        options = {"VSITLM_INDEX": site.url(served if partitioned else f"{served}/i.parquet")}
        site.reset()
        told = json.loads(vsitlm("info", products / path_of(7), "--json", options=options).stdout)
        assert [row["packet_count"] for row in told["index"]] == [8 if name == "packets" else None]
        asked.append(site.stats()["requests"])
        tables.append(pq.ParquetFile(index).read())
        assert run("validate", output)["problems"] == []
        assert run("info", output)["rows_with_packets"] == (FILES if name == "packets" else 0)
    assert asked[0] == asked[1] > 0
    plain, packets = tables
    assert packets.select(plain.column_names).equals(plain)
    assert set(packets.column_names) - set(plain.column_names) == {"packet_count", "packets"}
    # Version 1; planes of 1 packet in each of two resolutions; of no other packet is anything to tell.
    assert set(packets.column("packets").to_pylist()) == {b"\x01\x0a\xfc\x2b\xf0"}


def test_what_fails_is_listed_and_the_rest_goes_on(site: Site, products: Path, tmp_path: Path) -> None:
    good = site.put(products / path_of(0), f"bad/{path_of(0)}")
    whole = (products / path_of(1)).read_bytes()
    cut = site.put_bytes(f"bad/{path_of(1)}", whole[: len(whole) // 2])
    none = site.put_bytes(f"bad/{path_of(2)}", b"<html>no JP2</html>")
    large = codestream(400_000)
    changing = site.put_bytes(f"bad/{path_of(3)}", large)
    site.control(fail_path=f"/bad/{path_of(3)}", kind="etag")
    absent = site.url(f"bad/{path_of(4)}?sig=secret")
    told = run("index", good, cut, none, changing, absent, "-o", tmp_path / "out")
    assert told["rows"] == 1 and len(told["failed"]) == 4
    listed = tmp_path / "out/_failures.jsonl"
    assert told["failures"] == str(listed)
    reasons = {line["file"]: line["error"] for line in map(json.loads, listed.read_text().splitlines())}
    for name, reason in {cut: "T.800", none: "T.800", changing: "changed", absent.split("?")[0]: "404"}.items():
        assert reason in reasons[name], reasons
    assert "secret" not in listed.read_text() + json.dumps(told)
    # Once nothing fails any more, the list goes.
    site.control(clear=1)
    assert run("index", changing, "-o", tmp_path / "out")["rows"] == 2 and not listed.exists()


def test_two_files_of_one_name_are_told(products: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / path_of(0)
    copy.parent.mkdir(parents=True)
    copy.write_bytes((products / path_of(0)).read_bytes())
    told = run("index", products / path_of(0), copy, "-o", tmp_path / "x.parquet")
    assert told["rows"] == 1 and [len(shared["paths"]) for shared in told["shared_keys"]] == [2]
    copy.write_bytes(codestream(500))
    told = run("index", products / path_of(0), copy, "-o", tmp_path / "y.parquet")
    assert told["rows"] == 2, "files that differ are both kept: their size tells which one is meant"


def test_workers_make_what_one_run_makes(products: Path, tmp_path: Path, s3: dict[str, str]) -> None:
    run("index", products, "-o", tmp_path / "whole.parquet")
    prefix = "s3://eodata/shards"
    for part in (1, 2, 3):
        shard = f"{prefix}/slice-{part}.parquet"
        told = run("index", products, "-o", shard, "--slice", f"{part}/3", "--resume", options=s3)
        assert told["rows"] == FILES // 3
    run("index", products, "-o", f"{prefix}/slice-3.parquet", "--slice", "3/3", "--resume", options=s3)
    merged = run("merge", prefix, "-o", "s3://eodata/merged", options=s3)
    assert (merged["rows_read"], merged["rows"], merged["inputs"], merged["files_written"]) == (FILES, FILES, 3, 1)
    again = run("merge", "s3://eodata/merged/", "-o", tmp_path / "merged.parquet", options=s3)
    assert again["rows"] == FILES
    assert rows(tmp_path / "merged.parquet") == rows(tmp_path / "whole.parquet")
    assert run("validate", "s3://eodata/merged/", options=s3)["problems"] == []
    info = run("info", "s3://eodata/merged/", options=s3)
    assert (info["rows"], info["products"], info["first_day"]) == (FILES, FILES, "2024-01-01")
    assert info["bytes_of_jp2"] == sum((products / path_of(n)).stat().st_size for n in range(FILES))


def test_a_corrupt_shard_is_told_and_the_rest_merged(products: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    run("index", products / path_of(0), "-o", shards / "a.parquet")
    run("index", products / path_of(1), "-o", shards / "b.parquet")
    content = bytearray((shards / "b.parquet").read_bytes())
    content[200:800] = bytes(600)
    (shards / "c.parquet").write_bytes(content)
    (shards / "d.parquet").write_bytes(b"PAR1 no parquet")
    merged = run("merge", shards, "-o", tmp_path / "out")
    assert merged["rows"] == 2 and {Path(failed["file"]).name for failed in merged["failed"]} == {"c.parquet", "d.parquet"}
    checked = run("validate", shards)
    assert {Path(problem["file"]).name for problem in checked["problems"]} == {"c.parquet", "d.parquet"}
    # An output that is corrupt is not written over.
    before = (shards / "c.parquet").read_bytes()
    done = vsitlm("index", products / path_of(2), "-o", shards / "c.parquet")
    assert done.returncode == 1 and (shards / "c.parquet").read_bytes() == before


def test_learned_rows_are_merged(site: Site, products: Path, tmp_path: Path) -> None:
    import jobs

    cache = {"VSITLM_CACHE_DIR": str(tmp_path / "cache")}
    url = site.put(products / path_of(5), f"learned/{path_of(5)}")
    apart.call(jobs.copy, f"/vsitlm/{url}", 4096, options=cache)
    merged = run("merge", "--learned", "-o", tmp_path / "out", options=cache)
    assert merged["rows"] == 1
    assert [row["origin"] for row in rows(tmp_path / "out" / PARTITION)] == [url]


def test_an_index_is_held_against_the_archive(products: Path, tmp_path: Path) -> None:
    index = tmp_path / "x.parquet"
    run("index", products, "-o", index)
    checked = run("validate", index, "--against", products, "--sample", "20")
    assert checked["problems"] == [] and 20 <= checked["compared"] <= 30
    elsewhere = tmp_path / "elsewhere"
    for number in range(FILES):
        file = elsewhere / path_of(number)
        file.parent.mkdir(parents=True)
        content = bytearray((products / path_of(number)).read_bytes())
        if number == 1:
            content += b"more"
        if number == 2:
            content[content.index(b"\xff\x90") + 5] ^= 1  # of another tile
        if number != 3:
            file.write_bytes(content)
    problems = run("validate", index, "--against", elsewhere, "--sample", str(FILES))["problems"]
    said = {problem["file"]: problem["problem"] for problem in problems}
    assert set(said) == {path_of(1), path_of(2), path_of(3)}
    assert "bytes" in said[path_of(1)] and "SOT" in said[path_of(2)] and "not found" in said[path_of(3)]
