"""Windows of TIFFs: pixels as rasterio has them, decoded by the core, or by rasterio where the core leaves them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tiffs
from conftest import Site
from rasterio.windows import Window

import vsitlm
from vsitlm import aio

LEFT_OUT = (
    "JPEG",
    "LERC",
    "LZMA",
    "WEBP",
    "CCITT",
    "complex",
    " bits",
    "float16",
    "half floats",
    "white is 0",
    "1 bit",
)
"""Parts of the names of kinds that the core may leave to GDAL."""

KINDS = [name for name in tiffs.possible() if "complex" not in name]
"""numpy's types alone: rasterio reads complex_int16 as another."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A file of a kind."""
    folder = tmp_path_factory.mktemp("tiffs")
    files: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in files:
            files[name] = tiffs.make_kind(tiffs.possible()[name], folder / f"{len(files)}.tif")
        return files[name]

    return make


@pytest.fixture(scope="module")
def cog(made: Callable[[str], Path], site: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A COG with overviews, where it is served, and its index."""
    kind = tiffs.cog(tiffs.Kind(shape=(2, 600, 590)), BLOCKSIZE=64, COMPRESS="DEFLATE")
    folder = tmp_path_factory.mktemp("cog")
    path = tiffs.make_kind(kind, folder / "cog.tif")
    url = site.put(path, "read/cog.tif")
    assert vsitlm.index([url], folder / "cog.parquet").rows == 1
    return path, url, str(folder / "cog.parquet")


def windows(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Windows of an image: all of it, a pixel, its last ones, and some by chance."""
    chance = random.Random(width * height)
    found = [(0, 0, width, height), (width // 2, height // 3, 1, 1), (width - 1, 0, 1, height)]
    for _ in range(3):
        x, y = chance.randrange(width), chance.randrange(height)
        found.append((x, y, chance.randint(1, width - x), chance.randint(1, height - y)))
    return found


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_as_rasterio_reads_it(made: Callable[[str], Path], kind: str) -> None:
    path = made(kind)
    with rasterio.open(path) as dataset:
        factors = [1, *dataset.overviews(1)] if not path.with_suffix(".tif.ovr").exists() else [1]
    for number, factor in enumerate(factors):
        level = {} if number == 0 else {"overview_level": number - 1}
        with rasterio.open(path, **level) as dataset:
            for window in windows(dataset.width, dataset.height):
                right = dataset.read(window=Window(*window))
                pixels = vsitlm.read(path, window, factor)
                assert pixels.dtype == right.dtype and np.array_equal(pixels, right, equal_nan=right.dtype.kind == "f")
            last, window = dataset.count, (0, 0, min(9, dataset.width), min(9, dataset.height))
            right = dataset.read(last, window=Window(*window))
            assert np.array_equal(vsitlm.read(path, window, factor, indexes=last), right)


def is_refused(path: Path) -> bool:
    """Whether nothing decodes a file."""
    try:
        vsitlm.read(path, (0, 0, 1, 1))
    except vsitlm.UndecodedError:
        return True
    return False


def test_the_core_decodes_what_it_says(made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rasterio."""
    from vsitlm import _read

    def refuse(self: Any) -> Any:
        raise self.why

    monkeypatch.setattr(_read.Decoding, "decode", refuse)
    refused = [kind for kind in KINDS if is_refused(made(kind))]
    assert [kind for kind in refused if not any(part in kind for part in LEFT_OUT)] == []
    assert refused
    assert {"tiles", "strips", "DEFLATE tiles", "ZSTD tiles", "LZW, predictor 3", "COG with DEFLATE", "sparse"} & set(
        KINDS
    ) <= set(KINDS) - set(refused)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_window_is_one_round_trip_and_its_tiles(site: Site, cog: tuple[Path, str, str], factor: int) -> None:
    path, url, index = cog
    window = (70, 70, 50, 50)
    site.stats()
    pixels = vsitlm.read(url, window, factor, index=index, VSITLM_CACHE_SIZE="1000000")
    stats = site.stats()
    level = {} if factor == 1 else {"overview_level": {2: 0, 4: 1}[factor]}
    with rasterio.open(path, **level) as dataset:
        assert np.array_equal(pixels, dataset.read(window=Window(*window)))
    assert 1 <= stats["requests"] <= 2 and stats["heads"] == 0
    vsitlm.read(url, window, factor, index=index, VSITLM_CACHE_SIZE="1000000")
    assert site.stats()["requests"] == 0, "what was fetched is kept"


def test_many_and_async(cog: tuple[Path, str, str]) -> None:
    path, url, index = cog
    places = [(64 * n, 500 - 60 * n, 80, 70) for n in range(8)]
    chips = list(vsitlm.read_many([(url, place) for place in places], index=index, indexes=2))

    async def all_of_them() -> list[Any]:
        image = await aio.open(url, index=index)
        assert image.overviews[:2] == [2, 4] and image.tile_shape == (64, 64)
        return await asyncio.gather(*(image.read(place, indexes=2) for place in places))

    with rasterio.open(path) as dataset:
        right = [dataset.read(2, window=Window(*place)) for place in places]
    for chip, later, pixels in zip(chips, asyncio.run(all_of_them()), right, strict=True):
        assert chip.error is None and np.array_equal(chip.pixels, pixels) and np.array_equal(later, pixels)


def test_what_a_tiff_is_and_windows_beyond_it(cog: tuple[Path, str, str]) -> None:
    path, url, index = cog
    pixels = vsitlm.read(url, (-10, -10, 30, 30), boundless=True, fill_value=5, index=index)
    with rasterio.open(path) as dataset:
        assert np.array_equal(pixels[:, 10:, 10:], dataset.read(window=Window(0, 0, 20, 20)))
    assert (pixels[:, :10] == 5).all() and (pixels[:, :, :10] == 5).all()
    with pytest.raises(vsitlm.WindowError, match="590 x 600"):
        vsitlm.read(url, (580, 0, 11, 1), index=index)


def test_errors_have_their_class(cog: tuple[Path, str, str], tmp_path: Path) -> None:
    path, url, index = cog
    with pytest.raises(vsitlm.OverviewError, match="of the factors 2, 4"):
        vsitlm.read(url, (0, 0, 9, 9), 3, index=index)
    with pytest.raises(vsitlm.Error, match="band 3"):
        vsitlm.read(url, (0, 0, 9, 9), indexes=3, index=index)
    for name, content in (("cut", path.read_bytes()[:9000]), ("text", b"no TIFF")):
        bad = tmp_path / f"{name}.tif"
        bad.write_bytes(content)
        with pytest.raises((vsitlm.UndecodedError, vsitlm.MalformedError, vsitlm.ReadError)):
            vsitlm.read(bad, (0, 0, 200, 200))


def test_a_scan_and_rows(cog: tuple[Path, str, str]) -> None:
    _, url, index = cog
    told = vsitlm.scan(url, VSITLM_INDEX=index)
    assert told["is_cog"] and [page["kind"] for page in told["directories"]][:2] == ["image", "overview"]
    (row,) = vsitlm.Index(index).find(url)
    assert row.origin == url and row.is_tiff and row.tile_parts is None
