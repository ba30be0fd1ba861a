#!/usr/bin/env python3
"""What indexing takes of requests, bytes, hours and money: a tile, a country and the archive, at the archives' quotas.

    scale.py [--check | --write]

Prints the tables of docs/scale.md, a small model computed with pure functions. With --write they replace what stands
between the marker lines of that file; --check fails where the document says something else than the model.
The assumptions stand at the top; the document names their sources.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[1] / "docs/scale.md"
KB, MB, GB, TB, PB = (10.0**power for power in (3, 6, 9, 12, 15))
HOUR, DAY, YEAR = 3600.0, 86400.0, 365.25 * 86400.0
"""Seconds."""

HEAD = 4 * KB
"""The first read of a file: its boxes, its main header and the first tile-part's."""
HOP = 1 * KB
"""A read at a tile-part's start: SOT and PLT."""
STREAM = 1.5 * MB
"""A read of a file that is read from end to end."""
CHAINS = 16
"""Places of a file where resync starts."""
BLOCK = 256 * KB
"""What resync reads at once to find the next tile-part."""
ROW = 150
"""Bytes of an index row besides its tile-parts, many rows being alike."""
SMALL = 64 * KB
"""A tile-part of fewer bytes takes fewer digits."""
ROW_SMALL, ROW_LARGE = 10, 17
"""Bytes that a tile-part takes of a row."""
EMBEDDED = 0.007
"""Share of a file that `--embed-overviews 16` puts into its row."""


@dataclass(frozen=True)
class Cost:
    """What is asked of an archive."""

    requests: float = 0
    bytes: float = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.requests + other.requests, self.bytes + other.bytes)

    def __mul__(self, times: float) -> Cost:
        return Cost(self.requests * times, self.bytes * times)


@dataclass(frozen=True)
class Files:
    """The files of a product that are alike."""

    name: str
    count: int
    size: float
    """Bytes."""
    tile_parts: int


@dataclass(frozen=True)
class Product:
    """The JP2s of a product, each band at its best resolution."""

    name: str
    files: tuple[Files, ...]

    @property
    def count(self) -> int:
        """How many files it has."""
        return sum(files.count for files in self.files)

    @property
    def size(self) -> float:
        """Bytes of all of them."""
        return sum(files.count * files.size for files in self.files)

    @property
    def tile_parts(self) -> int:
        """Tile-parts of all of them."""
        return sum(files.count * files.tile_parts for files in self.files)


TCI = Files("TCI, before N0512", 1, 60 * MB, 1849)
BANDS_10M = Files("B02, B03, B04, B08", 4, 100 * MB, 121)
BANDS_20M = Files("B05, B06, B07, B8A, B11, B12", 6, 20 * MB, 81)
L2A = Product(
    "L2A",
    (
        BANDS_10M,
        Files("WVP", 1, 18 * MB, 121),
        Files("AOT", 1, 0.4 * MB, 121),
        TCI,
        BANDS_20M,
        Files("B01", 1, 12 * MB, 81),
        Files("SCL", 1, 1.1 * MB, 81),
        Files("B09", 1, 2.7 * MB, 100),
    ),
)
L1C = Product("L1C", (BANDS_10M, TCI, BANDS_20M, Files("B01, B09, B10", 3, 2.7 * MB, 100)))


@dataclass(frozen=True)
class Archive:
    """An archive's quotas, those of one account or address, and what it costs."""

    name: str
    connections: int
    bandwidth: float
    """Bytes a second of all connections together."""
    round_trip: float
    """Seconds until the first byte of an answer."""
    requests_per_minute: float = math.inf
    bytes_per_month: float = math.inf
    """Bytes within 30 days."""
    per_request: float = 0
    """Dollars of a GET."""
    per_listing: float = 0
    """Dollars of a request that lists."""
    per_byte: float = 0
    """Dollars of a byte that leaves the archive's region."""
    spreads: bool = True
    """Whether a second machine has quotas of its own."""


