"""The arrays and groups of a store: their metadata, and which chunk is which window of which file."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._area import Area, bounds_in
from .._errors import CubeError
from ._catalogue import REFLECTANCES
from ._chunks import Offset, Source, Variable
from ._grid import Grid
from ._series import Catalogue, File, Step
from ._tiff import Stored

LARGEST_CHUNK = 2048
"""Rows and columns of an area that is one chunk a date; a larger one has chunks as the files have tiles."""

LEAST_ROWS = 512
"""Rows of a chunk of a TIFF in strips of fewer, about: a strip may be of one row."""

CONVENTIONS = [
    {
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "name": name,
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/geo-proj/refs/tags/v1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/geo-proj/blob/v1/README.md",
        "description": "Coordinate reference system information for geospatial data",
    }
    for name in ("proj:", "proj")
] + [
    {
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "name": name,
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
        "description": "Spatial coordinate information",
    }
    for name in ("spatial:", "spatial")
]
"""Readers look for them under either name."""

MULTISCALES = {
    "uuid": "d35379db-88df-4056-af3a-620245f8e347",
    "name": "multiscales",
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/multiscales/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/multiscales/blob/v1/README.md",
    "description": "Multiscale layout of groups",
}


@dataclass(frozen=True)
class Layout:
    """What a store has."""

    documents: dict[str, bytes] = field(default_factory=dict)
    """What is the same for all: metadata and coordinates, by key."""
    variables: dict[str, Variable] = field(default_factory=dict)
    """Arrays that are decoded as they are read, by path."""


@dataclass(frozen=True)
class Terms:
    """What is the same for all groups of a store. See `store`."""

    area: Area | None = None
    chunk: int | None = None
    offset: Offset = "keep"
    of_tiles: bool = False
    """Whether chunks are the bytes of files' tiles, which their readers decode."""


@dataclass(frozen=True)
class Wanted:
    """The files that a variable is made of."""

    band: str
    own: int | None = None
    """Those of this resolution, in metres; None are those that hold the variable's for the fewest bytes."""


def flat(catalogue: Catalogue, bands: Sequence[str] | str | None, resolution: int | None, terms: Terms) -> Layout:
    """One group of variables, all on one grid; `resolution` None is the coarsest of the bands' own.

    Raises:
        CubeError: A band or resolution that there is not, or an area outside the tile.
    """
    bands = bands_of(catalogue, bands)
    resolution = resolution or max(min(catalogue.resolutions(band)) for band in bands)
    for band in bands:
        if resolution not in (there := catalogue.resolutions(band)):
            has = ", ".join(map(str, there))
            raise CubeError(
                f"band {band} is not there at {resolution} m: it is at {has} m, its own and their powers of two"
            )
    made = Layout()
    add(made, "", catalogue, {band: Wanted(band) for band in bands}, resolution, terms)
    return consolidated(made)


def bands_of(catalogue: Catalogue, bands: Sequence[str] | str | None) -> list[str]:
    """The bands that are asked for; all that are of one component where None."""
    if bands is None:
        return [band for band in catalogue.bands if catalogue.components(band) == 1]
    several = [bands] if isinstance(bands, str) else list(bands)
    for band in several:
        if band not in catalogue.bands:
            raise CubeError(f"tile {catalogue.tile} has no band {band}: it has {', '.join(catalogue.bands)}")
        if (count := catalogue.components(band)) != 1:
            raise CubeError(f"band {band} is no array of time, rows and columns: its files have {count} components")
    return several


def shown(whole: Grid, terms: Terms) -> tuple[tuple[int, int, int, int], Grid]:
    """The pixels of an image that are shown, and where they lie."""
    window = (0, 0, whole.width, whole.height)
    if terms.area is not None:
        window = whole.touched(bounds_in(terms.area, whole.epsg))
    return window, whole.window(*window)


def add(
    made: Layout, group: str, catalogue: Catalogue, names: Mapping[str, Wanted], resolution: int, terms: Terms
) -> Grid:
    """Puts a group of variables, by their names, into `made`, and gives where they lie.

    Raises:
        CubeError: Their files are not of one grid at the resolution, or lack it.
        UndecodedError: The core does not decode one of them.
    """
    sources = {name: _sources(catalogue, wanted, resolution, terms) for name, wanted in names.items()}
    window, grid = shown(_grid(catalogue, sources, resolution), terms)
    metadata = _coordinates(made, group, catalogue.steps, grid, terms.offset)
    # CF's way to say which variables are coordinates of others.
    coordinates = " ".join(name for name in metadata if name not in ("x", "y", "time"))
    for name, wanted in names.items():
        variable = _variable(wanted.band, sources[name], window, terms)
        made.variables[f"{group}{name}"] = variable
        attributes = georeferenced(grid) | {"long_name": wanted.band}
        attributes |= {"grid_mapping": "spatial_ref", "coordinates": coordinates}
        codec = _codec(wanted.band, variable) if terms.of_tiles else None
        chunk = (1, *variable.chunk)
        metadata[name] = _array(variable.shape, chunk, variable.dtype, attributes, ["time", "y", "x"], codec)
    told = {"Conventions": "CF-1.10", "mgrs_tile": catalogue.tile, "offset": terms.offset}
    put_group(made, group, metadata, georeferenced(grid) | told)
    return grid


