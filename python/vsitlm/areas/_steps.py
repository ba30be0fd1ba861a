"""The times of a result, and which files each of them is made of."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .._errors import CubeError
from ..cube._catalogue import offset_of
from ._files import File

if TYPE_CHECKING:
    from typing import TypeAlias

GroupBy: TypeAlias = "Literal['solar_day', 'time', 'id'] | None"
"""What is one time: a day by the sun, a time of sensing, or each product, as by None."""


@dataclass(frozen=True)
class Step:
    """A time of a result."""

    time: dt.datetime
    files: tuple[File, ...]
    """In the order in which their pixels count: the first valid one."""

    @property
    def products(self) -> str:
        """The names of its products."""
        return "; ".join(dict.fromkeys(file.product for file in self.files))

    @property
    def offset(self) -> int:
        """What is added to reflectances, in digital numbers, by the processing baseline. What catalogues say of it is
        not taken: an item's `boa_offset_applied` may be that of its COGs; the archive's JP2s are as they were made.
        """
        return offset_of(self.files[0].baseline)


def steps_of(files: Sequence[File], groupby: GroupBy, longitude: float) -> list[Step]:
    """The times of files, in order. Of products of one datatake and tile those of the newest baseline stay. Files of
    unlike offsets are never one time.

    Raises:
        CubeError: An unknown `groupby`.
    """
    shift = dt.timedelta(hours=longitude / 15)
    keys: dict[Any, Callable[[File], Any]] = {
        "solar_day": lambda file: (file.time + shift).date(),
        "time": lambda file: file.time,
        "id": lambda file: (file.time, file.product),
    }
    key = keys.get(groupby or "id")
    if key is None:
        raise CubeError(f"groupby is 'solar_day', 'time', 'id' or None, not {groupby!r}")
    groups: dict[Any, list[File]] = defaultdict(list)
    for file in _newest(files):
        groups[key(file), offset_of(file.baseline)].append(file)
    steps = [Step(several[0].time, tuple(several)) for several in groups.values()]
    return sorted(steps, key=lambda step: (step.time, step.products))


def _newest(files: Sequence[File]) -> list[File]:
    """The files without those of older baselines."""
    newest: dict[Any, str] = {}
    for file in files:
        key = _datatake(file)
        newest[key] = max(newest.get(key, ""), file.baseline)
    return [file for file in files if file.baseline == newest[_datatake(file)]]


def _datatake(file: File) -> tuple[str, str, str]:
    """The platform, the time and the tile."""
    return file.product[:3], file.time.isoformat(), file.tile
