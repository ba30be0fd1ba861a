"""A tile of a JP2 by itself: the codec's pixels are those that rasterio reads there, of whole and of cut tile-parts."""

from __future__ import annotations

import json
from pathlib import Path

import gdalio
import numpy as np
import pytest
import realdata
from conftest import band_path

pytest.importorskip("zarr")
import numcodecs
import numcodecs.registry
import rasterio
import zarr
from measure import Codestream

import vsitlm
from vsitlm import _core
from vsitlm.cube._header import template_of
from vsitlm.cube._tile import decode_tile
from vsitlm.cube._zarr_codec import JP2Tile


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A band, a mask and a band of small tiles, which end neither with a tile nor with a precinct."""
    folder, chance, made = tmp_path_factory.mktemp("tiles"), np.random.default_rng(7), []
    for name, side, tile, dtype in (
        ("B04", 1200, 512, "uint16"),
        ("SCL", 600, 320, "uint8"),
        ("B01", 200, 96, "uint16"),
    ):
        pixels = chance.integers(0, 11 if dtype == "uint8" else 12000, (1, side, side), dtype)
        path = folder / f"{name}.jp2"
        gdalio.make_jp2(path, pixels, pixel=20, BLOCKXSIZE=tile, BLOCKYSIZE=tile, RESOLUTIONS=5, PLT="YES")
        made.append(path)
    return made


def test_the_codec_decodes_every_tile_at_every_level(files: list[Path]) -> None:
    for path in files:
        compare_tiles(path, Codestream.scan(path), levels=[None, 0] if path.stem != "B01" else [None])


def compare_tiles(path: Path, stream: Codestream, levels: list[int | None]) -> None:
    """Each tile by the codec is what rasterio reads there: whole, and a window of it by zarr's partial decoding."""
    data = path.read_bytes()
    header = template_of(data[: stream.first_sot + 12])
    across = -(-stream.width // stream.tile_width)
    for level in levels:
        reduce = 0 if level is None else level + 1
        with rasterio.open(path, **({} if level is None else {"overview_level": level})) as dataset:
            right = dataset.read(1)
        high, wide = -(-stream.tile_height >> reduce), -(-stream.tile_width >> reduce)
        store = zarr.storage.MemoryStore()
        codec = {"name": "vsitlm.jp2_tile", "configuration": {"header": header, "reduce": reduce}}
        array = zarr.create_array(
            store, shape=right.shape, chunks=(high, wide), dtype=right.dtype, serializer=JP2Tile.from_dict(codec),
            compressors=None, fill_value=0,
        )  # fmt: skip
        assert json.loads(store._store_dict["zarr.json"].to_bytes())["codecs"] == [codec]
        of_numcodecs = numcodecs.get_codec({"id": "vsitlm.jp2_tile", "header": header, "reduce": reduce})
        whole = np.zeros((-(-right.shape[0] // high) * high, across * wide), right.dtype)
        for tile, offset, length in stream.tile_parts:
            row, column = divmod(tile, across)
            part = data[offset : offset + length]
            store._store_dict[f"c/{row}/{column}"] = zarr.core.buffer.default_buffer_prototype().buffer.from_bytes(part)
            whole[row * high : (row + 1) * high, column * wide : (column + 1) * wide] = of_numcodecs.decode(part)
        assert np.array_equal(array[:], right), (path, level)
        assert np.array_equal(whole[: right.shape[0], : right.shape[1]], right), (path, level)
        rows, columns = slice(high // 3, high + 5), slice(right.shape[1] - wide // 2, right.shape[1])
        assert np.array_equal(array[rows, columns], right[rows, columns])
        assert array[high // 2, wide // 3] == right[high // 2, wide // 3]


def test_a_level_is_the_beginning_of_its_tile_parts(files: list[Path]) -> None:
    for path in files:
        compare_levels(path, Codestream.scan(path))


def compare_levels(path: Path, stream: Codestream) -> None:
    """What the core says to fetch of each tile for a level decodes to what rasterio reads there, and less does not."""
    data = path.read_bytes()
    header = template_of(data[: stream.first_sot + 12])
    across = -(-stream.width // stream.tile_width)
    with rasterio.open(path) as dataset:
        factors = dataset.overviews(1)
    for level, factor in enumerate(factors):
        with rasterio.open(path, overview_level=level) as dataset:
            right = dataset.read(1)
        high, wide = -(-stream.tile_height // factor), -(-stream.tile_width // factor)
        parts = _core.ask("parts", f"/vsitlm?overview={factor}&url={path}", {})["parts"]
        assert [tile for tile, *_ in parts] == [tile for tile, *_ in stream.tile_parts]
        for (tile, offset, length), (_, start, whole) in zip(parts, stream.tile_parts, strict=True):
            assert offset == start and length < whole
            row, column = divmod(tile, across)
            there = right[row * high : (row + 1) * high, column * wide : (column + 1) * wide]
            assert np.array_equal(decode_tile(header, level + 1, data[offset : offset + length]), there)
            with pytest.raises(vsitlm.MalformedError):
                decode_tile(header, level + 1, data[offset : offset + length - 1])


def test_the_codec_refuses_what_it_cannot_decode(files: list[Path]) -> None:
    data = files[-1].read_bytes()
    stream = Codestream.scan(files[-1])
    header = template_of(data[: stream.first_sot + 12])
    _, offset, length = stream.tile_parts[0]
    for part in (b"", b"\0" * 100, data[offset : offset + length // 2]):
        with pytest.raises(vsitlm.MalformedError):
            decode_tile(header, 0, part)
    with pytest.raises(vsitlm.MalformedError, match="no base64"):
        decode_tile("?", 0, data[offset : offset + length])
    with pytest.raises(NotImplementedError):
        numcodecs.get_codec({"id": "vsitlm.jp2_tile", "header": header}).encode(b"")


@pytest.mark.skipif(gdalio.version() < (3, 11), reason="GDAL reads kerchunk's references since 3.11")
def test_gdal_reads_kerchunks_references(tmp_path: Path) -> None:
    paths, chance = [], np.random.default_rng(8)
    for day in ("20240601", "20240606"):
        path = tmp_path / band_path("B04", 10).replace("20240601", day)
        path.parent.mkdir(parents=True)
        pixels = chance.integers(0, 12000, (1, 250, 250), "uint16")
        paths.append(gdalio.make_jp2(path, pixels, BLOCKXSIZE=128, BLOCKYSIZE=128, RESOLUTIONS=3))
    vsitlm.index(paths, tmp_path / "tile.parquet")
    vsitlm.export(tmp_path / "tile.parquet", tmp_path / "cube.json", resolution=10, format="kerchunk")
    references = json.loads((tmp_path / "cube.json").read_text())
    for time, path in enumerate(paths):
        with rasterio.open(f'ZARR:"{tmp_path}/cube.json":/B04:{time}') as cube, rasterio.open(path) as file:
            assert np.array_equal(cube.read(1), file.read(1))
            assert np.array_equal(cube.read(1, window=((100, 200), (120, 250))), file.read(1)[100:200, 120:250])
            assert (cube.crs, cube.transform, cube.shape) == (file.crs, file.transform, file.shape)
    # A chunk that is cut is an error, not a tile of no data.
    key = next(key for key, value in references["refs"].items() if key.startswith("B04/0.") and isinstance(value, list))
    references["refs"][key][2] -= 1000
    (tmp_path / "cut.json").write_text(json.dumps(references))
    with rasterio.open(f'ZARR:"{tmp_path}/cut.json":/B04:0') as cube, pytest.raises(rasterio.errors.RasterioIOError):
        cube.read(1)


@pytest.mark.real_data
def test_the_codec_on_real_files() -> None:
    paths = list(realdata.find("S2A_MSIL2A_20221005*.SAFE/**/*.jp2"))
    for path in [path for path in paths if "TCI" not in path.stem and "PVI" not in path.stem]:
        with rasterio.open(path) as dataset:
            levels = [None, *range(len(dataset.overviews(1)))]
        compare_tiles(path, Codestream.scan(path), levels)
        compare_levels(path, Codestream.scan(path))
