"""Which file has which band at which time: the rows of an index, put in order."""

from __future__ import annotations

import datetime as dt
import glob
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .._errors import CubeError, IndexFileError, NotFoundError
from .._index import Index
from .._path import address, without_query
from ._grid import Grid
from ._header import Coding, coding_of, template_of

if TYPE_CHECKING:
    from typing import TypeAlias

Span: TypeAlias = "str | tuple[Any, Any] | None"
"""A time, or two with a slash between them, or a pair: `"2024"`, `"2024-05"`, `"2024-05-01/2024-05-31"`. Ends belong to
it: `"2024-05/2024-09"` ends with September. `..` or None is an open end."""
Duplicates: TypeAlias = "Literal['newest', 'all', 'error']"

COLUMNS = [
    "product_id", "band_id", "path", "mgrs_tile", "header", "origin", "etag", "last_modified", "datetime",
    "processing_baseline", "eo:cloud_cover", "epsg", "shape", "transform", "bbox",
]  # fmt: skip

NO_HEADERS = "rows of the index have no headers: make them anew with 'vsitlm index'"

_PRODUCT = re.compile(r"S2[A-Z]_MSI(L\w\w)_(\d{4})\d{4}T\d{6}_.*")
"""The name of a product, with its level and year."""

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


@dataclass(frozen=True)
class File:
    """A file that has a band."""

    path: str
    """As the core takes it."""
    url: str
    """Where its row was made."""
    etag: str | None
    """What the server there called its state then."""
    modified: dt.datetime | None
    """When it was last modified there."""
    resolution: int
    """Metres."""
    coding: Coding
    template: str
    """What its header is to the codec of references."""

    @property
    def resolutions(self) -> list[int]:
        """Those that it holds: its own, and its powers of two."""
        return [self.resolution << level for level in range(self.coding.levels + 1)]


@dataclass
class Step:
    """A time of a cube: a product, or those of a day."""

    time: dt.datetime
    products: list[str]
    baseline: str
    cloud_cover: float | None = None
    """Percent; None where it is not known, or differs."""
    files: dict[str, list[list[File]]] = field(default_factory=lambda: defaultdict(list))
    """By band, for each product that has it, its file at each resolution."""

    @property
    def name(self) -> str:
        """Its products."""
        return "; ".join(self.products)

    def of(self, band: str) -> list[File]:
        """A band's files, of all products and resolutions."""
        return [file for product in self.files.get(band, ()) for file in product]

    @property
    def offset(self) -> int:
        """See `offset_of`."""
        return offset_of(self.baseline)


@dataclass(frozen=True)
class Catalogue:
    """The steps of a tile, in order of time."""

    tile: str
    grid: Grid
    """That of the finest pixels there are."""
    steps: list[Step]

    @property
    def bands(self) -> list[str]:
        """The bands that any step has."""
        return sorted({band for step in self.steps for band in step.files})

    def components(self, band: str) -> int:
        """How many components a band's files have; 0 where that differs."""
        counts = {file.coding.components for file in self._files(band)}
        return counts.pop() if len(counts) == 1 else 0

    def resolutions(self, band: str) -> list[int]:
        """The resolutions at which a band's files hold it, in metres: their own, and its powers of two."""
        return sorted({resolution for file in self._files(band) for resolution in file.resolutions})

    def own(self, band: str) -> list[int]:
        """The resolutions of a band's files themselves, in metres."""
        return sorted({file.resolution for file in self._files(band)})

    def levels(self, band: str, own: int) -> list[int]:
        """The resolutions that all of a band's files of a resolution hold, in metres."""
        return min((file.resolutions for file in self._files(band) if file.resolution == own), key=len)

    def _files(self, band: str) -> list[File]:
        return [file for step in self.steps for file in step.of(band)]


