#!/usr/bin/env python3
"""Shows what a remote JP2 costs through /vsitlm/ and through its peers: a table, the same as a picture, and the scene.

    demo.py --plugin FOLDER --vsitlm COMMAND [--file X.jp2] [--png target/demo.png] [--scene target/scene.jpg]

Without --file it makes a JP2 like a 10 m band of Sentinel-2 (sample.py). The JP2 is served over HTTP by this machine
with injected round trips, and read by new processes (measure.py); the COG with the same pixels is made, too.

Needs rasterio; and matplotlib for the picture, which is left out where there is none.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

import sample
from measure import COG, LOCAL, PLAIN, SPARSE, VSITLM, Case, Codestream, Measurement, Reading

COG_NAME = "cog.tif"
SCENE_FACTOR = 16
"""The coarsest overview of a Sentinel-2 band."""


class Row:
    """One line of the table: what a peer took for a case, the median of several reads."""

    def __init__(self, case: str, peer: str, readings: list[Reading], pixels: str) -> None:
        self.case = case
        self.peer = peer
        self.seconds = median(reading.seconds for reading in readings)
        self.requests = readings[-1].requests
        self.bytes = readings[-1].bytes
        self.identical = all(reading.pixels == pixels for reading in readings)
        self.own = False
        """Whether other pixels are right: overviews of a COG are made otherwise."""


def size(count: float) -> str:
    """A number of bytes to be read by people."""
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def cases(stream: Codestream) -> list[Case]:
    """The windows: inside a tile (or more of them, where tiles are smaller than the window), and over four."""
    tile = min(stream.tile_width, stream.tile_height)
    across = stream.across(min(512, tile))
    scene = (-(-stream.height // SCENE_FACTOR), -(-stream.width // SCENE_FACTOR))
    return [
        *(Case(f"{px} px{' in one tile' if px <= tile else ''}", stream.inside(px)) for px in (64, 512)),
        Case(f"{across[2]} px over four tiles", across, {"GDAL_NUM_THREADS": "4"}),
        Case(f"the whole scene at {scene[1]} px", None, shape=scene),
    ]


def measured(measurement: Measurement, name: str, repeat: int, quiet: bool) -> list[Row]:
    """All rows, with a line of progress for each read unless `quiet`. The pixels of the scene are kept, by peer."""
    peers = [PLAIN, SPARSE, COG] + ([VSITLM] if measurement.plugin else [])
    rows = []
    for case in cases(measurement.codestreams[name]):
        pixels = measurement.read(measurement.peer(LOCAL, name), case).pixels
        for kind in peers:
            peer = measurement.peer(kind, COG_NAME if kind == COG else name)
            keep = kept_scene(measurement, kind) if case.shape else None
            row = Row(case.name, kind, [measurement.read(peer, case, keep=keep) for _ in range(repeat)], pixels)
            row.own = kind == COG and case.shape is not None
            rows.append(row)
            if not quiet:
                print(f"  {case.name}, {kind}: {row.seconds:.2f} s", flush=True)
    return rows


def kept_scene(measurement: Measurement, kind: str) -> Path:
    """Where the pixels of the scene are kept that a peer has read."""
    return measurement.folder / f"{kind.strip('/').replace('/', '')}.npy"


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    lines = [("", "", "seconds", "requests", "bytes", "pixels")]
    for row in rows:
        first = not any(row.case == line[0] for line in lines)
        pixels = "identical" if row.identical else "its own" if row.own else "WRONG"
        cells = (f"{row.seconds:.2f}", str(row.requests), size(row.bytes), pixels)
        lines.append((row.case if first else "", row.peer, *cells))
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    text = []
    for line in lines:
        if line[0]:
            text.append("")
        left = [line[column].ljust(widths[column]) for column in (0, 1)]
        text.append("  ".join([*left, *(line[column].rjust(widths[column]) for column in range(2, 6))]).rstrip())
    return "\n".join(text)


def draw(rows: list[Row], title: str, png: Path) -> bool:
    """Draws the rows as bars with their numbers; False where matplotlib is missing."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return False
    colours = {PLAIN: "#c9ced6", SPARSE: "#9aa5b4", COG: "#6f7d90", VSITLM: "#0b7a75"}
    names = list(dict.fromkeys(row.case for row in rows))
    longest = max(row.seconds for row in rows)
    figure, axes = pyplot.subplots(len(names), 1, figsize=(10, 0.6 + 1.75 * len(names)), sharex=True)
    for axis, name in zip(axes, names, strict=True):
        of_case = [row for row in rows if row.case == name]
        for at, row in enumerate(of_case):
            ours = row.peer == VSITLM
            style = {"fontsize": 10.5, "va": "center", "fontweight": "bold" if ours else "normal"}
            axis.barh(at, row.seconds, height=0.72, color=colours[row.peer])
            pixels = "" if row.identical or row.own else ", WRONG PIXELS"
            plural = "request" if row.requests == 1 else "requests"
            label = f"{row.seconds:.2f} s   {row.requests} {plural}, {size(row.bytes)}{pixels}"
            axis.text(row.seconds + longest * 0.012, at, label, color="#1d2733", **style)
            axis.text(-longest * 0.012, at, row.peer, ha="right", color=colours[VSITLM] if ours else "#1d2733", **style)
        axis.set_title(name, loc="left", fontsize=11.5, fontweight="bold", color="#1d2733")
        axis.set_xlim(0, longest * 1.36)
        axis.invert_yaxis()
        axis.axis("off")
    figure.suptitle(title, x=0.015, ha="left", fontsize=12, color="#4a5563")
    figure.tight_layout(rect=(0.012, 0, 1, 0.985))
    png.parent.mkdir(parents=True, exist_ok=True)
    with sample.written_whole(png) as draft:
        figure.savefig(draft, dpi=160, format="png", facecolor="white")
    return True


