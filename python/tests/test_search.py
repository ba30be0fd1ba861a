"""Search: which files are found, by whatever says where they are."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from areas import PRODUCTS, WEST, Tiles
from servers import run_s3

pytest.importorskip("shapely")
pytest.importorskip("xarray")

import vsitlm
from vsitlm._area import shape_of
from vsitlm.areas._mgrs import tiles_of


def test_items_of_stac_say_nothing_of_the_ground(tiles: Tiles, tmp_path: Path) -> None:
    items = [tiles.item("20240601", tile, **{"eo:cloud_cover": cover}) for tile, cover in (("31UDQ", 5), ("31UEQ", 80))]
    collection = {"type": "FeatureCollection", "features": items}
    (tmp_path / "items.json").write_text(json.dumps(collection))
    learned = {"VSITLM_CACHE_DIR": str(tmp_path / "learned")}
    right = vsitlm.load(vsitlm.search(collection, tiles.degrees, bands="red", **learned))
    assert right["red"].any()
    for catalogue in (tmp_path / "items.json", items, iter(items)):
        loaded = vsitlm.load(catalogue, "red", tiles.degrees, **learned)
        assert np.array_equal(loaded["red"].values, right["red"].values)
    assert loaded.cloud_cover.values.tolist() == [5.0]
    assert len(vsitlm.search(items, cloud_cover=50)) == 3
    table = vsitlm.search(items).to_arrow().to_pylist()
    assert {row["tile"] for row in table} == {"31UDQ", "31UEQ"} and table[0]["baseline"] == "05.10"


def test_of_the_partition_layout_the_shards_of_the_area_are_read(tiles: Tiles, tmp_path: Path) -> None:
    folder = f"{tiles.site.folder}/partitions/"
    vsitlm.index(list(tiles.urls.values()), folder)
    assert sorted(path.parent.parent.name for path in Path(folder).rglob("*.parquet")) == ["tile=31UDQ", "tile=31UEQ"]
    url = f"{tiles.site.server.url}/partitions"
    tiles.site.stats()
    west, south, _, north = tiles.degrees
    found = vsitlm.search(url, (west - 0.1, south, west - 0.05, north), "2024-06", "B04")
    asked = tiles.site.stats()
    assert {file.tile for file in found.files} == {"31UDQ"} and len(found) == 3
    assert {one["path"].split("tile=")[1][:5] for one in asked["ranges"] if "tile=" in one["path"]} == {"31UDQ"}
    everything = vsitlm.search(vsitlm.Index(url), tiles.degrees, "2024-06", "B04")
    assert {file.tile for file in everything.files} == {"31UDQ", "31UEQ"}
    with pytest.raises(vsitlm.CubeError, match="name an area and a span"):
        vsitlm.search(url)


class Api(http.server.BaseHTTPRequestHandler):
    """A STAC API of one item a page."""

    items: ClassVar[list[dict[str, Any]]] = []
    asked: ClassVar[list[dict[str, Any]]] = []

    def answer(self, document: dict[str, Any]) -> None:
        """As JSON."""
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/geo+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """The landing page."""
        root = f"http://{self.headers['Host']}/"
        links = [
            {"rel": "self", "href": root}, {"rel": "root", "href": root},
            {"rel": "search", "href": f"{root}search", "method": "POST", "type": "application/geo+json"},
        ]  # fmt: skip
        conforms = [f"https://api.stacspec.org/v1.0.0/{of}" for of in ("core", "item-search", "collections")]
        catalog = {"type": "Catalog", "stac_version": "1.0.0", "id": "made", "description": "made"}
        self.answer({**catalog, "conformsTo": conforms, "links": links})

    def do_POST(self) -> None:
        """A page."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(asked)
        page = int(asked.get("token") or 0)
        links = [{"rel": "root", "href": f"http://{self.headers['Host']}/"}]
        if page + 1 < len(self.items):
            href = f"http://{self.headers['Host']}/search"
            links.append({"rel": "next", "href": href, "method": "POST", "body": {**asked, "token": str(page + 1)}})
        self.answer({"type": "FeatureCollection", "features": self.items[page : page + 1], "links": links})

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_all_pages_of_a_stac_api_are_read(tiles: Tiles) -> None:
    pytest.importorskip("pystac_client")
    Api.items = [
        tiles.item(day, tile) for day, tile in (("20240601", "31UDQ"), ("20240601", "31UEQ"), ("20240611", "31UDQ"))
    ]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        found = vsitlm.search(url, tiles.degrees, "2024-06", ["red", "SCL"], collections="sentinel-2-l2a")
        server.shutdown()
    assert [(file.tile, file.band) for file in found.files] == [
        ("31UDQ", "B04"), ("31UDQ", "SCL"), ("31UEQ", "B04"), ("31UEQ", "SCL"), ("31UDQ", "B04"), ("31UDQ", "SCL"),
    ]  # fmt: skip
    assert Api.asked[0]["collections"] == ["sentinel-2-l2a"] and np.allclose(Api.asked[0]["bbox"], tiles.degrees)
    assert Api.asked[0]["datetime"].startswith("2024-06-01T00:00:00Z/2024-0")


