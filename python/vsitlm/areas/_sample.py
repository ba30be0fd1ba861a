"""Sampling: the values of files at points, as a table, or the pixels around them, as an array."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from .._errors import CubeError
from .._many import read_many
from .._window import Squares
from ..cube._catalogue import Span
from ..cube._chunks import Offset
from ..cube._grid import Grid
from ._block import Terms, values_of, warn_of
from ._files import File
from ._masks import Masks
from ._plan import Sought, seek
from ._steps import Step, steps_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow
    import xarray
    from numpy.typing import NDArray


@dataclass(frozen=True)
class _Group:
    """Points that are read together: those of a tile of files of one grid."""

    points: NDArray[Any]
    """Their numbers."""
    squares: Squares
    """What is read, all of it within the image."""
    shifts: NDArray[Any]
    """By how many columns and rows what is wanted begins before that."""

    def placed(self, read: NDArray[Any]) -> NDArray[Any]:
        """What is wanted of each point, 0 where it lies outside the image: squares of what was read."""
        import numpy

        side = self.squares.side
        squares = read.reshape(-1, side, side)
        if self.shifts.any():
            squares = squares.copy()
        for number in numpy.flatnonzero(self.shifts.any(1)):
            right, down = (int(shift) for shift in self.shifts[number])
            moved = numpy.zeros((side, side), read.dtype)
            moved[max(down, 0) : side + min(down, 0), max(right, 0) : side + min(right, 0)] = squares[
                number, max(-down, 0) : side - max(down, 0), max(-right, 0) : side - max(right, 0)
            ]
            squares[number] = moved
        return squares


@dataclass(frozen=True)
class _Found:
    """The points that a product has, in order, and what was read at them."""

    step: Step
    points: NDArray[Any]
    values: Mapping[str, NDArray[Any] | None]
    """By band, a square for each point; None where the product does not have the band."""


@overload
def sample(
    points: Any, found: Any, bands: Sequence[str] | str | None = ..., *, datetime: Span = ..., size: None = ...,
    offset: Offset = ..., fail_on_error: bool = ..., progress: bool = ..., **options: object,
) -> pyarrow.Table: ...  # fmt: skip
@overload
def sample(
    points: Any, found: Any, bands: Sequence[str] | str | None = ..., *, size: int, datetime: Span = ...,
    offset: Offset = ..., fail_on_error: bool = ..., progress: bool = ..., **options: object,
) -> xarray.Dataset: ...  # fmt: skip
def sample(
    points: Any,
    found: Any,
    bands: Sequence[str] | str | None = None,
    *,
    datetime: Span = None,
    size: int | None = None,
    offset: Offset = "keep",
    fail_on_error: bool = True,
    progress: bool = False,
    **options: object,
) -> pyarrow.Table | xarray.Dataset:
    """The values at points: a row for each point and product that has it, with a column for each band.

    A value is that of the pixel in which the point lies, at the band's finest resolution. It is null where the file has
    no data. Points of one tile of a file are fetched together, and share what is decoded.

    Args:
        points: Pairs of longitude and latitude in degrees, an array of them, or what has `geometry.x` and `geometry.y`,
            as geopandas has it, in any reference system.
        found: A result of `search`, or what `search` takes; then files of the tiles that have points are searched.
        bands: Those of the search where None.
        datetime: Of a search, where `found` is none.
        size: Pixels of each side of squares around the points: the point lies in the pixel of row and column size // 2.
            They are 0 beyond a file's edge. None is the point's pixel alone.
        offset: `"keep"` or `"harmonise"`, see `store`.
        fail_on_error: Whether a file that cannot be read is an error; else it is warned of, and its values are null.
        progress: Show a progress bar.
        **options: Configuration options of GDAL's and of `/vsitlm/`.

    Returns:
        The columns `point` (its number, from 0), `time`, `product`, and the bands. With `size` a Dataset of a variable
        (sample, y, x) for each band, and of the coordinates `point`, `time` and `product` of each sample.

    Raises:
        CubeError: There are no points, or no files of a band.
        Error: What the core failed with, as the class of its kind.
    """
    import numpy

    longitudes, latitudes = degrees_of(points)
    if size is not None and size < 1:
        raise CubeError("the size of squares is at least 1")
    area = {"type": "MultiPoint", "coordinates": numpy.stack([longitudes, latitudes], 1).tolist()}
    terms = Terms("nearest", offset, Masks(), fail_on_error, options)
    sought = seek(found, bands, area, datetime, terms, {})
    names = sought.names
    if not sought.files:
        raise CubeError(f"there are no files of {', '.join(names)} to sample")
    read = list(_read(sought, _Places(longitudes, latitudes, size or 1), progress))
    warn_of(sought.failed)
    return _table(read, names) if size is None else _squares(read, names, size)


def _read(sought: Sought, places: _Places, progress: bool) -> Iterator[_Found]:
    """What products have at points, product by product; what cannot be read is put to what has failed."""
    import numpy

    names, terms = sought.names, sought.terms

    jobs: list[tuple[int, str, File, _Group]] = []
    steps = steps_of(sought.files, "id", 0)
    for number, step in enumerate(steps):
        for name in names:
            of_band = [file for file in step.files if file.has(name)]
            if of_band:
                finest = min(of_band, key=lambda file: file.grid.resolution if file.grid else 0)
                jobs += [(number, name, finest, group) for group in places.groups(finest)]
    requests: list[Any] = [(file.path, group.squares) for _, _, file, group in jobs]
    settings: dict[str, Any] = dict(terms.settings)
    chips = read_many(requests, indexes=1, progress=progress, **settings)
    pieces: dict[tuple[int, str], list[tuple[NDArray[Any], NDArray[Any]]]] = defaultdict(list)
    for (number, name, file, group), chip in zip(jobs, chips, strict=True):
        if chip.error is not None:
            if terms.fail_on_error:
                raise chip.error
            sought.failed.append(f"{file.name}: {chip.error}")
            continue
        squares = values_of(group.placed(chip.pixels), file, terms)
        valid = squares.any((1, 2))
        pieces[number, name].append((group.points[valid], squares[valid]))
    side = places.size
    for number, step in enumerate(steps):
        of_step = {name: pieces.pop((number, name), []) for name in names}
        parts = [points for several in of_step.values() for points, _ in several]
        points = numpy.unique(numpy.concatenate(parts)) if parts else numpy.zeros(0, int)
        values: dict[str, NDArray[Any] | None] = dict.fromkeys(names)
        for name, several in of_step.items():
            if several:
                of_points = numpy.zeros((len(points), side, side), several[0][1].dtype)
                for numbers, squares in several:
                    of_points[numpy.searchsorted(points, numbers)] = squares
                values[name] = of_points
        yield _Found(step, points, values)


def _table(found: Sequence[_Found], names: Sequence[str]) -> pyarrow.Table:
    """The values of the points' own pixels."""
    import numpy
    import pyarrow

    types = {name: _type(found, name) for name in names}
    # Most are of 16 bits or fewer, and are 32 for whoever subtracts them.
    columns_of = {
        name: numpy.result_type(dtype, "int32") if dtype.kind in "iu" else dtype for name, dtype in types.items()
    }

    def table(one: _Found) -> pyarrow.Table:
        count = len(one.points)
        columns: dict[str, Any] = {
            "point": pyarrow.array(one.points, pyarrow.int64()),
            "time": pyarrow.array([one.step.time] * count, pyarrow.timestamp("us", "UTC")),
            "product": pyarrow.array([one.step.products] * count, pyarrow.string()),
        }
        for name in names:
            values = one.values[name]
            if values is None:
                columns[name] = pyarrow.nulls(count, pyarrow.from_numpy_dtype(columns_of[name]))
            else:
                flat = values[:, 0, 0].astype(columns_of[name])
                columns[name] = pyarrow.array(flat, mask=flat == 0)
        return pyarrow.table(columns)

    return pyarrow.concat_tables([table(one) for one in found])


