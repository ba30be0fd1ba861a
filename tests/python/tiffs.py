"""TIFFs of every kind that the running GDAL makes; what GDAL tells of one, and its pixels; and where its parts lie.

The pixels are noise, the same in every run. What a GDAL does not make is not among `possible()`.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import random
import re
import resource
import struct
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import gdalio
import numpy as np

if gdalio.rasterio:
    import rasterio
    import rasterio.shutil
    from rasterio.enums import Resampling
else:
    from osgeo import gdal, gdal_array, osr

NO_SIDECARS = {"GDAL_PAM_ENABLED": "NO"}
ORIGIN, STEP = (399960.0, 5400000.0), 10.0
TAGS = {"A": "1 < 2 & 3", "TIFFTAG_IMAGEDESCRIPTION": "what it shows", "AREA_OR_POINT": "Area"}
BAND_TAGS = {"WAVELENGTH": "560 nm"}
LONG = "all that there is to tell of it " * 40
"""So long that a directory with it does not fit where the one without it was."""
FACTORS = (2, 4)


@dataclass(frozen=True)
class Kind:
    """A kind of TIFF."""

    shape: tuple[int, int, int] = (2, 210, 230)
    """Bands, rows, columns."""
    dtype: str = "uint16"
    options: Mapping[str, str | int] = field(default_factory=dict)
    """Creation options of GDAL's driver GTiff."""
    mask: bool = False
    overviews: tuple[int, ...] = ()
    """Their factors; they are made after the image, so they lie at the end."""
    beside: bool = False
    """Whether the overviews are in a file beside."""
    nodata: float | None = None
    palette: bool = False
    told: bool = True
    """Whether it has metadata."""
    told_late: bool = False
    """Whether it gets more of them when it has its pixels: its directory then moves to the end."""
    written: float = 1.0
    """The share of its rows and columns that are written."""
    copied: Mapping[str, str | int] | None = None
    """Options of a copy, among them its `driver`: the kind is that of the copy."""
    pages: int = 1
    needs: tuple[int, int] = (3, 6)
    """The first GDAL that makes it."""

    @property
    def compressions(self) -> set[str]:
        """Those that GDAL must have."""
        named = {str(options.get("COMPRESS", "NONE")) for options in (self.options, self.copied or {})}
        return named

    def bits(self) -> int | None:
        """Of a sample, where they are other than those of its type."""
        return int(self.options["NBITS"]) if "NBITS" in self.options else None


TILES = {"TILED": "YES", "BLOCKXSIZE": 64, "BLOCKYSIZE": 64}
LOSSLESS = ("LZW", "DEFLATE", "PACKBITS", "ZSTD", "LZMA", "LERC", "LERC_DEFLATE", "LERC_ZSTD")
FAX = ("CCITTRLE", "CCITTFAX3", "CCITTFAX4")
COLOURS = Kind(shape=(3, 210, 230), dtype="uint8")
ONE_BAND = Kind(shape=(1, 210, 230))
SMALL = Kind(shape=(1, 45, 51), options={"BLOCKYSIZE": 10})


def of(kind: Kind, copied: Mapping[str, str | int] | None = None, **options: str | int) -> Kind:
    """The kind with more creation options."""
    return replace(kind, options={**kind.options, **options}, copied=copied)


def cog(kind: Kind = Kind(), **options: str | int) -> Kind:
    """The kind, copied by GDAL's COG driver."""
    return replace(kind, copied={"driver": "COG", "BLOCKSIZE": 128, "OVERVIEWS": "IGNORE_EXISTING", **options})


