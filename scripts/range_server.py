#!/usr/bin/env python3
"""A static HTTP/1.1 server for measurements and tests: ranges, injected latency and faults, counters.

    range_server.py ROOT [--port 0] [--rtt-ms 50] [--mbps 400]

Its first line on standard output is `port N`. It serves the files below ROOT on the loopback interface only; links
inside ROOT are followed, `..` is not. It ends when its standard input closes (so that it never outlives the program
that started it) or on SIGTERM; with --stay, on SIGTERM alone.

Every request waits one round trip before its first byte, the first one of a connection two more (the handshakes of
TCP and TLS). --mbps limits each connection.

`GET /__stats` answers with the counters as JSON, `?reset=1` also starts them anew. `GET /__control?...` changes the
running server, each call doing what its parameters say:

    rtt_ms=0 mbps=0        latency and bandwidth from now on
    clear=1                forgets all faults
    fail_path=/a.jp2       adds a fault; needs `kind`, or takes `status`. Further parameters of a fault:
      fail_range=LO-HI     only requests whose range overlaps bytes LO to HI, both included (default: any)
      method=GET           only this method (default: any)
      kind=status          answer `status` (default 503), with `Retry-After: retry_after` where that is given
      kind=short           half of the body, then the connection is closed
      kind=close           the connection is closed without an answer
      kind=whole           200 and the whole file, whatever range was asked for
      kind=shifted         a Content-Range one byte further than asked for
      kind=stall           half of the body, then nothing until the client closes the connection
      kind=long            a body, and its Content-Length, one byte longer than the range
      kind=etag            the right bytes, each time under another ETag, whatever If-Match says
      kind=redirect        302 to the URL `to` with the request's path behind it
      times=N              only the first N matching requests (default -1: for good)
      every=N              only each N-th matching request (default 1)
    fail_path=*            any path

Requests for /__stats and /__control are not counted, nor delayed.
"""

from __future__ import annotations

import argparse
import asyncio
import email.utils
import http
import json
import mimetypes
import os
import signal
import sys
import threading
import urllib.parse
from dataclasses import asdict, dataclass, field
from pathlib import Path

CHUNK = 1 << 17
"""Bytes written between two looks at the bandwidth."""
RANGES_KEPT = 20_000
"""The list of ranges stops growing here; the counters do not."""


KINDS = ("status", "short", "close", "whole", "shifted", "stall", "long", "etag", "redirect")
"""Kinds of faults."""


@dataclass
class Stats:
    """What was asked for since the last reset; `bytes` are those of bodies, as far as they were sent."""

    requests: int = 0
    heads: int = 0
    bytes: int = 0
    connections: int = 0
    max_inflight: int = 0
    ranges: list[dict[str, str | int]] = field(default_factory=list)


@dataclass
class Fault:
    """An answer that goes wrong on purpose."""

    path: str
    kind: str = "status"
    status: int = 503
    retry_after: str | None = None
    to: str = ""
    method: str | None = None
    low: int = 0
    high: int = sys.maxsize
    times: int = -1
    every: int = 1
    matched: int = 0

    @staticmethod
    def from_query(query: dict[str, str]) -> Fault:
        fault = Fault(path=query["fail_path"])
        fault.kind = query.get("kind", fault.kind)
        if fault.kind not in KINDS:
            raise ValueError(f"kind={fault.kind} is no kind of fault")
        fault.status = int(query.get("status", fault.status))
        fault.retry_after = query.get("retry_after")
        fault.to = query.get("to", "")
        fault.method = query.get("method")
        fault.times = int(query.get("times", fault.times))
        fault.every = max(1, int(query.get("every", fault.every)))
        if "fail_range" in query:
            low, _, high = query["fail_range"].partition("-")
            fault.low, fault.high = int(low), int(high) if high else sys.maxsize
        return fault

    def strikes(self, method: str, path: str, low: int, high: int) -> bool:
        """Whether this request, for bytes low to high, is to fail; counts it if it is one of this fault's."""
        if self.path not in ("*", path) or self.method not in (None, method) or low > self.high or high < self.low:
            return False
        self.matched += 1
        if self.matched % self.every:
            return False
        return self.times < 0 or self.matched // self.every <= self.times


