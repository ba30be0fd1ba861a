"""Exported cubes: what others read of them is what rasterio reads of the files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import realdata
from conftest import ROOT, Site, band_path, run
from cubes import REAL, STEPS, Series, add, compare_tree

pytest.importorskip("zarr")
pytest.importorskip("icechunk")
xarray = pytest.importorskip("xarray")
import icechunk  # noqa: E402
import rasterio  # noqa: E402
import rioxarray  # noqa: E402, F401
import servers  # noqa: E402

import vsitlm  # noqa: E402
from vsitlm.cube._check import faults  # noqa: E402
from vsitlm.cube._export import FORMATS, open_store  # noqa: E402

os.environ["ICECHUNK_LOG"] = "error"

REFLECTANCE = "measurements/reflectance"
PLACES = {
    f"{REFLECTANCE}/r10m/b04": ("B04", None), f"{REFLECTANCE}/r10m/b08": ("B08", None),
    f"{REFLECTANCE}_10m/r20m/b04": ("B04", 0), f"{REFLECTANCE}_10m/r160m/b04": ("B04", 3),
    f"{REFLECTANCE}/r20m/b05": ("B05", None), f"{REFLECTANCE}/r80m/b05": ("B05", 1),
    f"{REFLECTANCE}/r60m/b01": ("B01", None), f"{REFLECTANCE}/r120m/b01": ("B01", 0),
    "conditions/mask/l2a_classification/r20m/scl": ("SCL", None),
}  # fmt: skip
"""Arrays of a tree, each with its band and rasterio's number of the level."""

GEOZARR_PYTHON = ROOT / "target/py/geozarr/bin/python"


def name_of(format: str) -> str:
    """What an export of a format is called in these tests."""
    return {"icechunk": "cube.icechunk", "kerchunk": "cube.json", "kerchunk-parquet": "cube.parq"}[format]


def tree(out: Path) -> Any:
    """The tree of an export."""
    return xarray.open_datatree(open_store(str(out), {}), engine="zarr", consolidated=False, mask_and_scale=False)


@pytest.mark.parametrize("format", ["icechunk", "kerchunk"])
def test_a_tree_has_the_pixels_of_the_files_at_every_level(format: Any, series: Series, tmp_path: Path) -> None:
    out = tmp_path / name_of(format)
    series.site.stats()
    made = vsitlm.export(series.index, out, datetime="2024-06-01/2024-06-10", format=format)
    assert series.site.stats()["requests"] == 0, "the index records where everything lies"
    assert (made.times, made.added, made.without_state) == (2, 2, 0)
    shown = tree(out)
    for path, (band, level) in PLACES.items():
        for number, product in enumerate(STEPS[:2]):
            right = series.pixels(product, band, level) if (product, band) in series.files else 0
            assert np.array_equal(shown[path][number].values, np.broadcast_to(right, shown[path].shape[1:])), path
    group = shown[f"{REFLECTANCE}/r10m"].ds
    assert group["b04"].dtype == "uint16" and group.product_id.values.tolist() == STEPS[:2]
    assert group.rio.crs.to_epsg() == 32631 and group.boa_add_offset.values.tolist() == [0, -1000]
    with rasterio.open(series.files[STEPS[0], "B04"]) as file:
        assert group["b04"].rio.transform() == file.transform


def test_a_lower_level_asks_for_its_own_bytes(series: Series, tmp_path: Path) -> None:
    vsitlm.export(series.index, tmp_path / "cube", bands="B04", datetime="2024-06-01", format="icechunk")
    shown = tree(tmp_path / "cube")
    asked = []
    for path in (f"{REFLECTANCE}/r10m/b04", f"{REFLECTANCE}_10m/r160m/b04"):
        series.site.stats()
        shown[path].load()
        asked.append(series.site.stats())
    # Nine tiles of 512 px, one request each, of noise: at 1/16 of 256 times fewer pixels, with the packets' headers.
    assert asked[0]["requests"] == asked[1]["requests"] == 9
    assert asked[1]["bytes"] < asked[0]["bytes"] / 50


