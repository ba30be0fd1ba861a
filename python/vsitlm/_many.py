"""Reading many windows: bytes are fetched ahead without threads, and decoded by as many threads as there are cores."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from ._errors import Error
from ._read import Indexes, Questions, Terms, advance, elsewhere, prepare, questions
from ._window import Window

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

Request: TypeAlias = "tuple[str | os.PathLike[str], Window]"
"""What file is read, and which window of it: see `read`."""

AHEAD = 64
"""Chips under way at most: enough to hide a round trip of 50 ms behind decoding on a dozen cores, and few enough that
what was fetched is still in the core's cache when it is decoded."""


@dataclass(frozen=True, slots=True, eq=False)
class Chip:
    """What came of a request."""

    number: int
    """Its place among the requests, from 0."""
    path: str | os.PathLike[str]
    """As it was requested."""
    window: Window
    """As it was requested."""
    error: Error | None
    """Why it could not be read."""
    _pixels: NDArray[Any] | None = field(repr=False)

    @property
    def pixels(self) -> NDArray[Any]:
        """The pixels, as `read` gives them.

        Raises:
            Error: The chip's error, where it has one.
        """
        if self.error is not None:
            raise self.error
        assert self._pixels is not None
        return self._pixels


def read_many(
    requests: Iterable[Request],
    overview: int = 0,
    *,
    ordered: bool = True,
    workers: int | None = None,
    ahead: int | None = None,
    progress: bool = False,
    band: str | None = None,
    indexes: Indexes = None,
    boundless: bool = False,
    fill_value: float = 0,
    index: str | os.PathLike[str] | None = None,
    **options: object,
) -> Generator[Chip, None, None]:
    """Reads many windows of any number of files, and yields them as chips.

    A chip that cannot be read has an error, and does not end the others. Closing the generator ends its requests and
    threads, as does an exception that leaves the loop over it. A fork's child calls this function itself.

    Args:
        requests: Pairs of a path, URL or product and a window, as `read` takes them. They are consumed as chips are.
        overview: See `read`.
        ordered: Yield chips in the order of the requests, else as they are there.
        workers: Threads that decode; as many as the process may use cores where None. GDAL's own threads are off.
        ahead: Chips that are fetched, decoded or waiting to be yielded at any time, at most; 64 where None.
        progress: Show a progress bar, which needs tqdm (`pip install vsitlm[progress]`).
        band: See `path`.
        indexes: See `read`.
        boundless: See `read`.
        fill_value: See `read`.
        index: See `open`.
        **options: See `open`. Options of an enclosing `rasterio.Env` are those of the call.

    Raises:
        UnsupportedError: There is no core.
        ImportError: tqdm is not installed, and a progress bar wanted.
        ValueError: `workers` or `ahead` is less than 1.
    """
    prepare()
    threads, most = (cores() if workers is None else workers), (AHEAD if ahead is None else ahead)
    if threads < 1 or most < 1:
        raise ValueError("workers and ahead are at least 1")
    settings = elsewhere({"VSITLM_INDEX": index, **options})
    terms = Terms(overview, band, indexes, boundless, fill_value, settings)
    bar = _bar(len(requests) if isinstance(requests, Sized) else None) if progress else None
    return _chips(requests, terms, threads, most, ordered, bar)


def cores() -> int:
    """How many cores the process may use."""
    return len(os.sched_getaffinity(0))


def _bar(total: int | None) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("a progress bar needs tqdm: pip install vsitlm[progress]") from error
    return tqdm(total=total, unit="chip")


def _chips(
    requests: Iterable[Request], terms: Terms, threads: int, most: int, ordered: bool, bar: Any
) -> Generator[Chip, None, None]:
    """See `read_many`."""
    more = enumerate(requests)
    reads = _Reads(terms, threads)
    number = 0
    try:
        while True:
            for request in islice(more, most - len(reads.under_way)):
                reads.begin(*request)
            if not reads.under_way:
                return
            chip = reads.take(number if ordered else None)
            number += 1
            if bar is not None:
                bar.update()
            yield chip
    finally:
        reads.close()
        if bar is not None:
            bar.close()