def parse_range(value: str | None, size: int) -> tuple[int, int] | None:
    """The bytes asked for, first and last, or None for the whole file (no range, several, or one not understood).

    Raises ValueError where the range lies outside the file.
    """
    if value is None or not value.startswith("bytes=") or "," in value:
        return None
    first, dash, last = value[len("bytes=") :].strip().partition("-")
    if not dash or not (first or last) or not (first + last).isdecimal():
        return None
    if not first:
        if int(last) == 0 or size == 0:
            raise ValueError(value)
        return max(0, size - int(last)), size - 1
    low, high = int(first), int(last) if last else size - 1
    if last and high < low:
        return None
    if low >= size:
        raise ValueError(value)
    return low, min(high, size - 1)


class RangeServer:
    """The server's state: where the files are, how slow it is, what it counted, what it is to do wrong."""

    def __init__(self, root: Path, rtt_ms: float, mbps: float) -> None:
        self.root = root
        self.rtt_ms = rtt_ms
        self.mbps = mbps
        self.stats = Stats()
        self.faults: list[Fault] = []
        self.inflight = 0

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the requests of one connection, one after the other."""
        first = True
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin1").split("\r\n")
                words = lines[0].split(" ")
                if len(words) != 3:
                    self.respond(writer, 400, "close")
                    break
                method, target, version = words
                headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
                close = headers.get("connection", "").lower() == "close" or version == "HTTP/1.0"
                raw_path, _, raw_query = target.partition("?")
                path = urllib.parse.unquote(raw_path)
                if path in ("/__stats", "/__control"):
                    self.internal(writer, path, dict(urllib.parse.parse_qsl(raw_query)))
                else:
                    self.stats.connections += first
                    close = await self.counted(reader, writer, method, path, headers, first) or close
                    first = False
                await writer.drain()
                if close:
                    break
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def counted(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: str,
        path: str,
        headers: dict[str, str],
        first: bool,
    ) -> bool:
        """Answers one request for a file, as late as the latency says; True where the connection is to be closed."""
        self.stats.requests += 1
        self.stats.heads += method == "HEAD"
        self.inflight += 1
        self.stats.max_inflight = max(self.stats.max_inflight, self.inflight)
        try:
            await asyncio.sleep(self.rtt_ms / 1000 * (3 if first else 1))
            stalled = await self.answer(writer, method, path, headers)
            if stalled is None:
                await reader.read()
            return stalled is not False
        finally:
            self.inflight -= 1

    async def answer(self, writer: asyncio.StreamWriter, method: str, path: str, headers: dict[str, str]) -> bool | None:
        """Answers one request for a file; True where the connection is to be closed after it, None where the client is
        to do that."""
        if method not in ("GET", "HEAD"):
            self.respond(writer, 405, "close")
            return True
        file = self.file_at(path)
        if file is None:
            fault = self.fault(method, path, 0, sys.maxsize)
            self.respond(writer, fault.status if fault and fault.kind == "status" else 404)
            return False
        stat = file.stat()
        size, etag = stat.st_size, f'"{stat.st_size:x}-{stat.st_mtime_ns:x}"'
        try:
            span = parse_range(headers.get("range"), size)
        except ValueError:
            self.respond(writer, 416, f"Content-Range: bytes */{size}")
            return False
        low, high = span or (0, size - 1)
        if method == "GET" and len(self.stats.ranges) < RANGES_KEPT:
            self.stats.ranges.append({"path": path, "offset": low, "length": high - low + 1})
        fault = self.fault(method, path, low, high)
        if fault and fault.kind == "close":
            return True
        if fault and fault.kind == "status":
            retry = [] if fault.retry_after is None else [f"Retry-After: {fault.retry_after}"]
            self.respond(writer, fault.status, *retry)
            return False
        if fault and fault.kind == "redirect":
            self.respond(writer, 302, f"Location: {fault.to}{urllib.parse.quote(path)}")
            return False
        if fault and fault.kind == "etag":
            etag = f'"{fault.matched}-{etag[1:]}'
        elif headers.get("if-match", "*") != "*" and etag not in headers["if-match"]:
            self.respond(writer, 412, f"ETag: {etag}")
            return False
        if fault and fault.kind == "whole":
            span, low, high = None, 0, size - 1
        fields = [
            "Accept-Ranges: bytes",
            f"ETag: {etag}",
            f"Last-Modified: {email.utils.formatdate(stat.st_mtime, usegmt=True)}",
            f"Content-Type: {mimetypes.guess_type(file.name)[0] or 'application/octet-stream'}",
        ]
        if span:
            shift = int(fault is not None and fault.kind == "shifted")
            fields.append(f"Content-Range: bytes {low + shift}-{high + shift}/{size}")
        length = high - low + 1
        extra = b"x" if fault and fault.kind == "long" else b""
        self.respond(writer, 206 if span else 200, *fields, length=length + len(extra))
        if method == "HEAD":
            return False
        cut = fault is not None and fault.kind in ("short", "stall")
        await self.send(writer, file, low, length // 2 if cut else length)
        writer.write(extra)
        return None if fault and fault.kind == "stall" else cut

    async def send(self, writer: asyncio.StreamWriter, file: Path, offset: int, length: int) -> None:
        """Sends a part of a file, no faster than the bandwidth."""
        loop = asyncio.get_running_loop()
        start, sent = loop.time(), 0
        with file.open("rb") as source:
            source.seek(offset)
            while sent < length:
                chunk = source.read(min(length - sent, CHUNK))
                if not chunk:
                    raise ConnectionError(f"{file} became shorter")
                sent += len(chunk)
                if self.mbps:
                    # Before the bytes are sent: a client that has them all may ask for more at once.
                    await asyncio.sleep(start + sent * 8 / self.mbps / 1e6 - loop.time())
                writer.write(chunk)
                await writer.drain()
                self.stats.bytes += len(chunk)

    def fault(self, method: str, path: str, low: int, high: int) -> Fault | None:
        """The first fault that strikes this request; each one that the request matches counts it."""
        return next((fault for fault in self.faults if fault.strikes(method, path, low, high)), None)

    def file_at(self, path: str) -> Path | None:
        """The file that a decoded URL path names, or None where there is none below ROOT."""
        parts = path.split("/")[1:]
        if "\0" in path or not parts or any(part in ("", ".", "..") for part in parts):
            return None
        file = self.root.joinpath(*parts)
        return file if file.is_file() else None

    def internal(self, writer: asyncio.StreamWriter, path: str, query: dict[str, str]) -> None:
        """Answers /__stats and /__control."""
        status, reply = 200, asdict(self.stats)
        if path == "/__stats":
            if "reset" in query:
                self.stats = Stats()
        else:
            try:
                self.rtt_ms = float(query.get("rtt_ms", self.rtt_ms))
                self.mbps = float(query.get("mbps", self.mbps))
                if "clear" in query:
                    self.faults.clear()
                if "fail_path" in query:
                    self.faults.append(Fault.from_query(query))
                reply = {"rtt_ms": self.rtt_ms, "mbps": self.mbps, "faults": [asdict(fault) for fault in self.faults]}
            except ValueError as error:
                status, reply = 400, {"error": str(error)}
        body = json.dumps(reply).encode()
        self.respond(writer, status, "Content-Type: application/json", length=len(body))
        writer.write(body)

    @staticmethod
    def respond(writer: asyncio.StreamWriter, status: int, *fields: str, length: int = 0) -> None:
        """Writes the head of an answer."""
        fields = tuple("Connection: close" if text == "close" else text for text in fields)
        lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}", f"Content-Length: {length}", *fields, "", ""]
        writer.write("\r\n".join(lines).encode("latin1"))


def watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Sets `stop` once standard input is at its end."""
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(stop.set)


async def serve(arguments: argparse.Namespace) -> None:
    """Serves until told to end."""
    server = RangeServer(arguments.root.resolve(strict=True), arguments.rtt_ms, arguments.mbps)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = await asyncio.start_server(server.connection, arguments.host, arguments.port, limit=1 << 16)
    print(f"port {listener.sockets[0].getsockname()[1]}", flush=True)
    if not arguments.stay:
        threading.Thread(target=watch_stdin, args=(loop, stop), daemon=True).start()
    await stop.wait()
    listener.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="static HTTP server with ranges, latency, faults and counters")
    parser.add_argument("root", type=Path, help="folder that is served")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: the loopback interface)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--rtt-ms", type=float, default=50, help="latency of every request (default: 50)")
    parser.add_argument("--mbps", type=float, default=0, help="megabits a second and connection (default: any)")
    parser.add_argument("--stay", action="store_true", help="go on when standard input closes")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
