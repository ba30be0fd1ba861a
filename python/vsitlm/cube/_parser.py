"""VirtualiZarr's parser of JP2s: the references of one file, as a store of manifests."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .._index import Index
from .._read import elsewhere
from ._catalogue import catalogue_of_file
from ._references import References, references_of

if TYPE_CHECKING:
    from obspec_utils.registry import ObjectStoreRegistry
    from virtualizarr.manifests import ManifestStore


class JP2Parser:
    """Parses JP2s that an index has: `virtualizarr.open_virtual_dataset(url, registry, parser=JP2Parser(index))`.

    The file's band is a variable (time, y, x) of one time, so that files of a series can be put together along it. The
    file itself is not read: the index records where its tiles lie.
    """

    def __init__(
        self,
        index: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        resolution: int | None = None,
        **options: object,
    ) -> None:
        """Makes a parser.

        Args:
            index: Where the rows are, as in `VSITLM_INDEX`.
            resolution: Metres: the files' own, or that times a power of two that they hold. None is their own.
            **options: Configuration options of GDAL's and of `/vsitlm/`.
        """
        self._index = Index(index, **options)
        self._resolution = resolution or 0
        self._settings = elsewhere({"VSITLM_INDEX": ";".join(self._index.paths), **options})

    def __call__(self, url: str, registry: ObjectStoreRegistry) -> ManifestStore:
        """The references of a file, by the URL where its row was made, or by its product and band in another archive.

        Raises:
            CubeError: The index does not have it.
        """
        from virtualizarr.manifests import ManifestStore

        found = catalogue_of_file(self._index, url)
        made = references_of(found, None, self._resolution, self._settings)
        return ManifestStore(_group(made), registry=registry)


def _group(references: References) -> Any:
    """The one group of references as VirtualiZarr has it."""
    import numpy
    from virtualizarr.manifests import ChunkManifest, ManifestArray, ManifestGroup
    from zarr.core.metadata.v3 import ArrayV3Metadata

    arrays = {}
    for path, metadata in references.arrays.items():
        shape, chunk = metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"]
        grid = [-(-side // part) for side, part in zip(shape, chunk, strict=True)]
        urls = numpy.full(grid, "", numpy.dtypes.StringDType())
        offsets, lengths = numpy.zeros(grid, "uint64"), numpy.zeros(grid, "uint64")
        inlined: dict[tuple[int, ...], bytes] = {}
        if path in references.chunks:
            for place, tile in references.chunks[path].items():
                urls[place] = tile.url if "://" in tile.url else f"file://{os.path.abspath(tile.url)}"
                offsets[place], lengths[place] = tile.offset, tile.length
        else:
            data = references.documents[f"{path}/c" + "/0" * len(shape)]
            first = (0,) * len(shape)
            urls[first], lengths[first], inlined[first] = "__inlined__", len(data), data
        manifest = ChunkManifest.from_arrays(paths=urls, offsets=offsets, lengths=lengths, inlined=inlined or None)
        arrays[path] = ManifestArray(ArrayV3Metadata.from_dict(metadata), manifest)
    attributes = json.loads(references.documents["zarr.json"])["attributes"]
    return ManifestGroup(arrays, attributes=attributes)