def test_items_of_pystac_and_of_parquet(tiles: Tiles, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet
    import pystac

    items = [tiles.item("20240606", tile) for tile in WEST]
    for item in items:
        item["properties"]["datetime"] = "2024-06-06T10:50:31Z"
    right = [file.url for file in vsitlm.search(items).files]
    assert len(right) == 6
    objects = [pystac.Item.from_dict(item) for item in items]
    rows = [{"id": item["id"], "assets": item["assets"], "datetime": item["properties"]["datetime"]} for item in items]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "items.parquet")
    for catalogue in (objects, pystac.ItemCollection(objects), tmp_path / "items.parquet"):
        assert [file.url for file in vsitlm.search(catalogue).files] == right
    assert len(vsitlm.search(objects[0])) == 3


def test_the_tiles_of_areas() -> None:
    assert tiles_of(shape_of((2.3, 48.8, 2.44, 48.9))) == ["31UDQ"]
    assert "56HLH" in tiles_of(shape_of((151.1, -33.9, 151.3, -33.8)))
    crossing = tiles_of(shape_of((179.9, -17.0, -179.9, -16.9)))
    assert {tile[:2] for tile in crossing} == {"01", "60"}


def test_of_an_area_the_tiles_that_it_touches_itself() -> None:
    ring = [[2.0, 48.0], [2.3, 48.0], [2.3, 49.6], [4.6, 49.6], [4.6, 49.9], [2.0, 49.9], [2.0, 48.0]]
    corner = {"type": "Polygon", "coordinates": [ring]}
    by_bounds = set(tiles_of(shape_of((2.0, 48.0, 4.6, 49.9))))
    feature = {"type": "Feature", "properties": {}, "geometry": corner}
    for area in (corner, json.dumps(corner), feature, {"type": "FeatureCollection", "features": [feature, feature]}):
        touched = set(tiles_of(shape_of(area)))
        assert touched < by_bounds and {"31UDP", "31UDQ", "31UFR"} <= touched and "31UFP" in by_bounds - touched
    # Both sides of 180 degrees, as GeoJSON has them.
    sides = [[[[x, -17.0], [x + 0.1, -17.0], [x + 0.1, -16.9], [x, -17.0]]] for x in (179.9, -180.0)]
    crossing = tiles_of(shape_of({"type": "MultiPolygon", "coordinates": sides}))
    assert {tile[:2] for tile in crossing} == {"01", "60"} and len(crossing) < 8


