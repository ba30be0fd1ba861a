"""GDAL by whatever Python has of it: rasterio, else osgeo.gdal, and its C functions for plain file access."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

try:
    import rasterio
    import rasterio.shutil
    from rasterio.io import MemoryFile
    from rasterio.vrt import WarpedVRT
    from rasterio.windows import Window as RasterioWindow
except ImportError:
    rasterio = None
    from osgeo import gdal, gdal_array, osr

    gdal.DontUseExceptions()  # errors are printed, those of worker threads too
else:
    # rasterio hands what GDAL says on a thread of its own to logging.
    logging.basicConfig(level=logging.DEBUG if os.environ.get("CPL_DEBUG") else logging.WARNING)

Window = tuple[int, int, int, int]
"""First column, first row, width and height, in pixels."""


class Failed(Exception):
    """GDAL could not open or read; the message is GDAL's."""


def chain(error: BaseException | None) -> str:
    """The messages of an error and of what caused it."""
    causes = []
    while error:
        causes.append(str(error))
        error = error.__cause__ or error.__context__
    return ": ".join(causes)


def version() -> tuple[int, int]:
    """GDAL's version, such as (3, 10)."""
    text = rasterio.__gdal_version__ if rasterio else gdal.__version__
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


@contextmanager
def configured(options: Mapping[str, str]) -> Iterator[None]:
    """Sets configuration options, the way of the library at hand."""
    if rasterio:
        with rasterio.Env(**options):
            yield
        return
    before = {name: gdal.GetConfigOption(name) for name in options}
    for name, value in options.items():
        gdal.SetConfigOption(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            gdal.SetConfigOption(name, value)


def read(
    path: str,
    window: Window | None = None,
    options: Mapping[str, str] | None = None,
    shape: tuple[int, int] | None = None,
) -> np.ndarray:
    """The pixels of a window or of the whole image, or as many rows and columns as `shape` says: bands, rows, columns."""
    with configured(options or {}):
        if rasterio:
            try:
                with rasterio.open(path) as dataset:
                    out_shape = (dataset.count, *shape) if shape else None
                    return dataset.read(window=RasterioWindow(*window) if window else None, out_shape=out_shape)
            except (rasterio.errors.RasterioError, OSError) as error:
                raise Failed(chain(error)) from None
        gdal.ErrorReset()
        dataset = gdal.Open(path)
        if dataset is None:
            raise Failed(gdal.GetLastErrorMsg())
        rows, columns = shape or (None, None)
        pixels = dataset.ReadAsArray(*(window or ()), buf_xsize=columns, buf_ysize=rows)
        if pixels is None:
            raise Failed(gdal.GetLastErrorMsg())
        return pixels if pixels.ndim == 3 else pixels[None]


@contextmanager
def opened(path: str) -> Iterator[Callable[[Window | None], np.ndarray]]:
    """A dataset that stays open: a function that reads windows of it."""
    if rasterio:
        with rasterio.open(path) as dataset:

            def read_window(window: Window | None = None) -> np.ndarray:
                try:
                    return dataset.read(window=RasterioWindow(*window) if window else None)
                except (rasterio.errors.RasterioError, OSError) as error:
                    raise Failed(chain(error)) from None

            yield read_window
        return
    gdal.ErrorReset()
    dataset = gdal.Open(path)
    if dataset is None:
        raise Failed(gdal.GetLastErrorMsg())

    def read_array(window: Window | None = None) -> np.ndarray:
        pixels = dataset.ReadAsArray(*(window or ()))
        if pixels is None:
            raise Failed(gdal.GetLastErrorMsg())
        return pixels if pixels.ndim == 3 else pixels[None]

    yield read_array


def read_band(path: str, window: Window) -> np.ndarray:
    """The pixels of the first band, read as a band: rows, columns. Only osgeo.gdal does so."""
    with raising():
        dataset = gdal.Open(path)  # which must outlive its band
        return dataset.GetRasterBand(1).ReadAsArray(*window)


def read_vrt(path: str, window: Window) -> np.ndarray:
    """The pixels by way of a VRT, which reads bands: bands, rows, columns."""
    about = describe(path)
    width, height = about["size"]
    sizes = f'rasterXSize="{width}" rasterYSize="{height}"'
    bands = "".join(
        f'<VRTRasterBand dataType="{about["gdal_types"][band]}" band="{band + 1}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{escape(path)}</SourceFilename><SourceBand>{band + 1}</SourceBand>'
        f"</SimpleSource></VRTRasterBand>"
        for band in range(about["bands"])
    )
    return read(f"<VRTDataset {sizes}>{bands}</VRTDataset>", window)


def read_warped(path: str, window: Window) -> np.ndarray:
    """The pixels by way of a warped VRT that changes nothing."""
    if rasterio:
        try:
            with rasterio.open(path) as dataset, WarpedVRT(dataset) as warped:
                return warped.read(window=RasterioWindow(*window))
        except (rasterio.errors.RasterioError, OSError) as error:
            raise Failed(str(error)) from None
    with raising():
        pixels = gdal.AutoCreateWarpedVRT(gdal.Open(path)).ReadAsArray(*window)
        return pixels if pixels.ndim == 3 else pixels[None]


@contextmanager
def raising() -> Iterator[None]:
    """osgeo.gdal raises exceptions, and these are `Failed`."""
    gdal.UseExceptions()
    try:
        yield
    except RuntimeError as error:
        raise Failed(str(error)) from None
    finally:
        gdal.DontUseExceptions()


def overview(path: str, number: int, window: Window | None = None) -> np.ndarray:
    """The pixels of an overview, the finest being number 0, or of a window in its own pixels."""
    if rasterio:
        try:
            with rasterio.open(path, overview_level=number) as dataset:
                return dataset.read(window=RasterioWindow(*window) if window else None)
        except (rasterio.errors.RasterioError, OSError) as error:
            raise Failed(str(error)) from None
    _dataset, bands = overview_bands(path, number)
    return np.stack([band.ReadAsArray(*(window or ())) for band in bands])


def describe_overview(path: str, number: int) -> dict[str, Any]:
    """What GDAL says of an overview, without its pixels."""
    if rasterio:
        with rasterio.open(path, overview_level=number) as dataset:
            return {
                "size": (dataset.width, dataset.height),
                "types": dataset.dtypes,
                "nodata": dataset.nodatavals,
                "masks": dataset.mask_flag_enums,
                "colours": dataset.colorinterp,
            }
    _dataset, bands = overview_bands(path, number)
    return {
        "size": (bands[0].XSize, bands[0].YSize),
        "types": [band.DataType for band in bands],
        "nodata": [band.GetNoDataValue() for band in bands],
        "masks": [band.GetMaskFlags() for band in bands],
    }


def overview_bands(path: str, number: int) -> tuple[Any, list[Any]]:
    """The dataset, which must outlive its bands, and an overview's bands: those of osgeo.gdal."""
    gdal.ErrorReset()
    dataset = gdal.Open(path)
    if dataset is None:
        raise Failed(gdal.GetLastErrorMsg())
    bands = [dataset.GetRasterBand(band + 1).GetOverview(number) for band in range(dataset.RasterCount)]
    if None in bands:
        raise Failed(f"{path} has no overview {number}")
    return dataset, bands


def driver(path: str) -> str:
    """The name of the driver that opens a raster."""
    if rasterio:
        with rasterio.open(path) as dataset:
            return dataset.driver
    dataset = gdal.Open(path)
    if dataset is None:
        raise Failed(gdal.GetLastErrorMsg())
    return dataset.GetDriver().ShortName


def files(path: str, window: Window) -> list[str]:
    """The files that GDAL lists of a dataset of which a window was read."""
    if rasterio:
        with rasterio.open(path) as dataset:
            dataset.read(window=RasterioWindow(*window))
            return dataset.files
    dataset = gdal.Open(path)
    dataset.ReadAsArray(*window)
    return dataset.GetFileList()


def describe(path: str) -> dict[str, Any]:
    """What GDAL says of a raster, without its pixels."""
    if rasterio:
        with rasterio.open(path) as dataset:
            return {
                "size": (dataset.width, dataset.height),
                "crs": dataset.crs.to_wkt() if dataset.crs else "",
                "transform": tuple(dataset.transform),
                "nodata": dataset.nodata,
                "bands": dataset.count,
                "colours": [str(colour) for colour in dataset.colorinterp],
                "overviews": [dataset.overviews(band) for band in dataset.indexes],
                "masks": dataset.mask_flag_enums,
                "blocks": dataset.block_shapes,
                "types": dataset.dtypes,
                "gdal_types": [rasterio.dtypes._gdal_typename(name) for name in dataset.dtypes],
                "tags": {name: value for name, value in dataset.tags().items()},
            }
    dataset = gdal.Open(path)
    bands = [dataset.GetRasterBand(number + 1) for number in range(dataset.RasterCount)]
    return {
        "size": (dataset.RasterXSize, dataset.RasterYSize),
        "crs": dataset.GetProjection(),
        "transform": dataset.GetGeoTransform(),
        "nodata": bands[0].GetNoDataValue(),
        "bands": len(bands),
        "colours": [band.GetColorInterpretation() for band in bands],
        "overviews": [[band.GetOverview(n).XSize for n in range(band.GetOverviewCount())] for band in bands],
        "masks": [band.GetMaskFlags() for band in bands],
        "blocks": [band.GetBlockSize() for band in bands],
        "types": [band.DataType for band in bands],
        "gdal_types": [gdal.GetDataTypeName(band.DataType) for band in bands],
        "tags": dataset.GetMetadata(),
    }


def make_jp2(
    path: Path,
    pixels: np.ndarray,
    epsg: int = 32631,
    origin: tuple[float, float] = (399960.0, 5400000.0),
    pixel: float = 10.0,
    **creation: str | int,
) -> Path:
    """Writes pixels (bands, rows, columns) by GDAL's JP2OpenJPEG driver: lossless, without side-cars.

    `origin` is their upper left corner, `pixel` the length of one, in metres.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    creation = {"QUALITY": 100, "REVERSIBLE": "YES", **creation}
    bands, height, width = pixels.shape
    if rasterio:
        profile = {
            "driver": "GTiff",
            "width": width,
            "height": height,
            "count": bands,
            "dtype": str(pixels.dtype),
            "crs": f"EPSG:{epsg}",
            "transform": rasterio.transform.from_origin(*origin, pixel, pixel),
        }
        with rasterio.Env(GDAL_PAM_ENABLED="NO"), MemoryFile() as memory:
            with memory.open(**profile) as made:
                made.write(pixels)
            with memory.open() as source:
                rasterio.shutil.copy(source, path, driver="JP2OpenJPEG", **creation)
        return path
    with configured({"GDAL_PAM_ENABLED": "NO"}):
        source = gdal_array.OpenArray(pixels)
        source.SetGeoTransform((origin[0], pixel, 0, origin[1], 0, -pixel))
        reference = osr.SpatialReference()
        reference.ImportFromEPSG(epsg)
        source.SetProjection(reference.ExportToWkt())
        options = [f"{name}={value}" for name, value in creation.items()]
        gdal.GetDriverByName("JP2OpenJPEG").CreateCopy(str(path), source, options=options)
    return path


def register() -> None:
    """Makes GDAL register its drivers and load its plugins."""
    if rasterio:
        with rasterio.Env():
            pass
    else:
        gdal.AllRegister()


def libraries(name: str) -> list[str]:
    """The files of this process's loaded libraries whose name has `name` in it."""
    with open("/proc/self/maps") as maps:
        paths = {line.split(maxsplit=5)[5].strip() for line in maps if len(line.split(maxsplit=5)) == 6}
    return sorted(path for path in paths if name in Path(path).name)


@functools.cache
def library() -> ctypes.CDLL:
    """The libgdal of this process, its file functions declared."""
    register()
    return declared(ctypes.CDLL(libraries("libgdal")[0]))


def declared(lib: ctypes.CDLL) -> ctypes.CDLL:
    """Tells ctypes the types of a libgdal's file functions."""
    lib.VSIFOpenL.restype = ctypes.c_void_p
    lib.VSIFOpenL.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    lib.VSIFCloseL.argtypes = [ctypes.c_void_p]
    lib.VSIFReadL.restype = ctypes.c_size_t
    lib.VSIFReadL.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
    lib.VSIFSeekL.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int]
    lib.VSIFTellL.argtypes = [ctypes.c_void_p]
    lib.VSIFTellL.restype = ctypes.c_uint64
    lib.VSIFEofL.argtypes = [ctypes.c_void_p]
    lib.CPLGetLastErrorMsg.restype = ctypes.c_char_p
    lib.GDALVersionInfo.restype = ctypes.c_char_p
    lib.GDALVersionInfo.argtypes = [ctypes.c_char_p]
    lib.CPLSetConfigOption.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    return lib


