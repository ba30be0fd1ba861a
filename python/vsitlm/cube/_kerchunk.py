"""References as kerchunk has them: Zarr's format 2, in a JSON file, or in a folder of parquet files."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from .._errors import CubeError
from ._references import CODECS, END, Chunk, References, places

DTYPES = {
    "uint8": "|u1", "uint16": "<u2", "uint32": "<u4", "int16": "<i2", "int32": "<i4", "int64": "<i8", "float64": "<f8",
    "string": "|O",
}  # fmt: skip
"""Types as format 2 has them."""

RECORDS = 10_000
"""Rows of a parquet file."""


def read(out: Path) -> References:
    """The references of a JSON file or of a folder of parquet files that this package has written.

    Raises:
        CubeError: They are none.
    """
    try:
        refs = json.loads(out.read_bytes())["refs"] if out.is_file() else _of_parquet(out)
        return _of_refs(refs)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CubeError(f"{out} has no references as kerchunk writes them: {error}") from error


def write(out: Path, new: References, format: str) -> None:
    """Writes references in place of what was there, at once: a JSON file, or a folder of parquet files."""
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        made = Path(folder) / "made"
        if format == "kerchunk":
            made.write_text(json.dumps({"version": 1, "refs": _refs(new)}))
        else:
            _write_parquet(made, _refs(new))
            if out.exists():
                out.rename(Path(folder) / "old")
        made.rename(out)


def open_store(out: Path, format: str) -> Any:
    """The store by which zarr reads references."""
    try:
        import fsspec
        from zarr.storage import FsspecStore
    except ImportError as error:
        raise ImportError("reading references needs fsspec: pip install 'vsitlm[export]'") from error
    fo: Any = json.loads(out.read_bytes()) if format == "kerchunk" else str(out)
    system = fsspec.filesystem("reference", fo=fo, asynchronous=True, remote_options={"asynchronous": True})
    return FsspecStore(system, read_only=True, path="")


def _write_parquet(out: Path, refs: dict[str, Any]) -> None:
    """Writes a folder of parquet files: for each array its chunks in C order, a row for each that there may be."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema(
        [("path", pyarrow.string()), ("offset", pyarrow.int64()), ("size", pyarrow.int64()), ("raw", pyarrow.binary())]
    )
    metadata = {key: json.loads(value) for key, value in refs.items() if key.rpartition("/")[2].startswith(".z")}
    out.mkdir()
    (out / ".zmetadata").write_text(json.dumps({"metadata": metadata, "record_size": RECORDS}))
    for key, array in metadata.items():
        if not key.endswith(".zarray"):
            continue
        path = key.removesuffix("/.zarray")
        (out / path).mkdir(parents=True, exist_ok=True)
        for first, names in _records(array):
            rows = [_row(refs.get(f"{path}/{name}")) for name in names]
            table = pyarrow.Table.from_pylist(rows, schema)
            pyarrow.parquet.write_table(table, out / path / f"refs.{first // RECORDS}.parq", compression="zstd")


def _row(value: Any) -> dict[str, Any]:
    """A chunk as a row: where its bytes lie, or these; neither where there is none."""
    if isinstance(value, list):
        return {"path": value[0], "offset": value[1], "size": value[2]}
    raw = base64.b64decode(value.removeprefix("base64:")) if value else None
    return {"path": None, "offset": 0, "size": 0, "raw": raw}


