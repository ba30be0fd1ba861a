"""TIFFs and COGs of every kind by their index rows: what a direct read gives, nothing asked until the first pixel."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apart
import gdalio
import jobs
import numpy as np
import pytest
import tiffs
from cogs import indexed, twice
from conftest import Site, make_index

each_kind = pytest.mark.parametrize("kind", tiffs.KINDS)
SMALLEST = 4096
"""Files of no more bytes have no others than those that opening takes."""


class Seen(NamedTuple):
    """What was seen of a file of a kind through an index, and of the same file without it."""

    failed: str | None
    """Why it is not in the index."""
    metadata: tuple[str, str]
    pixels: tuple[dict[str, str] | str, dict[str, str] | str]
    before: list[tuple[int, int]]
    """Offset and length of what was asked for until the first pixel was read."""
    asked: list[tuple[int, int]]
    """The same until all were read."""
    size: int


def by_path(stats: dict[str, Any]) -> dict[str, list[tuple[int, int]]]:
    """Offset and length of what was asked of each file."""
    asked: dict[str, list[tuple[int, int]]] = {}
    for entry in stats["ranges"]:
        asked.setdefault(entry["path"], []).append((entry["offset"], entry["length"]))
    return asked


@pytest.fixture(scope="module")
def seen(served: Site, files: dict[str, Path], folder: Path) -> Callable[[str], Seen]:
    """What was seen of a kind; all of them are indexed by one command and read by one process."""
    served.control(clear=1)
    urls = [served.put(path, f"tiffs/{path.name}") for path in files.values()]
    told = indexed(folder / "kinds.parquet", *urls)
    failed = {each["file"]: each["error"] for each in told["failed"]}
    served.reset()
    # Bytes between ranges that are fetched as one are not kept: they may be asked for again.
    options = {"VSITLM_INDEX": str(folder / "kinds.parquet"), "VSITLM_MERGE_GAP": "8"}
    paths, stats = [f"/vsitlm/{url}" for url in urls], f"{served.server.url}/__stats"
    ours = apart.call(tiffs.look, paths, stats, options=options)
    after = served.stats()
    assert after["heads"] == 0
    before, asked = by_path(ours.before), by_path(after)
    # The links have nothing beside them, and so no overviews there.
    direct = apart.call(tiffs.look, [str(served.folder / "tiffs" / path.name) for path in files.values()])
    found: dict[str, Seen] = {}
    for number, (name, path) in enumerate(files.items()):
        place = f"/tiffs/{path.name}"
        found[name] = Seen(
            failed.get(urls[number]),
            (ours.metadata[number], direct.metadata[number]),
            (ours.pixels[number], direct.pixels[number]),
            before.get(place, []),
            asked.get(place, []),
            path.stat().st_size,
        )
    return lambda kind: found.get(kind) or pytest.skip("this GDAL does not make it")


@each_kind
def test_every_kind_is_indexed_and_opens_without_a_request(kind: str, seen: Callable[[str], Seen]) -> None:
    file = seen(kind)
    assert file.failed is None
    assert file.before == []
    assert file.metadata[0] == file.metadata[1]


@each_kind
def test_every_kind_has_the_pixels_of_a_direct_read(kind: str, seen: Callable[[str], Seen]) -> None:
    ours, direct = seen(kind).pixels
    assert isinstance(direct, dict) and "image" in direct
    assert ours == direct


@each_kind
def test_of_no_kind_a_byte_is_asked_for_twice(kind: str, seen: Callable[[str], Seen]) -> None:
    file = seen(kind)
    assert file.asked or file.size <= SMALLEST or kind == "nothing but sparse"
    assert twice(file.asked) == []


def test_every_compression_that_this_gdal_lists_has_a_kind() -> None:
    known = {name for kind in tiffs.KINDS.values() for name in kind.compressions}
    assert tiffs.compressions() - known <= {"JXL_DNG_1_7"}


def test_every_kind_is_read_from_disk(files: dict[str, Path], tmp_path: Path) -> None:
    index = tmp_path / "index.parquet"
    told = indexed(index, *files.values())
    assert (told["rows"], told["failed"]) == (len(files), [])
    options = {"VSITLM_INDEX": str(index), "VSITLM_ON_MISS": "FAIL"}
    ours = apart.call(tiffs.look, [f"/vsitlm/{path}" for path in files.values()], options=options)
    direct = apart.call(tiffs.look, [str(path) for path in files.values()])
    for number, name in enumerate(files):
        assert ours.metadata[number] == direct.metadata[number], name
        assert ours.pixels[number] == direct.pixels[number], name


def test_overviews_in_a_file_beside_are_found_where_they_are_wanted(site: Site, files: dict[str, Path]) -> None:
    path = files["overviews beside"]
    url = site.put(path, f"beside/{path.name}")
    site.put(path.with_name(path.name + ".ovr"), f"beside/{path.name}.ovr")
    number = len(tiffs.FACTORS) - 1
    right = gdalio.overview(str(path), number)
    for place, options in ((url, {"VSITLM_SIDECARS": "YES"}), (path, {})):
        assert np.array_equal(apart.call(jobs.overview, f"/vsitlm/{place}", number, options=options), right)


def test_each_page_of_a_file_is_read(site: Site, files: dict[str, Path], tmp_path: Path) -> None:
    path = files["two pages"]
    url = site.put(path, f"pages/{path.name}")
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url))}
    site.reset()
    pages = [f"GTIFF_DIR:{page}:/vsitlm/{url}" for page in (1, 2)]
    steps = [("describe", pages[1]), ("ask", f"{site.server.url}/__stats"), *(("read", page) for page in pages)]
    _, stats, *pixels = apart.call(jobs.play, *steps, options=options)
    # Of a page GDAL looks for an .xml beside the file, whatever a list of siblings says.
    assert json.loads(stats)["requests"] <= 2 and json.loads(stats)["bytes"] == 0
    assert all(np.array_equal(page, gdalio.read(str(path))) for page in pixels)
