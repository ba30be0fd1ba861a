"""Which file has which band at which time: the rows of an index, put in order."""

from __future__ import annotations

import datetime as dt
import glob
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .._errors import CubeError, IndexFileError, NotFoundError
from .._index import Index
from .._path import address, without_query
from ._grid import Grid
from ._header import Coding, coding_of, template_of
from ._series import FORMATS, Catalogue, Duplicates, File, Format, Step, by_solar_day, of_duplicates, of_formats
from ._tiff import Stored, stored_of

if TYPE_CHECKING:
    from typing import TypeAlias

Span: TypeAlias = "str | tuple[Any, Any] | None"
"""A time, or two with a slash between them, or a pair: `"2024"`, `"2024-05"`, `"2024-05-01/2024-05-31"`. Ends belong to
it: `"2024-05/2024-09"` ends with September. `..` or None is an open end."""

COLUMNS = [
    "product_id", "band_id", "path", "mgrs_tile", "index", "header", "origin", "etag", "last_modified", "datetime",
    "processing_baseline", "eo:cloud_cover", "epsg", "shape", "transform", "bbox",
]  # fmt: skip

NO_HEADERS = "rows of the index have no headers: make them anew with 'vsitlm index'"

_PRODUCT = re.compile(r"S2[A-Z]_MSI(L\w\w)_(\d{4})\d{4}T\d{6}_.*")
"""The name of a product, with its level and year."""

_EARTH_SEARCH = re.compile(r"S2[A-Z]_(T\w{4,5}_\d{8}T\d{6}|\w{4,5}_\d{8}_\d{1,2})_L\w\w")
"""The name of a product of COGs there."""

REFLECTANCES = frozenset(f"B{band}" for band in [*(f"{number:02}" for number in range(1, 13)), "8A"])
"""Bands whose values are reflectances, to which offsets apply."""


def offset_of(baseline: str) -> int:
    """What is added to reflectances, in digital numbers: BOA_ADD_OFFSET, from baseline 04.00 on. The date does not
    tell: archives were reprocessed."""
    return -1000 if baseline >= "04.00" else 0


def band_of(band_id: str) -> str:
    """The band of what a row calls its file: `B04` of `B04_20m`, `MSK_DETFOO_B02` as it is."""
    if band_id.startswith("MSK_"):
        return band_id.rpartition("_")[0] if band_id.endswith("m") else band_id
    return band_id.partition("_")[0]


def catalogue(
    index: Index,
    tile: str | None,
    span: Span,
    *,
    level: str = "L2A",
    store: str | None = None,
    duplicates: Duplicates = "newest",
    groupby: Literal["solar_day"] | None = None,
    formats: Sequence[Format] = FORMATS,
) -> Catalogue:
    """Puts the rows of a tile in order.

    Raises:
        CubeError: The index does not have the tile, or nothing of it at that time.
        IndexFileError: The index cannot be read, or its rows have no headers.
    """
    if duplicates not in ("newest", "all", "error"):
        raise CubeError(f"duplicates is 'newest', 'all' or 'error', not {duplicates!r}")
    if groupby not in (None, "solar_day"):
        raise CubeError(f"groupby is 'solar_day' or None, not {groupby!r}")
    if isinstance(formats, str) or not formats or not set(formats) <= set(FORMATS):
        raise CubeError(f"formats are some of {', '.join(FORMATS)}, not {formats!r}")
    tile = None if tile is None else tile.upper().removeprefix("T")
    begin, end = parse_span(span)
    rows = [row for row in rows_of(index, tile, begin, end, level) if _level_of(row["product_id"]) == level]
    tiles = sorted({row["mgrs_tile"] for row in rows})
    if tile is None and len(tiles) > 1:
        raise CubeError(f"the index has several tiles, name one of them: tile= {', '.join(tiles)}")
    mine = [row for row in rows if tile is None or row["mgrs_tile"] == tile]
    if not mine:
        has = f"it has {', '.join(tiles)}" if tiles else "it has none of that level"
        raise CubeError(f"the index has no {level} product of tile {tile or ''}: {has}")
    of_some = of_formats(mine, formats)
    if not of_some:
        raise CubeError(f"the index has no {level} product of tile {tile or ''} in {' or '.join(formats)}")
    at_time = [row for row in of_some if begin <= row["datetime"] < end]
    if not at_time:
        times = sorted(row["datetime"] for row in of_some)
        raise CubeError(
            f"the index has nothing of tile {tile} at {span}: it has {times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}"
        )
    if any(row["header"] is None or row["epsg"] is None for row in at_time):
        raise IndexFileError(NO_HEADERS)
    steps = of_duplicates(_steps(at_time, store), duplicates, formats)
    grid = _grid(at_time)
    if groupby == "solar_day":
        steps = by_solar_day(steps, grid)
    return Catalogue(at_time[0]["mgrs_tile"], grid, steps)


