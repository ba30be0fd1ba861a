"""Opening a file with rasterio."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import _core
from ._errors import Error, UnsupportedError
from ._path import Form, path, without_query

if TYPE_CHECKING:
    from rasterio.io import DatasetReader


def open(
    path_or_url_or_product: str | os.PathLike[str],
    band: str | None = None,
    overview: int | None = None,
    index: str | os.PathLike[str] | None = None,
    *,
    as_: Form = "tiff",
    **options: object,
) -> DatasetReader:
    """Opens a file through `/vsitlm/`: an ordinary dataset of rasterio's.

    Args:
        path_or_url_or_product: See `path`.
        band: See `path`.
        overview: See `path`.
        index: Where to look rows up, as in `VSITLM_INDEX`.
        as_: See `path`.
        **options: Configuration options of GDAL's and of `/vsitlm/`, such as `VSITLM_STORE="gcs"`. They hold for this
            dataset as long as it is open, and come on top of those of an enclosing `rasterio.Env`.

    Raises:
        Error: What the core failed with, as the class of its kind.
        UnsupportedError: There is no core.
        ImportError: rasterio is not installed.
        rasterio.errors.RasterioIOError: What GDAL failed with by itself.
    """
    _core.require()
    try:
        import rasterio
        import rasterio.env
    except ImportError as error:
        raise ImportError("vsitlm.open needs rasterio: pip install rasterio") from error
    from rasterio.errors import RasterioIOError

    from . import _vsitlm

    name = path(path_or_url_or_product, band, overview=overview, as_=as_)
    settings = _core.texts({"VSITLM_INDEX": index, **options})
    with rasterio.Env():
        # Not as the environment's own options, among which rasterio takes no keys of AWS.
        rasterio.env.setenv(**settings)
        # For a libgdal that came after the package, and has not looked for plugins where the package told it to.
        _vsitlm.register()
        try:
            return rasterio.open(name)
        except RasterioIOError as error:
            known = failure(name, settings) if _is_jp2(path_or_url_or_product) else None
            if known is None:
                raise
            raise known from error


def _is_jp2(given: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a JP2, or does not tell: the core has nothing to say about other files."""
    suffix = os.path.splitext(without_query(os.fspath(given)))[1].lower()
    return suffix in {"", ".jp2", ".j2k", ".j2c", ".jpx"}


def failure(name: str, settings: dict[str, str]) -> Error | None:
    """What the core has against a file that could not be opened, as an exception that tells its kind."""
    try:
        _core.ask("describe", name, settings)
    except UnsupportedError:
        return None
    except Error as error:
        return error
    return None
