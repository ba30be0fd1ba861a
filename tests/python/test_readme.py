"""Every command of the README runs.

A fenced block is run where an HTML comment stands right before it: `<!-- test: shell -->` by bash, `rasterio` and
`osgeo` by a Python that has that. In the blocks, URL is the address of a JP2, x.jp2 lies in the working directory, and
`vsitlm` is the command; the shell blocks run one after the other in one shell.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import apart
import gdalio
import pytest
from conftest import Site, band_path, noise, only_once

README = apart.ROOT / "README.md"
BLOCK = re.compile(r"^<!-- test: (\w+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    """The README's blocks of one kind."""
    return [text for name, text in BLOCK.findall(README.read_text()) if name == kind]


@pytest.fixture
def place(site: Site, folder: Path, tmp_path: Path) -> dict[str, str]:
    """The variables of the README's world, and its working directory."""
    path = folder / "readme.jp2"
    if not path.exists():
        gdalio.make_jp2(path, noise(1600, 1600, dtype="uint8"), BLOCKXSIZE=512, BLOCKYSIZE=512)
    (tmp_path / "x.jp2").symlink_to(path)
    (tmp_path / "target").symlink_to(apart.ROOT / "target")
    return {"URL": site.put(path, band_path("B08")), "PATH": f"{apart.VSITLM.parent}:{os.environ['PATH']}"}


def run(command: list[str], script: str, place: dict[str, str], folder: Path) -> None:
    done = subprocess.run(
        command,
        input=script,
        env=apart.environment(place),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=apart.KILL_AFTER,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"


def test_every_kind_of_block_is_known() -> None:
    kinds = {name for name, _ in BLOCK.findall(README.read_text())}
    assert kinds and kinds <= {"shell", "rasterio", "osgeo"}
    assert len(re.findall("<!-- test:", README.read_text())) == len(BLOCK.findall(README.read_text()))


@only_once
def test_the_shell_commands_run(place: dict[str, str], tmp_path: Path) -> None:
    run(["bash", "-euo", "pipefail"], "".join(blocks("shell")), place, tmp_path)
    assert (tmp_path / "window.tif").exists() and (tmp_path / "x_with_tlm.jp2").exists()


@pytest.mark.parametrize("kind", ["rasterio", "osgeo"])
def test_the_python_code_runs(kind: str, place: dict[str, str], tmp_path: Path) -> None:
    if (kind == "rasterio") != bool(gdalio.rasterio):
        pytest.skip(f"this Python has no {kind}")
    for block in blocks(kind):
        script = f"URL = {place['URL']!r}\n{block}\nassert chip.shape == (512, 512) and chip.any()\n"
        run([sys.executable, "-"], script, place, tmp_path)
