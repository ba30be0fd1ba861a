"""The paths by which GDAL finds a file through `/vsitlm/`: strings alone, no file is looked at."""

from __future__ import annotations

import operator
import os
import re
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import quote, unquote

from ._errors import PathError, WindowError

if TYPE_CHECKING:
    from typing import TypeAlias

PREFIX = "/vsitlm"

_JP2 = {"jp2", "j2k", "j2c", "jpx", "jpc", "jpf", "jhc", "jph"}
"""How names of JPEG 2000 files end."""

_TIFF = {"tif", "tiff"}
"""How names of TIFFs end."""

_PRODUCT = re.compile(r"S2[A-Z]_MSIL\w\w_\d{8}T\d{6}_N\d{4}_R\d{3}_T\d\d[A-Z]{3}_\d{8}T\d{6}(\.SAFE)?")
"""The name of a product, as `/vsitlm/` takes one at the beginning of a path."""


_HAS_OWN_OPTIONS = re.compile(r"/?vsi\w+\?")
"""GDAL's own options of one file, `/vsicurl?…`, are part of its name."""


class WindowLike(Protocol):
    """A window as rasterio has it."""

    @property
    def col_off(self) -> float:
        """The first column."""

    @property
    def row_off(self) -> float:
        """The first row."""

    @property
    def width(self) -> float:
        """Columns."""

    @property
    def height(self) -> float:
        """Rows."""


Form: TypeAlias = "Literal['tiff', 'jp2']"
"""What an image is served as: a GeoTIFF, decoded by the core, or a JP2, decoded by GDAL."""

AnyWindow: TypeAlias = "WindowLike | tuple[int, int, int, int]"
"""A `rasterio.windows.Window`, or x, y, width and height in pixels."""


def path(
    path_or_url_or_product: str | os.PathLike[str],
    band: str | None = None,
    *,
    overview: int | None = None,
    window: AnyWindow | None = None,
    as_: Form = "tiff",
) -> str:
    """The path by which any GDAL of the process opens a file through `/vsitlm/`.

    A JP2 is opened as a GeoTIFF that the core decodes, or as itself where it has what the decoder leaves out, a TIFF as
    itself. Files that are neither by their name pass through unchanged, so that this function serves as odc-stac's
    `patch_url`.
    Nothing is opened, and no core is needed.

    Args:
        path_or_url_or_product: A URL, `s3://bucket/key`, `/vsis3/bucket/key` or another path of GDAL's, a local path,
            the name of a product, or what begins with `/vsitlm` already. A folder that has a product's name is
            written `./S2A_….SAFE`, or given as a `pathlib.Path`.
        band: The file of the product: `"B03"`, `"B03_20m"`, `"TCI"`, `"MSK_DETFOO_B02"`.
        overview: The image at 1/2, 1/4, 1/8, …; None, 0 and 1 give it at full size.
        window: Only this window of it, in pixels of the overview where there is one: x, y, width and height, or a
            window of rasterio's. It is a GeoTIFF, whatever `as_` is.
        as_: `"jp2"` for the JP2 itself, which GDAL decodes.

    Raises:
        PathError: An unknown `as_`, an option that the path has already, or a band of a name that is not a product's.
        WindowError: A window that is empty or not of whole pixels.
    """
    if as_ not in ("tiff", "jp2"):
        raise PathError(f"as_ is 'tiff' or 'jp2', not {as_!r}")
    return address(path_or_url_or_product, band, overview, window, as_)


