"""Sampling: the values of files at points, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _core
from .._errors import CubeError
from .._many import read_many
from ..cube._catalogue import Span
from ..cube._chunks import Offset
from ._block import Terms, at_one_scale
from ._files import File, canonical
from ._plan import looked_at
from ._search import Result, search
from ._steps import steps_of

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

CELL = 256
"""Rows and columns of pixels whose points are read by one window: those of a precinct of Sentinel-2's bands of 10 m."""

SHARE = 2
"""From this part of a tile's cells on its points are read by one window: then it is fetched whole."""


@dataclass(frozen=True)
class _Group:
    """Points of a file that are read together."""

    file: File
    points: NDArray[Any]
    """Their numbers."""
    rows: NDArray[Any]
    columns: NDArray[Any]

    @property
    def window(self) -> tuple[int, int, int, int]:
        """The pixels around them: column, row, columns and rows."""
        left, top = int(self.columns.min()), int(self.rows.min())
        return left, top, int(self.columns.max()) + 1 - left, int(self.rows.max()) + 1 - top


def sample(
    points: Any,
    found: Any,
    bands: Sequence[str] | str | None = None,
    *,
    datetime: Span = None,
    offset: Offset = "keep",
    fail_on_error: bool = True,
    progress: bool = False,
    **options: object,
) -> pyarrow.Table:
    """The values at points: a row for each point and product that has it, with a column for each band.

    A value is that of the pixel in which the point lies, at the band's finest resolution. It is null where the file has
    no data. Points of one file that lie close together are fetched and decoded together.

    Args:
        points: Pairs of longitude and latitude in degrees, an array of them, or what has `geometry.x` and `geometry.y`,
            as geopandas has it, in any reference system.
        found: A result of `search`, or what `search` takes; of an index the points' bounds are searched.
        bands: Those of the search where None.
        datetime: Of a search, where `found` is none.
        offset: `"keep"` or `"harmonise"`, see `store`.
        fail_on_error: Whether a file that cannot be read is an error; else its values are null.
        progress: Show a progress bar.
        **options: Configuration options of GDAL's and of `/vsitlm/`.

    Returns:
        The columns `point` (its number, from 0), `time`, `product`, and the bands.

    Raises:
        CubeError: There are no points, or no files of a band.
        Error: What the core failed with, as the class of its kind.
    """
    import numpy
    import pyarrow

    longitudes, latitudes = degrees_of(points)
    if not isinstance(found, Result):
        bounds = tuple(float(end) for end in (longitudes.min(), latitudes.min(), longitudes.max(), latitudes.max()))
        more: dict[str, Any] = dict(options)
        found = search(found, bounds, datetime, bands, **more)
    names = found.bands if bands is None else (bands,) if isinstance(bands, str) else tuple(bands)
    terms = Terms("nearest", 0, offset, fail_on_error, {**found.settings, **_core.texts(options)})
    wanted = {canonical(name) for name in names}
    files, _ = looked_at([file for file in found.files if file.band in wanted], terms)
    if not files:
        raise CubeError(f"there are no files of {', '.join(names)} to sample")
    steps = steps_of(files, "product", 0)
    values: dict[tuple[int, str], NDArray[Any]] = {}
    valid: dict[tuple[int, str], NDArray[Any]] = {}
    jobs: list[tuple[tuple[int, str], _Group]] = []
    for number, step in enumerate(steps):
        for name in names:
            of_band = [file for file in step.files if file.band == canonical(name) and file.grid is not None]
            if of_band:
                finest = min(of_band, key=lambda file: file.grid.resolution if file.grid else 0)
                jobs += [((number, name), group) for group in _groups(finest, longitudes, latitudes)]
    settings: dict[str, Any] = dict(terms.settings)
    requests = [(group.file.path, group.window) for _, group in jobs]
    for (key, group), chip in zip(jobs, read_many(requests, indexes=1, progress=progress, **settings), strict=True):
        if chip.error is not None:
            if fail_on_error:
                raise chip.error
            continue
        left, top, _, _ = group.window
        read = at_one_scale(chip.pixels, group.file, terms)[group.rows - top, group.columns - left]
        if key not in values:
            values[key] = numpy.zeros(len(longitudes), read.dtype)
            valid[key] = numpy.zeros(len(longitudes), bool)
        values[key][group.points], valid[key][group.points] = read, read != 0
    return pyarrow.concat_tables([_table(number, step, names, values, valid) for number, step in enumerate(steps)])


