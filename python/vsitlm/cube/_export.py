"""Writing a cube for others: references in an Icechunk repository, or as kerchunk has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .._errors import CubeError
from .._index import Index
from .._read import elsewhere
from ._catalogue import Span, catalogue
from ._references import References, appended, references_of, without
from ._series import Duplicates

if TYPE_CHECKING:
    from typing import TypeAlias

Format: TypeAlias = "Literal['icechunk', 'kerchunk', 'kerchunk-parquet']"
"""An Icechunk repository, a JSON file of kerchunk's, or its folder of parquet files."""

FORMATS = ("icechunk", "kerchunk", "kerchunk-parquet")


@dataclass(frozen=True)
class Exported:
    """What was written."""

    times: int
    """How many there are now."""
    added: int
    """How many of them are new."""
    arrays: int
    """Arrays of bands and levels."""
    references: int
    """Chunks that were written."""
    without_state: int
    """Of these, chunks of files of which neither ETag nor time is known: that they change is not noticed."""


def export(
    index: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    tile: str | None = None,
    bands: Sequence[str] | str | None = None,
    datetime: Span = None,
    resolution: int | None = None,
    *,
    format: Format = "icechunk",
    append: bool = False,
    duplicates: Duplicates = "newest",
    masks: bool = False,
    level: str = "L2A",
    archive: str | None = None,
    **options: object,
) -> Exported:
    """Writes a cube of references to the archive's files, which others read without this package's store.

    Their readers need the codec `vsitlm.jp2_tile`, of TIFFs `vsitlm.tiff_tile`, which are registered where this package
    is installed, and nothing else of it. A chunk is a tile of a TIFF or of a JP2; of this, at a lower resolution, it is
    those of its bytes that hold that, where the file's packets lie so. Values are the digital numbers, with
    `boa_add_offset(time)`.

    Args:
        index: See `store`.
        out: The repository's folder or `s3://bucket/prefix`; the JSON file; or the folder of parquet files.
        tile: See `store`.
        bands: See `store`.
        datetime: See `store`.
        resolution: Metres: one group of variables. None makes a tree, see `store`; kerchunk's parquet files have none.
        format: What to write. Only an Icechunk repository knows the state that files have to be in: a file that has
            changed since its row was made is an error to its readers.
        append: Puts the times that `out` lacks to those that it has. They have to be later.
        duplicates: See `store`.
        masks: See `store`.
        level: See `store`.
        archive: Where the files lie, as `VSITLM_STORE` has it; None: where their rows were made. States are known of
            these.
        **options: Configuration options of GDAL's and of `/vsitlm/`; those that name an endpoint of S3 hold for `out`,
            too.

    Raises:
        CubeError: What is asked for is not there, the files of a band are coded in unlike ways, or `out` is there
            already or is another cube.
        ImportError: What the format needs is missing.
    """
    if format not in FORMATS:
        raise CubeError(f"format is one of {', '.join(FORMATS)}, not {format!r}")
    if format == "kerchunk-parquet" and resolution is None:
        raise CubeError("kerchunk's parquet files hold one group, of which readers know no tree: name a resolution")
    rows, place = Index(index, **options), os.fspath(out)
    settings = elsewhere({"VSITLM_INDEX": ";".join(rows.paths), "VSITLM_STORE": archive, **options})
    old = read(place, settings) if append else None
    if not append and format != "icechunk" and Path(place).exists():
        raise CubeError(f"{place} is there already: put times to it by appending, or delete it")
    found = catalogue(rows, tile, datetime, level=level, store=archive, duplicates=duplicates)
    found = without(found, old)
    if not found.steps:
        assert old is not None
        return Exported(len(old.steps), 0, len(old.chunks), 0, 0)
    wanted = [bands] if isinstance(bands, str) else bands
    if old is not None and wanted is not None:
        # Times that lack a band are put to the cube without it.
        wanted = [band for band in wanted if band in found.bands]
    new = references_of(found, wanted, resolution, settings, masks=masks)
    made = new if old is None else appended(old, new)
    _write(place, format, made, old, settings, f"{found.tile}: {len(found.steps)} times")
    chunks = [chunk for of_array in new.chunks.values() for chunk in of_array.values()]
    unknown = sum(chunk.etag is None and chunk.modified is None for chunk in chunks)
    before = old or References({})
    times, arrays = len(new.steps) + len(before.steps), len(before.chunks | new.chunks)
    return Exported(times, len(new.steps), arrays, len(chunks), unknown)


def format_of(out: str) -> Format:
    """What stands at a place.

    Raises:
        CubeError: There is nothing.
    """
    if out.startswith("s3://") or (Path(out) / "repo").exists() or (Path(out) / "refs").exists():
        return "icechunk"
    if (Path(out) / ".zmetadata").exists():
        return "kerchunk-parquet"
    if Path(out).is_file():
        return "kerchunk"
    raise CubeError(f"{out} is no cube: neither an Icechunk repository nor references of kerchunk's")


def read(out: str, options: Mapping[str, str]) -> References:
    """The references that stand at a place.

    Raises:
        CubeError: There are none.
    """
    if format_of(out) == "icechunk":
        from . import _icechunk

        return _icechunk.read(out, options)
    from . import _kerchunk

    return _kerchunk.read(Path(out))


def open_store(out: str, options: Mapping[str, str]) -> Any:
    """The store by which zarr reads what stands at a place.

    Raises:
        CubeError: There is nothing.
    """
    if (format := format_of(out)) == "icechunk":
        from . import _icechunk

        return _icechunk.open_store(out, options)
    from . import _kerchunk

    return _kerchunk.open_store(Path(out), format)


def _write(
    out: str, format: Format, made: References, old: References | None, settings: Mapping[str, str], message: str
) -> None:
    """Writes documents and chunks; those of `old` stay."""
    if format == "icechunk":
        from . import _icechunk

        _icechunk.write(out, made, settings, message, create=old is None)
        return
    from . import _kerchunk

    before = old or References({})
    chunks = {path: before.chunks.get(path, {}) | made.chunks.get(path, {}) for path in before.chunks | made.chunks}
    _kerchunk.write(Path(out), References(before.documents | made.documents, chunks), format)
