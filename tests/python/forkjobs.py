"""What tests of forks, ends and threads do in a process of its own (see apart.py)."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import gdalio
import numpy as np

Windows = list[gdalio.Window]


def threads() -> int:
    """How many threads this process has."""
    return len(os.listdir("/proc/self/task"))


def in_children(path: str, windows: Windows) -> list[np.ndarray]:
    """Reads all windows, twice more in forked children, and the last one again."""
    parent = [gdalio.read(path, window) for window in windows]
    with multiprocessing.get_context("fork").Pool(3) as pool:
        children = [pool.apply_async(gdalio.read, (path, window)) for window in windows * 2]
        done = [child.get(timeout=60) for child in children]
    return [*parent, *done, gdalio.read(path, windows[-1])]


def in_threads_then_in_children(path: str, windows: Windows) -> list[np.ndarray]:
    """Reads by several threads of the parent at once, then in children."""
    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(lambda window: gdalio.read(path, window), windows))
    return first + in_children(path, windows)


def before_any_read(path: str, windows: Windows) -> list[np.ndarray]:
    """Forks first, as a server does that loads the program once; only the children read."""
    gdalio.register()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        return [child.get(timeout=60) for child in [pool.apply_async(gdalio.read, (path, w)) for w in windows]]


def by_what_the_parent_opened(path: str, windows: Windows) -> list[np.ndarray]:
    """Opens a dataset, reads from it, and goes on in forked children, one of which forks again."""
    with gdalio.opened(path) as read:
        done = [read(windows[0])]
        for window in windows:
            done.append(in_a_child(lambda window=window: read(window)))
        done.append(in_a_child(lambda: in_a_child(lambda: read(windows[-1]))))
        done.append(read(windows[-1]))
    return done


def in_a_child(work: object) -> np.ndarray:
    """What `work` gives in a forked child."""
    context = multiprocessing.get_context("fork")
    answer, question = context.Pipe(duplex=False)
    child = context.Process(target=lambda: question.send(work()))
    child.start()
    assert answer.poll(60), "the child hangs"
    value = answer.recv()
    child.join(60)
    assert child.exitcode == 0
    return value


class Lingers:
    """Keeps the interpreter when it has begun to take its modules apart, until every thread has asked for its lock.

    One that asks when the interpreter is gone crashes in it: rasterio's handler of errors does not look, so that this holds
    for whatever GDAL says, of any file system.
    """

    def __del__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Lets threads run that are inside GDAL."""
        sleep(3)


def leave_while_reading(path: str, window: gdalio.Window, how: str) -> str:
    """Ends the process while threads read slowly, in one way or another."""
    number = itertools.count()

    def read() -> None:
        while True:
            with contextlib.suppress(gdalio.Failed):
                gdalio.read(f"{path}?{next(number)}", window)  # each a file that is not known yet

    for _ in range(6):
        threading.Thread(target=read, daemon=True).start()
    sys.lingers = Lingers()  # type: ignore[attr-defined]
    threading.Event().wait(1)
    if how == "exec":
        os.execv("/bin/true", ["true"])
    if how == "exit":
        sys.exit(0)
    return "left"


def leave_an_open_dataset(path: str, window: gdalio.Window) -> str:
    """Ends the process with a dataset open."""
    held = gdalio.opened(path)
    leave_an_open_dataset.held = held  # type: ignore[attr-defined]
    held.__enter__()(window)
    return "left"


def count_threads(local: str, remote: str) -> list[int]:
    """Threads before the plugin is loaded, after it, after a local read and after a remote one."""
    counts = [threads()]
    gdalio.register()
    counts.append(threads())
    gdalio.read(local)
    counts.append(threads())
    gdalio.read(remote)
    return [*counts, threads()]


def in_asyncio(path: str, windows: Windows) -> list[np.ndarray]:
    """Reads inside a running event loop: on its own thread, and on those that it hands work to."""

    async def work() -> list[np.ndarray]:
        here = gdalio.read(path, windows[0])
        return [here, *await asyncio.gather(*(asyncio.to_thread(gdalio.read, path, window) for window in windows))]

    return asyncio.run(work())


def with_thread_options(path: str, window: gdalio.Window, options: dict[str, str]) -> tuple[np.ndarray, int]:
    """Reads with options that only this thread has; gives how many reads have failed, on whatever thread, as well."""
    lib = gdalio.library()
    lib.CPLSetThreadLocalConfigOption.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    for name, value in options.items():
        lib.CPLSetThreadLocalConfigOption(name.encode(), value.encode())
    return gdalio.read(path, window), gdalio.plugin().vsitlm_read_errors()
