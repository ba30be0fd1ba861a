#!/usr/bin/env python3
"""Measures HTTP/2 against HTTP/1.1: the overview of 121 tiles, and a window over four large ones; a table in Markdown.

    target/py/r144/bin/python scripts/bench_http2.py [--rtt-ms 50] [--repeat 5] [--open-windows]

Run `make build` and `scripts/setup test` before. nginx serves made files over TLS, with HTTP/2 and without. A proxy in
front adds the round trip (a new connection waits for one, before those of TLS), lets through what TCP's slow start
would (10 segments at first and after 200 ms of rest, twice as many each round trip; with --open-windows all that
comes), and shares 25 MB/s among all connections. Every reading has a process of its own, which reads one file and, a second later, another one: over
connections that are new, and over those that are open. GDAL_HTTP_VERSION tells which protocol.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
CERTIFICATE = ROOT / "tests/data/localhost.pem"
NAME = "T31UDQ_20240601T105031_{}_10m.jp2"
SEGMENT, LINK, REST = 1460, 25e6, 0.2
"""Bytes, bytes a second, and seconds after which slow start begins anew."""

NGINX = """
worker_processes 1; daemon off; master_process off; error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    ssl_certificate {certificate}; ssl_certificate_key {certificate};
    server {{ listen 127.0.0.1:{both} ssl http2; root {folder}/www; }}
    server {{ listen 127.0.0.1:{older} ssl; root {folder}/www; }}
}}
"""

READ = """
import json, os, sys, time
import rasterio
from rasterio.windows import Window
times = []
for path in sys.argv[2:]:
    time.sleep(1)
    start = time.perf_counter()
    with rasterio.open(path) as dataset:
        dataset.read(window=Window(*json.loads(sys.argv[1])) if sys.argv[1] != "null" else None)
    times.append(time.perf_counter() - start)
