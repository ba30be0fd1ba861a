"""The store: Zarr's keys, answered from the index and the archive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

try:
    import zarr
    from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype
except ImportError as error:
    raise ImportError(
        "a store needs zarr 3.1.6 or later, on Python 3.12 or later: pip install 'vsitlm[zarr]'"
    ) from error

from .._read import prepare
from ._chunks import Variable
from ._layout import Layout

AT_ONCE = 128
"""How many keys zarr asks for at a time, at least. What is asked of hosts is bounded by the core's quotas."""


class CubeStore(Store):  # type: ignore[misc]
    """A read-only store of Zarr format 3, which is picklable. Its arrays are of plain bytes: nothing has to be
    installed to read their chunks but this package.

    zarr asks for 10 keys at a time, unless `async.concurrency` says otherwise. The first store sets that to 128.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, layout: Layout, settings: Mapping[str, str]) -> None:
        super().__init__(read_only=True)
        self._layout, self._settings = layout, dict(settings)
        # A copy may be of another process.
        prepare()
        if zarr.config.get("async.concurrency") < AT_ONCE:
            zarr.config.set({"async.concurrency": AT_ONCE})

    def __getstate__(self) -> dict[str, Any]:
        return {"layout": self._layout, "settings": self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["layout"], state["settings"])  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"CubeStore({', '.join(self._layout.variables)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CubeStore) and (self._layout, self._settings) == (other._layout, other._settings)

    __hash__ = None  # type: ignore[assignment]

    def with_read_only(self, read_only: bool = True) -> CubeStore:
        """The store itself.

        Raises:
            ValueError: It was to be written to.
        """
        if not read_only:
            raise ValueError("a cube is read-only")
        return self

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The bytes of a key; None where there are none, so that zarr takes the fill value.

        Raises:
            Error: What the core failed with, as the class of its kind.
        """
        held = self._layout.documents.get(key)
        if held is None:
            found = self._chunk(key)
            if found is None:
                return None
            variable, at = found
            pixels = await variable.read(self._settings, at)
            if pixels is None:
                return None
            flat = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).reshape(-1).view("B")
            buffer = prototype.buffer.from_array_like(flat)
        else:
            buffer = prototype.buffer.from_bytes(held)
        return buffer if byte_range is None else buffer[_slice(byte_range, len(buffer))]

    def _chunk(self, key: str) -> tuple[Variable, tuple[int, int, int]] | None:
        """The variable and the place of a chunk by its key, `B04/c/0/1/2`."""
        path, _, place = key.partition("/c/")
        variable = self._layout.variables.get(path)
        numbers = place.split("/")
        if variable is None or len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
            return None
        time, down, across = map(int, numbers)
        is_there = all(place < count for place, count in zip((time, down, across), variable.chunks, strict=True))
        return (variable, (time, down, across)) if is_there else None

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several at a time."""
        import asyncio

        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Whether there are bytes, without reading them."""
        found = self._chunk(key)
        return key in self._layout.documents or (found is not None and bool(found[0].sources[found[1][0]]))

    async def set(self, key: str, value: Buffer) -> None:
        """Refused."""
        raise ValueError("a cube is read-only")

    async def delete(self, key: str) -> None:
        """Refused."""
        raise ValueError("a cube is read-only")

    async def list(self) -> AsyncIterator[str]:
        """All keys."""
        for key in self._layout.documents:
            yield key
        for path, variable in self._layout.variables.items():
            _, rows, columns = variable.chunks
            for time, sources in enumerate(variable.sources):
                for down in range(rows) if sources else ():
                    for across in range(columns):
                        yield f"{path}/c/{time}/{down}/{across}"

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """The keys that begin so."""
        async for key in self.list():
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """What stands below a group, by its own name."""
        base = f"{prefix.rstrip('/')}/" if prefix else ""
        seen = set()
        async for key in self.list_prefix(base):
            name = key[len(base) :].partition("/")[0]
            if name not in seen:
                seen.add(name)
                yield name


def _slice(wanted: ByteRequest, size: int) -> slice:
    """A range of bytes as a slice."""
    if isinstance(wanted, RangeByteRequest):
        return slice(wanted.start, wanted.end)
    if isinstance(wanted, OffsetByteRequest):
        return slice(wanted.offset, size)
    assert isinstance(wanted, SuffixByteRequest)
    return slice(max(size - wanted.suffix, 0), size)
