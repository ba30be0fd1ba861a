"""odc-stac, stackstac, rioxarray, rio-tiler and titiler read STAC items of a local server by `vsitlm.path` alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gdalio
import numpy as np
import rasterio
from conftest import Site, band_path, noise, only_once, other, run
from rasterio.warp import transform_bounds

import vsitlm

LOADS = """
import io, json, sys
from pathlib import Path
import numpy as np
import odc.stac
import pystac
import rasterio
import rioxarray
import stackstac
from fastapi import FastAPI
from fastapi.testclient import TestClient
from rio_tiler.io import Reader
from titiler.core.factory import TilerFactory
import vsitlm
app = FastAPI()
app.include_router(TilerFactory().router)
job = json.loads(Path(sys.argv[1]).read_text())
items = pystac.ItemCollection.from_dict(job["collection"])
data = odc.stac.load(items, bands=["B04", "B08"], patch_url=vsitlm.path)
for day, item in enumerate(items):
    for band in ("B04", "B08"):
        pixels = np.load(job["files"][item.id][band])
        assert np.array_equal(data[band].isel(time=day).values, pixels), (item.id, band)
        array = rioxarray.open_rasterio(vsitlm.path(item.assets[band].href))
        assert np.array_equal(array.values[0], pixels) and array.rio.crs.to_epsg() == 32631
        if band == "B04":
            assert "as=tiff" in array.encoding.get("source", vsitlm.path(item.assets[band].href))
            half = rioxarray.open_rasterio(vsitlm.path(item.assets[band].href, overview=2))
            assert half.shape == (1, 550, 600), half.shape
for item in items:
    for asset in item.assets.values():
        asset.href = vsitlm.path(asset.href)
stacked = stackstac.stack(items, assets=["B04", "B08"], epsg=32631, resolution=10, rescale=False)
assert stacked.shape[:2] == (2, 2)
for day, item in enumerate(items):
    for number, band in enumerate(("B04", "B08")):
        pixels = np.load(job["files"][item.id][band])
        with rasterio.open(job["plain"][item.id]) as file:
            left, bottom, right, top = file.bounds
        # Of the pixels' upper left corners, with a margin around the image.
        rows, columns = (stacked.y > bottom) & (stacked.y <= top), (stacked.x >= left) & (stacked.x < right)
        read = stacked[day, number].values[rows][:, columns]
        assert np.array_equal(read, pixels), (item.id, band)
client = TestClient(app)
for item in items:
    url = item.assets["B04"].href
    with Reader(url) as ours, Reader(job["plain"][item.id]) as plain:
        assert ours.info().overviews == plain.info().overviews
        assert np.array_equal(ours.read().array, plain.read().array)
        west, south, east, north = plain.get_geographic_bounds("epsg:4326")
        for zoom in (10, 12, 14):
            tile = ours.tms.tile((west + east) / 2, (south + north) / 2, zoom)
            one, other = (reader.tile(tile.x, tile.y, zoom).array for reader in (ours, plain))
            assert np.array_equal(one, other) and one.any(), zoom
            params = {"url": url, "return_mask": "false"}
            told = client.get(f"/tiles/WebMercatorQuad/{zoom}/{tile.x}/{tile.y}.npy", params=params)
            assert told.status_code == 200, told.text
            assert np.array_equal(np.load(io.BytesIO(told.content))[0], one.data[0]), zoom
assert "rasterio" in str(vsitlm.info())
"""


def make(day: str, seed: int, site: Site, folder: Path) -> tuple[dict[str, Any], dict[str, str], str]:
    """A STAC item, B04 being a JP2 and B08 a GeoTIFF, where their pixels are kept, and the JP2 itself."""
    assets, files, plain = {}, {}, ""
    for number, (band, suffix) in enumerate([("B04", ".jp2"), ("B08", ".tif")]):
        pixels = noise(1100, 1200, seed=10 * seed + number)
        files[band] = str(folder / f"{day}-{band}.npy")
        np.save(files[band], pixels[0])
        path = gdalio.make_jp2(folder / f"{day}-{band}.jp2", pixels, BLOCKXSIZE=512, BLOCKYSIZE=512, PLT="YES")
        with rasterio.open(path) as file:
            grid = {"proj:shape": file.shape, "proj:transform": file.transform[:6]}
            bounds = transform_bounds(file.crs, "EPSG:4326", *file.bounds)
            profile = file.profile | {"driver": "GTiff"}
        if suffix == ".tif":
            path = path.with_suffix(suffix)
            with rasterio.open(path, "w", **profile) as file:
                file.write(pixels)
        name = band_path(band).replace("20240601", day).replace(".jp2", suffix)
        if suffix == ".jp2":
            plain = str(path)
        # Signed, as most catalogues have them.
        href = site.put(path, name) + "?signature=a%2Fb"
        kind = {".jp2": "image/jp2", ".tif": "image/tiff; application=geotiff"}[suffix]
        assets[band] = {"href": href, "type": kind, "roles": ["data"], **grid}
    return item(day, assets, bounds), files, plain


def item(day: str, assets: dict[str, Any], bounds: tuple[float, float, float, float]) -> dict[str, Any]:
    """The STAC item of a day, whose assets lie in UTM zone 31N, within these bounds in degrees."""
    west, south, east, north = bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
        "id": day,
        "bbox": bounds,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": f"{day[:4]}-{day[4:6]}-{day[6:]}T10:50:31Z", "proj:code": "EPSG:32631"},
        "links": [],
        "assets": assets,
    }


@only_once
def test_programs_of_others_read_by_the_path_alone(site: Site, tmp_path: Path) -> None:
    items, files, plain = [], {}, {}
    for seed, day in enumerate(["20240601", "20240606"]):
        made, files[day], plain[day] = make(day, seed, site, tmp_path)
        items.append(made)
    job = tmp_path / "job.json"
    collection = {"type": "FeatureCollection", "features": items}
    job.write_text(json.dumps({"collection": collection, "files": files, "plain": plain}))
    jp2s = [made["assets"]["B04"]["href"] for made in items]
    vsitlm.index(jp2s, tmp_path / "tiles.parquet")
    site.stats()
    run(LOADS, job, python=other("stac"), options={"VSITLM_INDEX": str(tmp_path / "tiles.parquet")})
    ranges = [entry for entry in site.stats()["ranges"] if entry["path"].endswith(".jp2")]
    assert ranges and all(entry["offset"] > 0 for entry in ranges), "a header was read, which the index has"
