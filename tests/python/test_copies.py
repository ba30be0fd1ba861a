"""The virtual file as a file: complete and the same whatever the reader, and packet by packet what `vsitlm inject` writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import ONE_TILE, Sample, Site, noise, vsitlm
from measure import Codestream


@pytest.fixture(scope="session")
def injected(sample: Sample, folder: Path) -> Path:
    """What `vsitlm inject` makes of the sample."""
    output = folder / "injected.jp2"
    done = vsitlm("inject", sample.path, output)
    assert done.returncode == 0, done.stderr
    return output


def without_first_plt(path: Path) -> bytes:
    """The file with a TLM, but the first tile-part's header is SOT and SOD alone."""
    data, stream = path.read_bytes(), Codestream.scan(path)
    tile, start, length = stream.tile_parts[0]
    sod = start + 12
    while data[sod : sod + 2] != b"\xff\x93":
        sod += 2 + int.from_bytes(data[sod + 2 : sod + 4], "big")
    gone = sod - (start + 12)
    assert gone > 0
    short = replace(stream, tile_parts=[(tile, start, length - gone), *stream.tile_parts[1:]])
    box = data.index(b"jp2c") - 4
    size = int.from_bytes(data[box : box + 4], "big")
    head = data[:box] + (size - gone if size else 0).to_bytes(4, "big") + data[box + 4 : start]
    sot = data[start : start + 6] + (length - gone).to_bytes(4, "big") + data[start + 10 : start + 12]
    return head.replace(stream.tlm(), short.tlm()) + sot + data[sod:]


@pytest.mark.parametrize("chunk", [1024, 1 << 20])
def test_a_sequential_copy_is_what_inject_writes_but_the_first_plt(
    site: Site, sample: Sample, known: dict[str, str], injected: Path, chunk: int
) -> None:
    remote, local = f"/vsitlm/{site.url(sample.name)}", f"/vsitlm/{sample.path}"
    expected = without_first_plt(injected)
    assert apart.call(jobs.play, ("copy", remote, chunk), ("copy", local, chunk), options=known) == [expected] * 2


def test_what_inject_writes_has_a_tlm_and_reads_the_same(sample: Sample, injected: Path) -> None:
    assert Codestream.scan(injected).has_tlm and not sample.stream.has_tlm
    assert np.array_equal(gdalio.read(str(injected)), sample.pixels)
    assert gdalio.describe(str(injected)) == gdalio.describe(str(sample.path))


def test_the_tlm_alone_is_what_inject_put_in(sample: Sample, injected: Path, tmp_path: Path) -> None:
    done = vsitlm("inject", "--tlm", sample.path, tmp_path / "sample.tlm")
    assert done.returncode == 0, done.stderr
    tlm = sample.stream.tlm()
    assert (tmp_path / "sample.tlm").read_bytes().endswith(tlm)
    assert tlm in injected.read_bytes()[: sample.stream.first_sot + len(tlm)]


def test_without_sot_probes_the_pixels_are_the_same(site: Site, sample: Sample, known: dict[str, str]) -> None:
    options = known | {"VSITLM_SOT_PROBE": "NO"}
    pixels = apart.call(jobs.read, f"/vsitlm/{site.url(sample.name)}", ONE_TILE, options=options)
    assert np.array_equal(pixels, sample.window(ONE_TILE))


def test_a_file_with_a_tlm_of_its_own_passes_byte_for_byte(site: Site, tmp_path: Path) -> None:
    pixels = noise(150, 200)
    path = gdalio.make_jp2(tmp_path / "own.jp2", pixels, BLOCKXSIZE=64, BLOCKYSIZE=64, RESOLUTIONS=3, TLM="YES")
    if not Codestream.scan(path).has_tlm:
        pytest.skip("this GDAL writes no TLM")
    url = site.put(path, f"{tmp_path.name}/own.jp2")
    for place in (f"/vsitlm/{path}", f"/vsitlm/{url}"):
        assert gdalio.copy_bytes(place, 1000) == path.read_bytes()
        assert np.array_equal(gdalio.read(place), pixels)
