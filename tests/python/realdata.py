"""Real products for the tests of both suites: the files below ../shared/data, or below the folder that VSITLM_TEST_DATA
names. Where there are none, or where VSITLM_TEST_DATA is empty, the tests that read them are skipped and say so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NAMED = os.environ.get("VSITLM_TEST_DATA")
FOLDER = Path(NAMED or Path(__file__).resolve().parents[3] / "shared/data")
"""Where they lie."""


def files(pattern: str = "**/*.jp2") -> list[Path]:
    """Those below the folder that match."""
    return [] if NAMED == "" else sorted(FOLDER.glob(pattern))


def missing(pattern: str) -> str:
    """Why a test is skipped."""
    where = "VSITLM_TEST_DATA is empty" if NAMED == "" else f"none in {FOLDER}; VSITLM_TEST_DATA names another folder"
    return f"needs real files ({pattern}): {where}"


def each(argument: str, pattern: str = "**/*.jp2") -> Callable[[Any], Any]:
    """Runs a test once for each file that matches."""
    found = [pytest.param(path, id=path.stem) for path in files(pattern)]
    absent = pytest.param(None, id="none", marks=pytest.mark.skip(reason=missing(pattern)))
    parametrized = pytest.mark.parametrize(argument, found or [absent])
    return lambda test: pytest.mark.real_data(parametrized(test))


def find(pattern: str) -> list[Path]:
    """Those that match, for a test that is marked `real_data`; skips it where there are none."""
    return files(pattern) or pytest.skip(missing(pattern))
