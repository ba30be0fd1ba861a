"""What other tools make of an index. To be run by the Python in target/py/interop, in a folder with `tiles.parquet` and
the same rows in the partition layout below `tiles`.

    interop.py NAME

calls the function of that name, which raises where something is not as it should be.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pyproj
import rasterio
import shapely

INDEX = "tiles.parquet"
DEGREES = 1e-6
"""How far an outline may be off: a tenth of a metre."""
STAC = pa.schema(
    [
        ("eo:cloud_cover", pa.float64()),
        ("datetime", pa.timestamp("us", tz="UTC")),
        ("platform", pa.string()),
        ("processing_baseline", pa.string()),
        ("relative_orbit", pa.int32()),
        ("epsg", pa.int32()),
        ("shape", pa.list_(pa.int32())),
        ("transform", pa.list_(pa.float64())),
        ("bbox", pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])),
        ("geometry", pa.binary()),
    ]
)


def rows() -> list[dict[str, Any]]:
    """The index, as pyarrow has it."""
    return pq.read_table(INDEX).to_pylist()


def plain(kind: pa.DataType) -> str:
    """A type without what its parts are called and whether they can be null."""
    if pa.types.is_list(kind):
        return f"list<{plain(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {plain(field.type)}' for field in kind)}>"
    return str(kind)


def schema() -> None:
    """The columns are there, in their order, after those of a look-up, and can be null."""
    fields = pq.read_schema(INDEX)
    names = fields.names
    first = names.index("eo:cloud_cover")
    assert names[:4] == ["product_id", "band_id", "path", "index"] and names[first - 1] == "last_modified", names
    assert names[first : first + len(STAC)] == STAC.names, names
    for field in STAC:
        made = fields.field(field.name)
        assert plain(made.type) == plain(field.type) and made.nullable, made
    geo = json.loads(pq.read_metadata(INDEX).metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert geo["version"] == "1.1.0" and geo["primary_column"] == "geometry" and column["encoding"] == "WKB", geo
    assert column["covering"]["bbox"] == {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}, geo
    assert "crs" not in column, "the default is OGC:CRS84"


def grids() -> None:
    """EPSG code, shape and transform are those that rasterio reads."""
    told = rows()
    for row in told:
        with rasterio.open(f"/vsitlm/{row['origin']}") as dataset:
            assert row["epsg"] == dataset.crs.to_epsg(), row
            assert tuple(row["shape"]) == dataset.shape, row
            assert tuple(row["transform"]) == tuple(dataset.transform)[:6], row
    assert {row["epsg"] for row in told} == {32631, 32733, 32701}


def outlines() -> None:
    """The footprint is the image's outline, as pyproj transforms it; the bounding box is the footprint's."""
    crossing = 0
    for row in rows():
        shape = shapely.from_wkb(row["geometry"])
        box = tuple(row["bbox"][name] for name in ("xmin", "ymin", "xmax", "ymax"))
        assert shape.is_valid, shape
        to_degrees = pyproj.Transformer.from_crs(row["epsg"], "OGC:CRS84", always_xy=True)
        with rasterio.open(f"/vsitlm/{row['origin']}") as dataset:
            # Three points between two corners.
            west, south, east, north = to_degrees.transform_bounds(*dataset.bounds, densify_pts=3)
            corners = [dataset.transform * corner for corner in ((0, 0), (0, dataset.height), (dataset.width, 0))]
            outline = shapely.box(*dataset.bounds).exterior
        assert np.allclose(box, (west, south, east, north), rtol=0, atol=DEGREES), (box, row["path"])
        parts = shape.geoms if shape.geom_type == "MultiPolygon" else [shape]
        crossing += len(parts) == 2
        assert (len(parts) == 2) == (west > east), shape
        points = np.concatenate([part.exterior.coords for part in parts])
        for corner in corners:
            longitude, latitude = to_degrees.transform(*corner)
            assert np.abs(points - (longitude, latitude)).max(axis=1).min() < DEGREES, (corner, shape)
        # Every other point lies on the outline, too, where the shape was not cut at the antimeridian.
        back = to_degrees.transform(*points[np.abs(points[:, 0]) < 180].T, direction="INVERSE")
        assert max(outline.distance(shapely.Point(point)) for point in zip(*back, strict=True)) < 0.1, shape
        for part in parts:
            assert part.exterior.is_ccw, shape
    assert crossing, "no image crosses the antimeridian"


def names() -> None:
    """What the products' names tell."""
    for row in rows():
        unit, _, time, baseline, orbit, _, _ = row["product_id"].split("_")
        assert row["platform"] == f"sentinel-{unit[1].lower()}{unit[2].lower()}", row
        assert row["processing_baseline"] == f"{baseline[1:3]}.{baseline[3:]}", row
        assert row["relative_orbit"] == int(orbit[1:]), row
        assert row["datetime"].strftime("%Y%m%dT%H%M%S") == time and row["datetime"].tzinfo, row


def frames() -> None:
    """geopandas has the geometries as such, in CRS84, and filters by the covering."""
    frame = geopandas.read_parquet(INDEX)
    assert frame.crs == "OGC:CRS84" and len(frame) == len(rows()) and frame.geometry.is_valid.all()
    for row, bounds in zip(rows(), frame.bounds.itertuples(index=False), strict=True):
        box = [row["bbox"][name] for name in ("xmin", "ymin", "xmax", "ymax")]
        # Of the two parts at the antimeridian, shapely tells the bounds of both together.
        assert box[0] > box[2] or tuple(bounds) == tuple(box), row
    south = geopandas.read_parquet(INDEX, bbox=(14.0, -13.0, 16.0, -11.0))
    assert set(south.epsg) == {32733} and len(south) == (frame.epsg == 32733).sum()
    assert geopandas.read_parquet(INDEX, bbox=(40, 40, 41, 41)).empty


def partitions() -> None:
    """The layout has the rows of the file, each in the folder that its columns name."""
    dataset = ds.dataset("tiles", format="parquet", partitioning="hive")
    names = pq.read_schema(INDEX).names
    key = [(name, "ascending") for name in ("product_id", "band_id", "resolution")]
    alike = [table.sort_by(key).to_pylist() for table in (dataset.to_table(columns=names), pq.read_table(INDEX))]
    assert alike[0] == alike[1]
    for row in dataset.to_table(columns=["level", "tile", "year", "mgrs_tile", "datetime", "product_id"]).to_pylist():
        assert (row["tile"], row["year"]) == (row["mgrs_tile"], row["datetime"].year), row
        assert row["product_id"][7:10] == row["level"], row
    filtered = ds.field("year") == 2023
    assert len(list(dataset.get_fragments(filter=filtered))) == 1 < len(dataset.files)
    assert {row["datetime"].year for row in dataset.to_table(filter=filtered).to_pylist()} == {2023}


if __name__ == "__main__":
    {check.__name__: check for check in (schema, grids, outlines, names, frames, partitions)}[sys.argv[1]]()
