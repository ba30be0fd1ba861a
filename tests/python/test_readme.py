"""The code in README.md and docs/*.md runs: commands, rasterio, osgeo.gdal, odc-stac and stackstac (see pages.py).

In the blocks, URL is the address of a JP2, items are pystac's, x.jp2 lies in the working directory, `target` holds what
`make build` leaves there, and `vsitlm` is the command.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import apart
import gdalio
import pages
import pytest
from conftest import Site, band_path, make_index, noise, only_once

STAC_PYTHON = apart.ROOT / "target/py/stac/bin/python"
STAC = [
    (library, page, text)
    for _, page in pages.having("stac")
    for text in pages.blocks(page, "stac")
    for library in ("odc.stac", "stackstac")
    if f"import {library}\n" in text
]
"""The blocks for STAC, each complete in itself, and the library and the page of each."""
OUTPUT = re.compile(r"[\w-]+\.(?:tif|jp2|tlm|parquet)\b")
"""A file that a command of a shell block writes, or reads."""


@pytest.fixture
def place(site: Site, folder: Path, tmp_path: Path) -> dict[str, str]:
    """The variables of the README's world, and its working directory."""
    path = folder / "readme.jp2"
    if not path.exists():
        gdalio.make_jp2(path, noise(1600, 1600, dtype="uint8"), BLOCKXSIZE=512, BLOCKYSIZE=512, RESOLUTIONS=5, PLT="YES")
    (tmp_path / "x.jp2").symlink_to(path)
    (tmp_path / "target/release").mkdir(parents=True)
    (tmp_path / "target/plugin").symlink_to(apart.PLUGIN.parent)
    (tmp_path / "target/release/vsitlm").symlink_to(apart.VSITLM)
    return {"URL": site.put(path, band_path("B08")), "PATH": f"{apart.VSITLM.parent}:{os.environ['PATH']}"}


def run(command: list[str], script: str, place: dict[str, str], folder: Path) -> None:
    done = subprocess.run(
        command,
        input=script,
        env=apart.environment(place),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=apart.KILL_AFTER,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"


@only_once
@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)
def test_every_kind_of_block_is_known(page: Path) -> None:
    found = pages.BLOCK.findall(page.read_text())
    assert {kind for kind, _ in found} <= set(pages.KINDS)
    assert len(found) == page.read_text().count("<!-- test"), "each stands right before a fenced block"


@only_once
def test_every_way_in_has_a_block() -> None:
    assert {kind for kind, _ in pages.having(*pages.KINDS)} == set(pages.KINDS)
    assert {library for library, _, _ in STAC} == {"odc.stac", "stackstac"}


@only_once
@pytest.mark.parametrize(("kind", "page"), pages.having("shell"), ids=pages.name)
def test_the_shell_commands_run(kind: str, page: Path, place: dict[str, str], tmp_path: Path) -> None:
    script = pages.script(page, kind)
    run(["bash", "-euo", "pipefail"], script, place, tmp_path)
    commands = re.sub(r"\s#.*", "", script)
    missing = [name for name in OUTPUT.findall(commands) if not (tmp_path / name).exists()]
    assert not missing, f"{missing} of {script}"


@pytest.mark.parametrize(("kind", "page"), pages.having("rasterio", "osgeo"), ids=pages.name)
def test_the_python_code_runs(kind: str, page: Path, place: dict[str, str], tmp_path: Path) -> None:
    if (kind == "rasterio") != bool(gdalio.rasterio):
        pytest.skip(f"this Python has no {kind}")
    run([sys.executable, "-"], f"URL = {place['URL']!r}\n{pages.script(page, kind)}\n{FINDS}", place, tmp_path)


FINDS = """
read = [globals()[name] for name in ("chip", "scene") if name in globals()]
assert read and all(pixels.ndim == 2 and min(pixels.shape) > 60 and pixels.any() for pixels in read)
"""


@pytest.fixture(scope="module")
def days(folder: Path) -> dict[str, dict[str, Path]]:
    """By day and band: B04 is a JP2, B08 a GeoTIFF; of several tiles, and of several of stackstac's chunks."""
    made = {}
    for seed, day in enumerate(("20240601", "20240606")):
        pixels = noise(1100, 1200, bands=2, dtype="uint8", seed=seed)
        made[day] = {"B04": folder / f"{day}.jp2", "B08": folder / f"{day}.tif"}
        gdalio.make_jp2(made[day]["B04"], pixels[:1], BLOCKXSIZE=512, BLOCKYSIZE=512)
        with gdalio.rasterio.open(made[day]["B04"]) as jp2:
            profile = jp2.profile | {"driver": "GTiff"}
        with gdalio.rasterio.open(made[day]["B08"], "w", **profile) as tiff:
            tiff.write(pixels[1:])
    return made


def stac_item(day: str, bands: dict[str, Path], site: Site) -> dict[str, Any]:
    """The STAC item of a day, whose files are served under names of the archive."""
    from rasterio.warp import transform_bounds

    with gdalio.rasterio.open(bands["B04"]) as file:
        grid = {"proj:shape": file.shape, "proj:transform": file.transform[:6]}
        west, south, east, north = bbox = transform_bounds(file.crs, "EPSG:4326", *file.bounds)
    assets = {}
    for band, path in bands.items():
        name = band_path(band).replace("20240601", day).replace(".jp2", path.suffix)
        kind = {".jp2": "image/jp2", ".tif": "image/tiff; application=geotiff"}[path.suffix]
        assets[band] = {"href": site.put(path, name), "type": kind, "roles": ["data"], **grid}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
        "id": day,
        "bbox": bbox,
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
        },
        "properties": {"datetime": f"{day[:4]}-{day[4:6]}-{day[6:]}T10:50:31Z", "proj:code": "EPSG:32631"},
        "links": [],
        "assets": assets,
    }


@only_once
@pytest.mark.parametrize(
    "block", [pytest.param(text, id=f"{library}-{pages.name(page)}") for library, page, text in STAC]
)
def test_the_code_for_stac_runs(block: str, days: dict[str, dict[str, Path]], site: Site, tmp_path: Path) -> None:
    if not STAC_PYTHON.exists():
        pytest.skip("no target/py/stac")
    items = [stac_item(day, bands, site) for day, bands in days.items()]
    urls = [asset["href"] for item in items for asset in item["assets"].values()]
    index = make_index(tmp_path / "index.parquet", *[url for url in urls if url.endswith(".jp2")])
    files = [{band: str(path) for band, path in bands.items()} for bands in days.values()]
    job = {"block": block, "collection": {"type": "FeatureCollection", "features": items}, "files": files}
    site.reset()
    run([str(STAC_PYTHON), str(apart.HERE / "stac_block.py")], json.dumps(job), {"VSITLM_INDEX": str(index)}, tmp_path)
    stats = site.stats()
    ranges = stats["ranges"]
    assert {site.url(entry["path"][1:]) for entry in ranges} == set(urls)
    assert stats["requests"] == len(ranges), "something was asked for that is not there, or by HEAD"
    jp2s = [entry for entry in ranges if entry["path"].endswith(".jp2")]
    assert all(entry["offset"] > 0 for entry in jp2s), "a header was read, which the index has"
    assert len(jp2s) <= len(days) * 9, "a tile was fetched twice"
