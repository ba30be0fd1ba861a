"""The exceptions of the package, and which of them each error of the core becomes.

Every message is the core's own: it says what was wrong, where, and what to do, and holds no secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from ._index import Summary


class VsitlmWarning(UserWarning):
    """What is amiss and breaks nothing, such as a GDAL that cannot be served."""


class Error(Exception):
    """Whatever this package raises; by itself, what has no class of its own."""


class UnsupportedError(Error):
    """The core cannot be used on this machine, or the one that the process has lacks what was asked for."""


class PathError(Error, ValueError):
    """A path that names nothing, or options of a path that do not go together."""


class OptionError(Error, ValueError):
    """A configuration option has a value that it cannot have."""


class WindowError(Error, ValueError):
    """A window that is empty, no window of whole pixels, or not inside the image."""


class OverviewError(Error, ValueError):
    """A reduced view that the file does not have."""


class CubeError(Error, ValueError):
    """A cube that the index cannot make: what was asked for is not there, or makes no sense."""


class UndecodedError(Error):
    """The file has what the core's decoder leaves out: GDAL may read it."""


class NotFoundError(Error, FileNotFoundError):
    """There is no such file."""


class DeniedError(Error, PermissionError):
    """The file must not be read: credentials are missing or wrong."""


class ReadError(Error, OSError):
    """Reading failed for good, after retries."""


class ChangedError(Error):
    """The file is no longer what it was when it was opened or indexed."""


class MalformedError(Error):
    """The file is not a JP2, or breaks its syntax."""


class ProductError(Error, LookupError):
    """A file that was asked for by its product's name, and that no index and store tell the place of."""


class MissError(Error, LookupError):
    """No index has a row of the file, and `VSITLM_ON_MISS=fail`."""


class IndexFileError(Error):
    """An index, or a row of it, cannot be used."""


class IndexingError(Error):
    """`index()` could not index all of its inputs."""

    summary: Summary | None
    """What came of the others; `None` where nothing was written."""

    def __init__(self, message: str, summary: Summary | None = None) -> None:
        super().__init__(message)
        self.summary = summary


BY_KIND: dict[str, type[Error]] = {
    "Path": PathError,
    "Option": OptionError,
    "Window": WindowError,
    "NoOverview": OverviewError,
    "Undecoded": UndecodedError,
    "NotFound": NotFoundError,
    "Denied": DeniedError,
    "Read": ReadError,
    "Changed": ChangedError,
    "Malformed": MalformedError,
    "Product": ProductError,
    "Miss": MissError,
    "Index": IndexFileError,
    "Row": IndexFileError,
}
"""What each variant of the core's error becomes; others become `Error`."""


class Failure(TypedDict):
    """How the core tells an error."""

    kind: str
    message: str


def error_of(failure: Failure) -> Error:
    """The exception for an error of the core."""
    return BY_KIND.get(failure["kind"], Error)(failure["message"])