def address(
    path_or_url_or_product: str | os.PathLike[str],
    band: str | None = None,
    overview: int | None = None,
    window: AnyWindow | None = None,
    form: Form | None = None,
) -> str:
    """See `path`; without a form, as questions to the core take it."""
    name = os.fspath(path_or_url_or_product)
    if not isinstance(path_or_url_or_product, str) and _PRODUCT.match(name):
        name = f"./{name}"
    options = _options(overview, window)
    if band is not None:
        if not _PRODUCT.fullmatch(name):
            raise PathError(f"{without_query(name)} is no product's name: it has no band {band}")
        name = f"{name}/{band}"
    if name.startswith(f"{PREFIX}?"):
        return _add(name, options, form)
    wrapped = name.startswith(f"{PREFIX}/")
    if wrapped:
        name = name[len(PREFIX) + 1 :]
    if form is not None and window is None and (options or _is_jp2(name)):
        options = f"as={form}&{options}"
    has_query = "?" in name and not _HAS_OWN_OPTIONS.match(name)
    if options or (has_query and not wrapped):
        # Slashes stay: GDAL calls lstat() on the path of a VRT, and takes no name of more than 255 bytes.
        return f"{PREFIX}?{options}url={quote(_bare(name), safe='/:')}"
    # A leading slash of GDAL's own prefixes is the one that ours ends in; that of a local path is kept.
    return PREFIX + name if name.startswith("/vsi") else f"{PREFIX}/{name}"


def _is_jp2(name: str) -> bool:
    """Whether a name is that of a JPEG 2000 file, or of a product's."""
    product = _PRODUCT.match(name)
    if product is not None and name[product.end() :].count("/") == 1:
        return True
    return _ending(name) in _JP2


def is_tiff_name(name: str) -> bool:
    """Whether a path's name is that of a TIFF."""
    if name.startswith(f"{PREFIX}?"):
        name = unquote(name.partition("url=")[2])
    return _ending(name.removeprefix(f"{PREFIX}/")) in _TIFF


def _ending(name: str) -> str:
    """What a name ends in behind its last dot, in lower case."""
    if _HAS_OWN_OPTIONS.match(name):
        name = unquote(name.partition("url=")[2])
    return without_query(name).rpartition("/")[2].rpartition(".")[2].lower()


def _options(overview: int | None, window: AnyWindow | None) -> str:
    """The options of a path, each with an `&` behind it."""
    factor = operator.index(overview or 1)
    options = f"overview={factor}&" if factor != 1 else ""
    if window is not None:
        x, y, width, height = whole(window)
        if width <= 0 or height <= 0:
            raise WindowError(f"the window {(x, y, width, height)} is empty")
        options += f"window={x},{y},{width},{height}&"
    return options


def whole(window: AnyWindow) -> tuple[int, int, int, int]:
    """A window as x, y, width and height in whole pixels.

    Raises:
        WindowError: It is not of whole pixels.
    """
    if isinstance(window, tuple):
        numbers: tuple[float, ...] = window
    else:
        numbers = (window.col_off, window.row_off, window.width, window.height)
    if len(numbers) != 4 or any(number % 1 != 0 for number in numbers):
        raise WindowError(f"the window {numbers} is not of whole pixels: x, y, width and height")
    x, y, width, height = map(int, numbers)
    return x, y, width, height


def _add(name: str, options: str, form: Form | None) -> str:
    """Puts options into a path that has some."""
    prefix, _, own = name.partition("?")
    known = dict(option.partition("=")[::2] for option in own.split("&"))
    is_image = options or "overview" in known or _is_jp2(unquote(known.get("url", "")))
    if form is not None and is_image and not {"as", "window"} & known.keys() and "window=" not in options:
        options = f"as={form}&{options}"
    for option in options.split("&"):
        if option and option.partition("=")[0] in known:
            raise PathError(f"{without_query(name)} has the option {option.partition('=')[0]} already")
    return f"{prefix}?{options}{own}"


def _bare(name: str) -> str:
    """A URL without the `/vsicurl/` before it, beside which GDAL looks for no overviews where the URL has a query."""
    return re.sub(r"^/?vsicurl/(?=https?://)", "", name)


def without_query(name: str) -> str:
    """A path for messages: what may hold a signature or a password is left out."""
    return re.sub(r"//[^/@]*@", "//", name.split("?")[0])
