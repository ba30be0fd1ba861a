"""Series of made products, for tests of cubes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gdalio
import numpy as np
import rasterio
from conftest import Site, band_path

WIDTH = 1200
"""Columns and rows at 10 m."""
BANDS = {"B04": 10, "B08": 10, "B05": 20, "SCL": 20, "B01": 60}
"""Bands and their resolutions."""
PRODUCT = "S2B_MSIL2A_{0}T105031_N{1}_R051_T31UDQ_{0}T{2}"


@dataclass
class Series:
    """Products, one after the other."""

    index: Path
    site: Site
    files: dict[tuple[str, str], Path]
    """By product and band."""

    @property
    def urls(self) -> list[str]:
        """Where the files of products are served."""
        files = sorted(self.site.folder.glob("S2B*/**/*.jp2"))
        return [f"{self.site.server.url}/{file.relative_to(self.site.folder)}" for file in files]

    def pixels(self, product: str, band: str, overview: int | None = None) -> np.ndarray:
        """What rasterio reads of a file."""
        options = {} if overview is None else {"overview_level": overview}
        with rasterio.open(self.files[product, band], **options) as dataset:
            return dataset.read(1)


def add(series: Series, day: str, baseline: str, part: str = "140000", bands: tuple[str, ...] = tuple(BANDS)) -> str:
    """Makes a product, and gives its name."""
    product = PRODUCT.format(day, baseline, part)
    for number, band in enumerate(bands):
        resolution = BANDS[band]
        side = WIDTH * 10 // resolution
        chance = np.random.default_rng(len(series.files) + 100 * number)
        pixels = chance.integers(0, 11 if band == "SCL" else 12000, (1, side, side), "uint16")
        pixels[0, :40, :40] = 0
        path = series.site.folder / f"cube/{product}-{band}.jp2"
        pixels = pixels.astype("uint8") if band == "SCL" else pixels
        # Tiles of unlike sizes in the files of one band.
        tile = {10: 512, 20: 320, 60: 96}[resolution] // (2 if part == "150000" else 1)
        gdalio.make_jp2(path, pixels, pixel=resolution, BLOCKXSIZE=tile, BLOCKYSIZE=tile, RESOLUTIONS=5, PLT="YES")
        name = band_path(band, resolution).replace("20240601", day).replace("N0510", f"N{baseline}")
        series.site.put(path, name.replace("T140000", f"T{part}"))
        series.files[product, band] = path
    return product


def make(folder: Path, site: Site) -> Series:
    """Four dates: one of an old baseline, one without B08, one twice by two baselines, one of two parts."""
    import vsitlm

    made = Series(folder / "tiles.parquet", site, {})
    add(made, "20240601", "0301")
    add(made, "20240606", "0400", bands=("B04", "B05", "SCL", "B01"))
    add(made, "20240611", "0400")
    add(made, "20240611", "0511", part="150000")
    add(made, "20240616", "0511")
    add(made, "20240616", "0511", part="150000")
    vsitlm.index(made.urls, made.index, all_resolutions=True)
    return made


STEPS = [
    PRODUCT.format("20240601", "0301", "140000"), PRODUCT.format("20240606", "0400", "140000"),
    PRODUCT.format("20240611", "0511", "150000"), PRODUCT.format("20240616", "0511", "140000"),
    PRODUCT.format("20240616", "0511", "150000"),
]  # fmt: skip
"""The newest of each datatake, and parts by themselves."""

REAL = "S2A_MSIL2A_20221005*.SAFE/**/*.jp2"
"""The files of a real product, of which tests have some."""


def compare_tree(tree: Any, paths: list[Path]) -> None:
    """Each file of one component is what the tree has at its place, at every level that GDAL shows."""
    from vsitlm.cube._tree import REFLECTANCE, place_of

    stems = {path.stem for path in paths}
    compared = 0
    for path in paths:
        band, _, end = path.stem.removesuffix("m").rpartition("_")
        band = band if band.startswith("MSK") else band.rpartition("_")[2]
        if path.stem.startswith("MSK_") and not end.isdecimal():
            band = path.stem
        with rasterio.open(path) as file:
            levels, own, count = [None, *range(len(file.overviews(1)))], round(file.res[0]), file.count
        group, name = place_of(band)
        if count > 1 or group is None:
            continue
        for level in levels:
            resolution = own << (0 if level is None else level + 1)
            is_of_another = any(stem != path.stem and stem.endswith(f"{band}_{resolution}m") for stem in stems)
            if resolution > own and is_of_another:
                break  # a file of its own, and levels of that
            of_level = f"{group}_10m" if (group, own) == (REFLECTANCE, 10) and resolution > own else group
            with rasterio.open(path, **({} if level is None else {"overview_level": level})) as file:
                right = file.read(1)
            assert np.array_equal(tree[f"{of_level}/r{resolution}m/{name}"][0].values, right), (path.name, level)
            compared += 1
    assert compared > len(paths), f"{compared} images of {len(paths)} files"
