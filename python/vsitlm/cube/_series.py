"""The times of a cube: which files each has, and which of several products are taken."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .._errors import CubeError
from ._grid import Grid
from ._header import Coding
from ._tiff import CODEC as TIFF_CODEC, Stored
from ._tile import CODEC

if TYPE_CHECKING:
    from typing import TypeAlias

Duplicates: TypeAlias = "Literal['newest', 'all', 'error']"

Format: TypeAlias = "Literal['jp2', 'tiff']"

FORMATS: tuple[Format, ...] = ("jp2", "tiff")
"""Those of files, the one that goes before where nobody says another."""

PASS = dt.timedelta(minutes=30)
"""Products of a platform whose times are closer are of one datatake: an orbit takes 100 minutes, a datatake 25."""


@dataclass(frozen=True)
class File:
    """A file that has a band."""

    path: str
    """As the core takes it."""
    url: str
    """Where its row was made."""
    etag: str | None
    """What the server there called its state then."""
    modified: dt.datetime | None
    """When it was last modified there."""
    resolution: int
    """Metres."""
    coding: Coding | Stored
    template: str
    """What its header is to the codec of references; nothing for a TIFF."""

    @property
    def format(self) -> Format:
        """What it is."""
        return "tiff" if isinstance(self.coding, Stored) else "jp2"

    @property
    def resolutions(self) -> list[int]:
        """Those that it holds: its own, and its powers of two."""
        return [self.resolution * factor for factor in self.coding.factors]

    def codec(self, overview: int) -> dict[str, Any] | None:
        """The codec of the tiles of its image at 1/overview; None where they are no chunks of one shape."""
        if isinstance(self.coding, Stored):
            coding = self.coding.coding_at(overview)
            return None if coding is None else {"name": TIFF_CODEC, "configuration": json.loads(coding)}
        if not self.coding.is_regular(overview):
            return None
        return {"name": CODEC, "configuration": {"header": self.template, "reduce": overview.bit_length() - 1}}

    def grid(self, finest: Grid, resolution: int) -> Grid:
        """That of its image at a resolution; `finest` is that of the tile's finest pixels."""
        if isinstance(self.coding, Stored):
            return finest.of_size(*self.coding.size_at(resolution // self.resolution))
        return finest.coarser(resolution)


@dataclass
class Step:
    """A time of a cube: a product, or those of a day."""

    time: dt.datetime
    products: list[str]
    baseline: str
    offset: int | None
    """What is to be added to its reflectances, in digital numbers; None where that is not known."""
    cloud_cover: float | None = None
    """Percent; None where it is not known, or differs."""
    files: dict[str, list[list[File]]] = field(default_factory=lambda: defaultdict(list))
    """By band, for each product that has it, its file at each resolution."""

    @property
    def name(self) -> str:
        """Its products."""
        return "; ".join(self.products)

    def of(self, band: str) -> list[File]:
        """A band's files, of all products and resolutions."""
        return [file for product in self.files.get(band, ()) for file in product]


@dataclass(frozen=True)
class Catalogue:
    """The steps of a tile, in order of time."""

    tile: str
    grid: Grid
    """That of the finest pixels there are."""
    steps: list[Step]

    @property
    def bands(self) -> list[str]:
        """The bands that any step has."""
        return sorted({band for step in self.steps for band in step.files})

    def components(self, band: str) -> int:
        """How many components a band's files have; 0 where that differs."""
        counts = {file.coding.components for file in self._files(band)}
        return counts.pop() if len(counts) == 1 else 0

    def resolutions(self, band: str) -> list[int]:
        """The resolutions at which a band's files hold it, in metres: their own, and its powers of two."""
        return sorted({resolution for file in self._files(band) for resolution in file.resolutions})

    def own(self, band: str) -> list[int]:
        """The resolutions of a band's files themselves, in metres."""
        return sorted({file.resolution for file in self._files(band)})

    def levels(self, band: str, own: int) -> dict[int, Grid]:
        """The resolutions that all of a band's files of a resolution hold, in metres, where they hold them on one
        grid: that."""
        files = {file.coding: file for file in self._files(band) if file.resolution == own}.values()
        held = set.intersection(*(set(file.resolutions) for file in files))
        grids = {resolution: {file.grid(self.grid, resolution) for file in files} for resolution in sorted(held)}
        return {resolution: there.pop() for resolution, there in grids.items() if len(there) == 1}

    def _files(self, band: str) -> list[File]:
        return [file for step in self.steps for file in step.of(band)]


def of_formats(rows: Sequence[Mapping[str, Any]], formats: Sequence[Format]) -> list[Mapping[str, Any]]:
    """Rows of some formats: of those of one product and band the ones of the first that there is."""
    best: dict[tuple[str, str], int] = {}
    ranked = []
    for row in rows:
        kind: Format = "jp2" if row["index"] is None else "tiff"
        if kind not in formats:
            continue
        key, rank = (row["product_id"], row["band_id"]), formats.index(kind)
        ranked.append((row, key, rank))
        best[key] = min(rank, best.get(key, rank))
    return [row for row, key, rank in ranked if rank == best[key]]


def of_duplicates(steps: Sequence[Step], duplicates: Duplicates, formats: Sequence[Format]) -> list[Step]:
    """Of products of one datatake, those of the first format that there is, and of them those of the newest baseline;
    all; or an error. Those of one are parts."""
    if duplicates == "all":
        return list(steps)
    kept = []
    for several in _datatakes(steps):
        ranks = [min(formats.index(file.format) for band in step.files for file in step.of(band)) for step in several]
        of_format = [step for step, rank in zip(several, ranks, strict=True) if rank == min(ranks)]
        newest = max(step.baseline for step in of_format)
        if duplicates == "error" and any(step.baseline != newest for step in of_format):
            names = ", ".join(step.products[0] for step in of_format)
            raise CubeError(f"a datatake has several products: {names}; duplicates='newest' takes the newest baseline")
        kept += [step for step in of_format if step.baseline == newest]
    return sorted(kept, key=lambda step: (step.time, step.products))


def _datatakes(steps: Sequence[Step]) -> list[list[Step]]:
    """Products by their datatakes. ESA's names have the time at which a datatake began, those of Earth Search the time
    or the day of the tile."""
    datatakes: dict[str, list[Step]] = defaultdict(list)
    others = []
    for step in steps:
        platform, level, sensed = step.products[0].split("_")[:3]
        if level.startswith("MSI"):
            datatakes[f"{platform}_{sensed}"].append(step)
        else:
            others.append((platform, step))
    begun = [(key.partition("_")[0], several[0].time, key) for key, several in datatakes.items()]
    for platform, step in others:
        near = (key for other, time, key in begun if other == platform and abs(step.time - time) < PASS)
        datatakes[next(near, f"{platform}_{step.time.isoformat()}")].append(step)
    return list(datatakes.values())


def by_solar_day(steps: Sequence[Step], grid: Grid) -> list[Step]:
    """Steps of one day, by the sun over the tile, as one: each pixel is the first that is valid."""
    # The central meridian of the UTM zone: the tile is within 3 degrees, 12 minutes, of it.
    longitude = (grid.epsg % 100) * 6 - 183
    days: dict[Any, list[Step]] = defaultdict(list)
    for step in steps:
        days[(step.time + dt.timedelta(hours=longitude / 15)).date()].append(step)
    merged = []
    for several in days.values():
        if len({step.offset for step in several}) > 1:
            # Their values are of unlike scales.
            merged += several
            continue
        first = several[0]
        if len(several) == 1:
            merged.append(first)
            continue
        products = [product for one in several for product in one.products]
        step = Step(first.time, products, first.baseline, first.offset)
        for band in {band for one in several for band in one.files}:
            step.files[band] = [files for one in several for files in one.files.get(band, ())]
        merged.append(step)
    return merged
