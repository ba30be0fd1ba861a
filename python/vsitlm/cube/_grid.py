"""Where a cube lies: the pixels of a tile, or those that an area touches."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .._errors import CubeError

if TYPE_CHECKING:
    from typing import TypeAlias

Area: TypeAlias = "Sequence[float] | Mapping[str, Any] | str | Any"
"""West, south, east and north, in degrees or in the tile's reference system; or a geometry in degrees: a GeoJSON
object, its text, or what has `__geo_interface__`, as shapely's have."""

POINTS_AN_EDGE = 16
"""Points that stand for an edge of an area in degrees: straight lines there are none in the tile's reference system."""


@dataclass(frozen=True)
class Grid:
    """A grid of square pixels, north up."""

    epsg: int
    west: float
    """The left edge of the first column."""
    north: float
    """The upper edge of the first row."""
    resolution: float
    """Metres."""
    width: int
    """Columns."""
    height: int
    """Rows."""

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """From columns and rows to coordinates, as rasterio and `proj:transform` have it."""
        return (self.resolution, 0.0, self.west, 0.0, -self.resolution, self.north)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north."""
        east, south = self.west + self.width * self.resolution, self.north - self.height * self.resolution
        return self.west, south, east, self.north

    def coarser(self, resolution: float) -> Grid:
        """The grid of the same image at a multiple of the resolution: a JP2's reduced image has a pixel for each group
        that it begins (T.800 B-15)."""
        times = round(resolution / self.resolution)
        width, height = math.ceil(self.width / times), math.ceil(self.height / times)
        return Grid(self.epsg, self.west, self.north, self.resolution * times, width, height)

    def window(self, x: int, y: int, width: int, height: int) -> Grid:
        """A window of it, in pixels."""
        west, north = self.west + x * self.resolution, self.north - y * self.resolution
        return Grid(self.epsg, west, north, self.resolution, width, height)

    def touched(self, bounds: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
        """The window of the pixels that bounds (west, south, east, north, in its reference system) touch: column, row,
        columns and rows.

        Raises:
            CubeError: They touch none.
        """
        west, south, east, north = bounds
        first = [(west - self.west) / self.resolution, (self.north - north) / self.resolution]
        last = [(east - self.west) / self.resolution, (self.north - south) / self.resolution]
        left, top = (max(math.floor(value), 0) for value in first)
        # An edge on that of a pixel does not touch it; a point touches one.
        right, bottom = (max(math.ceil(end), math.floor(start) + 1) for start, end in zip(first, last, strict=True))
        right, bottom = min(right, self.width), min(bottom, self.height)
        if right <= left or bottom <= top:
            raise CubeError(
                f"the area {tuple(round(value, 3) for value in bounds)} is outside the tile, "
                f"which is {self.bounds} in EPSG:{self.epsg}"
            )
        return left, top, right - left, bottom - top


def bounds_of(area: Area, epsg: int) -> tuple[float, float, float, float]:
    """The bounds of an area in a reference system: west, south, east and north.

    Raises:
        CubeError: It is no area.
    """
    if isinstance(area, str):
        try:
            area = json.loads(area)
        except ValueError as error:
            raise CubeError(f"the area {area[:60]!r} is no GeoJSON") from error
    if not isinstance(area, Mapping) and hasattr(area, "__geo_interface__"):
        area = area.__geo_interface__
    if isinstance(area, Mapping):
        points = [point for ring in _rings(area) for point in _densified(ring)]
        if not points:
            raise CubeError("the area's geometry is empty")
        return _extent(_projected(points, epsg))
    numbers = [float(value) for value in area]
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise CubeError(f"the area {tuple(area)} is no bounds: west, south, east, north")
    west, south, east, north = numbers
    if south > north or west > east:
        raise CubeError(f"the area {tuple(numbers)} has its bounds the wrong way round: west, south, east, north")
    if not (max(abs(west), abs(east)) <= 360 and max(abs(south), abs(north)) <= 90):
        return west, south, east, north  # in the reference system: UTM has no eastings below 100 km
    ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return _extent(_projected(_densified(ring), epsg))


def _rings(geometry: Mapping[str, Any]) -> Iterable[list[tuple[float, float]]]:
    """The lines of a GeoJSON geometry, feature or collection."""
    kind = geometry.get("type")
    if kind == "FeatureCollection":
        for feature in geometry["features"]:
            yield from _rings(feature)
    elif kind == "Feature":
        yield from _rings(geometry["geometry"])
    elif kind == "GeometryCollection":
        for one in geometry["geometries"]:
            yield from _rings(one)
    else:
        yield from _lines(geometry.get("coordinates"))


def _lines(coordinates: Any) -> Iterable[list[tuple[float, float]]]:
    """Nested lists of positions as lines."""
    if not isinstance(coordinates, Sequence) or not coordinates:
        return
    if isinstance(coordinates[0], (int, float)):
        yield [(float(coordinates[0]), float(coordinates[1]))]
    elif isinstance(coordinates[0], Sequence) and coordinates[0] and isinstance(coordinates[0][0], (int, float)):
        yield [(float(position[0]), float(position[1])) for position in coordinates]
    else:
        for part in coordinates:
            yield from _lines(part)


def _densified(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A line with points between its corners."""
    points = list(line[:1])
    for (x0, y0), (x1, y1) in pairwise(line):
        shares = [number / POINTS_AN_EDGE for number in range(1, POINTS_AN_EDGE + 1)]
        points += [(x0 + share * (x1 - x0), y0 + share * (y1 - y0)) for share in shares]
    return points


def _projected(points: Sequence[tuple[float, float]], epsg: int) -> list[tuple[float, float]]:
    """Longitudes and latitudes in a reference system."""
    try:
        from pyproj import Transformer
    except ImportError as error:
        raise ImportError("an area in degrees needs pyproj: pip install 'vsitlm[zarr]'") from error
    transformer = Transformer.from_crs("OGC:CRS84", epsg, always_xy=True)
    xs, ys = transformer.transform([x for x, _ in points], [y for _, y in points])
    if not all(map(math.isfinite, [*xs, *ys])):
        raise CubeError(
            f"the area is none that EPSG:{epsg} can show: are its coordinates in the order longitude, latitude?"
        )
    return list(zip(xs, ys, strict=True))


def _extent(points: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    """The bounds of points."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)