@pytest.mark.parametrize("format", FORMATS)
def test_one_group_and_times_put_to_it(format: Any, series: Series, tmp_path: Path) -> None:
    out, terms = tmp_path / name_of(format), {"bands": ["B04", "B08"], "resolution": 10, "format": format}
    vsitlm.export(series.index, out, datetime="2024-06-01", **terms)
    more = vsitlm.export(series.index, out, datetime="2024-06-01/2024-06-06", append=True, **terms)
    assert (more.times, more.added, more.references) == (2, 1, 9)
    again = vsitlm.export(series.index, out, datetime="2024-06-01/2024-06-06", append=True, **terms)
    assert (again.times, again.added, again.references) == (2, 0, 0)
    shown = xarray.open_zarr(open_store(str(out), {}), consolidated=False, mask_and_scale=False)
    assert shown.product_id.values.tolist() == STEPS[:2]
    assert [str(time)[:10] for time in shown.time.values] == ["2024-06-01", "2024-06-06"]
    for number, product in enumerate(STEPS[:2]):
        assert np.array_equal(shown.B04[number].values, series.pixels(product, "B04"))
    assert np.array_equal(shown.B08[0].values, series.pixels(STEPS[0], "B08")) and not shown.B08[1].values.any()
    if format == "icechunk":
        repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(out)))
        assert [one.message for one in repository.ancestry(branch="main")][:2] == ["31UDQ: 1 times"] * 2


def test_what_cannot_be_put_to_a_cube_is_refused(series: Series, tmp_path: Path) -> None:
    out = tmp_path / "cube.json"
    terms: dict[str, Any] = {"bands": ["B05"], "resolution": 20, "format": "kerchunk"}
    vsitlm.export(series.index, out, datetime="2024-06-06", **terms)
    before = out.read_bytes()
    for changes, words in [
        ({}, "is there already"),
        ({"append": True, "datetime": "2024-06-01"}, "before the last time"),
        ({"append": True, "datetime": "2024-06-11"}, "coded in another way"),
        ({"append": True, "datetime": "2024-06-11", "bands": ["SCL"]}, "no array SCL"),
        ({"append": True, "format": "kerchunk-parquet", "resolution": None}, "name a resolution"),
        ({"format": "zarr"}, "format is one of"),
    ]:
        with pytest.raises(vsitlm.CubeError, match=words):
            vsitlm.export(series.index, out, **(terms | changes))
    (tmp_path / "none.json").write_text("{}")
    for place in ("none.json", "nothing"):
        with pytest.raises(vsitlm.CubeError, match=r"no references|no cube"):
            vsitlm.export(series.index, tmp_path / place, append=True, **terms)
    assert out.read_bytes() == before and sorted(os.listdir(tmp_path)) == ["cube.json", "none.json"]


def test_files_have_to_be_coded_alike(series: Series, tmp_path: Path) -> None:
    with pytest.raises(vsitlm.CubeError, match="coded in 2 ways"):
        vsitlm.export(series.index, tmp_path / "cube.json", bands=["B04"], format="kerchunk")
    assert not any(tmp_path.iterdir())


def test_a_file_that_has_changed_is_an_error_in_an_icechunk_repository(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    site = Site(tmp_path / "served")
    with site.server:
        made = Series(tmp_path / "tiles.parquet", site, {})
        add(made, "20240601", "0510", bands=("B01",))
        vsitlm.index(made.urls, made.index)
        vsitlm.export(made.index, tmp_path / "cube", resolution=60)
        assert command("validate", tmp_path / "cube") == (0, f"{tmp_path}/cube is sound\n")
        other = add(made, "20240602", "0510", bands=("B01",))
        (file,) = site.folder.glob("S2B*20240601T140000.SAFE/**/*.jp2")
        file.write_bytes(made.files[other, "B01"].read_bytes())
        with pytest.raises(Exception, match="has changed"):
            xarray.open_zarr(open_store(str(tmp_path / "cube"), {}), consolidated=False)["B01"].load()
        code, told = command("validate", tmp_path / "cube")
        assert code == 1 and "has changed" in told


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Series]]:
    """An S3 server that has a product, and the options to read it by."""
    folder = tmp_path_factory.mktemp("bucket")
    (folder / "objects").mkdir()
    site = Site(folder / "objects")
    made = Series(folder / "tiles.parquet", site, {})
    with site.server:
        product = add(made, "20240601", "0510", bands=("B01",))
    with servers.run_s3(folder / "objects") as told:
        options = {**told["one"], "AWS_S3_ENDPOINT": f"127.0.0.1:{told['port']}", "AWS_HTTPS": "NO"}
        yield {**options, "AWS_VIRTUAL_HOSTING": "NO", "AWS_REGION": "us-east-1", "product": product}, made


