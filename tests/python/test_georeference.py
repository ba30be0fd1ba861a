"""Views lie where plain GDAL says that their file does, by whichever box says so, or are refused when they are opened."""

from __future__ import annotations

import struct
from pathlib import Path

import apart
import boxes
import gdalio
import jobs
import numpy as np
import pytest
from conftest import Site, make_index, noise
from test_windows import place, window_path

SHAPE = (511, 479)
"""Rows and columns: odd, so that a pixel of an overview is no whole number of the file's."""

PLACES = {
    32631: (399960.0, 5400000.0, 10.0),
    25832: (399960.0, 5400000.0, 10.0),
    3035: (4321000.0, 3210000.0, 10.0),
    2056: (2600000.0, 1200000.0, 10.0),
    4326: (8.5, 47.5, 0.001),
    4258: (8.5, 47.5, 0.001),
}
"""Left, upper and pixel of an image in each reference system: northing or latitude is first in the third and the last two."""

KINDS = {
    "both": {},
    "gml": {"GeoJP2": "NO"},
    "geo": {"GMLJP2": "NO"},
    "behind": {"INSPIRE_TG": "YES"},
}
"""Creation options; INSPIRE_TG writes the boxes behind the codestream."""


def make(path: Path, epsg: int, **creation: str) -> Path:
    """A JP2 of an image in this reference system."""
    left, upper, pixel = PLACES[epsg]
    tiles = {"BLOCKXSIZE": 256, "BLOCKYSIZE": 256, "RESOLUTIONS": 3, "PLT": "YES"}
    return gdalio.make_jp2(path, noise(*SHAPE), epsg, (left, upper), pixel, **tiles, **creation)


def moved(transform: tuple[float, ...], window: tuple[int, int]) -> tuple[float, ...]:
    """The transform of a window's image."""
    x, dx, rx, y, dy, ry = transform
    return (x + window[0] * dx + window[1] * rx, dx, rx, y + window[0] * dy + window[1] * ry, dy, ry)


