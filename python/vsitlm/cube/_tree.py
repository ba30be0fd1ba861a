"""The tree of a store: groups as EOPF's products have them, with their levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._catalogue import REFLECTANCES
from ._grid import Grid
from ._layout import (
    CONVENTIONS,
    MULTISCALES,
    Layout,
    Terms,
    Wanted,
    add,
    bands_of,
    consolidated,
    georeferenced,
    put_group,
    shown,
)
from ._series import Catalogue

REFLECTANCE = "measurements/reflectance"


def tree(catalogue: Catalogue, bands: Sequence[str] | None, masks: bool, terms: Terms) -> Layout:
    """Groups as EOPF's products have them, and below them the levels that the files hold: those of the bands of 20 and
    60 m beside them (`r40m`, `r120m`), those of the bands of 10 m in a group of their own. A level at which the files
    of a group are not of one grid is left out: overviews of TIFFs whose sizes are rounded in another way. Levels at a
    third (`r360m`) no file holds.

    Raises:
        CubeError: A band that there is not, or an area outside the tile.
        UndecodedError: The core does not decode a file.
    """
    groups: dict[tuple[str, int], dict[str, Wanted]] = {}
    grids: dict[tuple[str, int], set[Grid]] = {}
    for band in bands_of(catalogue, bands):
        group, name = place_of(band)
        if group is None or (band.startswith("MSK_DETFOO") and not masks):
            continue
        for own in catalogue.own(band):
            for resolution, grid in _levels(catalogue, band, own, terms).items():
                of_level = f"{group}_10m" if (group, own) == (REFLECTANCE, 10) and resolution > own else group
                # Of several files the coarsest, which comes last.
                groups.setdefault((of_level, resolution), {})[name] = Wanted(band, own)
                grids.setdefault((of_level, resolution), set()).add(grid)
    made = Layout()
    scales: dict[str, dict[int, Grid]] = {}
    for (group, resolution), names in sorted(groups.items()):
        if len(grids[group, resolution]) == 1:
            grid = add(made, f"{group}/r{resolution}m/", catalogue, names, resolution, terms)
            scales.setdefault(group, {})[resolution] = grid
    for group, levels in scales.items():
        _scales(made, group, levels)
    for path in {parent for group in scales for parent in _parents(group)} - scales.keys():
        put_group(made, f"{path}/" if path else "", {}, {} if path else _of_root(catalogue, terms))
    return consolidated(made)


def _of_root(catalogue: Catalogue, terms: Terms) -> dict[str, Any]:
    """The attributes of a tree: where all of it lies."""
    finest = georeferenced(shown(catalogue.grid, terms)[1])
    kept = {name: finest[name] for name in ("zarr_conventions", "proj:code", "spatial:bbox")}
    return kept | {"Conventions": "CF-1.10", "mgrs_tile": catalogue.tile, "offset": terms.offset}


def _levels(catalogue: Catalogue, band: str, own: int, terms: Terms) -> dict[int, Grid]:
    """The resolutions of a band's files that a tree shows."""
    levels = catalogue.levels(band, own)
    if not terms.of_tiles:
        return levels
    files = [file for step in catalogue.steps for file in step.of(band) if file.resolution == own]
    alike = {(file.template, file.coding): file for file in files}.values()
    return {
        level: grid for level, grid in levels.items() if all(file.codec(level // own) is not None for file in alike)
    }


def _parents(group: str) -> list[str]:
    """The groups that a group is in."""
    parts = group.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts))]


def place_of(band: str) -> tuple[str | None, str]:
    """The group of a band in EOPF's layout, and its name there; no group for what has no place."""
    if band in REFLECTANCES:
        return REFLECTANCE, band.lower()
    for prefix, group in (("MSK_DETFOO_", "detector_footprint"), ("MSK_QUALIT_", "quality")):
        if band.startswith(prefix):
            return f"conditions/mask/{group}", band.removeprefix(prefix).lower()
    return {
        "SCL": ("conditions/mask/l2a_classification", "scl"),
        "MSK_CLDPRB": ("conditions/mask/probability", "cld"),
        "MSK_SNWPRB": ("conditions/mask/probability", "snw"),
        "AOT": ("quality/atmosphere", "aot"),
        "WVP": ("quality/atmosphere", "wvp"),
    }.get(band, (None, band))


def _scales(made: Layout, group: str, levels: Mapping[int, Grid]) -> None:
    """Puts a group of levels into `made`, with what says how they follow from each other."""
    entries = []
    for resolution, grid in levels.items():
        entry: dict[str, Any] = {"asset": f"r{resolution}m", "spatial:shape": [grid.height, grid.width]}
        entry["spatial:transform"] = list(grid.transform)
        # That of 20 m has other bands than that of 10 m.
        if resolution // 2 in levels and (group, resolution) != (REFLECTANCE, 20):
            pairs = zip(reversed(grid.pixel), reversed(levels[resolution // 2].pixel), strict=True)
            # GDAL's convention: the first pixel of a level begins where the image does.
            finer = {"scale": [coarse / fine for coarse, fine in pairs], "translation": [0.0, 0.0]}
            entry |= {"derived_from": f"r{resolution // 2}m", "transform": finer}
        entries.append(entry)
    attributes = georeferenced(next(iter(levels.values())))
    attributes |= {"zarr_conventions": [*CONVENTIONS, MULTISCALES], "multiscales": {"layout": entries}}
    put_group(made, f"{group}/", {}, attributes)
