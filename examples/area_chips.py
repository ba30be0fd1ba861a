"""Chips of an area at all its dates, for training with torch: a dataset that is asked by places, and samplers of places, as
TorchGeo has them.

    python area_chips.py tiles.parquet 2.30,48.80,2.44,48.90 2024-05/2024-09

A place is a longitude and latitude: so chips of any tile, zone and year are asked for alike, and a sampler knows nothing of
files. A worker reads a whole batch at once: while one chip is decoded, the bytes of the others are being fetched.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import numpy
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

import vsitlm

BANDS = ["B04", "B08", "B11"]
"""Of 10 and 20 m: a chip has them all on the grid of the finest."""

Place = tuple[float, float]
Bounds = tuple[float, float, float, float]


class AreaChips(Dataset[torch.Tensor]):
    """The median over the dates of what is no cloud: reflectances of a place as a tensor (bands, rows, columns), NaN where
    no date has data."""

    def __init__(self, found: vsitlm.Result, bands: list[str], size: int = 64) -> None:
        self.found, self.bands, self.size = found, bands, size

    def __getitem__(self, place: Place) -> torch.Tensor:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: list[Place]) -> list[torch.Tensor]:
        """A batch, in one call: DataLoader uses this where a dataset has it. Places that no file has are left out."""
        chips = vsitlm.chips(
            self.found, self.bands, self.size, centers=places, offset="harmonise", mask="scl", VSITLM_THREADS=1
        )
        return [torch.from_numpy(median(chip.stack())) for chip in chips]


def median(pixels: numpy.ndarray) -> numpy.ndarray:
    """The median over time, without pixels that are no data."""
    valid = numpy.where(pixels == 0, numpy.nan, pixels / numpy.float32(10000))
    # A pixel without any date has no median: numpy warns of that.
    has_data = ~numpy.isnan(valid).all(0)
    made = numpy.full(valid.shape[1:], numpy.nan, "float32")
    made[has_data] = numpy.nanmedian(valid[:, has_data], 0)
    return made


class RandomPlaces(Sampler[Place]):
    """Places by chance, the same in every run."""

    def __init__(self, bounds: Bounds, count: int, seed: int = 1) -> None:
        self.bounds, self.count, self.seed = bounds, count, seed

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Place]:
        west, south, east, north = self.bounds
        chance = random.Random(self.seed)
        for _ in range(self.count):
            yield chance.uniform(west, east), chance.uniform(south, north)


class GridPlaces(Sampler[Place]):
    """Places row by row, `step` degrees apart."""

    def __init__(self, bounds: Bounds, step: float) -> None:
        west, south, east, north = bounds
        self.xs, self.ys = numpy.arange(west, east, step), numpy.arange(south, north, step)

    def __len__(self) -> int:
        return len(self.xs) * len(self.ys)

    def __iter__(self) -> Iterator[Place]:
        return ((float(x), float(y)) for y in self.ys for x in self.xs)


def main() -> None:
    """Reads chips of an area by chance, and prints the mean of each batch."""
    index, area, datetime = sys.argv[1:]
    west, south, east, north = map(float, area.split(","))
    bounds = west, south, east, north
    found = vsitlm.search(index, bounds, datetime, [*BANDS, "SCL"])
    for batch in DataLoader(AreaChips(found, BANDS), batch_size=16, sampler=RandomPlaces(bounds, 64), num_workers=2):
        print(tuple(batch.shape), float(numpy.nanmean(batch)))


if __name__ == "__main__":
    main()