def catalogue(
    index: Index,
    tile: str | None,
    span: Span,
    *,
    level: str = "L2A",
    store: str | None = None,
    duplicates: Duplicates = "newest",
    groupby: Literal["solar_day"] | None = None,
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
    tile = None if tile is None else tile.upper().removeprefix("T")
    begin, end = parse_span(span)
    rows = [row for row in rows_of(index, tile, begin, end, level) if f"_MSI{level}_" in row["product_id"]]
    tiles = sorted({row["mgrs_tile"] for row in rows})
    if tile is None and len(tiles) > 1:
        raise CubeError(f"the index has several tiles, name one of them: tile= {', '.join(tiles)}")
    mine = [row for row in rows if tile is None or row["mgrs_tile"] == tile]
    if not mine:
        has = f"it has {', '.join(tiles)}" if tiles else "it has none of that level"
        raise CubeError(f"the index has no {level} product of tile {tile or ''}: {has}")
    at_time = [row for row in mine if begin <= row["datetime"] < end]
    if not at_time:
        times = sorted(row["datetime"] for row in mine)
        raise CubeError(
            f"the index has nothing of tile {tile} at {span}: it has {times[0]:%Y-%m-%d} to {times[-1]:%Y-%m-%d}"
        )
    if any(row["header"] is None or row["epsg"] is None for row in at_time):
        raise IndexFileError(NO_HEADERS)
    steps = _of_duplicates(_steps(at_time, store), duplicates)
    grid = _grid(at_time)
    if groupby == "solar_day":
        steps = _by_solar_day(steps, grid)
    return Catalogue(at_time[0]["mgrs_tile"], grid, steps)


def catalogue_of_file(index: Index, url: str) -> Catalogue:
    """That of one file, by where its row was made, or by where it lies in another archive.

    Raises:
        CubeError: The index does not have it.
    """
    asked = index.find(url)
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
    return Catalogue(rows[0]["mgrs_tile"], _grid(rows), _steps(rows[:1], None))


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
    """Whether a row is of a TIFF, by the header that it carries: a JP2's begins otherwise."""
    return (row["header"] or b"")[:2] in (b"II", b"MM")


def rows_of(
    index: Index, tile: str | None, begin: dt.datetime, end: dt.datetime, level: str, *, tiffs: bool = False
) -> list[dict[str, Any]]:
    """The rows of an index. Of the partition layout only the shards of the tile and the years are read. With `tiffs`
    those of TIFFs are among them, even where their time is not known.
    """
    try:
        import pyarrow
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
            rows += table.select([name for name in COLUMNS if name in table.column_names]).to_pylist()
    # A preview is of pixels of 320 m, which are no multiple of any band's.
    jp2s = [row for row in rows if row["datetime"] is not None and row["band_id"] != "PVI" and not is_tiff(row)]
    return jp2s + [row for row in rows if tiffs and is_tiff(row)]


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
    codings: dict[tuple[str, Coding], tuple[str, Coding]] = {}
    for row in rows:
        product = row["product_id"]
        baseline, cloud_cover = row["processing_baseline"] or "", row.get("eo:cloud_cover")
        step = steps.setdefault(product, Step(row["datetime"], [product], baseline, cloud_cover))
        band = band_of(row["band_id"])
        origin = readable(row["origin"] or row["path"])
        given = address(product, row["band_id"]) if store else address(origin)
        files = step.files[band] = step.files.get(band) or [[]]
        template, coding = template_of(row["header"]), coding_of(row["header"])
        template, coding = codings.setdefault((template, coding), (template, coding))
        state, resolution = (row.get("etag"), row.get("last_modified")), round(row["transform"][0])
        files[0].append(File(given, origin, *state, resolution, coding, template))
    return sorted(steps.values(), key=lambda step: (step.time, step.products))


def readable(origin: str) -> str:
    """Where a row was made, as paths have it. Of a cloud's object the row names the host, too; options name that."""
    cloud = re.fullmatch(r"(s3|gs|az)://[^/]+/(.+)", origin)
    return "://".join(cloud.groups()) if cloud else origin


def _of_duplicates(steps: Sequence[Step], duplicates: Duplicates) -> list[Step]:
    """Of products of one datatake, those of the newest baseline, all, or an error. Those of one are parts."""
    if duplicates == "all":
        return list(steps)
    datatakes: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        platform, _, sensed = step.products[0].split("_")[:3]
        datatakes[f"{platform}_{sensed}"].append(step)
    kept = []
    for several in datatakes.values():
        newest = max(step.baseline for step in several)
        if duplicates == "error" and any(step.baseline != newest for step in several):
            names = ", ".join(step.products[0] for step in several)
            raise CubeError(f"a datatake has several products: {names}; duplicates='newest' takes the newest baseline")
        kept += [step for step in several if step.baseline == newest]
    return sorted(kept, key=lambda step: (step.time, step.products))


def _by_solar_day(steps: Sequence[Step], grid: Grid) -> list[Step]:
    """Steps of one day, by the sun over the tile, as one: each pixel is the first that is valid."""
    # The central meridian of the UTM zone: the tile is within 3 degrees, 12 minutes, of it.
    longitude = (grid.epsg % 100) * 6 - 183
    days: dict[Any, list[Step]] = defaultdict(list)
    for step in steps:
        days[(step.time + dt.timedelta(hours=longitude / 15)).date()].append(step)
    merged = []
    for several in days.values():
        if len({step.offset for step in several}) > 1:
            # Their values are of unlike scales.
            merged += several
            continue
        first = several[0]
        if len(several) == 1:
            merged.append(first)
            continue
        step = Step(first.time, [product for one in several for product in one.products], first.baseline)
        for band in {band for one in several for band in one.files}:
            step.files[band] = [files for one in several for files in one.files.get(band, ())]
        merged.append(step)
    return merged


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
