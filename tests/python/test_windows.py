"""Windows: GeoTIFFs of a window, decoded from its packets, have its pixels, its place and its types."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import apart
import gdalio
import jobs
import numpy as np
import opj
import pytest
import realdata
from conftest import ONE_TILE, Sample, Site, make_index, noise, only_once, vsitlm
from test_overview_kinds import MADE, NO_VIEWS


def window_path(path: Path | str, window: gdalio.Window, factor: int = 1) -> str:
    """The path of a window."""
    overview = f"overview={factor}&" if factor > 1 else ""
    return f"/vsitlm?{overview}window={','.join(map(str, window))}&url={path}"


def windows(size: tuple[int, int], count: int, seed: str) -> list[gdalio.Window]:
    """Windows of an image: its corners, all of it, and others by chance."""
    width, height = size
    chance = random.Random(seed)
    found = [(0, 0, 1, 1), (width - 1, height - 1, 1, 1)]
    for _ in range(count):
        wide, high = (min(side, chance.choice([1, 3, 20, 64, 90])) for side in size)
        found.append((chance.randint(0, width - wide), chance.randint(0, height - high), wide, high))
    return found


def place(about: dict) -> tuple[float, ...]:
    """Where a raster lies, as GDAL has it: x of the corner, what a column and a row add to it, and the same of y."""
    if gdalio.rasterio:
        dx, rx, x, dy, ry, y, *_ = about["transform"]
        return (x, dx, rx, y, dy, ry)
    return about["transform"]


def told(failure: gdalio.Failed, word: str) -> bool:
    """Whether a failure tells of a word, where GDAL's own message is not the last one."""
    return word in str(failure) or not gdalio.rasterio or gdalio.version() < (3, 10)


def assert_windows_are_right(
    path: Path, pixels: np.ndarray, found: list[gdalio.Window], factor: int = 1, most: int = 0
) -> None:
    """Each window is the window of these pixels, which differ by `most`."""
    for left, top, width, height in found:
        right = pixels[:, top : top + height, left : left + width]
        read = gdalio.read(window_path(path, (left, top, width, height), factor))
        assert read.dtype == right.dtype, (left, top, width, height, factor)
        # OpenJPEG rounds the irreversible transform otherwise.
        assert np.abs(read.astype(int) - right).max() <= most, (left, top, width, height, factor)


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[only_once] * ("3 layers" in kind)) for kind in MADE])
def test_windows_of_files_of_every_kind(kind: str, tmp_path: Path) -> None:
    pixels, arguments = MADE[kind]
    path = opj.compress(tmp_path / f"{kind}.jp2", pixels, *arguments)
    if kind == "subsampled":
        return  # GDAL does not open it
    if kind.endswith("offsets") or "odd" in kind:
        return  # the plain file's, whose tiles GDAL mixes up
    whole = gdalio.read(str(path))
    size = whole.shape[:0:-1]
    most = 1 if "irreversible" in kind else 0
    assert_windows_are_right(path, whole, [*windows(size, 6, kind), (0, 0, *size)], most=most)
    for factor in (2, 4):
        reduced = gdalio.read(f"/vsitlm?overview={factor}&url={path}")
        assert_windows_are_right(path, reduced, windows(reduced.shape[:0:-1], 3, f"{kind}{factor}"), factor, most)


@pytest.mark.parametrize("kind", NO_VIEWS)
def test_files_without_lengths_of_packets_have_windows_where_they_are_decoded(kind: str, tmp_path: Path) -> None:
    pixels, arguments, _ = NO_VIEWS[kind]
    path = opj.compress(tmp_path / f"{kind}.jp2", pixels, *arguments)
    whole = gdalio.read(str(path))
    if kind in ("POC", "RGN"):
        with pytest.raises(gdalio.Failed, match=kind):
            gdalio.read(window_path(path, (0, 0, 1, 1)))
        return
    for left, top, width, height in windows(whole.shape[:0:-1], 3, kind):
        right = whole[:, top : top + height, left : left + width]
        assert np.array_equal(gdalio.read(window_path(path, (left, top, width, height))), right)


