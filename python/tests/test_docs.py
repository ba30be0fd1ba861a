"""The code for the package in README.md, docs/*.md and python/README.md runs (see pages.py), and what docs/python.md
has of python/README.md is the same there.
"""

from __future__ import annotations

import re
from pathlib import Path

import pages
import pytest
from conftest import ROOT, Site, band_path, run

GUIDE = (ROOT / "docs/python.md").read_text()
README = (ROOT / "python/README.md").read_text()

FINDS = {
    "python/README.md": "assert chip.shape == (512, 512) and chip.any() and scene.shape == (100, 94)",
    "docs/python.md": """
import numpy as np
with rasterio.open(vsitlm.path(URL)) as dataset:
    left = dataset.read(1, window=Window(0, 0, 640, 64))
    window = dataset.read(1, window=Window(600, 700, 64, 64))
assert np.array_equal(part, window) and np.array_equal(coarsest, scene)
assert made.rows == len(URLS) == made.scanned + made.unchanged
assert np.array_equal(same, window) and np.array_equal(chip.pixels, window)
assert half.shape == (1, 32, 32) and edge.shape == (1, 64, 64)
assert not edge[0, :16].any() and np.array_equal(edge[0, 16:, 16:], left[:48, :48])
assert np.array_equal(np.hstack(chips), left)

import multiprocessing
batches = [[0, 2], [1]]
with multiprocessing.get_context("fork").Pool(2) as pool:
    ours = pool.map(Chips(wanted).__getitems__, batches)
assert [len(batch) for batch in ours] == [2, 1] and np.array_equal(ours[0][0][0], window)
""",
}
"""What holds when the blocks of a page have run."""


@pytest.mark.parametrize(("kind", "page"), pages.having(""), ids=pages.name)
def test_the_code_runs(kind: str, page: Path, url: str, sample: Path, site: Site, tmp_path: Path) -> None:
    urls = [url, site.put(sample, band_path("B04")), site.put(sample, band_path("B08"))]
    script, finds = pages.script(page, kind), FINDS.get(pages.name(page), "")
    code = f"import os, sys; URL, URLS = sys.argv[2], sys.argv[2:]; os.chdir(sys.argv[1])\n{script}\n{finds}"
    done = run(code, tmp_path, *urls)
    assert "failed:" not in done.stdout and not done.stderr
    assert "vsitlm.info()" not in script or ": served" in done.stdout


@pytest.mark.parametrize(
    "part", [r"^## Quick start\n.*?```$", r"^## Errors\n.*?(?=^## )"], ids=["quick start", "errors"]
)
def test_what_the_readme_has_too_is_the_same(part: str) -> None:
    (ours,), (theirs,) = (re.findall(part, text, re.MULTILINE | re.DOTALL) for text in (GUIDE, README))
    assert ours == theirs
