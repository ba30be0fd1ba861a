#!/usr/bin/env python3
"""Reads a made JP2 through the plugin in Debian's GDAL under valgrind: from a disk, and over HTTP.

Fails where memory is used wrongly by code of the plugin, or by code that the plugin calls or that calls it; where bytes
are lost by it; and where the pixels are wrong. What others do wrong is in scripts/suppressions/valgrind.txt.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from osgeo import gdal

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "target/plugin/gdal_vsitlm.so"
LOGS = ROOT / "target/valgrind"
WIDTH, HEIGHT = 700, 500
"""Six tiles by four of 128 px: enough for reads by several threads, few enough for valgrind."""

gdal.UseExceptions()


def make(path: Path) -> None:
    """Writes a JP2 as Sentinel-2's are: tiles, PLT, no TLM."""
    pixels = np.random.default_rng(1).integers(0, 4000, (HEIGHT, WIDTH), dtype=np.uint16)
    memory = gdal.GetDriverByName("MEM").Create("", WIDTH, HEIGHT, 1, gdal.GDT_UInt16)
    memory.GetRasterBand(1).WriteArray(pixels)
    options = ["REVERSIBLE=YES", "QUALITY=100", "BLOCKXSIZE=128", "BLOCKYSIZE=128", "RESOLUTIONS=3", "PLT=YES"]
    gdal.GetDriverByName("JP2OpenJPEG").CreateCopy(str(path), memory, options=options)


def errors(log: Path) -> list[str]:
    """What valgrind tells of stacks that the plugin is in."""
    found = []
    for error in ET.parse(log).getroot().iter("error"):
        frames = [
            (frame.findtext("obj", ""), frame.findtext("fn", "?")) for stack in error.iter("stack") for frame in stack
        ]
        if any(Path(obj).name == PLUGIN.name for obj, _ in frames):
            what = error.findtext("what") or error.findtext("xwhat/text")
            found.append("\n    ".join([f"{what}", *(f"{fn} ({Path(obj).name})" for obj, fn in frames[:24])]))
    return found


def check(name: str, path: str, plain: Path, arguments: list[str]) -> list[str]:
    """Translates `path` under valgrind and `plain` without: the faults."""
    log, out = LOGS / f"{name}.xml", LOGS / f"{name}.tif"
    command = ["valgrind", "--xml=yes", f"--xml-file={log}", "--leak-check=full", "--show-leak-kinds=definite"]
    command += ["--errors-for-leak-kinds=definite", "--num-callers=40", "--fair-sched=yes"]
    command += [f"--suppressions={ROOT}/scripts/suppressions/valgrind.txt"]
    translate = ["gdal_translate", "-q", *arguments]
    options = {"GDAL_DRIVER_PATH": str(PLUGIN.parent), "VSITLM_CACHE_DIR": "NO", "PATH": "/usr/bin:/bin"}
    run = subprocess.run([*command, *translate, path, str(out)], env=options, capture_output=True, text=True)
    if run.returncode != 0:
        return [f"gdal_translate ended with {run.returncode}: {run.stderr[-2000:]}"]
    oracle = LOGS / f"{name}-plain.tif"
    subprocess.run([*translate, str(plain), str(oracle)], env={"PATH": "/usr/bin:/bin"}, check=True)
    one, other = (gdal.Open(str(tif)).ReadAsArray() for tif in (out, oracle))
    wrong = [] if np.array_equal(one, other) else ["the pixels are not those of the plain file"]
    return errors(log) + wrong


def main() -> None:
    LOGS.mkdir(parents=True, exist_ok=True)
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        jp2 = Path(folder) / "x.jp2"
        make(jp2)
        server = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts/range_server.py"), folder, "--rtt-ms", "5", "--mbps", "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout and server.stdin
        url = f"http://127.0.0.1:{server.stdout.readline().split()[1]}/x.jp2"
        threads = ["--config", "GDAL_NUM_THREADS", "4"]
        for name, path, arguments in [
            ("local", f"/vsitlm/{jp2}", []),
            ("remote", f"/vsitlm/{url}", threads),
            ("overview", f"/vsitlm/{url}", [*threads, "-outsize", "25%", "25%", "-r", "nearest"]),
            ("handler", f"/vsitlm//vsicurl/{url}", ["--config", "VSITLM_TRANSPORT", "GDAL", "-srcwin", "0", "0", "90", "90"]),
        ]:
            found = check(name, path, jp2, arguments)
            print(f"valgrind: {name}: {len(found) or 'no'} faults", flush=True)
            for fault in found:
                print(f"  {fault}", file=sys.stderr)
            faults += len(found)
        server.stdin.close()
        server.wait()
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
