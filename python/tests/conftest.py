"""Fixtures: made JP2s, a server, and other interpreters. The package is the wheel that is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/python"), str(ROOT / "scripts")]

import apart  # noqa: E402

OPTIONS = {"VSITLM_CACHE_DIR": "NO", "NO_PROXY": "*", "no_proxy": "*"}
"""Variables of every process: no learned store."""

for name in [name for name in os.environ if apart.is_option(name)]:
    del os.environ[name]
os.environ.update(OPTIONS)

import gdalio  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from measure import Server, ask  # noqa: E402

SITE = ROOT / "target/wheels/site"
"""The wheel, unpacked: for interpreters that it is not installed in."""

OTHERS = {
    "debian": Path("/usr/bin/python3"),
    "interop": ROOT / "target/py/interop/bin/python",
    "stac": ROOT / "target/py/stac/bin/python",
}

only_once = pytest.mark.skipif(
    sys.version_info[:2] == (3, 10), reason="depends on another interpreter, or on none: not again under Python 3.10"
)

PRODUCT = "S2B_MSIL2A_20240601T105031_N0510_R051_T31UDQ_20240601T140000"


def band_path(band: str = "B03", resolution: int = 10) -> str:
    """Where a band of that product lies below a folder of products."""
    name = f"T31UDQ_20240601T105031_{band}_{resolution}m.jp2"
    return f"{PRODUCT}.SAFE/GRANULE/L2A_T31UDQ_A037000_20240601T105031/IMG_DATA/R{resolution}m/{name}"


def noise(height: int, width: int, seed: int = 1) -> np.ndarray:
    """Pixels of one band that do not compress."""
    return np.random.default_rng(seed).integers(0, 255, (1, height, width), "uint8", endpoint=True)


def run(
    code: str,
    *arguments: str | Path,
    python: str | Path = sys.executable,
    options: Mapping[str, str] | None = None,
    folder: str | Path | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own; `folder` goes before all others that modules are looked for in."""
    # An interpreter that the wheel is not installed in has it as if it were.
    path = folder or (None if Path(python) == Path(sys.executable) else SITE)
    # What the package has set in this process would be found by the other.
    kept = {name: value for name, value in os.environ.items() if name != "GDAL_DRIVER_PATH"}
    done = subprocess.run(
        [str(python), "-c", code, *map(str, arguments)],
        env={**kept, **({"PYTHONPATH": str(path)} if path else {}), **(options or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=apart.KILL_AFTER,
    )
    assert not check or done.returncode == 0, f"{done.returncode}\n{done.stdout}{done.stderr}"
    return done


def other(name: str) -> Path:
    """Another interpreter; skips the test where the machine has none."""
    if not OTHERS[name].exists():
        pytest.skip(f"no {OTHERS[name]}: run scripts/setup test")
    return OTHERS[name]


class Site:
    """A folder behind a range server that adds no latency."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = Server(folder, 0)

    def put(self, source: Path | bytes, name: str) -> str:
        """Serves a file or bytes and gives their URL."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(source if isinstance(source, bytes) else source.read_bytes())
        return f"{self.server.url}/{name}"

    def stats(self) -> dict[str, Any]:
        """What was asked for, and starts counting anew."""
        stats: dict[str, Any] = ask(f"{self.server.url}/__stats?reset=1")
        return stats


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The server that all tests share."""
    site = Site(tmp_path_factory.mktemp("served"))
    with site.server:
        yield site


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """The pixels of `sample`."""
    return noise(1600, 1500)[0]


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray) -> Path:
    """Four by three tiles of 512 px with PLT, in the folder of its product."""
    path = tmp_path_factory.mktemp("made") / band_path()
    return gdalio.make_jp2(path, pixels[None], BLOCKXSIZE=512, BLOCKYSIZE=512, RESOLUTIONS=5, PLT="YES")


@pytest.fixture(scope="session")
def url(site: Site, sample: Path) -> str:
    """Where `sample` is served."""
    return site.put(sample, band_path())


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory, url: str) -> Path:
    """An index of `url`."""
    import vsitlm

    file = tmp_path_factory.mktemp("index") / "tiles.parquet"
    assert vsitlm.index([url], file).rows == 1
    return file


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """See `cubes.make`."""
    from cubes import make

    site = Site(tmp_path_factory.mktemp("series-served"))
    with site.server:
        yield make(tmp_path_factory.mktemp("series"), site)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """See `areas.make`."""
    from areas import make

    site = Site(tmp_path_factory.mktemp("tiles-served"))
    with site.server:
        yield make(site, tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="module")
def tiles_index(tiles: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of `tiles`."""
    import vsitlm

    out = tmp_path_factory.mktemp("tiles-index") / "tiles.parquet"
    vsitlm.index(list(tiles.urls.values()), out)
    return out


@pytest.fixture(scope="module")
def cogs(tiles: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """See `cogs.make`."""
    from cogs import make

    return make(tiles, tmp_path_factory.mktemp("cogs"))


@pytest.fixture(scope="module")
def cogs_index(cogs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of all items with COGs, of Earth Search's and of the scene; JP2s are left out of it."""
    import vsitlm

    folder = tmp_path_factory.mktemp("cogs-index")
    items = [cogs.item(day, tile) for day, tile, band in cogs.files if band == "B04"] + [cogs.scene()]
    for item in items:
        item["assets"] = {key: asset for key, asset in item["assets"].items() if asset["href"].lower()[-4:] == ".tif"}
        item["assets"].pop("thumbnail", None)
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    assert vsitlm.index([folder / "items.json"], folder / "tiles.parquet").rows == 13
    return folder / "tiles.parquet"
