"""The pixels and the metadata of a file are the same through /vsitlm/ as read directly."""

from __future__ import annotations

import random
import struct
import urllib.parse
import zipfile
from pathlib import Path
from typing import Any

import apart
import gdalio
import jobs
import numpy as np
import pytest
import realdata
from conftest import Sample, Site, make_index, noise
from measure import Codestream


def jp2c(content: bytes) -> int:
    """Where the jp2c box begins."""
    offset = 0
    while content[offset + 4 : offset + 8] != b"jp2c":
        offset += struct.unpack_from(">I", content, offset)[0]
    return offset


def open_ended(content: bytes) -> bytes:
    """The jp2c box with LBox = 0, as ESA writes it."""
    at = jp2c(content)
    return content[:at] + bytes(4) + content[at + 4 :]


def extended(content: bytes) -> bytes:
    """The jp2c box with a length of 64 bits (XLBox)."""
    at = jp2c(content)
    return content[:at] + struct.pack(">I4sQ", 1, b"jp2c", len(content) - at + 8) + content[at + 8 :]


def with_box_behind(content: bytes) -> bytes:
    """A box after the codestream."""
    return content + struct.pack(">I4s", 8 + 3000, b"free") + bytes(3000)


def last_psot_0(content: bytes) -> bytes:
    """The last tile-part leaves its length to the EOC marker (T.800 A.4.2)."""
    at = content.rindex(b"\xff\x90\x00\x0a")
    return content[:at + 6] + bytes(4) + content[at + 10 :]


TILED = {"BLOCKXSIZE": 64, "BLOCKYSIZE": 64, "RESOLUTIONS": 3}
MADE = {
    "as GDAL makes it": (noise(150, 200), TILED),
    "one tile": (noise(60, 60), TILED),
    "tile indexes of 16 bits": (noise(16 * 64 + 4, 16 * 64 + 4, dtype="uint8"), TILED),
    "colour transform": (noise(150, 200, bands=3, dtype="uint8"), {**TILED, "YCC": "YES"}),
    "four bands": (noise(70, 140, bands=4, dtype="uint8"), TILED),
    "SOP, EPH and PLT": (noise(150, 200), {**TILED, "SOP": "YES", "EPH": "YES", "PLT": "YES"}),
    "position order": (noise(150, 200), {**TILED, "PROGRESSION": "RPCL", "PRECINCTS": "{64,64}"}),
    "signed, 9/7": (noise(150, 200, dtype="int16"), {**TILED, "REVERSIBLE": "NO", "QUALITY": 20}),
}
PATCHES = {patch.__name__: patch for patch in (open_ended, extended, with_box_behind, last_psot_0)}


def assert_described_as(place: str, plain: dict[str, Any]) -> None:
    """The metadata is that of the plain file, which may have fewer overviews."""
    told = gdalio.describe(place)
    for ours, own in zip(told.pop("overviews"), plain["overviews"]):
        assert ours[: len(own)] == own
    assert told == {name: value for name, value in plain.items() if name != "overviews"}


@realdata.each("band")
def test_real_files_read_the_same_locally_and_remotely_with_and_without_an_index(
    band: Path, site: Site, tmp_path: Path
) -> None:
    path, pixels = str(band), gdalio.read(str(band))
    metadata = gdalio.describe(path)
    name = str(band.relative_to(realdata.FOLDER))
    url = site.put(band, name)
    rows = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", band, url)), "VSITLM_ON_MISS": "fail"}
    chance = random.Random(band.name)
    height, width = pixels.shape[1:]
    for place in (f"/vsitlm/{path}", f"/vsitlm//vsicurl/{url}"):
        for options in ({}, rows):
            with gdalio.configured(options):
                assert_described_as(place, metadata)
                assert np.array_equal(gdalio.read(place), pixels)
    with gdalio.configured(rows):
        for _ in range(5):
            left, top = chance.randrange(width), chance.randrange(height)
            window = (left, top, chance.randint(1, min(700, width - left)), chance.randint(1, min(700, height - top)))
            right = pixels[:, top : top + window[3], left : left + window[2]]
            assert np.array_equal(gdalio.read(f"/vsitlm/{url}", window), right), window


