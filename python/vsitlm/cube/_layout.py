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
from ._catalogue import REFLECTANCES, Catalogue, File, Step
from ._chunks import Offset, Source, Variable
from ._grid import Grid
from ._header import Coding
from ._tile import CODEC

LARGEST_CHUNK = 2048
"""Rows and columns of an area that is one chunk a date; a larger one has chunks as the files have tiles."""

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
    bands = _bands(catalogue, bands)
    resolution = resolution or max(min(catalogue.resolutions(band)) for band in bands)
    for band in bands:
        if resolution not in (there := catalogue.resolutions(band)):
            has = ", ".join(map(str, there))
            raise CubeError(
                f"band {band} is not there at {resolution} m: it is at {has} m, its own and their powers of two"
            )
    made = Layout()
    _add(made, "", catalogue, {band: Wanted(band) for band in bands}, resolution, terms)
    return consolidated(made)


def _bands(catalogue: Catalogue, bands: Sequence[str] | str | None) -> list[str]:
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


REFLECTANCE = "measurements/reflectance"


def tree(catalogue: Catalogue, bands: Sequence[str] | str | None, masks: bool, terms: Terms) -> Layout:
    """Groups as EOPF's products have them, and below them the powers of two that the files hold: those of the bands of
    20 and 60 m beside them (`r40m`, `r120m`), those of the bands of 10 m in a group of their own. Levels at a third
    (`r360m`) no JP2 holds.

    Raises:
        CubeError: A band that there is not, or an area outside the tile.
    """
    groups: dict[tuple[str, int], dict[str, Wanted]] = {}
    for band in _bands(catalogue, bands):
        group, name = _place_of(band)
        if group is None or (band.startswith("MSK_DETFOO") and not masks):
            continue
        for own in catalogue.own(band):
            for resolution in _levels(catalogue, band, own, terms):
                of_level = f"{group}_10m" if (group, own) == (REFLECTANCE, 10) and resolution > own else group
                # Of several files the coarsest, which comes last.
                groups.setdefault((of_level, resolution), {})[name] = Wanted(band, own)
    scales: dict[str, list[int]] = {}
    for group, resolution in sorted(groups):
        scales.setdefault(group, []).append(resolution)
    made = Layout()
    for (group, resolution), names in sorted(groups.items()):
        _add(made, f"{group}/r{resolution}m/", catalogue, names, resolution, terms)
    for group, levels in scales.items():
        _scales(made, group, levels, catalogue, terms)
    for path in {parent for group in scales for parent in _parents(group)} - scales.keys():
        _group(made, f"{path}/" if path else "", {}, {} if path else _of_root(catalogue, terms))
    return consolidated(made)


def _of_root(catalogue: Catalogue, terms: Terms) -> dict[str, Any]:
    """The attributes of a tree: where all of it lies."""
    finest = _georeferenced(_window(catalogue, round(catalogue.grid.resolution), terms)[1])
    kept = {name: finest[name] for name in ("zarr_conventions", "proj:code", "spatial:bbox")}
    return kept | {"Conventions": "CF-1.10", "mgrs_tile": catalogue.tile, "offset": terms.offset}


def _levels(catalogue: Catalogue, band: str, own: int, terms: Terms) -> list[int]:
    """The resolutions of a band's files that a tree shows."""
    levels = catalogue.levels(band, own)
    if not terms.of_tiles:
        return levels
    codings = {file.coding for step in catalogue.steps for file in step.of(band) if file.resolution == own}
    return [level for level in levels if all(_is_regular(coding, level // own) for coding in codings)]


def _is_regular(coding: Coding, factor: int) -> bool:
    """Whether the tiles of an image at 1/factor are chunks of one shape: all of them but those of its edge."""
    begins_with_a_tile = coding.origin == coding.tile_origin and all(side % factor == 0 for side in coding.origin)
    is_one = coding.tile[0] >= coding.width and coding.tile[1] >= coding.height
    return begins_with_a_tile and (is_one or all(side % factor == 0 for side in coding.tile))


def _parents(group: str) -> list[str]:
    """The groups that a group is in."""
    parts = group.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts))]


def _place_of(band: str) -> tuple[str | None, str]:
    """The group of a band in EOPF's layout, and its name there; no group for what has no place."""
    if band in REFLECTANCES:
        return REFLECTANCE, band.lower()
    for prefix, group in (("MSK_DETFOO_", "detector_footprint"), ("MSK_QUALIT_", "quality")):
        if band.startswith(prefix):
            return f"conditions/mask/{group}", band.removeprefix(prefix).lower()
    return {
        "SCL": ("conditions/mask/l2a_classification", "scl"),
        "MSK_CLDPRB": ("conditions/mask/probability", "cld"),
        "MSK_SNWPRB": ("conditions/mask/probability", "snw"),
        "AOT": ("quality/atmosphere", "aot"),
        "WVP": ("quality/atmosphere", "wvp"),
    }.get(band, (None, band))


def _scales(made: Layout, group: str, levels: Sequence[int], catalogue: Catalogue, terms: Terms) -> None:
    """Puts a group of levels into `made`, with what says how they follow from each other."""
    entries = []
    for resolution in levels:
        grid = _window(catalogue, resolution, terms)[1]
        entry: dict[str, Any] = {"asset": f"r{resolution}m", "spatial:shape": [grid.height, grid.width]}
        entry["spatial:transform"] = list(grid.transform)
        # That of 20 m has other bands than that of 10 m.
        if resolution // 2 in levels and (group, resolution) != (REFLECTANCE, 20):
            # GDAL's convention: the first pixel of a level begins where the image does.
            finer = {"scale": [2.0, 2.0], "translation": [0.0, 0.0]}
            entry |= {"derived_from": f"r{resolution // 2}m", "transform": finer}
        entries.append(entry)
    finest = _window(catalogue, levels[0], terms)[1]
    attributes = _georeferenced(finest)
    attributes |= {"zarr_conventions": [*CONVENTIONS, MULTISCALES], "multiscales": {"layout": entries}}
    _group(made, f"{group}/", {}, attributes)