@realdata.each("path")
def test_windows_of_real_files(path: Path) -> None:
    about = gdalio.describe(str(path))
    width, height = about["size"]
    for left, top, wide, high in windows((width, height), 4, path.stem):
        window = (left, top, wide, high)
        ours = gdalio.describe(window_path(path, window))
        assert ours["size"] == (wide, high) and ours["crs"] == about["crs"]
        x, dx, rx, y, dy, ry = place(about)
        expected = (x + left * dx + top * rx, dx, rx, y + left * dy + top * ry, dy, ry)
        assert place(ours) == pytest.approx(expected, abs=1e-6)
        assert ours["gdal_types"] == about["gdal_types"] and ours["colours"] == about["colours"]
        assert np.array_equal(gdalio.read(window_path(path, window)), gdalio.read(str(path), window))


def test_a_window_of_an_overview_lies_where_the_overview_does(sample: Sample) -> None:
    about = gdalio.describe(str(sample.path))
    view = gdalio.describe(f"/vsitlm?overview=4&url={sample.path}")
    ours = gdalio.describe(window_path(sample.path, (10, 20, 30, 40), 4))
    x, dx, rx, y, dy, ry = place(view)
    assert place(ours) == pytest.approx((x + 10 * dx, dx, rx, y + 20 * ry, dy, ry))
    assert ours["size"] == (30, 40) and ours["crs"] == about["crs"]
    pixels = gdalio.read(f"/vsitlm?overview=4&url={sample.path}", (10, 20, 30, 40))
    assert np.array_equal(gdalio.read(window_path(sample.path, (10, 20, 30, 40), 4)), pixels)


def test_a_window_is_one_file(sample: Sample) -> None:
    window = (700, 500, 64, 64)
    path = window_path(sample.path, window)
    assert gdalio.files(path, (0, 0, 64, 64)) == [path] and gdalio.driver(path) == "GTiff"


@pytest.mark.parametrize(
    "window", [(0, 0, 0, 10), (0, 0, 10, 0), (1500, 0, 1, 1), (1490, 0, 20, 10), (0, 1400, 10, 80), (0, 0, 2000, 2000)]
)
def test_a_window_that_is_not_within_the_image_is_an_error_that_names_both(
    sample: Sample, window: gdalio.Window
) -> None:
    height, width = sample.pixels.shape[1:]
    with pytest.raises(gdalio.Failed) as failure:
        gdalio.read(window_path(sample.path, window))
    assert f"the window of {window[2]} x {window[3]} pixels" in str(failure.value)
    assert f"the image of {width} x {height} pixels" in str(failure.value)


@pytest.mark.parametrize(
    "options, words",
    [
        ("window=1,2,3", "window= takes four numbers"),
        ("window=-1,2,3,4", "window= takes four numbers"),
        ("window=0,0,9,9&overview=3", "the factors are"),
        ("window=0,0,9,9&overview=64", "the factors are"),
        ("cells=256", "the option 'cells' is not known"),
    ],
)
def test_options_that_make_no_sense_are_errors(sample: Sample, options: str, words: str) -> None:
    with pytest.raises(gdalio.Failed, match=words):
        gdalio.read(f"/vsitlm?{options}&url={sample.path}")


def test_a_small_window_asks_for_its_packets_alone(site: Site, sample: Sample, known: dict[str, str]) -> None:
    left, top, *_ = ONE_TILE
    window = (left + 20, top + 30, 64, 64)
    pixels = apart.call(jobs.read, window_path(site.url(sample.name), window), options=known)
    assert np.array_equal(pixels, sample.window(window))
    stats = site.stats()
    part = max(length for _, _, length in sample.stream.tile_parts)
    # Precincts of the whole tile have to come whole.
    assert stats["requests"] <= 5 and stats["heads"] == 0
    assert stats["bytes"] <= part + 2048


@pytest.fixture(scope="session")
def precincts(folder: Path) -> tuple[Path, np.ndarray]:
    """Tiles of 512 px with precincts of 64, and pixels that do not compress."""
    pixels = noise(1100, 1200)
    arguments = ["-t", "512,512", "-n", "5", "-c", "[64,64]", "-b", "32,32", "-PLT"]
    return opj.compress(folder / "precincts.jp2", pixels, *arguments), pixels


