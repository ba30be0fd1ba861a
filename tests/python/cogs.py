"""What the tests of TIFFs and COGs share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tiffs
from conftest import Site, make_index, vsitlm

WINDOW = (100, 90, 200, 150)
"""A window over five by four tiles of 64 px."""
TILED = tiffs.Kind(shape=(1, 600, 590), options=tiffs.TILES, nodata=7)
"""Tiles of one size in bytes: with another nodata of one digit, or with other pixels, the file has the same size."""
FEW = 5
"""Requests that find the header of a file: directories lie at its beginning, at its end and before each overview."""


def indexed(output: Path, *arguments: str | Path, options: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What `vsitlm index --json` says, failures or not."""
    done = vsitlm("index", *arguments, "-o", output, "--json", options=options)
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) == (not told["failed"]), done.stderr
    return told


class Cog(NamedTuple):
    """A COG that is served, and the options by which it is known."""

    path: Path
    url: str
    options: dict[str, str]


def make_cog(served: Site, folder: Path) -> Cog:
    """A COG of ten by ten tiles of 64 px, and overviews."""
    kind = tiffs.cog(tiffs.Kind(shape=(1, 600, 590)), BLOCKSIZE=64)
    path = tiffs.make_kind(kind, folder / "cog.tif")
    url = served.put(path, "cogs/cog.tif")
    return Cog(path, url, {"VSITLM_INDEX": str(make_index(folder / "cog.parquet", url))})


def twice(asked: list[tuple[int, int]]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of requests that have bytes in common."""
    ordered = sorted(asked)
    return [(one, two) for one, two in zip(ordered, ordered[1:]) if sum(one) > two[0]]
