"""The C header: a C program that includes it calls every function of the plugin."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import apart
import pytest
from conftest import Sample, only_once


@only_once
@pytest.mark.parametrize("loaded_by_gdal", [True, False])
def test_a_c_program_compiles_against_the_header_and_calls_the_plugin(
    small: Sample, tmp_path: Path, loaded_by_gdal: bool
) -> None:
    if shutil.which("gdal-config") is None:
        pytest.skip("no libgdal-dev")

    def config(option: str) -> list[str]:
        return subprocess.run(["gdal-config", option], capture_output=True, text=True, check=True).stdout.split()

    program, source = tmp_path / "plugin", apart.ROOT / "tests/c/plugin.c"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]
    subprocess.run(["gcc", *flags, *config("--cflags"), source, "-o", program, *config("--libs"), "-ldl"], check=True)
    options = {} if loaded_by_gdal else {"GDAL_DRIVER_PATH": "disable"}
    done = subprocess.run(
        [program, apart.PLUGIN, f"/vsitlm/{small.path}"],
        env=apart.environment(options),
        capture_output=True,
        text=True,
        timeout=apart.KILL_AFTER,
    )
    assert done.returncode == 0, done.stderr
    width, height, size = map(int, done.stdout.split())
    assert (height, width) == small.pixels.shape[1:] and size > small.stream.size
