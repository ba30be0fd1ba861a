"""What the tests of the transport do in a process of its own (see apart.py)."""

from __future__ import annotations

import ctypes
import json
import os
import random
import sys
import threading
from pathlib import Path
from typing import Any

import gdalio
import numpy as np


def statistics() -> dict[str, Any]:
    """What vsitlm_statistics() tells."""
    function = gdalio.plugin().vsitlm_statistics
    function.restype, function.argtypes = ctypes.c_size_t, [ctypes.c_char_p, ctypes.c_size_t]
    text = ctypes.create_string_buffer(function(None, 0) + 1000)
    function(text, len(text))
    told: dict[str, Any] = json.loads(text.value)
    return told


def random_windows(path: str, direct: str, count: int) -> tuple[list[str], dict[str, Any]]:
    """Reads random windows: which were wrong, and what the plugin tells of it."""
    expected = gdalio.read(direct)
    height, width = expected.shape[1:]
    chance = random.Random(7)
    wrong = []
    for _ in range(count):
        left, top = chance.randrange(width - 200), chance.randrange(height - 200)
        try:
            pixels = gdalio.read(path, (left, top, 200, 200))
        except gdalio.Failed as failure:
            wrong.append(f"{left} {top}: {failure}")
            continue
        if not np.array_equal(pixels, expected[:, top : top + 200, left : left + 200]):
            wrong.append(f"{left} {top}: wrong pixels")
    return wrong, statistics()


def at_the_same_time(path: str, window: gdalio.Window, threads: int) -> list[np.ndarray]:
    """Reads the same window on many threads that start together."""
    barrier = threading.Barrier(threads)
    read: list[np.ndarray] = []

    def work() -> None:
        barrier.wait()
        read.append(gdalio.read(path, window))

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return read


def replaced_meanwhile(
    path: str, served: str, content: bytes, windows: list[gdalio.Window]
) -> tuple[np.ndarray, list[np.ndarray | gdalio.Failed]]:
    """Reads the first window, replaces the served file, reads all by the dataset that is open, then by a new one."""

    def attempt(read: Any, window: gdalio.Window) -> np.ndarray | gdalio.Failed:
        try:
            pixels: np.ndarray = read(window)
        except gdalio.Failed as failure:
            return failure
        return pixels

    with gdalio.opened(path) as read:
        first = read(windows[0])
        draft = Path(served + ".new")
        draft.write_bytes(content)
        draft.replace(served)
        got = [attempt(read, window) for window in windows]
    return first, got + [attempt(lambda window: gdalio.read(path, window), window) for window in windows]


def read_and_fork_twice(path: str, window: gdalio.Window) -> None:
    """Reads twice; then a fork reads, and ends as programs do."""
    gdalio.read(path, window)
    gdalio.read(path, window)
    child = os.fork()
    if child == 0:
        gdalio.read(path, window)
        sys.stdout.flush()
        ctypes.CDLL(None).exit(0)
    os.waitpid(child, 0)
