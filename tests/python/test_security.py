"""A path reads what it names, and nothing else: whatever an index says, however a URL is written."""

from __future__ import annotations

from pathlib import Path

import apart
import gdalio
import jobs
import numpy as np
import pytest
from conftest import ONE_TILE, Sample, Site, make_index, noise, only_once
from servers import recorder

pytestmark = only_once


@pytest.mark.parametrize("path", ["{other}", "/vsicurl/{other}", "{local}", "file://{local}", "../../../{local}"])
@pytest.mark.parametrize("claims_origin", [False, True])
def test_a_row_of_an_index_redirects_no_read(
    site: Site, sample: Sample, tmp_path: Path, path: str, claims_origin: bool
) -> None:
    """A row that fits the file in everything but where it says that the file lies."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    local = gdalio.make_jp2(tmp_path / "other" / Path(sample.name).name, noise(100, 100, seed=9))
    other_site = Site(tmp_path / "other")
    with other_site.server:
        url = site.put(sample.path, sample.name)
        index = make_index(tmp_path / "index.parquet", url)
        table = parquet.read_table(index)
        place = path.format(other=other_site.url(local.name), local=local)
        for column in ("path", "origin") if claims_origin else ("path",):
            number = table.schema.get_field_index(column)
            table = table.set_column(number, table.schema.field(number), pa.array([place] * len(table), pa.string()))
        parquet.write_table(table, index)
        pixels = apart.call(jobs.read, f"/vsitlm/{url}", ONE_TILE, options={"VSITLM_INDEX": str(index)})
        assert np.array_equal(pixels, sample.window(ONE_TILE))
        assert other_site.stats()["requests"] == 0


SAME = [
    "/a/b.bin",
    "/a/../b.bin",
    "/a/./b.bin",
    "/../../b.bin",
    "/a//b.bin",
    "/a/..%2Fb.bin",
    "/a%2F..%2Fb.bin",
    "/a%2fb.bin",
    "/%61.bin",
    "/a%252e%252e/b.bin",
    "/a%5C..%5Cb.bin",
    "/a;x=1/b.bin",
    "/a+b.bin",
    "/~a/b,c(d)!$&'*.bin",
    "/a%00b.bin",
    "/a%0D%0AX:%20y.bin",
    "/a..b/...bin",
    "/b.bin?x=/../y",
    "/b.bin?x=%2e%2e",
    "/@other/b.bin",
    "/http://other/b.bin",
]
"""URLs that are asked for as GDAL asks for them."""

REFUSED = ["/a/%2e%2e/b.bin", "/a/%2E./b.bin", "/%2e/b.bin", "/a\\..\\b.bin", "/a\tb.bin", "/a\nb.bin"]
"""URLs that clients read in different ways."""


@pytest.mark.parametrize("tricky", SAME)
def test_a_url_is_asked_for_as_gdal_asks_for_it(tricky: str) -> None:
    options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "VSITLM_TRANSPORT": "NATIVE"}
    asked = {}
    for form in ("/vsicurl/", "/vsitlm/"):
        with recorder() as (url, seen):
            apart.call(jobs.play, ("copy", form + url + tricky, 1000), options=options)
            asked[form] = {target for target, _ in seen}
    assert asked["/vsitlm/"] == asked["/vsicurl/"] != set()


@pytest.mark.parametrize("tricky", REFUSED)
def test_a_url_that_clients_read_in_different_ways_is_refused(tricky: str) -> None:
    with recorder() as (url, seen):
        for form in ("/vsitlm/", "/vsitlm/vsicurl/"):
            (refused,) = apart.call(jobs.play, ("copy", form + url + tricky, 1000))
            assert isinstance(refused, gdalio.Failed) and "cannot read the path" in str(refused), refused
        assert not seen


def test_names_of_views_do_not_recurse(site: Site, small: Sample) -> None:
    url = site.put(small.path)
    options = {"GDAL_HTTP_MAX_RETRY": "0"}
    path = f"/vsitlm?overview=2&url={url}"
    names = [f"/vsitlm/{url}" + ".ovr" * depth for depth in range(2, 6)]
    names += [path + ".ovr" * depth for depth in range(1, 4)]
    names += [f"/vsitlm?overview=2&url={path}", f"/vsitlm?overview=4294967295&url={url}", f"/vsitlm/vsitlm/{url}"]
    for name, got in zip(names, apart.call(jobs.play, *[("copy", name, 1000) for name in names], options=options)):
        assert isinstance(got, gdalio.Failed), name
    assert site.stats()["requests"] < 20
