"""C programs: one that includes the header and calls every function, and a host whose GDAL cannot be served."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import apart
import numpy as np
import pytest
from conftest import Sample, only_once


def config(option: str) -> list[str]:
    """What gdal-config tells."""
    return subprocess.run(["gdal-config", option], capture_output=True, text=True, check=True).stdout.split()


def compiled(name: str, folder: Path) -> Path:
    """A program of tests/c, with this machine's GDAL."""
    if shutil.which("gdal-config") is None:
        pytest.skip("no libgdal-dev")
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", *config("--cflags")]
    source = apart.ROOT / f"tests/c/{name}.c"
    subprocess.run(["gcc", *flags, source, "-o", folder / name, *config("--libs"), "-ldl"], check=True)
    return folder / name


@only_once
@pytest.mark.parametrize("loaded_by_gdal", [True, False])
def test_a_c_program_compiles_against_the_header_and_calls_the_plugin(
    small: Sample, tmp_path: Path, loaded_by_gdal: bool
) -> None:
    program = compiled("plugin", tmp_path)
    options = {} if loaded_by_gdal else {"GDAL_DRIVER_PATH": "disable"}
    done = subprocess.run(
        [program, apart.PLUGIN, f"/vsitlm/{small.path}"],
        env=apart.environment(options),
        capture_output=True,
        text=True,
        timeout=apart.KILL_AFTER,
    )
    assert done.returncode == 0, done.stderr
    opened, gdals, described, refused, version = done.stdout.splitlines()
    width, height, size = map(int, opened.split())
    assert (height, width) == small.pixels.shape[1:] and size > small.stream.size
    told = json.loads(gdals)
    [gdal] = told["gdals"]
    assert "libgdal" in gdal["path"] and gdal["served"] and gdal["reason"] is None
    assert gdal["version"] == config("--version")[0] and gdal["openjpeg"].startswith("2.")
    image = json.loads(described)
    assert (image["width"], image["height"], image["size"]) == (width, height, size)
    assert json.loads(refused)["error"]["kind"] == "Question"
    assert version == f"vsitlm {told['version']}"
    assert "--nonsense" in done.stderr


@only_once
def test_gdals_filter_decodes_whole_tiles(small: Sample, tmp_path: Path) -> None:
    program, stream = compiled("filter", tmp_path), small.stream
    data = small.path.read_bytes()
    header = base64.b64encode(data[data.index(b"\xff\x4f\xff\x51") : stream.first_sot]).decode()
    for tile, offset, length in stream.tile_parts:
        (tmp_path / "chunk").write_bytes(data[offset : offset + length])
        options = ["id=vsitlm.jp2_tile", f"header={header}", "reduce=0"]
        command = [program, apart.PLUGIN, tmp_path / "chunk", str(64 * 64), tmp_path / "read", *options]
        done = subprocess.run(command, env=apart.environment(), capture_output=True, text=True, timeout=apart.KILL_AFTER)
        assert (done.returncode, done.stderr) == (0, "")
        row, column = divmod(tile, -(-stream.width // 64))
        expected = np.zeros((64, 64), "uint8")
        there = small.pixels[0, row * 64 :, column * 64 :][:64, :64]
        expected[: there.shape[0], : there.shape[1]] = there
        assert np.array_equal(np.fromfile(tmp_path / "read", "uint8").reshape(64, 64), expected)


OLD_GDAL = """
/* A libgdal of before plugins for file systems: it tells its version, and has nothing that the plugin needs. */
const char *GDALVersionInfo(const char *request) { (void)request; return "2040400"; }
"""

HOST = """
#include <dlfcn.h>
#include <stdio.h>

int main(int count, char **arguments)
{
    if (count != 3 || !dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL))
        return 2;
    void *plugin = dlopen(arguments[2], RTLD_LAZY | RTLD_LOCAL);
    if (plugin == NULL)
        return 3;
    void (*install)(void) = (void (*)(void))dlsym(plugin, "GDALRegisterMe");
    install();
    install();
    puts("goes on");
    return 0;
}
"""


@only_once
def test_a_gdal_that_cannot_be_served_is_told_once_and_the_program_goes_on(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    (tmp_path / "old.c").write_text(OLD_GDAL)
    (tmp_path / "host.c").write_text(HOST)
    library, program = tmp_path / "libgdal_old.so", tmp_path / "host"
    subprocess.run(["gcc", "-shared", "-fPIC", tmp_path / "old.c", "-o", library], check=True)
    subprocess.run(["gcc", tmp_path / "host.c", "-o", program, "-ldl"], check=True)
    done = subprocess.run(
        [program, library, apart.PLUGIN], env=apart.environment(), capture_output=True, text=True, timeout=apart.KILL_AFTER
    )
    assert (done.returncode, done.stdout) == (0, "goes on\n"), done.stderr
    assert done.stderr.count("needs GDAL 3.0 or later") == 1, done.stderr