def _squares(found: Sequence[_Found], names: Sequence[str], size: int) -> xarray.Dataset:
    """The squares of all products, one after the other."""
    import numpy
    import xarray

    def of_band(name: str) -> NDArray[Any]:
        dtype = _type(found, name)
        parts = [one.values[name] for one in found]
        return numpy.concatenate(
            [
                numpy.zeros((len(one.points), size, size), dtype) if part is None else part
                for one, part in zip(found, parts, strict=True)
            ]
        )

    counts = [len(one.points) for one in found]
    times = numpy.array([one.step.time.replace(tzinfo=None) for one in found], "datetime64[ns]")
    products = numpy.array([one.step.products for one in found])
    return xarray.Dataset(
        {name: (("sample", "y", "x"), of_band(name), {"nodata": 0}) for name in names},
        {
            "point": ("sample", numpy.concatenate([one.points for one in found])),
            "time": ("sample", numpy.repeat(times, counts)),
            "product": ("sample", numpy.repeat(products, counts)),
        },
    )


def _type(found: Sequence[_Found], name: str) -> np.dtype[Any]:
    """The type that holds the samples of a band of all products."""
    import numpy

    types = {values.dtype for one in found if (values := one.values[name]) is not None}
    return numpy.result_type(*types) if types else numpy.dtype("uint8")


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
    elif isinstance(points, numpy.ndarray):
        pairs = numpy.asarray(points, float)
    else:
        pairs = numpy.asarray([(point.x, point.y) if hasattr(point, "x") else point for point in points], float)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise CubeError("there are no points: pairs of longitude and latitude")
    if not numpy.isfinite(pairs).all() or (abs(pairs[:, 0]) > 180).any() or (abs(pairs[:, 1]) > 90).any():
        raise CubeError("points are pairs of longitude and latitude in degrees, in this order")
    return pairs[:, 0], pairs[:, 1]


