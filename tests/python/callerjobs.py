"""Callers in one process, each with credentials that its own thread alone has (see apart.py)."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import gdalio

Options = dict[str, str]


def on_a_thread(options: Options, work: Callable[[], Any]) -> Any:
    """What `work` gives on a new thread with these options, or the `gdalio.Failed` that it raises."""
    given: list[Any] = []

    def run() -> None:
        set_options(options)
        try:
            given.append(work())
        except (gdalio.Failed, OSError) as failure:
            given.append(gdalio.Failed(gdalio.chain(failure)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return given[0]


def set_options(options: Options) -> None:
    """Sets options that hold on this thread alone, as rasterio.Env does beside the main thread."""
    lib = gdalio.library()
    lib.CPLSetThreadLocalConfigOption.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    for name, value in options.items():
        lib.CPLSetThreadLocalConfigOption(name.encode(), value.encode())


def beside(path: str, holder: Options, others: list[Options], window: gdalio.Window) -> dict[str, Any]:
    """One caller opens a path and reads it; then others read it, while it is open and once it is closed."""
    ready, done = threading.Event(), threading.Event()
    held: list[Any] = []

    def hold() -> None:
        set_options(holder)
        try:
            with gdalio.opened(path) as read:
                held.append(read(window))
                ready.set()
                done.wait(60)
                held.append(read(window))
        except (gdalio.Failed, OSError) as failure:
            held.append(gdalio.Failed(gdalio.chain(failure)))
        ready.set()

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait(60)

    def look() -> Any:
        return gdalio.read(path, window)

    during = [on_a_thread(options, look) for options in others]
    done.set()
    thread.join()
    return {"held": held, "during": during, "after": [on_a_thread(options, look) for options in others]}


def side_by_side(path: str, callers: list[Options], window: gdalio.Window, reads: int) -> list[Any]:
    """Several callers have one path open at the same time, and read windows of many tiles; what each got."""
    start = threading.Barrier(len(callers))
    got: list[Any] = [None] * len(callers)

    def work(number: int) -> None:
        set_options(callers[number])
        try:
            with gdalio.opened(path) as read:
                start.wait(60)
                got[number] = [read(window) for _ in range(reads)]
        except (gdalio.Failed, OSError) as failure:
            got[number] = gdalio.Failed(gdalio.chain(failure))
            start.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(callers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def open_as(path: str, callers: list[Options]) -> list[Any]:
    """Whether callers can open a path, one after the other."""

    def look() -> bool:
        with gdalio.opened(path):
            return True

    return [on_a_thread(options, look) for options in callers]
