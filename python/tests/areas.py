"""Products of two tiles, for tests of areas."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gdalio
import numpy as np
import rasterio
from conftest import Site
from rasterio.warp import transform_bounds

WEST, NORTH, SIDE = {"31UDQ": 496980.0, "31UEQ": 499980.0}, 5400000.0, 6000.0
"""Of made images, in EPSG:32631, in metres: two tiles, of which the right half of one is the left half of the other."""
BANDS = {"B04": 10, "SCL": 20, "MSK_CLDPRB": 20}
CLASSES = {"SCL": 12, "MSK_CLDPRB": 101}
KEYS = {"B04": "red-jp2", "SCL": "scl-jp2", "MSK_CLDPRB": "cloud"}
AREA = (499000.0, 5395500.0, 504000.0, 5399000.0)
"""In EPSG:32631."""
PRODUCTS = [
    ("20240601", "31UDQ", "0510"), ("20240601", "31UEQ", "0510"), ("20240606", "31UDQ", "0510"),
    ("20240606", "31UEQ", "0511"), ("20240611", "31UDQ", "0301"),
]  # fmt: skip
"""Both tiles on two days, one of them on a third, of an old baseline."""


@dataclass
class Tiles:
    """Products of two tiles, at three dates."""

    site: Site
    folder: Path
    files: dict[tuple[str, str, str], Path] = field(default_factory=dict)
    """By day, tile and band."""
    urls: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def degrees(self) -> tuple[float, float, float, float]:
        """The area in degrees, a little smaller, so that it touches no more pixels."""
        west, south, east, north = AREA
        found: tuple[float, float, float, float] = transform_bounds(
            32631, 4326, west + 30, south + 30, east - 30, north - 30
        )
        return found

    def of(self, *bands: str) -> list[tuple[tuple[str, str, str], Path]]:
        """The files of some bands."""
        return [(key, path) for key, path in self.files.items() if key[2] in bands]

    def add(self, day: str, tile: str, baseline: str, seed: int) -> None:
        """Makes the bands of a product."""
        product = f"S2B_MSIL2A_{day}T105031_N{baseline}_R051_T{tile}_{day}T140000"
        for band, resolution in BANDS.items():
            side = round(SIDE) // resolution
            pixels = np.random.default_rng([seed, resolution]).integers(0, 12000, (1, side, side), "uint16")
            if band in CLASSES:
                pixels = (pixels % CLASSES[band]).astype("uint8")
            pixels[0, : side // 3] = 0
            folder = f"{product}.SAFE/GRANULE/L2A_T{tile}_A1_2/IMG_DATA/R{resolution}m"
            name = f"{folder}/T{tile}_{day}T105031_{band}_{resolution}m.jp2"
            if band.startswith("MSK"):
                name = f"{folder.partition('IMG_DATA')[0]}QI_DATA/{band}_{resolution}m.jp2"
            path = self.folder / name
            gdalio.make_jp2(
                path, pixels, origin=(WEST[tile], NORTH), pixel=resolution, BLOCKXSIZE=256, BLOCKYSIZE=256,
                RESOLUTIONS=4, PLT="YES",
            )  # fmt: skip
            self.files[day, tile, band] = path
            self.urls[day, tile, band] = self.site.put(path, name)

    def item(self, day: str, tile: str, **properties: Any) -> dict[str, Any]:
        """A product's STAC item, which lies of its projection."""
        mine = {band: url for (one, of, band), url in self.urls.items() if (one, of) == (day, tile)}
        assets = {KEYS[band]: {"href": url, "type": "image/jp2", "proj:shape": [1, 1]} for band, url in mine.items()}
        return {
            "type": "Feature", "stac_version": "1.0.0", "id": f"S2B_{tile}_{day}_0_L2A", "geometry": None, "links": [],
            "assets": assets, "properties": {"datetime": None, "proj:epsg": 4326, **properties},
        }  # fmt: skip


def make(site: Site, folder: Path) -> Tiles:
    """All products."""
    made = Tiles(site, folder)
    for seed, (day, tile, baseline) in enumerate(PRODUCTS):
        made.add(day, tile, baseline, seed)
    return made


def mosaic(tiles: Tiles, day: str, band: str, west: float, north: float, resolution: int, shape: Any) -> np.ndarray:
    """What rasterio reads of the files of a day on their own pixels: the first that is not 0."""
    made = np.zeros(shape, "uint8" if band in CLASSES else "uint16")
    for tile in WEST:
        if (day, tile, band) not in tiles.files:
            continue
        level = {} if resolution == BANDS[band] else {"overview_level": (resolution // BANDS[band]).bit_length() - 2}
        with rasterio.open(tiles.files[day, tile, band], **level) as file:
            pixels = file.read(1)
        column, row = round((WEST[tile] - west) / resolution), round((north - NORTH) / resolution)
        for y in range(max(row, 0), min(row + pixels.shape[0], shape[0])):
            for_row = pixels[y - row]
            left, right = max(column, 0), min(column + pixels.shape[1], shape[1])
            there = made[y, left:right]
            there[:] = np.where(there == 0, for_row[left - column : right - column], there)
    return made