def all_kinds() -> Iterator[tuple[str, Kind]]:
    """Every kind and its name, whichever GDAL makes it."""
    plain, tiled = Kind(), Kind(options=TILES)
    yield "strips", of(plain, BLOCKYSIZE=16)
    yield "one strip", of(plain, BLOCKYSIZE=210)
    yield "tiles", tiled
    yield "planar strips", of(plain, INTERLEAVE="BAND", BLOCKYSIZE=16)
    yield "planar tiles", of(tiled, INTERLEAVE="BAND")
    yield "planar tiles with overviews", replace(of(tiled, INTERLEAVE="BAND", COMPRESS="DEFLATE"), overviews=FACTORS)
    for form in ("NO", "YES"):
        for order in ("LITTLE", "BIG"):
            name = f"{'BigTIFF' if form == 'YES' else 'classic'}, {order.lower()}-endian"
            yield name, replace(of(tiled, BIGTIFF=form, ENDIANNESS=order), overviews=FACTORS)
    for name in LOSSLESS:
        yield f"{name} strips", of(plain, COMPRESS=name)
        yield f"{name} tiles", replace(of(tiled, COMPRESS=name), overviews=FACTORS)
    for name in ("LZW", "DEFLATE", "ZSTD"):
        yield f"{name}, predictor 2", of(tiled, COMPRESS=name, PREDICTOR=2)
        yield f"{name}, predictor 3", replace(of(tiled, COMPRESS=name, PREDICTOR=3), dtype="float32")
    yield "big-endian with predictor 2", of(tiled, COMPRESS="DEFLATE", PREDICTOR=2, ENDIANNESS="BIG")
    yield "JPEG", of(replace(tiled, dtype="uint8"), COMPRESS="JPEG")
    yield "JPEG of 300 px", of(Kind(shape=(1, 300, 310), dtype="uint8"), COMPRESS="JPEG", **TILES)
    yield "JPEG as YCbCr", of(COLOURS, COMPRESS="JPEG", PHOTOMETRIC="YCBCR", **TILES)
    yield "JPEG with a mask", replace(of(COLOURS, COMPRESS="JPEG", PHOTOMETRIC="YCBCR", **TILES), mask=True)
    yield "JPEG without tables", of(COLOURS, COMPRESS="JPEG", JPEGTABLESMODE=0, **TILES)
    yield "WEBP", of(COLOURS, COMPRESS="WEBP", **TILES)
    yield "WEBP without loss", of(COLOURS, COMPRESS="WEBP", WEBP_LOSSLESS="YES", **TILES)
    yield "JXL", of(COLOURS, COMPRESS="JXL", JXL_EFFORT=1, **TILES)
    yield "JXL with loss", of(COLOURS, COMPRESS="JXL", JXL_LOSSLESS="NO", JXL_EFFORT=1, **TILES)
    for name in FAX:
        yield name, Kind(shape=(1, 210, 230), dtype="uint8", options={"COMPRESS": name, "NBITS": 1})
    for bits in range(1, 32):
        if bits not in (8, 16):
            dtype = "uint8" if bits < 8 else "uint16" if bits < 16 else "uint32"
            yield f"{bits} bits", replace(SMALL, dtype=dtype, options={"NBITS": bits, **SMALL.options})
    yield "3 bits in tiles", replace(ONE_BAND, dtype="uint8", options={"NBITS": 3, **TILES})
    yield "12 bits with DEFLATE", replace(ONE_BAND, options={"NBITS": 12, "COMPRESS": "DEFLATE", **TILES})
    yield "half floats", replace(SMALL, dtype="float32", options={"NBITS": 16, **SMALL.options})
    kinds = "uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64 complex_int16 complex64 complex128"
    for dtype in kinds.split():
        yield dtype, replace(SMALL, dtype=dtype)
    yield "int8", replace(SMALL, dtype="int8", needs=(3, 7))
    yield "float16", replace(SMALL, dtype="float16", needs=(3, 11))
    yield "a mask", replace(tiled, mask=True)
    yield "a mask and overviews", replace(of(tiled, COMPRESS="DEFLATE"), mask=True, overviews=FACTORS)
    yield "nodata", replace(tiled, nodata=7, overviews=FACTORS)
    yield "nodata of a float", replace(tiled, dtype="float32", nodata=-9999.5)
    yield "a palette", replace(of(ONE_BAND, **TILES), dtype="uint8", palette=True, overviews=FACTORS)
    yield "colours", of(COLOURS, PHOTOMETRIC="RGB", **TILES)
    yield "opacity", of(replace(COLOURS, shape=(4, 210, 230)), PHOTOMETRIC="RGB", ALPHA="YES", **TILES)
    yield "white is 0", of(replace(ONE_BAND, dtype="uint8"), PHOTOMETRIC="MINISWHITE")
    yield "overviews inside", replace(tiled, overviews=FACTORS)
    yield "overviews beside", replace(tiled, overviews=FACTORS, beside=True)
    yield "sparse", replace(of(tiled, SPARSE_OK="TRUE"), written=0.4, overviews=FACTORS)
    yield "sparse strips", replace(of(plain, SPARSE_OK="TRUE", BLOCKYSIZE=16), written=0.4)
    yield "nothing but sparse", replace(of(tiled, SPARSE_OK="TRUE"), written=0)
    yield "told late", replace(tiled, told_late=True)
    yield "told late, with overviews", replace(tiled, told_late=True, overviews=FACTORS)
    yield "two pages", replace(tiled, pages=2)
    tiny = {**TILES, "BLOCKXSIZE": 16, "BLOCKYSIZE": 16, "INTERLEAVE": "BAND"}
    yield "thousands of tiles", Kind((3, 590, 600), "uint8", tiny)
    yield "hundreds of strips", Kind((1, 600, 500), "uint8", {"BLOCKYSIZE": 1}, overviews=FACTORS)
    yield "one pixel", Kind(shape=(1, 1, 1))
    yield "no metadata", replace(SMALL, told=False)
    yield "larger", Kind(shape=(2, 600, 590), options={**TILES, "BLOCKXSIZE": 128, "BLOCKYSIZE": 128}, overviews=FACTORS)
    large = Kind(shape=(1, 600, 590))
    yield "COG", cog(large)
    yield "COG with DEFLATE", cog(large, COMPRESS="DEFLATE", PREDICTOR="YES")
    yield "COG with LZW and nodata", cog(replace(large, nodata=7), COMPRESS="LZW")
    yield "COG with JPEG", cog(replace(COLOURS, shape=(3, 400, 410)), COMPRESS="JPEG")
    yield "COG with WEBP", cog(replace(COLOURS, shape=(3, 400, 410)), COMPRESS="WEBP")
    yield "COG with a mask", cog(replace(large, mask=True), COMPRESS="DEFLATE")
    yield "COG with JPEG and a mask", cog(replace(COLOURS, shape=(3, 400, 410), mask=True), COMPRESS="JPEG")
    yield "COG in BigTIFF", cog(replace(large, shape=(3, 300, 310)), BIGTIFF="YES")
    yield "COG without overviews", cog(large, OVERVIEWS="NONE")
    yield "sparse COG", cog(replace(large, written=0.4), SPARSE_OK="TRUE")
    yield "changed COG", replace(cog(large), told_late=True)
    as_before = {"driver": "GTiff", "COPY_SRC_OVERVIEWS": "YES", **TILES, "COMPRESS": "DEFLATE"}
    yield "COG as before the driver", replace(large, overviews=FACTORS, copied=as_before)


