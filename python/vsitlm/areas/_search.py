"""Searching: the files of an area, a span of time and some bands, from indexes and STAC."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _core
from .._area import Area, shape_of
from .._errors import CubeError, IndexFileError, NotFoundError, VsitlmWarning
from .._index import Index
from .._path import without_query
from .._read import elsewhere
from ..cube._catalogue import NO_HEADERS, Span, is_tiff, parse_span, rows_of
from ._bands import is_landsat
from ._files import File, bbox_of, of_rows
from ._items import items_in, of_items, read_bytes
from ._mgrs import tiles_of
from ._result import Result

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


FORMATS = ("tiff", "jp2")
"""Of files, as `search` takes them."""

_LEVELS = {"L2A": "L2S[PR]", "L1C": "L1[TG][PTS]"}
"""The levels of Landsat that go with those of Sentinel-2, as shards are named."""


def search(
    catalogue: Any,
    area: Area | None = None,
    datetime: Span = None,
    bands: Sequence[str] | str | None = None,
    *,
    cloud_cover: float | None = None,
    level: str = "L2A",
    collections: Sequence[str] | str | None = None,
    formats: Sequence[str] | str = FORMATS,
    **options: object,
) -> Result:
    """Finds the JP2s and TIFFs of an area, a span of time and some bands.

    Args:
        catalogue: Where to look: an index (a file, or a folder or prefix of the partition layout, of which the shards
            of the tiles that the area touches are read), a STAC ItemCollection or item as a file, URL, dict or object
            of pystac, a stac-geoparquet file, or the URL of a STAC API; or several of them. Or a result, to narrow it.
            A URL that may be an API is looked at first; `Index(url)` is an index in any case.
        area: Bounds in degrees (west, south, east, north; east is less than west across 180 degrees), or a geometry in
            degrees (GeoJSON, shapely): files whose tile it touches. None is everywhere.
        datetime: See `open_cube`.
        bands: Such as `"B04"`, Landsat's `"SR_B4"`, or by common names, `"red"`, which mean both; None is all.
        cloud_cover: Percent of a product, at most. What is not known is not left out.
        level: Of processing, of indexes: `"L2A"` or `"L1C"`; of Landsat these are levels 2 and 1.
        collections: Of a STAC API.
        formats: Of files, `"tiff"` and `"jp2"`, the best first: of a band of a product that there is in both, as in
            items of Earth Search, the first one is taken. By default that is the TIFF: opening one that no index has
            takes a request or two, scanning a JP2 one for each of its tile-parts.
        **options: Configuration options of GDAL's and of `/vsitlm/`, for searching and for reading what was found.

    Raises:
        CubeError: The area, time or bands are none, or the catalogue is nothing that can be searched.
        ImportError: What the kind of catalogue needs is missing.
    """
    shape = None if area is None else shape_of(area)
    begin, end = parse_span(datetime)
    names = None if bands is None else [bands] if isinstance(bands, str) else list(bands)
    order = (formats,) if isinstance(formats, str) else tuple(formats)
    if not order or not set(order) <= set(FORMATS):
        raise CubeError(f"formats is {FORMATS}, in the order in which they are wanted, or one of them, not {formats!r}")
    settings = elsewhere(options)
    if isinstance(catalogue, Result):
        # What was found before is read as it was searched.
        settings = {**catalogue.settings, **settings}
        area = catalogue.area if area is None else area
    files: dict[tuple[str, str, str], File] = {}
    indexes: list[str] = []
    tiles = None if shape is None else frozenset(tiles_of(shape))
    terms = _Terms(shape, tiles, datetime, level, collections, _core.texts(options))
    for one in _several(catalogue):
        for file in _find(one, terms, indexes):
            is_clear = cloud_cover is None or file.cloud_cover is None or file.cloud_cover <= cloud_cover
            is_wanted = (names is None or any(map(file.has, names))) and file.format in order
            if begin <= file.time < end and is_clear and is_wanted:
                files.setdefault((file.product, file.band, file.url), file)
    if indexes:
        settings = {"VSITLM_INDEX": ";".join(indexes), **settings}
    best: dict[tuple[str, str], int] = {}
    for product, band, url in files:
        rank = order.index(files[product, band, url].format)
        best[product, band] = min(best.get((product, band), rank), rank)
    kept = [file for file in files.values() if order.index(file.format) == best[file.product, file.band]]
    ordered = sorted(kept, key=lambda file: (file.time, file.product, file.band, file.url))
    shown = names if names is not None else sorted({file.band for file in ordered})
    return Result(tuple(ordered), tuple(shown), area, settings)


@dataclass(frozen=True)
class _Terms:
    """What a search asks for."""

    area: BaseGeometry | None
    tiles: frozenset[str] | None
    """Those that the area may touch."""
    span: Span
    level: str
    collections: Sequence[str] | str | None
    options: Mapping[str, str]

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """The area's, as STAC has them: east is less than west across 180 degrees."""
        if self.area is None:
            return None
        west, south, east, north = self.area.bounds
        return (west, south, east - 360, north) if east > 180 else (west, south, east, north)

    def touches(self, tile: str, bbox: Sequence[float] | None = None) -> bool:
        """Whether an item may lie in the area: by its tile, else by what it says of itself."""
        if self.tiles is None or self.area is None:
            return True
        if tile or not bbox or len(bbox) not in (4, 6):
            return not tile or tile in self.tiles
        import shapely

        west, south, east, north = bbox[0], bbox[1], bbox[len(bbox) // 2], bbox[len(bbox) // 2 + 1]
        east = east if east >= west else east + 360
        # The area goes on beyond 180 degrees, where an item does not.
        boxes = [shapely.box(west + turn, south, east + turn, north) for turn in (-360, 0, 360)]
        return any(self.area.intersects(box) for box in boxes)


def _several(catalogue: Any) -> list[Any]:
    """What is to be searched, one by one; items are one."""
    is_one = isinstance(catalogue, (str, os.PathLike, Mapping, Index, Result))
    if is_one or hasattr(catalogue, "assets") or hasattr(catalogue, "items_as_dicts"):
        return [catalogue]
    several = list(catalogue)
    return several if several and all(isinstance(one, (str, os.PathLike)) for one in several) else [several]


def _find(catalogue: Any, terms: _Terms, indexes: list[str]) -> Iterator[File]:
    """The files of one catalogue, perhaps of more than was asked for."""
    if isinstance(catalogue, (str, os.PathLike)):
        yield from _at(os.fspath(catalogue), terms, indexes)
    elif isinstance(catalogue, Result):
        yield from (file for file in catalogue if terms.touches(file.tile, file.bbox))
    elif isinstance(catalogue, Index):
        for path in catalogue.paths:
            yield from _of_index(path, terms, indexes, catalogue.options)
    else:
        items: Iterable[Any] = catalogue
        if isinstance(catalogue, Mapping):
            items = catalogue["features"] if catalogue.get("type") == "FeatureCollection" else [catalogue]
        elif hasattr(catalogue, "items_as_dicts"):
            items = catalogue.items_as_dicts()
        elif hasattr(catalogue, "assets"):
            items = [catalogue]
        yield from of_items(items, terms.touches)


def _at(path: str, terms: _Terms, indexes: list[str]) -> Iterator[File]:
    """The files of what stands at a path or URL."""
    if path.endswith((".json", ".geojson")):
        yield from of_items(items_in(path), terms.touches)
    elif path.endswith(".parquet") and (rows := _items_of_parquet(path, terms.options)) is not None:
        yield from of_items(map(_as_item, rows), terms.touches)
    elif path.startswith(("http://", "https://")) and not path.endswith(".parquet") and _is_api(path):
        yield from _of_api(path, terms)
    else:
        yield from _of_index(path, terms, indexes)


def _items_of_parquet(path: str, options: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """The rows of a stac-geoparquet file; None where it is an index."""
    import io

    import pyarrow
    import pyarrow.parquet

    source: Any = path
    if "://" in path or path.startswith("/vsi"):
        try:
            # Of other files the core shows the columns alone that it knows.
            is_index = "index" in pyarrow.schema(Index(path, **options)).names
        except IndexFileError:
            return None  # who reads the index tells what is wrong with it
        if is_index or not path.startswith(("http://", "https://")):
            return None
        source = io.BytesIO(read_bytes(path))
    try:
        file = pyarrow.parquet.ParquetFile(source)
    except pyarrow.ArrowInvalid:
        return None
    names: list[str] = file.schema_arrow.names
    if "assets" not in names:
        return None
    rows: list[dict[str, Any]] = file.read([name for name in names if name != "geometry"]).to_pylist()
    return rows


def _as_item(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of stac-geoparquet as an item: its properties are columns."""
    assets = {key: asset for key, asset in (row.get("assets") or {}).items() if asset}
    properties = {key: value for key, value in row.items() if key not in ("assets", "links", "bbox", "id")}
    if hasattr(properties.get("datetime"), "isoformat"):
        properties["datetime"] = properties["datetime"].isoformat()
    return {"id": row.get("id"), "bbox": bbox_of(row.get("bbox")), "properties": properties, "assets": assets}


def _of_index(path: str, terms: _Terms, indexes: list[str], options: Mapping[str, str] | None = None) -> Iterator[File]:
    """The files of an index; of the partition layout the shards of the area's tiles and of the years alone are read."""
    index = Index(path, **{**terms.options, **(options or {})})
    begin, end = parse_span(terms.span)
    indexes.append(path)
    by_shards, is_remote = not path.endswith(".parquet"), "://" in path or path.startswith("/vsi")
    if by_shards and terms.tiles is None and is_remote:
        raise CubeError(f"the index {path} is read by its shards: name an area and a span of time, both ends of it")
    tiles: Sequence[str | None] = sorted(terms.tiles) if by_shards and terms.tiles is not None else [None]
    shards = [(tile, terms.level) for tile in tiles]
    if by_shards and terms.level in _LEVELS and not is_remote:
        # Landsat's are by path and row, of which an area does not tell.
        shards.append((None, _LEVELS[terms.level]))
    for tile, level in shards:
        try:
            rows = rows_of(index, tile, begin, end, level, timeless=True)
        except NotFoundError:
            if tile is None:
                raise
            continue
        if any(row["header"] is None or (row["epsg"] is None and not is_tiff(row)) for row in rows):
            raise CubeError(NO_HEADERS)
        kept = [
            row
            for row in rows
            if _is_of(row["product_id"], terms.level) and terms.touches(row["mgrs_tile"], bbox_of(row.get("bbox")))
        ]
        timed = [row for row in kept if row["datetime"] is not None]
        placed = [row for row in timed if row["epsg"] is not None]
        _warn_of(path, len(kept) - len(timed), "no time, which neither their names nor a STAC item told")
        _warn_of(path, len(timed) - len(placed), "no EPSG code, which says where they lie")
        yield from of_rows(placed)


def _is_of(product: str, level: str) -> bool:
    """Whether a product is of a level: by its name, of Sentinel-2, of Earth Search, or of Landsat."""
    if is_landsat(product):
        return product[5:7] == level[:2]
    return re.search(rf"_MSI{level}_|^S2[A-Z]_.*_{level}$", product) is not None


def _warn_of(path: str, count: int, what: str) -> None:
    """Warns of TIFFs of an index that are left out."""
    if count:
        message = f"{count} TIFFs of the index {without_query(path)} are left out: they have {what}"
        warnings.warn(message, VsitlmWarning, stacklevel=2)


def _is_api(url: str) -> bool:
    """Whether a STAC API answers at a URL; else it is the prefix of an index."""
    try:
        document = json.loads(read_bytes(url))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and "stac_version" in document


def _of_api(url: str, terms: _Terms) -> Iterator[File]:
    """The files of a STAC API, page by page."""
    try:
        from pystac_client import Client
    except ImportError as error:
        raise ImportError("a STAC API needs pystac-client: pip install 'vsitlm[load]'") from error
    begin, end = parse_span(terms.span)
    span = [one if one.year not in (1, 9999) else None for one in (begin, end)]
    collections = [terms.collections] if isinstance(terms.collections, str) else terms.collections
    found = Client.open(url).search(collections=collections, bbox=terms.bounds, datetime=span if any(span) else None)
    yield from of_items(found.items_as_dicts(), terms.touches)
