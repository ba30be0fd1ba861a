"""References for readers that have no store of ours: kerchunk's JSON, in Zarr's format 2, of tile-parts as chunks."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from .. import _core
from .._errors import CubeError
from .._index import Index
from .._read import elsewhere
from ._catalogue import Catalogue, Duplicates, File, Span, catalogue
from ._layout import Terms, flat
from ._tile import CODEC

DTYPES = {"uint8": "|u1", "uint16": "<u2", "int16": "<i2", "int64": "<i8", "float64": "<f8", "string": "|O"}
"""Types as format 2 has them."""


def kerchunk(
    index: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    tile: str | None = None,
    bands: Sequence[str] | str | None = None,
    datetime: Span = None,
    *,
    duplicates: Duplicates = "newest",
    level: str = "L2A",
    **options: object,
) -> dict[str, Any]:
    """A cube of references to the files where their rows were made, as kerchunk writes them: for `json.dump`.

    Its readers need the codec `vsitlm.jp2_tile`, which is registered where this package is installed, and nothing else
    of it. A chunk is a tile of a JP2. Values are the digital numbers, with `boa_add_offset(time)`. Open it with
    `mask_and_scale=False`: from a fill value of format 2 xarray makes floats.

    Args:
        index: See `store`.
        tile: See `store`.
        bands: See `store`; all of one resolution.
        datetime: See `store`.
        duplicates: See `store`.
        level: See `store`.
        **options: Configuration options of GDAL's and of `/vsitlm/`.

    Raises:
        CubeError: What is asked for is not there, or the files of a band are coded in unlike ways.
    """
    paths = Index(index).paths
    found = catalogue(paths, tile, datetime, level=level, duplicates=duplicates)
    made = flat(found, bands, None, Terms(None, None, "keep"))
    settings = elsewhere({"VSITLM_INDEX": ";".join(paths), **options})
    refs: dict[str, Any] = {}
    end = "/zarr.json"
    root = json.loads(made.documents["zarr.json"])
    refs[".zgroup"] = json.dumps({"zarr_format": 2})
    refs[".zattrs"] = json.dumps(root["attributes"])
    for key, text in made.documents.items():
        if not key.endswith(end):
            continue
        name, array = key.removesuffix(end), json.loads(text)
        chunk = array["chunk_grid"]["configuration"]["chunk_shape"]
        filters: list[dict[str, Any]] | None = None
        if array["data_type"] == "string":
            filters = [{"id": "vlen-utf8"}]
        if name in made.variables:
            files = _files(found, name)
            template, tile_shape = _template(name, files)
            chunk, filters = [1, *tile_shape], [{"id": CODEC, "header": template, "reduce": 0}]
            for time, file in files:
                refs |= _chunks(name, time, file, settings)
        else:
            data = made.documents[f"{name}/c" + "/0" * len(array["shape"])]
            refs[f"{name}/{'.'.join(['0'] * max(len(array['shape']), 1))}"] = (
                f"base64:{base64.b64encode(data).decode()}"
            )
        refs[f"{name}/.zarray"] = json.dumps(
            {
                "zarr_format": 2,
                "shape": array["shape"],
                "chunks": chunk,
                "dtype": DTYPES[array["data_type"]],
                "fill_value": array["fill_value"] if name in made.variables else None,
                "order": "C",
                "compressor": None,
                "filters": filters,
            }
        )
        refs[f"{name}/.zattrs"] = json.dumps({**array["attributes"], "_ARRAY_DIMENSIONS": array["dimension_names"]})
    return {"version": 1, "refs": refs}


def _files(found: Catalogue, band: str) -> list[tuple[int, File]]:
    """A band's files at its own resolution, each with the number of its time."""
    own = found.own(band)[0]
    files = []
    for time, step in enumerate(found.steps):
        for product in step.files.get(band, ()):
            files += [(time, file) for file in product if file.resolution == own]
    return files


def _template(band: str, files: Sequence[tuple[int, File]]) -> tuple[str, list[int]]:
    """The one header template of a band's files, and rows and columns of their tiles.

    Raises:
        CubeError: They are not coded alike.
    """
    templates = {file.template for _, file in files}
    if len(templates) != 1:
        raise CubeError(
            f"the files of band {band} are coded in {len(templates)} ways: references have one; use vsitlm.store"
        )
    across, down = files[0][1].coding.tile
    return templates.pop(), [down, across]


def _chunks(name: str, time: int, file: File, settings: dict[str, str]) -> dict[str, Any]:
    """The references of a file's tiles."""
    across = -(-file.coding.width // file.coding.tile[0])
    tiles: dict[int, list[tuple[int, int]]] = {}
    for tile, offset, length in _core.ask("parts", file.path, settings)["parts"]:
        tiles.setdefault(tile, []).append((offset, length))
    refs = {}
    for tile, parts in tiles.items():
        start, end = parts[0][0], parts[-1][0] + parts[-1][1]
        if sum(length for _, length in parts) != end - start:
            raise CubeError(f"{file.path}: the tile-parts of tile {tile} do not follow one another")
        refs[f"{name}/{time}.{tile // across}.{tile % across}"] = [file.url, start, end - start]
    return refs