def test_etags_hold_over_s3(
    bucket: tuple[dict[str, str], Series], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore

    options, made = bucket
    product = options.pop("product")
    for name, value in options.items():
        monkeypatch.setenv(name, value)
    key = band_path("B01", 60)
    endpoint = f"http://{options['AWS_S3_ENDPOINT']}"
    keys = {"access_key_id": options["AWS_ACCESS_KEY_ID"], "secret_access_key": options["AWS_SECRET_ACCESS_KEY"]}
    store = obstore.store.S3Store(
        "one", endpoint=endpoint, region="us-east-1", client_options={"allow_http": True}, **keys
    )
    vsitlm.index([f"s3://one/{key}"], made.index)
    dataset = vsitlm.open_cube(made.index)
    right = made.pixels(product, "B01")
    assert np.array_equal(dataset["B01"][0].values, right)
    # The repository lies in the bucket, too.
    out = "s3://one/cubes/31UDQ"
    vsitlm.export(made.index, out, resolution=60)
    shown = xarray.open_zarr(open_store(out, {}), consolidated=False)
    assert np.array_equal(shown["B01"][0].values, right)
    assert command("validate", out) == (0, f"{out} is sound\n")
    assert command("info", out)[1].startswith("icechunk, tile 31UDQ, 1 times, 2024-06-01T10:50:31Z")
    obstore.put(store, key, made.files[product, "B01"].read_bytes()[::-1])
    with pytest.raises(Exception, match="has changed"):
        xarray.open_zarr(open_store(out, {}), consolidated=False)["B01"].load()
    # Another process, since this one has the tiles in its cache.
    done = run(
        "import sys, vsitlm; vsitlm.open_cube(sys.argv[1]).load()", made.index, python=sys.executable, check=False
    )
    assert done.returncode == 1 and "vsitlm._errors.ChangedError" in done.stderr


def command(*arguments: str | Path) -> tuple[int, str]:
    """The exit code and the output of `vsitlm cube`."""
    done = run("from vsitlm.__main__ import main; main()", "cube", *arguments, python=sys.executable, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_command_writes_shows_and_checks_a_cube(series: Series, tmp_path: Path) -> None:
    out = tmp_path / "cube.parq"
    terms = ("--tile", "31UDQ", "--bands", "B04,B08", "--resolution", "20", "--format", "kerchunk-parquet")
    code, told = command(series.index, "-o", out, *terms, "--datetime", "2024-06-01")
    assert (code, told) == (0, f"{out}: 1 times, 1 of them new, 2 arrays, 18 references\n")
    code, told = command(series.index, "-o", out, *terms, "--datetime", "2024-06-06", "--append")
    assert (code, told) == (0, f"{out}: 2 times, 1 of them new, 2 arrays, 9 references\n")
    code, told = command("info", out)
    assert code == 0 and "B04: uint16, 2 x 600 x 600, chunks 1 x 256 x 256, 1/2, 18 references" in told
    described = json.loads(command("info", out, "--json")[1])
    assert described["format"] == "kerchunk-parquet" and described["files"] == 3 and described["tile"] == "31UDQ"
    assert command("validate", out) == (0, f"{out} is sound\n")
    code, told = command(series.index, "-o", tmp_path / "other", "--tile", "31UDR")
    assert (code, told) == (1, "vsitlm cube: the index has no L2A product of tile 31UDR: it has 31UDQ\n")
    code, told = command(series.index, "--tile", "31UDQ")
    assert code == 2 and "-o" in told


def test_faults_are_found(series: Series, tmp_path: Path) -> None:
    out = tmp_path / "cube.json"
    vsitlm.export(series.index, out, bands="B01", datetime="2024-06-01", resolution=60, format="kerchunk")
    sound = json.loads(out.read_text())

    def broken(key: str, change: Any) -> list[str]:
        refs = json.loads(json.dumps(sound))
        value = refs["refs"][key]
        refs["refs"][key] = json.dumps(change(json.loads(value))) if isinstance(value, str) else change(value)
        out.write_text(json.dumps(refs))
        return faults(str(out), {})

    assert broken("B01/0.0.0", lambda chunk: chunk) == []
    (file,) = {value[0] for value in sound["refs"].values() if isinstance(value, list)}
    size = series.files[STEPS[0], "B01"].stat().st_size
    (fault,) = broken("B01/0.0.0", lambda chunk: [chunk[0], size - 5, chunk[2]])[:1]
    assert file in fault
    assert "cannot be read" in broken("B01/0.1.1", lambda chunk: [chunk[0], 0, chunk[2]])[-1]
    assert broken("B01/.zattrs", lambda attributes: attributes | {"proj:code": None}) == ["B01: it has no proj:code"]
    assert "bbox" in broken(".zattrs", lambda attributes: attributes | {"spatial:bbox": [0, 0, 1, 1]})[0]
    assert broken("B01/.zattrs", lambda attributes: attributes | {"grid_mapping": "crs"}) == [
        "B01: there is no grid mapping crs"
    ]


def test_the_validator_of_geozarr_passes(series: Series, tmp_path: Path) -> None:
    if not GEOZARR_PYTHON.exists():
        pytest.skip(f"no {GEOZARR_PYTHON}: run scripts/setup test-all")
    vsitlm.export(series.index, tmp_path / "cube", datetime="2024-06-01/2024-06-10", masks=True)
    code = """
import sys, warnings
warnings.simplefilter("ignore")
import icechunk, zarr
from eopf_geozarr.data_api.geozarr.validation import validate_store
storage = icechunk.local_filesystem_storage(sys.argv[1])
group = zarr.open_group(icechunk.Repository.open(storage).readonly_session("main").store, mode="r")
report = validate_store(group)
print(report.compliant, len(report.roles), *map(str, report.issues), sep="\\n")
"""
    done = run(code, tmp_path / "cube", python=GEOZARR_PYTHON)
    compliant, nodes, *issues = done.stdout.splitlines()
    assert compliant == "True" and int(nodes) > 25, issues


def test_virtualizarr_parses_files_by_the_index(series: Series, tmp_path: Path) -> None:
    import virtualizarr
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import HTTPStore

    host = series.site.server.url
    registry = ObjectStoreRegistry({host: HTTPStore.from_url(host, client_options={"allow_http": True})})
    parser = vsitlm.JP2Parser(series.index)
    urls = [url for url in series.urls if "B04" in url and any(step in url for step in STEPS[:2])]
    series.site.stats()
    parsed = [virtualizarr.open_virtual_dataset(url, registry=registry, parser=parser) for url in urls]
    store = parser(urls[0], registry)
    assert series.site.stats()["requests"] == 0
    read = xarray.open_zarr(store, consolidated=False, zarr_format=3)
    assert np.array_equal(read["B04"][0].values, series.pixels(STEPS[0], "B04"))
    joined = xarray.concat(parsed, "time", coords="minimal", compat="override", join="override")
    storage = icechunk.local_filesystem_storage(str(tmp_path / "cube"))
    config = icechunk.RepositoryConfig.default()
    config.set_virtual_chunk_container(
        icechunk.VirtualChunkContainer(f"{host}/", icechunk.http_store({"allow_http": "true"}))
    )
    allowed = icechunk.containers_credentials({f"{host}/": icechunk.credentials.HttpAccess})
    repository = icechunk.Repository.create(storage, config=config, authorize_virtual_chunk_access=allowed)
    session = repository.writable_session("main")
    joined.vz.to_icechunk(session.store)
    shown = xarray.open_zarr(session.store, consolidated=False, zarr_format=3)
    for number, product in enumerate(STEPS[:2]):
        assert np.array_equal(shown["B04"][number].values, series.pixels(product, "B04"))
    assert np.array_equal(
        xarray.open_zarr(vsitlm.JP2Parser(series.index, 80)(urls[0], registry), consolidated=False)["B04"][0].values,
        series.pixels(STEPS[0], "B04", 2),
    )
    with pytest.raises(vsitlm.CubeError, match="no row of a product's file"):
        parser(f"{host}/other.jp2", registry)


def test_rio_tiler_and_titiler_make_tiles_of_it(series: Series, tmp_path: Path) -> None:
    from rio_tiler.io.xarray import XarrayReader

    out = tmp_path / "cube"
    vsitlm.export(series.index, out, bands=["B04", "B08"], datetime="2024-06-01/2024-06-06", resolution=10)
    shown = xarray.open_zarr(open_store(str(out), {}), consolidated=False)
    with XarrayReader(shown["B04"]) as reader:
        west, south, east, north = reader.get_geographic_bounds("EPSG:4326")
        tile = reader.tms.tile((west + east) / 2, (south + north) / 2, 14)
        image = reader.tile(*tile[:2], 14)
    with rasterio.open(series.files[STEPS[0], "B04"]) as file:
        from rio_tiler.io import Reader

        with Reader(None, dataset=file) as other:
            right = other.tile(*tile[:2], 14).array[0].filled(0)
    assert right.any() and np.array_equal(image.array[0].filled(0), right)
    code = """
import sys
from starlette.testclient import TestClient
from fastapi import FastAPI
from titiler.xarray.factory import TilerFactory
from titiler.xarray.io import Reader
import xarray
from vsitlm.cube._export import open_store

def opener(src_path, **options):
    return xarray.open_zarr(open_store(src_path, {}), consolidated=False)

import attrs
@attrs.define
class CubeReader(Reader):
    opener = attrs.field(default=opener)

app = FastAPI()
app.include_router(TilerFactory(reader=CubeReader).router)
place, x, y, z = sys.argv[1:]
params = {"url": place, "variable": "B04", "bidx": 1}
answer = TestClient(app).get(f"/tiles/WebMercatorQuad/{z}/{x}/{y}.npy", params=params)
print(answer.status_code, answer.headers["content-type"], answer.text[:500] if answer.status_code != 200 else "")
import io, numpy
numpy.save(place + ".npy", numpy.load(io.BytesIO(answer.content)))
"""
    done = run(code, out, str(tile.x), str(tile.y), "14", python=sys.executable)
    assert done.stdout.startswith("200 application/x-binary"), done.stdout
    assert np.array_equal(np.load(f"{out}.npy")[0], right)


def test_the_archive_may_be_another(series: Series, tmp_path: Path) -> None:
    site = Site(series.site.folder)
    terms: dict[str, Any] = {"bands": ["B05"], "resolution": 20, "datetime": "2024-06-01"}
    with site.server:
        made = vsitlm.export(series.index, tmp_path / "cube", archive=site.server.url, **terms)
        shown = xarray.open_zarr(open_store(str(tmp_path / "cube"), {}), consolidated=False)
        assert np.array_equal(shown["B05"][0].values, series.pixels(STEPS[0], "B05"))
        assert site.stats()["requests"] >= 4
    # Nothing is known of the state of files there.
    assert made.references == made.without_state == 4


@pytest.mark.real_data
@pytest.mark.parametrize("format", ["icechunk", "kerchunk"])
def test_real_files(format: Any, tmp_path: Path) -> None:
    paths = realdata.find(REAL)
    vsitlm.index(paths, tmp_path / "real.parquet", all_resolutions=True, masks=True)
    vsitlm.export(tmp_path / "real.parquet", tmp_path / name_of(format), format=format, masks=True)
    compare_tree(tree(tmp_path / name_of(format)), paths)
    assert faults(str(tmp_path / name_of(format)), {}) == []
