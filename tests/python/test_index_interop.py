"""The index and pyarrow: theirs reads ours as jp2io does, ours reads what theirs writes."""

import json
import os
import struct
import subprocess

import apart
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PRODUCT = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206"
V1 = ["product_id", "band_id", "path", "index"]


def codestream(length, plt=False):
    """Four tiles of 16 px, right in structure, with nothing in their packets that a decoder could use. With PLT, the
    packet of the coarser of the two resolutions has 20 bytes."""
    siz = struct.pack(">HHHIIIIIIIIHBBB", 0xFF51, 41, 0, 32, 32, 0, 0, 16, 16, 0, 0, 1, 15, 1, 1)
    cod = struct.pack(">HHBBHBBBBBB", 0xFF52, 12, 0, 0, 1, 0, 1, 4, 4, 0, 1)
    qcd = struct.pack(">HHB4B", 0xFF5C, 7, 0x40, 128, 128, 128, 128)
    tiles = b""
    for tile in range(4):
        psot = length + 100 * tile
        fine = psot - 14 - 20 - 8
        lengths = struct.pack(">HHBBBB", 0xFF58, 6, 0, 20, 0x80 | fine >> 7, fine & 0x7F) if plt else b""
        packets = bytes(1 + tile for _ in range(20)) + bytes(psot - 14 - 20 - len(lengths))
        sot = struct.pack(">HHHIBB", 0xFF90, 10, tile, psot, 0, 1)
        tiles += sot + lengths + b"\xff\x93" + packets
    return b"\xff\x4f" + siz + cod + qcd + tiles + b"\xff\xd9"


def run(*arguments, **environment):
    environment = {**os.environ, "VSITLM_CACHE_DIR": "NO", **environment}
    return subprocess.run([apart.VSITLM, *map(str, arguments)], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """A product's folder with three images, and the index of it."""
    folder = tmp_path_factory.mktemp("index")
    images = folder / f"{PRODUCT}.SAFE/GRANULE/L2A_T31UDQ_A1_2/IMG_DATA"
    for number, band in enumerate(["B02_10m", "B03_10m", "B03_20m"]):
        path = images / f"R{band[4:]}" / f"T31UDQ_20241016T105031_{band}.jp2"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(codestream(50 + number))
    made = run("index", folder / f"{PRODUCT}.SAFE", "--all-resolutions", "-o", folder / "index.parquet", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["rows"] == 3
    return folder


def test_pyarrow_reads_the_index_as_jp2io_does(product):
    table = pq.read_table(product / "index.parquet")
    rows = table.select(V1).to_pylist()
    assert [row["band_id"] for row in rows] == ["B02", "B03", "B03_20m"]
    assert {row["product_id"] for row in rows} == {PRODUCT}
    for row, header in zip(rows, table.column("header").to_pylist()):
        file = (product / row["path"]).read_bytes()
        size, first_sot, length = struct.unpack(">QQL", row["index"][:20])
        assert size == len(file) and file[first_sot : first_sot + 2] == b"\xff\x90"
        tlm = row["index"][20:]
        assert len(tlm) == length and tlm[:2] == b"\xff\x55" and struct.unpack(">H", tlm[2:4])[0] == length - 2
        assert file.startswith(header) and len(header) == first_sot + 12


def test_pyarrow_reads_an_index_with_overviews(product, tmp_path):
    path = tmp_path / f"{PRODUCT}.SAFE/GRANULE/L2A_T31UDQ_A1_2/IMG_DATA/R10m/T31UDQ_20241016T105031_B02_10m.jp2"
    path.parent.mkdir(parents=True)
    path.write_bytes(codestream(200, plt=True))
    plain = next(product.rglob("*_B03_10m.jp2"))
    made = run("index", path, plain, "-o", tmp_path / "index.parquet", "--embed-overviews", 2, "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["overviews"] == {"factor": 2, "rows": 1, "bytes": 82}
    assert "B03_10m.jp2: a row without overviews" in made.stderr and "B02_10m" not in made.stderr
    table = pq.read_table(tmp_path / "index.parquet")
    assert table.column("overview_factor").to_pylist() == [2, None]
    packets = b"".join(bytes([1 + tile] * 20) for tile in range(4))
    assert table.column("overviews").to_pylist() == [b"\x01\x01" + packets, None]
    # jp2io's columns, and those of an index without overviews, are what they were.
    [told] = [row for row in pq.read_table(tmp_path / "index.parquet", columns=V1).to_pylist() if row["band_id"] == "B03"]
    without = pq.read_table(product / "index.parquet")
    assert told in without.select(V1).to_pylist()
    assert not {"overviews", "overview_factor"} & set(without.column_names)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"row_group_size": 2},
        {"compression": "zstd", "use_dictionary": False},
        {"compression": "none"},
        {"compression": "lz4"},
        {"data_page_version": "2.0"},
        {"data_page_size": 100, "write_page_index": True},
        {"large": True},
        {"dictionary": True},
    ],
    ids=str,
)
def test_published_files_are_read_however_pyarrow_writes_them(product, tmp_path, options):
    options = dict(options)
    text = pa.large_string() if options.pop("large", False) else pa.string()
    names = pa.dictionary(pa.int32(), pa.string()) if options.pop("dictionary", False) else text
    binary = pa.large_binary() if text == pa.large_string() else pa.binary()
    schema = pa.schema([("product_id", names), ("band_id", text), ("path", text), ("index", binary)])
    rows = pq.read_table(product / "index.parquet").select(V1).to_pylist()
    # Unsorted, as v1 files may be, and with a null that belongs to nobody.
    rows = rows[::-1] + [dict.fromkeys(V1)]
    index = tmp_path / "L2A-31UDQ.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), index, **options)
    for row in rows[:3]:
        told = run("info", product / row["path"], "--json", VSITLM_INDEX=str(tmp_path / "{level}-{mgrs_tile}.parquet"))
        assert told.returncode == 0, told.stderr
        [found] = json.loads(told.stdout)["index"]
        assert found["band_id"] == row["band_id"] and found["fits_size"], told.stderr
        assert found["file_size"] == (product / row["path"]).stat().st_size


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"}])
def test_what_cannot_be_bounded_is_refused_by_name(product, tmp_path, options):
    options = dict(options)
    encoding = options.pop("column_encoding", None)
    if encoding:
        options["column_encoding"] = {name: encoding for name in V1}
    table = pq.read_table(product / "index.parquet").select(V1)
    index = tmp_path / "refused.parquet"
    pq.write_table(table, index, **options)
    row = table.to_pylist()[0]
    told = run("info", product / row["path"], "--json", VSITLM_INDEX=str(index))
    assert told.returncode == 0 and json.loads(told.stdout)["index"] == []
    assert "refused.parquet" in told.stderr and "use" in told.stderr


def test_a_closed_pipe_is_no_panic(product):
    command = f"'{apart.VSITLM}' info '{next(product.rglob('*.jp2'))}' --json | true"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "panic" not in ran.stderr
