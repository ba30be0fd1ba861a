"""The times of a result, and which files each of them is made of."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .._errors import CubeError
from ..cube._catalogue import REFLECTANCES
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
    offset: int
    """What is to be added to reflectances, in digital numbers."""

    @property
    def products(self) -> str:
        """The names of its products."""
        return "; ".join(dict.fromkeys(file.product for file in self.files))

    @property
    def is_landsat(self) -> bool:
        """Whether its products are of Landsat."""
        return self.files[0].is_landsat


def steps_of(files: Sequence[File], groupby: GroupBy, longitude: float) -> list[Step]:
    """The times of files, in order. Of products of one datatake and tile those of the newest baseline stay. Files of
    unlike offsets are never one time, nor are those of Sentinel-2 and of Landsat.

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
    newest = _newest(files)
    offsets: dict[str, set[int]] = defaultdict(set)
    for file in newest:
        if file.band in REFLECTANCES:
            offsets[file.product].add(file.offset)
    for file in newest:
        # A class or a mask has no offset, and goes with the reflectances of its product, wherever those come from.
        alike = {file.offset} if file.band in REFLECTANCES else offsets.get(file.product) or {file.offset}
        for offset in sorted(alike):
            groups[key(file), offset, file.is_landsat].append(file)
    steps = [Step(several[0].time, tuple(several), offset) for (_, offset, _), several in groups.items()]
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
