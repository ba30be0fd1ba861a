"""What an import does: to the process, to every GDAL in it, and to child processes."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import ROOT, SITE, only_once, other, run

import vsitlm

WHERE = Path(vsitlm.__file__).parent

SEES = """
import sys
def sees_rasterio(path):
    import rasterio
    with rasterio.open("/vsitlm/" + path + "/image.jp2") as dataset:
        return dataset.shape == (1600, 1500)
def sees_osgeo(path):
    from osgeo import gdal
    dataset = gdal.Open("/vsitlm/" + path + "/image.jp2")
    return dataset is not None and dataset.RasterXSize == 1500
def sees_pyogrio(path):
    import pyogrio
    return pyogrio.read_info("/vsitlm/" + path + "/points.geojson")["features"] == 1
def sees_fiona(path):
    import fiona
    with fiona.open("/vsitlm/" + path + "/points.geojson") as points:
        return len(points) == 1
"""
"""Functions that tell whether a library sees `/vsitlm/`."""

WHEELS = ["fiona", "pyogrio", "rasterio"]
"""Each carries a libgdal of its own."""

MODULES = {"rasterio": "rasterio", "osgeo": "osgeo.gdal", "pyogrio": "pyogrio", "fiona": "fiona"}
ORDERS = [order for order in itertools.permutations(["vsitlm", *WHEELS]) if order[0] != "vsitlm"] + [
    ("vsitlm", *WHEELS)
]
"""Those in which the package comes first are alike."""

POINT = {"type": "Feature", "properties": {"a": 1}, "geometry": {"type": "Point", "coordinates": [1, 2]}}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Path:
    """A folder with a JP2 and a vector file."""
    folder = tmp_path_factory.mktemp("files")
    shutil.copy(sample, folder / "image.jp2")
    (folder / "points.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [POINT]}))
    return folder


def test_an_import_is_light() -> None:
    code = "import sys; before = set(sys.modules); import vsitlm; print(*(set(sys.modules) - before))"
    loaded = set(run(code).stdout.split())
    assert "vsitlm._vsitlm" in loaded
    assert not {"asyncio", "ctypes", "dataclasses", "json", "numpy", "pathlib", "rasterio", "subprocess"} & loaded


def test_every_public_name_is_there() -> None:
    for name in vsitlm.__all__:
        assert getattr(vsitlm, name) is not None and name in dir(vsitlm)
    with pytest.raises(AttributeError, match="'vsitlm' has no attribute 'nothing'"):
        vsitlm.nothing  # type: ignore[attr-defined]  # noqa: B018
    assert (WHERE / "py.typed").exists()


def test_the_versions_are_one() -> None:
    stated = {
        re.search(r'^version = "(.*)"$', (ROOT / manifest).read_text(), re.MULTILINE)[1]  # type: ignore[index]
        for manifest in ("Cargo.toml", "python/Cargo.toml")
    }
    assert stated == {vsitlm.__version__} == {version("vsitlm")} == {vsitlm.info().version}


@pytest.mark.parametrize("order", ["vsitlm rasterio", "rasterio vsitlm"])
def test_rasterio_before_and_after(order: str, files: Path) -> None:
    sees_in_order("rasterio", order.split(), files)


@only_once
@pytest.mark.parametrize("order", ["vsitlm osgeo", "osgeo vsitlm"])
def test_osgeo_before_and_after(order: str, files: Path) -> None:
    sees_in_order("debian", order.split(), files)


@only_once
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_several_gdals_in_one_process(order: tuple[str, ...], files: Path) -> None:
    sees_in_order("interop", list(order), files)


def sees_in_order(python: str, order: list[str], files: Path) -> None:
    """Imports in this order; then every library sees `/vsitlm/`, by one core."""
    libraries = [library for library in order if library != "vsitlm"]
    code = (
        SEES
        + "".join(f"import {MODULES.get(module, module)}\n" for module in order)
        + "".join(f"assert sees_{library}(sys.argv[1]), '{library}'\n" for library in libraries)
        + """
cores = {line.split()[-1] for line in open("/proc/self/maps") if "gdal_vsitlm" in line}
assert cores == {vsitlm.info().plugin}, cores
gdals = vsitlm.info().gdals
assert len(gdals) == int(sys.argv[2]) and all(gdal.served for gdal in gdals), gdals
print(vsitlm.info())
"""
    )
    done = run(code, files, str(len(libraries)), python=sys.executable if python == "rasterio" else other(python))
    assert done.stdout.count(": served") == len(libraries)
    assert not done.stderr


def test_a_copy_that_is_loaded_is_used(files: Path, tmp_path: Path) -> None:
    copy = tmp_path / "gdal_vsitlm.so"
    shutil.copy(WHERE / "plugin/gdal_vsitlm.so", copy)
    code = f"""
