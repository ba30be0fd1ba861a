"""The index: made, looked up, read as a table; scans; and the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PRODUCT, ROOT, Site, band_path, only_once, other, run

import vsitlm


def test_a_scan(sample: Path, url: str) -> None:
    for given in (sample, url):
        scan = vsitlm.scan(given)
        assert (scan["image"]["width"], scan["tiles"]["count"], scan["tlm"]) == (1500, 12, False)
        assert [overview["factor"] for overview in scan["overviews"]] == [2, 4, 8, 16]
    with pytest.raises(vsitlm.NotFoundError):
        vsitlm.scan("none.jp2")


def test_an_index_is_made_and_extended(url: str, sample: Path, site: Site, tmp_path: Path) -> None:
    output = tmp_path / "tiles.parquet"
    first = vsitlm.index(url, output, embed_overviews=16, jobs=None, resume=False)
    assert (first.files, first.scanned, first.rows, first.failed) == (1, 1, 1, [])
    assert first.overviews is not None and first.overviews["factor"] == 16
    again = vsitlm.index([url, site.put(sample, band_path("B04"))], output)
    assert (again.unchanged, again.scanned, again.rows) == (1, 1, 2)
    assert json.dumps(again.__dict__)


def test_what_cannot_be_indexed_is_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(vsitlm.IndexingError, match=r"none\.jp2.*not found") as raised:
        vsitlm.index([tmp_path / "none.jp2", url], tmp_path / "tiles.parquet")
    summary = raised.value.summary
    assert summary is not None and summary.rows == 1 and len(summary.failed) == 1
    assert vsitlm.Index(tmp_path / "tiles.parquet").find(url)
    with pytest.raises(vsitlm.IndexingError, match="--nonsense") as raised:
        vsitlm.index([url], tmp_path / "tiles.parquet", nonsense=True)
    assert raised.value.summary is None
    with pytest.raises(vsitlm.IndexingError, match="use cdse, gcs or aws"):
        vsitlm.index([PRODUCT], tmp_path / "tiles.parquet", VSITLM_STORE="nowhere")


def test_rows_are_found(url: str, index: Path, sample: Path) -> None:
    (row,) = vsitlm.Index(index).find(url)
    assert (row.product_id, row.band_id, row.mgrs_tile, row.resolution) == (PRODUCT, "B03", "31UDQ", 10)
    assert (row.origin, row.file_size, row.tile_parts) == (url, sample.stat().st_size, 12)
    assert not row.has_tlm and row.overview_factor is None
    assert vsitlm.Index([str(index)]).find(PRODUCT, "B03") == [row]
    assert vsitlm.Index(index).find(PRODUCT, "B04") == []
    with pytest.warns(vsitlm.VsitlmWarning, match=r"none\.parquet"):
        assert vsitlm.Index(["none.parquet", index]).find(url) == [row]
    assert repr(vsitlm.Index("a.parquet")) == "Index(['a.parquet'])"


@only_once
def test_tables(url: str, site: Site, sample: Path, tmp_path: Path) -> None:
    more = site.put(sample, band_path("B04"))
    vsitlm.index([url, more], tmp_path / "tiles.parquet", embed_overviews=16)
    vsitlm.index([url, more], tmp_path / "tiles")
    code = """
import sys
import pyarrow.compute as pc
import vsitlm
file, folder = vsitlm.Index(sys.argv[1] + "/tiles.parquet"), vsitlm.Index(sys.argv[1] + "/tiles")
table = file.to_arrow()
assert table.num_rows == 2 and "header" not in table.column_names and "geometry" in table.column_names
assert file.to_arrow(["band_id"], [("band_id", "==", "B04")])["band_id"].to_pylist() == ["B04"]
assert folder.to_arrow(["origin"], (pc.field("tile") == "31UDQ") & (pc.field("band_id") == "B03")).num_rows == 1
assert folder.to_arrow(["year"], [("year", "==", 2023)]).num_rows == 0
assert vsitlm.Index(file.paths + folder.paths).to_arrow().num_rows == 4
frame = file.to_geopandas(["band_id"])
assert list(frame.columns) == ["band_id", "geometry"] and frame.crs == "OGC:CRS84"
assert frame.geometry.iloc[0].contains(frame.geometry.iloc[0].centroid) and 1 < frame.total_bounds[0] < 3
for wrong in ("none.parquet", sys.argv[1] + "/{level}.parquet", "https://host/x.parquet"):
    try:
        vsitlm.Index(wrong).to_arrow()
    except vsitlm.IndexFileError as error:
        assert wrong in str(error)
    else:
        raise AssertionError(wrong)
