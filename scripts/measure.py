"""Reads windows of one JP2 over HTTP through /vsitlm/ and its peers, and counts what each read costs.

The peers: plain /vsicurl/; the same with a TLM spliced in by /vsisparse/, as the Python package jp2io does; the pixels
as a COG; and the local file. A server with injected round trips stands in for the archive (range_server.py, which has
to lie beside this file). Every read runs in a new process, so that no cache of GDAL's helps the next one. Its clock
starts when rasterio is imported and the drivers are registered, and stops when the pixels are there; what it asked of
the server is counted until the process has ended. demo.py and bench.py make tables of this.

As a program this is the process that reads; its one argument is a job as JSON (see `read_job` and `run_job`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

Window = tuple[int, int, int, int]
"""First column, first row, width and height, in pixels."""

PLAIN, SPARSE, COG, VSITLM, LOCAL = "plain /vsicurl/", "TLM by /vsisparse/", "COG", "/vsitlm/", "local file"
OWN_OPTIONS = ("GDAL_", "CPL_", "VSI", "AWS_", "JP2")
"""Prefixes of the variables that a measured process does not inherit."""


@dataclass(frozen=True)
class Codestream:
    """Where the parts of a JP2 lie, in bytes from the file's start, and its tile grid in pixels."""

    size: int
    first_sot: int
    width: int
    height: int
    tile_width: int
    tile_height: int
    tile_parts: list[tuple[int, int, int]]
    """Tile index, offset and length of every tile-part, in the file's order."""
    has_tlm: bool

    @staticmethod
    def scan(path: Path) -> Codestream:
        """Walks the boxes, the main header and the tile-parts of a JP2."""
        size = path.stat().st_size
        with path.open("rb") as file:

            def take(offset: int, layout: str) -> tuple[Any, ...]:
                file.seek(offset)
                return struct.unpack(layout, file.read(struct.calcsize(layout)))

            offset = 0
            while True:
                length, kind = take(offset, ">I4s")
                header = 16 if length == 1 else 8
                if kind == b"jp2c":
                    break
                length = take(offset + 8, ">Q")[0] if length == 1 else length
                if length < header or offset + length >= size:
                    raise ValueError(f"{path}: no codestream")
                offset += length
            offset += header + 2
            grid: tuple[int, ...] = ()
            has_tlm = False
            while (marker := take(offset, ">HH"))[0] != 0xFF90:
                if marker[0] == 0xFF51:
                    grid = take(offset + 6, ">8I")
                has_tlm |= marker[0] == 0xFF55
                offset += 2 + marker[1]
            first_sot, parts = offset, []
            while offset + 12 <= size and take(offset, ">H")[0] == 0xFF90:
                tile, length = take(offset + 4, ">HI")
                length = length or size - 2 - offset
                parts.append((tile, offset, length))
                offset += length
        if grid[2:4] != (0, 0) or grid[6:8] != (0, 0):
            raise ValueError(f"{path}: the tile grid does not begin at 0, 0")
        return Codestream(size, first_sot, grid[0], grid[1], grid[4], grid[5], parts, has_tlm)

    def tlm(self) -> bytes:
        """The TLM marker segment that says where the tile-parts lie (T.800, A.7.1)."""
        wide = max(tile for tile, _, _ in self.tile_parts) > 255
        entries = b"".join(struct.pack(">HI" if wide else ">BI", tile, length) for tile, _, length in self.tile_parts)
        return struct.pack(">HHBB", 0xFF55, 4 + len(entries), 0, 0x60 if wide else 0x50) + entries

    def tile_bytes(self, column: int, row: int) -> int:
        """What the tile-parts of the tile of this pixel amount to."""
        across = -(-self.width // self.tile_width)
        index = row // self.tile_height * across + column // self.tile_width
        return sum(length for tile, _, length in self.tile_parts if tile == index)

    def inside(self, px: int) -> Window:
        """A window of `px` inside a tile in the middle of the image, or as much as the image has.

        Its first row is a multiple of `px`: luck for the COG, whose blocks of 512 px it then takes from one row only.
        """
        left = (-(-self.width // self.tile_width) - 1) // 2 * self.tile_width
        top = (-(-self.height // self.tile_height) - 1) // 2 * self.tile_height
        down = max(0, self.tile_height - px) // 2 // px * px
        return self.clipped(left + max(0, self.tile_width - px) // 2, top + down, px)

    def across(self, px: int) -> Window:
        """A window of `px` around the corner where four tiles in the middle of the image meet."""
        left = max(1, (-(-self.width // self.tile_width)) // 2) * self.tile_width
        top = max(1, (-(-self.height // self.tile_height)) // 2) * self.tile_height
        return self.clipped(left - px // 2, top - px // 2, px)

    def clipped(self, left: int, top: int, px: int) -> Window:
        left, top = max(0, min(left, self.width - px)), max(0, min(top, self.height - px))
        return left, top, min(px, self.width - left), min(px, self.height - top)


@dataclass(frozen=True)
class Case:
    """A read to be measured: what it is called, and the window (None: the whole image)."""

    name: str
    window: Window | None
    options: dict[str, str] = field(default_factory=dict)
    shape: tuple[int, int] | None = None
    """Rows and columns to read it at, where those are fewer than the window's: then overviews are used."""
    python: str = sys.executable
    """The Python that reads: with rasterio, or one that has only GDAL's own bindings."""


@dataclass(frozen=True)
class Peer:
    """A way to read a file: the path that GDAL opens, and the options set for it."""

    name: str
    path: str
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """What one read took and asked for; `pixels` is a hash of what it gave."""

    seconds: float
    pixels: str
    requests: int
    heads: int
    bytes: int
    connections: int
    max_inflight: int
    largest: int
    """The bytes of the largest range that was asked for."""


class Server:
    """range_server.py, running until the block is left."""

    def __init__(self, root: Path, rtt_ms: float) -> None:
        command = [sys.executable, str(Path(__file__).with_name("range_server.py")), str(root), "--rtt-ms", str(rtt_ms)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin and self.process.stdout
        words = self.process.stdout.readline().split()
        if words[:1] != ["port"]:
            raise RuntimeError("range_server.py did not start")
        self.url = f"http://127.0.0.1:{words[1]}"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=10)

    def stats(self) -> dict[str, Any]:
        """What was counted since the last reset."""
        counters: dict[str, Any] = ask(f"{self.url}/__stats")
        return counters

    def control(self, **changes: str | int | float) -> None:
        """Changes the latency, the bandwidth or the faults (see range_server.py)."""
        ask(f"{self.url}/__control?{urllib.parse.urlencode(changes)}")


def ask(url: str) -> Any:
    """GETs JSON from the server, past any proxy."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60) as reply:
        return json.load(reply)


class Measurement:
    """Some files behind a server, made ready for every peer; to be used in a `with`.

    `files` says which local JP2 is served under which path, `cogs` the same for the COGs. Without `plugin` (the folder
    of the plugin) and `vsitlm` (the command), only the peers can be read.
    """

    def __init__(
        self,
        files: dict[str, Path],
        cogs: dict[str, Path],
        plugin: Path | None = None,
        vsitlm: Path | None = None,
        rtt_ms: float = 50,
    ) -> None:
        self.files = files
        self.plugin = plugin.resolve() if plugin else None
        self.vsitlm = vsitlm.resolve() if vsitlm else None
        self.rtt_ms = rtt_ms
        self.folder = Path(tempfile.mkdtemp(prefix="vsitlm-measure-"))
        self.codestreams = {name: Codestream.scan(path) for name, path in files.items()}
        for name, path in [*files.items(), *cogs.items()]:
            link = self.folder / "served" / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())

    def __enter__(self) -> Measurement:
        try:
            self.server = Server(self.folder / "served", self.rtt_ms)
            for name in self.files:
                self.write_sparse(name)
            if self.vsitlm and self.files:
                self.server.control(rtt_ms=0)
                self.make_index([self.url(name) for name in self.files], self.index)
                self.server.control(rtt_ms=self.rtt_ms)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if hasattr(self, "server"):
            self.server.__exit__(kind, error, at)
        shutil.rmtree(self.folder)

    @property
    def index(self) -> Path:
        """The index made from the files' URLs."""
        return self.folder / "index.parquet"

    def url(self, name: str) -> str:
        """Where a served file is."""
        return f"{self.server.url}/{urllib.parse.quote(name)}"

    def make_index(self, inputs: Sequence[str], output: Path, *options: str) -> None:
        """Runs `vsitlm index`."""
        command = [str(self.vsitlm), "index", *inputs, "-o", str(output), *options]
        done = subprocess.run(
            command, env=self.environment({}), stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode != 0 or not output.exists():
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")

    def write_sparse(self, name: str) -> None:
        """Writes what /vsisparse/ needs for one file: the TLM, and how the three pieces follow one another."""
        stream = self.codestreams[name]
        tlm, description = self.sparse_files(name)
        tlm.write_bytes(b"" if stream.has_tlm else stream.tlm())
        length = tlm.stat().st_size
        remote = f"/vsicurl/{self.url(name)}"
        pieces = [
            (remote, 0, 0, stream.first_sot),
            (str(tlm), stream.first_sot, 0, length),
            (remote, stream.first_sot + length, stream.first_sot, stream.size - stream.first_sot),
        ]
        regions = "".join(
            f"<SubfileRegion><Filename>{source}</Filename><DestinationOffset>{to}</DestinationOffset>"
            f"<SourceOffset>{start}</SourceOffset><RegionLength>{count}</RegionLength></SubfileRegion>"
            for source, to, start, count in pieces
            if count
        )
        description.write_text(f"<VSISparseFile>{regions}</VSISparseFile>")

    def sparse_files(self, name: str) -> tuple[Path, Path]:
        number = list(self.files).index(name)
        return self.folder / f"{number}.tlm", self.folder / f"{number}.xml"

    def peer(self, kind: str, name: str) -> Peer:
        """How a file is read in the way of `kind`; for COG, `name` is the COG's.

        The peers get the option that spares them the search for side-cars: 42 requests more for a plain JP2 without.
        /vsitlm/ gets none.
        """
        if kind in (PLAIN, COG):
            return Peer(kind, f"/vsicurl/{self.url(name)}", {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"})
        if kind == SPARSE:
            ingested = str(self.codestreams[name].first_sot)
            options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_INGESTED_BYTES_AT_OPEN": ingested}
            return Peer(kind, f"/vsisparse/{self.sparse_files(name)[1]}", options)
        if kind == VSITLM:
            return Peer(kind, f"/vsitlm/vsicurl/{self.url(name)}", self.plugin_options(self.index))
        return Peer(kind, str(self.files[name].resolve()))

    def plugin_options(self, index: Path) -> dict[str, str]:
        """The variables that a user of /vsitlm/ sets."""
        return {"GDAL_DRIVER_PATH": str(self.plugin), "VSITLM_INDEX": str(index)}

    def environment(self, options: dict[str, str]) -> dict[str, str]:
        """The variables of a measured process: ours, without what GDAL or the plugin would take for options."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN_OPTIONS)}
        local = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "XDG_CACHE_HOME": str(self.folder / "cache")}
        return kept | local | options

    def run(
        self,
        job: dict[str, Any],
        options: dict[str, str],
        python: str = sys.executable,
        stop: float | None = None,
        program: Path = Path(__file__),
    ) -> dict[str, Any]:
        """Runs one job in a new process and gives its result; subprocess.TimeoutExpired after `stop` seconds."""
        command = [python, str(program.resolve()), json.dumps(job)]
        done = subprocess.run(
            command,
            env=self.environment(options),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=stop,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{job['do']} failed:\n{done.stderr.strip()}")
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def read(
        self, peer: Peer, case: Case, after: Peer | None = None, keep: Path | None = None, stop: float | None = None
    ) -> Reading:
        """Reads with the case's Python; `after` is another file, read before the clock starts, in the same process.

        `keep` names a file of numpy's that the pixels are written to. After `stop` seconds the read is given up: its
        pixels are then an empty string.
        """
        job = {
            "do": "read",
            "path": peer.path,
            "window": case.window,
            "shape": case.shape,
            "keep": str(keep) if keep else None,
            "after": after.path if after else None,
            "server": self.server.url,
        }
        try:
            result = self.run(job, peer.options | case.options, case.python, stop)
        except subprocess.TimeoutExpired as expired:
            result = {"seconds": expired.timeout, "pixels": ""}
        return self.reading(result["seconds"], result["pixels"])

    def read_many(self, peers: Sequence[Peer], case: Case, threads: int, rounds: int = 1) -> Reading:
        """Reads the window of every file on so many threads of one process; the time is that of the last round."""
        paths = [peer.path for peer in peers]
        job = {"do": "many", "path": paths[0], "paths": paths, "window": case.window, "threads": threads}
        result = self.run(job | {"rounds": rounds, "server": self.server.url}, peers[0].options | case.options)
        return self.reading(result["seconds"], result["pixels"])

    def stream(self, peer: Peer, case: Case) -> Reading:
        """Reads the bytes of a file from end to end."""
        ask(f"{self.server.url}/__stats?reset=1")
        result = self.run({"do": "stream", "path": peer.path}, peer.options | case.options)
        return self.reading(result["seconds"], result["digest"])

    def translate(self, peer: Peer, case: Case) -> Reading:
        """Reads with the gdal_translate on PATH; its time is that of the whole process."""
        import rasterio

        output = self.folder / "window.tif"
        window = ["-srcwin", *map(str, case.window)] if case.window else []
        shape = ["-outsize", str(case.shape[1]), str(case.shape[0])] if case.shape else []
        command = ["gdal_translate", "-q", "-of", "GTiff", *window, *shape, peer.path, str(output)]
        ask(f"{self.server.url}/__stats?reset=1")
        start = time.perf_counter()
        subprocess.run(command, env=self.environment(peer.options), stdin=subprocess.DEVNULL, check=True)
        seconds = time.perf_counter() - start
        with rasterio.open(output) as dataset:
            pixels = hashlib.sha256(dataset.read()).hexdigest()
        return self.reading(seconds, pixels)

    def reading(self, seconds: float, pixels: str) -> Reading:
        stats = self.server.stats()
        largest = max((asked["length"] for asked in stats.pop("ranges")), default=0)
        return Reading(seconds, pixels, **stats, largest=largest)


def reader(job: dict[str, Any]) -> Callable[[str], Any]:
    """What reads the window of a path, by rasterio or by GDAL's own bindings; the drivers are registered."""
    window, shape = job["window"], job["shape"]
    try:
        import rasterio
    except ImportError:
        from osgeo import gdal

        gdal.UseExceptions()
        gdal.AllRegister()
        height, width = shape or (None, None)

        def read(path: str) -> Any:
            dataset = gdal.Open(path)
            area = window or (0, 0, dataset.RasterXSize, dataset.RasterYSize)
            pixels = dataset.ReadAsArray(*area, buf_xsize=width, buf_ysize=height)
            return pixels if pixels.ndim == 3 else pixels[None]

        return read
    from rasterio.windows import Window as RasterioWindow

    rasterio.Env().__enter__()

    def read(path: str) -> Any:
        with rasterio.open(path) as dataset:
            out_shape = (dataset.count, *shape) if shape else None
            return dataset.read(window=RasterioWindow(*window) if window else None, out_shape=out_shape)

    return read


def read_job(job: dict[str, Any]) -> dict[str, Any]:
    """Opens `path` and reads `window` of it; `after` is opened and read first, off the clock."""
    read = reader(job)
    if job["after"]:
        read(job["after"])
    ask(f"{job['server']}/__stats?reset=1")
    start = time.perf_counter()
    pixels = read(job["path"])
    seconds = time.perf_counter() - start
    if job["keep"]:
        import numpy

        numpy.save(job["keep"], pixels)
    return {"seconds": seconds, "pixels": hashlib.sha256(pixels).hexdigest()}


def windows_job(job: dict[str, Any]) -> dict[str, Any]:
    """Reads `windows` of `path`, one after the other, each of a dataset that is opened for it; the mean time of one."""
    import rasterio
    from rasterio.windows import Window as RasterioWindow

    digest = hashlib.sha256()
    with rasterio.Env():
        start = time.perf_counter()
        for window in job["windows"]:
            with rasterio.open(job["path"], sharing=False) as dataset:
                digest.update(dataset.read(window=RasterioWindow(*window)))
        seconds = time.perf_counter() - start
    return {"seconds": seconds / len(job["windows"]), "pixels": digest.hexdigest()}


def many_job(job: dict[str, Any]) -> dict[str, Any]:
    """Reads `window` of each of `paths` on `threads` threads, `rounds` times; the last round is on the clock."""
    from concurrent.futures import ThreadPoolExecutor

    import rasterio
    from rasterio.windows import Window as RasterioWindow

    def read(path: str) -> str:
        with rasterio.open(path) as dataset:
            return hashlib.sha256(dataset.read(window=RasterioWindow(*job["window"]))).hexdigest()

    with rasterio.Env(), ThreadPoolExecutor(job["threads"]) as pool:
        for _ in range(job["rounds"]):
            ask(f"{job['server']}/__stats?reset=1")
            start = time.perf_counter()
            pixels = sorted(set(pool.map(read, job["paths"])))
            seconds = time.perf_counter() - start
    return {"seconds": seconds, "pixels": " ".join(pixels)}


def vsi_functions() -> Any:
    """The libgdal that rasterio brought along, for its C API."""
    import ctypes

    with open("/proc/self/maps") as maps:
        path = next(line.split()[-1] for line in maps if "/libgdal" in line)
    gdal = ctypes.CDLL(path)
    gdal.VSIFOpenL.restype = ctypes.c_void_p
    gdal.VSIFOpenL.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    gdal.VSIFCloseL.argtypes = [ctypes.c_void_p]
    gdal.VSIFReadL.restype = ctypes.c_size_t
    gdal.VSIFReadL.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
    return gdal


def opens_job(job: dict[str, Any]) -> dict[str, Any]:
    """Opens and closes `path` as a file `times` times; the mean time of one."""
    import rasterio

    with rasterio.Env():
        gdal = vsi_functions()
        path = job["path"].encode()
        start = time.perf_counter()
        for _ in range(job["times"]):
            handle = gdal.VSIFOpenL(path, b"rb")
            if not handle:
                raise OSError(f"{job['path']} cannot be opened")
            gdal.VSIFCloseL(handle)
        return {"seconds": (time.perf_counter() - start) / job["times"]}


def stream_job(job: dict[str, Any]) -> dict[str, Any]:
    """Reads `path` as a file from end to end: the time, how far memory rose meanwhile, how many bytes there were, and a
    hash of them."""
    import ctypes

    import rasterio

    def status(name: str) -> int:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

    with rasterio.Env():
        gdal = vsi_functions()
        buffer = ctypes.create_string_buffer(1 << 16)
        handle = gdal.VSIFOpenL(job["path"].encode(), b"rb")
        if not handle:
            raise OSError(f"{job['path']} cannot be opened")
        with open("/proc/self/clear_refs", "w") as peak:
            peak.write("5")
        before, total, digest = status("VmRSS"), 0, hashlib.sha256()
        start = time.perf_counter()
        while count := gdal.VSIFReadL(buffer, 1, len(buffer), handle):
            total += count
            digest.update(buffer[:count])
        gdal.VSIFCloseL(handle)
        seconds = time.perf_counter() - start
        grown = status("VmHWM") - before
        return {"grown": grown, "bytes": total, "seconds": seconds, "digest": digest.hexdigest()}


def run_job(text: str) -> None:
    """Does the job that was given as JSON, and prints its result as JSON."""
    job = json.loads(text)
    jobs = {"read": read_job, "many": many_job, "windows": windows_job, "opens": opens_job, "stream": stream_job}
    print(json.dumps(jobs[job["do"]](job)))


if __name__ == "__main__":
    run_job(sys.argv[1])
