"""Files of products, whatever told of them: where they lie, what they hold, and on which pixels."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from .. import _core
from .._errors import CubeError
from .._path import address, is_tiff_name, without_query
from ..cube._catalogue import band_of, is_tiff, offset_of, readable
from ..cube._grid import Grid
from ..cube._header import coding_of
from ._bands import RENAMED, is_landsat, names_of

AT_ONCE = 16
"""Files that are opened at a time, to learn where they lie on the ground."""

_COLLECTION_1 = re.compile(r"S2[A-Z]_T\d\d[A-Z]{3}_\d{8}T\d{6}_L2A")
"""What Earth Search calls products of Collection 1, all of which have a baseline of 05.00 or later."""


@dataclass(frozen=True)
class File:
    """A file that has a band of a product."""

    product: str
    tile: str
    """Of the MGRS; empty where it is of none."""
    time: dt.datetime
    band: str
    names: frozenset[str]
    """All that the band goes by, in capitals."""
    baseline: str
    """Of processing, such as "05.11"."""
    offset: int
    """What is to be added to its reflectances, in digital numbers."""
    cloud_cover: float | None
    """Percent; None where it is not known."""
    url: str = field(repr=False)
    """Where it lies, with a signature perhaps."""
    bbox: tuple[float, ...] | None = None
    """Of the product or the image, in degrees, as STAC has it; None where it is not known."""
    grid: Grid | None = None
    """None as long as nobody has looked."""
    factors: tuple[int, ...] = ()
    """Of the reduced images that can be read in its place, such as 2, 4, 8."""
    dtype: str = ""
    """Of its samples, as numpy names it; empty as long as nobody has looked."""
    tile_size: tuple[int, int] = (0, 0)
    """Columns and rows of a tile of the file."""

    @property
    def path(self) -> str:
        """As the core takes it."""
        return address(self.url)

    @property
    def name(self) -> str:
        """Where it lies, for messages: without what may be secret."""
        return without_query(self.url)

    @property
    def format(self) -> str:
        """`"tiff"` or `"jp2"`."""
        return "tiff" if is_tiff_name(self.url) else "jp2"

    @property
    def is_landsat(self) -> bool:
        """Whether it is of Landsat: numbers and masks mean something else there."""
        return is_landsat(self.product)

    def has(self, band: str) -> bool:
        """Whether its band goes by a name."""
        return band.upper() in self.names

    def __fspath__(self) -> str:
        return self.url


def of_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[File]:
    """The files of an index's rows. Those that are TIFFs are looked at later, which takes no request."""
    for row in rows:
        product, url = row["product_id"], readable(row["origin"] or row["path"])
        band = row["band_id"] if is_landsat(product) else band_of(row["band_id"])
        band = RENAMED.get(band, band)
        baseline = row["processing_baseline"] or ""
        file = File(
            product, row["mgrs_tile"], row["datetime"], band, names_of(product, band), baseline,
            _offset(product, baseline, url, None), row.get("eo:cloud_cover"), url, bbox_of(row.get("bbox")),
            image_grid(row["epsg"], row["transform"], row["shape"][1], row["shape"][0]),
        )  # fmt: skip
        if not is_tiff(row):
            coding = coding_of(row["header"])
            factors = tuple(1 << level for level in range(1, coding.levels + 1))
            file = replace(file, factors=factors, dtype=coding.dtype, tile_size=coding.tile)
        yield file


def _offset(product: str, baseline: str, url: str, is_applied: bool | None) -> int:
    """What is to be added to a file's reflectances: nothing to those of a COG that was made so."""
    if is_tiff_name(url) and (is_applied or (is_applied is None and "/sentinel-s2-l2a-cogs/" in url)):
        return 0
    return offset_of("05.00" if not baseline and _COLLECTION_1.fullmatch(product) else baseline)


def of_item(
    product: str, tile: str, time: dt.datetime, band: str, names: frozenset[str], baseline: str, url: str,
    is_applied: bool | None, cloud_cover: float | None, bbox: Any,
) -> File:  # fmt: skip
    """The file of an asset. `is_applied` is what its item says of the offset of its COGs, if anything."""
    offset = _offset(product, baseline, url, is_applied)
    return File(product, tile, time, band, names, baseline, offset, cloud_cover, url, bbox_of(bbox))


def bbox_of(box: Any) -> tuple[float, ...] | None:
    """A bbox, as STAC or as GeoParquet has it."""
    if isinstance(box, Mapping):
        box = [box.get(name) for name in ("xmin", "ymin", "xmax", "ymax")]
    return tuple(map(float, box)) if box and None not in box else None


def image_grid(epsg: int | None, transform: Sequence[float] | None, width: int, height: int) -> Grid | None:
    """The grid of an image; None where it does not say where it lies, or its pixels are no squares with north up."""
    if epsg is None or transform is None:
        return None
    a, b, c, d, e, f = transform[:6]
    if a <= 0 or b or d or not math.isclose(a, -e, rel_tol=1e-6):
        return None
    # Of a transform that was calculated.
    side = round(a) if math.isclose(a, round(a), rel_tol=1e-9) else a
    return Grid(epsg, c, f, side, width, height)


def with_grids(files: Sequence[File], settings: Mapping[str, str]) -> list[File | Exception]:
    """Files, of which those that nobody has looked at are opened; for one that cannot be opened its error.

    Opening one that an index of `VSITLM_INDEX` has takes no request; others are scanned, and learned.
    """

    def look(file: File) -> File | Exception:
        if file.dtype:
            return file
        try:
            told = _core.ask("describe", file.path, settings)
        except Exception as error:
            return error
        wide, high = told["width"], told["height"]
        if told["epsg"] is None or not told["transform"]:
            return CubeError(f"{file.name} does not say where it lies, by an EPSG code")
        if (grid := image_grid(told["epsg"], told["transform"], wide, high)) is None:
            return CubeError(f"{file.name} has pixels that are no squares with north up")
        factors = tuple(told["overviews"])
        if file.format == "tiff":
            # Pixels of others are not this many times as wide: GDAL rounds the overview's size up.
            factors = tuple(one for one in factors if wide % one == 0 and high % one == 0)
        tile = tuple(reversed(told["tile_shape"]))
        return replace(file, grid=grid, factors=factors, dtype=told["dtype"], tile_size=(tile[0], tile[1]))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(look, files))
