"""Loading: the files of a search as a Dataset, on one grid."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._errors import CubeError, VsitlmWarning
from .._many import read_many
from .._path import address
from ..cube._catalogue import REFLECTANCES, Span
from ..cube._chunks import Offset
from ..cube._grid import Area, Grid
from ..cube._layout import _spatial_ref
from ._files import File, canonical, with_grids
from ._grids import Read, grid_of, read_of
from ._search import Result, search
from ._steps import GroupBy, Step, steps_of

if TYPE_CHECKING:
    import xarray
    from numpy.typing import NDArray

AHEAD = 16
"""Windows that are fetched or decoded at a time."""

SCL_KEPT = (2, 4, 5, 6, 7, 11)
"""Classes of the scene classification that `mask="scl"` keeps: dark, vegetation, bare, water, unclassified and snow."""


@dataclass(frozen=True)
class Terms:
    """How pixels are made; picklable, for dask."""

    resampling: str
    nodata: float
    offset: Offset
    fail_on_error: bool
    settings: Mapping[str, str]


def load(
    found: Any,
    bands: Sequence[str] | str | None = None,
    area: Area | None = None,
    resolution: float | None = None,
    crs: Any = None,
    *,
    datetime: Span = None,
    resampling: str = "nearest",
    groupby: GroupBy = "solar_day",
    chunks: Mapping[str, int] | None = None,
    dtype: Any = None,
    nodata: float = 0,
    offset: Offset = "keep",
    mask: str | None = None,
    keep: Sequence[int] = SCL_KEPT,
    fail_on_error: bool = True,
    progress: bool = False,
    **options: object,
) -> xarray.Dataset:
    """Loads what a search has found: a Dataset of a variable (time, y, x) for each band, all on one grid.

    In the reference system of the files, at a resolution that they have, pixels are those of the files, put side by
    side. Else those of the coarsest reduced image that is no coarser than the grid are warped, by GDAL (rasterio).
    Where several files have a pixel the first valid one counts.

    Args:
        found: A result of `search`, or what `search` takes.
        bands: Those of the search where None.
        area: That of the search where None; without one all of the files.
        resolution: Of the grid, in units of its reference system. None is the coarsest of the bands' own, in metres.
        crs: The reference system of the grid, as pyproj takes it. None is that of the files, which have to have one.
        datetime: Of a search, where `found` is none.
        resampling: As rasterio names it, for reflectances that are warped; others are taken by "nearest".
        groupby: `"solar_day"`, `"time"`, or None, by which each product is a time. Products of unlike offsets are never
            one.
        chunks: Such as `{"time": 1, "y": 2048, "x": 2048}`: dask arrays, which are read when they are used. None reads
            now.
        dtype: Of all variables; the files' own where None.
        nodata: What stands for no data, in files and in the result.
        offset: `"keep"` or `"harmonise"`, see `store`.
        mask: `"scl"`: pixels whose class is not one of `keep` become no data.
        keep: Classes of SCL.
        fail_on_error: Whether a file that cannot be read is an error; else it is warned of, named in `attrs["failed"]`,
            and is no data.
        progress: Show a progress bar.
        **options: Configuration options of GDAL's and of `/vsitlm/`.

    Raises:
        CubeError: What is asked for is not there, or is larger than the memory that there is.
        Error: What the core failed with, as the class of its kind.
        ImportError: What is needed is missing.
    """
    try:
        import xarray  # noqa: F401
    except ImportError as error:
        raise ImportError("loading needs xarray: pip install 'vsitlm[load]'") from error
    if not isinstance(found, Result):
        more: dict[str, Any] = dict(options)
        found = search(found, area, datetime, bands if mask is None else None, **more)
    if mask not in (None, "scl"):
        raise CubeError(f"mask is 'scl' or None, not {mask!r}")
    names = found.bands if bands is None else (bands,) if isinstance(bands, str) else tuple(bands)
    area = found.area if area is None else area
    terms = Terms(resampling, nodata, offset, fail_on_error, {**found.settings, **_texts(options)})
    wanted = {canonical(name) for name in names} | ({"SCL"} if mask else set())
    files, failed = _looked_at([file for file in found.files if file.band in wanted], terms)
    if not files:
        has = ", ".join(sorted({file.band for file in found.files})) or "nothing"
        raise CubeError(f"there are no files of {', '.join(names)} to load: the search found {has}")
    for name in names:
        if not any(file.band == canonical(name) for file in files):
            has = ", ".join(sorted({file.band for file in files}))
            raise CubeError(f"no product that was found has the band {name}: they have {has}")
    own = max(_finest(files, canonical(name)) for name in names)
    grid = grid_of(files, area, resolution, crs, own)
    steps = steps_of(files, groupby, _longitude(grid))
    shown = {canonical(name) for name in names}
    steps = [step for step in steps if any(file.band in shown for file in step.files)]
    block = Block({name: canonical(name) for name in names}, grid, tuple(steps), terms, tuple(keep) if mask else None)
    if chunks is None:
        _check_size(block)
        arrays = block.load(failed, progress)
    else:
        arrays = block.lazy(chunks)
    return _dataset(arrays, block, dtype, failed)


@dataclass(frozen=True)
class Block:
    """A part of a result, or all of it."""

    bands: Mapping[str, str]
    """By the names of variables."""
    grid: Grid
    steps: tuple[Step, ...]
    terms: Terms
    keep: tuple[int, ...] | None
    """Classes of SCL; None where nothing is masked."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Times, rows and columns."""
        return len(self.steps), self.grid.height, self.grid.width

    def dtype(self, band: str) -> str:
        """That of a band's files.

        Raises:
            CubeError: They have several.
        """
        found = {file.dtype for step in self.steps for file in step.files if file.band == band}
        if len(found) > 1:
            raise CubeError(f"the files of {band} have several types of samples: {', '.join(sorted(found))}")
        return found.pop() if found else "uint8"

    def load(self, failed: list[str], progress: bool = False) -> dict[str, NDArray[Any]]:
        """Its pixels, by the names of variables."""
        import numpy

        wanted: dict[str | None, str] = {None: "SCL"} if self.keep is not None else {}
        wanted.update(self.bands)
        made: dict[str | None, NDArray[Any]] = {
            name: numpy.full(self.shape, self.terms.nodata, self.dtype(band)) for name, band in wanted.items()
        }
        jobs = [
            (name, time, read)
            for time, step in enumerate(self.steps)
            for name, band in wanted.items()
            for read in _reads(step, band, self.grid)
        ]
        requests = [(address(read.file.path, overview=read.factor), read.window) for _, _, read in jobs]
        options: dict[str, Any] = dict(self.terms.settings)
        chips = read_many(requests, indexes=1, ahead=AHEAD, progress=progress, **options)
        for (name, time, read), chip in zip(jobs, chips, strict=True):
            if chip.error is not None:
                if self.terms.fail_on_error:
                    raise chip.error
                failed.append(f"{read.file.url}: {chip.error}")
                continue
            pixels = _at_one_scale(chip.pixels, read.file, self.terms)
            resampling = self.terms.resampling if read.file.band in REFLECTANCES else "nearest"
            where, placed = read.put(pixels, self.grid, resampling, self.terms.nodata)
            target = made[name][time][where]
            # The first valid one counts.
            numpy.copyto(target, placed, where=target == self.terms.nodata)
        if self.keep is not None:
            hidden = ~numpy.isin(made.pop(None), self.keep)
            for name, band in self.bands.items():
                if band != "SCL":
                    made[name][hidden] = self.terms.nodata
        return {name: array for name, array in made.items() if name is not None}

    def lazy(self, chunks: Mapping[str, int]) -> dict[str, Any]:
        """The same as arrays of dask."""
        try:
            import dask
            import dask.array
        except ImportError as error:
            raise ImportError("chunks= needs dask: pip install dask") from error
        sizes = dict(zip(("time", "y", "x"), self.shape, strict=True))
        parts = [range(0, sizes[name], max(_side(chunks, name, sizes[name]), 1)) for name in ("time", "y", "x")]

        def part(name: str, time: int, row: int, column: int) -> Any:
            times, rows, columns = (
                min(step.step, step.stop - start) for step, start in zip(parts, (time, row, column), strict=True)
            )
            steps, window = self.steps[time : time + times], self.grid.window(column, row, columns, rows)
            inner = replace(self, bands={name: self.bands[name]}, grid=window, steps=steps)
            made = dask.delayed(_load_one, pure=True)(inner, name)
            return dask.array.from_delayed(made, inner.shape, self.dtype(self.bands[name]))

        return {
            name: dask.array.block(
                [[[part(name, time, row, column) for column in parts[2]] for row in parts[1]] for time in parts[0]]
            )
            for name in self.bands
        }


