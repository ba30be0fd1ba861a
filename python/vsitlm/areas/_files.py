"""Files of products, whatever told of them: rows of an index, or STAC items."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import _core
from .._errors import CubeError
from .._path import address
from ..cube._catalogue import band_of, readable
from ..cube._grid import Grid
from ..cube._header import coding_of

AT_ONCE = 16
"""Files that are opened at a time, to learn where they lie on the ground."""

NAMES = {
    "coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "rededge": "B05", "rededge1": "B05",
    "rededge2": "B06", "rededge3": "B07", "nir": "B08", "nir08": "B8A", "nir09": "B09", "cirrus": "B10",
    "swir16": "B11", "swir22": "B12", "scl": "SCL", "aot": "AOT", "wvp": "WVP",
}  # fmt: skip
"""Bands by the common names of STAC and the asset keys of catalogues."""

_PRODUCT = re.compile(r"S2[A-Z]_MSI(L\w\w)_(\d{8}T\d{6})_N(\d\d)(\d\d)_R\d{3}_T(\d\d[A-Z]{3})_\d{8}T\d{6}")
_ODATA = re.compile(r"^https?://[^/]+/odata/v1/")
_ODATA_FILE = re.compile(r"Nodes\((?:T\d\d[A-Z]{3}_\d{8}T\d{6}_)?([^()]+)\.jp2\)")
_FILE = re.compile(r"(?:^|[/_(])(B\d\d|B8A|SCL|AOT|WVP|MSK_CLDPRB)(?:_(\d+)m)?\.jp2\b")


@dataclass(frozen=True)
class File:
    """A file that has a band of a product."""

    product: str
    tile: str
    time: dt.datetime
    band: str
    baseline: str
    """Of processing, such as "05.11"."""
    cloud_cover: float | None
    """Percent; None where it is not known."""
    url: str
    """Where it lies."""
    grid: Grid | None = None
    """None as long as nobody has looked."""
    factors: tuple[int, ...] = ()
    """Of its reduced images, such as 2, 4, 8."""
    dtype: str = ""
    """Of its samples, as numpy names it."""
    tile_size: tuple[int, int] = (0, 0)
    """Columns and rows of a tile of the JP2."""

    @property
    def path(self) -> str:
        """As the core takes it."""
        return address(self.url)

    def __fspath__(self) -> str:
        return self.url


def canonical(band: str) -> str:
    """The name that a band has in products: `red` is `B04`."""
    name = NAMES.get(band.lower(), band).upper()
    return re.sub(r"^B(\d)$", r"B0\1", name)


def of_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[File]:
    """The files of an index's rows."""
    for row in rows:
        a, _, c, _, _, f = row["transform"][:6]
        height, width = row["shape"]
        grid = Grid(row["epsg"], c, f, round(a), width, height)
        coding = coding_of(row["header"])
        yield File(
            row["product_id"], row["mgrs_tile"], row["datetime"], band_of(row["band_id"]),
            row["processing_baseline"] or "", row.get("eo:cloud_cover"), readable(row["origin"] or row["path"]), grid,
            tuple(1 << level for level in range(1, coding.levels + 1)), coding.dtype,
            coding.tile,
        )  # fmt: skip


def of_items(items: Iterable[Any], touches: Callable[[str, Any], bool]) -> Iterator[File]:
    """The JP2s of STAC items: objects of pystac, or their dicts; of those alone whose tile, or else bbox, `touches`.
    What they say of projections is not taken: it is wrong too often, and the files say it themselves.
    """
    for item in items:
        told: Mapping[str, Any] = item if isinstance(item, Mapping) else item.to_dict(include_self_link=False)
        properties = told.get("properties") or {}
        for asset in (told.get("assets") or {}).values():
            href = _href(asset or {})
            if (file := _FILE.search(href.partition("?")[0])) is None:
                continue
            names = [properties.get("s2:product_uri") or "", href, str(told.get("id"))]
            product = next((found for name in names if (found := _PRODUCT.search(name))), None)
            sensed = _sensed(properties, product)
            baseline = properties.get("s2:processing_baseline") or properties.get("processing:version") or ""
            if product is not None:
                baseline = f"{product[3]}.{product[4]}"
            tile = product[5] if product else str(properties.get("s2:mgrs_tile") or properties.get("grid:code") or "")
            tile = tile.removeprefix("MGRS-").removeprefix("T")
            if not touches(tile, told.get("bbox")):
                break
            cover = properties.get("eo:cloud_cover")
            yield File(
                product[0] if product else str(told.get("id")), tile, sensed, file[1], str(baseline),
                None if cover is None else float(cover), _location(href, product),
            )  # fmt: skip


def _sensed(properties: Mapping[str, Any], product: re.Match[str] | None) -> dt.datetime:
    """When an item was sensed; the name of a product says it for sure, and for both parts of a datatake alike."""
    if product is not None:
        return dt.datetime.strptime(product[2], "%Y%m%dT%H%M%S").replace(tzinfo=dt.timezone.utc)
    text = properties.get("datetime") or properties.get("start_datetime")
    if not text:
        raise CubeError("a STAC item that has neither a time nor the name of a product")
    return dt.datetime.fromisoformat(str(text).replace("Z", "+00:00"))


def _href(asset: Mapping[str, Any]) -> str:
    """Where an asset lies: in an object store rather than behind CDSE's OData service, which serves no ranges."""
    hrefs = [asset.get("href") or ""]
    hrefs += [other.get("href") or "" for other in (asset.get("alternate") or {}).values() if other]
    return next((href for href in hrefs if href and not _ODATA.search(href)), hrefs[0])


def _location(href: str, product: re.Match[str] | None) -> str:
    """Where the core looks for what an href names: that, without the prefixes of GDAL's that some catalogues write
    before it; for one of OData the name of the product and the band, which is looked for in `VSITLM_STORE`.
    """
    if _ODATA.search(href) and product is not None and (name := _ODATA_FILE.search(href)):
        return f"{product[0]}/{name[1]}"
    return re.sub(r"^/vsicurl/(?=https?://)", "", href)


def items_in(path: str) -> list[Mapping[str, Any]]:
    """The items of a JSON document: an item, or a collection of items."""
    document = json.loads(read_bytes(path))
    return document["features"] if document.get("type") == "FeatureCollection" else [document]


def read_bytes(path: str) -> bytes:
    """A document that lies here or on the web."""
    if path.startswith(("http://", "https://")):
        import urllib.request

        with urllib.request.urlopen(path, timeout=60) as reply:
            told: bytes = reply.read()
            return told
    return Path(path).read_bytes()


def with_grids(files: Sequence[File], settings: Mapping[str, str]) -> list[File | Exception]:
    """Files, of which those that nobody has looked at are opened; for one that cannot be opened its error.

    Opening one that an index of `VSITLM_INDEX` has takes no request; others are scanned, and learned.
    """

    def look(file: File) -> File | Exception:
        if file.grid is not None:
            return file
        try:
            told = _core.ask("describe", file.path, settings)
        except Exception as error:
            return error
        a, _, c, _, _, f = told["transform"] or (0,) * 6
        if told["epsg"] is None or not a:
            return CubeError(f"{os.fspath(file.url)} does not say where it lies")
        grid = Grid(told["epsg"], c, f, round(a), told["width"], told["height"])
        high, wide = told["tile_shape"]
        return replace(file, grid=grid, factors=tuple(told["overviews"]), dtype=told["dtype"], tile_size=(wide, high))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(look, files))