def catalogue_of_file(index: Index, url: str) -> Catalogue:
    """That of one file, by where its row was made, or by where it lies in another archive.

    Raises:
        CubeError: The index does not have it.
    """
    asked = index.find(url)
    of_tiff = f"{without_query(url)} is a TIFF, which is not parsed as a JP2: vsitlm.store and export take it"
    if asked and _EARTH_SEARCH.fullmatch(asked[0].product_id):
        raise CubeError(of_tiff)
    if not asked or (named := _PRODUCT.fullmatch(asked[0].product_id)) is None:
        raise CubeError(f"the index has no row of a product's file {without_query(url)}: make one with 'vsitlm index'")
    key, (level, year) = (asked[0].product_id, asked[0].band_id), named.groups()
    begin, end = parse_span(year)
    rows = [
        row
        for row in rows_of(index, asked[0].mgrs_tile, begin, end, level)
        if (row["product_id"], row["band_id"]) == key
    ]
    if not rows or rows[0]["header"] is None:
        raise IndexFileError(NO_HEADERS)
    if rows[0]["index"] is not None:
        raise CubeError(of_tiff)
    return Catalogue(rows[0]["mgrs_tile"], _grid(rows), _steps(rows[:1], None))


def _level_of(product: str) -> str | None:
    """The level of processing by a product's name: one of ESA's, or of Earth Search, `S2A_31UDQ_20240601_0_L2A`."""
    named = _PRODUCT.fullmatch(product)
    if named is not None:
        return named.group(1)
    return product.rpartition("_")[2] if _EARTH_SEARCH.fullmatch(product) else None


def parse_span(span: Span) -> tuple[dt.datetime, dt.datetime]:
    """The first moment of a span of time, and the first one after it, in UTC.

    Raises:
        CubeError: It is none.
    """
    ends = span.split("/") if isinstance(span, str) else [None, None] if span is None else list(span)
    ends = ends * 2 if len(ends) == 1 else ends
    if len(ends) != 2:
        raise CubeError(f"the time {span!r} has not two ends")
    begin, end = _moment(ends[0], span)[0], _moment(ends[1], span)[1]
    if begin >= end:
        raise CubeError(f"the time {span!r} ends before it begins")
    return begin, end


_TIME = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")


def _moment(end: Any, span: Span) -> tuple[dt.datetime, dt.datetime]:
    """The first moment of what an end names, and the first one after that."""
    if end in (None, "", ".."):
        return dt.datetime.min.replace(tzinfo=dt.timezone.utc), dt.datetime.max.replace(tzinfo=dt.timezone.utc)
    text = end if isinstance(end, str) else end.isoformat()
    try:
        if found := _TIME.fullmatch(text):
            year, month, day = (int(part) if part else None for part in found.groups())
            begin = dt.datetime(year or 1, month or 1, day or 1, tzinfo=dt.timezone.utc)
            if day:
                return begin, begin + dt.timedelta(days=1)
            after = (begin.year, begin.month + 1) if month else (begin.year + 1, 1)
            return begin, dt.datetime(after[0] + after[1] // 13, (after[1] - 1) % 12 + 1, 1, tzinfo=dt.timezone.utc)
        moment = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise CubeError(
            f"the time {span!r} is none: write it as 2024, 2024-05, 2024-05-31 or 2024-05-31T10:50:31Z"
        ) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)
    return moment, moment + dt.timedelta(microseconds=1)


def is_tiff(row: Mapping[str, Any]) -> bool:
    """Whether a row of `rows_of` is of a TIFF."""
    return row["index"] is not None


