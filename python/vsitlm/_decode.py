"""Decoding of files in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _core
from ._errors import WindowError
from ._read import Indexes, array
from ._window import Window, area

if TYPE_CHECKING:
    from numpy.typing import NDArray


def decode(
    data: bytes | bytearray | memoryview,
    window: Window | None = None,
    *,
    reduce: int = 0,
    indexes: Indexes = None,
    threads: int | None = None,
) -> NDArray[Any]:
    """Decodes a JP2 or a bare JPEG 2000 codestream that is in memory.

    Only the code-blocks that the window needs are decoded.

    Args:
        data: The file.
        window: The window that is wanted, as `read` takes it, in pixels of the reduced image; all of it where None.
        reduce: How often the image is halved: 0 is full size, 1 is 1/2, 2 is 1/4.
        indexes: See `read`.
        threads: How many threads decode; as many as the process may use cores where None.

    Returns:
        The pixels in the file's type, as `read` gives them.

    Raises:
        WindowError: The window is empty, of no whole pixels, or not inside the image.
        OverviewError: The image is not halved so often.
        UndecodedError: The file has what the decoder leaves out.
        MalformedError: The bytes are not a JPEG 2000 file, or are damaged where the window needs them.
        UnsupportedError: There is no core.
    """
    import json

    _core.require()
    from . import _vsitlm

    wanted: dict[str, object] = {"reduce": reduce}
    if window is not None:
        wanted_area = area(window)
        if not wanted_area.may_be_inside:
            raise WindowError(f"the window {tuple(wanted_area)} is empty, or not inside the image")
        wanted["window"] = wanted_area
    if indexes is not None:
        wanted["bands"] = [int(band) for band in ([indexes] if isinstance(indexes, int) else indexes)]
    if threads is not None:
        wanted["threads"] = threads
    told, samples = _vsitlm.decode(data if isinstance(data, bytes) else bytes(data), json.dumps(wanted))
    return array(_core.answer(told), samples, indexes)
