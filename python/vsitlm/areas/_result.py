"""What a search has found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._area import Area
from ._files import File

if TYPE_CHECKING:
    import geopandas
    import pyarrow


@dataclass(frozen=True)
class Result:
    """Files that a search has found, in the order of their times."""

    files: tuple[File, ...]
    bands: tuple[str, ...]
    """As they were asked for; all that there are where nothing was."""
    area: Area | None
    settings: Mapping[str, str]
    """Options of GDAL's and of `/vsitlm/` that hold for reading them."""

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[File]:
        return iter(self.files)

    def __repr__(self) -> str:
        if not self.files:
            return "Result(no files)"
        days = f"{self.files[0].time:%Y-%m-%d} to {self.files[-1].time:%Y-%m-%d}"
        products = len({file.product for file in self.files})
        return f"Result({len(self)} files of {products} products, {days}, bands {', '.join(self.bands)})"

    def to_arrow(self) -> pyarrow.Table:
        """A table: product, tile, time, band, baseline, cloud_cover, url, and, where known, epsg and resolution."""
        import pyarrow

        rows = [
            {
                "product": file.product, "tile": file.tile, "time": file.time, "band": file.band,
                "baseline": file.baseline, "cloud_cover": file.cloud_cover, "url": file.url,
                "epsg": file.grid.epsg if file.grid else None,
                "resolution": file.grid.resolution if file.grid else None,
            }
            for file in self.files
        ]  # fmt: skip
        schema = pyarrow.schema(
            [
                *((name, pyarrow.string()) for name in ("product", "tile")),
                ("time", pyarrow.timestamp("us", "UTC")),
                *((name, pyarrow.string()) for name in ("band", "baseline")),
                ("cloud_cover", pyarrow.float64()),
                ("url", pyarrow.string()),
                ("epsg", pyarrow.int32()),
                ("resolution", pyarrow.float64()),
            ]
        )
        return pyarrow.Table.from_pylist(rows, schema)

    def to_geopandas(self) -> geopandas.GeoDataFrame:
        """The same as a frame with the outlines of images, in degrees; empty where they are not known."""
        import geopandas
        from pyproj import Transformer
        from shapely import Polygon, box, segmentize, transform

        def outline(file: File) -> Any:
            if file.grid is None:
                return Polygon()
            west, south, east, north = file.grid.bounds
            degrees = Transformer.from_crs(file.grid.epsg, "OGC:CRS84", always_xy=True)
            return transform(
                segmentize(box(west, south, east, north), (east - west) / 16), degrees.transform, interleaved=False
            )

        outlines = geopandas.GeoSeries([outline(file) for file in self.files], crs="OGC:CRS84")
        return geopandas.GeoDataFrame(self.to_arrow().to_pandas(), geometry=outlines)
