"""Real servers of archives, on free ports of the loopback interface: nginx, an S3 server, Azurite, and a proxy."""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import random
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apart
import pytest

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
S3_PYTHON = apart.ROOT / "target/py/s3/bin/python"
AZURE_PYTHON = apart.ROOT / "target/py/azure/bin/python"
AZURITE = apart.ROOT / "target/azurite/node_modules/azurite/dist/src/blob/main.js"
NODE = apart.ROOT / "target/azurite/node"

WRAPPER = """
worker_processes 1; daemon off; master_process off;
error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ worker_connections 128; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {servers}
}}
"""


def free_port() -> int:
    """A port that nobody listens on. It is not one of those that the system hands out: some connection of another test
    could get it before the server does."""
    handed_out = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10000, handed_out) if handed_out > 10000 else 0
        try:
            with socket.create_server(("127.0.0.1", port)) as listener:
                return listener.getsockname()[1]
        except OSError:
            continue


def wait_for(port: int, server: subprocess.Popen) -> bool:
    """Whether the server listens before it ends."""
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return True
        except ConnectionRefusedError:
            continue
    return False


@contextmanager
def run_nginx(folder: Path, servers: str, *names: str, **more: Any) -> Iterator[dict[str, int]]:
    """An nginx with these server blocks, where `{names}` stand for ports; gives those."""
    if NGINX is None:
        pytest.skip("no nginx")
    folder.chmod(0o755)
    for _ in range(5):
        ports = {name: free_port() for name in names}
        text = WRAPPER.format(folder=folder, servers=servers.format(folder=folder, **ports, **more))
        (folder / "nginx.conf").write_text(text)
        server = subprocess.Popen([NGINX, "-c", folder / "nginx.conf", "-p", folder], stdin=subprocess.DEVNULL)
        if wait_for(ports[names[0]], server):
            break
    assert server.poll() is None, f"nginx ended: see {folder}/error.log"
    try:
        yield ports
    finally:
        server.terminate()
        server.wait(timeout=30)


@contextmanager
def run_s3(folder: Path, *buckets: str) -> Iterator[dict[str, Any]]:
    """The S3 server of s3_server.py, with some of its buckets or all; gives what that tells."""
    if not S3_PYTHON.exists():
        pytest.skip(f"no {S3_PYTHON}: run scripts/setup test")
    command = [S3_PYTHON, Path(__file__).with_name("s3_server.py"), folder, *buckets]
    with open(folder.with_name(folder.name + ".log"), "w") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=apart.environment()
        )
    try:
        yield json.loads(server.stdout.readline())
    finally:
        server.stdin.close()
        server.wait(timeout=30)


