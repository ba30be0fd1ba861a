"""The client of the core. Functions raise `UnsupportedError` where the core lacks what they call."""

from collections.abc import Callable, Sequence
from os import PathLike

PACKAGE_VERSION: str
"""The version of the plugin that the package was made with."""

def load(candidates: Sequence[str | PathLike[str]]) -> tuple[str, str]:
    """Takes the core that the process has, or the first file of `candidates` that can be loaded, and has it serve every
    GDAL of the process. Gives its file and version; raises OSError with what the dynamic loader said."""

def register() -> None:
    """Has the core serve the GDALs that were loaded since."""

def version() -> str:
    """The core's version."""

def statistics() -> str:
    """What the process has asked of each host, as JSON."""

def gdals() -> str:
    """The GDALs of the process, as JSON."""

def command(arguments: Sequence[str]) -> int:
    """Runs the command line, the program's name first, and gives its exit code."""

class Samples:
    """The memory of samples that the core has decoded, which lives as long as this object."""

    @property
    def __array_interface__(self) -> dict[str, object]:
        """An array of bytes, by numpy's array interface."""

def ask(question: str, callback: Callable[[str, Samples | None], object]) -> int:
    """Asks a question, as JSON. `callback` gets the answer, as JSON, and the samples that it tells of, once, on a
    thread of the core or on this one; what it raises is printed. It is not called when the interpreter is ending. Gives
    the question's number."""

def cancel(question: int) -> bool:
    """Ends a question: True where its callback is never called, False where it was or will be."""

def ask_and_wait(question: str) -> tuple[str, Samples | None]:
    """Asks a question and waits for the answer, without the GIL; Ctrl-C ends it."""

def decode(data: bytes, wanted: str) -> tuple[str, Samples | None]:
    """Decodes a file in memory, without the GIL: the answer, as JSON, and the samples that it tells of."""

def index_rows(index: str, options: str) -> object:
    """The rows of indexes, separated by `;`, as a capsule of Arrow's C stream interface; or an error, as JSON. Options
    are a JSON object.
    """

def index_schema(index: str, options: str) -> object:
    """The schema of these rows, as a capsule of Arrow's C data interface; or an error, as JSON."""

def close() -> None:
    """Lets no callback through any more, and waits for those that run."""
