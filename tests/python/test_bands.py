"""What the bands of views are: their types, bits, colours and palettes are those of the plain file."""

from __future__ import annotations

import struct
from pathlib import Path

import boxes
import gdalio
import numpy as np
import pytest
from conftest import noise
from test_windows import window_path

TILES = {"BLOCKXSIZE": 128, "BLOCKYSIZE": 128, "RESOLUTIONS": 3, "PLT": "YES", "YCC": "NO"}
PROFILE = b"pclr" + boxes.build(b"pclr", b"\0\1\3\7\7\7abc") + boxes.build(b"cdef", b"\0\1\0\0\0\1\0\0") + b"ihdr" * 9
"""Words of an ICC profile that are no boxes."""


def same_bands(path: Path, *, overviews: bool = True, windows: bool = True) -> None:
    """The views of a file have its bands, and decimated reads its pixels."""
    name = str(path)
    plain, ours = gdalio.describe(name), gdalio.describe(f"/vsitlm/{name}")
    whole = gdalio.read(name)
    rows, columns = whole.shape[1:]
    window = (30, 40, 70, 80)
    views = {f"/vsitlm/{name}": whole}
    if windows:
        views[window_path(path, window)] = whole[:, 40:120, 30:100]
    half = (rows // 2, columns // 2)
    if overviews:
        views[f"/vsitlm?overview=2&url={name}"] = gdalio.read(name, shape=half)
    for view, pixels in views.items():
        about = gdalio.describe(view)
        assert about["gdal_types"] == plain["gdal_types"] and about["colours"] == plain["colours"], view
        assert np.array_equal(gdalio.read(view), pixels), view
    assert ours["overviews"] == plain["overviews"]
    assert np.array_equal(gdalio.read(f"/vsitlm/{name}", shape=half), gdalio.read(name, shape=half))


@pytest.mark.parametrize("band", [0, 3])
@pytest.mark.parametrize("bits", [1, 8])
def test_bands_of_unlike_depths_have_the_type_of_the_first(band: int, bits: int, tmp_path: Path) -> None:
    path = gdalio.make_jp2(tmp_path / "a.jp2", noise(512, 512, bands=4), **TILES)
    data = bytearray(path.read_bytes())
    # Ssiz of the band: SIZ has 40 bytes before the first, counted from its marker (T.800 A.5.1).
    data[data.index(b"\xff\x4f\xff\x51") + 2 + 40 + 3 * band] = bits - 1
    path.write_bytes(data)
    same_bands(path)


def palette(path: Path, colours: np.ndarray) -> Path:
    """A file of indexes into these colours."""
    count, columns = colours.shape
    pclr = struct.pack(">HB", count, columns) + bytes([7] * columns) + colours.tobytes()
    cmap = b"".join(struct.pack(">HBB", 0, 1, column) for column in range(columns))
    indexes = noise(512, 512, dtype="uint8") % count
    plain = gdalio.make_jp2(path.with_suffix(".plain.jp2"), indexes, **TILES)
    colr = (b"colr", b"\1\0\0" + struct.pack(">I", 16))
    return boxes.with_jp2h(plain, path, colr, (b"pclr", pclr), (b"cmap", cmap))


def colormap(path: str) -> list[tuple[int, ...]]:
    """The colours of the first band."""
    if gdalio.rasterio:
        with gdalio.rasterio.open(path) as dataset:
            return [tuple(colour) for colour in dataset.colormap(1).values()]
    dataset = gdalio.gdal.Open(path)
    table = dataset.GetRasterBand(1).GetColorTable()
    return [tuple(table.GetColorEntry(entry)) for entry in range(table.GetCount())]


@pytest.mark.parametrize("columns", [3, 4])
def test_palettes_are_shown_and_never_averaged(columns: int, tmp_path: Path) -> None:
    colours = noise(5, columns, dtype="uint8")[0]
    path = palette(tmp_path / "a.jp2", colours)
    assert gdalio.describe(str(path))["overviews"] == [[]]
    same_bands(path, overviews=False, windows=columns == 3)
    if columns == 3:
        # A TIFF's colour map has as many entries as a byte has values.
        assert colormap(window_path(path, (30, 40, 70, 80)))[:5] == colormap(str(path))
    else:
        with pytest.raises(gdalio.Failed, match="a palette with opacities"):
            gdalio.read(window_path(path, (30, 40, 70, 80)))
    for view in (f"/vsitlm?overview=2&url={path}", window_path(path, (0, 0, 9, 9), 2)):
        with pytest.raises(gdalio.Failed, match="indexes into a palette"):
            gdalio.read(view)


@pytest.mark.parametrize("bands", [1, 3])
def test_words_of_a_profile_are_no_boxes(bands: int, tmp_path: Path) -> None:
    plain = gdalio.make_jp2(tmp_path / "plain.jp2", noise(512, 512, bands=bands, dtype="uint8"), **TILES)
    same_bands(boxes.with_jp2h(plain, tmp_path / "a.jp2", (b"colr", b"\2\0\0" + PROFILE)))
