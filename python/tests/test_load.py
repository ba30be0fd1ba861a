"""Search and load: what comes of an area and a time is what rasterio reads of the files, side by side or warped."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gdalio
import numpy as np
import pytest
import rasterio
from conftest import Site, run
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as warp_points, transform_bounds

pytest.importorskip("zarr")
xarray = pytest.importorskip("xarray")

import vsitlm  # noqa: E402
from vsitlm.areas._mgrs import tiles_of  # noqa: E402

WEST, NORTH, SIDE = {"31UDQ": 496980.0, "31UEQ": 499980.0}, 5400000.0, 6000.0
"""Of made images, in EPSG:32631, in metres: two tiles, of which the right half of one is the left half of the other."""
BANDS = {"B04": 10, "SCL": 20}
AREA = (499000.0, 5395500.0, 504000.0, 5399000.0)
"""In EPSG:32631."""


@dataclass
class Tiles:
    """Products of two tiles, at three dates."""

    site: Site
    folder: Path
    files: dict[tuple[str, str, str], Path] = field(default_factory=dict)
    """By day, tile and band."""
    urls: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def degrees(self) -> tuple[float, float, float, float]:
        """The area in degrees, a little smaller, so that it touches no more pixels."""
        west, south, east, north = AREA
        found: tuple[float, float, float, float] = transform_bounds(
            32631, 4326, west + 30, south + 30, east - 30, north - 30
        )
        return found

    def add(self, day: str, tile: str, baseline: str, seed: int) -> None:
        """Makes the bands of a product."""
        product = f"S2B_MSIL2A_{day}T105031_N{baseline}_R051_T{tile}_{day}T140000"
        for band, resolution in BANDS.items():
            side = round(SIDE) // resolution
            pixels = np.random.default_rng([seed, resolution]).integers(0, 12000, (1, side, side), "uint16")
            pixels = (pixels % 12).astype("uint8") if band == "SCL" else pixels
            pixels[0, : side // 3] = 0
            folder = f"{product}.SAFE/GRANULE/L2A_T{tile}_A1_2/IMG_DATA/R{resolution}m"
            name = f"{folder}/T{tile}_{day}T105031_{band}_{resolution}m.jp2"
            path = self.folder / name
            gdalio.make_jp2(
                path, pixels, origin=(WEST[tile], NORTH), pixel=resolution, BLOCKXSIZE=256, BLOCKYSIZE=256,
                RESOLUTIONS=4, PLT="YES",
            )  # fmt: skip
            self.files[day, tile, band] = path
            self.urls[day, tile, band] = self.site.put(path, name)

    def item(self, day: str, tile: str, **properties: Any) -> dict[str, Any]:
        """A product's STAC item, which lies of its projection."""
        mine = {band: url for (one, of, band), url in self.urls.items() if (one, of) == (day, tile)}
        assets = {
            {"B04": "red-jp2", "SCL": "scl-jp2"}[band]: {"href": url, "type": "image/jp2", "proj:shape": [1, 1]}
            for band, url in mine.items()
        }
        return {
            "type": "Feature", "stac_version": "1.0.0", "id": f"S2B_{tile}_{day}_0_L2A", "geometry": None, "links": [],
            "assets": assets, "properties": {"datetime": None, "proj:epsg": 4326, **properties},
        }  # fmt: skip


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiles]:
    """Both tiles on two days, one of them on a third, of an old baseline."""
    site = Site(tmp_path_factory.mktemp("load-served"))
    with site.server:
        made = Tiles(site, tmp_path_factory.mktemp("load-made"))
        for seed, (day, tile, baseline) in enumerate(
            [
                ("20240601", "31UDQ", "0510"), ("20240601", "31UEQ", "0510"), ("20240606", "31UDQ", "0510"),
                ("20240606", "31UEQ", "0511"), ("20240611", "31UDQ", "0301"),
            ]
        ):  # fmt: skip
            made.add(day, tile, baseline, seed)
        yield made


