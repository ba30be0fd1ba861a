"""What tests do in a process of its own (see apart.py)."""

from __future__ import annotations

import gdalio
import numpy as np


def read(path: str, window: gdalio.Window | None = None) -> np.ndarray:
    """The pixels of one window."""
    return gdalio.read(path, window)


def describe(path: str) -> dict:
    """The metadata."""
    return gdalio.describe(path)