@pytest.mark.parametrize(
    ("area", "words"),
    [
        ({"type": "Polygon", "coordinates": []}, "empty"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}, "not valid: Self"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "no geometry"),
        ({"type": "Polygon", "coordinates": "here"}, "no geometry"),
        ({"type": "Square"}, "no geometry"),
        ("here", "no GeoJSON"),
        ((1, 2, 3), "no bounds"),
        ((1, 2, float("nan"), 4), "no bounds"),
        ((499000.0, 5395500.0, 504000.0, 5399000.0), "not in degrees"),
        ((2.0, 49.0, 3.0, 48.0), "wrong way round"),
    ],
)  # fmt: skip
def test_what_is_no_area_is_refused(area: Any, words: str) -> None:
    with pytest.raises(vsitlm.CubeError, match=words):
        vsitlm.search([], area)


def test_items_without_a_tile_are_looked_for_by_their_bounds(tiles: Tiles) -> None:
    item = tiles.item("20240601", "31UDQ", datetime="2024-06-01T10:50:31Z")
    item["id"] = "one"
    for asset in item["assets"].values():
        asset["href"] = "https://host/elsewhere/" + asset["href"].rpartition("/T31UDQ_")[2]
    item["assets"].pop("cloud")
    west, south, _, north = tiles.degrees
    for bbox, count in [
        (None, 2), ([west - 1, south - 1, west, north], 2), ([west - 1, south - 1, 0, west - 0.1, north, 9], 0),
        ([179.0, south, west + 0.1, north], 2),
    ]:  # fmt: skip
        assert len(vsitlm.search([item | {"bbox": bbox}], tiles.degrees)) == count, bbox
    crossing = item | {"bbox": [-180.0, -17.0, -179.0, -16.0]}
    assert len(vsitlm.search([crossing], (179.9, -17.0, -179.9, -16.9))) == 2


def test_hrefs_of_cdse_are_products_or_what_stands_beside_them(tiles: Tiles, tiles_index: Path) -> None:
    item = tiles.item("20240611", "31UDQ")
    for asset in item["assets"].values():
        nodes = "/".join(f"Nodes({name})" for name in asset["href"].split("/")[3:])
        asset["href"] = f"https://download.dataspace.copernicus.eu/odata/v1/Products(1-2-3)/{nodes}/$value"
    right = vsitlm.load(tiles_index, "red", tiles.degrees, datetime="2024-06-11")
    # By its product's name, in the archive that is named.
    found = vsitlm.search(
        [item], tiles.degrees, bands="red", VSITLM_INDEX=tiles_index, VSITLM_STORE=tiles.site.server.url
    )
    assert [file.url for file in found] == ["S2B_MSIL2A_20240611T105031_N0301_R051_T31UDQ_20240611T140000/B04_10m"]
    assert np.array_equal(vsitlm.load(found)["red"].values, right["red"].values)
    url = tiles.urls["20240611", "31UDQ", "B04"]
    item["assets"]["red-jp2"]["alternate"] = {"none": None, "s3": {"href": url}}
    assert [file.url for file in vsitlm.search([item], bands="red")] == [url]
    item["assets"]["red-jp2"]["href"] = f"/vsicurl/{url}"
    assert [file.url for file in vsitlm.search([item], bands="red")] == [url]


def test_an_index_of_what_was_found(tiles: Tiles, tmp_path: Path) -> None:
    found = vsitlm.search([tiles.item("20240606", tile) for tile in WEST], tiles.degrees, bands=["B04", "SCL"])
    assert vsitlm.index(found, tmp_path / "found.parquet").rows == 4
    again = vsitlm.search(tmp_path / "found.parquet", tiles.degrees)
    assert sorted(file.url for file in again) == sorted(file.url for file in found)
    tiles.site.stats()
    # Its rows are those of the files' own place: nothing is asked but for pixels.
    loaded = vsitlm.load(
        vsitlm.search([tiles.item("20240606", "31UDQ")], VSITLM_INDEX=tmp_path / "found.parquet"), "red"
    )
    asked = tiles.site.stats()
    assert loaded["red"].any() and asked["heads"] == 0 and asked["requests"] <= 9


