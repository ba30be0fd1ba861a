"""As much of torch as examples/torch_chips.py uses, on numpy; torch itself is too large to install for a test."""

import numpy

Tensor = numpy.ndarray


def from_numpy(array: numpy.ndarray) -> numpy.ndarray:
    return array
