"""numcodecs' filters of tiles of JP2s and TIFFs, for Zarr format 2 and kerchunk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ndarray_copy

from . import _tiff
from ._tile import CODEC, decode_tile, shape_of


class JP2TileFilter(Codec):  # type: ignore[misc]
    """Decodes chunks that are tiles of JP2s at 1/2^reduce; those of the image's edge are filled up with 0."""

    codec_id = CODEC

    def __init__(self, header: str, reduce: int = 0) -> None:
        self.header, self.reduce = header, reduce

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The samples of a whole tile, little-endian."""
        pixels = decode_tile(self.header, self.reduce, ensure_bytes(buf))
        whole = numpy.zeros(shape_of(self.header, self.reduce), pixels.dtype.newbyteorder("<"))
        whole[: pixels.shape[0], : pixels.shape[1]] = pixels
        return whole if out is None else ndarray_copy(whole, out)

    def encode(self, buf: Any) -> Any:
        """Refused."""
        raise NotImplementedError(f"{CODEC} does not encode")


class TIFFTileFilter(Codec):  # type: ignore[misc]
    """Decodes chunks that are tiles of TIFFs."""

    codec_id = _tiff.CODEC

    def __init__(self, compression: str, predictor: int, dtype: str, endian: str, tile: Sequence[int]) -> None:
        self.compression, self.predictor, self.dtype = compression, predictor, dtype
        self.endian, self.tile = endian, list(tile)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The samples of a tile, little-endian."""
        coding = {name: value for name, value in self.get_config().items() if name != "id"}
        pixels = _tiff.decode_tile(json.dumps(coding), ensure_bytes(buf))
        pixels = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
        return pixels if out is None else ndarray_copy(pixels, out)

    def encode(self, buf: Any) -> Any:
        """Refused."""
        raise NotImplementedError(f"{_tiff.CODEC} does not encode")
