"""Real servers: nginx, and an S3 server that checks signatures."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import ONE_TILE, Sample, Site, make_index, only_once

pytestmark = only_once

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
S3_PYTHON = apart.ROOT / "target/py/s3/bin/python"
KEYS = ("plain.jp2", "with space+plus&and=(1).jp2", "ünïcode/%20.jp2")

NGINX_CONFIG = """
worker_processes 1; daemon off; master_process off;
error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, sample: Sample) -> Iterator[tuple[str, Path]]:
    """The URL of a running nginx that serves the sample, and its folder."""
    if NGINX is None:
        pytest.skip("no nginx")
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "www").mkdir()
    shutil.copy(sample.path, folder / "www")
    folder.chmod(0o755)
    for _ in range(5):
        port = free_port()
        (folder / "nginx.conf").write_text(NGINX_CONFIG.format(folder=folder, port=port))
        server = subprocess.Popen([NGINX, "-c", folder / "nginx.conf", "-p", folder], stdin=subprocess.DEVNULL)
        while server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                continue
        if server.poll() is None:
            break
    assert server.poll() is None, (folder / "error.log").read_text()
    yield f"http://127.0.0.1:{port}", folder
    server.terminate()
    server.wait(timeout=30)


def test_nginx_serves_a_window_by_one_get(nginx: tuple[str, Path], sample: Sample, tmp_path: Path) -> None:
    url, folder = nginx
    path = f"{url}/{sample.path.name}"
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", path))}
    before = len((folder / "access.log").read_text().splitlines())
    pixels = apart.call(jobs.read, f"/vsitlm/{path}", ONE_TILE, options=options)
    assert np.array_equal(pixels, sample.window(ONE_TILE))
    asked = (folder / "access.log").read_text().splitlines()[before:]
    assert len(asked) == 1 and '"GET ' in asked[0] and '" 206 ' in asked[0], asked


def test_nginx_is_read_without_an_index(nginx: tuple[str, Path], sample: Sample) -> None:
    assert np.array_equal(gdalio.read(f"/vsitlm/{nginx[0]}/{sample.path.name}", ONE_TILE), sample.window(ONE_TILE))


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory, small: Sample) -> Iterator[dict[str, str]]:
    """The options with which the S3 server is read."""
    if not S3_PYTHON.exists():
        pytest.skip(f"no {S3_PYTHON}: run scripts/setup test")
    folder = tmp_path_factory.mktemp("s3")
    for key in KEYS:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(small.path, folder / key)
    command = [S3_PYTHON, Path(__file__).with_name("s3_server.py"), folder]
    with open(folder.with_name("s3.log"), "w") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=apart.environment()
        )
    told = json.loads(server.stdout.readline())
    yield {
        "AWS_S3_ENDPOINT": f"127.0.0.1:{told['port']}",
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_ACCESS_KEY_ID": told["key"],
        "AWS_SECRET_ACCESS_KEY": told["secret"],
    }
    server.stdin.close()
    server.wait(timeout=30)


@pytest.mark.parametrize("form", ["/vsitlm/s3://", "/vsitlm/vsis3/", "/vsitlm//vsis3/"])
def test_the_right_keys_read_the_right_pixels(s3: dict[str, str], small: Sample, form: str) -> None:
    steps = [("read", f"{form}eodata/{key}") for key in KEYS]
    for key, pixels in zip(KEYS, apart.call(jobs.play, *steps, options=s3)):
        assert np.array_equal(pixels, small.pixels), f"{key}: {pixels}"


def test_the_endpoint_may_have_its_scheme(s3: dict[str, str], small: Sample) -> None:
    options = {name: value for name, value in s3.items() if name != "AWS_HTTPS"}
    options["AWS_S3_ENDPOINT"] = "http://" + options["AWS_S3_ENDPOINT"]
    assert np.array_equal(apart.call(jobs.read, "/vsitlm/s3://eodata/plain.jp2", options=options), small.pixels)


def test_a_wrong_secret_is_denied_and_not_shown(s3: dict[str, str]) -> None:
    options = s3 | {"AWS_SECRET_ACCESS_KEY": "wrongsecretwrongsecret", "CPL_DEBUG": "VSITLM"}
    done = apart.outcome(jobs.play, ("read", "/vsitlm/s3://eodata/plain.jp2"), options=options)
    denied = str(done.value[0])
    assert "plain.jp2" in denied and "403" in denied and "AWS_SECRET_ACCESS_KEY" in denied
    assert "wrongsecret" not in denied + done.output


def test_without_signing_open_buckets_are_read_and_others_are_denied(
    s3: dict[str, str], site: Site, small: Sample
) -> None:
    url = site.put(small.path, "bucket/a folder/free.jp2")
    unsigned = {name: value for name, value in s3.items() if "KEY" not in name} | {"AWS_NO_SIGN_REQUEST": "YES"}
    free = unsigned | {"AWS_S3_ENDPOINT": url.split("/")[2]}
    assert np.array_equal(apart.call(jobs.read, "/vsitlm/s3://bucket/a folder/free.jp2", options=free), small.pixels)
    denied = apart.call(jobs.play, ("read", "/vsitlm/s3://eodata/plain.jp2"), options=unsigned)[0]
    assert isinstance(denied, gdalio.Failed) and "plain.jp2" in str(denied) and "denied" in str(denied)


def test_an_object_that_is_not_there_is_not_found(s3: dict[str, str]) -> None:
    absent = apart.call(jobs.play, ("read", "/vsitlm/s3://eodata/absent.jp2"), options=s3)[0]
    assert isinstance(absent, gdalio.Failed) and "absent.jp2" in str(absent) and "not found" in str(absent)


def test_the_server_does_check_signatures(s3: dict[str, str]) -> None:
    request = urllib.request.Request(f"http://{s3['AWS_S3_ENDPOINT']}/eodata/plain.jp2")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=60)
