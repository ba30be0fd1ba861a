"""Opening a cube: as a store of Zarr's, or as a Dataset of xarray's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .._area import Area
from .._errors import CubeError
from .._index import Index
from .._read import elsewhere
from ._catalogue import Span, catalogue
from ._chunks import Offset
from ._layout import Terms, flat
from ._series import FORMATS, Duplicates, Format
from ._tree import tree

if TYPE_CHECKING:
    import xarray

    from ._store import CubeStore

    AnyPath = str | os.PathLike[str]

CACHE_SIZE = str(128 << 20)
"""Bytes of the core's cache while a cube or an area is read, where nobody has set them: most tiles are read once."""


def store(
    index: AnyPath | Iterable[AnyPath],
    tile: str | None = None,
    bands: Sequence[str] | str | None = None,
    datetime: Span = None,
    area: Area | None = None,
    resolution: int | None = None,
    *,
    chunk: int | None = None,
    offset: Offset = "keep",
    duplicates: Duplicates = "newest",
    groupby: Literal["solar_day"] | None = None,
    masks: bool = False,
    level: str = "L2A",
    archive: str | None = None,
    formats: Sequence[Format] = FORMATS,
    **options: object,
) -> CubeStore:
    """A read-only Zarr store of a tile's time series. Opening it makes no request beyond reading the index.

    With a `resolution` it is one group (`xarray.open_zarr`), else a tree of groups as EOPF's products have them
    (`xarray.open_datatree`): `measurements/reflectance/r10m`, `r20m`, `r60m`, `conditions/mask/…`,
    `quality/atmosphere`, each with its levels. Bands are in lower case there.

    Args:
        index: Where the rows are, as in `VSITLM_INDEX`: files, or folders or prefixes of the partition layout.
        tile: The MGRS tile, such as `"31UDQ"`; needed where the index has several.
        bands: Which ones: `"B04"`, `"SCL"`, `"MSK_CLDPRB"`; all at the index's best resolutions where None.
        datetime: When: `"2024-05/2024-09"`, both ends included; a pair; or None for all.
        area: Bounds (west, south, east, north) in degrees or in the tile's reference system, or a geometry in degrees:
            the pixels that its bounds touch. None is the whole tile.
        resolution: Metres: a band's own, or that times a power of two that its files hold. None makes a tree.
        chunk: Rows and columns of a chunk. None is the file's tile; of an area of at most 2048 pixels it is a date.
        offset: `"keep"` leaves the digital numbers as they are, and tells what to add to reflectances as
            `boa_add_offset(time)`; `"harmonise"` adds it: by the processing baseline, never by the date. 0 stays 0, and
            what was valid becomes at least 1. Bands that are no reflectances are left as they are.
        duplicates: Of products of one datatake `"newest"` takes those of the newest baseline, `"all"` all, and
            `"error"` refuses them. Parts of a datatake are times of their own.
        groupby: `"solar_day"` makes one time of those of a day, by the sun: each pixel is the first that is not 0.
        masks: Whether the tree has detector footprints.
        level: `"L2A"` or `"L1C"`.
        archive: Where the files lie, by the names of their products, as in `VSITLM_STORE`; None: where their rows were
            made.
        formats: Of which files: JP2s, TIFFs, or both. Where a band of a product, or a datatake, is there in several,
            the first one counts.
        **options: Configuration options of GDAL's and of `/vsitlm/`.

    Raises:
        CubeError: What is asked for is not there: the message says what is.
        UndecodedError: A TIFF is compressed in a way that the core does not decode.
        IndexFileError: The index cannot be read, or lacks what a cube needs.
        ImportError: zarr, pyarrow or pyproj is missing.
    """
    from ._store import CubeStore

    if offset not in ("keep", "harmonise"):
        raise CubeError(f"offset is 'keep' or 'harmonise', not {offset!r}")
    rows = Index(index, **options)
    found = catalogue(
        rows, tile, datetime, level=level, store=archive, duplicates=duplicates, groupby=groupby, formats=formats
    )
    terms = Terms(area, chunk, offset)
    made = tree(found, bands, masks, terms) if resolution is None else flat(found, bands, resolution, terms)
    settings = elsewhere({"VSITLM_INDEX": ";".join(rows.paths), "VSITLM_STORE": archive, **options})
    return CubeStore(made, {**with_small_cache(), **settings})


def with_small_cache() -> dict[str, str]:
    """Options for what reads most tiles once; what is set elsewhere goes before."""
    return {} if "VSITLM_CACHE_SIZE" in os.environ else {"VSITLM_CACHE_SIZE": CACHE_SIZE}


def open_cube(
    index: AnyPath | Iterable[AnyPath],
    tile: str | None = None,
    bands: Sequence[str] | str | None = None,
    datetime: Span = None,
    area: Area | None = None,
    resolution: int | None = None,
    *,
    chunks: Any = None,
    **more: Any,
) -> xarray.Dataset:
    """A tile's time series as a lazy Dataset: a variable (time, y, x) for each band.

    Args:
        index: See `store`.
        tile: See `store`.
        bands: See `store`.
        datetime: See `store`.
        area: See `store`.
        resolution: See `store`; None is the coarsest of the bands' own.
        chunks: `{}` gives dask arrays, whose chunks are those of the store; None arrays that are read when used.
        **more: See `store`.

    Raises:
        CubeError: What is asked for is not there: the message says what is.
        ImportError: xarray, or what `store` needs, is missing.
    """
    try:
        import xarray
    except ImportError as error:
        raise ImportError("a cube needs xarray: pip install 'vsitlm[zarr]'") from error
    # 0 stands for the coarsest of the bands' own.
    made = store(index, tile, bands, datetime, area, resolution or 0, **more)
    return xarray.open_zarr(made, chunks=chunks, consolidated=True)


def reflectance(dataset: xarray.Dataset) -> xarray.Dataset:
    """The reflectances of a cube, as 32-bit floats, with NaN where there is no data. What is no reflectance stays.

    Raises:
        CubeError: It is no cube: it tells neither offsets nor that there are none.
    """
    from ._catalogue import REFLECTANCES

    offset = dataset.coords.get("boa_add_offset")
    if offset is None and dataset.attrs.get("offset") != "harmonise":
        raise CubeError("the dataset has no boa_add_offset(time): is it one of open_cube?")
    made = dataset.copy()
    for name in [name for name in dataset.data_vars if name in REFLECTANCES]:
        values = dataset[name]
        shifted = values.astype("float32") + (0 if offset is None else offset.astype("float32"))
        made[name] = (shifted / 10000).where(values != 0).assign_attrs(values.attrs | {"units": "1"})
    return made
