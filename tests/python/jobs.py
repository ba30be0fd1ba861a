"""What tests do in a process of its own (see apart.py)."""

from __future__ import annotations

import ctypes
import multiprocessing
import random
import threading
import urllib.request
from collections.abc import Callable
from typing import Any

import gdalio
import numpy as np

Step = tuple[Any, ...]
"""What to do, and its arguments; see `play`."""


def read(path: str, window: gdalio.Window | None = None, shape: tuple[int, int] | None = None) -> np.ndarray:
    """The pixels of one window."""
    return gdalio.read(path, window, shape=shape)


def overview(path: str, number: int, window: gdalio.Window | None = None) -> np.ndarray:
    """The pixels of an overview."""
    return gdalio.overview(path, number, window)


def describe(path: str) -> dict[str, Any]:
    """The metadata."""
    return gdalio.describe(path)


def everything(path: str) -> str:
    """All that a program asks of a dataset before it reads pixels."""
    told: list[Any] = [gdalio.describe(path)]
    if gdalio.rasterio:
        with gdalio.rasterio.open(path) as dataset:
            told += [dict(dataset.profile), dataset.tags(), dataset.tags(1), dataset.tags(ns="IMAGE_STRUCTURE")]
            told += [dataset.overviews(1), dataset.block_shapes]
    else:
        dataset = gdalio.gdal.Open(path)
        told += [dataset.GetMetadata(name) for name in ("", "IMAGE_STRUCTURE", "SUBDATASETS")]
        told += [gdalio.gdal.Info(dataset), gdalio.gdal.Info(dataset, format="json")]
    return str(told)


def copy(path: str, chunk: int) -> bytes:
    """The first bytes of a file: opening it, and nothing more."""
    lib = gdalio.library()
    handle = lib.VSIFOpenL(path.encode(), b"rb")
    buffer = ctypes.create_string_buffer(chunk)
    lib.VSIFReadL(buffer, 1, chunk, handle)
    lib.VSIFCloseL(handle)
    return buffer.raw


def play(*steps: Step) -> list[Any]:
    """Does one step after the other, and gives what each gave, be it the `gdalio.Failed` that it raised."""
    known = {
        "read": gdalio.read,
        "read_band": gdalio.read_band,
        "read_vrt": gdalio.read_vrt,
        "read_warped": gdalio.read_warped,
        "overview": gdalio.overview,
        "describe": gdalio.describe,
        "copy": gdalio.copy_bytes,
        "errors": lambda: gdalio.plugin().vsitlm_read_errors(),
        "last": gdalio.last_error,
        "ask": lambda url: urllib.request.urlopen(url, timeout=60).read(),
        "mode": open_with_mode,
    }
    done = []
    for name, *arguments in steps:
        done.append(tried(known[name], *arguments))
    return done