def rows_of(
    index: Index, tile: str | None, begin: dt.datetime, end: dt.datetime, level: str, *, timeless: bool = False
) -> list[dict[str, Any]]:
    """The rows of an index. Of the partition layout only the shards of the tile and the years are read. With `timeless`
    those of TIFFs whose time is not known are among them.
    """
    try:
        import pyarrow
        import pyarrow.compute
    except ImportError as error:
        raise ImportError("cubes need pyarrow: pip install 'vsitlm[zarr]'") from error
    rows: list[dict[str, Any]] = []
    for path in index.paths:
        for shard, may_be_missing in _shards(path, tile, begin, end, level):
            try:
                table = pyarrow.table(Index(shard, **index.options))
            except NotFoundError:
                if may_be_missing:
                    continue
                raise
            if missing := [
                name for name in ("header", "datetime", "epsg", "transform") if name not in table.column_names
            ]:
                raise IndexFileError(f"the index {shard} lacks {', '.join(missing)}: make it anew with 'vsitlm index'")
            table = table.select([name for name in COLUMNS if name in table.column_names])
            # Of JP2s it says where tile-parts lie, which the core looks up.
            index_of, at = table["index"], table.column_names.index("index")
            are_of_tiffs = pyarrow.compute.starts_with(index_of, "TIFF")
            of_tiffs = pyarrow.compute.if_else(are_of_tiffs, index_of, pyarrow.scalar(None, index_of.type))
            rows += table.set_column(at, "index", of_tiffs).to_pylist()
    # A preview is of pixels of 320 m, which are no multiple of any band's.
    rows = [row for row in rows if row["band_id"] != "PVI"]
    return [row for row in rows if row["datetime"] is not None or (timeless and is_tiff(row))]


def _shards(path: str, tile: str | None, begin: dt.datetime, end: dt.datetime, level: str) -> list[tuple[str, bool]]:
    """The files of an index, and whether one may be missing."""
    if path.endswith(".parquet"):
        return [(path, False)]
    tiles = f"tile={tile}" if tile else "tile=*"
    if "://" not in path and not path.startswith("/vsi"):
        found = sorted(glob.glob(os.path.join(glob.escape(path), f"level={level}", tiles, "year=*", "*.parquet")))
        years = range(begin.year, end.year + 1)
        return [(shard, False) for shard in found if int(shard.split("year=")[1][:4]) in years]
    if tile is None or begin.year < 2015 or end.year > 9000:
        raise CubeError(f"the index {path} is read by its shards: name a tile and a span of time, both ends of it")
    last = (end - dt.timedelta(microseconds=1)).year
    base = path.rstrip("/")
    return [
        (f"{base}/level={level}/tile={tile}/year={year}/part-0.parquet", True) for year in range(begin.year, last + 1)
    ]


def _steps(rows: Sequence[Mapping[str, Any]], store: str | None) -> list[Step]:
    """A step for each product."""
    steps: dict[str, Step] = {}
    # Files of a series have a few headers between them: what is the same is kept once, and pickled once.
    codings: dict[tuple[str, Coding | Stored], tuple[str, Coding | Stored]] = {}
    for row in rows:
        product = row["product_id"]
        baseline, cloud_cover = row["processing_baseline"] or "", row.get("eo:cloud_cover")
        # Earth Search has applied offsets to some of its COGs, and not to others: their names do not tell.
        offset = offset_of(baseline) if _PRODUCT.fullmatch(product) else None
        step = steps.setdefault(product, Step(row["datetime"], [product], baseline, offset, cloud_cover))
        band = band_of(row["band_id"])
        origin = readable(row["origin"] or row["path"])
        template, coding = _coding(row)
        if store and isinstance(coding, Stored):
            raise CubeError(f"{origin} is a TIFF, which is read where its row was made: leave out the archive {store}")
        template, coding = codings.setdefault((template, coding), (template, coding))
        given = address(product, row["band_id"]) if store else address(origin)
        files = step.files[band] = step.files.get(band) or [[]]
        state, resolution = (row.get("etag"), row.get("last_modified")), round(row["transform"][0])
        files[0].append(File(given, origin, *state, resolution, coding, template))
    return sorted(steps.values(), key=lambda step: (step.time, step.products))


def _coding(row: Mapping[str, Any]) -> tuple[str, Coding | Stored]:
    """How a row's file is coded, and the template of its header; a TIFF has none."""
    if row["index"] is not None:
        return "", stored_of(row["index"], row["header"])
    return template_of(row["header"]), coding_of(row["header"])


def readable(origin: str) -> str:
    """Where a row was made, as paths have it. Of a cloud's object the row names the host, too; options name that."""
    cloud = re.fullmatch(r"(s3|gs|az)://[^/]+/(.+)", origin)
    return "://".join(cloud.groups()) if cloud else origin


def _grid(rows: Sequence[Mapping[str, Any]]) -> Grid:
    """The grid of the tile's finest pixels."""
    grids = set()
    for row in rows:
        a, _, c, _, _, f = row["transform"][:6]
        height, width = row["shape"]
        grids.add(Grid(row["epsg"], c, f, a, width, height))
    finest = min(grids, key=lambda grid: grid.resolution)
    for grid in grids:
        same = (grid.epsg, grid.west, grid.north) == (finest.epsg, finest.west, finest.north)
        if not same or grid.width * grid.resolution != finest.width * finest.resolution:
            raise CubeError(f"the files do not lie on one grid: {finest} and {grid}")
    return finest