def _side(chunks: Mapping[str, int], name: str, size: int) -> int:
    """The side of chunks along a dimension; all of it where nothing, or -1, is said."""
    side = chunks.get(name, 1 if name == "time" else 2048)
    return size if side == -1 else side


def _load_one(block: Block, name: str) -> Any:
    """A chunk of a lazy array."""
    failed: list[str] = []
    pixels = block.load(failed)[name]
    for one in failed:
        warnings.warn(f"no data of {one}", VsitlmWarning, stacklevel=2)
    return pixels


def _reads(step: Step, band: str, grid: Grid) -> list[Read]:
    """What of a step's files is read for a band: of a product that has it at several resolutions the one that gives the
    grid's pixels as they are, else the one of the fewest bytes.
    """
    of_products: dict[str, list[Read]] = {}
    for file in step.files:
        if file.band == band and (read := read_of(file, grid)) is not None:
            of_products.setdefault(file.product, []).append(read)

    def cost(read: Read) -> tuple[bool, int, int]:
        return read.at is None, read.window[2] * read.window[3] * (1 if read.at is None else 0), read.factor

    return [min(several, key=cost) for several in of_products.values()]


def _at_one_scale(pixels: NDArray[Any], file: File, terms: Terms) -> NDArray[Any]:
    """Digital numbers with what their baseline adds taken away, where that is wanted."""
    import numpy

    from ._steps import offset_of

    if terms.offset != "harmonise" or file.band not in REFLECTANCES or not offset_of(file):
        return pixels
    shifted = numpy.maximum(pixels.astype("int32") + offset_of(file), 1)
    return numpy.where(pixels == 0, 0, shifted).astype(pixels.dtype)


