"""What an exported cube is, and whether it is sound."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ._export import Format, format_of, open_store, read
from ._references import END, References, places

AT_ONCE = 16
"""Files that are looked at at a time."""


@dataclass(frozen=True)
class Described:
    """What an exported cube is."""

    format: Format
    tile: str
    times: tuple[str, ...]
    """ISO 8601, UTC."""
    arrays: dict[str, dict[str, Any]]
    """Of each array of a band its shape, the shape of its chunks, its type, how often it is halved, and how many chunks
    it has."""
    files: int
    """Files that chunks lie in."""
    bytes: int
    """Bytes of all chunks."""


def describe(out: str, options: Mapping[str, str]) -> Described:
    """What an exported cube is.

    Raises:
        CubeError: There is none.
    """
    import datetime as dt

    made = read(out, options)
    arrays = made.arrays
    told = {
        path: {
            "shape": arrays[path]["shape"],
            "chunks": arrays[path]["chunk_grid"]["configuration"]["chunk_shape"],
            "dtype": arrays[path]["data_type"],
            "reduce": (made.codec(path) or {}).get("reduce", 0),
            "references": len(chunks),
        }
        for path, chunks in sorted(made.chunks.items())
    }
    times = [dt.datetime.fromtimestamp(stamp.seconds, dt.timezone.utc) for stamp in made.steps]
    attributes = json.loads(made.documents["zarr.json"])["attributes"]
    return Described(
        format_of(out), attributes.get("mgrs_tile", ""), tuple(f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in times), told,
        len({chunk.url for _, _, chunk in places(made)}), sum(chunk.length for _, _, chunk in places(made)),
    )  # fmt: skip


def faults(out: str, options: Mapping[str, str]) -> list[str]:
    """What is wrong with an exported cube: its metadata by the conventions of GeoZarr, ranges that end outside files,
    files that have changed, where the format knows their state, and a chunk of each array that cannot be decoded.

    Raises:
        CubeError: There is none.
    """
    from zarr.core.sync import sync

    made, store = read(out, options), open_store(out, options)
    found = list(_metadata(made))
    found += sync(_ends(made, store, format_of(out)))
    return found + list(_samples(made, store))


def _metadata(made: References) -> Iterator[str]:
    """What the metadata lack, by the conventions that they declare."""
    nodes = {
        key.removesuffix("zarr.json").rstrip("/"): json.loads(text)
        for key, text in made.documents.items()
        if key == "zarr.json" or key.endswith(END)
    }
    for path in made.chunks:
        node, group = nodes[path], nodes.get(path.rpartition("/")[0], {})
        attributes, siblings = node["attributes"], path.rpartition("/")[0]
        if node["dimension_names"] != ["time", "y", "x"]:
            yield f"{path}: its dimensions are {node['dimension_names']}, not time, y, x"
            continue
        for at, of in ((attributes, path), (group.get("attributes", {}), siblings or "the root")):
            yield from _georeference(at, of, node["shape"])
        grid_mapping = f"{siblings}/{attributes.get('grid_mapping')}".lstrip("/")
        if "crs_wkt" not in nodes.get(grid_mapping, {}).get("attributes", {}):
            yield f"{path}: there is no grid mapping {grid_mapping}"
        for name, size in zip(("time", "y", "x"), node["shape"], strict=True):
            coordinate = nodes.get(f"{siblings}/{name}".lstrip("/"))
            if coordinate is None or coordinate["shape"] != [size]:
                yield f"{path}: its coordinate {name} has not its size, {size}"
    for path, node in nodes.items():
        for entry in node["attributes"].get("multiscales", {}).get("layout", []):
            asset = f"{path}/{entry['asset']}".lstrip("/")
            if asset not in nodes:
                yield f"{path}: its level {entry['asset']} is not there"
            elif nodes[asset]["attributes"].get("spatial:shape") != entry["spatial:shape"]:
                yield f"{path}: its level {entry['asset']} has not the shape that is told"


def _georeference(attributes: Mapping[str, Any], of: str, shape: list[int]) -> Iterator[str]:
    """What is wrong with where a group or array says that it lies."""
    names = {convention.get("name") for convention in attributes.get("zarr_conventions", [])}
    if not {"proj:", "spatial:"} <= names:
        yield f"{of}: it does not declare the conventions proj: and spatial:"
    if not str(attributes.get("proj:code", "")).startswith("EPSG:"):
        yield f"{of}: it has no proj:code"
    transform, bounds = attributes.get("spatial:transform"), attributes.get("spatial:bbox")
    if not transform or not bounds or attributes.get("spatial:shape") != shape[1:]:
        yield f"{of}: its spatial:transform, spatial:shape or spatial:bbox is missing, or not that of its arrays"
        return
    a, _, c, _, e, f = transform
    if bounds != [c, f + e * shape[1], c + a * shape[2], f]:
        yield f"{of}: its spatial:bbox is not what its transform and shape give"


async def _ends(made: References, store: Any, format: Format) -> list[str]:
    """Files of which the last byte that is referenced cannot be had."""
    from zarr.abc.store import RangeByteRequest
    from zarr.core.buffer import default_buffer_prototype

    farthest: dict[str, tuple[str, Any]] = {}
    for path, place, chunk in places(made):
        known = farthest.get(chunk.url)
        if known is None or chunk.offset + chunk.length > known[1].offset + known[1].length:
            separator, before = ("/", "c/") if format == "icechunk" else (".", "")
            farthest[chunk.url] = (f"{path}/{before}{separator.join(map(str, place))}", chunk)
    room = asyncio.Semaphore(AT_ONCE)

    async def look(url: str, key: str, length: int) -> str | None:
        last = RangeByteRequest(length - 1, length)
        async with room:
            try:
                data = await store.get(key, default_buffer_prototype(), byte_range=last)
            except Exception as error:  # each library has its own
                return f"{url}: {str(error).strip().splitlines()[0] if str(error) else type(error).__name__}"
        return None if data is not None and len(data) == 1 else f"{url}: it ends before byte {length} of {key}"

    looked = [look(url, key, chunk.length) for url, (key, chunk) in farthest.items()]
    return [fault for fault in await asyncio.gather(*looked) if fault]


def _samples(made: References, store: Any) -> Iterator[str]:
    """Arrays of which a chunk cannot be decoded."""
    import zarr

    group = zarr.open_group(store, mode="r")
    for path, chunks in made.chunks.items():
        if not chunks:
            continue
        array = group[path]
        time, row, column = sorted(chunks)[len(chunks) // 2]
        _, high, wide = array.chunks
        try:
            array[time, row * high : (row + 1) * high, column * wide : (column + 1) * wide]
        except Exception as error:  # each library has its own
            yield f"{path}: chunk {time}, {row}, {column} cannot be read: {str(error).strip().splitlines()[0]}"
