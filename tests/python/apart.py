"""Calls a function in a process of its own: for what depends on a process's state, or ends it.

The function must be one of a module beside this file, and its arguments and value must be picklable.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
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
    with tempfile.NamedTemporaryFile() as result, tempfile.NamedTemporaryFile() as printed:
        job = Job(
            function.__module__,
            function.__name__,
            pickle.dumps(arguments),
            environment(options),
            str(folder or os.getcwd()),
            result.name,
            printed.name,
        )
        returncode = nursery().run(job)
        value, error = pickle.load(result) if os.path.getsize(result.name) else (None, "the process ended early")
        return Outcome(value, error, printed.read().decode(errors="replace"), returncode)


def call(
    function: Callable[..., Any], *arguments: Any, options: Mapping[str, str] | None = None, folder: Path | None = None
) -> Any:
    """The function's value; the process must end well."""
    done = outcome(function, *arguments, options=options, folder=folder)
    assert done.error is None and done.returncode == 0, f"{done.error}\n{done.output}"
    return done.value


@dataclass(frozen=True)
class Job:
    """What a process does."""

    module: str
    name: str
    arguments: bytes
    """Pickled: they are of modules that only the process imports."""
    environment: dict[str, str]
    folder: str
    result: str
    """The file that its value is written to."""
    printed: str
    """The file that it prints to."""

    def run(self) -> None:
        """Runs in the process."""
        out = os.open(self.printed, os.O_WRONLY | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, place in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(descriptor, place)
        os.close(nothing)
        os.close(out)
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.folder)
        function = getattr(importlib.import_module(self.module), self.name)
        try:
            told = (function(*pickle.loads(self.arguments)), None)
        except Exception as error:
            told = (None, f"{type(error).__name__}: {error}")
        Path(self.result).write_bytes(pickle.dumps(told))


class Nursery:
    """A process that has imported what takes long, and whose children are the processes: importing rasterio takes longer
    than most tests. It has called nothing of GDAL's: its drivers and plugins are each process's own."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._folder = tempfile.mkdtemp(prefix="apart-")
        self._address = os.path.join(self._folder, "socket")
        variables = {name: value for name, value in os.environ.items() if not is_option(name)}
        command = [sys.executable, str(Path(__file__).resolve()), self._address, str(self._process)]
        # Threads that libraries start when they are loaded would be missing in the children.
        subprocess.Popen(command, env=variables | {"OPENBLAS_NUM_THREADS": "1"}, stdin=subprocess.DEVNULL)
        end = time.monotonic() + KILL_AFTER
        while not os.path.exists(self._address):
            assert time.monotonic() < end, "the nursery does not start"
            time.sleep(0.01)

    def run(self, job: Job) -> int:
        """How the process ended: its exit code, or minus the number of the signal that ended it."""
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(self._address)
            asked.settimeout(KILL_AFTER)
            with asked.makefile("rwb") as stream:
                pickle.dump(job, stream)
                stream.flush()
                number = pickle.load(stream)
                try:
                    returncode: int = pickle.load(stream)
                except TimeoutError:
                    os.kill(number, signal.SIGKILL)
                    raise AssertionError(f"the process hangs:\n{Path(job.printed).read_text()}") from None
                return returncode


@functools.cache
def nursery() -> Nursery:
    """That of this process."""
    return Nursery()


# A fork's child has one of its own.
os.register_at_fork(after_in_child=nursery.cache_clear)


def main() -> None:
    """The nursery. It ends with the process that it is for."""
    address, parent = sys.argv[1], int(sys.argv[2])
    with contextlib.suppress(ImportError):
        import numpy  # noqa: F401
        import rasterio.io
        import rasterio.shutil
        import rasterio.vrt
        import rasterio.windows  # noqa: F401
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address + ".new")
    listener.listen(64)
    os.rename(address + ".new", address)
    listener.settimeout(1)
    while os.getppid() == parent:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        try:
            asked, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listener.close()
            asked.setblocking(True)
            watch(asked)
            return
        asked.close()
    shutil.rmtree(os.path.dirname(address), ignore_errors=True)


def watch(asked: socket.socket) -> None:
    """Starts the process, and says how it ended. In the process itself it returns when that is to end."""
    with asked.makefile("rwb") as stream:
        job: Job = pickle.load(stream)
        number = os.fork()
        if number == 0:
            stream.close()
            asked.close()
            job.run()
            return
        pickle.dump(number, stream)
        stream.flush()
        _, status = os.waitpid(number, 0)
        pickle.dump(os.waitstatus_to_exitcode(status), stream)
        stream.flush()
    os._exit(0)


if __name__ == "__main__":
    # Jobs are pickled as those of this module.
    sys.modules["apart"] = sys.modules["__main__"]
    main()
