"""Checks a wheel against its name: `check_wheel.py WHEEL GLIBC`, by the Python of target/py/wheel.

auditwheel must find the platform of the wheel's name true, and each of the two libraries in it, the extension and the
plugin, must need no symbol of a glibc later than GLIBC, no library that manylinux does not have, and the unwinder of the
process, libgcc_s, rather than one of its own.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from elftools.elf.elffile import ELFFile

LIBRARIES = {"vsitlm/_vsitlm.abi3.so", "vsitlm/plugin/gdal_vsitlm.so"}
ALLOWED = re.compile(r"(lib(c|m|dl|rt|pthread|gcc_s)|ld-linux-x86-64)\.so\.\d+")


def version(text: str) -> tuple[int, ...]:
    """A version, to be compared."""
    return tuple(map(int, text.split(".")))


def complaints(name: str, library: bytes, glibc: str) -> list[str]:
    """What a library needs and must not."""
    elf = ELFFile(io.BytesIO(library))
    needed = [tag.needed for tag in elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")]
    found = [f"{name} needs {one}" for one in needed if not ALLOWED.fullmatch(one)]
    if "libgcc_s.so.1" not in needed:
        found.append(f"{name} does not need libgcc_s.so.1: it has an unwinder of its own")
    for _, symbols in elf.get_section_by_name(".gnu.version_r").iter_versions():
        for symbol in symbols:
            kind, _, number = symbol.name.partition("_")
            if kind == "GLIBC" and version(number) > version(glibc):
                found.append(f"{name} needs {symbol.name}")
    return found


def main() -> None:
    """Ends with 1 and says why where something does not fit."""
    wheel, glibc = Path(sys.argv[1]), sys.argv[2]
    platform = f"manylinux_{glibc.replace('.', '_')}_x86_64"
    found = [] if wheel.stem.endswith(f"-cp310-abi3-{platform}") else [f"{wheel.name} is not called {platform}"]
    with zipfile.ZipFile(wheel) as content:
        libraries = {name for name in content.namelist() if name.endswith(".so")}
        if libraries != LIBRARIES:
            found.append(f"the libraries are {sorted(libraries)}")
        for name in sorted(libraries):
            found += complaints(name, content.read(name), glibc)
    shown = subprocess.run([sys.executable, "-m", "auditwheel", "show", str(wheel)], capture_output=True, text=True)
    said = " ".join(shown.stdout.split())
    tag = re.search(r'is consistent with the following platform tag: "manylinux_(\d+)_(\d+)_x86_64"', said)
    if not tag or version(f"{tag[1]}.{tag[2]}") > version(glibc):
        found.append(f"auditwheel: {said}{shown.stderr}")
    if found:
        sys.exit("\n".join(found))
    print(f"{wheel}: {wheel.stat().st_size / 1e6:.1f} MB, {platform}")


if __name__ == "__main__":
    main()