@contextmanager
def run_azurite(folder: Path, work: Path) -> Iterator[dict[str, str]]:
    """An Azurite that has the files of `folder`; gives its `url` and what azure_fill.py tells."""
    if not (AZURITE.exists() and AZURE_PYTHON.exists() and NODE.exists()):
        pytest.skip(f"no {AZURITE}: run scripts/setup test")
    port = free_port()
    command = [NODE, AZURITE, "--blobPort", str(port), "--location", work, "--silent"]
    # The signer may be of a later version than the server, which knows all that reading takes.
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=work)
    try:
        assert wait_for(port, server), "Azurite ended"
        url = f"http://127.0.0.1:{port}"
        fill = [AZURE_PYTHON, Path(__file__).with_name("azure_fill.py"), url, folder]
        done = subprocess.run(fill, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        yield {"url": url, **json.loads(done.stdout)}
    finally:
        server.terminate()
        server.wait(timeout=30)


class Proxy(http.server.BaseHTTPRequestHandler):
    """An HTTP proxy: requests with an absolute URL, and CONNECT. Its server knows a password, or None, and a log."""

    protocol_version = "HTTP/1.1"

    def is_known(self) -> bool:
        """Whether the client may pass; answers it if not."""
        self.server.seen.append((self.command, self.path, dict(self.headers.items())))
        password = self.server.password
        wanted = password and "Basic " + base64.b64encode(password.encode()).decode()
        if wanted is None or self.headers.get("Proxy-Authorization") == wanted:
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_GET(self) -> None:
        """Passes a request on."""
        if not self.is_known():
            return
        host, _, path = self.path.removeprefix("http://").partition("/")
        there = http.client.HTTPConnection(host, timeout=60)
        headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        there.request(self.command, "/" + path, headers=headers)
        answer = there.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        there.close()

    do_HEAD = do_GET

    def do_CONNECT(self) -> None:
        """Passes bytes on, both ways, until one side ends."""
        if not self.is_known():
            return
        host, _, port = self.path.rpartition(":")
        there = socket.create_connection((host, int(port)))
        self.send_response(200)
        self.end_headers()
        back = threading.Thread(target=self.pump, args=(there, self.connection), daemon=True)
        back.start()
        self.pump(self.connection, there)
        back.join()
        there.close()
        self.close_connection = True

    @staticmethod
    def pump(source: socket.socket, sink: socket.socket) -> None:
        """Passes bytes on, one way."""
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def run_proxy(password: str | None = None) -> Iterator[tuple[str, list[tuple[str, str, dict[str, str]]]]]:
    """A proxy; gives its address and the list of what it is asked: method, target and headers."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads = True
    server.password, server.seen = password, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", server.seen
    finally:
        server.shutdown()
        server.server_close()


class Recorder(http.server.BaseHTTPRequestHandler):
    """Answers every request by the same bytes, and writes down what was asked for, as it was written."""

    protocol_version = "HTTP/1.1"
    CONTENT = bytes(range(200))

    def do_GET(self) -> None:
        """Answers the whole, or a range."""
        target = self.raw_requestline.split(b" ")[1].decode("latin1")
        self.server.asked.append((target, dict(self.headers.items())))
        low, high = 0, len(self.CONTENT) - 1
        span = self.headers.get("Range", "")
        if span:
            first, _, last = span.removeprefix("bytes=").partition("-")
            low, high = int(first), min(high, int(last or high))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {low}-{high}/{len(self.CONTENT)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(high - low + 1))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(self.CONTENT[low : high + 1])

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def recorder() -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    """A server that records; gives its URL and what it was asked for: targets and headers."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    server.daemon_threads, server.asked = True, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", server.asked
    finally:
        server.shutdown()
        server.server_close()


class Asked(NamedTuple):
    """A request that a guarded server got."""

    user: str
    """The user and password of its Basic authorization, or nothing."""
    path: str
    status: int


@contextmanager
def guarded_server(files: Mapping[str, tuple[bytes, list[str]]]) -> Iterator[tuple[str, list[Asked]]]:
    """Serves ranges of files, each to those users alone that it names as `user:password`; to everyone where it names none.

    Gives the server's URL, and the requests that it gets.
    """
    asked: list[Asked] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answers a range."""
            content, users = files.get(self.path.split("?")[0], (None, []))
            scheme, _, value = self.headers.get("Authorization", "").partition(" ")
            user = base64.b64decode(value).decode() if scheme == "Basic" else ""
            if content is None:
                return self.refuse(404, user)
            if users and user not in users:
                return self.refuse(401, user)
            match = re.match(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            size = len(content)
            first, last = (match[1], match[2]) if match else ("0", "")
            start = int(first) if first else max(size - int(last), 0)
            end = min(int(last) + 1, size) if first and last else size
            if start >= size:
                return self.refuse(416, user)
            asked.append(Asked(user, self.path, 206 if match else 200))
            self.send_response(206 if match else 200)
            if match:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[start:end])

        do_HEAD = do_GET

        def refuse(self, status: int, user: str) -> None:
            """Answers that there is nothing."""
            asked.append(Asked(user, self.path, status))
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="tests"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()
