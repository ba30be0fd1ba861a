"""Searching: the files of an area, a span of time and some bands, from indexes and STAC."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _core
from .._area import Area, shape_of
from .._errors import CubeError, IndexFileError, NotFoundError
from .._index import Index
from .._read import elsewhere
from ..cube._catalogue import NO_HEADERS, Span, parse_span, rows_of
from ._files import File, canonical, items_in, of_items, of_rows, read_bytes
from ._mgrs import tiles_of

if TYPE_CHECKING:
    import geopandas
    import pyarrow
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True)
class Result:
    """Files that a search has found, in the order of their times."""

    files: tuple[File, ...]
    bands: tuple[str, ...]
    """As they were asked for; all that there are where nothing was."""
    area: Area | None
    settings: Mapping[str, str]
    """Options of GDAL's and of `/vsitlm/` that hold for reading them."""

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[File]:
        return iter(self.files)

    def __repr__(self) -> str:
        if not self.files:
            return "Result(no files)"
        days = f"{self.files[0].time:%Y-%m-%d} to {self.files[-1].time:%Y-%m-%d}"
        products = len({file.product for file in self.files})
        return f"Result({len(self)} files of {products} products, {days}, bands {', '.join(self.bands)})"

    def to_arrow(self) -> pyarrow.Table:
        """A table: product, tile, time, band, baseline, cloud_cover, url, and, where known, epsg and resolution."""
        import pyarrow

        rows = [
            {
                "product": file.product, "tile": file.tile, "time": file.time, "band": file.band,
                "baseline": file.baseline, "cloud_cover": file.cloud_cover, "url": file.url,
                "epsg": file.grid.epsg if file.grid else None,
                "resolution": file.grid.resolution if file.grid else None,
            }
            for file in self.files
        ]  # fmt: skip
        schema = pyarrow.schema(
            [
                *((name, pyarrow.string()) for name in ("product", "tile")),
                ("time", pyarrow.timestamp("us", "UTC")),
                *((name, pyarrow.string()) for name in ("band", "baseline")),
                ("cloud_cover", pyarrow.float64()),
                ("url", pyarrow.string()),
                ("epsg", pyarrow.int32()),
                ("resolution", pyarrow.float64()),
            ]
        )
        return pyarrow.Table.from_pylist(rows, schema)

    def to_geopandas(self) -> geopandas.GeoDataFrame:
        """The same as a frame with the outlines of images, in degrees; empty where they are not known."""
        import geopandas
        from pyproj import Transformer
        from shapely import Polygon, box, segmentize, transform

        def outline(file: File) -> Any:
            if file.grid is None:
                return Polygon()
            west, south, east, north = file.grid.bounds
            degrees = Transformer.from_crs(file.grid.epsg, "OGC:CRS84", always_xy=True)
            return transform(
                segmentize(box(west, south, east, north), (east - west) / 16), degrees.transform, interleaved=False
            )

        outlines = geopandas.GeoSeries([outline(file) for file in self.files], crs="OGC:CRS84")
        return geopandas.GeoDataFrame(self.to_arrow().to_pandas(), geometry=outlines)


def search(
    catalogue: Any,
    area: Area | None = None,
    datetime: Span = None,
    bands: Sequence[str] | str | None = None,
    *,
    cloud_cover: float | None = None,
    level: str = "L2A",
    collections: Sequence[str] | str | None = None,
    **options: object,
) -> Result:
    """Finds the JP2s of an area, a span of time and some bands.

    Args:
        catalogue: Where to look: an index (a file, or a folder or prefix of the partition layout, of which the shards
            of the tiles that the area touches are read), a STAC ItemCollection or item as a file, URL, dict or object
            of pystac, a stac-geoparquet file, or the URL of a STAC API; or several of them. Or a result, to narrow it.
            A URL that may be an API is looked at first; `Index(url)` is an index in any case.
        area: Bounds in degrees (west, south, east, north; east is less than west across 180 degrees), or a geometry in
            degrees (GeoJSON, shapely): files whose tile it touches. None is everywhere.
        datetime: See `open_cube`.
        bands: Such as `"B04"`, or by common names, `"red"`; None is all.
        cloud_cover: Percent of a product, at most. What is not known is not left out.
        level: Of processing, of indexes: `"L2A"` or `"L1C"`.
        collections: Of a STAC API.
        **options: Configuration options of GDAL's and of `/vsitlm/`, for searching and for reading what was found.

    Raises:
        CubeError: The area, time or bands are none, or the catalogue is nothing that can be searched.
        ImportError: What the kind of catalogue needs is missing.
    """
    shape = None if area is None else shape_of(area)
    begin, end = parse_span(datetime)
    names = None if bands is None else [bands] if isinstance(bands, str) else list(bands)
    wanted = None if names is None else {canonical(name) for name in names}
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
            if begin <= file.time < end and is_clear and (wanted is None or file.band in wanted):
                files.setdefault((file.product, file.band, file.url), file)
    if indexes:
        settings = {"VSITLM_INDEX": ";".join(indexes), **settings}
    ordered = sorted(files.values(), key=lambda file: (file.time, file.product, file.band, file.url))
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
        yield from (file for file in catalogue if terms.touches(file.tile))
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
    box = row.get("bbox")
    if isinstance(box, Mapping):  # as GeoParquet has it
        box = [box.get(name) for name in ("xmin", "ymin", "xmax", "ymax")]
        box = None if None in box else box
    if hasattr(properties.get("datetime"), "isoformat"):
        properties["datetime"] = properties["datetime"].isoformat()
    return {"id": row.get("id"), "bbox": box, "properties": properties, "assets": assets}


def _of_index(path: str, terms: _Terms, indexes: list[str], options: Mapping[str, str] | None = None) -> Iterator[File]:
    """The files of an index; of the partition layout the shards of the area's tiles and of the years alone are read."""
    index = Index(path, **{**terms.options, **(options or {})})
    begin, end = parse_span(terms.span)
    indexes.append(path)
    by_shards = not path.endswith(".parquet")
    if by_shards and terms.tiles is None and ("://" in path or path.startswith("/vsi")):
        raise CubeError(f"the index {path} is read by its shards: name an area and a span of time, both ends of it")
    tiles: Sequence[str | None] = sorted(terms.tiles) if by_shards and terms.tiles is not None else [None]
    for tile in tiles:
        try:
            rows = rows_of(index, tile, begin, end, terms.level)
        except NotFoundError:
            if tile is None:
                raise
            continue
        if any(row["header"] is None or row["epsg"] is None for row in rows):
            raise CubeError(NO_HEADERS)
        level = f"_MSI{terms.level}_"
        kept = [row for row in rows if level in row["product_id"] and terms.touches(row["mgrs_tile"])]
        yield from of_rows(kept)


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