KINDS: dict[str, Kind] = dict(all_kinds())


def file_name(name: str) -> str:
    """The name of a file of a kind."""
    return re.sub(r"\W+", "_", name) + ".tif"


@functools.cache
def driver_options(driver: str) -> str:
    """What GDAL lists of a driver's creation options, as XML; nothing where it has not the driver."""
    lib = gdalio.library()
    lib.GDALGetDriverByName.restype = ctypes.c_void_p
    lib.GDALGetMetadataItem.restype = ctypes.c_char_p
    lib.GDALGetMetadataItem.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
    found = lib.GDALGetDriverByName(driver.encode())
    return lib.GDALGetMetadataItem(found, b"DMD_CREATIONOPTIONLIST", None).decode() if found else ""


@functools.cache
def compressions() -> set[str]:
    """Those that GDAL lists."""
    listed = re.search(r"<Option name='COMPRESS'.*?</Option>", driver_options("GTiff"), re.DOTALL)
    assert listed
    return set(re.findall(r"<Value[^>]*>([^<]*)<", listed[0]))


def possible() -> dict[str, Kind]:
    """The kinds that this GDAL makes."""
    has_cog = bool(driver_options("COG"))
    return {
        name: kind
        for name, kind in KINDS.items()
        if kind.compressions <= compressions()
        and gdalio.version() >= kind.needs
        and (has_cog or (kind.copied or {}).get("driver") != "COG")
    }


