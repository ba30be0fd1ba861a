"""Fixtures: made JP2 files, servers, indexes. Every test file of this folder runs under each GDAL that there is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "scripts")]

import apart  # noqa: E402

os.environ.update(apart.environment())
for name in [name for name in os.environ if apart.is_option(name)]:
    if name not in apart.environment():
        del os.environ[name]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])

import gdalio  # noqa: E402
import jobs  # noqa: E402
from measure import Codestream, Server, ask  # noqa: E402

only_once = pytest.mark.skipif(
    gdalio.rasterio is None or gdalio.version() != (3, 10),
    reason="does not depend on the GDAL: runs with rasterio 1.4.4 alone",
)
"""For tests that need to run under one interpreter only."""

TOGETHER = {
    f"test_{name}"
    for name in "archives cogs index_command inputs interop products readme scale_dask servers".split()
}
"""Files whose tests share what is slow to start, mostly a server: they stay in one process where pytest has several."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of these files for pytest-xdist."""
    for item in items:
        if item.path.stem in TOGETHER:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


PRODUCT = "S2B_MSIL2A_20240601T105031_N0510_R051_T31UDQ_20240601T140000"
"""The name of the product that made files pretend to be of."""


def band_path(band: str = "B03", resolution: int = 10) -> str:
    """Where a band of that product lies below a folder of products."""
    name = f"T31UDQ_20240601T105031_{band}_{resolution}m.jp2"
    return f"{PRODUCT}.SAFE/GRANULE/L2A_T31UDQ_A037000_20240601T105031/IMG_DATA/R{resolution}m/{name}"


def noise(height: int, width: int, bands: int = 1, dtype: str = "uint16", seed: int = 1) -> np.ndarray:
    """Pixels that do not compress, so that tile-parts have a known size."""
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (bands, height, width), dtype, endpoint=True)


class Site:
    """A folder behind a range server that adds no latency."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = Server(folder, 0)

    def put(self, source: Path, name: str | None = None) -> str:
        """Serves a file, under its own name if no other is given, and gives its URL."""
        name = name or source.name
        link = self.folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(source.resolve())
        return self.url(name)

    def put_bytes(self, name: str, content: bytes) -> str:
        """Serves some bytes and gives their URL."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return self.url(name)

    def url(self, name: str) -> str:
        """The URL of a served name."""
        return f"{self.server.url}/{name}"

    def reset(self) -> None:
        """Starts counting anew."""
        ask(f"{self.server.url}/__stats?reset=1")

    def stats(self) -> dict[str, Any]:
        """What was asked for since."""
        return self.server.stats()

    def ranges(self) -> list[tuple[int, int]]:
        """Offset and length of every GET of a file that is there."""
        return [(entry["offset"], entry["length"]) for entry in self.stats()["ranges"]]

    def control(self, **changes: str | int) -> None:
        """Adds a fault, or lifts all with `clear=1`; see range_server.py."""
        self.server.control(**changes)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The server that all tests share."""
    site = Site(tmp_path_factory.mktemp("served"))
    with site.server:
        yield site


@pytest.fixture
def site(served: Site) -> Iterator[Site]:
    """The shared server, its counters at 0 and without faults."""
    served.control(clear=1)
    served.reset()
    yield served
    served.control(clear=1)


class Sample:
    """A made JP2, and what is known of it."""

    def __init__(self, path: Path, name: str, pixels: np.ndarray) -> None:
        self.path = path
        self.name = name
        self.pixels = pixels
        self.stream = Codestream.scan(path)

    def window(self, window: gdalio.Window) -> np.ndarray:
        """The pixels of a window."""
        left, top, width, height = window
        return self.pixels[:, top : top + height, left : left + width]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where made files are kept for the session."""
    return tmp_path_factory.mktemp("made")


TILE = 512
ONE_TILE = (TILE + 60, TILE + 50, 300, 200)
"""A window inside the tile in the middle."""
FOUR_TILES = (TILE - 30, TILE - 20, 100, 90)
"""A window over the first four tiles."""


@pytest.fixture(scope="session")
def sample(folder: Path) -> Sample:
    """Three by three tiles of 512 px that do not compress: tile-parts of half a megabyte, PLT, LBox not 0."""
    name = band_path()
    pixels = noise(3 * TILE - 100, 3 * TILE - 36)
    path = gdalio.make_jp2(folder / name, pixels, BLOCKXSIZE=TILE, BLOCKYSIZE=TILE, RESOLUTIONS=4, PLT="YES")
    return Sample(path, name, pixels)


@pytest.fixture(scope="session")
def colours(folder: Path) -> Sample:
    """Three bands in two by two tiles of 256 px: tile-parts of 200 kB."""
    name = band_path("TCI")
    pixels = noise(512, 480, bands=3, dtype="uint8")
    path = gdalio.make_jp2(folder / name, pixels, BLOCKXSIZE=256, BLOCKYSIZE=256, RESOLUTIONS=3)
    return Sample(path, name, pixels)


@pytest.fixture(scope="session")
def small(folder: Path) -> Sample:
    """Two by two tiles of 64 px: a file of 40 kB."""
    name = band_path("SCL", 20)
    pixels = noise(120, 128, dtype="uint8")
    path = gdalio.make_jp2(folder / name, pixels, BLOCKXSIZE=64, BLOCKYSIZE=64, RESOLUTIONS=3)
    return Sample(path, name, pixels)


def vsitlm(*arguments: str | Path, options: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command line."""
    return subprocess.run(
        [str(apart.VSITLM), *map(str, arguments)],
        env=apart.environment(options),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=apart.KILL_AFTER,
    )


def make_index(output: Path, *inputs: str | Path) -> Path:
    """Runs `vsitlm index`."""
    done = vsitlm("index", *inputs, "-o", output)
    assert done.returncode == 0, done.stdout + done.stderr
    return output


@pytest.fixture(scope="session")
def index(served: Site, sample: Sample, folder: Path) -> Path:
    """An index of `sample`, made from the URL where it is served."""
    return make_index(folder / "index.parquet", served.put(sample.path, sample.name))


@pytest.fixture(scope="session")
def indexed(index: Path) -> dict[str, str]:
    """Options by which the plugin knows `sample` at its URL."""
    return {"VSITLM_INDEX": str(index)}


@pytest.fixture(scope="session", params=["index", "learned"])
def known(request: pytest.FixtureRequest, served: Site, sample: Sample, folder: Path) -> dict[str, str]:
    """Options by which the plugin knows `sample` at its URL: from an index, or from an earlier process's scan."""
    if request.param == "index":
        return request.getfixturevalue("indexed")
    options = {"VSITLM_CACHE_DIR": str(folder / "learned")}
    apart.call(jobs.describe, "/vsitlm/" + served.put(sample.path, sample.name), options=options)
    return options


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A TIFF of every kind that this GDAL makes."""
    import tiffs

    folder = tmp_path_factory.mktemp("tiffs")
    return {name: tiffs.make(name, folder) for name in tiffs.possible()}


@pytest.fixture(scope="session")
def cog(served: Site, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """See `cogs.make_cog`."""
    from cogs import make_cog

    return make_cog(served, tmp_path_factory.mktemp("cog"))