def test_a_window_of_a_few_precincts_takes_few_bytes(
    site: Site, precincts: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    path, pixels = precincts
    url = site.put(path)
    index = make_index(tmp_path / "index.parquet", url)
    site.reset()
    window = (512 + 200, 512 + 203, 40, 40)
    read = apart.call(jobs.read, window_path(url, window), options={"VSITLM_INDEX": str(index)})
    left, top, width, height = window
    assert np.array_equal(read, pixels[:, top : top + height, left : left + width])
    stats = site.stats()
    # The tile's header, and at most four ranges of packets.
    assert stats["requests"] <= 5 and stats["heads"] == 0, site.ranges()
    assert stats["bytes"] <= 0.25 * 512 * 512 * 2


def test_windows_of_many_tiles_are_fetched_side_by_side(
    site: Site, precincts: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    path, pixels = precincts
    url = site.put(path)
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url))}
    for window in ((500, 490, 100, 200), (3, 5, 1190, 1090)):
        left, top, width, height = window
        read = apart.call(jobs.read, window_path(url, window), options=options)
        assert np.array_equal(read, pixels[:, top : top + height, left : left + width])


def test_a_file_that_has_changed_is_an_error_and_then_right(
    site: Site, precincts: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    path, _ = precincts
    url = site.put(path, "changing.jp2")
    options = {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url))}
    other = noise(1100, 1200, seed=7)
    arguments = ["-t", "512,512", "-n", "5", "-c", "[64,64]", "-b", "32,32", "-PLT"]
    site.put(opj.compress(tmp_path / "other.jp2", other, *arguments), "changing.jp2")
    window = (600, 600, 40, 40)
    steps = [("read", window_path(url, window))] * 2
    first, second = apart.call(jobs.play, *steps, options=options)
    right = other[:, 600:640, 600:640]
    assert isinstance(first, gdalio.Failed) and told(first, "changed")
    assert np.array_equal(second, right)


def test_windows_of_a_url_with_a_query_and_of_a_long_name(site: Site, sample: Sample) -> None:
    name = f"{'a' * 200}/{sample.name}"
    url = site.put(sample.path, name)
    window = (700, 500, 64, 64)
    for path in (url, url + "%3Fsig%3D" + "b" * 500):
        read = apart.call(jobs.read, window_path(path, window))
        assert np.array_equal(read, sample.window(window))


def test_gdal_translate_cuts_a_window(sample: Sample, tmp_path: Path) -> None:
    window = (700, 500, 64, 64)
    done = subprocess.run(
        ["gdal_translate", "-q", window_path(sample.path, window), tmp_path / "a.tif"],
        env=apart.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert np.array_equal(gdalio.read(str(tmp_path / "a.tif")), sample.window(window))


NO_RETRY = {"GDAL_HTTP_MAX_RETRY": "0"}
CHANCES = [(left, top, 40, 40) for left in range(0, 1100, 150) for top in range(0, 1000, 200)]
"""Forty windows, of one tile, two or four."""


@pytest.mark.parametrize("fault", [{"status": 503}, {"kind": "close"}, {"kind": "short"}], ids=str)
@pytest.mark.parametrize("every", [2, 4])
def test_a_window_that_could_not_be_read_is_never_zeros(
    site: Site, precincts: tuple[Path, np.ndarray], tmp_path: Path, fault: dict[str, str | int], every: int
) -> None:
    path, pixels = precincts
    url = site.put(path)
    options = NO_RETRY | {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url))}
    # A part that nobody can read, since a client may ask again on its own for what an idle connection has lost.
    middle = path.stat().st_size // 2
    site.control(fail_path="*", fail_range=f"{middle}-{middle + 20_000}", **fault)
    site.control(fail_path="*", every=every, **fault)
    tries = apart.call(jobs.try_windows, [(window_path(url, window), window) for window in CHANCES], 3, options=options)
    outcomes = [outcome for each in tries for outcome in each]
    wrong = [
        (window, number)
        for window, each in zip(CHANCES, tries)
        for number, outcome in enumerate(each)
        if isinstance(outcome, np.ndarray)
        and not np.array_equal(outcome, pixels[:, window[1] : window[1] + 40, window[0] : window[0] + 40])
    ]
    assert not wrong
    assert any(isinstance(outcome, gdalio.Failed) for outcome in outcomes)
    assert sum(isinstance(outcome, np.ndarray) for outcome in outcomes) > len(CHANCES) / 2


