"""Calls a function in a process of its own: for what depends on a process's state, or ends it.

The function must be one of a module beside this file, and its arguments and value must be picklable.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = os.environ.get("VSITLM_TEST_BUILD")
"""A folder with the plugin and the command to test; without it, those that `make build` leaves are tested."""
PLUGIN = Path(BUILD, "plugin/gdal_vsitlm.so") if BUILD else ROOT / "target/plugin/gdal_vsitlm.so"
VSITLM = Path(BUILD, "bin/vsitlm") if BUILD else ROOT / "target/release/vsitlm"

OPTIONS_OF_GDAL = ("GDAL_", "CPL_", "VSI", "AWS_", "GS_", "GOOGLE_", "AZURE_", "JP2", "CURL_", "SSL_CERT")
"""Prefixes of the variables that a process under test does not inherit, but for those of the tests themselves."""

KILL_AFTER = 300
"""Seconds after which a process is taken to hang."""


@dataclass(frozen=True)
class Outcome:
    """How a process ended: the function's value, or the message of what it raised, and all that was printed."""

    value: Any
    error: str | None
    output: str
    returncode: int


def is_option(name: str) -> bool:
    """Whether a variable is one that a process under test does not inherit."""
    return name.startswith(OPTIONS_OF_GDAL) and not name.startswith("VSITLM_TEST_")


def environment(options: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a process under test: the plugin's folder, no learned store, and `options`."""
    kept = {name: value for name, value in os.environ.items() if not is_option(name)}
    ours = {"GDAL_DRIVER_PATH": str(PLUGIN.parent), "VSITLM_CACHE_DIR": "NO", "NO_PROXY": "*", "no_proxy": "*"}
    return kept | ours | dict(options or {})


def outcome(
    function: Callable[..., Any], *arguments: Any, options: Mapping[str, str] | None = None, folder: Path | None = None
) -> Outcome:
    """Calls the function in a new process with `options` as variables, in the working directory `folder`."""
    with tempfile.NamedTemporaryFile() as result:
        command = [sys.executable, str(Path(__file__).resolve()), function.__module__, function.__name__, result.name]
        done = subprocess.run(
            command,
            input=pickle.dumps(arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(options),
            cwd=folder,
            timeout=KILL_AFTER,
        )
        value, error = pickle.load(result) if os.path.getsize(result.name) else (None, "the process ended early")
    return Outcome(value, error, done.stdout.decode(errors="replace"), done.returncode)


def call(
    function: Callable[..., Any], *arguments: Any, options: Mapping[str, str] | None = None, folder: Path | None = None
) -> Any:
    """The function's value; the process must end well."""
    done = outcome(function, *arguments, options=options, folder=folder)
    assert done.error is None and done.returncode == 0, f"{done.error}\n{done.output}"
    return done.value


def main() -> None:
    """The other process."""
    import importlib

    module, name, result = sys.argv[1:]
    function = getattr(importlib.import_module(module), name)
    arguments = pickle.load(sys.stdin.buffer)
    try:
        told = (function(*arguments), None)
    except Exception as error:
        told = (None, f"{type(error).__name__}: {error}")
    Path(result).write_bytes(pickle.dumps(told))


if __name__ == "__main__":
    main()
