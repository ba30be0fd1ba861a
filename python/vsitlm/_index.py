"""The index: looking rows up, reading it as a table, and making it; and what a JP2 or a TIFF is made of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from . import _core
from ._errors import IndexFileError, IndexingError, VsitlmWarning
from ._path import address

if TYPE_CHECKING:
    import geopandas
    import pyarrow

    AnyPath = str | os.PathLike[str]


class TiffScan(TypedDict):
    """What a TIFF is made of, as `vsitlm info --json` tells it. Sizes are in bytes."""

    file: str
    bytes: int
    etag: str | None
    key: str | None
    is_big: bool
    """Whether it is a BigTIFF."""
    is_big_endian: bool
    directories: list[dict[str, Any]]
    """The image, its overviews and masks, in the order of the file."""
    epsg: int | None
    transform: list[float] | None
    header: list[list[int]]
    """The ranges of bytes that opening it takes: from, and up to."""
    header_bytes: int
    is_cog: bool
    against_cog: list[str]
    """Why it is no COG."""
    index: list[dict[str, Any]] | None


class Scan(TypedDict):
    """What a JP2 is made of, and what reading it costs, as `vsitlm info --json` tells it. Sizes are in bytes."""

    file: str
    bytes: int
    etag: str | None
    key: str | None
    boxes: list[dict[str, Any]]
    image: dict[str, Any]
    tiles: dict[str, int]
    coding: dict[str, Any]
    left_out: str | None
    """What of it vsitlm's decoder leaves out; None where it decodes the file."""
    tile_parts: dict[str, int]
    tlm: bool
    tlm_fits: bool
    tile_parts_with_resolutions: int
    index: list[dict[str, Any]] | None
    overviews: list[dict[str, Any]]


def scan(path_or_url_or_product: AnyPath, band: str | None = None, **options: object) -> Scan | TiffScan:
    """Walks a JP2 from tile-part to tile-part, or reads a TIFF's header, and tells what it is made of.

    Args:
        path_or_url_or_product: See `path`.
        band: See `path`.
        **options: Configuration options, see `open`.

    Raises:
        Error: What the core failed with, as the class of its kind.
    """
    told: Scan | TiffScan = _core.ask("scan", address(path_or_url_or_product, band), options)  # type: ignore[assignment]
    return told


@dataclass(frozen=True)
class Row:
    """A row of an index: one JP2 or TIFF."""

    product_id: str
    mgrs_tile: str
    band_id: str
    resolution: int
    """Metres; 0 where unknown."""
    path: str
    """The file's key in its archive."""
    origin: str | None
    """Where the row was made from."""
    etag: str | None
    file_size: int | None
    """Bytes."""
    last_modified: str | None
    tile_parts: int | None
    """None of a TIFF."""
    has_tlm: bool
    """Whether the file has a TLM of its own."""
    overview_factor: int | None
    """The row carries the overviews of this factor and coarser."""
    has_packets: bool
    """Whether the row tells the length of every packet."""
    is_tiff: bool
    """Whether the file is a TIFF, and the row has its header."""