def draw_scene(rows: list[Row], measurement: Measurement, title: str, jpg: Path) -> bool:
    """Draws the scene as plain GDAL and as /vsitlm/ give it, with what it took; False where matplotlib is missing."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import numpy
        from matplotlib import pyplot
    except ImportError:
        return False
    drawn = [row for row in rows if row.case == rows[-1].case and row.peer in (PLAIN, VSITLM)]
    figure, axes = pyplot.subplots(1, len(drawn), figsize=(5.2 * len(drawn), 6), squeeze=False)
    for axis, row in zip(axes[0], drawn, strict=True):
        pixels = numpy.load(kept_scene(measurement, row.peer)).astype(numpy.float32)
        low, high = numpy.percentile(pixels, (2, 98))
        shown = numpy.clip((pixels - low) / max(high - low, 1), 0, 1)
        axis.imshow(numpy.moveaxis(shown, 0, -1) if len(shown) == 3 else shown[0], cmap="gray")
        caption = f"{row.peer}\n{row.seconds:.2f} s   {row.requests} requests   {size(row.bytes)}"
        colour = "#0b7a75" if row.peer == VSITLM else "#1d2733"
        axis.set_title(caption, fontsize=12.5, fontweight="bold" if row.peer == VSITLM else "normal", color=colour)
        axis.axis("off")
    figure.suptitle(title, x=0.015, ha="left", fontsize=11, color="#4a5563")
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    jpg.parent.mkdir(parents=True, exist_ok=True)
    with sample.written_whole(jpg) as draft:
        figure.savefig(draft, dpi=90, format="jpg", facecolor="white", pil_kwargs={"quality": 85})
    return True


def served_path(jp2: Path) -> str:
    """The path a JP2 is served under: from its product's folder on, where it lies in one."""
    product = next((folder for folder in jp2.parents if folder.suffix == ".SAFE"), jp2.parent / "x")
    return str(jp2.relative_to(product.parent))


def main() -> int:
    """The command line; 0 when all pixels are right, 1 when some are not."""
    parser = argparse.ArgumentParser(description="reads windows of a remote JP2 through /vsitlm/ and its peers")
    parser.add_argument("--plugin", type=Path, help="folder of gdal_vsitlm.so; without it, only the peers are read")
    parser.add_argument("--vsitlm", type=Path, help="the command vsitlm, to make the index with")
    parser.add_argument("--file", type=Path, help="a JP2 of your own (default: one made to the Sentinel-2 profile)")
    parser.add_argument("--folder", type=Path, default=Path("target/sample"), help="where made files are kept")
    parser.add_argument("--png", type=Path, default=Path("target/demo.png"), help="where to draw the table")
    parser.add_argument("--scene", type=Path, default=Path("target/scene.jpg"), help="where to draw the scene")
    parser.add_argument("--rtt-ms", type=float, default=50, help="round trip of the server in milliseconds")
    parser.add_argument("--repeat", type=int, default=3, help="reads of each kind; the table has the medians")
    parser.add_argument("--small", action="store_true", help="make a JP2 2500 px wide instead of 10980")
    parser.add_argument("--json", action="store_true", help="print the table as JSON, and nothing else")
    arguments = parser.parse_args()
    if (arguments.plugin is None) != (arguments.vsitlm is None):
        parser.error("--plugin and --vsitlm go together")

    def say(text: str) -> None:
        if not arguments.json:
            print(text, flush=True)

    start = time.monotonic()
    if arguments.file:
        jp2 = arguments.file.resolve(strict=True)
        say(f"Making a COG of {jp2.name} to compare with (kept in {arguments.folder})")
        cog = sample.make_cog(jp2, arguments.folder / f"{jp2.stem}-{jp2.stat().st_size}.tif")
    else:
        say(f"Making a JP2 like a 10 m band of Sentinel-2, and its COG (once, about a minute; in {arguments.folder})")
        jp2, made = sample.make(arguments.folder, arguments.small)
        assert made
        cog, jp2 = made, jp2.resolve()
    name = served_path(jp2)
    say(f"Serving {jp2.name} ({size(jp2.stat().st_size)}) with round trips of {arguments.rtt_ms:g} ms; reading")
    with Measurement({name: jp2}, {COG_NAME: cog}, arguments.plugin, arguments.vsitlm, arguments.rtt_ms) as measurement:
        rows = measured(measurement, name, arguments.repeat, arguments.json)
        scene = draw_scene(rows, measurement, f"{jp2.name}, {rows[-1].case}", arguments.scene)
    if arguments.json:
        print(json.dumps([vars(row) for row in rows], indent=2))
    else:
        print(f"\n{table(rows)}\n")
    title = f"{jp2.name}, {jp2.stat().st_size / 1e6:.0f} MB, read over HTTP with round trips of {arguments.rtt_ms:g} ms"
    if draw(rows, title, arguments.png) and scene:
        say(f"The same as a picture: {arguments.png}; the scene: {arguments.scene}")
    else:
        say("No picture: this Python has no matplotlib")
    say(f"{time.monotonic() - start:.0f} s in all")
    return 0 if all(row.identical or row.own for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
