"""References: a cube whose chunks are bytes of the archive's files, for readers that have no store of ours."""

from __future__ import annotations

import datetime as dt
import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from .. import _core
from .._errors import CubeError
from .._path import address
from ._chunks import Source
from ._layout import Layout, Terms, consolidated, flat
from ._series import Catalogue
from ._tiff import CODEC as TIFF_CODEC
from ._tile import CODEC
from ._tree import tree

AT_ONCE = 8
"""Files of which the core is asked at a time."""

CODECS = (CODEC, TIFF_CODEC)
"""Those of tiles."""

END = "/zarr.json"

Place = tuple[int, int, int]
"""Which chunk of an array: time, row and column."""


@dataclass(frozen=True)
class Chunk:
    """The bytes of a tile."""

    url: str
    offset: int
    length: int
    etag: str | None = None
    """What the server called the file's state when its row was made; None where that is not known."""
    modified: dt.datetime | None = None
    """When the file was last modified then."""


@dataclass(frozen=True)
class References:
    """A cube as Zarr's format 3 has it."""

    documents: dict[str, bytes]
    """Metadata and coordinates, by key."""
    chunks: dict[str, dict[Place, Chunk]] = field(default_factory=dict)
    """By the path of an array, those that there are."""

    @property
    def arrays(self) -> dict[str, dict[str, Any]]:
        """The metadata of arrays, by path."""
        nodes = {key.removesuffix(END): json.loads(text) for key, text in self.documents.items() if key.endswith(END)}
        return {path: node for path, node in nodes.items() if node["node_type"] == "array"}

    @property
    def steps(self) -> list[Stamp]:
        """The times, in their order.

        Raises:
            CubeError: It is no cube of this package.
        """
        paths = sorted(key.removesuffix("product_id/c/0") for key in self.documents if key.endswith("product_id/c/0"))
        if not self.documents:
            return []
        if not paths:
            raise CubeError("it is no cube that vsitlm has made: it has no product_id(time)")
        products = texts_of(self.documents[f"{paths[0]}product_id/c/0"])
        seconds = self.documents[f"{paths[0]}time/c/0"]
        times = [time for (time,) in struct.iter_unpack("<q", seconds)]
        return [Stamp(*stamp) for stamp in zip(times, products, strict=True)]

    def codec(self, path: str) -> dict[str, Any] | None:
        """The configuration of the codec of an array's tiles; None where its chunks are plain bytes."""
        (codec,) = json.loads(self.documents[f"{path}{END}"])["codecs"]
        found: dict[str, Any] | None = codec["configuration"] if codec["name"] in CODECS else None
        return found


@dataclass(frozen=True)
class Stamp:
    """A time of a cube."""

    seconds: int
    """Since 1970, UTC."""
    products: str