print(json.dumps(times))
"""


class Proxy:
    """Stands before one port, slowly."""

    def __init__(self, target: int, rtt: float, first: float) -> None:
        self.target, self.rtt, self.first = target, rtt, first
        self.opened = 0
        self.link_free = 0.0

    async def start(self) -> int:
        """Listens, and gives the port."""
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=512)
        return server.sockets[0].getsockname()[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.opened += 1
        begun = time.monotonic()
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target)
        for each in (writer, to_server):
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        up = self.forward(reader, to_server, lambda _: max(time.monotonic(), begun + self.rtt))
        await asyncio.gather(up, self.slowly(from_server, writer), return_exceptions=True)

    async def forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, leaves: Callable[[int], float]
    ) -> None:
        """Hands on what comes, half a round trip after it leaves."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sending = asyncio.create_task(self.send(queue, writer))
        while data := await reader.read(1 << 16):
            queue.put_nowait((leaves(len(data)) + self.rtt / 2, data))
        queue.put_nowait((time.monotonic() + self.rtt / 2, b""))
        await sending

    async def slowly(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The same with slow start, and over the link that all connections share."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sending = asyncio.create_task(self.send(queue, writer))
        window, acks, last = self.first, deque[tuple[float, int]](), 0.0
        while data := await reader.read(1 << 16):
            if time.monotonic() - last > REST:
                window = self.first
                acks.clear()
            while data:
                now = time.monotonic()
                while acks and acks[0][0] <= now:
                    window += acks.popleft()[1]
                room = int(min(window - sum(length for _, length in acks), len(data)))
                if room <= 0:
                    await asyncio.sleep(acks[0][0] - now)
                    continue
                part, data = data[:room], data[room:]
                last = self.link_free = max(self.link_free, now) + len(part) / LINK
                acks.append((last + self.rtt, len(part)))
                queue.put_nowait((last + self.rtt / 2, part))
        queue.put_nowait((time.monotonic() + self.rtt / 2, b""))
        await sending

    @staticmethod
    async def send(queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        """Sends each piece at its time."""
        while True:
            at, data = await queue.get()
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            if not data:
                writer.close()
                return
            writer.write(data)


def make(folder: Path) -> None:
    """Four files: two of 121 tiles whose overview of 1/2 takes 8 kB each, two of four tiles of 1 MB."""
    import numpy as np
    import rasterio
    import rasterio.shutil

    for names, across, tile in ((("B02", "B03"), 11, 128), (("B04", "B05"), 2, 704)):
        pixels = np.random.default_rng(1).integers(0, 65535, (1, across * tile, across * tile), "uint16", endpoint=True)
        for name in names:
            with rasterio.MemoryFile() as memory:
                form = {"driver": "GTiff", "width": across * tile, "height": across * tile, "count": 1, "dtype": "uint16"}
                with memory.open(**form) as made:
                    made.write(pixels)
                options = {"QUALITY": 100, "REVERSIBLE": "YES", "BLOCKXSIZE": tile, "BLOCKYSIZE": tile, "PLT": "YES"}
                path = folder / NAME.format(name)
                with memory.open() as source:
                    rasterio.shutil.copy(source, path, driver="JP2OpenJPEG", RESOLUTIONS=3, **options)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def run(environment: dict[str, str], *command: str | Path) -> str:
    """What a command prints."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*map(str, command), env=environment, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{command}: {err.decode()}")
    return out.decode()


async def measure(folder: Path, ports: tuple[int, int], rtt_ms: float, first: float, repeat: int) -> None:
    """Prints the table."""
    proxies = [Proxy(port, rtt_ms / 1000, first) for port in ports]
    urls = [f"https://127.0.0.1:{await proxy.start()}" for proxy in proxies]
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("GDAL_", "CPL_", "VSI", "AWS_"))}
    bare |= {"GDAL_DRIVER_PATH": str(ROOT / "target/plugin"), "GDAL_HTTP_UNSAFESSL": "YES", "VSITLM_CACHE_DIR": "NO"}
    bare |= {"GDAL_NUM_THREADS": "4", "VSITLM_MERGE_GAP": "0", "NO_PROXY": "*"}
    index = folder / "index.parquet"
    names = [NAME.format(f"B0{number}") for number in (2, 3, 4, 5)]
    # Rows made from both servers, so that neither is asked for a check.
    await run(bare, ROOT / "target/release/vsitlm", "index", *[f"{url}/{name}" for url in urls for name in names], "-o", index)
    print("| read | server | GDAL_HTTP_VERSION | in flight | new, s | open, s | connections |")
    print("|---|---|---|---|---|---|---|")
    small = ("overview, 121 ranges of 8 kB", [f"/vsitlm?overview=2&url={{}}%2F{quote(name)}" for name in names[:2]], "null")
    large = ("window, 4 ranges of 1 MB", [f"/vsitlm/{{}}/{name}" for name in names[2:]], "[604, 604, 200, 200]")
    for what, paths, window in (small, large):
        for server, proxy, url in zip(("HTTP/2", "HTTP/1.1"), proxies, urls):
            for version, most in (("1.1", 32), ("unset", 32), ("1.1", 128), ("unset", 128)):
                if most > 32 and (what, server) != (small[0], "HTTP/2"):
                    continue
                options = bare | {"VSITLM_INDEX": str(index), "VSITLM_MAX_CONNECTIONS": str(most)}
                if version != "unset":
                    options["GDAL_HTTP_VERSION"] = version
                readings, opened = [], []
                for _ in range(repeat):
                    before = proxy.opened
                    asked = [path.format(quote(url, safe="") if "?" in path else url) for path in paths]
                    readings.append(json.loads(await run(options, sys.executable, "-c", READ, window, *asked)))
                    opened.append(proxy.opened - before)
                new, again = (statistics.median(times) for times in zip(*readings))
                count = statistics.median(opened)
                print(f"| {what} | {server} | {version} | {most} | {new:.2f} | {again:.2f} | {count:.0f} |", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="measures HTTP/2 against HTTP/1.1")
    parser.add_argument("--rtt-ms", type=float, default=50, help="round trip in milliseconds")
    parser.add_argument("--open-windows", action="store_true", help="without slow start")
    parser.add_argument("--repeat", type=int, default=5, help="readings of each kind")
    arguments = parser.parse_args()
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if nginx is None:
        raise SystemExit("no nginx: run scripts/setup test")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "www").mkdir()
        folder.chmod(0o755)
        make(folder / "www")
        ports = (free_port(), free_port())
        config = NGINX.format(folder=folder, certificate=CERTIFICATE, both=ports[0], older=ports[1])
        (folder / "nginx.conf").write_text(config)
        server = subprocess.Popen([nginx, "-c", folder / "nginx.conf", "-p", folder], stdin=subprocess.DEVNULL)
        try:
            time.sleep(1)
            first = math.inf if arguments.open_windows else 10 * SEGMENT
            asyncio.run(measure(folder, ports, arguments.rtt_ms, first, arguments.repeat))
        finally:
            server.terminate()
            server.wait(timeout=30)


if __name__ == "__main__":
    main()
