"""Windows as they are given, and where they lie in an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ._errors import WindowError
from ._path import whole

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    from ._path import AnyWindow

Span: TypeAlias = "tuple[int | None, int | None] | slice"
"""The first row or column, and the one after the last; None is where the image ends."""

Window: TypeAlias = "AnyWindow | tuple[Span, Span]"
"""A `rasterio.windows.Window`; column, row, width and height; or rows and columns, each a pair or a slice."""

_MOST = 2**32 - 1
"""The largest number of a window in a path."""


class Area(NamedTuple):
    """Pixels of a plane that an image lies in, its first pixel being 0, 0."""

    x: int
    y: int
    width: int
    height: int

    def within(self, width: int, height: int) -> Area:
        """What of it is inside an image; may be empty."""
        x, y = min(max(self.x, 0), width), min(max(self.y, 0), height)
        right, bottom = min(self.x + self.width, width), min(self.y + self.height, height)
        return Area(x, y, max(right - x, 0), max(bottom - y, 0))

    @property
    def is_empty(self) -> bool:
        """Whether it has no pixels."""
        return self.width <= 0 or self.height <= 0

    @property
    def may_be_inside(self) -> bool:
        """Whether there can be an image that has all of it."""
        return not self.is_empty and min(self) >= 0 and max(self.x + self.width, self.y + self.height) <= _MOST


@dataclass(frozen=True, eq=False)
class Squares:
    """Squares of pixels within an image, in place of a window: they are fetched and decoded together."""

    side: int
    columns: NDArray[Any]
    """The first of each."""
    rows: NDArray[Any]

    @property
    def around(self) -> Area:
        """The window that holds them all."""
        left, top = int(self.columns.min()), int(self.rows.min())
        width, height = int(self.columns.max()) - left + self.side, int(self.rows.max()) - top + self.side
        return Area(left, top, width, height)

    def question(self) -> dict[str, Any]:
        """As the core is asked for them."""
        at = [list(pair) for pair in zip(self.columns.tolist(), self.rows.tolist(), strict=True)]
        return {"side": self.side, "at": at}

    def cut(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """They as the core gives them, of the pixels around them: one below the other."""
        import numpy

        left, top, _, _ = self.around
        steps = numpy.arange(self.side)
        rows = (self.rows - top)[:, None, None] + steps[:, None]
        columns = (self.columns - left)[:, None, None] + steps
        cut: NDArray[Any] = pixels[..., rows, columns].reshape(*pixels.shape[:-2], -1, self.side)
        return cut


def area(window: Window, columns: int = 0, rows: int = 0) -> Area:
    """Where a window lies in an image of so many columns and rows. Where these are not given, one that ends with the
    image comes out empty.

    Raises:
        WindowError: It is not of whole pixels.
    """
    if isinstance(window, list):  # as JSON has it
        window = tuple(window)
    if not isinstance(window, tuple) or len(window) != 2:
        return Area(*whole(window))
    (top, bottom), (left, right) = map(_ends, window)
    left, top = left or 0, top or 0
    right, bottom = columns if right is None else right, rows if bottom is None else bottom
    return Area(*whole((left, top, right - left, bottom - top)))


def _ends(span: Span) -> tuple[int | None, int | None]:
    """Both ends of a span."""
    if not isinstance(span, slice):
        start, stop = span
        return start, stop
    if span.step not in (None, 1):
        raise WindowError(f"the window's {span} leaves out pixels")
    return span.start, span.stop