def tried(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` gives, or the `gdalio.Failed` that it raises."""
    try:
        return work(*arguments)
    except gdalio.Failed as failure:
        return failure


def read_again_and_again(path: str, window: gdalio.Window, times: int, mend: str) -> list[Any]:
    """Reads a window of one open dataset several times, then once more when a request has lifted the fault."""
    with gdalio.opened(path) as read_window:
        done: list[Any] = []
        for number in range(times + 1):
            if number == times:
                urllib.request.urlopen(mend, timeout=60).read()
            done.append(tried(read_window, window))
        return done


def try_windows(windows: list[tuple[str, gdalio.Window]], times: int) -> list[list[Any]]:
    """Opens each path until it is open, and reads all of it until that is done, each so many times at most; gives of each
    what every try gave."""
    done = []
    for path, (_, _, width, height) in windows:
        tries: list[Any] = []
        for _ in range(times):
            try:
                with gdalio.opened(path) as read_window:
                    for _ in range(times):
                        try:
                            tries.append(read_window((0, 0, width, height)))
                            break
                        except gdalio.Failed as failure:
                            tries.append(failure)
                break
            except gdalio.Failed as failure:
                tries.append(failure)
            except OSError as failure:  # what rasterio raises at open
                tries.append(gdalio.Failed(str(failure)))
        done.append(tries)
    return done


def open_break_read_mend_read(path: str, others: list[str], break_all: str, mend: str) -> list[Any]:
    """Opens one path, and others; then nothing can be read, and then it can again: what the first open gives in both."""
    done: list[Any] = []
    with gdalio.opened(path) as read_window:
        for other in others:
            gdalio.describe(other)
        for url in (break_all, mend):
            urllib.request.urlopen(url, timeout=60).read()
            done.append(tried(read_window, None))
    return done


def open_with_mode(path: str, mode: str) -> None:
    """Opens and closes a file in some mode."""
    lib = gdalio.library()
    handle = lib.VSIFOpenL(path.encode(), mode.encode())
    if not handle:
        raise gdalio.Failed(lib.CPLGetLastErrorMsg().decode())
    lib.VSIFCloseL(handle)


def read_from_memory(content: bytes) -> np.ndarray:
    """The pixels of a file in GDAL's memory file system."""
    lib = gdalio.library()
    lib.VSIFileFromMemBuffer.restype = ctypes.c_void_p
    lib.VSIFileFromMemBuffer.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_int]
    lib.VSIFCloseL(lib.VSIFileFromMemBuffer(b"/vsimem/a.jp2", content, len(content), 0))
    return gdalio.read("/vsitlm/vsimem/a.jp2")


def read_in_threads(sources: list[tuple[str, str]], threads: int, reads: int) -> list[str]:
    """Reads random windows of random files on many threads; `sources` are pairs of a path and a direct one.

    Gives what went wrong.
    """
    direct = {path: gdalio.read(local) for path, local in sources}
    wrong: list[str] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(reads):
            path, _ = chance.choice(sources)
            height, width = direct[path].shape[1:]
            left, top = chance.randrange(width - 1), chance.randrange(height - 1)
            window = (left, top, chance.randint(1, min(200, width - left)), chance.randint(1, min(200, height - top)))
            try:
                pixels = gdalio.read(path, window)
            except gdalio.Failed as failure:
                wrong.append(f"{path} {window}: {failure}")
                continue
            expected = direct[path][:, top : top + window[3], left : left + window[2]]
            if not np.array_equal(pixels, expected):
                wrong.append(f"{path} {window}: wrong pixels")

    running = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return wrong


def read_and_fork(path: str, window: gdalio.Window, other: gdalio.Window) -> list[np.ndarray]:
    """Reads a window, then the other one in a forked child and in the parent: three results."""
    first = gdalio.read(path, window)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        child = pool.apply_async(gdalio.read, (path, other)).get(timeout=60)
    return [first, child, gdalio.read(path, other)]


def register_often(path: str, window: gdalio.Window) -> list[np.ndarray]:
    """Registers the drivers again and again, also while the file is open, and reads before and after."""
    lib = gdalio.library()
    first = gdalio.read(path, window)
    handle = lib.VSIFOpenL(path.encode(), b"rb")
    for _ in range(50):
        lib.GDALAllRegister()
        gdalio.register()
    with gdalio.configured({"CPL_TIMESTAMP": "NO"}), gdalio.configured({"CPL_TIMESTAMP": "YES"}):
        again = gdalio.read(path, window)
    start = ctypes.create_string_buffer(12)
    lib.VSIFSeekL(handle, 0, 0)
    assert lib.VSIFReadL(start, 1, 12, handle) == 12 and start.raw[4:8] == b"jP  "
    lib.VSIFCloseL(handle)
    return [first, again]


def read_by_two_libraries(path: str, second: str) -> tuple[bytes, bytes, list[str]]:
    """Loads a second libgdal and copies the file by each; gives the versions of the two as well."""
    lib = gdalio.library()
    before = gdalio.copy_bytes(path, 1 << 20)
    other = gdalio.declared(ctypes.CDLL(second))
    other.GDALAllRegister()
    versions = [each.GDALVersionInfo(b"RELEASE_NAME").decode() for each in (lib, other)]
    copied = gdalio.copy_bytes(path, 1 << 20, other)
    assert gdalio.copy_bytes(path, 1 << 20) == before
    return before, copied, versions


def with_keys(keys: dict[str, str], **shared: str) -> Any:
    """An environment of rasterio's that has keys for S3, as AWSSession sets them, without the library that this needs."""
    import rasterio
    from rasterio.session import Session

    class Keys(Session):
        """The keys."""

        credentials = keys

        def get_credential_options(self) -> dict[str, str]:
            return keys

    return rasterio.Env(session=Keys(), **shared)


def in_turn(steps: list[tuple[dict[str, str], str]]) -> list[Any]:
    """Reads one path after the other, each with its keys."""
    done = []
    for keys, path in steps:
        with with_keys(keys):
            done += play(("read", path))
    return done


def as_callers(callers: list[tuple[dict[str, str], str, str]], shared: dict[str, str], rounds: int) -> list[list[Any]]:
    """One thread for each caller, all at the same time. A caller has keys in an environment of its own, and reads what is
    its own and then what is not, again and again; gives its pixels, and what it got of the latter."""
    first: dict[int, np.ndarray] = {}
    got: list[list[Any]] = [[] for _ in callers]
    start = threading.Barrier(len(callers))

    def call(number: int) -> None:
        keys, own, other = callers[number]
        with with_keys(keys, **shared):
            start.wait()
            for _ in range(rounds):
                mine, others = play(("read", own), ("read", other))
                if number in first and not np.array_equal(first[number], mine):
                    got[number].append(mine)
                first[number] = mine
                got[number].append(others)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(callers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [[first.get(number), *answers] for number, answers in enumerate(got)]


def by_path(options: list[tuple[str, str, str]], *paths: str) -> list[Any]:
    """Sets options for prefixes of paths, and reads."""
    lib = gdalio.library()
    for prefix, name, value in options:
        lib.VSISetPathSpecificOption(prefix.encode(), name.encode(), value.encode())
    return play(*[("read", path) for path in paths])
