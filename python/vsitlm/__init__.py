"""Sentinel-2's JPEG 2000 archives, cloud-ready without touching them.

Importing this package makes the file system `/vsitlm/` known to every GDAL of the process, loaded before or after, and
to child processes. It imports neither numpy nor rasterio: what a function needs is imported when it is first used.

A wheel that cannot serve this machine breaks nothing: one `VsitlmWarning` says why, and functions that need the core
raise `UnsupportedError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from . import aio as aio
    from ._decode import decode as decode
    from ._errors import (
        ChangedError as ChangedError,
        CubeError as CubeError,
        DeniedError as DeniedError,
        Error as Error,
        IndexFileError as IndexFileError,
        IndexingError as IndexingError,
        MalformedError as MalformedError,
        MissError as MissError,
        NotFoundError as NotFoundError,
        OptionError as OptionError,
        OverviewError as OverviewError,
        PathError as PathError,
        ProductError as ProductError,
        ReadError as ReadError,
        UndecodedError as UndecodedError,
        UnsupportedError as UnsupportedError,
        VsitlmWarning as VsitlmWarning,
        WindowError as WindowError,
    )
    from ._index import (
        Index as Index,
        Row as Row,
        Scan as Scan,
        Summary as Summary,
        TiffScan as TiffScan,
        index as index,
        scan as scan,
    )
    from ._info import Gdal as Gdal, Info as Info, info as info, statistics as statistics
    from ._many import Chip as Chip, read_many as read_many
    from ._open import open as open
    from ._path import path as path
    from ._read import read as read
    from .areas._chips import AreaChip as AreaChip, chips as chips
    from .areas._load import load as load
    from .areas._sample import sample as sample
    from .areas._search import Result as Result, search as search
    from .cube._export import Exported as Exported, export as export
    from .cube._open import open_cube as open_cube, reflectance as reflectance, store as store
    from .cube._parser import JP2Parser as JP2Parser

    __version__: str

_NAMES = {
    "_decode": "decode",
    "_errors": (
        "ChangedError CubeError DeniedError Error IndexFileError IndexingError MalformedError MissError NotFoundError "
        "OptionError OverviewError PathError ProductError ReadError UndecodedError UnsupportedError "
        "VsitlmWarning WindowError"
    ),
    "_index": "Index Row Scan Summary TiffScan index scan",
    "_info": "Gdal Info info statistics",
    "_many": "Chip read_many",
    "_open": "open",
    "_path": "path",
    "_read": "read",
    "aio": "aio",
    "cube._export": "Exported export",
    "cube._open": "open_cube reflectance store",
    "cube._parser": "JP2Parser",
    "areas._load": "load",
    "areas._chips": "AreaChip chips",
    "areas._sample": "sample",
    "areas._search": "Result search",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
"""In which module each public name stands: it is imported when the name is first used."""

__all__ = [*_MODULES, "__version__"]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("vsitlm")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f".{_MODULES[name]}", __name__)
    value = module if name == "aio" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_core.start()