def plugin() -> ctypes.CDLL:
    """The plugin that GDAL has loaded, its functions declared."""
    register()
    lib = ctypes.CDLL(libraries("gdal_vsitlm")[0])
    lib.vsitlm_version.restype = ctypes.c_char_p
    lib.vsitlm_read_errors.restype = ctypes.c_uint64
    lib.vsitlm_last_error.restype = ctypes.c_size_t
    lib.vsitlm_last_error.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return lib


def last_error() -> str:
    """The plugin's last read error, of any thread."""
    text = ctypes.create_string_buffer(4096)
    plugin().vsitlm_last_error(text, len(text))
    return text.value.decode()


def exists(path: str) -> bool:
    """Whether a stat finds the file."""
    lib = library()
    return lib.VSIStatL(path.encode(), ctypes.create_string_buffer(256)) == 0


def copy_bytes(path: str, chunk: int, lib: ctypes.CDLL | None = None) -> bytes:
    """The file from end to end, by reads of `chunk` bytes that stop at the first short one, as file copies do."""
    lib = lib or library()
    handle = lib.VSIFOpenL(path.encode(), b"rb")
    if not handle:
        raise Failed(lib.CPLGetLastErrorMsg().decode())
    buffer = ctypes.create_string_buffer(chunk)
    copied = []
    while True:
        count = lib.VSIFReadL(buffer, 1, chunk, handle)
        copied.append(buffer.raw[:count])
        if count < chunk:
            break
    lib.VSIFCloseL(handle)
    return b"".join(copied)