"""
    run(code, tmp_path, python=other("interop"))


@only_once
def test_an_index_is_an_arrow_table(url: str, site: Site, sample: Path, tmp_path: Path) -> None:
    more = site.put(sample, band_path("B04"))
    vsitlm.index([url, more], tmp_path / "tiles.parquet", embed_overviews=16)
    vsitlm.index([url, more], tmp_path / "tiles")
    served = site.put((tmp_path / "tiles.parquet").read_bytes(), "served.parquet")
    code = """
import sys
import duckdb, pyarrow as pa, pyarrow.parquet as pq
import vsitlm
folder, url = sys.argv[1:]
file = vsitlm.Index(folder + "/tiles.parquet")
table, expected = pa.table(file), pq.read_table(folder + "/tiles.parquet")
assert table.schema.equals(expected.schema) and table.equals(expected), table.schema
assert pa.schema(file).equals(expected.schema) and pa.table(vsitlm.Index(url)).equals(expected)
several = pa.table(vsitlm.Index([folder + "/tiles", *file.paths]))
assert several["band_id"].to_pylist() == ["B03", "B04"] * 2 and several["overviews"].null_count == 2
found = duckdb.sql("SELECT count(*), min(epsg), max(octet_length(overviews)) > 2 FROM file").fetchall()
assert found == [(2, 32631, True)]
batches = pa.RecordBatchReader.from_stream(file)
assert batches.read_next_batch().num_rows == 2
del batches, table
kept = file.__arrow_c_stream__()
try:
    import polars
    assert polars.DataFrame(file).shape == (2, expected.num_columns)
except ImportError:
    pass
broken = bytearray(open(folder + "/tiles.parquet", "rb").read())
broken[200:2000] = bytes(1800)
open(folder + "/broken.parquet", "wb").write(broken)
for wrong, error in (
    ("none.parquet", vsitlm.NotFoundError),
    (folder + "/{level}.parquet", vsitlm.NotFoundError),
    ("", vsitlm.PathError),
    (__file__ if "__file__" in globals() else sys.executable, vsitlm.IndexFileError),
    (folder + "/broken.parquet", OSError),
):
    try:
        pa.table(vsitlm.Index(wrong))
    except error as told:
        assert not wrong or wrong in str(told), told
    else:
        raise AssertionError(wrong)
"""
    run(code, tmp_path, served, python=other("interop"))


@only_once
def test_the_code_of_the_page_takes_an_index_as_a_table(url: str, tmp_path: Path) -> None:
    vsitlm.index(url, tmp_path / "tiles.parquet")
    (code,) = re.findall(
        r"^<!-- wheel: interop -->\n```python\n(.*?)^```$",
        (ROOT / "docs/interop.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    checks = """
assert rows.num_rows == files == 1 and [count for _, count in days] == [1]
"""
    run(f"import os, sys\nos.chdir(sys.argv[1])\n{code}{checks}", tmp_path, python=other("interop"))


@pytest.mark.parametrize("way", ["module", "script"])
def test_the_command_line(way: str, sample: Path, tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("vsitlm")
    command = [sys.executable, "-m", "vsitlm"] if way == "module" else [str(script)]

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, env=os.environ)

    told = call("info", "--json", str(sample))
    assert told.returncode == 0 and json.loads(told.stdout)["image"]["width"] == 1500
    assert call("--version").stdout == f"vsitlm {vsitlm.__version__}\n"
    assert call("info", str(tmp_path / "none.jp2")).returncode == 1
    wrong = call("nonsense")
    assert wrong.returncode == 2 and "Usage: vsitlm" in wrong.stderr


def test_statistics_count_requests(url: str, index: Path) -> None:
    code = """
import sys, vsitlm
assert vsitlm.statistics()["total"]["requests"] == 0
with vsitlm.open(sys.argv[1], index=sys.argv[2]) as dataset:
    dataset.read(1)
told = vsitlm.statistics()
assert told["total"]["requests"] > 0 and list(told["hosts"]) == ["/".join(sys.argv[1].split("/")[:3])], told
"""
    run(code, url, index)


def test_info_is_for_people_and_for_programs() -> None:
    info = vsitlm.info()
    told = json.loads(json.dumps(info.as_dict()))
    assert told["version"] == vsitlm.__version__ and told["gdals"][0]["served"] is True
    assert info.gdals[0].openjpeg is None or info.gdals[0].openjpeg.startswith("2.")
    assert str(info).startswith(f"vsitlm {vsitlm.__version__}, {info.plugin}\nGDAL {info.gdals[0].version}")
