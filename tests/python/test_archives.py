"""Every archive by every way of access, against servers that check it: what it is read by, and what it is denied by."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import Sample, only_once
from servers import recorder, run_azurite, run_nginx, run_proxy, run_s3

pytestmark = only_once

SECRET = "opensesame"
"""Part of every secret, so that no message may have it."""

KEYS = ("plain.jp2", "with space+plus&and=(1).jp2", "ünïcode/%20.jp2")
"""Names that are written in different ways in URLs and signatures."""

OTHER = {"GDAL_NUM_THREADS": "ALL_CPUS", "CPL_DEBUG": "VSITLM", "NO_PROXY": "", "no_proxy": ""}


def fill(folder: Path, source: Path) -> Path:
    """A folder with the file under each of the names."""
    for key in KEYS:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / key)
    return folder


def reads(sample: Sample, options: Mapping[str, str], *paths: str) -> str:
    """Reads whole files, several tiles at a time, checks them against a direct read, and gives what was printed."""
    done = apart.outcome(jobs.play, *[("read", path) for path in paths], options=OTHER | dict(options))
    assert done.error is None, done.error
    for path, pixels in zip(paths, done.value):
        assert np.array_equal(pixels, sample.pixels), f"{path}: {pixels}"
    assert SECRET not in printed(done.output)
    return done.output


def printed(output: str) -> str:
    """What was printed, without what rasterio tells of the paths that it is given."""
    return "\n".join(line for line in output.splitlines() if "VSITLM" in line or "DEBUG:rasterio" not in line)


def is_native(output: str) -> bool:
    """Whether the plugin itself made the requests, by what it prints."""
    return "GET " in output


def denied(options: Mapping[str, str], path: str, *hints: str, secret: str = SECRET) -> None:
    """Holds that a read fails by a message that names the file and what to set, and no secret."""
    retries = {"GDAL_HTTP_MAX_RETRY": "0"}
    done = apart.outcome(jobs.play, ("read", path), options=OTHER | retries | dict(options))
    assert done.error is None, done.error
    message = str(done.value[0])
    assert isinstance(done.value[0], gdalio.Failed), message
    for hint in ("plain.jp2", *hints):
        assert hint in message, message
    assert secret not in message + printed(done.output)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory, small: Sample) -> Iterator[dict[str, Any]]:
    """What s3_server.py tells, and the options by which its server is found."""
    with run_s3(fill(tmp_path_factory.mktemp("archives"), small.path)) as told:
        endpoint = f"http://127.0.0.1:{told['port']}"
        yield told | {"at": {"AWS_S3_ENDPOINT": endpoint, "AWS_VIRTUAL_HOSTING": "FALSE"}, "url": endpoint}


@pytest.mark.parametrize("form", ["s3://", "vsis3/"])
@pytest.mark.parametrize("user", ["reader", "passing"])
def test_s3_with_keys_and_with_a_session_token(s3: dict[str, Any], small: Sample, user: str, form: str) -> None:
    output = reads(small, s3["at"] | s3[user], *[f"/vsitlm/{form}eodata/{key}" for key in KEYS])
    assert is_native(output)


def test_s3_without_its_session_token_is_denied(s3: dict[str, Any]) -> None:
    keys = {name: value for name, value in s3["passing"].items() if name != "AWS_SESSION_TOKEN"}
    secret = keys["AWS_SECRET_ACCESS_KEY"]
    denied(s3["at"] | keys, "/vsitlm/s3://eodata/plain.jp2", "403", "AWS_SECRET_ACCESS_KEY", secret=secret)


def test_s3_where_the_requester_pays(s3: dict[str, Any], small: Sample) -> None:
    options = s3["at"] | s3["reader"]
    path = "/vsitlm/s3://paying/plain.jp2"
    reads(small, options | {"AWS_REQUEST_PAYER": "requester"}, path)
    denied(options, path, "403", "AWS_REQUEST_PAYER", secret=options["AWS_SECRET_ACCESS_KEY"])


def test_keys_among_the_options_go_before_a_profile(s3: dict[str, Any], small: Sample, tmp_path: Path) -> None:
    config = tmp_path / "credentials"
    config.write_text("[mine]\naws_access_key_id = wrong\naws_secret_access_key = wrong\n")
    profile = {"AWS_PROFILE": "mine", "AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(config)}
    assert is_native(reads(small, s3["at"] | s3["reader"] | profile, "/vsitlm/s3://eodata/plain.jp2"))


def test_a_profile_is_read_through_gdal(s3: dict[str, Any], small: Sample, tmp_path: Path) -> None:
    keys = s3["reader"]
    lines = [f"{name.lower()} = {value}" for name, value in keys.items()]
    (tmp_path / "credentials").write_text("\n".join(["[mine]", *lines, ""]))
    options = {"AWS_PROFILE": "mine", "CPL_AWS_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    at = {"AWS_S3_ENDPOINT": s3["url"].removeprefix("http://"), "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE"}
    assert not is_native(reads(small, at | options, "/vsitlm/s3://eodata/plain.jp2"))


@pytest.mark.parametrize("form", ["gs://", "gcs://", "vsigs/"])
def test_google_with_keys(s3: dict[str, Any], small: Sample, form: str) -> None:
    keys = {name.replace("AWS", "GS"): value for name, value in s3["reader"].items()}
    options = keys | {"CPL_GS_ENDPOINT": s3["url"] + "/"}
    assert is_native(reads(small, options, *[f"/vsitlm/{form}eodata/{key}" for key in KEYS]))


def test_google_with_a_wrong_key_is_denied(s3: dict[str, Any]) -> None:
    keys = {"GS_ACCESS_KEY_ID": s3["reader"]["AWS_ACCESS_KEY_ID"], "GS_SECRET_ACCESS_KEY": SECRET}
    path = "/vsitlm/gs://eodata/plain.jp2"
    denied(keys | {"CPL_GS_ENDPOINT": s3["url"] + "/"}, path, "403", "GS_SECRET_ACCESS_KEY")


WEB = """
    log_format asked "$request_uri $http_authorization $http_proxy_authorization";
    server {{
        listen 127.0.0.1:{plain}; root {folder}/www;
        access_log {folder}/asked.log asked;
        location /basic/ {{ alias {folder}/www/open/; auth_basic "x"; auth_basic_user_file {folder}/users; }}
        location /bearer/ {{
            alias {folder}/www/open/; if ($http_authorization != "Bearer {secret}") {{ return 401; }}
        }}
        location /header/ {{ alias {folder}/www/open/; if ($http_x_key != "{secret}, two") {{ return 403; }} }}
        location /elsewhere/ {{ return 302 http://127.0.0.1:{elsewhere}/x.bin; }}
        location /agent/ {{ alias {folder}/www/open/; if ($http_user_agent != "me/1") {{ return 403; }} }}
        location /project/ {{ alias {folder}/www/open/; if ($http_x_goog_user_project != "mine") {{ return 403; }} }}
    }}
    server {{
        listen 127.0.0.1:{secure} ssl http2; root {folder}/www;
        ssl_certificate {folder}/fits.pem; ssl_certificate_key {folder}/fits.key;
    }}
    server {{
        listen 127.0.0.1:{other} ssl; root {folder}/www;
        ssl_certificate {folder}/other.pem; ssl_certificate_key {folder}/other.key;
    }}
"""


def certify(folder: Path) -> None:
    """Makes an authority (ca.pem) and its certificates: for this host, and for another."""

    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60, cwd=folder)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "36500")
    openssl(*new, "-x509", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    for name, host in (("fits", "IP:127.0.0.1"), ("other", "DNS:elsewhere.example")):
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (folder / "names").write_text(f"subjectAltName={host}\nbasicConstraints=CA:FALSE\n")
        sign = ("x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "36500")
        openssl(*sign, "-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", "names")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, small: Sample) -> Iterator[dict[str, Any]]:
    """An nginx with ways in of every kind: its URLs without TLS, with TLS, with TLS for another host; its folder."""
    folder = tmp_path_factory.mktemp("web")
    fill(folder / "www/open", small.path)
    done = subprocess.run(["openssl", "passwd", "-apr1", SECRET], capture_output=True, text=True, check=True, timeout=60)
    (folder / "users").write_text(f"me:{done.stdout}")
    certify(folder)
    with recorder() as (elsewhere, seen), run_nginx(
        folder, WEB, "plain", "secure", "other", secret=SECRET, elsewhere=elsewhere.rsplit(":", 1)[1]
    ) as ports:
        urls = {name: f"http{'' if name == 'plain' else 's'}://127.0.0.1:{port}" for name, port in ports.items()}
        yield urls | {"folder": folder, "elsewhere": seen}


BEARER = {"GDAL_HTTP_AUTH": "BEARER", "GDAL_HTTP_BEARER": SECRET}

WAYS_IN = [
    ("basic", {"GDAL_HTTP_USERPWD": f"me:{SECRET}"}),
    ("basic", {"GDAL_HTTP_USERPWD": f"me:{SECRET}", "GDAL_HTTP_AUTH": "BASIC", "GDAL_HTTP_BEARER": "other"}),
    ("bearer", BEARER),
    ("bearer", {"GDAL_HTTP_HEADERS": f"Authorization: Bearer {SECRET}"}),
    ("header", {"GDAL_HTTP_HEADERS": f'A: b,"X-Key: {SECRET}, two"'}),
    ("header", {"GDAL_HTTP_HEADERS": f"A: b\r\nX-Key: {SECRET}, two"}),
    ("agent", {"GDAL_HTTP_USERAGENT": "me/1"}),
]


@pytest.mark.parametrize(("place", "options"), WAYS_IN)
def test_https_with_what_its_server_asks_for(
    web: dict[str, Any], small: Sample, place: str, options: dict[str, str]
) -> None:
    output = reads(small, options, *[f"/vsitlm/{web['plain']}/{place}/{quote(key)}" for key in KEYS])
    assert is_native(output)


@pytest.mark.parametrize(
    ("place", "option"),
    [("basic", "GDAL_HTTP_USERPWD"), ("bearer", "GDAL_HTTP_BEARER"), ("header", "GDAL_HTTP_HEADERS")],
)
def test_https_without_it_is_denied(web: dict[str, Any], place: str, option: str) -> None:
    denied({"GDAL_HTTP_USERPWD": f"you:{SECRET}"}, f"/vsitlm/{web['plain']}/{place}/plain.jp2?{SECRET}", option)


def curl_path(url: str, **options: str) -> str:
    """The path with options of its own."""
    pairs = {**options, "url": url}
    return "/vsitlm/vsicurl?" + "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in pairs.items())


def test_options_in_the_path_hold_for_its_file_alone(web: dict[str, Any], small: Sample) -> None:
    url = web["plain"] + "/{}/plain.jp2"
    header = curl_path(url.format("header"), **{"header.X-Key": f"{SECRET}, two", "max_retry": "1", "use_head": "no"})
    agent = curl_path(url.format("agent"), useragent="me/1")
    assert is_native(reads(small, {"GDAL_HTTP_USERAGENT": "you"}, header, agent))
    denied({}, curl_path(url.format("header"), **{"header.X-Key": SECRET}), "GDAL_HTTP_HEADERS")
    # What GDAL alone can do it does, with the other options of the path.
    assert not is_native(reads(small, {}, curl_path(url.format("agent"), useragent="me/1", cookie="a=b")))


def test_a_certificate_must_fit(web: dict[str, Any], small: Sample) -> None:
    bundle = str(web["folder"] / "ca.pem")
    path = "/open/plain.jp2"
    for option in ("GDAL_CURL_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        assert is_native(reads(small, {option: bundle}, f"/vsitlm/{web['secure']}{path}"))
    denied({}, f"/vsitlm/{web['secure']}{path}", "certificate", "CURL_CA_BUNDLE", "GDAL_HTTP_UNSAFESSL")
    denied({"CURL_CA_BUNDLE": bundle}, f"/vsitlm/{web['other']}{path}", "certificate", "GDAL_HTTP_UNSAFESSL")
    reads(small, {"GDAL_HTTP_UNSAFESSL": "YES"}, f"/vsitlm/{web['other']}{path}")
    reads(small, {}, curl_path(f"{web['other']}{path}", unsafessl="yes"))


def test_a_host_of_netrc_is_read_through_gdal(web: dict[str, Any], small: Sample, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    path = f"/vsitlm/{web['plain']}/basic/plain.jp2"
    assert not is_native(reads(small, {"HOME": str(tmp_path)}, path))
    denied({"HOME": str(tmp_path), "GDAL_HTTP_NETRC": "NO"}, path, "401", "GDAL_HTTP_USERPWD")


@pytest.mark.parametrize("scheme", ["plain", "secure"])
def test_a_proxy_and_its_password(web: dict[str, Any], small: Sample, scheme: str) -> None:
    path = f"/vsitlm/{web[scheme]}/open/plain.jp2"
    trust = {"CURL_CA_BUNDLE": str(web["folder"] / "ca.pem")}
    with run_proxy() as (address, seen):
        for options in (
            {"GDAL_HTTP_PROXY": address},
            {"GDAL_HTTP_PROXY": f"http://{address}"},
            {"GDAL_HTTP_PROXY": "127.0.0.1:1", "GDAL_HTTPS_PROXY": address} if scheme == "secure" else {},
            {"http_proxy": f"http://{address}", "https_proxy": f"http://{address}"},
        ):
            seen.clear()
            assert is_native(reads(small, trust | options, path))
            assert bool(seen) == bool(options), options
        seen.clear()
        direct = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        reads(small, trust | {"GDAL_HTTP_PROXY": address} | direct, path)
        assert not seen
    with run_proxy(f"me:{SECRET}@:/") as (address, seen):
        known = {"GDAL_HTTP_PROXY": address, "GDAL_HTTP_PROXYUSERPWD": f"me:{SECRET}@:/", "GDAL_PROXY_AUTH": "BASIC"}
        assert is_native(reads(small, trust | known, path))
        assert seen and all(method == "CONNECT" for method, _, _ in seen) == (scheme == "secure")
        stranger = known | {"GDAL_HTTP_PROXYUSERPWD": f"you:{SECRET}"}
        denied(trust | stranger, path, "proxy")


def test_a_proxy_of_tls_sees_no_credentials_and_the_server_none_of_the_proxy(
    web: dict[str, Any], small: Sample
) -> None:
    with run_proxy(f"me:{SECRET}") as (address, seen):
        options = {"GDAL_HTTP_PROXY": address, "GDAL_HTTP_PROXYUSERPWD": f"me:{SECRET}"} | BEARER
        log = web["folder"] / "asked.log"
        before = len(log.read_text())
        reads(small, options, f"/vsitlm/{web['plain']}/bearer/plain.jp2")
        asked = log.read_text()[before:]
        assert SECRET in asked and base64.b64encode(f"me:{SECRET}".encode()).decode() not in asked
        seen.clear()
        trust = {"CURL_CA_BUNDLE": str(web["folder"] / "ca.pem")}
        reads(small, options | trust, f"/vsitlm/{web['secure']}/open/plain.jp2")
        assert seen and not any(SECRET in str(headers) for _, _, headers in seen)
        assert all("Authorization" not in headers for _, _, headers in seen)


def test_google_without_signing_and_with_a_token(web: dict[str, Any], small: Sample) -> None:
    at = {"CPL_GS_ENDPOINT": web["plain"] + "/"}
    paths = [f"/vsitlm/gs://open/{key}" for key in KEYS]
    assert is_native(reads(small, at | {"GS_NO_SIGN_REQUEST": "YES"}, *paths))
    token = {"GDAL_HTTP_HEADERS": f"Authorization: Bearer {SECRET}"}
    assert is_native(reads(small, at | token, "/vsitlm/gs://bearer/plain.jp2"))
    project = token | {"GS_USER_PROJECT": "mine"}
    reads(small, at | project, "/vsitlm/gs://project/plain.jp2")
    denied(at | token, "/vsitlm/gs://project/plain.jp2", "403", "GS_USER_PROJECT")
    denied(at | {"GS_NO_SIGN_REQUEST": "YES"}, "/vsitlm/gs://bearer/plain.jp2", "401", "GS_NO_SIGN_REQUEST")


def test_google_by_gdals_own_keys_is_read_through_gdal(web: dict[str, Any], small: Sample, tmp_path: Path) -> None:
    (tmp_path / "boto").write_text("[Credentials]\ngs_access_key_id = me\ngs_secret_access_key = any\n")
    options = {"CPL_GS_ENDPOINT": web["plain"] + "/", "CPL_GS_CREDENTIALS_FILE": str(tmp_path / "boto")}
    assert not is_native(reads(small, options, "/vsitlm/gs://open/plain.jp2"))


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory, small: Sample) -> Iterator[dict[str, str]]:
    """What Azurite is asked by."""
    folder = fill(tmp_path_factory.mktemp("blobs"), small.path)
    with run_azurite(folder, tmp_path_factory.mktemp("azurite")) as told:
        yield told


def azure_options(azure: Mapping[str, str], way: str) -> dict[str, str]:
    """GDAL's options for one way of access."""
    endpoint = f"{azure['url']}/{azure['account']}"
    by_account = {"AZURE_STORAGE_ACCOUNT": azure["account"], "CPL_AZURE_ENDPOINT": endpoint}
    connection = f"DefaultEndpointsProtocol=http;BlobEndpoint={endpoint};"
    return {
        "key": by_account | {"AZURE_STORAGE_ACCESS_KEY": azure["key"]},
        "sas": by_account | {"AZURE_STORAGE_SAS_TOKEN": azure["sas"], "AZURE_NO_SIGN_REQUEST": "YES"},
        "old sas": by_account | {"AZURE_SAS": azure["sas"]},
        "late": by_account | {"AZURE_STORAGE_SAS_TOKEN": azure["late"]},
        "unsigned": by_account | {"AZURE_NO_SIGN_REQUEST": "YES"},
        "wrong": by_account | {"AZURE_STORAGE_ACCESS_KEY": base64.b64encode(SECRET.encode()).decode()},
        "connection": {
            "AZURE_STORAGE_CONNECTION_STRING": f"{connection}AccountName={azure['account']};AccountKey={azure['key']}"
        },
        "connection by sas": {
            "AZURE_STORAGE_CONNECTION_STRING": f"{connection}SharedAccessSignature={azure['sas']}"
        },
    }[way]


@pytest.mark.parametrize(
    ("way", "container"),
    [
        ("key", "closed"),
        ("sas", "closed"),
        ("old sas", "closed"),
        ("connection", "closed"),
        ("connection by sas", "closed"),
        ("unsigned", "open"),
    ],
)
@pytest.mark.parametrize("form", ["az://", "vsiaz/"])
def test_azure(azure: dict[str, str], small: Sample, way: str, container: str, form: str) -> None:
    output = reads(small, azure_options(azure, way), *[f"/vsitlm/{form}{container}/{key}" for key in KEYS])
    assert is_native(output)
    assert azure["key"] not in output and azure["sas"].split("sig=")[1][:12] not in output


@pytest.mark.parametrize("way", ["wrong", "late", "unsigned"])
def test_azure_denies_what_is_wrong(azure: dict[str, str], way: str) -> None:
    options = azure_options(azure, way)
    secret = options.get("AZURE_STORAGE_ACCESS_KEY") or azure["late"].split("sig=")[1][:12]
    denied(options, "/vsitlm/az://closed/plain.jp2", "AZURE_STORAGE_SAS_TOKEN", secret=secret)


def test_azure_with_a_token(web: dict[str, Any], small: Sample) -> None:
    account = {"AZURE_STORAGE_ACCOUNT": "me", "CPL_AZURE_ENDPOINT": web["plain"]}
    path = "/vsitlm/az://bearer/plain.jp2"
    assert is_native(reads(small, account | {"AZURE_STORAGE_ACCESS_TOKEN": SECRET}, path))
    denied(account | {"AZURE_STORAGE_ACCESS_TOKEN": SECRET + "2"}, path, "401", "AZURE_STORAGE_ACCESS_TOKEN")


ROUNDS = 20


def test_callers_do_not_mix(s3: dict[str, Any], small: Sample) -> None:
    """Each of two threads has keys that open one bucket of two, and reads over several tiles by GDAL's own threads,
    which have the options of neither."""
    # A file that is open serves all of its handles by the options of its first open: nobody has these two open.
    paths = {user: f"/vsitlm/s3://{user}/{KEYS[0]}" for user in ("one", "two")}
    barred = {user: f"/vsitlm/s3://{user}/{KEYS[1]}" for user in ("one", "two")}
    callers = [(s3["one"], paths["one"], barred["two"]), (s3["two"], paths["two"], barred["one"])]
    shared = {"VSITLM_CACHE_SIZE": "1", "GDAL_NUM_THREADS": "4", "GDAL_HTTP_MAX_RETRY": "0"}
    for own, *others in apart.call(jobs.as_callers, callers, shared, ROUNDS, options=s3["at"]):
        assert np.array_equal(own, small.pixels)
        assert len(others) == ROUNDS
        assert all(isinstance(other, gdalio.Failed) and "403" in str(other) for other in others), others


def test_what_one_caller_has_fetched_is_not_anothers(s3: dict[str, Any], small: Sample) -> None:
    path = f"/vsitlm/s3://one/{KEYS[0]}"
    secret = {"AWS_SECRET_ACCESS_KEY": SECRET * 2}
    steps = [(s3["one"], path), (s3["two"], path), (s3["one"] | secret, path), (s3["one"], path)]
    first, stranger, guess, again = apart.call(jobs.in_turn, steps, options=s3["at"] | {"GDAL_NUM_THREADS": "1"})
    assert np.array_equal(first, small.pixels) and np.array_equal(again, small.pixels)
    for other in (stranger, guess):
        assert isinstance(other, gdalio.Failed) and "403" in str(other), other


def test_options_of_a_path(s3: dict[str, Any], web: dict[str, Any], azure: dict[str, str], small: Sample) -> None:
    options = [(f"/vsis3/{user}", name, value) for user in ("one", "two") for name, value in s3[user].items()]
    options += [("/vsis3/", name, value) for name, value in s3["at"].items()]
    options += [("/vsigs/open", "GS_NO_SIGN_REQUEST", "YES"), ("/vsigs/", "CPL_GS_ENDPOINT", web["plain"] + "/")]
    options += [("/vsiaz/closed", name, value) for name, value in azure_options(azure, "key").items()]
    options += [(f"/vsicurl/{web['plain']}/basic", "GDAL_HTTP_USERPWD", f"me:{SECRET}")]
    places = ["s3://one", "s3://two", "gs://open", "az://closed", f"{web['plain']}/basic"]
    paths = [f"/vsitlm/{place}/plain.jp2" for place in places]
    barred = f"/vsitlm/{web['plain']}/bearer/plain.jp2"
    *read, denied_one = apart.call(jobs.by_path, options, *paths, barred)
    for path, pixels in zip(paths, read):
        assert np.array_equal(pixels, small.pixels), f"{path}: {pixels}"
    assert isinstance(denied_one, gdalio.Failed)


def credentials_by_kind(url: str) -> list[tuple[str, dict[str, str]]]:
    """Paths that are redirected to another host, with credentials of every kind."""
    google, azure = {"CPL_GS_ENDPOINT": url + "/"}, {"AZURE_STORAGE_ACCOUNT": "me", "CPL_AZURE_ENDPOINT": url}
    endpoint = {"AWS_S3_ENDPOINT": url, "AWS_VIRTUAL_HOSTING": "FALSE", "AWS_REQUEST_PAYER": "requester"}
    headers = {"GDAL_HTTP_HEADERS": f"Authorization: {SECRET},X-Key: {SECRET},Cookie: {SECRET}"}
    return [
        (f"{url}/elsewhere/x.bin?token={SECRET}", {"GDAL_HTTP_USERPWD": f"me:{SECRET}"}),
        (f"{url.replace('://', f'://me:{SECRET}@')}/elsewhere/x.bin", {}),
        (f"{url}/elsewhere/x.bin", BEARER),
        (f"{url}/elsewhere/x.bin", headers),
        (
            "s3://elsewhere/x.bin",
            endpoint
            | {"AWS_ACCESS_KEY_ID": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": SECRET},
        ),
        ("gs://elsewhere/x.bin", google | {"GS_ACCESS_KEY_ID": SECRET, "GS_SECRET_ACCESS_KEY": SECRET}),
        ("gs://elsewhere/x.bin", google | headers),
        ("az://elsewhere/x.bin", azure | {"AZURE_STORAGE_ACCESS_KEY": base64.b64encode(SECRET.encode()).decode()}),
        ("az://elsewhere/x.bin", azure | {"AZURE_STORAGE_ACCESS_TOKEN": SECRET}),
        ("az://elsewhere/x.bin", azure | {"AZURE_STORAGE_SAS_TOKEN": f"sv=1&sig={SECRET}"}),
    ]


@pytest.mark.parametrize("number", range(10))
def test_redirects_to_another_host_carry_no_credentials(web: dict[str, Any], number: int) -> None:
    path, options = credentials_by_kind(web["plain"])[number]
    web["elsewhere"].clear()
    (copied,) = apart.call(jobs.play, ("copy", f"/vsitlm/{path}", 1000), options=OTHER | options)
    assert isinstance(copied, bytes) and copied, copied
    assert web["elsewhere"]
    for line, headers in web["elsewhere"]:
        names = {name.lower() for name in headers}
        assert line == "/x.bin" and names <= {"host", "range", "accept", "user-agent", "if-match"}, (line, headers)
        assert SECRET not in str(headers)
