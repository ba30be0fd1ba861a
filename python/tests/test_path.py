"""Paths: what each way of naming a file becomes."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from conftest import PRODUCT
from rasterio.windows import Window

import vsitlm
from vsitlm._path import address


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("https://host/x.jp2", "/vsitlm/https://host/x.jp2"),
        ("/vsicurl/https://host/x.jp2", "/vsitlm/vsicurl/https://host/x.jp2"),
        ("s3://eodata/x.jp2", "/vsitlm/s3://eodata/x.jp2"),
        ("/vsis3/eodata/x.jp2", "/vsitlm/vsis3/eodata/x.jp2"),
        ("gs://bucket/x.jp2", "/vsitlm/gs://bucket/x.jp2"),
        ("/vsigs/bucket/x.jp2", "/vsitlm/vsigs/bucket/x.jp2"),
        ("az://container/x.jp2", "/vsitlm/az://container/x.jp2"),
        ("/vsicurl?max_retry=9&url=https%3A%2F%2Fa%2Fb.jp2", "/vsitlm/vsicurl?max_retry=9&url=https%3A%2F%2Fa%2Fb.jp2"),
        ("/vsizip/a.zip/x.jp2", "/vsitlm/vsizip/a.zip/x.jp2"),
        ("/vsimem/x.jp2", "/vsitlm/vsimem/x.jp2"),
        ("/data/x.jp2", "/vsitlm//data/x.jp2"),
        ("relative/x.jp2", "/vsitlm/relative/x.jp2"),
        (Path("/data/x.jp2"), "/vsitlm//data/x.jp2"),
        (Path("relative/x.jp2"), "/vsitlm/relative/x.jp2"),
        ("file:///data/x.jp2", "/vsitlm/file:///data/x.jp2"),
        ("https://host/x.jp2?sig=a%2Fb&c=d", "/vsitlm?url=https://host/x.jp2%3Fsig%3Da%252Fb%26c%3Dd"),
        ("/vsicurl/https://host/x.jp2?sig=a", "/vsitlm?url=https://host/x.jp2%3Fsig%3Da"),
        ("https://host/x.tif", "/vsitlm/https://host/x.tif"),
        ("/vsitlm/https://host/x.jp2?sig=a", "/vsitlm/https://host/x.jp2?sig=a"),
        ("/vsitlm?url=x.jp2", "/vsitlm?url=x.jp2"),
        (f"{PRODUCT}/B03", f"/vsitlm/{PRODUCT}/B03"),
        (PRODUCT, f"/vsitlm/{PRODUCT}"),
        (Path(f"{PRODUCT}.SAFE"), f"/vsitlm/./{PRODUCT}.SAFE"),
        (f"{PRODUCT}.SAFE/GRANULE/x.jp2", f"/vsitlm/{PRODUCT}.SAFE/GRANULE/x.jp2"),
    ],
)
def test_what_names_a_file(given: str | Path, path: str) -> None:
    assert address(given) == path
    jp2 = "jp2" in path or path.endswith("/B03")
    for form in ("tiff", "jp2"):
        place = vsitlm.path(given, as_=form)  # type: ignore[arg-type]
        if not jp2:
            assert place == path
        elif path.startswith("/vsitlm?"):
            assert place == path.replace("?", f"?as={form}&", 1)
        else:
            assert place.startswith(f"/vsitlm?as={form}&url=")
            # Slashes stay: GDAL takes no name of more than 255 bytes.
            url = path.removeprefix("/vsitlm/").removeprefix("vsicurl/")
            assert place.partition("&url=")[2].removeprefix("/vsi") == quote(url, safe="/:").removeprefix("vsi")


def test_forms() -> None:
    assert vsitlm.path("x.jp2") == "/vsitlm?as=tiff&url=x.jp2"
    assert vsitlm.path("x.jp2", as_="jp2") == "/vsitlm?as=jp2&url=x.jp2"
    assert vsitlm.path(vsitlm.path("x.jp2")) == "/vsitlm?as=tiff&url=x.jp2"
    assert vsitlm.path("/vsitlm?as=jp2&url=x.jp2") == "/vsitlm?as=jp2&url=x.jp2"
    assert vsitlm.path("/vsitlm?url=x.jp2&window=1,2,3,4") == "/vsitlm?url=x.jp2&window=1,2,3,4"
    assert vsitlm.path("/vsitlm?url=x.tif") == "/vsitlm?url=x.tif"
    assert vsitlm.path("https://host/$value", overview=2) == "/vsitlm?as=tiff&overview=2&url=https://host/%24value"
    with pytest.raises(vsitlm.PathError, match="not 'png'"):
        vsitlm.path("x.jp2", as_="png")  # type: ignore[arg-type]


def test_a_product_and_a_band() -> None:
    assert address(PRODUCT, "B03_20m") == f"/vsitlm/{PRODUCT}/B03_20m"
    assert vsitlm.path(f"{PRODUCT}.SAFE", "TCI") == f"/vsitlm?as=tiff&url={PRODUCT}.SAFE/TCI"
    assert vsitlm.path(PRODUCT, "B03", overview=4) == f"/vsitlm?as=tiff&overview=4&url={PRODUCT}/B03"
    for given in ("https://user:secret@host/x.jp2?sig=secret", f"{PRODUCT}/B03", f"./{PRODUCT}"):
        with pytest.raises(vsitlm.PathError, match="no product's name") as raised:
            vsitlm.path(given, "B03")
        assert "secret" not in str(raised.value)


def test_views() -> None:
    assert [address("x.jp2", overview=factor) for factor in (None, 0, 1)] == ["/vsitlm/x.jp2"] * 3
    assert vsitlm.path("/data/x.jp2", overview=2) == "/vsitlm?as=tiff&overview=2&url=/data/x.jp2"
    assert vsitlm.path("/vsitlm//data/x.jp2", overview=2) == "/vsitlm?as=tiff&overview=2&url=/data/x.jp2"
    assert vsitlm.path("/vsitlm?url=x.jp2", window=(1, 2, 3, 4)) == "/vsitlm?window=1,2,3,4&url=x.jp2"
    assert vsitlm.path("x.jp2", window=Window(1, 2, 3.0, 4)) == "/vsitlm?window=1,2,3,4&url=x.jp2"
    assert vsitlm.path("x.jp2", overview=2, window=(1, 2, 3, 4)) == "/vsitlm?overview=2&window=1,2,3,4&url=x.jp2"
    signed = vsitlm.path("/vsicurl/https://host/x.jp2?a=b", overview=2)
    assert signed == "/vsitlm?as=tiff&overview=2&url=https://host/x.jp2%3Fa%3Db"


def test_views_that_make_no_sense() -> None:
    for window in ((1, 2, 0, 4), (1, 2, 3, -1), (1.5, 2, 3, 4), (1, 2, 3), Window(0, 0, 2.5, 1)):
        with pytest.raises(vsitlm.WindowError, match="window"):
            vsitlm.path("x.jp2", window=window)  # type: ignore[arg-type]
    with pytest.raises(vsitlm.PathError, match="has the option overview already"):
        vsitlm.path("/vsitlm?overview=4&url=x.jp2", overview=2)
    with pytest.raises(TypeError):
        vsitlm.path("x.jp2", overview=2.5)  # type: ignore[arg-type]
