"""Runs a block of the README for odc-stac or stackstac. To be run by the Python in target/py/stac.

Standard input is a JSON object: `block` is the code, `collection` the STAC ItemCollection that it finds as `items`, and
`files` says for every item, in the order of time, which local file has the pixels of which band.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pystac
import rasterio
import xarray

THREADS = 8
"""More than there are files."""


def run(block: str, collection: dict[str, Any]) -> xarray.DataArray:
    """The pixels that the block asks for, by time, band, y and x."""
    # As pystac-client does it: what an item has as proj:epsg becomes its proj:code.
    names: dict[str, Any] = {"items": pystac.ItemCollection.from_dict(collection)}
    exec(compile(block, "README.md", "exec"), names)
    array = names["data"].to_dataarray("band") if "data" in names else names["stack"]
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        return array.transpose("time", "band", "y", "x").compute()


def compare(array: xarray.DataArray, files: list[dict[str, str]]) -> None:
    """Checks the pixels against those of the local files."""
    assert array.shape[:2] == (len(files), len(files[0])), array.shape
    for day, paths in enumerate(files):
        for band, path in paths.items():
            with rasterio.open(path) as file:
                pixels, bounds = file.read(1), file.bounds
            # odc-stac gives the pixels' centres, stackstac their upper left corners, and a margin around the image.
            rows = (array.y > bounds.bottom) & (array.y <= bounds.top)
            columns = (array.x >= bounds.left) & (array.x < bounds.right)
            read = array.isel(time=day).sel(band=band).values[rows][:, columns]
            assert np.array_equal(read, pixels), f"{band} of {Path(path).name} differs"


def main() -> None:
    """Raises where anything is not as it should be."""
    job = json.load(sys.stdin)
    compare(run(job["block"], job["collection"]), job["files"])


if __name__ == "__main__":
    main()