@pytest.mark.parametrize("kind", MADE)
def test_files_of_every_kind_read_the_same(kind: str, site: Site, tmp_path: Path) -> None:
    pixels, creation = MADE[kind]
    path = gdalio.make_jp2(tmp_path / "made.jp2", pixels, **creation)
    direct = gdalio.read(str(path))
    if "REVERSIBLE" not in creation:
        assert np.array_equal(direct, pixels)
    url = site.put(path, f"{tmp_path.name}/made.jp2")
    for place in (f"/vsitlm/{path}", f"/vsitlm/{url}"):
        assert_described_as(place, gdalio.describe(str(path)))
        assert np.array_equal(gdalio.read(place), direct)


@pytest.mark.parametrize("patch", PATCHES)
def test_boxes_and_tile_parts_of_every_length_read_the_same(patch: str, site: Site, tmp_path: Path) -> None:
    path = gdalio.make_jp2(tmp_path / "made.jp2", noise(150, 200), **TILED)
    pixels = gdalio.read(str(path))
    url = site.put_bytes(f"{tmp_path.name}/made.jp2", PATCHES[patch](path.read_bytes()))
    assert np.array_equal(gdalio.read(f"/vsitlm/{url}"), pixels)


def test_tile_indexes_of_16_bits_are_tested(tmp_path: Path) -> None:
    pixels, creation = MADE["tile indexes of 16 bits"]
    stream = Codestream.scan(gdalio.make_jp2(tmp_path / "made.jp2", pixels, **creation))
    assert max(tile for tile, _, _ in stream.tile_parts) > 255


def test_paths_of_every_form_read_the_same(site: Site, small: Sample, tmp_path: Path) -> None:
    site.put(small.path, f"{tmp_path.name}/a b+c%.jp2")
    quoted = f"{site.server.url}/{tmp_path.name}/a%20b+c%25.jp2"
    for place in (
        f"/vsitlm/{small.path}",
        f"/vsitlm/file://{small.path}",
        f"/vsitlm/{quoted}",
        f"/vsitlm/vsicurl/{quoted}",
        f"/vsitlm//vsicurl/{quoted}",
        f"/vsitlm?url={urllib.parse.quote(quoted, safe='')}",
        f"/vsitlm?url={urllib.parse.quote(str(small.path), safe='')}",
    ):
        assert np.array_equal(gdalio.read(place), small.pixels), place


def test_a_relative_path_is_one_of_the_working_directory(small: Sample) -> None:
    pixels = apart.call(jobs.read, f"/vsitlm/{small.path.name}", folder=small.path.parent)
    assert np.array_equal(pixels, small.pixels)


@pytest.mark.parametrize("inner", ["/vsizip/", "/vsimem/"])
def test_the_file_systems_of_gdal_are_read_through_gdal(inner: str, small: Sample, tmp_path: Path) -> None:
    if inner == "/vsizip/":
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.write(small.path, "inside/a.jp2")
        assert np.array_equal(gdalio.read(f"/vsitlm//vsizip/{tmp_path}/a.zip/inside/a.jp2"), small.pixels)
    else:
        pixels = apart.call(jobs.read_from_memory, small.path.read_bytes())
        assert np.array_equal(pixels, small.pixels)


def test_names_that_are_no_jp2_pass_unchanged(site: Site, tmp_path: Path) -> None:
    url = site.put_bytes(f"{tmp_path.name}/metadata.xml", b"<a/>" * 50_000)
    assert gdalio.copy_bytes(f"/vsitlm/{url}", 1024) == b"<a/>" * 50_000
