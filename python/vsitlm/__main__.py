"""The command line: `python -m vsitlm`, and the console script `vsitlm`."""

from __future__ import annotations

import signal
import sys

from . import _core
from ._errors import UnsupportedError


def main() -> None:
    """Runs the command line with the arguments of the process, and ends the process with its exit code."""
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "cube":
        from .cube._command import run as run_cube

        sys.exit(run_cube(sys.argv[2:]))
    if what in ("search", "load"):
        from .areas._command import run

        sys.exit(run(what, sys.argv[2:]))
    # The command runs without Python's interpreter, which could not answer to Ctrl-C before it ends.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        _core.require()
        from . import _vsitlm

        code = _vsitlm.command(["vsitlm", *sys.argv[1:]])
    except UnsupportedError as error:
        sys.exit(f"vsitlm: {error}")
    sys.exit(code)


if __name__ == "__main__":
    main()
