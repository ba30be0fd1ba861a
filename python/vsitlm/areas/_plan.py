"""What is to be loaded: of what was found the files of some bands, with their grids and times."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import _core
from .._area import Area
from .._errors import CubeError
from ..cube._catalogue import Span
from ..cube._grid import Grid
from ..cube._open import with_small_cache
from ._block import Block, Terms
from ._files import File, with_grids
from ._grids import grid_of
from ._masks import of_landsat
from ._result import Result
from ._search import search
from ._steps import GroupBy, Step, steps_of


@dataclass(frozen=True)
class Plan:
    """What is loaded, but for its grid."""

    bands: Mapping[str, str]
    files: Sequence[File]
    area: Area | None
    groupby: GroupBy
    terms: Terms
    failed: tuple[str, ...]

    @property
    def own(self) -> float:
        """The coarsest of the bands' own resolutions, in metres."""
        return max(_finest(self.files, band) for band in self.bands.values())

    @property
    def finest(self) -> float:
        """The finest of the bands' own resolutions, in metres."""
        return min(_finest(self.files, band) for band in self.bands.values())

    def block(self, resolution: float | None, crs: Any) -> Block:
        """All of it, on a grid."""
        grid = grid_of(self.files, self.area, resolution, crs, self.own)
        return Block(self.bands, grid, self.steps(longitude_of(grid)), self.terms)

    def steps(self, longitude: float) -> tuple[Step, ...]:
        """The times that have one of the bands."""
        shown = set(self.bands.values())
        steps = steps_of(self.files, self.groupby, longitude)
        return tuple(step for step in steps if any(file.has(band) for file in step.files for band in shown))


@dataclass(frozen=True)
class Sought:
    """What was found, as `load`, `chips` and `sample` take it."""

    found: Result
    names: tuple[str, ...]
    """Of bands, as they are asked for."""
    terms: Terms
    """With the options of the search."""
    files: list[File]
    """Those of the bands and of the masks, with their grids."""
    failed: list[str]
    """What was wrong with others."""


def seek(
    found: Any,
    bands: Sequence[str] | str | None,
    area: Area | None,
    datetime: Span,
    terms: Terms,
    defaults: Mapping[str, str],
) -> Sought:
    """The files of what was found, which is searched first where it is none; options are on top of `defaults`.

    Raises:
        Error: A file cannot be opened, and that is an error.
    """
    if not isinstance(found, Result):
        more: dict[str, Any] = dict(terms.settings)
        found = search(found, area, datetime, None if terms.masks.fills else bands, **more)
    names = found.bands if bands is None else (bands,) if isinstance(bands, str) else tuple(bands)
    terms = replace(terms, settings={**defaults, **found.settings, **_core.texts(terms.settings)})
    wanted = {*names, *terms.masks.fills}
    for name in names:
        _check_meaning(name, found.files)
    files, failed = looked_at([file for file in found.files if any(map(file.has, wanted))], terms)
    return Sought(found, names, terms, files, failed)


def planned(
    found: Any,
    bands: Sequence[str] | str | None,
    area: Area | None,
    datetime: Span,
    terms: Terms,
    groupby: GroupBy,
) -> Plan:
    """What `load` and `chips` load; their options come with `terms`, to which those of the search are put.

    Raises:
        CubeError: There are no files of a band.
    """
    sought = seek(found, bands, area, datetime, terms, with_small_cache())
    found, names, terms, files = sought.found, sought.names, sought.terms, sought.files
    if not files:
        has = ", ".join(sorted({file.band for file in found.files})) or "nothing"
        raise CubeError(f"there are no files of {', '.join(names)} to load: the search found {has}")
    for name in names:
        if not any(file.has(name) for file in files):
            has = ", ".join(sorted({file.band for file in files}))
            raise CubeError(f"no product that was found has the band {name}: they have {has}")
    shown = {name: name.upper() for name in names}
    _check_masks(terms, [file for file in files if any(map(file.has, names))], files)
    return Plan(shown, files, found.area if area is None else area, groupby, terms, tuple(sought.failed))


def _check_meaning(name: str, files: Sequence[File]) -> None:
    """Refuses a name that means one thing for some files and another for others, such as `B5`.

    Raises:
        CubeError: It does.
    """
    # Numbers of bands differ by the instrument: common names tell what is the same.
    meanings = {frozenset(one for one in file.names if not re.search(r"B\d", one)) for file in files if file.has(name)}
    if len(meanings) > 1 and not frozenset.intersection(*meanings):
        told = " and ".join(sorted("/".join(sorted(one)).lower() or "another" for one in meanings))
        raise CubeError(f"{name} means several bands of what was found, {told}: name one of these")


def _check_masks(terms: Terms, shown: Sequence[File], files: Sequence[File]) -> None:
    """Refuses masks that the products of shown files cannot have, and those that none of them has.

    Raises:
        CubeError: They are such.
    """
    fills = terms.masks.fills
    for is_landsat in {file.is_landsat for file in shown} if fills else ():
        mine = [band for band in fills if of_landsat(band) == is_landsat]
        if not mine:
            whose, mask = ("Landsat", "qa_pixel") if is_landsat else ("Sentinel-2", "scl")
            names = ", ".join(map(repr, terms.masks.names))
            raise CubeError(f"products of {whose} were found, which have no mask {names}: name {mask!r}, too")
        for band in mine:
            if not any(file.has(band) for file in files):
                raise CubeError(f"no product that was found has {band}, which the mask is made of: search for it, too")


def looked_at(files: Sequence[File], terms: Terms) -> tuple[list[File], list[str]]:
    """Files with their grids, and what was wrong with others.

    Raises:
        Error: One cannot be opened, and that is an error.
    """
    there, failed = [], []
    for file, seen in zip(files, with_grids(files, terms.settings), strict=True):
        if isinstance(seen, Exception):
            if terms.fail_on_error:
                raise seen
            failed.append(f"{file.name}: {seen}")
        else:
            there.append(seen)
    return there, failed


def _finest(files: Sequence[File], band: str) -> float:
    """The finest pixels of a band's files, in metres."""
    return min(file.grid.resolution for file in files if file.has(band) and file.grid is not None)


def longitude_of(grid: Grid) -> float:
    """That of a grid's middle."""
    from pyproj import Transformer

    west, south, east, north = grid.bounds
    transformer = Transformer.from_crs(grid.epsg, "OGC:CRS84", always_xy=True)
    return float(transformer.transform((west + east) / 2, (south + north) / 2)[0])
