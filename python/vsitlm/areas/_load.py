"""Loading: the files of a search as a Dataset, on one grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._area import Area
from .._errors import CubeError
from ..cube._catalogue import Span
from ..cube._chunks import Offset
from ..cube._layout import spatial_ref
from ._block import Block, Terms, warn_of
from ._masks import SCL_KEPT, masks_of
from ._plan import planned
from ._steps import GroupBy

if TYPE_CHECKING:
    import xarray


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
    mask: str | Sequence[str] | None = None,
    keep: Sequence[int] = SCL_KEPT,
    clouds: float = 50,
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
        groupby: `"solar_day"`, `"time"`, or None or `"id"`, by which each product is a time. Products of unlike offsets
            are never one.
        chunks: Such as `{"time": 1, "y": 2048, "x": 2048}`: dask arrays, which are read when they are used. None reads
            now.
        dtype: Of all variables; the files' own where None.
        nodata: What stands for no data in the result, such as NaN where `dtype` is one of floats; it is 0 in the files.
        offset: `"keep"` or `"harmonise"`, see `store`.
        mask: What becomes no data: by `"scl"` pixels whose class is none of `keep`, by `"cloud_probability"` those of
            more than `clouds`, by `"saturated"` those whose number is 65535, and by `"qa_pixel"` those that Landsat
            calls fill, cloud, cirrus or shadow; or several of these.
        keep: Classes of SCL.
        clouds: Percent, of the product's cloud probability (MSK_CLDPRB).
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
    terms = Terms(resampling, offset, masks_of(mask, keep, clouds), fail_on_error, options)
    plan = planned(found, bands, area, datetime, terms, groupby)
    block, failed = plan.block(resolution, crs), list(plan.failed)
    types = {name: _type(name, block.dtype(band), dtype, nodata) for name, band in block.bands.items()}
    if chunks is None:
        _check_size(block)
        arrays = block.load(failed, progress)
    else:
        arrays = block.lazy(chunks)
    shown = {name: _shown(array, types[name], nodata) for name, array in arrays.items()}
    warn_of(failed)
    return _dataset(shown, block, nodata, failed)


def _type(name: str, own: str, dtype: Any, nodata: float) -> Any:
    """The type of a variable.

    Raises:
        CubeError: It does not have the number for no data.
    """
    import numpy

    made = numpy.dtype(own if dtype is None else dtype)
    is_there = made.kind == "f" or (
        float(nodata).is_integer() and numpy.iinfo(made).min <= nodata <= numpy.iinfo(made).max
    )
    if not is_there:
        raise CubeError(f"{name} is of {made}, which has no {nodata} for no data: name a dtype that has")
    return made


def _shown(array: Any, dtype: Any, nodata: float) -> Any:
    """An array, of numpy or dask, in the type and with the number for no data that are wanted."""
    import numpy

    made = array.astype(dtype, copy=False)
    if nodata == 0:
        return made
    if isinstance(array, numpy.ndarray):
        return numpy.where(array == 0, dtype.type(nodata), made)
    return array.map_blocks(_shown, dtype, nodata, dtype=dtype)


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


def _dataset(arrays: Mapping[str, Any], block: Block, nodata: float, failed: Sequence[str]) -> xarray.Dataset:
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
        "spatial_ref": ((), 0, spatial_ref(grid)),
        "product_id": ("time", [step.products for step in steps]),
    }
    if block.terms.offset == "keep":
        coordinates["boa_add_offset"] = ("time", numpy.array([step.offset for step in steps], "int16"))
    if any(cover is not None for cover in covers):
        coordinates["cloud_cover"] = ("time", [numpy.nan if cover is None else cover for cover in covers])
    told = {"grid_mapping": "spatial_ref", "nodata": nodata}
    variables = {name: (("time", down, across), array, told) for name, array in arrays.items()}
    made = xarray.Dataset(variables, coordinates, {"offset": block.terms.offset})
    if failed:
        made.attrs["failed"] = list(failed)
    return made
