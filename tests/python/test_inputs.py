"""What `vsitlm index` takes, by the real command against servers that check who asks: prefixes, SAFE products, STAC items
and AWS's layout; and indexes that are written to object stores."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import PRODUCT, Sample, Site, band_path, only_once, vsitlm
from servers import run_azurite, run_s3

pytestmark = only_once

CDSE = "Sentinel-2/MSI/L2A/2024/06/01"
AWS = "tiles/31/U/DQ/2024/6/1/0"
BANDS = (band_path(), band_path("B04"), band_path("B04", 20))
MASK = str(Path(BANDS[0]).parent.parent.parent / "QI_DATA/MSK_CLDPRB_20m.jp2")
"""A mask of the product, below a folder of products."""

BROKEN = "S2B_MSIL2A_20240602T105031_N0510_R051_T31UDQ_20240602T140000"
"""A product whose manifest is wrong."""


def manifest(product: Path, size: int, digest: str, extra: str = "") -> str:
    """A product's manifest, which says the same of all of its files."""
    named = [
        f'<byteStream size="{size}"><fileLocation href="./{file.relative_to(product)}" locatorType="URL"/>'
        f'<checksum checksumName="MD5">{digest}</checksum></byteStream>'
        for file in sorted(product.rglob("*.jp2"))
    ]
    return f"<x>{''.join(named)}{extra}</x>"


def fill(folder: Path, source: Path) -> Path:
    """A folder with the file as a product at CDSE, as one whose manifest is wrong, and as one at AWS."""
    for name in (*BANDS, MASK):
        for product in (PRODUCT, BROKEN):
            path = folder / CDSE / name.replace(PRODUCT, product)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, path)
    size, digest = source.stat().st_size, hashlib.md5(source.read_bytes()).hexdigest()
    good, broken = (folder / CDSE / f"{product}.SAFE" for product in (PRODUCT, BROKEN))
    (good / "manifest.safe").write_text(manifest(good, size, digest))
    absent = '<byteStream size="9"><fileLocation href="./GRANULE/x/IMG_DATA/T31UDQ_20240602T105031_B08_10m.jp2"/></byteStream>'
    text = manifest(broken, size, digest, absent)
    text = text.replace(f'size="{size}"', 'size="1"', 1).replace(digest, "0" * 32)
    (broken / "manifest.safe").write_text(text)
    for name in ("R10m/B03.jp2", "R10m/B04.jp2", "R20m/B04.jp2", "qi/CLD_20m.jp2", "preview/B03.jp2"):
        (folder / AWS / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / AWS / name)
    (folder / AWS / "productInfo.json").write_text(json.dumps({"name": PRODUCT}))
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, small: Sample) -> Path:
    """The folder that the servers have."""
    return fill(tmp_path_factory.mktemp("archive"), small.path)


@pytest.fixture(scope="module")
def s3(archive: Path) -> Iterator[dict[str, dict[str, str]]]:
    """Options by which each user finds the S3 server."""
    with run_s3(archive) as told:
        at = {"AWS_S3_ENDPOINT": f"http://127.0.0.1:{told['port']}", "AWS_VIRTUAL_HOSTING": "FALSE"}
        yield {user: at | told[user] for user in ("reader", "one", "two")}