CDSE = Archive("CDSE", 4, 4 * 20 * MB, 0.05, requests_per_minute=2000, bytes_per_month=12 * TB, spreads=False)
GOOGLE = Archive("Google", 32, 100 * MB, 0.05)
AWS = Archive("AWS", 64, 500 * MB, 0.1, per_request=0.43e-6, per_listing=5.4e-6, per_byte=0.09 / GB)
ARCHIVES = (CDSE, GOOGLE, AWS)
MACHINE = 0.10
"""Dollars an hour of a machine with two processors."""
STORED = 0.0245 / GB
"""Dollars of a byte kept for a month in an object store."""
PUT = 5.4e-6
"""Dollars of a PUT."""


@dataclass(frozen=True)
class Extent:
    """How much is indexed, in products."""

    name: str
    l2a: float
    l1c: float = 0
    tiles: float = 1
    years: float = 1

    @property
    def parts(self) -> tuple[tuple[Product, float], ...]:
        """The products and how many there are of each."""
        return ((L2A, self.l2a), (L1C, self.l1c))

    @property
    def products(self) -> float:
        """Products of both levels."""
        return self.l2a + self.l1c

    @property
    def rows(self) -> float:
        """Files, and so rows of the index."""
        return sum(product.count * count for product, count in self.parts)

    @property
    def size(self) -> float:
        """Bytes of the files."""
        return sum(product.size * count for product, count in self.parts)


PER_YEAR = 146
"""Products of a tile, of one level: two satellites every five days, by two orbits."""
TILE_YEAR = Extent("a tile, a year", PER_YEAR)
TILE = Extent("a tile, all years", PER_YEAR * 11, years=11)
COUNTRY = Extent("Germany, a year", PER_YEAR * 60, tiles=60)
ARCHIVE = Extent("the archive, L2A and L1C", 40e6, 40e6, tiles=25_000, years=11)
ANEW = Extent("what comes in anew, a day", 10_000, 10_000, tiles=10_000)
EXTENTS = (TILE_YEAR, TILE, COUNTRY, ANEW, ARCHIVE)

Strategy = Callable[[Files], Cost]


def hop(files: Files) -> Cost:
    """The header, then a small request for each further tile-part."""
    return Cost(files.tile_parts, HEAD + (files.tile_parts - 1) * HOP)


def stream(files: Files) -> Cost:
    """All of the file, in large requests."""
    return Cost(math.ceil(files.size / STREAM), files.size)


