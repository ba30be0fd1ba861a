"""Bad input: one clear message that names the file, no crash, no hang, and good files are read afterwards."""

from __future__ import annotations

import struct
from pathlib import Path

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import Sample, Site, only_once
from measure import Codestream
from test_pixels import jp2c, open_ended

SIZ, SOT, PLT = b"\xff\x51", b"\xff\x90\x00\x0a", b"\xff\x58"


def patched(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def bad_files(good: bytes, stream: Codestream) -> dict[str, bytes]:
    """Files that cannot be read, by what is wrong with them."""
    box = jp2c(good)
    siz = good.index(SIZ, box)
    (_, first, length), (_, second, _) = stream.tile_parts[:2]
    files = {
        "nothing": b"",
        "one byte": b"\0",
        "text": b"<html>this is no image</html>\n" * 100,
        "zeros": bytes(100_000),
        "noise": np.random.default_rng(7).bytes(100_000),
        "tiff": b"II*\0" + bytes(5000),
        "psot beyond the end": patched(good, first + 6, struct.pack(">I", 1 << 31)),
        "psot 0 before the last": patched(good, first + 6, bytes(4)),
        "psot 5": patched(good, first + 6, struct.pack(">I", 5)),
        "psot 1 less": patched(good, first + 6, struct.pack(">I", length - 1)),
        "psot inside": patched(good, first + 6, struct.pack(">I", length // 2)),
        "tile twice": patched(good, second + 4, struct.pack(">H", 0)),
        "tile 60000": patched(good, second + 4, struct.pack(">H", 60000)),
        "a million tiles": patched(good, siz + 6, struct.pack(">8I", 1 << 20, 1 << 20, 0, 0, 1024, 1024, 0, 0)),
        "tiles of one pixel": patched(good, siz + 22, struct.pack(">II", 1, 1)),
        "tiles of no pixel": patched(good, siz + 22, bytes(8)),
        "no pixels": patched(good, siz + 6, bytes(8)),
        "siz of length 2": patched(good, siz + 2, struct.pack(">H", 2)),
        "siz of length 65535": patched(good, siz + 2, b"\xff\xff"),
        "16384 components": patched(good, siz + 38, struct.pack(">H", 16384)),
        "xlbox of petabytes": good[:box] + struct.pack(">I4sQ", 1, b"jp2c", 1 << 60) + good[box + 8 :],
        "jp2c past the end": patched(good, box, struct.pack(">I", len(good))),
        "no codestream": good[:box],
    }
    for length in range(1, 8):
        files[f"box of length {length}"] = patched(good, 12, struct.pack(">I", length))
    for share in (0.001, 0.02, 0.3, 0.7, 0.99):
        files[f"cut at {share:.1%}"] = open_ended(good)[: int(len(good) * share)]
    files["cut in an SOT"] = open_ended(good)[: second + 6]
    return files


def test_bad_files_are_read_as_plain_gdal_reads_them(site: Site, small: Sample, tmp_path: Path) -> None:
    """They are refused, or read as far as they go, and the warning names them; good files are read afterwards."""
    files = bad_files(small.path.read_bytes(), small.stream)
    good = f"/vsitlm/{site.put(small.path)}"
    steps, cases = [], []
    for number, (what, content) in enumerate(files.items()):
        name = f"bad-{number}.jp2"
        url = site.put_bytes(f"{tmp_path.name}/{name}", content)
        (tmp_path / name).write_bytes(content)
        for place in (f"/vsitlm/{url}", f"/vsitlm/{tmp_path}/{name}"):
            cases.append((what, place, name))
            steps += [("read", str(tmp_path / name)), ("read", place), ("read", good)]
    # By one thread: plain GDAL hides what fails in others.
    done = apart.outcome(jobs.play, *steps, options={"GDAL_NUM_THREADS": "1"})
    assert done.error is None and done.returncode == 0, done.output
    wrong = []
    for (what, place, name), plain, got in zip(cases, done.value[::3], done.value[1::3]):
        failed = isinstance(got, gdalio.Failed)
        expected = small.pixels if isinstance(plain, gdalio.Failed) else plain
        if not (isinstance(plain, gdalio.Failed) if failed else np.array_equal(got, expected)):
            wrong.append(f"{what}: {got} instead of {plain} ({place})")
        if failed and name not in done.output + str(got):
            wrong.append(f"{what}: nothing names it ({place})")
    assert wrong == []
    assert all(np.array_equal(pixels, small.pixels) for pixels in done.value[2::3])
    assert "panic" not in done.output and "met a bug" not in done.output


@pytest.mark.parametrize("lie", ["first", "last", "swapped"])
def test_a_tlm_that_lies_is_told_or_harmless(site: Site, tmp_path: Path, small: Sample, lie: str) -> None:
    good, stream = small.path.read_bytes(), small.stream
    tlm = bytearray(stream.tlm())
    entries = tlm[6:]
    if lie == "swapped":  # the sum is right
        entries[1:5], entries[11:15] = entries[11:15], entries[1:5]
    else:
        entries[4 if lie == "first" else -1] ^= 1
    content = patched(good, jp2c(good), bytes(4))
    lying = content[: stream.first_sot] + bytes(tlm[:6] + entries) + content[stream.first_sot :]
    (tmp_path / "lying.jp2").write_bytes(lying)
    for place in (site.put_bytes(f"{tmp_path.name}/lying.jp2", lying), tmp_path / "lying.jp2"):
        done = apart.outcome(jobs.play, ("read", f"/vsitlm/{place}"), ("read", f"/vsitlm/{small.path}"))
        assert done.error is None, done.output
        got, again = done.value
        assert np.array_equal(again, small.pixels)
        assert np.array_equal(got, small.pixels) or "lying.jp2" in done.output + str(got), got


def test_a_plt_that_lies_costs_no_pixel(site: Site, tmp_path: Path, sample: Sample) -> None:
    content = sample.path.read_bytes()
    at = content.index(PLT, sample.stream.first_sot)
    lying = patched(content, at + 6, b"\x7f\x7f")
    url = site.put_bytes(f"{tmp_path.name}/lying.jp2", lying)
    window = (10, 10, 100, 100)
    got = apart.call(jobs.play, ("read", f"/vsitlm/{url}", window))[0]
    assert np.array_equal(got, sample.window(window)) or "lying.jp2" in str(got)


@only_once
@pytest.mark.parametrize(
    "status, word", [(404, "not found"), (403, "denied"), (401, "denied"), (410, "not found"), (400, "HTTP 400")]
)
def test_a_refusal_is_told_with_the_name_and_the_reason(site: Site, small: Sample, status: int, word: str) -> None:
    url = site.put(small.path, f"refused-{status}.jp2")
    site.control(fail_path=f"/refused-{status}.jp2", status=status)
    refused, good = apart.call(jobs.play, ("read", f"/vsitlm/{url}?token=hidden"), ("read", f"/vsitlm/{small.path}"))
    assert f"refused-{status}.jp2" in str(refused) and word in str(refused) and "hidden" not in str(refused)
    assert np.array_equal(good, small.pixels)


@only_once
def test_a_host_that_is_not_there_is_told(small: Sample) -> None:
    options = {"GDAL_HTTP_MAX_RETRY": "0"}
    absent, good = apart.call(
        jobs.play, ("read", "/vsitlm/http://127.0.0.1:1/a.jp2"), ("read", f"/vsitlm/{small.path}"), options=options
    )
    assert "127.0.0.1:1/a.jp2" in str(absent) and isinstance(absent, gdalio.Failed)
    assert np.array_equal(good, small.pixels)


def test_paths_that_name_no_file_are_told(small: Sample, tmp_path: Path) -> None:
    (tmp_path / "folder.jp2").mkdir()
    paths = {
        "/vsitlm/": "empty",
        f"/vsitlm/{tmp_path}/folder.jp2": "folder.jp2",
        f"/vsitlm/{tmp_path}/absent.jp2": "absent.jp2",
        "/vsitlm/ftp://host/a.jp2": "ftp",
        "/vsitlm/vsitlm//a.jp2": "/vsitlm/",
        "/vsitlm?overview=2": "url=",
        f"/vsitlm?overview=half&url={small.path}": "factor",
        "/vsitlm?a=b": "url=",
    }
    *failures, good = apart.call(jobs.play, *(("read", path) for path in paths), ("read", f"/vsitlm/{small.path}"))
    for (path, word), failure in zip(paths.items(), failures):
        assert isinstance(failure, gdalio.Failed) and word in str(failure), path
    assert np.array_equal(good, small.pixels)


@pytest.mark.parametrize("mode", ["wb", "w+b", "ab", "a"])
def test_writing_is_refused(small: Sample, mode: str) -> None:
    failure, good = apart.call(jobs.play, ("mode", f"/vsitlm/{small.path}", mode), ("read", f"/vsitlm/{small.path}"))
    assert "read-only" in str(failure) and mode in str(failure)
    assert np.array_equal(good, small.pixels)


@only_once
def test_a_bad_index_is_a_miss_that_names_it(site: Site, sample: Sample, index: Path, tmp_path: Path) -> None:
    good = index.read_bytes()
    footer = len(good) - 8 - struct.unpack_from("<I", good, len(good) - 8)[0]
    bad = {
        "empty": b"",
        "text": b"product_id,band_id\n" * 20,
        "cut": good[: len(good) // 2],
        "footer of petabytes": good[:-8] + b"\xff\xff\xff\x7fPAR1",
        "footer broken": good[:footer] + bytes(byte ^ 0x55 for byte in good[footer:-8]) + good[-8:],
        "data broken": good[:4] + bytes(byte ^ 0x55 for byte in good[4:footer]) + good[footer:],
    }
    window = (600, 600, 30, 30)
    for what, content in bad.items():
        file = tmp_path / f"{what}.parquet"
        file.write_bytes(content)
        options = {"VSITLM_INDEX": str(file), "CPL_DEBUG": "VSITLM"}
        done = apart.outcome(jobs.read, f"/vsitlm/{site.url(sample.name)}", window, options=options)
        assert done.error is None, f"{what}: {done.error}\n{done.output}"
        assert np.array_equal(done.value, sample.window(window)), what
        assert f"{what}.parquet" in done.output, what


def test_a_good_index_behind_a_bad_one_is_asked(site: Site, sample: Sample, index: Path) -> None:
    options = {"VSITLM_INDEX": f"/nowhere/absent.parquet;{index}"}
    apart.call(jobs.describe, f"/vsitlm/{site.url(sample.name)}", options=options)
    assert site.stats()["requests"] == 0


@only_once
def test_a_bad_index_is_told_without_debugging(site: Site, sample: Sample, tmp_path: Path) -> None:
    options = {"VSITLM_INDEX": str(tmp_path / "absent.parquet")}
    done = apart.outcome(jobs.describe, f"/vsitlm/{site.url(sample.name)}", options=options)
    assert "absent.parquet" in done.output
