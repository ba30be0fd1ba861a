"""Zarr's codecs of tiles of JP2s and TIFFs: from the bytes of a tile to an array."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.core.buffer import Buffer, NDBuffer

from . import _tiff
from ._tile import CODEC, decode_tile

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class JP2Tile(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):  # type: ignore[misc]
    """Decodes chunks that are tiles of JP2s, of one file each, at 1/2^reduce."""

    header: str
    """The template of the main header, as text (base64)."""
    reduce: int = 0

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> JP2Tile:
        """The codec of a configuration."""
        configuration = data.get("configuration") or {}
        return cls(str(configuration["header"]), int(configuration.get("reduce", 0)))

    def to_dict(self) -> dict[str, Any]:
        """Its configuration."""
        return {"name": CODEC, "configuration": {"header": self.header, "reduce": self.reduce}}

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Not known before."""
        raise NotImplementedError(f"{CODEC} does not encode")

    def _decode_part(self, chunk: Buffer, chunk_spec: Any, rows: slice, columns: slice) -> NDArray[Any]:
        """Rows and columns of a chunk, filled up with 0 where the image ends."""
        (*before, high, wide) = chunk_spec.shape
        (top, bottom, _), (left, right, _) = rows.indices(high), columns.indices(wide)
        pixels = decode_tile(self.header, self.reduce, chunk.to_bytes(), (slice(top, bottom), slice(left, right)))
        part: NDArray[Any] = numpy.zeros((*before, bottom - top, right - left), chunk_spec.dtype.to_native_dtype())
        if pixels.dtype != part.dtype:
            raise ValueError(f"{CODEC}: the file's samples are {pixels.dtype}, the array's {part.dtype}")
        part[..., : pixels.shape[0], : pixels.shape[1]] = pixels
        return part

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: Any) -> NDBuffer:
        whole = self._decode_part(chunk_bytes, chunk_spec, slice(None), slice(None))
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(whole)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: Any) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)

    async def _decode_partial_single(self, byte_getter: Any, selection: Any, chunk_spec: Any) -> NDBuffer | None:
        chunk = await byte_getter.get(prototype=chunk_spec.prototype)
        if chunk is None:
            return None
        *before, rows, columns = selection
        if not all(isinstance(part, slice) and part.step in (None, 1) for part in (rows, columns)):
            return (await self._decode_single(chunk, chunk_spec))[selection]
        part = await asyncio.to_thread(self._decode_part, chunk, chunk_spec, rows, columns)
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(part[tuple(before)])

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: Any) -> Buffer | None:
        raise NotImplementedError(f"{CODEC} does not encode")


@dataclass(frozen=True)
class TIFFTile(ArrayBytesCodec):  # type: ignore[misc]
    """Decodes chunks that are tiles of TIFFs."""

    coding: str
    """How they are packed, as JSON."""

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TIFFTile:
        """The codec of a configuration."""
        return cls(json.dumps(data.get("configuration") or {}, sort_keys=True))

    def to_dict(self) -> dict[str, Any]:
        """Its configuration."""
        return {"name": _tiff.CODEC, "configuration": json.loads(self.coding)}

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Not known before."""
        raise NotImplementedError(f"{_tiff.CODEC} does not encode")

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: Any) -> NDBuffer:
        pixels = _tiff.decode_tile(self.coding, chunk_bytes.to_bytes())
        dtype = chunk_spec.dtype.to_native_dtype()
        if pixels.dtype != dtype:
            raise ValueError(f"{_tiff.CODEC}: the file's samples are {pixels.dtype}, the array's {dtype}")
        return chunk_spec.prototype.nd_buffer.from_ndarray_like(pixels.reshape(chunk_spec.shape))

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: Any) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: Any) -> Buffer | None:
        raise NotImplementedError(f"{_tiff.CODEC} does not encode")