@pytest.fixture(scope="module")
def index(tiles: Tiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their index."""
    out = tmp_path_factory.mktemp("load-index") / "tiles.parquet"
    vsitlm.index(list(tiles.urls.values()), out)
    return out


def mosaic(tiles: Tiles, day: str, band: str, west: float, north: float, resolution: int, shape: Any) -> np.ndarray:
    """What rasterio reads of the files of a day on their own pixels: the first that is not 0."""
    made = np.zeros(shape, "uint8" if band == "SCL" else "uint16")
    for tile in WEST:
        if (day, tile, band) not in tiles.files:
            continue
        level = {} if resolution == BANDS[band] else {"overview_level": (resolution // BANDS[band]).bit_length() - 2}
        with rasterio.open(tiles.files[day, tile, band], **level) as file:
            pixels = file.read(1)
        column, row = round((WEST[tile] - west) / resolution), round((north - NORTH) / resolution)
        for y in range(max(row, 0), min(row + pixels.shape[0], shape[0])):
            for_row = pixels[y - row]
            left, right = max(column, 0), min(column + pixels.shape[1], shape[1])
            there = made[y, left:right]
            there[:] = np.where(there == 0, for_row[left - column : right - column], there)
    return made


@pytest.mark.parametrize("resolution", [10, 20])
def test_tiles_of_a_zone_are_put_side_by_side(resolution: int, tiles: Tiles, index: Path) -> None:
    found = vsitlm.search(index, tiles.degrees, "2024-06", ["red", "SCL"])
    assert len(found) == 10 and found.bands == ("red", "SCL")
    tiles.site.stats()
    bands = ["red"] if resolution == 10 else ["red", "SCL"]
    loaded = vsitlm.load(found, bands, resolution=resolution)
    assert tiles.site.stats()["requests"] <= 5 * 9 * len(bands)
    assert [str(time)[:10] for time in loaded.time.values] == ["2024-06-01", "2024-06-06", "2024-06-11"]
    assert loaded.boa_add_offset.values.tolist() == [-1000, -1000, 0]
    assert loaded.product_id.values[0].count("; ") == 1 and loaded.spatial_ref.attrs["spatial_ref"].startswith(
        "PROJCRS"
    )
    west, north = float(loaded.x[0]) - resolution / 2, float(loaded.y[0]) + resolution / 2
    for number, day in enumerate(("20240601", "20240606", "20240611")):
        for name in bands:
            right = mosaic(
                tiles, day, "B04" if name == "red" else name, west, north, resolution, loaded[name].shape[1:]
            )
            assert right.any() and np.array_equal(loaded[name][number].values, right), (day, name)
    assert loaded["red"].dtype == "uint16"


def test_another_reference_system_is_warped_as_gdal_does_it(tiles: Tiles, index: Path) -> None:
    found = vsitlm.search(index, tiles.degrees, "2024-06-11", "B04")
    for crs, resolution, level in ((3857, 33.0, 0), (32632, 10.0, None), (4326, 0.0005, 0)):
        loaded = vsitlm.load(found, crs=crs, resolution=resolution)
        down, across = loaded["B04"].dims[1:]
        options = {} if level is None else {"overview_level": level}
        with rasterio.open(tiles.files["20240611", "31UDQ", "B04"], **options) as file:
            transform = rasterio.Affine(
                resolution, 0, float(loaded[across][0]) - resolution / 2,
                0, -resolution, float(loaded[down][0]) + resolution / 2,
            )  # fmt: skip
            terms = {"crs": f"EPSG:{crs}", "transform": transform, "nodata": 0, "src_nodata": 0}
            with WarpedVRT(file, width=loaded.sizes[across], height=loaded.sizes[down], **terms) as warped:
                right = warped.read(1)
        assert right.any()
        # The warper's own approximation is of an eighth of a pixel: of random pixels few may be their neighbours.
        same = (loaded["B04"][0].values == right).mean()
        assert same > 0.995, (crs, same)


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
    assert len(vsitlm.search(items, cloud_cover=50)) == 2
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
    assert len(right) == 4
    objects = [pystac.Item.from_dict(item) for item in items]
    rows = [{"id": item["id"], "assets": item["assets"], "datetime": item["properties"]["datetime"]} for item in items]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "items.parquet")
    for catalogue in (objects, pystac.ItemCollection(objects), tmp_path / "items.parquet"):
        assert [file.url for file in vsitlm.search(catalogue).files] == right
    assert len(vsitlm.search(objects[0])) == 2


@pytest.mark.parametrize("count", [1, 12, 3000])
def test_points_have_the_values_of_their_pixels(count: int, tiles: Tiles, index: Path) -> None:
    west, south, east, north = transform_bounds(32631, 4326, *AREA)
    chance = np.random.default_rng(count)
    points = np.stack([chance.uniform(west - 0.01, east + 0.01, count), chance.uniform(south, north, count)], 1)
    table = vsitlm.sample(points, index, ["red", "SCL"], datetime="2024-06")
    rows = {(row["product"], row["point"]): row for row in table.to_pylist()}
    assert table.column_names == ["point", "time", "product", "red", "SCL"] and len(rows) == len(table)
    compared = 0
    for (day, tile, band), path in tiles.files.items():
        with rasterio.open(path) as file:
            xs, ys = warp_points("OGC:CRS84", file.crs, *points.T)
            right = [int(value[0]) for value in file.sample(zip(xs, ys, strict=True))]
        (product,) = {product for product, _ in rows if f"_{day}T105031_" in product and tile in product} or {""}
        for point, value in enumerate(right):
            row = rows.get((product, point), {})
            assert row.get({"B04": "red"}.get(band, band)) == (value or None), (day, tile, band, point)
            compared += value != 0
    assert compared or count == 1


@pytest.mark.parametrize("size", [1, 4, 33])
def test_squares_around_points_are_those_of_the_files(size: int, tiles: Tiles, index: Path) -> None:
    west, south, east, north = transform_bounds(32631, 4326, WEST["31UDQ"], NORTH - SIDE, WEST["31UDQ"] + SIDE, NORTH)
    chance = np.random.default_rng(size)
    points = np.stack([chance.uniform(west, east, 300), chance.uniform(south, north, 300)], 1)
    found = vsitlm.search(index, datetime="2024-06", bands=["red", "SCL"])
    squares = vsitlm.sample(points, found, size=size)
    assert squares["red"].shape == (squares.sizes["sample"], size, size) and squares["red"].dtype == "uint16"
    got = {
        (str(product), int(point), name): squares[name].values[number]
        for number, (product, point) in enumerate(zip(squares["product"].values, squares["point"].values, strict=True))
        for name in ("red", "SCL")
    }
    for (day, tile, band), path in tiles.files.items():
        product = next(name for name, *_ in got if f"_{day}T" in name and tile in name)
        with rasterio.open(path) as file:
            pixels, (high, wide) = file.read(1), file.shape
            xs, ys = warp_points("OGC:CRS84", file.crs, *points.T)
            places = [file.index(x, y) for x, y in zip(xs, ys, strict=True)]
        around = np.pad(pixels, size)
        for number, (row, column) in enumerate(places):
            if not (0 <= row < high and 0 <= column < wide):
                continue
            top, left = row - size // 2 + size, column - size // 2 + size
            right = around[top : top + size, left : left + size]
            mine = got.get((product, number, {"B04": "red"}.get(band, band)))
            assert np.array_equal(mine, right) if mine is not None else not right.any(), (day, tile, band, number)


def test_points_of_a_tile_share_its_requests(tiles: Tiles, tmp_path: Path) -> None:
    urls = [url for (day, _, band), url in tiles.urls.items() if (day, band) == ("20240611", "B04")]
    vsitlm.index(urls, tmp_path / "packets.parquet", packets=True)
    west, south, east, north = transform_bounds(32631, 4326, *AREA)
    chance = np.random.default_rng(3)
    points = np.stack([chance.uniform(west, east, 2000), chance.uniform(south, north, 2000)], 1)
    tiles.site.stats()
    table = vsitlm.sample(points, tmp_path / "packets.parquet", "B04", datetime="2024-06", VSITLM_MERGE_GAP=0)
    asked = tiles.site.stats()
    assert len(table) > 500 and asked["requests"] <= 4 * 9
    assert asked["bytes"] <= tiles.files["20240611", "31UDQ", "B04"].stat().st_size


def test_a_hundred_thousand_points(tiles: Tiles, index: Path) -> None:
    west, south, east, north = transform_bounds(32631, 4326, *AREA)
    chance = np.random.default_rng(5)
    points = np.stack([chance.uniform(west, east, 100_000), chance.uniform(south, north, 100_000)], 1)
    tiles.site.stats()
    table = vsitlm.sample(points, index, "red", datetime="2024-06")
    # Nine tiles of 256 px are touched in each file at most.
    assert tiles.site.stats()["requests"] <= 5 * 9
    for (day, tile, band), path in tiles.files.items():
        if band != "B04":
            continue
        with rasterio.open(path) as file:
            xs, ys = warp_points("OGC:CRS84", file.crs, *points.T)
            columns = np.floor((np.array(xs) - file.transform.c) / 10).astype(int)
            rows = np.floor((file.transform.f - np.array(ys)) / 10).astype(int)
            pixels = file.read(1)
        inside = (columns >= 0) & (columns < 600) & (rows >= 0) & (rows < 600)
        right = np.zeros(len(points), "uint16")
        right[inside] = pixels[rows[inside], columns[inside]]
        names = table.column("product").to_numpy(zero_copy_only=False)
        mine = np.array([f"_{day}T" in name and tile in name for name in names])
        values = np.zeros(len(points), "uint16")
        values[table.column("point").to_numpy()[mine]] = table.column("red").to_numpy(zero_copy_only=False)[mine]
        assert np.array_equal(values, right), (day, tile)


def test_chips_of_an_area_are_parts_of_what_is_loaded(tiles: Tiles, index: Path) -> None:
    terms: dict[str, Any] = {"area": tiles.degrees, "datetime": "2024-06", "resolution": 10}
    whole = vsitlm.load(index, ["B04", "SCL"], **terms)
    count, covered = 0, np.zeros(whole["B04"].shape[1:], bool)
    for chip in vsitlm.chips(index, ["B04", "SCL"], 100, stride=90, **terms):
        column = round((chip.grid.west + 5 - float(whole.x[0])) / 10)
        row = round((float(whole.y[0]) - chip.grid.north + 5) / 10)
        inner = (slice(row, min(row + 100, whole.sizes["y"])), slice(column, min(column + 100, whole.sizes["x"])))
        for time, moment in enumerate(chip.times):
            number = [str(day)[:10] for day in whole.time.values].index(f"{moment:%Y-%m-%d}")
            for name in ("B04", "SCL"):
                right = whole[name][number].values[inner]
                assert np.array_equal(chip.pixels[name][time][: right.shape[0], : right.shape[1]], right), (name, row)
        covered[inner] = True
        count += 1
        assert chip.stack().shape == (len(chip.times), 2, 100, 100)
    assert covered.all() and count > 10


def test_chips_around_points(tiles: Tiles, index: Path) -> None:
    (xs, ys) = warp_points(32631, "OGC:CRS84", [500005.0, 503005.0, 900000.0], [5397995.0, 5395995.0, 5398000.0])[:2]
    points = list(zip(xs, ys, strict=True))
    found = list(vsitlm.chips(index, "B04", 64, centers=points, datetime="2024-06-11"))
    assert [len(chip.times) for chip in found] == [1] and found[0].products[0].startswith("S2B_MSIL2A_20240611")
    with rasterio.open(tiles.files["20240611", "31UDQ", "B04"]) as file:
        row, column = file.index(500005.0, 5397995.0)
        right = file.read(1)[row - 32 : row + 32, column - 32 : column + 32]
    assert np.array_equal(found[0].pixels["B04"][0], right)
    with pytest.raises(vsitlm.CubeError, match="at least 1"):
        vsitlm.chips(index, "B04", 0)


def test_points_that_are_none(index: Path) -> None:
    for points in ([], [(48.8, 102.0)], [(1.0, 2.0, 3.0)]):
        with pytest.raises(vsitlm.CubeError, match="longitude and latitude"):
            vsitlm.sample(points, index, "B04")


def test_the_newest_baseline_of_a_datatake_is_taken_and_its_offset_is_the_products(tiles: Tiles) -> None:
    lying = {"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "02.00"}
    older = tiles.item("20240611", "31UDQ")
    newer = json.loads(json.dumps(tiles.item("20240601", "31UDQ", **lying)))
    # The same sensing as that of the older one, by name; the file stays where it is.
    newer["properties"]["s2:product_uri"] = "S2B_MSIL2A_20240611T105031_N0510_R051_T31UDQ_20240701T000000.SAFE"
    loaded = vsitlm.load([older, newer], "red", tiles.degrees)
    assert loaded.sizes["time"] == 1 and loaded.boa_add_offset.values.tolist() == [-1000]
    right = vsitlm.load([tiles.item("20240601", "31UDQ")], "red", tiles.degrees)
    assert np.array_equal(loaded["red"].values, right["red"].values)


def test_an_area_over_two_zones_needs_a_reference_system(tmp_path: Path) -> None:
    right, transformers = {}, {"31UGR": (32631, 700000.0), "32ULB": (32632, 300000.0)}
    for number, (tile, (epsg, west)) in enumerate(transformers.items()):
        product = f"S2B_MSIL2A_20240601T105031_N0510_R051_T{tile}_20240601T140000"
        path = tmp_path / f"{product}.SAFE/GRANULE/L2A_T{tile}_A1_2/IMG_DATA/R60m/T{tile}_20240601T105031_B01_60m.jp2"
        pixels = np.random.default_rng(number).integers(1, 9000, (1, 500, 500), "uint16")
        right[tile] = gdalio.make_jp2(path, pixels, epsg, (west, 5600000.0), 60)
    vsitlm.index(list(right.values()), tmp_path / "tiles.parquet")
    with pytest.raises(vsitlm.CubeError, match="EPSG:32631, EPSG:32632: name one"):
        vsitlm.load(tmp_path / "tiles.parquet", "B01")
    loaded = vsitlm.load(tmp_path / "tiles.parquet", "B01", crs=32631)
    assert loaded.sizes["time"] == 1 and loaded.product_id.values[0].count("; ") == 1
    with rasterio.open(right["31UGR"]) as file:
        pixels = file.read(1)
    column, row = (
        round(abs(700000.0 - float(loaded.x[0]) + 30) / 60),
        round((float(loaded.y[0]) + 30 - 5600000.0) / 60),
    )
    assert np.array_equal(loaded["B01"][0].values[row : row + 500, column : column + 500], pixels)
    assert (loaded["B01"][0].values[:, column + 500 :] > 0).sum() > 200_000, "the other one, warped"


def test_a_mask_keeps_classes(tiles: Tiles, index: Path) -> None:
    terms: dict[str, Any] = {"area": tiles.degrees, "datetime": "2024-06-11", "resolution": 20}
    plain = vsitlm.load(index, ["B04", "SCL"], **terms)
    masked = vsitlm.load(index, "B04", mask="scl", keep=(4, 5), **terms)
    kept = np.isin(plain["SCL"].values, (4, 5))
    assert kept.any() and np.array_equal(masked["B04"].values, np.where(kept, plain["B04"].values, 0))


def test_dask_reads_the_same(tiles: Tiles, index: Path) -> None:
    now = vsitlm.load(index, ["B04", "SCL"], tiles.degrees, 20)
    lazy = vsitlm.load(index, ["B04", "SCL"], tiles.degrees, 20, chunks={"x": 100, "y": -1})
    assert lazy["B04"].chunks is not None and lazy["B04"].chunks[0] == (1, 1, 1)
    for name in ("B04", "SCL"):
        assert np.array_equal(lazy[name].compute(scheduler="threads").values, now[name].values)


def test_values_of_one_scale(tiles: Tiles, index: Path) -> None:
    kept = vsitlm.load(index, "B04", tiles.degrees)["B04"].values.astype(int)
    made = vsitlm.load(index, "B04", tiles.degrees, offset="harmonise")
    right = np.where(kept == 0, 0, np.maximum(kept - 1000, 1))
    right[2] = kept[2]
    assert np.array_equal(made["B04"].values, right) and "boa_add_offset" not in made.coords


def test_a_file_that_fails_is_an_error_or_no_data(tiles: Tiles, tmp_path: Path) -> None:
    items = [tiles.item("20240601", "31UDQ"), tiles.item("20240606", "31UDQ")]
    items[1]["assets"]["red-jp2"]["href"] = items[1]["assets"]["red-jp2"]["href"].replace("R10m", "R11m")
    with pytest.raises(vsitlm.NotFoundError):
        vsitlm.load(items, "red", tiles.degrees)
    with pytest.warns(vsitlm.VsitlmWarning, match="no data of .*R11m"):
        loaded = vsitlm.load(items, "red", tiles.degrees, fail_on_error=False)
    assert loaded.sizes["time"] == 1 and "R11m" in loaded.attrs["failed"][0]


def command(*arguments: str | Path) -> tuple[int, str, str]:
    """The exit code, output and errors of the console script."""
    done = run("from vsitlm.__main__ import main; main()", *arguments, python=sys.executable, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_commands_search_and_load(tiles: Tiles, index: Path, tmp_path: Path) -> None:
    area = ",".join(map(str, tiles.degrees))
    code, told, count = command("search", index, f"--area={area}", "--datetime=2024-06-11", "--bands=red")
    assert (code, count) == (0, "1 files\n") and told.startswith("2024-06-11T10:50:31Z 31UDQ B04 http://")
    west, south, east, north = tiles.degrees
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    (tmp_path / "field.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    right = vsitlm.load(index, ["B04", "SCL"], tiles.degrees, datetime="2024-06")
    high, wide = right["B04"].shape[1:]
    terms = ("--area", tmp_path / "field.geojson", "--bands", "B04,SCL", "--datetime", "2024-06")
    for name in ("field.zarr", "field.nc", "field.tif"):
        out = tmp_path / name
        code, told, errors = command("load", index, "-o", out, *terms, "--preview", tmp_path / "sheet.png")
        assert code == 0 and told.startswith(f"{out}: B04, SCL, 3 x {high} x {wide}; ") and not errors, errors
        if name == "field.tif":
            with rasterio.open(out) as file:
                assert (file.crs.to_epsg(), file.descriptions[3]) == (32631, "SCL 2024-06-01T10:50:31")
                assert np.array_equal(file.read([1, 2, 3]), right["B04"].values)
        else:
            opened = xarray.open_dataset(
                out, mask_and_scale=False, **({"engine": "zarr"} if name.endswith("zarr") else {})
            )
            assert np.array_equal(opened["SCL"].values, right["SCL"].values)
        assert command("load", index, "-o", out, *terms)[0] == 1, "it is there already"
    with rasterio.open(tmp_path / "sheet.png") as sheet:
        assert (sheet.count, sheet.shape) == (1, (2 * high + 4, 2 * wide + 4)) and len(np.unique(sheet.read())) > 100
    code, _, errors = command("load", index, "-o", tmp_path / "x.txt", *terms)
    assert code == 1 and "end in one of .zarr, .nc, .tif" in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"area": (2.0, 48.9, 1.0, 48.8)}, "wrong way round"),
        ({"area": (48.7, 102.0, 48.8, 102.5)}, "not in degrees|none that EPSG"),
        ({"area": {"type": "Polygon", "coordinates": []}}, "empty"),
        ({"bands": "B12"}, "no files of B12 to load"),
        ({"bands": ["B04", "B12"]}, "has the band B12"),
        ({"datetime": "2024-07/2024-06"}, "ends before it begins"),
        ({"datetime": "2023"}, "no files"),
        ({"groupby": "month"}, "'solar_day'"),
        ({"mask": "clouds"}, "mask is"),
        ({"resolution": 1e-4}, "load it lazily"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_refused(arguments: dict[str, Any], words: str, tiles: Tiles, index: Path) -> None:
    tiles.site.stats()
    with pytest.raises(vsitlm.CubeError, match=words):
        vsitlm.load(index, **{"bands": "B04", "area": tiles.degrees, **arguments})
    assert tiles.site.stats()["requests"] == 0


def test_the_tiles_of_areas() -> None:
    assert tiles_of((2.3, 48.8, 2.44, 48.9)) == ["31UDQ"]
    assert "56HLH" in tiles_of((151.1, -33.9, 151.3, -33.8))
    crossing = tiles_of((179.9, -17.0, -179.9, -16.9))
    assert {tile[:2] for tile in crossing} == {"01", "60"}


def test_an_area_across_180_degrees(tmp_path: Path) -> None:
    # 60 km at 17 degrees south, from 179.7 degrees on to the east.
    origin, product = (786000.0, 8120000.0), "S2B_MSIL2A_20240601T105031_N0510_R051_T60KZG_20240601T140000"
    path = tmp_path / f"{product}.SAFE/GRANULE/L2A_T60KZG_A1_2/IMG_DATA/R60m/T60KZG_20240601T105031_B01_60m.jp2"
    gdalio.make_jp2(path, np.random.default_rng(9).integers(1, 9000, (1, 1000, 1000), "uint16"), 32760, origin, 60)
    vsitlm.index([path], tmp_path / "tiles.parquet")
    loaded = vsitlm.load(tmp_path / "tiles.parquet", "B01", (179.9, -17.2, -179.95, -17.1), crs="EPSG:32760")
    x, y = warp_points("OGC:CRS84", "EPSG:32760", [179.9, 180.05], [-17.15, -17.15])[:2]
    assert loaded.x[0] - 60 < x[0] < loaded.x[20] and loaded.x[-20] < x[1] < loaded.x[-1] + 60 and y[0] < loaded.y[0]
    with rasterio.open(path) as file:
        column, row = (
            round((float(loaded.x[0]) - 30 - origin[0]) / 60),
            round((origin[1] - float(loaded.y[0]) - 30) / 60),
        )
        right = file.read(1)[row : row + loaded.sizes["y"], column : column + loaded.sizes["x"]]
    assert np.array_equal(loaded["B01"][0].values, right)
