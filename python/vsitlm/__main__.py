"""The command line: `python -m vsitlm`, and the console script `vsitlm`."""

from __future__ import annotations

import signal
import sys

from . import _core
from ._errors import UnsupportedError


def main() -> None:
    """Runs the command line with the arguments of the process, and ends the process with its exit code."""
    if sys.argv[1:2] == ["cube"]:
        from .cube._command import run

        sys.exit(run(sys.argv[2:]))
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