def test_items_of_a_parquet_file_of_a_server(tiles: Tiles) -> None:
    import pyarrow
    import pyarrow.parquet

    item = tiles.item("20240606", "31UDQ", datetime="2024-06-06T10:50:31Z")
    row = {"id": item["id"], "assets": item["assets"], "datetime": item["properties"]["datetime"]}
    row["bbox"] = {"xmin": 1.0, "ymin": 2.0, "xmax": 3.0, "ymax": 4.0}
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), sink)
    url = tiles.site.put(sink.getvalue().to_pybytes(), "items.parquet")
    assert [file.url for file in vsitlm.search(url)] == [file.url for file in vsitlm.search([item])]
    index = tiles.site.put(b"none of both", "broken.parquet")
    with pytest.raises(vsitlm.Error, match=r"broken\.parquet"):
        vsitlm.search(index)


def test_an_index_and_files_in_s3_with_keys(tiles: Tiles, tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    for url in tiles.urls.values():
        name = url.split("/", 3)[3]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(tiles.site.folder / name)
    vsitlm.index(list(tiles.urls.values()), f"{folder}/index/")
    right = vsitlm.load(f"{folder}/index", ["red", "SCL"], tiles.degrees, 20, datetime="2024-06")
    with run_s3(folder) as told:
        keys = {
            "AWS_S3_ENDPOINT": f"http://127.0.0.1:{told['port']}", "AWS_VIRTUAL_HOSTING": "FALSE",
            "VSITLM_CACHE_DIR": tmp_path / "learned", **told["reader"],
        }  # fmt: skip
        found = vsitlm.search("s3://eodata/index", tiles.degrees, "2024-06", ["red", "SCL"], **keys)
        assert len(found) == 10
        # Its rows were made elsewhere; items name the same files in the bucket.
        items = [tiles.item(day, tile) for day, tile, _ in PRODUCTS]
        for item in items:
            for asset in item["assets"].values():
                asset["href"] = "s3://eodata/" + asset["href"].split("/", 3)[3]
        loaded = vsitlm.load(items, ["red", "SCL"], tiles.degrees, 20, VSITLM_INDEX="s3://eodata/index", **keys)
        for name in ("red", "SCL"):
            assert np.array_equal(loaded[name].values, right[name].values)
        keys["AWS_SECRET_ACCESS_KEY"] = "wrong"
        with pytest.raises(vsitlm.Error, match="403") as failed:
            vsitlm.search("s3://eodata/index", tiles.degrees, "2024-06", ["red", "SCL"], **keys)
        assert told["reader"]["AWS_SECRET_ACCESS_KEY"] not in str(failed.value)


def test_what_was_found_is_narrowed(tiles: Tiles, tiles_index: Path) -> None:
    found = vsitlm.search(tiles_index, tiles.degrees, "2024-06")
    tiles.site.stats()
    narrowed = vsitlm.search(found, bands="red", datetime="2024-06-01/2024-06-06")
    assert [(file.band, file.time.day) for file in narrowed] == [("B04", 1), ("B04", 1), ("B04", 6), ("B04", 6)]
    assert (narrowed.settings, narrowed.area) == (found.settings, found.area) and tiles.site.stats()["requests"] == 0


def test_what_was_found_as_a_frame(tiles: Tiles, tiles_index: Path) -> None:
    pytest.importorskip("geopandas")
    found = vsitlm.search(tiles_index, tiles.degrees, "2024-06-11", ["B04", "SCL"])
    frame = found.to_geopandas()
    assert list(frame["band"]) == ["B04", "SCL"] and frame.crs.to_string() == "OGC:CRS84"
    assert list(frame["resolution"]) == [10, 20] and set(frame["epsg"]) == {32631}
    west, south, east, north = tiles.degrees
    bounds = frame.geometry.iloc[0].bounds
    assert bounds[0] < west < east < bounds[2] + 0.1 and bounds[1] < south < north < bounds[3]
    assert vsitlm.search([tiles.item("20240611", "31UDQ")]).to_geopandas().geometry.is_empty.all()
    assert repr(found).startswith("Result(2 files of 1 products, 2024-06-11 to 2024-06-11, bands B04, SCL")
    assert repr(vsitlm.search([])) == "Result(no files)"