def scaled(transform: tuple[float, ...], factor: int) -> tuple[float, ...]:
    """The transform of an overview's image, as GDAL has it."""
    x, dx, rx, y, dy, ry = transform
    down, across = (size / -(-size // factor) for size in SHAPE)
    return (x, dx * across, rx * down, y, dy * across, ry * down)


def is_same(one: str, other: str) -> bool:
    """Whether two texts are of the same reference system: GDAL before 3.10 gives a GeoTIFF's ellipsoid with more digits."""
    if one == other or gdalio.version() >= (3, 10):
        return one == other
    if gdalio.rasterio:
        systems = [gdalio.rasterio.crs.CRS.from_wkt(text) for text in (one, other)]
        return systems[0] == systems[1] and len({system.to_authority() for system in systems}) == 1
    systems = [gdalio.osr.SpatialReference(text) for text in (one, other)]
    return bool(systems[0].IsSame(systems[1])) and len({system.GetAuthorityCode(None) for system in systems}) == 1


def assert_views_lie_where_the_file_does(path: str) -> None:
    """Windows, reduced images, and windows of these."""
    plain = gdalio.describe(path)
    assert plain["crs"]
    transform = place(plain)
    for name, expected in {
        window_path(path, (100, 37, 50, 60)): moved(transform, (100, 37)),
        f"/vsitlm?overview=2&url={path}": scaled(transform, 2),
        f"/vsitlm?overview=4&url={path}": scaled(transform, 4),
        window_path(path, (10, 20, 30, 40), 4): moved(scaled(transform, 4), (10, 20)),
    }.items():
        view = gdalio.describe(name)
        assert is_same(view["crs"], plain["crs"]), name
        assert place(view) == pytest.approx(expected, rel=1e-12, abs=1e-9), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epsg", PLACES)
def test_views_lie_where_their_file_does(epsg: int, kind: str, tmp_path: Path) -> None:
    assert_views_lie_where_the_file_does(str(make(tmp_path / "a.jp2", epsg, **KINDS[kind])))


def exchange(path: Path, other: Path, kind: bytes, target: Path) -> Path:
    """A file with the box of this kind that another one has."""
    theirs = dict(boxes.split(other.read_bytes()))[kind]
    found = [(name, theirs if name == kind else contents) for name, contents in boxes.split(path.read_bytes())]
    target.write_bytes(boxes.join(found))
    return target


@pytest.mark.parametrize("kind", ["both", "behind"])
def test_boxes_that_disagree_are_taken_as_gdal_takes_them(kind: str, tmp_path: Path) -> None:
    ours = make(tmp_path / "ours.jp2", 32631, **KINDS[kind])
    theirs = make(tmp_path / "theirs.jp2", 3035, **KINDS[kind])
    assert_views_lie_where_the_file_does(str(exchange(ours, theirs, b"asoc", tmp_path / "gml.jp2")))
    assert_views_lie_where_the_file_does(str(exchange(ours, theirs, b"uuid", tmp_path / "geo.jp2")))


def without_georeference(path: Path, target: Path, *added: boxes.Box) -> Path:
    """The file with these boxes in place of those that georeference it."""
    found = [box for box in boxes.split(path.read_bytes()) if box[0] not in (b"asoc", b"uuid")]
    target.write_bytes(boxes.join([*found[:-1], *added, found[-1]]))
    return target


def test_a_world_file_in_a_box_is_kept_by_overviews_and_refuses_windows(tmp_path: Path) -> None:
    uuid = bytes.fromhex("96A9F1F1DC98402DA7AED68E34451809")
    world = struct.pack("<6d", 10.0, 0.5, 0.25, -10.0, 400005.125, 5399995.25)
    path = without_georeference(
        make(tmp_path / "a.jp2", 32631), tmp_path / "msig.jp2", (b"uuid", uuid + b"MSIG/".ljust(22) + world)
    )
    transform = place(gdalio.describe(str(path)))
    assert transform == pytest.approx((400000.0, 10.0, 0.25, 5400000.0, 0.5, -10.0))
    view = gdalio.describe(f"/vsitlm?overview=4&url={path}")
    assert place(view) == pytest.approx(scaled(transform, 4))
    with pytest.raises(gdalio.Failed, match="georeferencing is understood by GDAL alone: an MSIG box"):
        gdalio.read(window_path(path, (0, 0, 9, 9)))


def test_a_reference_system_that_only_gdal_understands_refuses_windows(tmp_path: Path) -> None:
    path = make(tmp_path / "a.jp2", 3035, GeoJP2="NO")
    data = path.read_bytes().replace(b"EPSG::3035", b"EPSG::2180")
    path.write_bytes(data)
    plain = gdalio.describe(str(path))
    view = gdalio.describe(f"/vsitlm?overview=2&url={path}")
    assert view["crs"] == plain["crs"] and place(view) == pytest.approx(scaled(place(plain), 2))
    with pytest.raises(gdalio.Failed, match="georeferencing is understood by GDAL alone"):
        gdalio.read(window_path(path, (0, 0, 9, 9)))


def test_boxes_behind_the_codestream_are_fetched_once(site: Site, tmp_path: Path) -> None:
    path = make(tmp_path / "behind.jp2", 32631, **KINDS["behind"])
    plain = gdalio.describe(str(path))
    url = site.put(path)
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url))}
    site.reset()
    window = window_path(url, (0, 0, 20, 20))
    first, again = apart.call(jobs.play, ("describe", window), ("describe", window), options=options)
    assert first == again and first["crs"] == plain["crs"]
    behind = [offset for offset, _ in site.ranges() if offset > path.stat().st_size - 4096]
    assert len(behind) <= 1, site.ranges()


@pytest.mark.parametrize("kind", ["gml", "behind"])
def test_what_cannot_be_changed_is_left_to_gdal(kind: str, tmp_path: Path) -> None:
    path = make(tmp_path / "a.jp2", 32631, **KINDS[kind])
    path.write_bytes(path.read_bytes().replace(b"<gml:pos>", b"<gml:pos?", 1))
    # A GeoJP2 box beside it says where a window lies.
    windows = [window_path(path, (0, 0, 9, 9), 2)] if kind == "gml" else []
    for view in (f"/vsitlm?overview=2&url={path}", *windows):
        with pytest.raises(gdalio.Failed, match="georeferencing is understood by GDAL alone: its GMLJP2 box"):
            gdalio.read(view)
    ours, plain = (gdalio.describe(f"{start}{path}") for start in ("/vsitlm/", ""))
    assert ours["overviews"] == plain["overviews"] and place(ours) == place(plain)
    half = (SHAPE[0] // 2, SHAPE[1] // 2)
    pixels = gdalio.read(str(path), shape=half)
    assert np.array_equal(gdalio.read(f"/vsitlm/{path}", shape=half), pixels)
