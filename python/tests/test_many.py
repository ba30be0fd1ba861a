"""Reading many windows: pixels, order, bad chips among good ones, what is under way at most, closing, forks."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import time
import types
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from conftest import ROOT, Site, run

import vsitlm

Request = tuple[Path | str, tuple[int, int, int, int]]


def windows(count: int, side: int = 20) -> list[tuple[int, int, int, int]]:
    """Windows all over `sample`."""
    return [(number * 37 % (1500 - side), number * 53 % (1600 - side), side, side) for number in range(count)]


def part(pixels: np.ndarray, window: Any) -> np.ndarray:
    """A window of an image, as (bands, rows, columns)."""
    x, y, width, height = window
    return pixels[None, y : y + height, x : x + width]


def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition that will come true, for less than the 30 s after which the core gives up what stalls."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never comes true"
        time.sleep(0.01)


class Stalled:
    """A file on the server whose requests are answered by half until the client gives them up; it is in an index."""

    def __init__(self, site: Site, sample: Path, name: str, index: Path) -> None:
        self.site, self.name, self.index = site, name, index
        self.url = site.put(sample, name)
        assert vsitlm.index([self.url], index).rows == 1

    def __enter__(self) -> Stalled:
        self.site.stats()
        self.site.server.control(fail_path=f"/{self.name}", kind="stall")
        return self

    def __exit__(self, *_: object) -> None:
        self.site.server.control(clear=1)

    def requests(self) -> int:
        """How many there have been."""
        return int(self.site.server.stats()["requests"])

    def is_quiet(self) -> bool:
        """Whether no request is under way: then another one is alone."""
        self.site.stats()
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            urllib.request.Request(f"{self.site.server.url}/{self.name}", method="HEAD"), timeout=60
        ):
            pass
        return self.site.stats()["max_inflight"] == 1


@pytest.fixture
def stalled(site: Site, sample: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Stalled:
    """A file that nothing has been read of."""
    return Stalled(site, sample, f"stalled/{request.node.name}.jp2", tmp_path / "stalled.parquet")


def test_pixels_and_order(sample: Path, url: str, index: Path, pixels: np.ndarray) -> None:
    requests = [((sample, url)[number % 2], window) for number, window in enumerate(windows(40))]
    chips = list(vsitlm.read_many(requests, index=index))
    assert [(chip.number, chip.path, chip.window) for chip in chips] == [(n, *one) for n, one in enumerate(requests)]
    for chip in chips:
        assert chip.error is None and np.array_equal(chip.pixels, part(pixels, chip.window))


def test_as_they_are_there(stalled: Stalled, sample: Path, pixels: np.ndarray) -> None:
    with stalled:
        requests = [(stalled.url, (0, 0, 10, 10)), *((sample, window) for window in windows(9))]
        chips = vsitlm.read_many(requests, ordered=False, index=stalled.index)
        early = [next(chips) for _ in range(9)]
        assert sorted(chip.number for chip in early) == list(range(1, 10))
        assert all(np.array_equal(chip.pixels, part(pixels, chip.window)) for chip in early)
        chips.close()


@pytest.mark.parametrize("ordered", [False, True])
def test_bad_chips_do_not_end_the_others(sample: Path, tmp_path: Path, pixels: np.ndarray, ordered: bool) -> None:
    (tmp_path / "text.jp2").write_text("no image " * 100)
    bad: list[tuple[Any, Any, type[vsitlm.Error]]] = [
        (tmp_path / "none.jp2", (0, 0, 1, 1), vsitlm.NotFoundError),
        (tmp_path / "text.jp2", (0, 0, 1, 1), vsitlm.MalformedError),
        (sample, (1490, 0, 20, 20), vsitlm.WindowError),
        (sample, (-1, 0, 20, 20), vsitlm.WindowError),
        (sample, (0, 0, 0.5, 20), vsitlm.WindowError),
        ("ftp://host/x.jp2", (0, 0, 1, 1), vsitlm.PathError),
    ]
    requests: list[Any] = []
    for (path, window, _), good in zip(bad, windows(len(bad)), strict=True):
        requests += [(path, window), (sample, good)]
    chips = sorted(vsitlm.read_many(requests, ordered=ordered), key=lambda chip: chip.number)
    assert len(chips) == len(requests)
    for chip, (_, _, kind) in zip(chips[::2], bad, strict=True):
        assert type(chip.error) is kind
        with pytest.raises(kind) as raised:
            _ = chip.pixels
        assert raised.value is chip.error
    assert all(np.array_equal(chip.pixels, part(pixels, chip.window)) for chip in chips[1::2])


def test_arguments_are_those_of_read(sample: Path) -> None:
    requests: list[Any] = [(sample, (-5, 0, 20, 20)), (sample, ((90, None), (85, 95)))]
    many = vsitlm.read_many(requests, 16, indexes=1, boundless=True, fill_value=9)
    for chip, (path, window) in zip(many, requests, strict=True):
        one = vsitlm.read(path, window, 16, indexes=1, boundless=True, fill_value=9)
        assert one.ndim == 2 and np.array_equal(chip.pixels, one)


def test_requests_are_consumed_as_chips_are(sample: Path) -> None:
    taken = 0

    def requests() -> Iterator[Request]:
        nonlocal taken
        for window in windows(60, 4):
            taken += 1
            yield sample, window

    chips = vsitlm.read_many(requests(), ahead=5)
    assert taken == 0
    for yielded, _ in enumerate(chips, 1):
        # The one that has been yielded is no longer under way.
        assert taken <= yielded + 4
    assert taken == 60
    assert list(vsitlm.read_many([])) == []


@pytest.mark.parametrize("ordered", [False, True])
def test_a_slow_chip_holds_up_no_more_than_is_ahead(stalled: Stalled, sample: Path, ordered: bool) -> None:
    """Those that wait for one before them count, too."""
    taken = 0

    def requests() -> Iterator[Request]:
        nonlocal taken
        for number, window in enumerate(windows(30)):
            taken += 1
            yield (stalled.url if number == 3 else sample), window

    with stalled:
        chips = vsitlm.read_many(requests(), ordered=ordered, ahead=8, index=stalled.index)
        got = [next(chips).number for _ in range(3 if ordered else 29)]
        assert 3 not in got and taken == (3 + 7 if ordered else 30)
        chips.close()


@pytest.mark.parametrize("how", ["close", "forget", "raise"])
def test_leaving_early_ends_requests_and_threads(stalled: Stalled, sample: Path, how: str) -> None:
    before = threading.enumerate()
    requests = [(sample, (0, 0, 9, 9)), *((stalled.url, window) for window in windows(100))]

    def consume() -> None:
        chips = vsitlm.read_many(requests, ahead=10, index=stalled.index)
        for _ in chips:
            until(lambda: stalled.requests() > 0)
            assert not stalled.is_quiet()
            if how == "raise":
                raise KeyError("on purpose")
            if how == "close":
                chips.close()
                assert next(chips, None) is None
            return

    with stalled:
        with pytest.raises(KeyError, match="on purpose") if how == "raise" else contextlib.nullcontext():
            consume()
        until(stalled.is_quiet)
    assert threading.enumerate() == before


def test_requests_that_raise_end_all(sample: Path) -> None:
    def requests() -> Iterator[Any]:
        yield sample, (0, 0, 9, 9)
        raise KeyError("on purpose")

    before = threading.enumerate()
    with pytest.raises(KeyError, match="on purpose"):
        list(vsitlm.read_many(requests()))
    with pytest.raises(TypeError):
        list(vsitlm.read_many([(sample, (0, 0, 9, 9)), 7]))  # type: ignore[list-item]
    assert threading.enumerate() == before


def test_options_of_an_enclosing_environment_hold(url: str, index: Path, site: Site) -> None:
    site.stats()
    with rasterio.Env(VSITLM_INDEX=str(index), VSITLM_ON_MISS="fail"):
        chips = vsitlm.read_many([(url, (3, 3, 9, 9))] * 3)
    assert [chip.error for chip in chips] == [None] * 3


def test_wrong_numbers(sample: Path) -> None:
    for wrong in ({"workers": 0}, {"ahead": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            vsitlm.read_many([(sample, (0, 0, 1, 1))], **wrong)


def test_progress(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Bar:
        def __init__(self, total: int | None, unit: str) -> None:
            told.append((total, unit))

        def update(self) -> None:
            told.append("one")

        def close(self) -> None:
            told.append("end")

    auto = types.ModuleType("tqdm.auto")
    auto.tqdm = Bar  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", auto)
    requests = [(sample, window) for window in windows(3)]
    for given, total in ((requests, 3), (iter(requests), None)):
        told.clear()
        assert len(list(vsitlm.read_many(given, progress=True))) == 3
        assert told == [(total, "chip"), "one", "one", "one", "end"]
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"pip install vsitlm\[progress\]"):
        vsitlm.read_many(requests, progress=True)


def in_child(work: Callable[[], object]) -> None:
    """Does work in a fork's child, and ends as a worker of a pool does."""
    child = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    child.start()
    child.join(100)
    assert child.exitcode == 0


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forks(sample: Path, url: str, index: Path, pixels: np.ndarray) -> None:
    requests = [((sample, url)[number % 2], window) for number, window in enumerate(windows(10))]

    def read() -> None:
        assert np.array_equal(vsitlm.read(url, (5, 6, 7, 8), index=index), part(pixels, (5, 6, 7, 8)))
        for chip in vsitlm.read_many(requests, index=index):
            assert np.array_equal(chip.pixels, part(pixels, chip.window))

    in_child(read)
    read()
    in_child(read)
    # Where the parent is in the middle of it. No thread may be inside GDAL at a fork: with one chip at a time none is.
    chips = vsitlm.read_many(requests, ahead=1, index=index)
    next(chips)

    def close() -> None:
        chips.close()
        read()

    in_child(close)
    assert len(list(chips)) == 9