def noise(kind: Kind, seed: int) -> np.ndarray:
    """Its pixels."""
    chance = np.random.default_rng(seed)
    dtype = np.dtype("complex64" if kind.dtype == "complex_int16" else kind.dtype)
    if kind.dtype == "complex_int16":
        real, imaginary = chance.integers(-999, 999, (2, *kind.shape))
        return (real + 1j * imaginary).astype(dtype)
    if dtype.kind == "c":
        return (chance.normal(size=kind.shape) + 1j * chance.normal(size=kind.shape)).astype(dtype)
    if dtype.kind == "f":
        return (chance.normal(size=kind.shape) * 100).astype(dtype)
    bits = kind.bits()
    top = (1 << bits) - 1 if bits else np.iinfo(dtype).max
    return chance.integers(0, top, kind.shape, dtype, endpoint=True)


def make(name: str, folder: Path, seed: int = 0) -> Path:
    """Makes a file of a kind, of other noise for another seed."""
    return make_kind(KINDS[name], folder / file_name(name), zlib.crc32(name.encode()) + seed)


def make_kind(kind: Kind, path: Path, seed: int = 0) -> Path:
    """Makes a file of a kind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first = path.with_name("source of " + path.name) if kind.copied or kind.pages > 1 else path
    create(kind, first, noise(kind, seed))
    if kind.overviews:
        build_overviews(kind, first)
    for page in range(kind.pages if kind.pages > 1 else 0):
        copy(first, path, {"driver": "GTiff", **kind.options, **({"APPEND_SUBDATASET": "YES"} if page else {})})
    if kind.copied:
        copy(first, path, kind.copied)
    if first != path:
        first.unlink()
    if kind.told_late:
        tell_more(path)
    return path


def create(kind: Kind, path: Path, pixels: np.ndarray) -> None:
    """Makes the image, and its mask."""
    _, height, width = kind.shape
    part = pixels[:, : int(height * kind.written), : int(width * kind.written)]
    mask = np.where(noise(ONE_BAND, 5)[0] % 3, 255, 0).astype("uint8")
    mask = np.resize(mask, (height, width)) if kind.mask else None
    with gdalio.configured({"GDAL_TIFF_INTERNAL_MASK": "YES", **NO_SIDECARS}):
        (create_by_rasterio if gdalio.rasterio else create_by_osgeo)(kind, path, part, mask)


COLOUR_TABLE = {value: (value, 255 - value, value * 7 % 256, 255) for value in range(256)}


def create_by_rasterio(kind: Kind, path: Path, part: np.ndarray, mask: np.ndarray | None) -> None:
    bands, height, width = kind.shape
    profile = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": bands,
        "dtype": kind.dtype,
        "crs": "EPSG:32631",
        "transform": rasterio.transform.from_origin(*ORIGIN, STEP, STEP),
        "nodata": kind.nodata,
        **kind.options,
    }
    with rasterio.open(path, "w", **profile) as made:
        if kind.told:
            made.update_tags(**TAGS)
            made.update_tags(1, **BAND_TAGS)
            made.set_band_description(1, "green")
            made.scales, made.offsets = [0.5] * bands, [3.0] * bands
        if kind.palette:
            made.write_colormap(1, COLOUR_TABLE)
        if part.size:
            made.write(part, window=rasterio.windows.Window(0, 0, part.shape[2], part.shape[1]))
        if mask is not None:
            made.write_mask(mask)


def create_by_osgeo(kind: Kind, path: Path, part: np.ndarray, mask: np.ndarray | None) -> None:
    bands, height, width = kind.shape
    code = gdal.GDT_CInt16 if kind.dtype == "complex_int16" else gdal_array.NumericTypeCodeToGDALTypeCode(part.dtype)
    options = [f"{option}={value}" for option, value in kind.options.items()]
    made = gdal.GetDriverByName("GTiff").Create(str(path), width, height, bands, code, options)
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32631)
    made.SetProjection(reference.ExportToWkt())
    made.SetGeoTransform((ORIGIN[0], STEP, 0, ORIGIN[1], 0, -STEP))
    each = [made.GetRasterBand(band + 1) for band in range(bands)]
    if kind.nodata is not None:
        each[0].SetNoDataValue(kind.nodata)
    if kind.told:
        made.SetMetadata(TAGS)
        each[0].SetMetadata(BAND_TAGS)
        each[0].SetDescription("green")
        for band in each:
            band.SetScale(0.5)
            band.SetOffset(3.0)
    if kind.palette:
        table = gdal.ColorTable()
        for value, colour in COLOUR_TABLE.items():
            table.SetColorEntry(value, colour)
        each[0].SetColorTable(table)
    if part.size:
        for band, pixels in zip(each, part):
            band.WriteArray(pixels)
    if mask is not None:
        made.CreateMaskBand(gdal.GMF_PER_DATASET)
        each[0].GetMaskBand().WriteArray(mask)
    made.FlushCache()


def build_overviews(kind: Kind, path: Path) -> None:
    """Builds the overviews of a file that is there."""
    options = {**NO_SIDECARS, "TIFF_USE_OVR": "YES" if kind.beside else "NO", "GDAL_TIFF_OVR_BLOCKSIZE": "64"}
    with gdalio.configured(options):
        if gdalio.rasterio:
            with rasterio.open(path, "r+") as made:
                made.build_overviews(list(kind.overviews), Resampling.nearest)
        else:
            made = gdal.Open(str(path), gdal.GA_Update)
            made.BuildOverviews("NEAREST", list(kind.overviews))


def copy(source: Path, path: Path, options: Mapping[str, str | int]) -> None:
    """Copies a file by a driver."""
    driver = str(options["driver"])
    rest = {name: value for name, value in options.items() if name != "driver"}
    with gdalio.configured({**NO_SIDECARS, "GDAL_TIFF_INTERNAL_MASK": "YES", "GDAL_TIFF_OVR_BLOCKSIZE": "128"}):
        if gdalio.rasterio:
            rasterio.shutil.copy(source, path, driver=driver, **rest)
        else:
            made = gdal.GetDriverByName(driver)
            made.CreateCopy(str(path), gdal.Open(str(source)), options=[f"{name}={rest[name]}" for name in rest])


def tell_more(path: Path) -> None:
    """Adds metadata to a file that is there."""
    # Newer GDALs ask for an option of the open before they change a COG.
    options = {"IGNORE_COG_LAYOUT_BREAK": "YES"} if gdalio.version() >= (3, 9) else {}
    with gdalio.configured(NO_SIDECARS):
        if gdalio.rasterio:
            with rasterio.open(path, "r+", driver="GTiff", **options) as made:
                made.update_tags(LONG=LONG)
        else:
            listed = [f"{name}={value}" for name, value in options.items()]
            made = gdal.OpenEx(str(path), gdal.OF_RASTER | gdal.OF_UPDATE, open_options=listed)
            made.SetMetadataItem("LONG", LONG)


def metadata(path: str) -> str:
    """All that GDAL tells without a look at pixels, as text: a NaN is not what it is."""
    told: list[Any] = [gdalio.describe(path)]
    if gdalio.rasterio:
        with rasterio.open(path) as made:
            told += [made.descriptions, made.scales, made.offsets, made.units, made.subdatasets]
            told += [made.tags(band) for band in made.indexes]
            told.append(made.colormap(1) if "palette" in str(made.colorinterp) else None)
            told += [made.compression, made.interleaving, made.photometric]
    else:
        made = gdal.Open(path)
        for band in map(made.GetRasterBand, range(1, made.RasterCount + 1)):
            told += [band.GetDescription(), band.GetScale(), band.GetOffset(), band.GetUnitType(), band.GetMetadata()]
            table = band.GetColorTable()
            told.append(table and [table.GetColorEntry(entry) for entry in range(table.GetCount())])
        told += [made.GetMetadata("SUBDATASETS")]
        told += [made.GetMetadataItem(name, "IMAGE_STRUCTURE") for name in ("COMPRESSION", "INTERLEAVE")]
    return re.sub(r":/\S*/", ":", str(told))  # but for where it lies, in the names of pages


def digest(pixels: np.ndarray) -> str:
    """What tells these pixels from others."""
    return f"{pixels.shape} {pixels.dtype} {hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]}"


def some_windows(size: tuple[int, int], count: int, seed: str) -> list[gdalio.Window]:
    """Windows inside an image of some columns and rows, the same in every run."""
    chance, found = random.Random(seed), []
    for _ in range(count):
        left, top = (chance.randrange(length) for length in size)
        found.append((left, top, *(chance.randint(1, min(150, end - at)) for end, at in zip(size, (left, top)))))
    return found


def all_pixels(path: str) -> dict[str, str]:
    """Digests of all its pixels: of windows first, then of overviews, masks and the image."""
    about = gdalio.describe(path)
    digests = {f"window {window}": digest(gdalio.read(path, window)) for window in some_windows(about["size"], 4, "w")}
    for number in range(len(about["overviews"][0])):
        height, width = gdalio.describe_overview(path, number)["size"][::-1]
        for window in some_windows((width, height), 2, "o"):
            digests[f"overview {number}, window {window}"] = digest(gdalio.overview(path, number, window))
        digests[f"overview {number}"] = digest(gdalio.overview(path, number))
    digests.update({f"mask {name}": digest(pixels) for name, pixels in masks(path, len(about["overviews"][0]))})
    digests["image"] = digest(gdalio.read(path))
    digests["structure"] = structure(path)
    return digests


def masks(path: str, overviews: int) -> Iterator[tuple[str, np.ndarray]]:
    """Those of the image and of its overviews."""
    if gdalio.rasterio:
        for number in range(-1, overviews):
            with rasterio.open(path, **({} if number < 0 else {"overview_level": number})) as made:
                yield f"of {number}", made.read_masks()
        return
    made = gdal.Open(path)
    bands = [made.GetRasterBand(band + 1) for band in range(made.RasterCount)]
    yield "of -1", np.stack([band.GetMaskBand().ReadAsArray() for band in bands])
    for number in range(overviews):
        yield f"of {number}", np.stack([band.GetOverview(number).GetMaskBand().ReadAsArray() for band in bands])


def structure(path: str) -> str:
    """What GDAL tells of compression, for which it may look at a tile."""
    if gdalio.rasterio:
        with rasterio.open(path) as made:
            return str([made.tags(ns="IMAGE_STRUCTURE"), made.tags(1, ns="IMAGE_STRUCTURE")])
    made = gdal.Open(path)
    return str([made.GetMetadata("IMAGE_STRUCTURE"), made.GetRasterBand(1).GetMetadata("IMAGE_STRUCTURE")])


class Look(NamedTuple):
    """What was seen of some files, in their order; texts of errors where there were some."""

    metadata: list[str]
    before: dict[str, Any]
    """What a server had been asked for until the first pixel was read."""
    pixels: list[dict[str, str]]


def look(paths: list[str], stats: str | None = None) -> Look:
    """All of some files: first the metadata of each, then the pixels of each. `stats` is the URL of a server's counters."""
    told = [tried(metadata, path) for path in paths]
    before = json.loads(urllib.request.urlopen(stats, timeout=60).read()) if stats else {}
    return Look(told, before, [tried(all_pixels, path) for path in paths])