def _table(number: int, step: Any, names: Sequence[str], values: Any, valid: Any) -> Any:
    """The rows of a product."""
    import numpy
    import pyarrow

    there = [valid[number, name] for name in names if (number, name) in valid]
    points = numpy.flatnonzero(numpy.logical_or.reduce(there)) if there else numpy.zeros(0, int)
    columns: dict[str, Any] = {
        "point": pyarrow.array(points, pyarrow.int64()),
        "time": pyarrow.array([step.time] * len(points), pyarrow.timestamp("us", "UTC")),
        "product": pyarrow.array([step.products] * len(points), pyarrow.string()),
    }
    for name in names:
        held = valid.get((number, name))
        if held is None:
            columns[name] = pyarrow.nulls(len(points), pyarrow.int32())
        else:
            columns[name] = pyarrow.array(values[number, name][points].astype("int32"), mask=~held[points])
    return pyarrow.table(columns)


def degrees_of(points: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Longitudes and latitudes.

    Raises:
        CubeError: They are none.
    """
    import numpy

    geometry = getattr(points, "geometry", points)
    if hasattr(geometry, "to_crs") and geometry.crs is not None:
        geometry = geometry.to_crs("OGC:CRS84")
    if hasattr(geometry, "x") and hasattr(geometry, "y"):
        pairs = numpy.stack([numpy.asarray(geometry.x, float), numpy.asarray(geometry.y, float)], 1)
    else:
        pairs = numpy.asarray([(point.x, point.y) if hasattr(point, "x") else point for point in points], float)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise CubeError("there are no points: pairs of longitude and latitude")
    if not numpy.isfinite(pairs).all() or (abs(pairs[:, 0]) > 180).any() or (abs(pairs[:, 1]) > 90).any():
        raise CubeError("points are pairs of longitude and latitude in degrees, in this order")
    return pairs[:, 0], pairs[:, 1]


def _groups(file: File, longitudes: NDArray[Any], latitudes: NDArray[Any]) -> Iterator[_Group]:
    """The points within a file, by the windows that they are read by."""
    import numpy
    from pyproj import Transformer

    grid = file.grid
    assert grid is not None
    xs, ys = Transformer.from_crs("OGC:CRS84", grid.epsg, always_xy=True).transform(longitudes, latitudes)
    with numpy.errstate(invalid="ignore"):
        columns = numpy.floor((xs - grid.west) / grid.resolution)
        rows = numpy.floor((grid.north - ys) / grid.resolution)
        inside = numpy.flatnonzero((columns >= 0) & (columns < grid.width) & (rows >= 0) & (rows < grid.height))
    rows, columns = rows[inside].astype(int), columns[inside].astype(int)
    wide, high = (side or CELL for side in file.tile_size)
    tiles = rows // high * (grid.width // wide + 1) + columns // wide
    for of_tile in _split(tiles):
        cells = rows[of_tile] % high // CELL * (wide // CELL + 1) + columns[of_tile] % wide // CELL
        count = -(-wide // CELL) * -(-high // CELL)
        together = [slice(None)] if SHARE * len(numpy.unique(cells)) >= count else list(_split(cells))
        for part in together:
            chosen = of_tile[part]
            yield _Group(file, inside[chosen], rows[chosen], columns[chosen])


def _split(keys: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The places of equal keys, together."""
    import numpy

    order = numpy.argsort(keys, kind="stable")
    starts = numpy.flatnonzero(numpy.diff(keys[order])) + 1
    yield from (part for part in numpy.split(order, starts) if len(part))