def test_a_generator_is_left_at_the_end_of_the_program(sample: Path) -> None:
    run(f"import vsitlm; chips = vsitlm.read_many([({str(sample)!r}, (0, 0, 9, 9))] * 9); next(chips)")


def test_the_example_for_torch(sample: Path, url: str) -> None:
    """With a stand-in for torch, which forks its workers: torch itself is too large to install here."""
    paths = [Path(__file__).parent / "torch_stand_in", ROOT / "examples", os.environ.get("PYTHONPATH", "")]
    code = f"""
import numpy, rasterio, vsitlm, torch_chips
from torch.utils.data import DataLoader
# The parent has read before it forks.
right = vsitlm.read({str(sample)!r}, (0, 0, 500, 64)).astype("float32") / 10000
requests = [(path, (x, 0, 64, 64)) for x in range(0, 400, 40) for path in ({str(sample)!r}, {url!r})]
chips = torch_chips.Chips(requests)
for workers in (0, 2):
    batches = list(DataLoader(chips, batch_size=6, num_workers=workers))
    assert [len(batch) for batch in batches] == [6, 6, 6, 2]
    for (_, (x, *_)), chip in zip(requests, numpy.concatenate(batches), strict=True):
        assert chip.dtype == "float32" and numpy.array_equal(chip, right[:, :, x : x + 64])
assert numpy.array_equal(chips[3], right[:, :, 40:104])
try:
    list(DataLoader(torch_chips.Chips([("/none.jp2", (0, 0, 1, 1))]), num_workers=2))
except vsitlm.NotFoundError as error:
    assert "/none.jp2" in str(error)
else:
    raise AssertionError("it was read")
"""
    run(code, options={"PYTHONPATH": os.pathsep.join(map(str, paths))})
