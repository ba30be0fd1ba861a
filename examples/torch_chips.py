"""Chips of Sentinel-2 for training with torch, read by the workers of a DataLoader from the files where they lie.

    python torch_chips.py https://…/T31UDQ_…_B03_10m.jp2 …

A worker reads a whole batch at once: while one chip is decoded, the bytes of the others are being fetched. Each worker
is a process with one thread that decodes, so `num_workers` is the number of cores that are used.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader, Dataset

import vsitlm

SIDE = 64
"""Rows and columns of a chip."""


class Chips(Dataset[torch.Tensor]):
    """Reflectances of windows (column, row, width, height) of files, as tensors of (bands, rows, columns)."""

    def __init__(self, requests: Sequence[tuple[str, tuple[int, int, int, int]]], index: str | None = None) -> None:
        self.requests = requests
        self.index = index

    def __len__(self) -> int:
        return len(self.requests)

    def __getitem__(self, number: int) -> torch.Tensor:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: list[int]) -> list[torch.Tensor]:
        """A batch, in one call: DataLoader uses this where a dataset has it. An error names the file of its chip."""
        requests = [self.requests[number] for number in numbers]
        chips = vsitlm.read_many(requests, workers=1, index=self.index)
        return [torch.from_numpy(chip.pixels.astype("float32") / 10000) for chip in chips]


def main() -> None:
    """Reads chips along the diagonal of each file, and prints the mean of each batch."""
    requests = [(file, (at, at, SIDE, SIDE)) for at in range(0, 1024, 128) for file in sys.argv[1:]]
    for batch in DataLoader(Chips(requests), batch_size=16, num_workers=2):
        print(tuple(batch.shape), float(batch.mean()))


if __name__ == "__main__":
    main()