import os, sys, rasterio
with rasterio.Env(): pass
import vsitlm
assert vsitlm.info().plugin == sys.argv[1] + "/gdal_vsitlm.so", vsitlm.info()
assert os.environ["GDAL_DRIVER_PATH"] == sys.argv[1]
{SEES}
assert sees_rasterio(sys.argv[2])
"""
    run(code, tmp_path, files, options={"GDAL_DRIVER_PATH": str(tmp_path)})


def test_the_variable_gets_a_folder_in_front_once(tmp_path: Path) -> None:
    code = "import os, vsitlm; print(os.environ['GDAL_DRIVER_PATH'])"
    ours = str(WHERE / "plugin")
    for before, after in [
        ("", ours),
        (str(tmp_path), f"{ours}:{tmp_path}"),
        (f"{tmp_path}:{ours}", f"{tmp_path}:{ours}"),
        ("disable", "disable"),
    ]:
        assert run(code, options={"GDAL_DRIVER_PATH": before}).stdout.strip() == after


def test_a_child_process_has_it(files: Path) -> None:
    code = f"""
import subprocess, sys
import vsitlm
subprocess.run([sys.executable, "-c", {SEES + "assert sees_rasterio(sys.argv[1]) and 'vsitlm' not in sys.modules"!r},
    sys.argv[1]], check=True)
"""
    run(code, files)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("before", [True, False], ids=["used", "unused"])
def test_multiprocessing(method: str, before: bool, files: Path, tmp_path: Path) -> None:
    # A module of its own, which spawned processes import, and not the package.
    (tmp_path / "reads.py").write_text(SEES)
    code = f"""
import multiprocessing, sys
import vsitlm, reads
if __name__ == "__main__":
    if {before}:
        assert reads.sees_rasterio(sys.argv[1])
        vsitlm.scan(sys.argv[1] + "/image.jp2")
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        assert pool.map(reads.sees_rasterio, [sys.argv[1]] * 4) == [True] * 4
        scans = pool.map(vsitlm.scan, [sys.argv[1] + "/image.jp2"] * 4)
        assert all(scan["image"]["width"] == 1500 for scan in scans)
"""
    run(code, files, folder=tmp_path)


def package(folder: Path) -> Path:
    """A copy of the package, to be damaged."""
    shutil.copytree(WHERE, folder / "vsitlm", ignore=shutil.ignore_patterns("__pycache__", "tests"))
    return folder / "vsitlm"


UNSUPPORTED = """
import sys, warnings
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    import vsitlm
    import rasterio
    info = vsitlm.info()
(warning,) = told
assert warning.category is vsitlm.VsitlmWarning and warning.filename == "<string>", warning
assert sys.argv[1] in str(warning.message), warning
assert info.plugin is None and sys.argv[1] in info.reason and sys.argv[1] in str(info)
for call in (lambda: vsitlm.open("x.jp2"), lambda: vsitlm.scan("x.jp2"), lambda: vsitlm.index([], "x"),
             vsitlm.statistics, lambda: vsitlm.Index([]).find("x.jp2")):
    try:
        call()
    except vsitlm.UnsupportedError as error:
        assert sys.argv[1] in str(error), error
    else:
        raise AssertionError("it is supported")
assert vsitlm.path("x.jp2") == "/vsitlm?as=tiff&url=x.jp2"
"""


@pytest.mark.parametrize(
    ("damaged", "content", "words"),
    [
        ("plugin/gdal_vsitlm.so", None, "cannot open shared object file"),
        ("plugin/gdal_vsitlm.so", b"\x7fELF for another machine", "file too short"),
        ("_vsitlm.abi3.so", bytes(4096), "invalid ELF header"),
        ("_vsitlm.abi3.so", None, "_vsitlm"),
    ],
)
def test_a_broken_package_breaks_no_import(damaged: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    file = package(tmp_path) / damaged
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    run(UNSUPPORTED, words, folder=tmp_path)


@only_once
def test_a_gdal_that_is_too_old_is_warned_of(tmp_path: Path) -> None:
    if not (cc := shutil.which("cc")):
        pytest.skip("no C compiler")
    source = 'const char *GDALVersionInfo(const char *what) { return what[0] == \'R\' ? "2.4.4" : "2040400"; }'
    library = tmp_path / "libgdal.so.20"
    subprocess.run([cc, "-shared", "-fPIC", "-o", library, "-xc", "-"], input=source, text=True, check=True)
    code = """
import ctypes, sys, warnings
ctypes.CDLL(sys.argv[1])
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    import vsitlm
(warning,) = told
assert warning.category is vsitlm.VsitlmWarning and warning.filename == "<string>", warning
assert sys.argv[1] in str(warning.message) and "2.4.4" in str(warning.message), warning
(old,) = vsitlm.info().gdals
assert not old.served and old.reason and "not served" in str(vsitlm.info())
import rasterio
with rasterio.Env():
    assert [gdal.served for gdal in vsitlm.info().gdals] == [False, True]
"""
    run(code, library)


@only_once
def test_the_command_says_that_it_cannot_be_run(tmp_path: Path) -> None:
    (package(tmp_path) / "plugin/gdal_vsitlm.so").unlink()
    code = "import sys, vsitlm.__main__; sys.argv = ['vsitlm', 'info']; vsitlm.__main__.main()"
    done = run(code, folder=tmp_path, check=False)
    assert done.returncode == 1 and done.stderr.count("is not available") == 2, done.stderr


def test_the_site_is_the_wheel() -> None:
    assert (SITE / "vsitlm/plugin/gdal_vsitlm.so").read_bytes() == (WHERE / "plugin/gdal_vsitlm.so").read_bytes()