def _records(array: Mapping[str, Any]) -> Iterator[tuple[int, list[str]]]:
    """The names of an array's chunks by file, each with the number of its first."""
    counts = [-(-side // part) for side, part in zip(array["shape"], array["chunks"], strict=True)] or [1]
    names = [".".join(map(str, numbers)) for numbers in product(*map(range, counts))]
    for first in range(0, len(names), RECORDS):
        yield first, names[first : first + RECORDS]


def _of_parquet(out: Path) -> dict[str, Any]:
    """The references of a folder of parquet files."""
    import pyarrow.parquet

    metadata = json.loads((out / ".zmetadata").read_bytes())["metadata"]
    refs: dict[str, Any] = {key: json.dumps(value) for key, value in metadata.items()}
    for key, array in metadata.items():
        if not key.endswith(".zarray"):
            continue
        path = key.removesuffix("/.zarray")
        for first, names in _records(array):
            rows = pyarrow.parquet.read_table(out / path / f"refs.{first // RECORDS}.parq").to_pylist()
            for name, row in zip(names, rows, strict=True):
                if row["raw"] is not None:
                    refs[f"{path}/{name}"] = f"base64:{base64.b64encode(row['raw']).decode()}"
                elif row["path"] is not None:
                    refs[f"{path}/{name}"] = [row["path"], row["offset"], row["size"]]
    return refs


def _refs(references: References) -> dict[str, Any]:
    """References in format 2."""
    refs: dict[str, Any] = {}
    for key, data in references.documents.items():
        if key == "zarr.json" or key.endswith(END):
            refs |= _node(key.removesuffix("zarr.json"), json.loads(data))
    for key, data in references.documents.items():
        path, is_chunk, place = key.partition("/c")
        if is_chunk and not key.endswith("zarr.json"):
            refs[f"{path}/{place[1:].replace('/', '.') or '0'}"] = f"base64:{base64.b64encode(data).decode()}"
    for path, numbers, chunk in places(references):
        refs[f"{path}/{'.'.join(map(str, numbers))}"] = [chunk.url, chunk.offset, chunk.length]
    return refs


def _node(path: str, node: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of a group or array; its path ends with a slash, but for the root's."""
    attributes = dict(node["attributes"])
    if node["node_type"] == "group":
        return {f"{path}.zgroup": json.dumps({"zarr_format": 2}), f"{path}.zattrs": json.dumps(attributes)}
    (codec,) = node["codecs"]
    filters = None
    if codec["name"] == "vlen-utf8":
        filters = [{"id": "vlen-utf8"}]
    elif codec["name"] in CODECS:
        filters = [{"id": codec["name"], **codec["configuration"]}]
    array = {
        "zarr_format": 2,
        "shape": node["shape"],
        "chunks": node["chunk_grid"]["configuration"]["chunk_shape"],
        "dtype": DTYPES[node["data_type"]],
        # With a fill value readers make floats of coordinates.
        "fill_value": node["fill_value"] if codec["name"] in CODECS or not node["shape"] else None,
        "order": "C",
        "compressor": None,
        "filters": filters,
    }
    attributes["_ARRAY_DIMENSIONS"] = node["dimension_names"]
    return {f"{path}.zarray": json.dumps(array), f"{path}.zattrs": json.dumps(attributes)}


def _of_refs(refs: Mapping[str, Any]) -> References:
    """What references in format 2 say in format 3."""
    types = {dtype: name for name, dtype in DTYPES.items()}
    documents: dict[str, bytes] = {}
    chunks: dict[str, dict[tuple[int, int, int], Chunk]] = {}
    for key, value in refs.items():
        path, _, name = key.rpartition("/")
        if name == ".zgroup":
            attributes = json.loads(refs[f"{path}/.zattrs" if path else ".zattrs"])
            group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
            documents[f"{path}{END}" if path else "zarr.json"] = json.dumps(group).encode()
        elif name == ".zarray":
            array, attributes = json.loads(value), json.loads(refs[f"{path}/.zattrs"])
            codec: dict[str, Any] = {"name": "bytes"}
            if array["filters"]:
                (one,) = array["filters"]
                codec = {"name": one.pop("id"), "configuration": one}
            document = {
                "node_type": "array", "shape": array["shape"], "data_type": types[array["dtype"]], "codecs": [codec],
                "chunk_grid": {"configuration": {"chunk_shape": array["chunks"]}},
                "dimension_names": attributes.pop("_ARRAY_DIMENSIONS"), "attributes": attributes,
                "fill_value": array["fill_value"],
            }  # fmt: skip
            documents[f"{path}{END}"] = json.dumps(document).encode()
            if codec["name"] in CODECS:
                chunks.setdefault(path, {})
        elif isinstance(value, list):
            time, row, column = map(int, name.split("."))
            chunks.setdefault(path, {})[time, row, column] = Chunk(*value)
        elif not name.startswith(".z"):
            is_scalar = not json.loads(refs[f"{path}/.zarray"])["shape"]
            key = f"{path}/c" if is_scalar else f"{path}/c/{name.replace('.', '/')}"
            documents[key] = base64.b64decode(value.removeprefix("base64:"))
    return References(documents, chunks)