def tried(work: Any, path: str) -> Any:
    """What `work` gives, or the text of what it raises."""
    try:
        return work(path)
    except Exception as error:  # also those of numpy, where GDAL gives nothing
        return f"{path}: {gdalio.chain(error)}"


class Attempt(NamedTuple):
    """What came of opening and reading a file that may be damaged."""

    opens: bool
    digest: str | None
    """Of its pixels; of a large one, of a few. `None` where they cannot be read."""
    error: str


def attempt(path: str) -> Attempt:
    """Opens and reads a file, as far as that goes."""
    try:
        width, height = gdalio.describe(path)["size"]
    except Exception as error:  # osgeo.gdal gives None, on which anything fails
        return Attempt(False, None, gdalio.chain(error))
    window = (0, 0, min(width, 600), min(height, 600))
    try:
        return Attempt(True, digest(gdalio.read(path, window)), "")
    except gdalio.Failed as error:
        return Attempt(True, None, str(error))


def attempts(paths: list[str]) -> tuple[list[Attempt], int]:
    """The same of some files, and the most memory that the process has had, in bytes."""
    done = [attempt(path) for path in paths]
    return done, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Directory(NamedTuple):
    """An image, overview or mask of a file: TIFF 6.0, section 2."""

    start: int
    entries: dict[int, int]
    """Where the entry of each tag stands."""
    values: dict[int, list[int]]
    """Those that are whole numbers."""
    places: dict[int, int]
    """Where they stand."""
    following: int
    """Where the offset of the next directory stands."""

    def value(self, tag: int, default: int = 0) -> int:
        """The first value of a tag."""
        return self.values.get(tag, [default])[0]