@dataclass
class _Read:
    """A chip under way."""

    number: int
    path: str | os.PathLike[str]
    window: Window
    asking: Questions
    question: int = 0
    """The number of the last question."""


class _Reads:
    """The chips under way: from question to question by the core's answers, and decoded by threads."""

    def __init__(self, terms: Terms, threads: int) -> None:
        self.under_way: dict[int, _Read] = {}
        """By their number; only the consumer changes it."""
        self._terms = terms
        self._pool = ThreadPoolExecutor(threads, "vsitlm")
        # All threads start here: where one of the core's starts a thread, Python takes it for one of its own for good.
        together = threading.Barrier(threads)
        entering = [self._pool.submit(_enter, terms.settings, together) for _ in range(threads)]
        self._threads = [entered.result() for entered in entering]
        """Their numbers in the system."""
        self._done: SimpleQueue[tuple[_Read, NDArray[Any] | BaseException]] = SimpleQueue()
        self._early: dict[int, Chip] = {}
        """Chips that are there before one that is to be yielded first."""
        self._asks = threading.Lock()
        """Held to ask, so that no question comes after `close` has ended them all."""
        self._closed = False
        self._process = os.getpid()

    def begin(self, number: int, request: Request) -> None:
        """Begins to read a chip."""
        path, window = request
        read = _Read(number, path, window, questions(self._terms, path, window))
        self.under_way[number] = read
        self._go_on(read, None)

    def _go_on(self, read: _Read, told: str | None) -> None:
        """Asks the next question, or decodes."""
        try:
            step = advance(read.asking, told)
            if isinstance(step, str):
                self._ask(read, step)
            else:
                self._done.put((read, step.decode()))
        except BaseException as error:
            self._done.put((read, error))

    def _ask(self, read: _Read, question: str) -> None:
        from . import _vsitlm

        with self._asks:
            if not self._closed:
                read.question = _vsitlm.ask(question, partial(self._answered, read))

    def _answered(self, read: _Read, told: str) -> None:
        """Hands an answer on, from a thread of the core's, which must not be kept."""
        try:
            self._pool.submit(self._go_on, read, told)
        except RuntimeError as error:
            # The pool has ended. Nobody waits any more, unless the interpreter is ending.
            self._done.put((read, error))

    def take(self, number: int | None) -> Chip:
        """Waits for a chip; None is the next one that is there."""
        while number is None or number not in self._early:
            read, outcome = self._done.get()
            if isinstance(outcome, BaseException) and not isinstance(outcome, Error):
                raise outcome
            error, pixels = (outcome, None) if isinstance(outcome, Error) else (None, outcome)
            self._early[read.number] = Chip(read.number, read.path, read.window, error, pixels)
            number = read.number if number is None else number
        del self.under_way[number]
        return self._early.pop(number)

    def close(self) -> None:
        """Ends all questions and threads."""
        if os.getpid() != self._process:
            return  # a fork's child has none of them
        from . import _vsitlm

        with self._asks:
            self._closed = True
        for read in self.under_way.values():
            _vsitlm.cancel(read.question)
        self._pool.shutdown(cancel_futures=True)
        # Python takes a thread for ended before the system does. In between PROJ closes its databases, under locks
        # that a fork's child would find closed for good.
        end = time.monotonic() + 1
        for thread in self._threads:
            while os.path.exists(f"/proc/self/task/{thread}") and time.monotonic() < end:
                time.sleep(0.0005)


def _enter(settings: Mapping[str, str], together: threading.Barrier) -> int:
    """Sets the options of a thread that decodes, once and for all; each thread does so one time. Gives its number."""
    import rasterio.env

    together.wait()
    rasterio.Env().__enter__()
    rasterio.env.setenv(**settings)
    return threading.get_native_id()
