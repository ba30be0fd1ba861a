"""Real servers: nginx, and an S3 server that checks signatures."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import ONE_TILE, Sample, Site, band_path, make_index, noise, only_once, vsitlm
from servers import run_nginx, run_s3

pytestmark = only_once

CERTIFICATE = apart.ROOT / "tests/data/localhost.pem"
KEYS = ("plain.jp2", "with space+plus&and=(1).jp2", "ünïcode/%20.jp2")

NGINX_SERVERS = """
    server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
    log_format protocols "$connection $server_protocol $status $request_uri";
    ssl_certificate {certificate}; ssl_certificate_key {certificate};
    server {{ listen 127.0.0.1:{secure} ssl http2; root {folder}/www; access_log {folder}/secure.log protocols; }}
    server {{ listen 127.0.0.1:{older} ssl; root {folder}/www; access_log {folder}/older.log protocols; }}
"""


@dataclass(frozen=True)
class Nginx:
    """A running nginx: its URLs without TLS, with HTTP/2 and with TLS alone, and the folder of its logs."""

    url: str
    secure: str
    older: str
    folder: Path

    def log(self, name: str) -> list[str]:
        """The lines of a log so far. nginx writes one when a response is sent, which may be a little later."""
        file = self.folder / f"{name}.log"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, sample: Sample) -> Iterator[Nginx]:
    """An nginx that serves the sample, and whatever a test puts into `www`."""
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "www").mkdir()
    shutil.copy(sample.path, folder / "www")
    with run_nginx(folder, NGINX_SERVERS, "port", "secure", "older", certificate=CERTIFICATE) as ports:
        at = "://127.0.0.1:{}".format
        yield Nginx(
            "http" + at(ports["port"]), "https" + at(ports["secure"]), "https" + at(ports["older"]), folder
        )


def test_nginx_serves_a_window_by_one_get(nginx: Nginx, sample: Sample, tmp_path: Path) -> None:
    path = f"{nginx.url}/{sample.path.name}"
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", path))}
    before = len(nginx.log("access"))
    pixels = apart.call(jobs.read, f"/vsitlm/{path}", ONE_TILE, options=options)
    assert np.array_equal(pixels, sample.window(ONE_TILE))
    asked = nginx.log("access")[before:]
    assert len(asked) == 1 and '"GET ' in asked[0] and '" 206 ' in asked[0], asked


def test_nginx_is_read_without_an_index(nginx: Nginx, sample: Sample) -> None:
    assert np.array_equal(gdalio.read(f"/vsitlm/{nginx.url}/{sample.path.name}", ONE_TILE), sample.window(ONE_TILE))


TILES = 121
"""Of a band of Sentinel-2."""


@pytest.fixture(scope="module")
def tiled(nginx: Nginx) -> Path:
    """A served file of as many tiles, each small."""
    path = nginx.folder / "www" / band_path("B02").rsplit("/", 1)[1]
    gdalio.make_jp2(path, noise(11 * 64, 11 * 64), BLOCKXSIZE=64, BLOCKYSIZE=64, RESOLUTIONS=3, PLT="YES")
    return path


@pytest.mark.parametrize(
    ("server", "options", "protocol"),
    [
        ("secure", {}, "HTTP/2.0"),
        ("secure", {"GDAL_HTTP_VERSION": "2TLS"}, "HTTP/2.0"),
        ("secure", {"GDAL_HTTP_VERSION": "1.1"}, "HTTP/1.1"),
        ("secure", {"GDAL_HTTP_MULTIPLEX": "NO"}, "HTTP/1.1"),
        ("older", {}, "HTTP/1.1"),
    ],
)
def test_an_overview_takes_one_connection_where_http2_is_spoken(
    nginx: Nginx, tiled: Path, tmp_path: Path, server: str, options: dict[str, str], protocol: str
) -> None:
    url = f"{getattr(nginx, server)}/{tiled.name}"
    trusting = {"GDAL_HTTP_UNSAFESSL": "YES", "VSITLM_MERGE_GAP": "0", "VSITLM_CACHE_DIR": "NO"}
    index = tmp_path / "index.parquet"
    done = vsitlm("index", url, "-o", index, options=trusting)
    assert done.returncode == 0, done.stdout + done.stderr
    before = len(nginx.log(server))
    view = "/vsitlm?overview=2&url={}"
    pixels = apart.call(jobs.read, view.format(quote(url)), options=trusting | options | {"VSITLM_INDEX": str(index)})
    assert np.array_equal(pixels, gdalio.read(view.format(quote(str(tiled)))))
    asked = [line.split() for line in nginx.log(server)[before:]]
    assert len(asked) == TILES and {status for _, _, status, _ in asked} == {"206"}, asked
    assert {spoken for _, spoken, _, _ in asked} == {protocol}
    connections = len({number for number, _, _, _ in asked})
    assert (connections <= 2) == (protocol == "HTTP/2.0"), connections


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory, small: Sample) -> Iterator[dict[str, str]]:
    """The options with which the S3 server is read."""
    folder = tmp_path_factory.mktemp("s3")
    for key in KEYS:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(small.path, folder / key)
    with run_s3(folder) as told:
        server = {"AWS_S3_ENDPOINT": f"127.0.0.1:{told['port']}", "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE"}
        yield server | told["reader"]


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
