"""The code in the documentation: README.md, docs/*.md and python/README.md.

A fenced block is run where an HTML comment stands right before it: `<!-- test: KIND -->`, or `<!-- test -->` for code
that imports the Python package. KINDS says by what. A page's
blocks of one kind run one after the other, after those of README.md: who reads a page in docs has read that one.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "python/README.md"]

KINDS = {
    "shell": "test_readme.py, by bash",
    "rasterio": "test_readme.py, by a Python that has it",
    "osgeo": "test_readme.py, by a Python that has it",
    "stac": "test_readme.py, by the Python in target/py/stac",
    "interop": "test_interop.py, by the Python in target/py/interop",
    "spark": "test_scale.py compiles it",
    "batch": "test_scale.py, with programs that write down their arguments",
    "slurm": "test_scale.py, with programs that write down their arguments",
    "": "python/tests/test_docs.py, by a Python that has the package",
}

BLOCK = re.compile(r"^<!-- test(?:: (\w+))? -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, kind: str) -> list[str]:
    """A page's blocks of one kind."""
    return [text for name, text in BLOCK.findall(page.read_text()) if name == kind]


def having(*kinds: str) -> list[tuple[str, Path]]:
    """Every kind among these and page of which there are blocks."""
    return [(kind, page) for kind in kinds for page in PAGES if blocks(page, kind)]


def script(page: Path, kind: str) -> str:
    """A page's blocks of one kind, and before them those of README.md."""
    before = [] if page == README else blocks(README, kind)
    return "\n".join(before + blocks(page, kind))


def name(value: object) -> str:
    """What a test of a page is called."""
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)
