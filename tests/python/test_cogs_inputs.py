"""What `vsitlm index` takes of TIFFs: folders, prefixes, STAC items, signed addresses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apart
import gdalio
import jobs
import numpy as np
import pytest
import tiffs
from cogs import TILED, WINDOW, Cog, indexed
from conftest import Sample, Site, make_index, only_once, vsitlm
from servers import run_s3
from test_archives import printed


@only_once
def test_a_folder_of_tiffs_and_jp2s_is_taken(files: dict[str, Path], small: Sample, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    for name in ("COG", "tiles"):
        shutil.copy(files[name], folder / "deep" / files[name].name)
    shutil.copy(files["strips"], folder / "upper.TIFF")
    shutil.copy(small.path, folder / small.path.name)
    (folder / "notes.txt").write_text("neither")
    told = indexed(tmp_path / "index.parquet", folder)
    assert (told["rows"], told["failed"]) == (4, [])
    options = {"VSITLM_INDEX": str(tmp_path / "index.parquet"), "VSITLM_ON_MISS": "FAIL"}
    found = sorted(path for path in folder.rglob("*.*") if path.suffix != ".txt")
    read = apart.call(jobs.play, *[("read", f"/vsitlm/{path}") for path in found], options=options)
    for path, pixels in zip(found, read):
        assert np.array_equal(pixels, gdalio.read(str(path))), path
    assert indexed(tmp_path / "index.parquet", folder)["unchanged"] == 4


@only_once
def test_a_second_run_asks_once_for_each_tiff(site: Site, cog: Cog, tmp_path: Path) -> None:
    index = make_index(tmp_path / "index.parquet", cog.url)
    site.reset()
    assert indexed(index, cog.url)["unchanged"] == 1
    assert site.ranges() == [(0, 1)]
    done = vsitlm("validate", index, "--against", site.folder, "--json")
    assert json.loads(done.stdout)["problems"] == [], done.stderr


SCENE = "LC08_L2SP_196027_20240601_20240610_02_T1"
LANDSAT = f"collection02/level-2/standard/oli-tirs/2024/196/027/{SCENE}"
EARTH_SEARCH = "sentinel-s2-l2a-cogs/31/U/DQ/2024/6"
ITEMS = ("S2B_31UDQ_20240601_0_L2A", "S2A_31UDQ_20240603_0_L2A")
OBJECTS = [f"{LANDSAT}/{SCENE}_SR_B{band}.TIF" for band in (4, 5)] + [
    f"{EARTH_SEARCH}/{item}/B04.tif" for item in ITEMS
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scene and the items, whose files are of one size and of different pixels."""
    folder = tmp_path_factory.mktemp("cog archive")
    for seed, name in enumerate(OBJECTS):
        tiffs.make_kind(TILED, folder / name, seed)
    (folder / LANDSAT / f"{SCENE}_MTL.json").write_text("{}")
    (folder / LANDSAT / f"{SCENE}_thumb_small.jpeg").write_bytes(b"no JPEG")
    return folder


@pytest.fixture(scope="module")
def s3(archive: Path) -> Iterator[dict[str, str]]:
    """Options by which the S3 server is found, where the requester pays."""
    with run_s3(archive, "paying", "eodata") as told:
        at = {"AWS_S3_ENDPOINT": f"http://127.0.0.1:{told['port']}", "AWS_VIRTUAL_HOSTING": "FALSE"}
        yield at | told["reader"] | {"AWS_REQUEST_PAYER": "requester"}


def without_payer(options: dict[str, str]) -> dict[str, str]:
    """The options of one who does not pay."""
    return {name: value for name, value in options.items() if name != "AWS_REQUEST_PAYER"}


def reads_all(archive: Path, index: Path, options: dict[str, str]) -> None:
    """Every object is read by its row, each with its own pixels, and opened without a request."""
    paths = [f"/vsitlm/s3://paying/{name}" for name in OBJECTS]
    known = options | {"VSITLM_INDEX": str(index), "VSITLM_ON_MISS": "FAIL"}
    stats = index.with_suffix(".json")
    apart.call(jobs.play, *[("describe", path) for path in paths], options=known | {"VSITLM_STATS": str(stats)})
    assert not stats.exists() or json.loads(stats.read_text())["total"]["requests"] == 0
    pixels = apart.call(jobs.play, *[("read", path) for path in paths], options=known)
    for name, got in zip(OBJECTS, pixels):
        assert np.array_equal(got, gdalio.read(str(archive / name))), name