class _Places:
    """Where points lie in files."""

    def __init__(self, longitudes: NDArray[Any], latitudes: NDArray[Any], size: int) -> None:
        self._degrees = longitudes, latitudes
        self.size = size
        """Pixels of a side around each."""
        self._found: dict[tuple[Grid, tuple[int, int]], list[_Group]] = {}
        """By the grid of a file and the size of its tiles: the same for all files of a MGRS tile and a resolution."""

    def groups(self, file: File) -> list[_Group]:
        """The points within a file, tile by tile."""
        assert file.grid is not None
        key = file.grid, file.tile_size
        if key not in self._found:
            self._found[key] = list(self._groups(*key))
        return self._found[key]

    def _groups(self, grid: Grid, tile_size: tuple[int, int]) -> Iterator[_Group]:
        import numpy
        from pyproj import Transformer

        if min(grid.width, grid.height) < self.size:
            raise CubeError(f"an image of {grid.width} x {grid.height} pixels has no squares of {self.size}")
        xs, ys = Transformer.from_crs("OGC:CRS84", grid.epsg, always_xy=True).transform(*self._degrees)
        with numpy.errstate(invalid="ignore"):
            columns = numpy.floor((xs - grid.west) / grid.resolution)
            rows = numpy.floor((grid.north - ys) / grid.resolution)
            inside = numpy.flatnonzero((columns >= 0) & (columns < grid.width) & (rows >= 0) & (rows < grid.height))
        pixels = numpy.stack([columns[inside], rows[inside]], 1).astype(int)
        sides = numpy.array([wide or whole for wide, whole in zip(tile_size, (grid.width, grid.height), strict=True)])
        tiles = pixels // sides
        order = numpy.lexsort(tiles.T)
        starts = numpy.flatnonzero((tiles[order][1:] != tiles[order][:-1]).any(1)) + 1
        wanted = pixels - self.size // 2
        read = numpy.clip(wanted, 0, [grid.width - self.size, grid.height - self.size])
        for part in numpy.split(order, starts):
            if len(part):
                yield _Group(inside[part], Squares(self.size, *read[part].T), (read - wanted)[part])
