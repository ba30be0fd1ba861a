"""What tests of folders do in a process of its own (see apart.py)."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import gdalio


def folder_of(path: str) -> dict[str, Any]:
    """What GDAL tells of a folder: its entries, and whether it and each of them is one."""
    lib = gdalio.library()
    lib.VSIReadDir.restype = ctypes.POINTER(ctypes.c_char_p)
    lib.VSIReadDir.argtypes = [ctypes.c_char_p]
    lib.VSIStatL.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    names: list[str] = []
    entries = lib.VSIReadDir(path.encode())
    while entries and entries[len(names)]:
        names.append(entries[len(names)].decode())

    def mode(name: str) -> int | None:
        # struct stat64 on x86-64 and aarch64 Linux: os.stat_result's st_mode is at 24 and 16.
        buffer = (ctypes.c_char * 256)()
        if lib.VSIStatL(name.encode(), buffer) != 0:
            return None
        return int.from_bytes(buffer.raw[at : at + 4], "little") & 0o170000

    at = 24 if os.uname().machine == "x86_64" else 16
    return {"names": names, "mode": mode(path), "modes": [mode(f"{path.rstrip('/')}/{name}") for name in names]}


def read_dir(path: str) -> list[str]:
    """osgeo.gdal's list of a folder."""
    from osgeo import gdal

    gdal.AllRegister()
    return gdal.ReadDir(path)


def vsi_list(*arguments: str) -> str:
    """What `gdal vsi list` prints."""
    lib = gdalio.library()
    for name in (
        "GDALGetGlobalAlgorithmRegistry",
        "GDALAlgorithmRegistryInstantiateAlg",
        "GDALAlgorithmInstantiateSubAlgorithm",
        "GDALAlgorithmGetArg",
    ):
        getattr(lib, name).restype = ctypes.c_void_p
        getattr(lib, name).argtypes = [ctypes.c_void_p, ctypes.c_char_p][: 0 if "Global" in name else 2]
    lib.GDALAlgorithmParseCommandLineArguments.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p)]
    lib.GDALAlgorithmRun.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    lib.GDALAlgorithmArgGetAsString.restype = ctypes.c_char_p
    lib.GDALAlgorithmArgGetAsString.argtypes = [ctypes.c_void_p]
    for name in ("GDALAlgorithmParseCommandLineArguments", "GDALAlgorithmRun"):
        getattr(lib, name).restype = ctypes.c_bool
    vsi = lib.GDALAlgorithmRegistryInstantiateAlg(lib.GDALGetGlobalAlgorithmRegistry(), b"vsi")
    algorithm = lib.GDALAlgorithmInstantiateSubAlgorithm(vsi, b"list")
    words = (ctypes.c_char_p * (len(arguments) + 1))(*[word.encode() for word in arguments], None)
    if not lib.GDALAlgorithmParseCommandLineArguments(algorithm, words):
        raise gdalio.Failed(lib.CPLGetLastErrorMsg().decode())
    if not lib.GDALAlgorithmRun(algorithm, None, None):
        raise gdalio.Failed(lib.CPLGetLastErrorMsg().decode())
    return lib.GDALAlgorithmArgGetAsString(lib.GDALAlgorithmGetArg(algorithm, b"output-string")).decode()