def _looked_at(files: Sequence[File], terms: Terms) -> tuple[list[File], list[str]]:
    """Files with their grids, and what was wrong with others.

    Raises:
        Error: One cannot be opened, and that is an error.
    """
    there, failed = [], []
    for file, seen in zip(files, with_grids(files, terms.settings), strict=True):
        if isinstance(seen, Exception):
            if terms.fail_on_error:
                raise seen
            failed.append(f"{file.url}: {seen}")
        else:
            there.append(seen)
    return there, failed


def _finest(files: Sequence[File], band: str) -> float:
    """The finest pixels of a band's files, in metres."""
    return min(file.grid.resolution for file in files if file.band == band and file.grid is not None)


def _longitude(grid: Grid) -> float:
    """That of a grid's middle."""
    from pyproj import Transformer

    west, south, east, north = grid.bounds
    transformer = Transformer.from_crs(grid.epsg, "OGC:CRS84", always_xy=True)
    return float(transformer.transform((west + east) / 2, (south + north) / 2)[0])


def _check_size(block: Block) -> None:
    """Refuses a result that does not fit into memory, before anything is fetched.

    Raises:
        CubeError: It does not.
    """
    import numpy

    times, rows, columns = block.shape
    size = times * rows * columns * sum(numpy.dtype(block.dtype(band)).itemsize for band in block.bands.values())
    with open("/proc/meminfo", encoding="ascii") as told:
        free = next(int(line.split()[1]) * 1024 for line in told if line.startswith("MemAvailable:"))
    if size > free:
        raise CubeError(
            f"the result has {times} times of {columns} x {rows} pixels, {size / 1e9:,.1f} GB, and there are "
            f"{free / 1e9:,.1f} GB of memory: load it lazily, chunks={{}}, or ask for less"
        )


def _texts(options: Mapping[str, object]) -> dict[str, str]:
    """Options as GDAL has them."""
    from .. import _core

    return _core.texts(options)


def _dataset(arrays: Mapping[str, Any], block: Block, dtype: Any, failed: Sequence[str]) -> xarray.Dataset:
    """The Dataset of arrays."""
    import numpy
    import xarray
    from pyproj import CRS

    grid, steps = block.grid, block.steps
    down, across = ("latitude", "longitude") if CRS.from_epsg(grid.epsg).is_geographic else ("y", "x")
    times = numpy.array([step.time.replace(tzinfo=None) for step in steps], "datetime64[ns]")
    covers = [next((one.cloud_cover for one in step.files if one.cloud_cover is not None), None) for step in steps]
    coordinates: dict[str, Any] = {
        "time": times,
        down: grid.north - (numpy.arange(grid.height) + 0.5) * grid.resolution,
        across: grid.west + (numpy.arange(grid.width) + 0.5) * grid.resolution,
        "spatial_ref": ((), 0, _spatial_ref(grid)),
        "product_id": ("time", [step.products for step in steps]),
    }
    if block.terms.offset == "keep":
        coordinates["boa_add_offset"] = ("time", numpy.array([step.offset for step in steps], "int16"))
    if any(cover is not None for cover in covers):
        coordinates["cloud_cover"] = ("time", [numpy.nan if cover is None else cover for cover in covers])
    told = {"grid_mapping": "spatial_ref", "nodata": block.terms.nodata}
    variables = {
        name: (("time", down, across), array if dtype is None else array.astype(dtype), told)
        for name, array in arrays.items()
    }
    made = xarray.Dataset(variables, coordinates, {"offset": block.terms.offset})
    if failed:
        made.attrs["failed"] = list(failed)
        for one in failed:
            warnings.warn(f"no data of {one}", VsitlmWarning, stacklevel=3)
    return made
