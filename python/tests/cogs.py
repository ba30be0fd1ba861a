"""COGs of the products of areas.py, as Earth Search names them, and a scene of Landsat, for tests of areas."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from areas import BANDS, Tiles
from conftest import Site
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

SCENE_DAY = "20240602"
SCENE = "LC09_L2SP_199026_20240602_20240603_02_T1"
LANDSAT = {"SR_B4": "red", "SR_B5": "nir08", "QA_PIXEL": "qa_pixel"}
"""Bands of the scene, and the keys of their assets."""
KEYS = {"B04": "red", "SCL": "scl"}
"""Bands of Earth Search's items, and the keys of their COGs."""
FLAGS = (1, 21824, 21826, 21888, 22280, 23888, 30048)
"""Of QA_PIXEL: fill, clear, dilated cloud, clear, cloud, shadow, snow."""
CLEAR = (21824, 21888, 30048)


def make_cog(path: Path, pixels: np.ndarray, epsg: int | None, origin: tuple[float, float], pixel: float) -> Path:
    """Writes pixels (bands, rows, columns) by GDAL's COG driver."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = pixels.shape
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": width, "height": height, "count": bands, "dtype": str(pixels.dtype), "nodata": 0,
        "transform": rasterio.transform.from_origin(*origin, pixel, pixel), "crs": f"EPSG:{epsg}" if epsg else None,
    }  # fmt: skip
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as made:
            made.write(pixels)
        with memory.open() as source:
            # By averages, so that an overview is not what warping by "nearest" gives.
            terms = {"BLOCKSIZE": 128, "COMPRESS": "DEFLATE", "PREDICTOR": 2, "OVERVIEW_RESAMPLING": "AVERAGE"}
            rasterio.shutil.copy(source, path, driver="COG", **terms)
    return path


@dataclass
class Cogs:
    """COGs of the products of tiles, and a scene of Landsat."""

    tiles: Tiles
    folder: Path
    files: dict[tuple[str, str, str], Path] = field(default_factory=dict)
    """By day, tile and band; those of the scene by its date and no tile."""
    urls: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        """Where they are served."""
        return self.tiles.site

    def add(self, key: tuple[str, str, str], name: str, *written: Any) -> None:
        """Writes a COG, and serves it."""
        self.files[key] = make_cog(self.folder / name, *written)
        self.urls[key] = self.site.put(self.files[key], name)

    def item(self, day: str, tile: str, **properties: Any) -> dict[str, Any]:
        """An item of Earth Search, with JP2s beside the COGs, which lies of what offset its bands have."""
        made = self.tiles.item(day, tile)
        product = made["assets"]["red-jp2"]["href"].split("/")[3]
        for band, key in KEYS.items():
            bands = [{"name": key, "common_name": key}]
            told = {"offset": -0.1, "scale": 0.0001}
            made["assets"][key] = {"href": self.urls[day, tile, band], "eo:bands": bands, "raster:bands": [told]}
        thumbnail = {"href": f"{self.site.server.url}/preview.tif", "roles": ["thumbnail"]}
        made["assets"] |= {"thumbnail": thumbnail}
        # Of the tile, which was sensed after the datatake began.
        sensed = f"{day[:4]}-{day[4:6]}-{day[6:]}T10:56:25.123000Z"
        told = {"datetime": sensed, "s2:product_uri": product, "grid:code": f"MGRS-{tile}"}
        made["properties"] |= {**told, **properties}
        return made

    def scene(self, **properties: Any) -> dict[str, Any]:
        """The item of the scene, as that of the Planetary Computer."""
        urls = {band: url for (_, tile, band), url in self.urls.items() if not tile}
        with rasterio.open(self.files[SCENE_DAY, "", "SR_B4"]) as file:
            bbox = list(transform_bounds(file.crs, 4326, *file.bounds))
        assets = {key: {"href": urls[band], "type": "image/tiff"} for band, key in LANDSAT.items()}
        told = {"datetime": "2024-06-02T10:39:50.1234567Z", "grid:code": "WRS2-199026", "eo:cloud_cover": 12.5}
        return {
            "type": "Feature", "stac_version": "1.0.0", "id": SCENE, "geometry": None, "links": [], "bbox": bbox,
            "assets": assets, "properties": {**told, **properties},
        }  # fmt: skip


def make(tiles: Tiles, folder: Path) -> Cogs:
    """All of them."""
    made = Cogs(tiles, folder)
    for (day, tile, band), path in tiles.files.items():
        with rasterio.open(path) as file:
            pixels, origin = file.read(), (file.transform.c, file.transform.f)
        name = f"sentinel-s2-l2a-cogs/{tile[:2]}/{tile[2]}/{tile[3:]}/{day[:4]}/6/S2B_{tile}_{day}_0_L2A/{band}.tif"
        made.add((day, tile, band), name, pixels, 32631, origin, BANDS[band])
    chance = np.random.default_rng(77)
    for band in LANDSAT:
        pixels = chance.integers(1, 40000, (1, 301, 297), "uint16")
        if band == "QA_PIXEL":
            pixels = chance.choice(np.array(FLAGS, "uint16"), pixels.shape)
        # Of the zone beside that of the tiles, over both of them.
        made.add((SCENE_DAY, "", band), f"landsat/{SCENE}/{SCENE}_{band}.TIF", pixels, 32632, (56985.0, 5415015.0), 30)
    return made


def read(path: Path, **options: Any) -> np.ndarray:
    """What rasterio reads of a file's first band."""
    with rasterio.open(path, **options) as file:
        return file.read(1)


def warped(path: Path, loaded: Any, crs: int, **options: Any) -> np.ndarray:
    """What a WarpedVRT makes of a file on the pixels of what was loaded."""
    step = float(loaded.x[1] - loaded.x[0])
    transform = rasterio.Affine(step, 0, float(loaded.x[0]) - step / 2, 0, -step, float(loaded.y[0]) + step / 2)
    wide, high = loaded.sizes["x"], loaded.sizes["y"]
    with rasterio.open(path, **options) as file:
        bounds = transform_bounds(crs, file.crs, *rasterio.transform.array_bounds(high, wide, transform))
        fine = min((bounds[2] - bounds[0]) / wide, (bounds[3] - bounds[1]) / high)
        scale = min(file.res[0] / fine, 1)
        terms = {"crs": f"EPSG:{crs}", "transform": transform, "nodata": 0, "src_nodata": 0}
        with WarpedVRT(file, width=wide, height=high, XSCALE=scale, YSCALE=scale, **terms) as vrt:
            return vrt.read(1)
