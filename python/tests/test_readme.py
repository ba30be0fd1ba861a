"""The code of the package's README runs."""

from __future__ import annotations

import re
from pathlib import Path

from conftest import ROOT, run

BLOCK = re.compile(r"^<!-- test -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_quick_start_runs(url: str, tmp_path: Path) -> None:
    text = (ROOT / "python/README.md").read_text()
    (block,) = BLOCK.findall(text)
    assert len(block.splitlines()) <= 10 and text.count("<!-- test") == 1
    code = f"import os, sys; URL = sys.argv[1]; os.chdir(sys.argv[2])\n{block}\n"
    code += "assert chip.shape == (512, 512) and chip.any() and scene.shape == (100, 94)\n"
    done = run(code, url, tmp_path)
    assert ": served" in done.stdout


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
