"""Areas: bounds or geometries in degrees, or bounds in a reference system."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._errors import CubeError

if TYPE_CHECKING:
    from typing import TypeAlias

    from shapely.geometry.base import BaseGeometry

Area: TypeAlias = "Sequence[float] | Mapping[str, Any] | str | Any"
"""West, south, east and north, in degrees or in a reference system; or a geometry in degrees: a GeoJSON object, its
text, or what has `__geo_interface__`, as shapely's have."""

POINTS = 64
"""Into how many pieces the longer side of an area is cut before it is projected: edges bend."""

Bounds = tuple[float, float, float, float]
"""West, south, east and north."""


def shape_of(area: Area) -> BaseGeometry:
    """An area in degrees as a geometry. East of 180 degrees its longitudes go on.

    Raises:
        CubeError: It is no area, or not in degrees.
    """
    shapely = _shapely()
    from shapely.errors import ShapelyError

    if (bounds := _numbers(area)) is not None:
        west, south, east, north = bounds
        if 180 >= west > east >= -180:
            east += 360
        _check_order(west, south, east, north)
        # Those of a point or line are no polygon.
        little = 1e-9 if west == east or south == north else 0
        shape = shapely.box(west - little, south - little, east + little, north + little)
    else:
        try:
            shape = shapely.union_all([shapely.geometry.shape(one) for one in _geometries(_document(area))])
        except (ShapelyError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            raise CubeError(f"the area is no geometry: {error}") from error
        if shape.is_empty:
            raise CubeError("the area's geometry is empty")
        if not shape.is_valid:
            raise CubeError(f"the area's geometry is not valid: {shapely.is_valid_reason(shape)}")
        west, _, east, _ = shape.bounds
        if east - west > 180:
            # Both sides of the line, as GeoJSON has them (RFC 7946, 3.1.9).
            shape = shapely.transform(shape, lambda points: points + [360, 0] * (points[:, :1] < 0))
    west, south, east, north = shape.bounds
    if not all(map(math.isfinite, shape.bounds)) or min(west, 2 * south) < -180 or east > 540 or north > 90:
        raise CubeError(f"the area {(west, south, east, north)} is not in degrees: longitude first, then latitude")
    return shape


def projected(shape: BaseGeometry, epsg: int) -> BaseGeometry:
    """A geometry in degrees in another reference system.

    Raises:
        CubeError: That cannot show it.
    """
    import numpy

    shapely = _shapely()
    from pyproj import Transformer

    west, south, east, north = shape.bounds
    transformer = Transformer.from_crs("OGC:CRS84", epsg, always_xy=True)
    dense = shapely.segmentize(shape, max(east - west, north - south, 1e-9) / POINTS)
    made = shapely.transform(dense, lambda points: numpy.stack(transformer.transform(*points.T), 1))
    if not all(map(math.isfinite, made.bounds)):
        raise CubeError(
            f"the area is none that EPSG:{epsg} can show: are its coordinates in the order longitude, latitude?"
        )
    return made


def bounds_in(area: Area, epsg: int) -> Bounds:
    """The bounds of an area in a reference system; bounds that are no degrees are in it already.

    Raises:
        CubeError: It is no area.
    """
    if (bounds := _numbers(area)) is not None and (
        max(map(abs, bounds[::2])) > 540 or max(map(abs, bounds[1::2])) > 90
    ):
        _check_order(*bounds)
        return bounds
    west, south, east, north = projected(shape_of(area), epsg).bounds
    return west, south, east, north


def _check_order(west: float, south: float, east: float, north: float) -> None:
    """Refuses bounds whose ends are not in their order.

    Raises:
        CubeError: They are not.
    """
    if south > north or west > east:
        bounds = (west, south, east, north)
        raise CubeError(f"the area {bounds} has its bounds the wrong way round: west, south, east, north")


def _shapely() -> Any:
    """The library, which like pyproj is an extra.

    Raises:
        ImportError: One of both is missing.
    """
    try:
        import pyproj  # noqa: F401
        import shapely
    except ImportError as error:
        raise ImportError("an area in degrees needs shapely and pyproj: pip install 'vsitlm[load]'") from error
    return shapely


def _numbers(area: Area) -> Bounds | None:
    """The numbers of bounds; None for what is a geometry.

    Raises:
        CubeError: They are none.
    """
    if isinstance(area, (str, Mapping)) or hasattr(area, "__geo_interface__"):
        return None
    try:
        west, south, east, north = map(float, area)
    except (TypeError, ValueError) as error:
        raise CubeError(f"the area {area!r} is no bounds: west, south, east, north") from error
    if not all(map(math.isfinite, (west, south, east, north))):
        raise CubeError(f"the area {area!r} is no bounds: west, south, east, north")
    return west, south, east, north


def _document(area: Any) -> Mapping[str, Any]:
    """A geometry, feature or collection as GeoJSON has it.

    Raises:
        CubeError: It is none.
    """
    if isinstance(area, str):
        try:
            area = json.loads(area)
        except ValueError as error:
            raise CubeError(f"the area {area[:60]!r} is no GeoJSON") from error
    document = area if isinstance(area, Mapping) else area.__geo_interface__
    if not isinstance(document, Mapping):
        raise CubeError("the area is no GeoJSON object")
    return document


def _geometries(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The geometries of one, of a feature or of a collection of them."""
    if document.get("type") == "FeatureCollection":
        return [geometry for feature in document["features"] for geometry in _geometries(feature)]
    if document.get("type") == "Feature":
        return _geometries(document["geometry"] or {})
    return [document] if document else []