def _window(catalogue: Catalogue, resolution: int, terms: Terms) -> tuple[tuple[int, int, int, int], Grid]:
    """The pixels at a resolution that are shown, and where they lie."""
    whole = catalogue.grid.coarser(resolution)
    window = (0, 0, whole.width, whole.height)
    if terms.area is not None:
        window = whole.touched(bounds_in(terms.area, whole.epsg))
    return window, whole.window(*window)


def _add(
    made: Layout, group: str, catalogue: Catalogue, names: Mapping[str, Wanted], resolution: int, terms: Terms
) -> None:
    """Puts a group of variables, by their names, into `made`."""
    window, grid = _window(catalogue, resolution, terms)
    metadata = _coordinates(made, group, catalogue.steps, grid, terms.offset)
    # CF's way to say which variables are coordinates of others.
    coordinates = " ".join(name for name in metadata if name not in ("x", "y", "time"))
    for name, wanted in names.items():
        variable = _variable(catalogue, wanted, resolution, window, terms)
        made.variables[f"{group}{name}"] = variable
        attributes = _georeferenced(grid) | {"long_name": wanted.band}
        attributes |= {"grid_mapping": "spatial_ref", "coordinates": coordinates}
        codec = _codec(wanted.band, variable) if terms.of_tiles else None
        chunk = (1, *variable.chunk)
        metadata[name] = _array(variable.shape, chunk, variable.dtype, attributes, ["time", "y", "x"], codec)
    told = {"Conventions": "CF-1.10", "mgrs_tile": catalogue.tile, "offset": terms.offset}
    _group(made, group, metadata, _georeferenced(grid) | told)


def _variable(
    catalogue: Catalogue,
    wanted: Wanted,
    resolution: int,
    window: tuple[int, int, int, int],
    terms: Terms,
) -> Variable:
    """An array of a band at a resolution."""
    band = wanted.band
    sources, dtypes = [], set()
    for step in catalogue.steps:
        of_step = []
        for product in step.files.get(band, ()):
            file = _file(product, resolution, wanted.own)
            if file is None:
                continue
            dtypes.add(file.coding.dtype)
            shift = step.offset if terms.offset == "harmonise" and band in REFLECTANCES else 0
            of_step.append(Source(file, resolution // file.resolution, shift))
        sources.append(tuple(of_step))
    if len(dtypes) != 1:
        raise CubeError(f"the files of band {band} have several types of samples: {', '.join(sorted(dtypes))}")
    (dtype,) = dtypes
    first = next(source for of_step in sources for source in of_step)
    tile = [-(-side // first.overview) for side in first.file.coding.tile]
    if terms.of_tiles:
        size = (tile[1], tile[0])
    elif terms.chunk is not None:
        size = (terms.chunk, terms.chunk)
    elif terms.area is not None and max(window[2:]) <= LARGEST_CHUNK:
        size = (window[3], window[2])
    else:
        size = (min(tile[1], window[3]), min(tile[0], window[2]))
    return Variable(dtype, window, size, tuple(sources))


def _codec(band: str, variable: Variable) -> dict[str, Any]:
    """The codec of an array whose chunks are tiles.

    Raises:
        CubeError: The files are not coded alike, or their tiles are no chunks of one shape.
    """
    sources = [source for of_step in variable.sources for source in of_step]
    ways = {(source.file.template, source.overview) for source in sources}
    if len(ways) != 1:
        raise CubeError(
            f"the files of band {band} are coded in {len(ways)} ways: references have one; use vsitlm.store"
        )
    ((template, overview),) = ways
    coding = sources[0].file.coding
    if not _is_regular(coding, overview):
        wide, high = coding.tile
        raise CubeError(
            f"tiles of {wide} x {high} px are no chunks of one shape at 1/{overview}: "
            "take another resolution, or vsitlm.store"
        )
    return {"name": CODEC, "configuration": {"header": template, "reduce": overview.bit_length() - 1}}


def _file(files: Sequence[File], resolution: int, own: int | None) -> File | None:
    """Of a band's files the one that has a resolution for the fewest bytes: the coarsest, unless `own` says which."""
    fit = [file for file in files if resolution in file.resolutions and own in (None, file.resolution)]
    return max(fit, key=lambda file: file.resolution, default=None)


def _coordinates(made: Layout, group: str, steps: Sequence[Step], grid: Grid, offset: Offset) -> dict[str, Any]:
    """The coordinates of a group, whose values are put into `made`; gives their metadata."""
    xs = [grid.west + (column + 0.5) * grid.resolution for column in range(grid.width)]
    ys = [grid.north - (row + 0.5) * grid.resolution for row in range(grid.height)]
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
    if offset == "keep":
        offsets = struct.pack(f"<{len(steps)}h", *(step.offset for step in steps))
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


def _georeferenced(grid: Grid) -> dict[str, Any]:
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


def _group(made: Layout, group: str, arrays: dict[str, Any], attributes: dict[str, Any]) -> None:
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