def test_an_open_window_is_right_again_once_its_server_is(
    site: Site, precincts: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    path, pixels = precincts
    url = site.put(path)
    options = NO_RETRY | {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url))}
    window = (500, 490, 60, 70)
    break_all = f"{site.server.url}/__control?fail_path=*&status=503"
    mend = f"{site.server.url}/__control?clear=1"
    others = [window_path(url, (left, top, 5, 5)) for left in range(0, 1000, 50) for top in range(0, 1000, 100)]
    failed, right = apart.call(
        jobs.open_break_read_mend_read, window_path(url, window), others, break_all, mend, options=options
    )
    assert isinstance(failed, gdalio.Failed)
    assert np.array_equal(right, pixels[:, 490:560, 500:560])


def test_a_tile_header_that_cannot_be_read_is_an_error_and_then_right(
    site: Site, precincts: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    path, pixels = precincts
    url = site.put(path)
    options = NO_RETRY | {"VSITLM_INDEX": str(make_index(tmp_path / "index.parquet", url))}
    window = window_path(url, (600, 600, 40, 40))
    # GDAL asks three times.
    site.control(fail_path="*", status=503, times=3)
    failed, *read = apart.call(jobs.play, *[("read", window)] * 3, options=options)
    assert isinstance(failed, gdalio.Failed) and told(failed, "503")
    assert all(np.array_equal(each, pixels[:, 600:640, 600:640]) for each in read)


@pytest.mark.parametrize("options", [["--parse-packets"], ["--parse-packets", "--packets"], ["--packets"], []], ids=str)
@pytest.mark.parametrize("kind", ["tiles of 64", "tiles of 8 without levels"])
def test_an_index_that_promises_packets_that_nobody_knows_leaves_windows_right(
    kind: str, options: list[str], site: Site, tmp_path: Path
) -> None:
    pixels = noise(150, 200, dtype="uint8")
    tiles = ["-t", "64,64", "-n", "4"] if kind == "tiles of 64" else ["-t", "8,8", "-n", "1"]
    url = site.put(opj.compress(tmp_path / "unknown.jp2", pixels, *tiles), f"{tmp_path.name}/unknown.jp2")
    index = tmp_path / "index.parquet"
    assert vsitlm("index", *options, url, "-o", index).returncode == 0
    steps = [("read", window_path(url, window)) for window in ((10, 20, 30, 40), (100, 100, 60, 50))]
    for read, (left, top, width, height) in zip(
        apart.call(jobs.play, *steps, options={"VSITLM_INDEX": str(index)}), ((10, 20, 30, 40), (100, 100, 60, 50))
    ):
        assert np.array_equal(read, pixels[:, top : top + height, left : left + width])


NAMES = ["a.jph", "a.jhc", "a.jpc", "a.JP2", "a", "a.dat", "a?b.jp2"]
"""Names of files, in folders of their own."""


@pytest.mark.parametrize("name", NAMES)
def test_a_window_of_a_file_of_any_name(name: str, tmp_path: Path) -> None:
    pixels = noise(300, 200)
    kind = "a.j2k" if name.endswith(("jhc", "jpc")) else "a.jp2"
    path = opj.compress(tmp_path / kind, pixels, "-t", "128,128", "-n", "3", "-PLT").rename(tmp_path / name)
    url = str(path).replace("?", "%3F")
    assert np.array_equal(gdalio.read(window_path(url, (100, 120, 40, 50))), pixels[:, 120:170, 100:140])
    reduced = gdalio.read(f"/vsitlm?overview=2&url={url}")
    assert reduced.shape == (1, 150, 100)
    assert np.array_equal(gdalio.read(window_path(url, (10, 20, 40, 50), 2)), reduced[:, 20:70, 10:50])
    assert np.array_equal(gdalio.read(f"/vsitlm/{path}"), pixels)


def test_a_path_whose_slashes_pathlib_has_folded_is_found(sample: Sample, tmp_path: Path) -> None:
    folded = str(Path(f"/vsitlm/{sample.path}"))
    assert "//" not in folded
    assert gdalio.describe(folded) == gdalio.describe(f"/vsitlm/{sample.path}")
    assert np.array_equal(gdalio.read(folded, ONE_TILE), sample.window(ONE_TILE))
    with pytest.raises((gdalio.Failed, OSError), match="has two slashes"):
        gdalio.read(f"/vsitlm{tmp_path}/missing.jp2")
