"""What bench.py makes of readings: the table of measurements and the table of targets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from statistics import median

from measure import COG, LOCAL, Reading

Readings = dict[str, list[Reading]]


READ_HEADER = (
    "| read | through | seconds | GET | HEAD | bytes | in flight | pixels |",
    "|---|---|---|---|---|---|---|---|",
)


class Report:
    """The table of measurements and the table of targets, as they grow."""

    def __init__(self) -> None:
        self.measured: list[str] = []
        self.targets: list[str] = []
        self.wrong: list[str] = []
        self.notes: list[str] = []
        self.reduced: set[str] = set()
        """Cases that read overviews."""

    def add(self, case: str, readings: Readings) -> None:
        """Rows for one case; pixels are checked against those of the local file."""
        expected = readings[LOCAL][0].pixels
        for name, several in readings.items():
            last = several[-1]
            # Overviews of a COG are made otherwise: its pixels are its own.
            own = name == COG and case in self.reduced
            stopped = any(not reading.pixels for reading in several)
            same = all(reading.pixels == expected for reading in several)
            if not same and not own and not stopped:
                self.wrong.append(f"{case}, {name}")
            row = (
                case,
                name,
                f"{seconds(several):.3f}",
                f"{last.requests - last.heads}",
                f"{last.heads}",
                f"{last.bytes:,}",
                f"{last.max_inflight}",
                "stopped" if stopped else "its own" if own else "identical" if same else "**WRONG**",
            )
            self.measured.append(f"| {' | '.join(row)} |")

    def target(
        self, what: str, reached: float, limit: float, form: str = "{:.2f}", exact: bool = False, least: bool = False
    ) -> None:
        """One target: reached where the value is at most the limit (`exact`: the limit; `least`: at least the limit)."""
        fine = reached == limit if exact else reached >= limit if least else reached <= limit
        bound = ("" if exact else "≥ " if least else "≤ ") + form.format(limit)
        self.targets.append(f"| {what} | {bound} | {form.format(reached)} | {'PASS' if fine else '**MISS**'} |")

    def note(self, what: str) -> None:
        """What was measured beside, for comparison."""
        self.notes.append(what)

    def markdown(self, command: str, repeat: int, described: str) -> str:
        """Both tables, with the command that made them."""
        wrong = [f"\n**Wrong pixels:** {'; '.join(self.wrong)}." if self.wrong else ""]
        return "\n".join(
            [
                f"Made by `{command}`, {described}; medians of {repeat}.",
                "",
                "| target | limit | reached | |",
                "|---|---|---|---|",
                *self.targets,
                "",
                *(READ_HEADER if self.measured else []),
                *self.measured,
                *(["", "For comparison:", ""] if self.notes else []),
                *[f"- {note}" for note in self.notes],
                *wrong,
            ]
        ).rstrip()


def seconds(readings: Iterable[Reading]) -> float:
    """The median time."""
    return median(reading.seconds for reading in readings)


def ratio(readings: Readings, kind: str, to: str) -> float:
    """How many times as long one way of reading took as another."""
    return seconds(readings[kind]) / seconds(readings[to])


def in_turns(repeat: int, reads: dict[str, Callable[[], Reading]]) -> Readings:
    """Does each of `reads` `repeat` times, in turns, so that whatever else the machine does meets all of them."""
    readings: Readings = {name: [] for name in reads}
    for _ in range(repeat):
        for name, read in reads.items():
            readings[name].append(read())
    return readings


def say(text: str) -> None:
    """Progress, beside the table."""
    print(text, file=sys.stderr, flush=True)