def references_of(
    found: Catalogue,
    bands: Sequence[str] | None,
    resolution: int | None,
    settings: Mapping[str, str],
    *,
    masks: bool = False,
) -> References:
    """The references of a catalogue's files. `resolution` None makes a tree; 0 is the coarsest of the bands' own.

    Raises:
        CubeError: What is asked for is not there, files of a band are coded in unlike ways, or lack a tile.
    """
    terms = Terms(of_tiles=True)
    made = tree(found, bands, masks, terms) if resolution is None else flat(found, bands, resolution, terms)
    chunks: dict[str, dict[Place, Chunk]] = {path: {} for path in made.variables}
    wanted = [
        (path, time, source)
        for path, variable in made.variables.items()
        for time, sources in enumerate(variable.sources)
        for source in sources
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = pool.map(lambda each: dict(_tiles(each[2], settings)), wanted)
        for (path, time, source), tiles in zip(wanted, asked, strict=True):
            across, _ = source.file.coding.tiles_at(source.overview)
            chunks[path] |= {(time, *divmod(tile, across)): chunk for tile, chunk in tiles.items()}
    return References(made.documents, chunks)


def _tiles(source: Source, settings: Mapping[str, str]) -> Iterator[tuple[int, Chunk]]:
    """The bytes of a file's tiles at the resolution that is wanted, each with its number."""
    file, overview = source.file, source.overview
    told = _core.ask("parts", address(file.path, overview=overview), settings)
    url = told["location"]
    # Another archive has states of its own.
    state = (file.etag, file.modified) if url == file.url else (None, None)
    tiles: dict[int, list[tuple[int, int]]] = {}
    for tile, offset, length in told["parts"]:
        tiles.setdefault(tile, []).append((offset, length))
    across, down = file.coding.tiles_at(overview)
    # A TIFF need not have tiles of no data.
    if file.format == "jp2" and len(tiles) != across * down:
        raise CubeError(f"{file.url} lacks tiles: it cannot be referenced")
    for tile, parts in tiles.items():
        start, end = parts[0][0], parts[-1][0] + parts[-1][1]
        if sum(length for _, length in parts) != end - start:
            raise CubeError(f"{file.url}: the tile-parts of tile {tile} do not follow one another")
        yield tile, Chunk(url, start, end - start, *state)


def without(found: Catalogue, old: References | None) -> Catalogue:
    """The steps of a catalogue that a cube does not have yet.

    Raises:
        CubeError: Some of them are not after those that it has.
    """
    if old is None:
        return found
    stamps = old.steps
    known, last = {stamp.products for stamp in stamps}, max(stamp.seconds for stamp in stamps)
    steps = [step for step in found.steps if step.name not in known]
    if early := [step.name for step in steps if int(step.time.timestamp()) < last]:
        raise CubeError(f"{early[0]} is before the last time of the cube, to whose end times are put: make it anew")
    return replace(found, steps=steps)


def appended(old: References, new: References) -> References:
    """What is to be written for a cube to which the times of another are put: the documents that change, and the chunks
    that are new. What the other lacks is no data.

    Raises:
        CubeError: The other has arrays that the cube has not, or codes them in another way.
    """
    before, after = old.arrays, new.arrays
    if more := sorted(after.keys() - before.keys()):
        raise CubeError(f"the cube has no array {more[0]}, which is to be put to it")
    # Coordinates along time are the same in all groups.
    coordinates = {path.rpartition("/")[2]: path for path in after if path not in new.chunks}
    count, added = len(old.steps), len(new.steps)
    documents = dict(old.documents)
    for path, array in before.items():
        if array["dimension_names"][:1] != ["time"]:
            continue
        array["shape"][0] += added
        if (codec := old.codec(path)) is None:
            array["chunk_grid"]["configuration"]["chunk_shape"] = list(array["shape"])
            more_of_it = new.documents[f"{coordinates[path.rpartition('/')[2]]}/c/0"]
            documents[f"{path}/c/0"] = _joined(array["data_type"], old.documents[f"{path}/c/0"], more_of_it)
        elif path in after and (codec, array["shape"][1:]) != (new.codec(path), after[path]["shape"][1:]):
            raise CubeError(f"the files of {path} are coded in another way than those of the cube: use vsitlm.store")
        documents[f"{path}{END}"] = json.dumps(array).encode()
    chunks = {
        path: {(time + count, row, column): chunk for (time, row, column), chunk in of_path.items()}
        for path, of_path in new.chunks.items()
    }
    changed = {
        key: document
        for key, document in consolidated(Layout(documents)).documents.items()
        if old.documents.get(key) != document
    }
    return References(changed, chunks)


def texts_of(data: bytes) -> list[str]:
    """The texts of a chunk of the codec vlen-utf8."""
    (count,) = struct.unpack_from("<I", data)
    texts, at = [], 4
    for _ in range(count):
        (length,) = struct.unpack_from("<I", data, at)
        texts.append(data[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return texts


def _joined(dtype: str, first: bytes, second: bytes) -> bytes:
    """Two chunks of a coordinate as one."""
    if dtype != "string":
        return first + second
    (one,), (other,) = (struct.unpack_from("<I", data) for data in (first, second))
    return struct.pack("<I", one + other) + first[4:] + second[4:]


def places(references: References) -> Iterable[tuple[str, Place, Chunk]]:
    """All chunks, each with its array and place."""
    for path, chunks in references.chunks.items():
        for place, chunk in chunks.items():
            yield path, place, chunk
