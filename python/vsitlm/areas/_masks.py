"""Masks: which pixels of a result are no data, by what the products say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._errors import CubeError
from ..cube._catalogue import REFLECTANCES

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCL_KEPT = (2, 4, 5, 6, 7, 11)
"""Classes of the scene classification that the mask "scl" keeps: dark, vegetation, bare, water, unclassified, snow."""

SATURATED = 65535
"""The digital number of a saturated pixel."""

NAMES = {"scl": "SCL", "cloud_probability": "MSK_CLDPRB", "qa_pixel": "QA_PIXEL", "saturated": None}
"""Masks, and the bands that they are made of."""

FILLS = {"SCL": 0, "MSK_CLDPRB": 255, "QA_PIXEL": 1}
"""What stands in these bands where a product has none: what hides the pixel."""

TYPES = {"SCL": "uint8", "MSK_CLDPRB": "uint8", "QA_PIXEL": "uint16"}
"""Of their samples."""

QA_HIDDEN = 0b11111
"""Bits of QA_PIXEL that the mask "qa_pixel" hides: fill, dilated cloud, cirrus, cloud, cloud shadow."""


def of_landsat(band: str) -> bool:
    """Whether a mask's band is one of Landsat's, rather than of Sentinel-2's: it hides its products alone."""
    return band == "QA_PIXEL"


@dataclass(frozen=True)
class Masks:
    """What is masked."""

    names: tuple[str, ...] = ()
    keep: tuple[int, ...] = SCL_KEPT
    """Classes of SCL."""
    clouds: float = 50
    """The cloud probability up to which a pixel is kept, in percent."""

    @property
    def fills(self) -> dict[str, int]:
        """The bands that are read for them, with what stands where a product has none."""
        return {band: FILLS[band] for name in self.names if (band := NAMES[name]) is not None}

    def apply(
        self,
        made: Mapping[str, NDArray[Any]],
        bands: Mapping[str, str],
        read: Mapping[str, NDArray[Any]],
        are_landsat: Sequence[bool],
    ) -> None:
        """Makes no data of what is hidden in variables, whose bands are given, by what was read of `fills`: at the
        times whose products a mask is of.
        """
        import numpy

        for band, values in read.items():
            if band == "SCL":
                hidden = ~numpy.isin(values, self.keep)
            else:
                hidden = (values & QA_HIDDEN) != 0 if band == "QA_PIXEL" else values > self.clouds
            hidden[[one != of_landsat(band) for one in are_landsat]] = False
            for name, array in made.items():
                if bands[name] not in read:
                    array[hidden] = 0

    def without_saturated(self, pixels: NDArray[Any], band: str) -> NDArray[Any]:
        """Pixels of a file, of which saturated ones are no data where that is asked for."""
        if "saturated" not in self.names or band not in REFLECTANCES:
            return pixels
        import numpy

        return numpy.where(pixels == SATURATED, pixels.dtype.type(0), pixels)


def masks_of(mask: str | Sequence[str] | None, keep: Sequence[int], clouds: float) -> Masks:
    """Masks as they are asked for.

    Raises:
        CubeError: They are none.
    """
    names = () if mask is None else (mask,) if isinstance(mask, str) else tuple(mask)
    if unknown := [name for name in names if name not in NAMES]:
        raise CubeError(f"mask is one of {', '.join(map(repr, NAMES))}, several of them, or None, not {unknown[0]!r}")
    if not 0 <= clouds <= 100:
        raise CubeError(f"the cloud probability that is kept is 0 to 100 percent, not {clouds}")
    return Masks(names, tuple(keep), clouds)