def _sources(catalogue: Catalogue, wanted: Wanted, resolution: int, terms: Terms) -> tuple[tuple[Source, ...], ...]:
    """The files of an array, for each time."""
    band, sources = wanted.band, []
    for step in catalogue.steps:
        shift = 0
        if terms.offset == "harmonise" and band in REFLECTANCES and band in step.files:
            if step.offset is None:
                raise CubeError(f"which offset the values of {step.name} have is not known: take offset='keep'")
            shift = step.offset
        of_step = []
        for product in step.files.get(band, ()):
            file = _file(product, resolution, wanted.own)
            if file is not None:
                of_step.append(Source(_checked(file), resolution // file.resolution, shift))
            elif wanted.own is None:
                has = ", ".join(str(each) for file in product for each in file.resolutions)
                raise CubeError(f"{product[0].url} does not hold {resolution} m: it has {has} m")
        sources.append(tuple(of_step))
    return tuple(sources)


def _checked(file: File) -> File:
    """A file, as far as a cube can have its pixels."""
    coding = file.coding
    if isinstance(coding, Stored):
        if (refused := coding.why_refused()) is not None:
            raise type(refused)(f"{file.url}: {refused}")
        # In a cube 0 says that there is no data.
        if coding.nodata is not None and float(coding.nodata) != 0:
            raise CubeError(f"{file.url} has {coding.nodata} where there is no data: a cube has 0")
    return file


def _grid(catalogue: Catalogue, sources: Mapping[str, Sequence[Sequence[Source]]], resolution: int) -> Grid:
    """The one grid of a group's files at its resolution."""
    files = {source.file.coding: source.file for times in sources.values() for time in times for source in time}
    grids = {file.grid(catalogue.grid, resolution): file for file in files.values()}
    if len(grids) > 1:
        (one, first), (other, second) = list(grids.items())[:2]
        raise CubeError(
            f"files are not of one grid at {resolution} m: {first.url} has {one.width} x {one.height} px of "
            f"{one.pixel} m, {second.url} has {other.width} x {other.height} px of {other.pixel} m"
        )
    return next(iter(grids))


def _variable(
    band: str, sources: tuple[tuple[Source, ...], ...], window: tuple[int, int, int, int], terms: Terms
) -> Variable:
    """An array of a band."""
    dtypes = {source.file.coding.dtype for of_step in sources for source in of_step}
    if len(dtypes) != 1:
        raise CubeError(f"the files of band {band} have several types of samples: {', '.join(sorted(dtypes))}")
    first = next(source for of_step in sources for source in of_step)
    coding = first.file.coding
    wide, high = coding.tile_at(first.overview)
    if terms.of_tiles:
        size = (high, wide)
    elif terms.chunk is not None:
        size = (terms.chunk, terms.chunk)
    elif terms.area is not None and max(window[2:]) <= LARGEST_CHUNK:
        size = (window[3], window[2])
    else:
        if isinstance(coding, Stored) and wide >= coding.size_at(first.overview)[0]:
            high = max(high, LEAST_ROWS // high * high)
        size = (min(high, window[3]), min(wide, window[2]))
    return Variable(dtypes.pop(), window, size, sources)


def _codec(band: str, variable: Variable) -> dict[str, Any]:
    """The codec of an array whose chunks are tiles.

    Raises:
        CubeError: The files are not coded alike, or their tiles are no chunks of one shape.
    """
    sources = [source for of_step in variable.sources for source in of_step]
    alike = {(source.file.template, source.file.coding, source.overview): source for source in sources}
    codecs = {json.dumps(source.file.codec(source.overview)): source for source in alike.values()}
    if len(codecs) != 1:
        raise CubeError(
            f"the files of band {band} are coded in {len(codecs)} ways: references have one; use vsitlm.store"
        )
    ((codec, source),) = codecs.items()
    if (found := json.loads(codec)) is None:
        wide, high = source.file.coding.tile_at(1)
        raise CubeError(
            f"tiles of {wide} x {high} px are no chunks of one shape at 1/{source.overview}: "
            "take another resolution, or vsitlm.store"
        )
    told: dict[str, Any] = found
    return told


def _file(files: Sequence[File], resolution: int, own: int | None) -> File | None:
    """Of a band's files the one that has a resolution for the fewest bytes: the coarsest, unless `own` says which."""
    fit = [file for file in files if resolution in file.resolutions and own in (None, file.resolution)]
    return max(fit, key=lambda file: file.resolution, default=None)


def _coordinates(made: Layout, group: str, steps: Sequence[Step], grid: Grid, offset: Offset) -> dict[str, Any]:
    """The coordinates of a group, whose values are put into `made`; gives their metadata."""
    wide, high = grid.pixel
    xs = [grid.west + (column + 0.5) * wide for column in range(grid.width)]
    ys = [grid.north - (row + 0.5) * high for row in range(grid.height)]
    seconds = [int(step.time.timestamp()) for step in steps]
    times = {"units": "seconds since 1970-01-01T00:00:00", "calendar": "proleptic_gregorian", "standard_name": "time"}
    across, down = ({"standard_name": f"projection_{axis}_coordinate", "units": "m"} for axis in "xy")
    coordinates: list[tuple[str, str, bytes, list[str], dict[str, Any]]] = [
        ("x", "float64", struct.pack(f"<{len(xs)}d", *xs), ["x"], across),
        ("y", "float64", struct.pack(f"<{len(ys)}d", *ys), ["y"], down),
        ("time", "int64", struct.pack(f"<{len(steps)}q", *seconds), ["time"], times),
        ("spatial_ref", "int64", struct.pack("<q", 0), [], spatial_ref(grid)),
        ("product_id", "string", _texts([step.name for step in steps]), ["time"], {}),
        ("processing_baseline", "string", _texts([step.baseline for step in steps]), ["time"], {}),
    ]
    if any(step.cloud_cover is not None for step in steps):
        known = [math.nan if step.cloud_cover is None else step.cloud_cover for step in steps]
        what = {"long_name": "cloud cover of the product", "units": "percent"}
        coordinates.append(("cloud_cover", "float64", struct.pack(f"<{len(steps)}d", *known), ["time"], what))
    known_offsets = [step.offset for step in steps if step.offset is not None]
    if offset == "keep" and len(known_offsets) == len(steps):
        offsets = struct.pack(f"<{len(steps)}h", *known_offsets)
        what = {"long_name": "what is to be added to reflectances, in digital numbers; 0 stays 0"}
        coordinates.append(("boa_add_offset", "int16", offsets, ["time"], what))
    metadata, sizes = {}, {"x": grid.width, "y": grid.height, "time": len(steps)}
    for name, dtype, values, dimensions, attributes in coordinates:
        shape = [sizes[dimension] for dimension in dimensions]
        metadata[name] = _array(shape, shape, dtype, attributes, dimensions)
        made.documents[f"{group}{name}/c" + "/0" * len(shape)] = values
    return metadata


def spatial_ref(grid: Grid) -> dict[str, Any]:
    """CF's grid mapping, with what GDAL and rioxarray add to it."""
    from pyproj import CRS

    a, b, c, d, e, f = grid.transform
    system = CRS.from_epsg(grid.epsg)
    mapping: dict[str, Any] = system.to_cf()
    return mapping | {"spatial_ref": system.to_wkt(), "GeoTransform": f"{c} {a} {b} {f} {d} {e}"}


def georeferenced(grid: Grid) -> dict[str, Any]:
    """Where a group or array lies, by the conventions of Zarr."""
    return {
        "zarr_conventions": CONVENTIONS,
        "proj:code": f"EPSG:{grid.epsg}",
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": list(grid.transform),
        "spatial:shape": [grid.height, grid.width],
        "spatial:bbox": list(grid.bounds),
        "spatial:registration": "pixel",
    }


def _texts(values: Sequence[str]) -> bytes:
    """Texts as the codec vlen-utf8 has them: how many, and each with its length."""
    encoded = [value.encode() for value in values]
    return struct.pack("<I", len(encoded)) + b"".join(struct.pack("<I", len(one)) + one for one in encoded)


def _array(
    shape: Sequence[int],
    chunk: Sequence[int],
    dtype: str,
    attributes: dict[str, Any],
    dimensions: list[str],
    codec: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The metadata of an array. No `_FillValue`: with one, xarray makes floats of it."""
    endian = {"endian": "little"} if dtype[-1] != "8" or dtype == "int8" else {}
    plain = {"name": "vlen-utf8"} if dtype == "string" else {"name": "bytes", "configuration": endian}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(side, 1) for side in chunk]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "" if dtype == "string" else 0,
        "codecs": [codec or plain],
        "attributes": attributes,
        "dimension_names": dimensions,
        "storage_transformers": [],
    }


def put_group(made: Layout, group: str, arrays: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Puts the metadata of a group and its arrays into `made`."""
    made.documents[f"{group}zarr.json"] = _json({"zarr_format": 3, "node_type": "group", "attributes": attributes})
    for name, metadata in arrays.items():
        made.documents[f"{group}{name}/zarr.json"] = _json(metadata)


def consolidated(made: Layout) -> Layout:
    """With the metadata of all groups and arrays in that of the root, so that readers need not list them."""
    end = "/zarr.json"
    below = {key.removesuffix(end): json.loads(text) for key, text in made.documents.items() if key.endswith(end)}
    root = json.loads(made.documents["zarr.json"])
    root["consolidated_metadata"] = {
        "kind": "inline",
        "must_understand": False,
        "metadata": dict(sorted(below.items())),
    }
    made.documents["zarr.json"] = _json(root)
    return made


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()
