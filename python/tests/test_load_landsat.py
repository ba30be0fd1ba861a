"""Areas of Landsat: its bands, masks and places, alone and beside Sentinel-2, and over S3."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cogs import CLEAR, SCENE, SCENE_DAY, Cogs, read, warped
from servers import run_s3

pytest.importorskip("shapely")
pytest.importorskip("xarray")

import vsitlm
from vsitlm.areas._bands import names_of


@pytest.mark.parametrize("bands", [["SR_B4", "QA_PIXEL"], ["B4", "qa_pixel"], ["red", "qa_pixel"]])
def test_landsat(bands: list[str], cogs: Cogs, cogs_index: Path) -> None:
    for found in (vsitlm.search(cogs.scene(), bands=bands), vsitlm.search(cogs_index, None, "2024-06-02", bands)):
        assert {file.product for file in found} == {SCENE} and found.files[0].cloud_cover == 12.5
        assert found.files[0].time == dt.datetime(2024, 6, 2, 10, 39, 50, 123456, dt.timezone.utc)
        loaded = vsitlm.load(found)
        assert loaded.sizes == {"time": 1, "y": 301, "x": 297} and loaded.boa_add_offset.values.tolist() == [0]
        red, flags = (read(cogs.files[SCENE_DAY, "", band]) for band in ("SR_B4", "QA_PIXEL"))
        assert np.array_equal(loaded[bands[0]][0].values, red)
        assert np.array_equal(loaded[bands[1]][0].values, np.where(flags == 1, 0, flags)), "fill is no data"
        masked = vsitlm.load(found, bands[0], mask="qa_pixel")[bands[0]][0].values
        assert np.array_equal(masked, np.where(np.isin(flags, CLEAR), red, 0)) and masked.any()
        with pytest.raises(vsitlm.CubeError, match=r"products of Landsat were found.*'scl': name 'qa_pixel'"):
            vsitlm.load(found, bands[0], mask="scl")


def test_sentinel_2_and_landsat_in_one_series(cogs: Cogs) -> None:
    same_day = cogs.scene(datetime="2024-06-01T10:39:50Z")
    items = [cogs.item("20240601", "31UDQ", **{"earthsearch:boa_offset_applied": True}), same_day]
    west, south = cogs.tiles.degrees[:2]
    # Less than a block of a WarpedVRT, see test_load.py.
    area = west + 0.03, south + 0.01, west + 0.05, south + 0.02
    terms: dict[str, Any] = {"area": area, "resolution": 30, "crs": 32632}
    found = vsitlm.search(items, bands=["red", "nir08", "SCL", "QA_PIXEL"])
    loaded = vsitlm.load(found, "red", **terms)
    # As their numbers are of unlike scales.
    assert [name[:4] for name in loaded.product_id.values] == ["LC09", "S2B_"]
    right = warped(cogs.files["20240601", "31UDQ", "B04"], loaded, 32632, overview_level=0)
    assert right.any() and np.array_equal(loaded["red"][1].values, right)
    right = warped(cogs.files[SCENE_DAY, "", "SR_B4"], loaded, 32632)
    assert right.any() and np.array_equal(loaded["red"][0].values, right)
    masked = vsitlm.load(found, "red", mask=["scl", "qa_pixel"], **terms)["red"].values
    classes = vsitlm.load(found, ["SCL", "QA_PIXEL"], **terms)
    clear = np.isin(classes["QA_PIXEL"][0].values, CLEAR), np.isin(classes["SCL"][1].values, (2, 4, 5, 6, 7, 11))
    for number, kept in enumerate(clear):
        assert kept.any() and np.array_equal(masked[number], np.where(kept, loaded["red"][number].values, 0)), number
    for mask, whose in (("scl", "Landsat"), ("qa_pixel", "Sentinel-2")):
        with pytest.raises(vsitlm.CubeError, match=f"products of {whose} were found, which have no mask '{mask}'"):
            vsitlm.load(found, "red", mask=mask, **terms)
    assert vsitlm.load(found, "nir08", **terms).sizes["time"] == 1
    items[0]["assets"]["rededge1"] = {"href": cogs.urls["20240601", "31UDQ", "B04"].replace("B04", "B05")}
    with pytest.raises(vsitlm.CubeError, match=r"B5 means several bands .* nir08 and rededge/rededge1"):
        vsitlm.load(vsitlm.search(items), "B5", **terms, fail_on_error=False)


def test_names_of_bands() -> None:
    for product, band, names in [
        (SCENE, "SR_B5", "SR_B5 B5 NIR08"), (SCENE, "ST_B10", "ST_B10 B10 LWIR11"), (SCENE, "QA_PIXEL", "QA_PIXEL"),
        ("LE07_L1TP_199026_20040601_20240602_02_T1", "B4", "B4 NIR08"),
        ("LM05_L1TP_199026_20040601_20240602_02_T2", "B4", "B4"),
        ("S2A_MSIL2A_20240601T105031_N0510_R051_T31UDQ_20240601T140000", "B08", "B08 B8 NIR"),
        ("S2A_31UDQ_20240601_0_L2A", "B8A", "B8A NIR08"), ("S2A_31UDQ_20240601_0_L2A", "MSK_CLDPRB", "MSK_CLDPRB"),
    ]:  # fmt: skip
        assert names_of(product, band) == set(names.split()), (product, band)


def test_landsat_in_the_partition_layout(cogs: Cogs, tmp_path: Path) -> None:
    (tmp_path / "items.json").write_text(json.dumps(cogs.scene()))
    vsitlm.index([tmp_path / "items.json"], f"{tmp_path}/index/")
    assert len(vsitlm.search(tmp_path / "index", cogs.tiles.degrees, "2024", "red")) == 1
    assert len(vsitlm.search(tmp_path / "index", cogs.tiles.degrees, "2023", "red")) == 0


def test_items_over_s3(cogs: Cogs, tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    names = {url: url.split("/", 3)[3] for url in cogs.urls.values()}
    for name in names.values():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(cogs.site.folder / name)
    day, tile = "20240601", "31UDQ"
    earth_search = cogs.item(day, tile, **{"earthsearch:boa_offset_applied": True})
    earth_search["assets"]["red"]["href"] = "s3://eodata/" + names[cogs.urls[day, tile, "B04"]]
    landsat = cogs.scene()
    for band, asset in zip(("SR_B4", "SR_B5", "QA_PIXEL"), landsat["assets"].values(), strict=True):
        key = "s3://paying/" + names[cogs.urls[SCENE_DAY, "", band]]
        # As USGS has it: behind a login, and where the requester pays.
        asset["href"] = f"https://landsatlook.usgs.gov/data/{SCENE}_{band}.TIF"
        asset["alternate"] = {"s3": {"href": key}}
    with run_s3(folder, "eodata", "paying") as told:
        keys = {
            "AWS_S3_ENDPOINT": f"http://127.0.0.1:{told['port']}", "AWS_VIRTUAL_HOSTING": "FALSE",
            "AWS_REQUEST_PAYER": "requester", "VSITLM_CACHE_DIR": tmp_path / "learned", **told["reader"],
        }  # fmt: skip
        loaded = vsitlm.load([earth_search], "red", **keys)
        assert np.array_equal(loaded["red"][0].values, read(cogs.files[day, tile, "B04"]))
        found = vsitlm.search([earth_search, landsat], bands=["red", "QA_PIXEL"])
        assert len(found) == 3
        loaded = vsitlm.load(vsitlm.search(landsat), ["red", "QA_PIXEL"], mask="qa_pixel", **keys)
        flags = read(cogs.files[SCENE_DAY, "", "QA_PIXEL"])
        right = np.where(np.isin(flags, CLEAR), read(cogs.files[SCENE_DAY, "", "SR_B4"]), 0)
        assert np.array_equal(loaded["red"][0].values, right)
        del keys["AWS_REQUEST_PAYER"]
        with pytest.raises(vsitlm.Error, match="403"):
            vsitlm.load(vsitlm.search(landsat), "red", **{**keys, "VSITLM_CACHE_DIR": "NO"})