def indexed(
    output: str | Path, *arguments: str | Path, options: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What `vsitlm index --json` says; it says so whether all went well or not."""
    done = vsitlm("index", *arguments, "-o", output, "--json", options=options)
    told = json.loads(done.stdout)
    assert (done.returncode == 0) == (not told["failed"]), done.stderr
    for secret in ("AWS_SECRET_ACCESS_KEY", "GS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCESS_KEY"):
        value = (options or {}).get(secret)
        assert value is None or value not in done.stdout + done.stderr
    return told


def rows(index: str | Path, path: str, options: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows that an index has for a file."""
    done = vsitlm("info", path, "--json", options=dict(options) | {"VSITLM_INDEX": str(index)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["index"]


@pytest.mark.parametrize(("more", "count"), [([], 2), (["--masks"], 3), (["--masks", "--all-resolutions"], 4)])
@pytest.mark.parametrize("form", ["s3://eodata/", "/vsis3/eodata/"])
def test_a_prefix_is_listed(
    s3: dict[str, Any], tmp_path: Path, form: str, more: list[str], count: int
) -> None:
    index = tmp_path / "x.parquet"
    told = indexed(index, f"{form}{CDSE}/", *more, options=s3["reader"])
    assert (told["rows"], told["failed"]) == (2 * count, [])
    found = rows(index, f"s3://eodata/{CDSE}/{BANDS[0]}", s3["reader"])
    assert [(row["product_id"], row["band_id"]) for row in found] == [(PRODUCT, "B03")]


def test_a_prefix_of_nothing_and_one_that_is_denied_are_told(s3: dict[str, Any], tmp_path: Path) -> None:
    told = indexed(tmp_path / "x.parquet", "s3://eodata/none/", f"s3://eodata/{CDSE}/", options=s3["reader"])
    assert told["rows"] == 4 and ["s3://eodata/none/"] == [each["file"] for each in told["failed"]]
    for prefix, why in (("s3://eodata/Sentinel-2/", "403"), ("s3://no-such-bucket/x/", "HTTP 40")):
        told = indexed(tmp_path / "y.parquet", prefix, options=s3["two"])
        assert told["rows"] == 0 and why in told["failed"][0]["error"], told
        assert told["failed"][0]["file"] == prefix
    assert not (tmp_path / "y.parquet").exists()


def test_a_product_is_taken_by_its_manifest(
    s3: dict[str, Any], archive: Path, site: Site, tmp_path: Path
) -> None:
    safe = f"{CDSE}/{PRODUCT}.SAFE"
    told = indexed(tmp_path / "x.parquet", f"s3://eodata/{safe}", "--checksums", options=s3["reader"])
    assert (told["rows"], told["failed"]) == (2, [])
    for file in (archive / safe).rglob("*"):
        if file.is_file():
            site.put(file, str(file.relative_to(archive)))
    site.reset()
    told = indexed(tmp_path / "y.parquet", site.url(f"{safe}?sig=opensesame"))
    assert (told["rows"], told["failed"]) == (2, [])
    # The manifest, and each band with one request, since they are small.
    assert len(site.ranges()) == 3


@pytest.mark.parametrize("place", ["s3", "disk"])
def test_what_a_manifest_says_and_is_not_so_is_told(
    s3: dict[str, Any], archive: Path, tmp_path: Path, place: str
) -> None:
    safe = f"{CDSE}/{BROKEN}.SAFE"
    path = f"s3://eodata/{safe}/" if place == "s3" else archive / safe
    told = indexed(tmp_path / "x.parquet", path, "--all-resolutions", options=s3["reader"])
    why = {Path(each["file"]).name.rsplit("_", 2)[1]: each["error"] for each in told["failed"]}
    assert told["rows"] == 2 and set(why) == {"B03", "B08"}
    assert "not found" in why["B08"] and " 1 " in f"{why['B03']} " and "bytes" in why["B03"], why
    told = indexed(tmp_path / "y.parquet", path, "--checksums", "--all-resolutions", options=s3["reader"])
    assert told["rows"] == 0 and "0" * 32 in json.dumps(told["failed"])


def test_the_paths_of_aws_do_not_tell_the_product_but_a_file_there_does(s3: dict[str, Any], tmp_path: Path) -> None:
    for number, arguments in enumerate(([f"s3://eodata/{AWS}/"], [f"s3://eodata/{AWS}/R10m/B03.jp2"])):
        index = tmp_path / f"{number}.parquet"
        told = indexed(index, *arguments, options=s3["reader"])
        assert (told["rows"], told["failed"]) == (2 - number, [])
        found = rows(index, f"s3://eodata/{CDSE}/{BANDS[0]}", s3["reader"])
        assert [row["product_id"] for row in found] == [PRODUCT], "at CDSE the same row is found"


def test_products_are_found_in_an_archive_by_their_names(s3: dict[str, Any], tmp_path: Path) -> None:
    absent = PRODUCT.replace("20240601T1", "20240603T1")
    told = indexed(tmp_path / "x.parquet", "--store", "cdse", PRODUCT, f"{absent}.SAFE", options=s3["reader"])
    assert told["rows"] == 2 and [each["file"] for each in told["failed"]] == [f"{absent}.SAFE"]
    done = vsitlm("index", PRODUCT, "--store", "no?where", "-o", tmp_path / "y.parquet")
    assert done.returncode == 2 and "cdse" in done.stderr


def test_the_items_of_stac_are_taken(s3: dict[str, Any], site: Site, archive: Path, tmp_path: Path) -> None:
    site.put(archive / CDSE / BANDS[1], "items/bands/B04.jp2")
    asset = {"type": "image/jp2; application=x"}
    item = {
        "id": "near and far",
        "properties": {"s2:product_uri": f"{PRODUCT}.SAFE"},
        "assets": {
            "near": asset | {"href": "./bands/B04.jp2"},
            "far": asset | {"href": f"s3://eodata/{AWS}/R10m/B03.jp2"},
            "thumbnail": {"type": "image/png", "href": "none.png"},
        },
    }
    bare = {"id": "bare", "properties": {}, "assets": {}}
    url = site.put_bytes("items/items.json", json.dumps({"type": "FeatureCollection", "features": [item, bare]}).encode())
    index = tmp_path / "x.parquet"
    told = indexed(index, url, options=s3["reader"])
    assert told["rows"] == 2 and [each["file"].endswith("items.json: bare") for each in told["failed"]] == [True]
    for band in BANDS[:2]:
        assert PRODUCT in [row["product_id"] for row in rows(index, f"s3://eodata/{CDSE}/{band}", s3["reader"])]


def test_an_index_is_written_to_a_bucket(s3: dict[str, Any], archive: Path, tmp_path: Path) -> None:
    band = f"s3://eodata/{CDSE}/{BANDS[0]}"
    for name in ("index.parquet", "with space+plus&and=(1).parquet"):
        for _ in range(2):
            told = indexed(f"s3://one/shards/{name}", band, options=s3["reader"])
            assert told["rows"] == 1
        assert len(rows(f"s3://one/shards/{name}", band, s3["reader"])) == 1
    own = s3["two"] | {"TMPDIR": str(tmp_path)}  # the rows of a run that fails stay there
    done = vsitlm("index", archive / CDSE / BANDS[0], "-o", "s3://eodata/index.parquet", options=own)
    assert done.returncode == 1 and "s3://eodata/index.parquet: access denied (HTTP 403" in done.stderr


def test_google_is_listed_and_written_to_by_its_keys(s3: dict[str, Any]) -> None:
    keys = {name.replace("AWS", "GS"): value for name, value in s3["reader"].items() if "ACCESS_KEY" in name}
    options = keys | {"CPL_GS_ENDPOINT": s3["reader"]["AWS_S3_ENDPOINT"] + "/"}
    told = indexed("gs://two/google.parquet", f"gs://eodata/{CDSE}/", options=options)
    assert (told["rows"], told["failed"]) == (4, [])
    assert len(rows("gs://two/google.parquet", f"gs://eodata/{CDSE}/{BANDS[0]}", options)) == 1


def test_azure_is_listed_and_written_to(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> None:
    with run_azurite(archive, tmp_path_factory.mktemp("azurite")) as told:
        options = {
            "AZURE_STORAGE_ACCOUNT": told["account"],
            "AZURE_STORAGE_ACCESS_KEY": told["key"],
            "CPL_AZURE_ENDPOINT": f"{told['url']}/{told['account']}",
        }
        made = indexed("az://closed/a b.parquet", f"az://closed/{CDSE}/", options=options)
        assert (made["rows"], made["failed"]) == (4, [])
        assert len(rows("az://closed/a b.parquet", f"az://closed/{CDSE}/{BANDS[0]}", options)) == 1


def test_a_long_listing_goes_on_where_its_page_ends(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    (folder / "many").mkdir()
    for number in range(1005):
        (folder / f"many/{number:04}.txt").touch()
    (folder / "many/last.jp2").write_bytes(b"no JP2")
    with run_azurite(folder, tmp_path_factory.mktemp("azurite")) as told:
        options = {
            "AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint={told['url']}/{told['account']};"
            f"AccountName={told['account']};AccountKey={told['key']}"
        }
        told = indexed(tmp_path / "x.parquet", "az://open/many/", options=options)
        assert ["az://open/many/last.jp2"] == [each["file"] for each in told["failed"]]
