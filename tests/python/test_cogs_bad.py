"""Damaged TIFFs, and what `vsitlm info` tells of good ones."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import apart
import numpy as np
import pytest
import tiffs
from cogs import Cog
from conftest import Site, only_once, vsitlm

MOST_MEMORY = 600 << 20
"""Bytes that no damaged file makes a process need, GDAL and Python included."""


def patched(content: bytes, *changes: tuple[int, bytes]) -> bytes:
    """The file with other bytes at some places."""
    made = bytearray(content)
    for at, new in changes:
        made[at : at + len(new)] = new
    return bytes(made)


def damaged(good: bytes) -> dict[str, bytes]:
    """Files that cannot be indexed, by what is wrong with them; `good` is little-endian and has overviews at its end."""
    found = tiffs.directories(good)
    first, last = found[0], found[-1]
    entry, long, far = first.entries, struct.Struct("<I").pack, struct.pack("<I", 1 << 31)

    def one(tag: int, value: int) -> tuple[int, bytes]:
        """The tag with one value."""
        return entry[tag] + 2, struct.pack("<HII", 4, 1, value)

    def count(tag: int, number: int) -> tuple[int, bytes]:
        """The tag with another number of values."""
        return entry[tag] + 4, long(number)

    many = [
        one(tiffs.WIDTH, 1 << 19),
        one(tiffs.LENGTH, 1 << 19),
        one(tiffs.TILE_WIDTH, 16),
        one(tiffs.TILE_LENGTH, 16),
    ]
    tiles = len(first.values[tiffs.TILE_OFFSETS])
    files = {
        "nothing": b"",
        "two bytes": b"II",
        "text": b"<html>this is no image</html>\n" * 100,
        "zeros": bytes(100_000),
        "noise": np.random.default_rng(7).bytes(100_000),
        "the head alone": b"II*\0\x08\0\0\0",
        "no directory": patched(good, (4, bytes(4))),
        "a directory past the end": patched(good, (4, far)),
        "a BigTIFF of petabytes": b"II+\0\x08\0\0\0" + struct.pack("<Q", 1 << 60) + good[16:],
        # GDAL reads these two.
        "directories in a loop": patched(good, (last.following, long(first.start))),
        "a directory that follows itself": patched(good, (first.following, long(first.start))),
        "65535 entries": patched(good, (first.start, b"\xff\xff")),
        "offsets past the end": patched(good, (first.places[tiffs.TILE_OFFSETS], far * tiles)),
        "an array past the end": patched(good, (entry[tiffs.TILE_OFFSETS] + 8, far)),
        "four billion offsets": patched(good, count(tiffs.TILE_OFFSETS, 0xFFFFFFFF)),
        "a billion tiles": patched(good, *many, count(tiffs.TILE_OFFSETS, 1 << 30), count(tiffs.TILE_COUNTS, 1 << 30)),
        "a billion tiles without offsets": patched(good, *many),
        "tiles of no pixels": patched(good, one(tiffs.TILE_WIDTH, 0)),
        "no pixels": patched(good, one(tiffs.WIDTH, 0)),
    }
    cuts = [3, 7, 9, first.start + 1, first.start + 40, first.following + 2, last.start + 5, last.following + 1]
    cuts += [int(len(good) * share) for share in (0.02, 0.3, 0.7, 0.99)]
    files.update({f"cut at {cut}": good[:cut] for cut in cuts})
    return files


@pytest.fixture(scope="module")
def bad(folder: Path) -> dict[str, Path]:
    """These files, by what is wrong with them."""
    kind = replace(tiffs.of(tiffs.ONE_BAND, ENDIANNESS="LITTLE", **tiffs.TILES), overviews=tiffs.FACTORS)
    good = tiffs.make_kind(kind, folder / "good.tif").read_bytes()
    made = {}
    for number, (what, content) in enumerate(damaged(good).items()):
        made[what] = folder / "bad" / f"bad-{number:02}.tif"
        made[what].parent.mkdir(exist_ok=True)
        made[what].write_bytes(content)
    return made


@only_once
def test_bad_files_are_refused_by_the_command_one_error_each(bad: dict[str, Path], tmp_path: Path) -> None:
    command = [str(apart.VSITLM), "index", *map(str, bad.values()), "-o", str(tmp_path / "x.parquet"), "--json"]
    done = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=apart.environment()
    )
    told = json.loads(done.stdout.read())
    _, status, usage = os.wait4(done.pid, 0)
    done.returncode = os.waitstatus_to_exitcode(status)
    assert done.returncode == 1
    failed = {Path(each["file"]): each["error"] for each in told["failed"]}
    assert len(failed) == len(told["failed"])
    assert [what for what, path in bad.items() if path not in failed] == []
    assert told["rows"] == 0 and all(failed.values())
    assert not any("panic" in error or "met a bug" in error for error in failed.values())
    assert usage.ru_maxrss * 1024 < MOST_MEMORY / 2


def test_bad_files_are_read_as_gdal_reads_them(site: Site, bad: dict[str, Path], tmp_path: Path) -> None:
    """From disk or over HTTP: what is cut before its offsets is an error from disk and black over HTTP, also in GDAL."""
    urls = [site.put(path, f"{tmp_path.name}/{path.name}") for path in bad.values()]
    options = {"GDAL_NUM_THREADS": "1"}  # plain GDAL hides what fails in other threads
    expected = [*bad.values(), *(f"/vsicurl/{url}" for url in urls)]
    plain, usual = apart.call(tiffs.attempts, [str(path) for path in expected], options=options)
    places = [f"/vsitlm/{place}" for place in (*bad.values(), *urls)]
    done = apart.outcome(tiffs.attempts, places, options=options)
    assert done.error is None and done.returncode == 0, done.output
    ours, most = done.value
    wrong = []
    for number, (place, got) in enumerate(zip(places, ours)):
        what = list(bad)[number % len(bad)]
        right = [(each.opens, each.digest) for each in plain[number % len(bad) :: len(bad)]]
        if (got.opens, got.digest) not in right:
            wrong.append(f"{what}: {got} instead of {right} ({place})")
    assert wrong == []
    assert "panic" not in done.output and "met a bug" not in done.output
    assert most < max(MOST_MEMORY, usual + (100 << 20))


def info(path: str | Path, options: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What `vsitlm info --json` tells of a file."""
    done = vsitlm("info", path, "--json", options=options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sizes(about: dict[str, Any], *kinds: str) -> list[tuple[int, int]]:
    """Width and height of directories of some kinds."""
    return [(each["width"], each["height"]) for each in about["directories"] if each["kind"] in kinds]


@only_once
def test_info_tells_what_a_cog_is_made_of(cog: Cog) -> None:
    about = info(cog.url, cog.options)
    assert about["bytes"] == cog.path.stat().st_size
    found = tiffs.directories(cog.path.read_bytes())
    assert sizes(about, "image", "overview") == [(each.value(tiffs.WIDTH), each.value(tiffs.LENGTH)) for each in found]
    image = about["directories"][0]
    assert (image["tile"], image["tiles"], image["bits"], image["bands"]) == ([64, 64], 100, 16, 1)
    assert image["bytes"] == sum(found[0].values[tiffs.TILE_COUNTS])
    assert image["compression"] == "LZW" and about["epsg"] == 32631
    assert (about["is_big"], about["is_big_endian"], about["is_cog"], about["against_cog"]) == (False, False, True, [])
    assert [row["fits_size"] for row in about["index"]] == [True]
    text = vsitlm("info", cog.url, options=cog.options).stdout
    for words in ("590 × 600", "100 tiles of 64 × 64", "LZW", "COG", "cog.tif"):
        assert words in text, text
    assert info(cog.path)["index"] is None


@only_once
@pytest.mark.parametrize(
    ("kind", "is_cog"),
    [
        ("COG with DEFLATE", True),
        ("COG with a mask", True),
        ("COG as before the driver", True),
        ("COG in BigTIFF", True),
        ("changed COG", False),
        ("hundreds of strips", False),
        ("larger", False),
        ("a mask and overviews", False),
        ("told late, with overviews", False),
    ],
)
def test_info_tells_whether_a_tiff_is_a_cog_and_why_not(kind: str, is_cog: bool, files: dict[str, Path]) -> None:
    about = info(files[kind])
    assert about["is_cog"] is is_cog, about["against_cog"]
    assert bool(about["against_cog"]) is not is_cog
    found = tiffs.directories(files[kind].read_bytes())
    masks = [each for each in found if each.value(tiffs.SUBFILE) & tiffs.MASK]
    named = [each["kind"] for each in about["directories"]]
    assert len(masks) == sum("mask" in name for name in named) and ("mask" in kind) == bool(masks)
    text = vsitlm("info", files[kind]).stdout
    assert all(reason in text for reason in about["against_cog"]), text


@only_once
def test_info_tells_how_every_kind_is_stored(files: dict[str, Path]) -> None:
    kinds = {"planar tiles": "is_planar", "BigTIFF, big-endian": "is_big", "classic, big-endian": "is_big_endian"}
    for kind, name in kinds.items():
        about = info(files[kind])
        assert {**about, **about["directories"][0]}[name] is True, kind
    assert info(files["sparse"])["directories"][0]["missing"] > 0
    assert info(files["LZW, predictor 2"])["directories"][0]["predictor"] == 2


@only_once
@pytest.mark.parametrize("what", ["text", "nothing", "a directory past the end", "directories in a loop"])
def test_info_refuses_what_is_no_tiff(what: str, bad: dict[str, Path]) -> None:
    done = vsitlm("info", bad[what])
    assert done.returncode == 1 and bad[what].name in done.stderr
