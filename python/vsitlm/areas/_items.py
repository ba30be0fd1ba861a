"""The files of STAC items."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .._errors import CubeError
from .._path import is_tiff_name
from ._bands import RENAMED, names_of
from ._files import File, of_item

_PRODUCT = re.compile(r"S2[A-Z]_MSI(L\w\w)_(\d{8}T\d{6})_N(\d\d)(\d\d)_R\d{3}_T(\d\d[A-Z]{3})_\d{8}T\d{6}")
_ODATA = re.compile(r"^https?://[^/]+/odata/v1/")
_ODATA_FILE = re.compile(r"Nodes\((?:T\d\d[A-Z]{3}_\d{8}T\d{6}_)?([^()]+)\.jp2\)")
_CLOSED = re.compile(r"^https?://([^/]+/odata/v1/|landsatlook\.usgs\.gov/)")
"""Services that give no ranges, or none to programs: CDSE's OData, and USGS's, which demands a login."""

_FILE = re.compile(r"(?:^|[/_(])(B\d\d|B8A|SCL|AOT|WVP|MSK_CLDPRB|CLD)(?:_(\d+)m)?\.(?:jp2|(?i:tiff?))\b")
_LANDSAT_FILE = re.compile(r"(?:^|/)(L[COTEM]\d\d_L\d\w\w_\d{6}_\d{8}_\d{8}_\d\d_(?:T1|T2|RT))_(\w+)\.(?i:tiff?)$")
_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
"""What Earth Search says of the offset of its COGs, in its versions 1 and 0."""
_BASELINE = re.compile(r"\d\d\.\d\d")
_TILE = re.compile(r"(?:MGRS-|T)?(\d{1,2})([A-Z]{3})")
_PREVIEWS = {"thumbnail", "overview", "preview", "visual"}
"""What assets are called, or have as a role, that show an item and are no data of it."""


def of_items(items: Iterable[Any], touches: Callable[[str, Any], bool]) -> Iterator[File]:
    """The JP2s and TIFFs of STAC items: objects of pystac, or their dicts; of those alone whose tile, or else bbox,
    `touches`. What they say of projections is not taken: it is wrong too often, and the files say it themselves.
    """
    for item in items:
        told: Mapping[str, Any] = item if isinstance(item, Mapping) else item.to_dict(include_self_link=False)
        properties = told.get("properties") or {}
        for key, asset in (told.get("assets") or {}).items():
            href = _href(asset or {})
            if (named := _named(href.partition("?")[0], key, asset or {})) is None:
                continue
            scene, band, common = named
            uris = [properties.get("s2:product_uri") or "", href.partition("?")[0], str(told.get("id"))]
            product = None if scene else next((found for uri in uris if (found := _PRODUCT.search(uri))), None)
            sensed = _sensed(properties, product)
            baseline = str(properties.get("s2:processing_baseline") or properties.get("processing:version") or "")
            if product is not None:
                baseline = f"{product[3]}.{product[4]}"
            code = product[5] if product else str(properties.get("s2:mgrs_tile") or properties.get("grid:code") or "")
            tile = f"{int(found[1]):02}{found[2]}" if (found := _TILE.fullmatch(code)) else ""
            if not touches(tile, told.get("bbox")):
                break
            name = scene or (product[0] if product else str(told.get("id")))
            cover = properties.get("eo:cloud_cover")
            baseline = baseline if _BASELINE.fullmatch(baseline) else ""
            yield of_item(
                name, tile, sensed, band, names_of(name, band) | common, baseline,
                _location(href, product), next((properties[name] for name in _APPLIED if name in properties), None),
                None if cover is None else float(cover), told.get("bbox"),
            )  # fmt: skip


def _named(path: str, key: str, asset: Mapping[str, Any]) -> tuple[str, str, frozenset[str]] | None:
    """What an asset's file holds: the scene of Landsat, or nothing; the band; and names of it beside those that are
    known of the band. None where it is no file that is wanted.
    """
    if (scene := _LANDSAT_FILE.search(path)) is not None:
        return scene[1], scene[2].upper(), frozenset({key.upper()})
    if (file := _FILE.search(path)) is not None:
        return "", RENAMED.get(file[1], file[1]), frozenset()
    roles = {key, *(asset.get("roles") or ())}
    bands = asset.get("bands") or asset.get("eo:bands") or []
    if not is_tiff_name(path) or roles & _PREVIEWS or len(bands) > 1:
        return None
    common = [band.get("eo:common_name") or band.get("common_name") for band in bands]
    return "", key, frozenset(name.upper() for name in common if name)


def _sensed(properties: Mapping[str, Any], product: re.Match[str] | None) -> dt.datetime:
    """When an item was sensed; the name of a product says it for sure, and for both parts of a datatake alike."""
    if product is not None:
        return dt.datetime.strptime(product[2], "%Y%m%dT%H%M%S").replace(tzinfo=dt.timezone.utc)
    text = properties.get("datetime") or properties.get("start_datetime")
    if not text:
        raise CubeError("a STAC item that has neither a time nor the name of a product")
    return dt.datetime.fromisoformat(_fraction(str(text).replace("Z", "+00:00")))


def _fraction(text: str) -> str:
    """A time with a fraction of six digits, as Python before 3.11 wants it: Landsat's have seven."""
    return re.sub(r"\.(\d+)", lambda digits: f".{digits[1][:6]:0<6}", text)


def _href(asset: Mapping[str, Any]) -> str:
    """Where an asset lies: in an object store rather than behind a service that serves no ranges."""
    hrefs = [asset.get("href") or ""]
    hrefs += [other.get("href") or "" for other in (asset.get("alternate") or {}).values() if other]
    return next((href for href in hrefs if href and not _CLOSED.search(href)), hrefs[0])


def _location(href: str, product: re.Match[str] | None) -> str:
    """Where the core looks for what an href names: that, without the prefixes of GDAL's that some catalogues write
    before it; for one of OData the name of the product and the band, which is looked for in `VSITLM_STORE`.
    """
    if _ODATA.search(href) and product is not None and (name := _ODATA_FILE.search(href)):
        return f"{product[0]}/{name[1]}"
    return re.sub(r"^/vsicurl/(?=https?://)", "", href)


def items_in(path: str) -> list[Mapping[str, Any]]:
    """The items of a JSON document: an item, or a collection of items."""
    document = json.loads(read_bytes(path))
    return document["features"] if document.get("type") == "FeatureCollection" else [document]


def read_bytes(path: str) -> bytes:
    """A document that lies here or on the web."""
    if path.startswith(("http://", "https://")):
        import urllib.request

        with urllib.request.urlopen(path, timeout=60) as reply:
            told: bytes = reply.read()
            return told
    return Path(path).read_bytes()