def resync(files: Files) -> Cost:
    """Hops from several places at once; to find the tile-part behind each, half a tile-part is read, in blocks.

    No more places than leave eight tile-parts to each: beyond that finding costs more than hopping.
    """
    chains = min(CHAINS, files.tile_parts // 8)
    part = files.size / files.tile_parts
    blocks = part / 2 / BLOCK + 0.5
    return hop(files) + Cost(math.ceil(blocks), math.ceil(blocks) * min(BLOCK, part)) * (chains - 1)


STRATEGIES: dict[str, Strategy] = {"hop": hop, "resync": resync, "stream": stream}


def working(cost: Cost, archive: Archive) -> float:
    """Seconds in which an archive's connections, all of them busy, ask and fetch that much."""
    return cost.requests * archive.round_trip / archive.connections + cost.bytes / archive.bandwidth


def limit(cost: Cost, archive: Archive) -> tuple[float, str]:
    """Seconds that a cost takes where many files are under way, and which of the quotas makes it so."""
    told = {
        "connections": working(cost, archive),
        "requests a minute": cost.requests / archive.requests_per_minute * 60,
        # The first month's bytes can be fetched at once.
        "bytes a month": max(0.0, cost.bytes / archive.bytes_per_month - 1) * 30 * DAY,
    }
    name = max(told, key=lambda each: told[each])
    return told[name], name


def cheapest(files: Files, archive: Archive) -> Strategy:
    """What `--strategy auto` comes to, which knows round trips and bandwidth, but no quota of a minute or a month."""
    return min(STRATEGIES.values(), key=lambda strategy: working(strategy(files), archive))


def product_cost(product: Product, archive: Archive, strategy: str) -> Cost:
    """A product's files, and a request that finds them."""
    total = Cost(1, 2 * KB)
    for files in product.files:
        chosen = cheapest(files, archive) if strategy == "auto" else STRATEGIES[strategy]
        total += chosen(files) * files.count
    return total


def extent_cost(extent: Extent, archive: Archive, strategy: str) -> Cost:
    """All products of an extent."""
    return sum((product_cost(product, archive, strategy) * count for product, count in extent.parts), Cost())


def price(extent: Extent, cost: Cost, archive: Archive, abroad: bool, seconds: float) -> float:
    """Dollars: requests, the machine while it runs, and bytes that leave the region if it stands `abroad`."""
    listings = extent.products
    asked = (cost.requests - listings) * archive.per_request + listings * archive.per_listing
    return asked + (cost.bytes * archive.per_byte if abroad else 0) + seconds / HOUR * MACHINE


def row_bytes(files: Files) -> float:
    """Bytes of a row of the index."""
    part = ROW_SMALL if files.size / files.tile_parts < SMALL else ROW_LARGE
    return ROW + part * files.tile_parts


def index_bytes(extent: Extent) -> float:
    """Bytes of the index of an extent."""
    return sum(
        sum(row_bytes(files) * files.count for files in product.files) * count for product, count in extent.parts
    )


def scaled(value: float, units: Iterable[tuple[float, str]]) -> str:
    """A value with two or three digits that count, in the largest of the units that fits; units go down."""
    units = list(units)
    size, unit = next((each for each in units if value >= each[0] * 0.9995), units[-1])
    value /= size
    return f"{value:,.0f} {unit}" if value >= 99.5 else f"{value:.2g} {unit}" if value < 10 else f"{value:.0f} {unit}"


def volume(value: float) -> str:
    """Bytes, for people."""
    return scaled(value, [(PB, "PB"), (TB, "TB"), (GB, "GB"), (MB, "MB"), (KB, "kB")])


def duration(seconds: float) -> str:
    """Seconds, for people."""
    return scaled(seconds, [(YEAR, "years"), (DAY, "days"), (HOUR, "h"), (60, "min"), (1, "s")])


def count(value: float) -> str:
    """A number of things, for people."""
    return scaled(value, [(1e9, "billion"), (1e6, "million"), (1, "")]).strip() if value >= 1e6 else f"{value:,.0f}"


def money(value: float) -> str:
    """Dollars, for people."""
    if value < 0.01:
        return "< $0.01"
    return f"${value:,.2f}" if value < 10 else f"${value:,.0f}" if value < 1e4 else f"${float(f'{value:.2g}'):,.0f}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def files_table() -> str:
    """What a product's files cost by each strategy."""
    rows = []
    for product in (L2A, L1C):
        for files in product.files:
            costs = [strategy(files) for strategy in STRATEGIES.values()]
            told = [f"{cost.requests:,.0f}, {volume(cost.bytes)}" for cost in costs]
            rows.append(
                [product.name, files.name, f"{files.count}", volume(files.size), f"{files.tile_parts:,}", *told]
            )
        costs = [sum((each(files) * files.count for files in product.files), Cost()) for each in STRATEGIES.values()]
        told = [f"{cost.requests:,.0f}, {volume(cost.bytes)}" for cost in costs]
        rows.append(
            [
                "",
                f"**all of {product.name}**",
                f"{product.count}",
                volume(product.size),
                f"{product.tile_parts:,}",
                *told,
            ]
        )
    return table(["", "files", "number", "size of one", "tile-parts", "hop", "resync", "stream"], rows)


def one_file_table() -> str:
    """How long one 100 MB band takes, when nothing else is under way."""
    rows = []
    for archive in ARCHIVES:
        band = BANDS_10M
        chains = min(CHAINS, archive.connections)
        found = resync(band)
        requests = math.ceil(found.requests / chains)
        told = [
            hop(band).requests * archive.round_trip,
            requests * archive.round_trip + found.bytes / archive.bandwidth,
            working(stream(band), archive),
        ]
        rows.append([archive.name, *map(duration, told)])
    return table(["one 10 m band of 100 MB", *STRATEGIES], rows)


def archive_table(archive: Archive) -> str:
    """What each extent costs by each strategy, on one machine."""
    rows = []
    for extent in EXTENTS:
        for strategy in [*STRATEGIES, "auto"]:
            cost = extent_cost(extent, archive, strategy)
            seconds, why = limit(cost, archive)
            paid = [money(price(extent, cost, archive, abroad, seconds)) for abroad in (False, True)]
            too_slow = seconds > (DAY if extent is ANEW else YEAR)
            if too_slow and not archive.spreads:
                paid = ["infeasible"]
            rows.append(
                [extent.name, strategy, count(cost.requests), volume(cost.bytes), duration(seconds), why]
                + (paid if archive.per_byte else paid[:1])
            )
    head = ["what", "strategy", "requests", "bytes", "time", "bound by"]
    return table(head + (["in the region", "from outside"] if archive.per_byte else ["a machine"]), rows)


def machines_table() -> str:
    """The archive by many machines, where machines help."""
    rows = []
    for archive in (GOOGLE, AWS):
        cost = extent_cost(ARCHIVE, archive, "auto")
        seconds, _ = limit(cost, archive)
        for machines in (16, 64, 256):
            rate = cost.requests / (seconds / machines)
            paid = money(price(ARCHIVE, cost, archive, False, seconds))
            rows.append([archive.name, f"{machines:,}", duration(seconds / machines), f"{rate:,.0f}", paid])
    return table(["archive", "machines", "time", "requests a second", "cost"], rows)


def keep_table() -> str:
    """What the index costs to keep."""
    rows = []
    for extent in (TILE_YEAR, TILE, COUNTRY, ARCHIVE):
        size = index_bytes(extent)
        levels = sum(1 for _, products in extent.parts if products)
        shards = extent.tiles * extent.years * levels
        embedded = size + EMBEDDED * extent.size
        rows.append(
            [
                extent.name,
                count(extent.rows),
                f"{size / extent.rows / KB:.1f} kB",
                volume(size),
                count(shards),
                volume(size / shards),
                money(shards * PUT),
                money(size * STORED),
                volume(embedded),
                money(embedded * STORED),
            ]
        )
    head = ["what", "rows", "a row", "bytes", "shards", "a shard", "writing", "keeping, a month"]
    return table([*head, "with overviews of 1/16", "keeping, a month"], rows)


def ask_table() -> str:
    """What a look-up costs its reader at an index on AWS."""
    rows = []
    for name, requests, size in (
        ("cold, on the partition layout", 2, 1.2 * MB),
        ("cold, in one file of a million rows", 4, 1.0 * MB),
        ("the next band or date in what was read", 0, 0.0),
    ):
        inside, outside = requests * AWS.per_request, requests * AWS.per_request + size * AWS.per_byte
        told = [f"${each * 1e6:,.0f}" for each in (inside, outside)]
        rows.append([name, f"≤ {requests}" if requests else "0", volume(size) if size else "0", *told])
    return table(["look-up", "requests", "at most", "a million of them, in the region", "from outside"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "files": files_table,
    "one file": one_file_table,
    "CDSE": lambda: archive_table(CDSE),
    "Google": lambda: archive_table(GOOGLE),
    "AWS": lambda: archive_table(AWS),
    "machines": machines_table,
    "keep": keep_table,
    "ask": ask_table,
}
MARKED = re.compile(r"(<!-- scale: ([\w ]+): begin -->\n)(.*?)(<!-- scale: \2: end -->)", re.DOTALL)


def filled(text: str) -> str:
    """The document with the model's tables between its marker lines."""
    names = [match[2] for match in MARKED.finditer(text)]
    if sorted(names) != sorted(TABLES):
        raise ValueError(f"the document marks the tables {names}; the model has {list(TABLES)}: each stands there once")
    return MARKED.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}\n{match[4]}", text)


def main() -> int:
    """Prints, checks or writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="fail where the document differs from the model")
    what.add_argument("--write", action="store_true", help="put the tables into the document")
    parser.add_argument("--document", type=Path, default=DOCUMENT, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not (arguments.check or arguments.write):
        print("\n\n".join(make() for make in TABLES.values()))
        return 0
    text = arguments.document.read_text()
    made = filled(text)
    if arguments.write:
        arguments.document.write_text(made)
    elif made != text:
        print(f"{arguments.document} differs from the model: run scripts/scale.py --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