@only_once
def test_a_prefix_where_the_requester_pays_is_listed_and_read(
    s3: dict[str, str], archive: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index.parquet"
    prefixes = [f"s3://paying/{name.split('/')[0]}/" for name in OBJECTS[1:3]]
    denied = indexed(index, *prefixes, options=without_payer(s3))
    assert denied["rows"] == 0 and "403" in denied["failed"][0]["error"]
    told = indexed(index, *prefixes, options=s3)
    assert (told["rows"], told["failed"]) == (len(OBJECTS), [])
    reads_all(archive, index, s3)
    path, options = f"/vsitlm/s3://paying/{OBJECTS[0]}", without_payer(s3) | {"VSITLM_INDEX": str(index)}
    (failure,) = apart.call(jobs.play, ("read", path), options=options)
    assert isinstance(failure, gdalio.Failed)
    assert "403" in str(failure) and "AWS_REQUEST_PAYER" in str(failure)


def stac_items() -> dict[str, Any]:
    """Items as the archives have them: Landsat's with other addresses of its files, and those of Earth Search."""
    cog_type = "image/vnd.stac.geotiff; cloud-optimized=true"
    landsat = {
        f"SR_B{band}": {
            "href": f"s3://paying/{LANDSAT}/{SCENE}_SR_B{band}.TIF",
            "type": cog_type,
            "alternate": {"https": {"href": f"https://landsatlook.usgs.gov/data/{LANDSAT}/{SCENE}_SR_B{band}.TIF"}},
        }
        for band in (4, 5)
    }
    landsat["mtl.json"] = {"href": f"s3://paying/{LANDSAT}/{SCENE}_MTL.json", "type": "application/json"}
    landsat["thumbnail"] = {"href": f"s3://paying/{LANDSAT}/{SCENE}_thumb_small.jpeg", "type": "image/jpeg"}
    features = [{"type": "Feature", "id": f"{SCENE}_SR", "properties": {"eo:cloud_cover": 3.5}, "assets": landsat}]
    for item in ITEMS:
        href = f"s3://paying/{EARTH_SEARCH}/{item}/B04.tif"
        asset = {"href": href, "type": "image/tiff; application=geotiff; profile=cloud-optimized"}
        features.append({"type": "Feature", "id": item, "properties": {}, "assets": {"red": asset}})
    return {"type": "FeatureCollection", "features": features}


@only_once
def test_the_tiffs_of_stac_items_are_taken(s3: dict[str, str], archive: Path, tmp_path: Path) -> None:
    items = tmp_path / "items.json"
    items.write_text(json.dumps(stac_items()))
    told = indexed(tmp_path / "index.parquet", items, options=s3)
    assert (told["rows"], told["failed"]) == (len(OBJECTS), [])
    reads_all(archive, tmp_path / "index.parquet", s3)


TOKEN = (
    "?st=2026-01-01T00%3A00%3A00Z&se=2026-01-02T00%3A00%3A00Z&sp=rl&sv=2021-06-08&sr=c"
    "&skoid=a&sktid=b&skt=c&ske=d&sks=b&skv=2021-06-08&sig="
)
"""What Planetary Computer adds to an address, up to the signature."""
SIGNATURES = ("opensesame%2B1", "opensesame%2F2")


def test_signed_addresses_share_a_row_and_are_not_printed(site: Site, cog: Cog, tmp_path: Path) -> None:
    url = site.put(cog.path, f"{tmp_path.name}/signed.tif")
    index = tmp_path / "index.parquet"
    done = vsitlm("index", url + TOKEN + SIGNATURES[0], "-o", index, options={"CPL_DEBUG": "VSITLM"})
    assert done.returncode == 0, done.stderr
    told = vsitlm("info", url + TOKEN + SIGNATURES[1], "--json", options={"VSITLM_INDEX": str(index)})
    assert len(json.loads(told.stdout)["index"]) == 1, told.stderr
    site.reset()
    path, options = f"/vsitlm/{url}{TOKEN}{SIGNATURES[1]}", {"VSITLM_INDEX": str(index), "CPL_DEBUG": "VSITLM"}
    steps = [("describe", path), ("ask", f"{site.server.url}/__stats"), ("read", path, WINDOW)]
    read = apart.outcome(jobs.play, *steps, options=options)
    assert read.error is None, read.output
    assert json.loads(read.value[1])["requests"] == 0
    assert np.array_equal(read.value[2], gdalio.read(str(cog.path), WINDOW))
    site.control(fail_path=f"/{tmp_path.name}/signed.tif", status=403)
    denied = apart.outcome(jobs.play, ("read", path, WINDOW), ("last",), options=options | {"GDAL_NUM_THREADS": "1"})
    assert isinstance(denied.value[0], gdalio.Failed) and "403" in denied.value[1]
    said = [done.stdout, done.stderr, told.stdout, told.stderr]
    said += [printed(read.output), printed(denied.output), denied.value[1]]
    lines = [line for text in said for line in text.splitlines()]
    # GDAL's driver names the file by its path where a block cannot be read.
    assert [line for line in lines if "opensesame" in line and "IReadBlock failed" not in line] == []
    assert b"opensesame" not in index.read_bytes()