WIDTH, LENGTH, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 256, 257, 322, 323, 324, 325
SUBFILE = 254
OVERVIEW, MASK = 1, 4
"""Bits of SUBFILE."""
NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}


def directories(content: bytes) -> list[Directory]:
    """Those of a file that is not damaged."""
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", content, 2)[0] == 43
    offset, head, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    width, found = struct.calcsize("<" + offset), []

    def number(form: str, at: int) -> int:
        return struct.unpack_from(order + form, content, at)[0]

    following = 8 if big else 4
    while start := number(offset, following):
        entries, values, places = {}, {}, {}
        at = start + struct.calcsize("<" + head)
        for _ in range(number(head, start)):
            tag, kind, count = struct.unpack_from(order + entry, content, at)
            value = at + struct.calcsize("<" + entry)
            entries[tag] = at
            if form := NUMBERS.get(kind):
                inline = count * struct.calcsize("<" + form) <= width
                places[tag] = value if inline else number(offset, value)
                values[tag] = list(struct.unpack_from(f"{order}{count}{form}", content, places[tag]))
            at = value + width
        found.append(Directory(start, entries, values, places, at))
        following = at
    return found


def tiles_of(image: Directory, window: gdalio.Window) -> list[list[tuple[int, int]]]:
    """Offset and length of the tiles under a window of a chunky image, row by row."""
    left, top, width, height = window
    across, down = image.value(TILE_WIDTH), image.value(TILE_LENGTH)
    columns = -(-image.value(WIDTH) // across)
    return [
        [
            (image.values[TILE_OFFSETS][row * columns + column], image.values[TILE_COUNTS][row * columns + column])
            for column in range(left // across, (left + width - 1) // across + 1)
        ]
        for row in range(top // down, (top + height - 1) // down + 1)
    ]
