"""The package's README: its quick start is short, and it names every error. That its code runs: test_docs.py."""

from __future__ import annotations

import pages
from conftest import ROOT


def test_the_quick_start_is_short() -> None:
    (block,) = pages.blocks(ROOT / "python/README.md", "")
    assert len(block.splitlines()) <= 10


def test_every_error_is_documented() -> None:
    import vsitlm

    text = (ROOT / "python/README.md").read_text()
    for name in vsitlm.__all__:
        value = getattr(vsitlm, name)
        if isinstance(value, type) and issubclass(value, (vsitlm.Error, Warning)):
            assert f"`{name}`" in text or f"`vsitlm.{name}`" in text, name
            bases = {base.__name__ for base in value.__bases__ if base.__module__ == "builtins"} - {"Exception"}
            line = next(line for line in text.splitlines() if f"{name}`" in line)
            assert bases <= {"UserWarning"} or all(f"`{base}`" in line for base in bases), (name, bases)
