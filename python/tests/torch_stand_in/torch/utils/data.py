"""Dataset, Sampler and DataLoader: batches are read by forked workers, each of which has every num_workers-th batch."""

import multiprocessing
from collections.abc import Iterator
from typing import Any

import numpy


class Dataset:
    def __class_getitem__(cls, _: Any) -> type:
        return cls


Sampler = Dataset


class DataLoader:
    def __init__(self, dataset: Any, batch_size: int = 1, num_workers: int = 0, sampler: Any = None) -> None:
        self.dataset, self.batch_size, self.num_workers, self.sampler = dataset, batch_size, num_workers, sampler

    def fetch(self, numbers: list[Any]) -> numpy.ndarray:
        if hasattr(self.dataset, "__getitems__"):
            return numpy.stack(self.dataset.__getitems__(numbers))
        return numpy.stack([self.dataset[number] for number in numbers])

    def __iter__(self) -> Iterator[numpy.ndarray]:
        numbers = list(range(len(self.dataset)) if self.sampler is None else self.sampler)
        batches = [numbers[start : start + self.batch_size] for start in range(0, len(numbers), self.batch_size)]
        if self.num_workers == 0:
            yield from map(self.fetch, batches)
            return
        context = multiprocessing.get_context("fork")
        queues = [context.SimpleQueue() for _ in range(self.num_workers)]

        def work(worker: int) -> None:
            for batch in batches[worker :: self.num_workers]:
                try:
                    queues[worker].put(self.fetch(batch))
                except Exception as error:
                    queues[worker].put(error)

        workers = [context.Process(target=work, args=(worker,)) for worker in range(self.num_workers)]
        for worker in workers:
            worker.start()
        for number in range(len(batches)):
            told = queues[number % self.num_workers].get()
            if isinstance(told, Exception):
                raise told
            yield told
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
