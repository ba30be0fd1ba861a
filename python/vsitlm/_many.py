"""Reading many windows: the core fetches them ahead without threads, and decodes them by as many threads as there are
cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterable, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from ._errors import Error
from ._read import Answer, Decoding, Indexes, Outcome, Questions, Terms, advance, elsewhere, prepare, questions
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
        workers: Threads that decode, of all reads of the process: `VSITLM_THREADS`, where it is not None.
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
    most = AHEAD if ahead is None else ahead
    if most < 1 or (workers is not None and workers < 1):
        raise ValueError("workers and ahead are at least 1")
    settings = elsewhere({"VSITLM_INDEX": index, "VSITLM_THREADS": workers, **options})
    terms = Terms(overview, band, indexes, boundless, fill_value, settings)
    bar = _bar(len(requests) if isinstance(requests, Sized) else None) if progress else None
    return _chips(requests, terms, most, ordered, bar)


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
    requests: Iterable[Request], terms: Terms, most: int, ordered: bool, bar: Any
) -> Generator[Chip, None, None]:
    """See `read_many`."""
    more = enumerate(requests)
    reads = _Reads(terms)
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
    """The chips under way: from question to question by the core's answers."""

    def __init__(self, terms: Terms) -> None:
        self.under_way: dict[int, _Read] = {}
        """By their number; only the consumer changes it."""
        self._terms = terms
        self._pool: ThreadPoolExecutor | None = None
        """Threads for what rasterio decodes; the consumer starts them."""
        self._done: SimpleQueue[tuple[_Read, Outcome | BaseException]] = SimpleQueue()
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

    def _go_on(self, read: _Read, told: Answer | None) -> None:
        """Asks the next question, or is done."""
        try:
            step = advance(read.asking, told)
            if isinstance(step, str):
                self._ask(read, step)
            else:
                self._done.put((read, step))
        except BaseException as error:
            self._done.put((read, error))

    def _ask(self, read: _Read, question: str) -> None:
        from . import _vsitlm

        def answered(told: str, samples: _vsitlm.Samples | None) -> None:
            """On a thread of the core's, which must not be kept."""
            self._go_on(read, (told, samples))

        with self._asks:
            if not self._closed:
                read.question = _vsitlm.ask(question, answered)

    def take(self, number: int | None) -> Chip:
        """Waits for a chip; None is the next one that is there."""
        while number is None or number not in self._early:
            read, outcome = self._done.get()
            if isinstance(outcome, Decoding):
                self._decode(read, outcome)
                continue
            if isinstance(outcome, BaseException) and not isinstance(outcome, Error):
                raise outcome
            error, pixels = (outcome, None) if isinstance(outcome, Error) else (None, outcome)
            self._early[read.number] = Chip(read.number, read.path, read.window, error, pixels)
            number = read.number if number is None else number
        del self.under_way[number]
        return self._early.pop(number)

    def _decode(self, read: _Read, decoding: Decoding) -> None:
        """Has a chip decoded by rasterio."""

        def decode() -> None:
            try:
                self._done.put((read, decoding.decode()))
            except BaseException as error:
                self._done.put((read, error))

        if self._pool is None:
            self._pool = ThreadPoolExecutor(cores(), "vsitlm")
        self._pool.submit(decode)

    def close(self) -> None:
        """Ends all questions and threads."""
        if os.getpid() != self._process:
            return  # a fork's child has none of them
        from . import _vsitlm

        with self._asks:
            self._closed = True
        for read in self.under_way.values():
            _vsitlm.cancel(read.question)
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