class Index:
    """One or several indexes, asked in order.

    It is a table of Arrow's: `pyarrow.table(index)`, `polars.DataFrame(index)` and DuckDB (`FROM index`) take all rows
    and columns, and `pyarrow.RecordBatchReader.from_stream(index)` a row group at a time.

    Args:
        paths: Files, folders or prefixes of the partition layout, or templates, as in `VSITLM_INDEX`.
        **options: Configuration options of GDAL's and of `/vsitlm/` for reading them, such as keys of S3.
    """

    def __init__(self, paths: AnyPath | Iterable[AnyPath], **options: object) -> None:
        several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        self.paths = [os.fspath(one) for one in several]
        self.options = _core.texts(options)

    def __repr__(self) -> str:
        return f"Index({self.paths!r})"

    def find(self, path_or_url_or_product: AnyPath, band: str | None = None) -> list[Row]:
        """The rows of a file; of a product without `band`, those of all its files.

        An index that cannot be used is warned of, and the next one is asked.

        Raises:
            Error: What the core failed with, as the class of its kind.
        """
        found = _core.ask(
            "rows", address(path_or_url_or_product, band), {**self.options, "VSITLM_INDEX": ";".join(self.paths)}
        )
        for warning in found["warnings"]:
            warnings.warn(warning, VsitlmWarning, stacklevel=2)
        return [Row(**row) for row in found["rows"]]

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The rows of all indexes, one after the other, by Arrow's PyCapsule interface. A column that not all of them
        have is null in the others; a schema that is requested is passed over.

        Raises:
            Error: What the core failed with, as the class of its kind. It cannot read templates.
        """
        return _core.capsule("index_rows", ";".join(self.paths), self.options)

    def __arrow_c_schema__(self) -> object:
        """The schema of these rows, likewise."""
        return _core.capsule("index_schema", ";".join(self.paths), self.options)

    def to_arrow(self, columns: Sequence[str] | None = None, filters: Any = None) -> pyarrow.Table:
        """The rows as a table, read by pyarrow.

        Args:
            columns: Which ones; by default all but those that only `/vsitlm/` can read, which are most of the bytes:
                `header`, `index`, `resolution_ends`, `overviews` and `packets`.
            filters: An expression of pyarrow's, or a list of `(column, operator, value)`. In the partition layout
                `level`, `tile` and `year` are columns too, by which only the files that can match are read.

        Raises:
            IndexFileError: pyarrow cannot read one of the paths, such as a template or a URL.
        """
        import pyarrow

        tables = [self._read(one, columns, filters) for one in self.paths]
        return pyarrow.concat_tables(tables, promote_options="permissive")

    def _read(self, one: str, columns: Sequence[str] | None, filters: Any) -> pyarrow.Table:
        import pyarrow
        import pyarrow.dataset
        import pyarrow.parquet

        parts = pyarrow.schema([("level", pyarrow.string()), ("tile", pyarrow.string()), ("year", pyarrow.int32())])
        try:
            dataset = pyarrow.dataset.dataset(
                one, format="parquet", partitioning=pyarrow.dataset.partitioning(parts, flavor="hive")
            )
            expression = pyarrow.parquet.filters_to_expression(filters) if isinstance(filters, list) else filters
            names = columns or [name for name in dataset.schema.names if name not in _OPAQUE]
            return dataset.to_table(columns=list(names), filter=expression)
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise IndexFileError(f"pyarrow cannot read the index {one}: {error}") from error

    def to_geopandas(self, columns: Sequence[str] | None = None, filters: Any = None) -> geopandas.GeoDataFrame:
        """The rows as a frame with the images' outlines, in degrees. Arguments and errors are those of `to_arrow`;
        `geometry` is read with the columns that are named."""
        import geopandas

        if columns is not None and "geometry" not in columns:
            columns = [*columns, "geometry"]
        frame = self.to_arrow(columns, filters).to_pandas()
        outlines = geopandas.GeoSeries.from_wkb(frame["geometry"], crs="OGC:CRS84")
        return geopandas.GeoDataFrame(frame.drop(columns="geometry"), geometry=outlines)


_OPAQUE = {"header", "index", "resolution_ends", "overviews", "packets"}


@dataclass(frozen=True)
class Summary:
    """What a run of `index` has done."""

    output: str | None
    """The index; None where nothing was written."""
    files: int
    """How many the inputs named."""
    scanned: int
    resumed: int
    """Files of a run that was broken off."""
    unchanged: int
    """Files that had a row already."""
    rows: int
    """Rows that the index has now."""
    bytes: int
    """Bytes written."""
    seconds: float
    failed: list[dict[str, str]]
    """What failed, and why."""
    failures: str | None
    """The file that lists it."""
    shared_keys: list[dict[str, Any]]
    """Names that several files share."""
    overviews: dict[str, int] | None
    """The overviews that were embedded."""
    asked: dict[str, int]
    """What was asked of hosts, see `statistics`."""


def index(inputs: AnyPath | Iterable[AnyPath], output: AnyPath, **options: object) -> Summary:
    """Scans files and adds their rows to an index: the command `vsitlm index`, in a process of its own.

    Args:
        inputs: JP2s, folders, SAFE products, prefixes, STAC items, see the command; or a result of `search`, whose
            options hold where no others are given.
        output: A `.parquet` file, or a folder or prefix of the partition layout. Rows that are there are kept.
        **options: In lower case the command's, such as `embed_overviews=16`, `resume=True`; in upper case configuration
            options of GDAL's and of `/vsitlm/`, such as `VSITLM_STORE="gcs"`.

    Raises:
        IndexingError: Some of it failed; its `summary` tells what did not.
        UnsupportedError: There is no core.
    """
    _core.require()
    command = [sys.executable, "-m", "vsitlm", "index", "--json", "-", "--output", os.fspath(output)]
    for name, value in options.items():
        if name.isupper() or value is None or value is False:
            continue
        flag = f"--{name.replace('_', '-')}"
        command += [flag] if value is True else [f"{flag}={value}"]
    several = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    given = {name: value for name, value in options.items() if name.isupper()}
    settings = {**getattr(inputs, "settings", {}), **_core.texts(given)}
    done = subprocess.run(
        command,
        input="".join(f"{os.fspath(one)}\n" for one in several),
        capture_output=True,
        text=True,
        env=os.environ | settings,
        check=False,
    )
    complaints = done.stderr.strip()
    if not done.stdout:
        raise IndexingError(complaints or f"vsitlm index ended with {done.returncode}")
    told = json.loads(done.stdout)
    summary = Summary(**{name: told[name] for name in Summary.__dataclass_fields__})
    if done.returncode != 0:
        raise IndexingError(complaints, summary)
    if complaints:
        warnings.warn(complaints, VsitlmWarning, stacklevel=2)
    return summary
