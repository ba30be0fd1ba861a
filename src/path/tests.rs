//! What paths mean, as tables.

use super::ending::is_jp2_name;
use super::*;
use crate::options::Options;
use crate::secret::Secret;

fn location(path: &str) -> Location {
    parse(path).unwrap().location
}

fn local(path: &str) -> Location {
    Location::Local(path.into())
}

fn url(url: &str) -> Location {
    Location::Http { url: url.to_owned() }
}

fn object(bucket: &str, key: &str) -> Location {
    Location::S3 { bucket: bucket.to_owned(), key: key.to_owned() }
}

fn google(bucket: &str, key: &str) -> Location {
    Location::Gs { bucket: bucket.to_owned(), key: key.to_owned() }
}

fn blob(container: &str, key: &str) -> Location {
    Location::Azure { container: container.to_owned(), key: key.to_owned() }
}

fn host(path: &str) -> Location {
    Location::Host(path.to_owned())
}

#[test]
fn every_way_of_writing_a_path_is_understood() {
    let table = [
        ("/data/x.jp2", local("/data/x.jp2")),
        ("relative/x.jp2", local("relative/x.jp2")),
        ("x.jp2", local("x.jp2")),
        ("vsi.jp2", local("vsi.jp2")),
        ("vsixyz.jp2", local("vsixyz.jp2")),
        ("C:/x.jp2", local("C:/x.jp2")),
        ("/home/me/vsitlm/x.jp2", local("/home/me/vsitlm/x.jp2")),
        ("file:///data/a%20b.jp2", local("/data/a b.jp2")),
        ("https://host/a.jp2?sig=a/b", url("https://host/a.jp2?sig=a/b")),
        ("HTTPS://host/a.jp2", url("https://host/a.jp2")),
        ("https:/host/a.jp2", url("https://host/a.jp2")),
        ("vsicurl/https://host/a.jp2", url("https://host/a.jp2")),
        ("/vsicurl/http://host:8080/a.jp2", url("http://host:8080/a.jp2")),
        ("vsicurl/https:/host/a.jp2", url("https://host/a.jp2")),
        ("vsicurl?url=https%3A%2F%2Fhost%2Fa.jp2%3Fs%3D1", url("https://host/a.jp2?s=1")),
        (
            "/vsicurl?max_retry=2&url=https%3A%2F%2Fh%2Fa.jp2",
            Location::Curl {
                url: "https://h/a.jp2".to_owned(),
                settings: vec![("GDAL_HTTP_MAX_RETRY", Secret::new("2"))],
                path: "/vsicurl?max_retry=2&url=https%3A%2F%2Fh%2Fa.jp2".to_owned(),
            },
        ),
        ("vsicurl?use_head=no&list_dir=no&url=https%3A%2F%2Fh%2Fa.jp2", url("https://h/a.jp2")),
        (
            "vsicurl?pc_url_signing=yes&url=https%3A%2F%2Fh%2Fa.jp2",
            host("/vsicurl?pc_url_signing=yes&url=https%3A%2F%2Fh%2Fa.jp2"),
        ),
        ("vsicurl?cookie=a&url=https%3A%2F%2Fh%2Fa.jp2", host("/vsicurl?cookie=a&url=https%3A%2F%2Fh%2Fa.jp2")),
        ("vsicurl/ftp://host/a.jp2", host("/vsicurl/ftp://host/a.jp2")),
        ("s3://eodata/Sentinel-2/x.jp2", object("eodata", "Sentinel-2/x.jp2")),
        ("s3:/eodata/x.jp2", object("eodata", "x.jp2")),
        ("vsis3/eodata/x.jp2", object("eodata", "x.jp2")),
        ("/vsis3/eodata//x.jp2", object("eodata", "x.jp2")),
        ("gs://b/x.jp2", google("b", "x.jp2")),
        ("gcs://b/d/x.jp2", google("b", "d/x.jp2")),
        ("vsigs/b/x.jp2", google("b", "x.jp2")),
        ("az://c/x.jp2", blob("c", "x.jp2")),
        ("/vsiaz/c/d/x.jp2", blob("c", "d/x.jp2")),
        ("vsiadls/c/x.jp2", host("/vsiadls/c/x.jp2")),
        ("https://h/a/../b%2Fc.jp2", url("https://h/a/../b%2Fc.jp2")),
        ("https://h/a..b/%2e.jp2", url("https://h/a..b/%2e.jp2")),
        ("data/../x.jp2", local("data/../x.jp2")),
        ("vsizip/data/x.SAFE.zip/y.jp2", host("/vsizip/data/x.SAFE.zip/y.jp2")),
        ("//vsizip//vsicurl/https://h/x.zip/y.jp2", host("/vsizip//vsicurl/https://h/x.zip/y.jp2")),
        ("/vsizip/home/me/vsitlm/x.zip/y.jp2", host("/vsizip/home/me/vsitlm/x.zip/y.jp2")),
        ("vsimem/x.jp2", host("/vsimem/x.jp2")),
        ("?url=%2Fdata%2Fx.jp2", local("/data/x.jp2")),
        ("?url=%2Fvsis3%2Fb%2Fx.jp2", object("b", "x.jp2")),
    ];
    for (path, expected) in table {
        assert_eq!(location(path), expected, "{path}");
    }
}

#[test]
fn views_are_told_from_files() {
    let table = [
        ("/data/x.jp2", View::Whole, "/data/x.jp2"),
        ("/data/x.jp2.ovr", View::Overviews, "/data/x.jp2"),
        ("?url=%2Fdata%2Fx.jp2.ovr", View::Overviews, "/data/x.jp2"),
        ("https://h/x.jp2?sig=a%2Fb.ovr", View::Overviews, "https://h/x.jp2?sig=a%2Fb"),
        ("?overview=8&url=%2Fdata%2Fx.jp2", View::Reduced(8), "/data/x.jp2"),
        // Side-cars of side-cars and of views are plain names.
        ("/data/x.jp2.ovr.ovr", View::Whole, "/data/x.jp2.ovr.ovr"),
        ("?overview=8&url=%2Fdata%2Fx.jp2.ovr", View::Reduced(8), "/data/x.jp2.ovr"),
        ("/data/x.tif.ovr", View::Whole, "/data/x.tif.ovr"),
        (".ovr", View::Whole, ".ovr"),
    ];
    for (path, view, file) in table {
        let request = parse(path).unwrap();
        assert_eq!((request.view, request.file.as_str()), (view, file), "{path}");
        assert_eq!(parse(&request.name()).unwrap(), request, "{path}");
    }
    assert_eq!(parse_file("x.jp2.ovr").unwrap().view, View::Whole);
}

#[test]
fn a_product_path_has_exactly_this_shape() {
    let product = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";
    let of = |file: Option<&str>| Location::Product { name: product.into(), file: file.map(str::to_owned) };
    for (file, expected) in [
        ("", None),
        ("/", None),
        ("/B03", Some("B03")),
        ("/B03.jp2", Some("B03")),
        ("/B8A_20m.jp2", Some("B8A_20m")),
        ("/TCI", Some("TCI")),
        ("/MSK_DETFOO_B02", Some("MSK_DETFOO_B02")),
        ("/MSK_CLDPRB_60m.jp2", Some("MSK_CLDPRB_60m")),
    ] {
        for safe in ["", ".SAFE"] {
            let path = format!("{product}{safe}{file}");
            assert_eq!(location(&path), of(expected), "{path}");
            let encoded = format!("?url={}", percent_encode(path.as_bytes(), NON_ALPHANUMERIC));
            assert_eq!(location(&encoded), of(expected), "{path}");
        }
    }
    let band = parse(&format!("{product}.SAFE/B03_20m")).unwrap();
    assert!(band.location.is_jp2());
    assert_eq!(band.key, key_of_names(&format!("{product}.SAFE/x/T31UDQ_20241016T105031_B03_20m.jp2")));
    let views = [(".ovr", View::Overviews), (".jp2.ovr", View::Overviews)];
    for (end, view) in views {
        let request = parse(&format!("{product}/B03{end}")).unwrap();
        assert_eq!((&request.location, request.view), (&of(Some("B03")), view));
        assert_eq!(parse(&request.name()).unwrap(), request);
    }
    let reduced = parse(&format!("?overview=4&url={product}/B03")).unwrap();
    assert_eq!((&reduced.location, reduced.view), (&of(Some("B03")), View::Reduced(4)));
    for local in [
        format!("./{product}/B03"),
        format!("/{product}/B03"),
        format!("{product}.SAFE/GRANULE/x/T31UDQ_20241016T105031_B03_10m.jp2"),
        format!("{product}.SAFE/T31UDQ_20241016T105031_B03_10m.jp2"),
        format!("{product}.SAFE/manifest.safe"),
        format!("{product}/B03.jp2.aux.xml"),
        format!("{product}/B03_20m/x"),
        format!("{product}//B03"),
        format!("{product}/b03"),
        format!("{product}/B03_020m"),
        format!("{product}/MSK_.."),
        format!("{product}.zip/B03"),
        format!("{product}_x/B03"),
        format!("{}/B03", product.replace("T31UDQ", "31UDQ")),
        format!("{}/B03", product.replace("MSIL2A", "MSIL2B")),
        format!("{}/B03", product.replace("N0511", "N051")),
        "S2A_OPER_PRD_MSIL1C_PDMC_20160930T123456_R065_V20160929T101022_20160929T101643/B03".to_owned(),
    ] {
        assert_eq!(location(&local), self::local(&local), "{local}");
    }
}

#[test]
fn what_names_no_file_is_refused() {
    for (path, why) in [
        ("", "empty"),
        ("/", "empty"),
        ("x\0.jp2", "NUL"),
        ("/vsitlm/x.jp2", "inside"),
        ("vsitlm/x.jp2", "inside"),
        ("vsitlm?url=x", "inside"),
        ("vsizip//vsitlm/x.zip", "inside"),
        ("vsisubfile/0_10,/vsitlm/x.jp2", "inside"),
        ("?url=%2Fvsitlm%2Fx.jp2", "inside"),
        ("?overview=half&url=x.jp2", "factor"),
        ("?overview=-2&url=x.jp2", "factor"),
        ("?colour=2&url=x.jp2", "colour"),
        ("?url=%3Furl%3Dx", "url="),
        ("?", "no url="),
        ("https://", "no host"),
        ("https:///x.jp2", "x"),
        ("http://user@/x.jp2", "no host"),
        ("s3://bucket", "no object"),
        ("s3://bucket/", "no object"),
        ("vsis3/", "no object"),
        ("gs://bucket", "no object"),
        ("az://container/", "no object"),
        ("https://h/a/%2e%2e/b.jp2", "percent-encoded"),
        ("https://h/a/.%2E/b.jp2", "percent-encoded"),
        ("https://h/%2e/b.jp2", "percent-encoded"),
        ("https://h/a\\..\\b.jp2", "'\\'"),
        ("https://h\\@other/b.jp2", "'\\'"),
        ("https://h/a\tb.jp2", "control"),
        ("https://h/a\r\nX: y.jp2", "control"),
        ("vsicurl?url=https%3A%2F%2Fh%2F%252e%252e%2Fb.jp2", "percent-encoded"),
        ("gopher://host/x.jp2", "gopher"),
        ("vsicurl?url=x.jp2", "not a URL"),
    ] {
        match parse(path) {
            Err(error) => assert!(error.to_string().contains(why), "{path}: {error}"),
            // A third slash is one too many, and taken for a slip.
            Ok(request) => assert_eq!(request.location, url("https://x.jp2"), "{path}"),
        }
    }
}

#[test]
fn a_path_in_an_archive_has_no_scheme_and_no_bucket() {
    let product = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206.SAFE";
    for (path, expected) in [
        ("s3://eodata/Sentinel-2/x.jp2", "Sentinel-2/x.jp2".to_owned()),
        ("https://h:80/a/b%20c.jp2?sig=1", "a/b c.jp2".to_owned()),
        ("/data/x.jp2", "x.jp2".to_owned()),
        ("x.jp2", "x.jp2".to_owned()),
        (&format!("/data/{product}/GRANULE/x.jp2"), format!("{product}/GRANULE/x.jp2")),
    ] {
        assert_eq!(location(path).archive_path(), expected, "{path}");
    }
}

#[test]
fn references_are_resolved_from_where_they_stand() {
    for (document, reference, expected) in [
        ("https://h/a/b.json?sig=1", "./c/d.jp2", "https://h/a/c/d.jp2?sig=1"),
        ("https://h/a/b.json?sig=1", "../d.jp2?x", "https://h/d.jp2?x"),
        ("https://h/a/b.json?sig=1", "/d.jp2", "https://h/d.jp2?sig=1"),
        ("https://h/a/b.json?sig=1", "//other/d.jp2", "https://other/d.jp2"),
        ("https://h/a/b.json?sig=1", "https://h/d.jp2", "https://h/d.jp2"),
        ("https://h/a/b.json", "s3://b/k.jp2", "s3://b/k.jp2"),
        ("https://h/a/b.json", "/vsis3/b/k.jp2", "s3://b/k.jp2"),
        ("s3://b/a/b.json", "./c/./d.jp2", "s3://b/a/c/d.jp2"),
        ("gs://b/a/b.json", "../d.jp2", "gs://b/d.jp2"),
        ("az://b/b.json", "d.jp2", "az://b/d.jp2"),
        ("/data/b.json", "../d.jp2", "/data/../d.jp2"),
        ("/data/b.json", "/d.jp2", "/d.jp2"),
        ("b.json", "./d.jp2", "d.jp2"),
        ("/data/a/", "d.jp2", "/data/a/d.jp2"),
        ("/data/a/b.jp2", "./", "/data/a/"),
        ("s3://b/a/b/c.jp2", "./../", "s3://b/a/"),
        ("s3://b/a/", "d.jp2", "s3://b/a/d.jp2"),
        ("https://h/a/b/c.jp2", "./../", "https://h/a/"),
    ] {
        assert_eq!(location(document).join(reference).unwrap(), location(expected), "{document} {reference}");
    }
    for (document, reference) in [
        ("s3://b/a.json", "../../k"),
        ("s3://b/a.json", "/k"),
        ("vsizip/x.zip/a.json", "k"),
        ("https://h/a", "gopher://x/y"),
    ] {
        assert!(location(document).join(reference).is_err(), "{document} {reference}");
    }
}

#[test]
fn a_file_url_names_none_of_gdals_file_systems() {
    for path in ["file:///vsitlm?url=x.jp2", "file:/vsitlm/x.jp2", "file:///vsi%63url/https://h/x.jp2"] {
        assert!(parse(path).unwrap_err().to_string().contains("this machine"), "{path}");
    }
}

#[test]
fn messages_hold_no_secrets() {
    for path in [
        "https://user:secret@host/a.jp2?sig=secret",
        "vsicurl?url=https%3A%2F%2Fuser:secret%40host%2Fa.jp2%3Fsig%3Dsecret",
        "vsicurl?header.x=secret&url=https%3A%2F%2Fhost%2Fa.jp2%3Fsig%3Dsecret",
        "vsicurl_streaming/https://host/a.jp2?sig=secret/secret",
    ] {
        let shown = location(path).display();
        assert!(!shown.contains("secret") && shown.contains("host/a.jp2"), "{path}: {shown}");
    }
    for path in [
        "?x=1&url=https%3A%2F%2Fu:secret%40h%2Fx%3Fsecret",
        "gopher://u:secret@h/x?secret",
        "https://u:secret@/?secret",
    ] {
        let shown = parse(path).unwrap_err().to_string();
        assert!(!shown.contains("secret"), "{shown}");
    }
    assert_eq!(location("vsis3/b/k.jp2").display(), "s3://b/k.jp2");
}

#[test]
fn options_of_a_path_go_first_and_headers_add_up() {
    let path = "vsicurl?header.Accept=text%2Fhtml%2C%20x&header.b=sesame&timeout=7&url=https%3A%2F%2Fh%2Fa.jp2";
    let location = location(path);
    let get = |name: &str| (name != "GDAL_HTTP_PROXY").then(|| "A: 1,B: 2".to_owned());
    assert_eq!(location.option("GDAL_HTTP_TIMEOUT", &get).as_deref(), Some("7"));
    assert_eq!(location.option("GDAL_HTTP_PROXY", &get), None);
    let headers = location.option("GDAL_HTTP_HEADERS", &get);
    assert_eq!(headers.as_deref(), Some("A: 1\nB: 2\naccept: text/html, x\nb: sesame\n"));
    assert_eq!(location.gdal_path(), format!("/{path}"));
    assert!(
        !format!("{}{:?}", location.display(), Options::resolve(&|name| location.option(name, &get)))
            .contains("sesame")
    );
    assert_eq!(url("https://h/a.jp2").option("GDAL_HTTP_TIMEOUT", &get).as_deref(), Some("A: 1,B: 2"));
}

#[test]
fn jpeg_2000_files_are_known_by_their_names() {
    for path in ["x.jp2", "X.JP2", "https://h/x.j2k?sig=/y.tif", "vsicurl?max_retry=1&url=https%3A%2F%2Fh%2Fx.jp2%3Fa"]
    {
        assert!(location(path).is_jp2(), "{path}");
    }
    for path in ["x.tif", "jp2", "x.jp2/y", "x.jp2.ovr.ovr", "https://h/x.xml?name=x.jp2", "vsimem/.d/jp2"] {
        assert!(!location(path).is_jp2(), "{path}");
    }
    assert!(is_jp2_name("a/b.jpx?x") && !is_jp2_name("a.jp2/b"));
}

#[test]
fn tiffs_are_known_by_their_names_and_are_images() {
    for path in ["x.tif", "X.TIFF", "a?b.tif", "https://h/x.TIF?sig=/y.jp2", "s3://b/x.tiff"] {
        let location = location(path);
        assert!(location.is_tiff() && location.is_image() && !location.is_jp2(), "{path}");
    }
    for path in ["x.jp2", "tif", "x.tif/y", "x.gtiff", "https://h/x.xml?name=x.tif"] {
        assert!(!location(path).is_tiff(), "{path}");
    }
    assert!(location("x.jp2").is_image() && !location("x.png").is_image());
    assert!(is_image_name("a/b.tif?x") && is_image_name("a/b.jp2?x"));
    assert!(!is_image_name("a.tif/b") && !is_image_name("a.xml?b.tif"));
}

#[test]
fn the_path_in_its_archive_begins_with_the_products_folder() {
    let landsat = "LC09_L2SP_199026_20240601_20240602_02_T1";
    for path in [format!("{landsat}/{landsat}_SR_B4.TIF"), "S2A_31UDQ_20240601_0_L2A/B03.tif".to_owned()] {
        assert_eq!(location(&format!("/data/{path}")).archive_path(), path);
    }
    assert_eq!(location(&format!("/data/x/{landsat}_SR_B4.TIF")).archive_path(), format!("{landsat}_SR_B4.TIF"));
}

#[test]
fn a_signature_names_no_file() {
    let query = |query: &str| {
        let url = format!("https://me.blob.core.windows.net/c/B03.tif?{query}");
        identifying_query(&::url::Url::parse(&url).unwrap())
    };
    // As Planetary Computer signs: a user delegation.
    let signed = |start: u32, signature: &str| {
        query(&format!(
            "st=2024-06-0{start}T10%3A00%3A00Z&se=2024-06-0{start}T11%3A00%3A00Z&sp=rl&sv=2024-05-04&sr=c&skoid=9c8f\
             &sktid=72f9&skt=2024-06-0{start}T09%3A00%3A00Z&ske=2024-06-09T09%3A00%3A00Z&sks=b&skv=2024-05-04\
             &sig={signature}%3D"
        ))
    };
    assert_eq!((signed(1, "a"), signed(2, "b")), (None, None));
    // What other such signatures may have: policies, addresses, other users, folders, keys of encryption.
    assert_eq!(
        query("si=p&sip=1.2.3.4&saoid=1&suoid=2&scid=3&sdd=4&ses=5&snapshot=6&sig=7").as_deref(),
        Some("snapshot=6")
    );
    assert_eq!(query("si=p&x=1").as_deref(), Some("si=p&x=1"), "no signature");
}

proptest::proptest! {
    #[test]
    fn no_string_makes_the_parser_panic(path in "\\PC{0,80}", tail in "[/?&=:.vsitlmcur3%@,{}\\x00a-c0-9T_é-]{0,60}") {
        for path in [path.clone(), tail.clone(), format!("/vsi{tail}"), format!("vsicurl?{tail}"), format!("?url={tail}"), format!("https://{tail}"), format!("tiles/31/U/DQ/{tail}"), format!("S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206/{tail}")] {
            match parse(&path) {
                Ok(request) => { let _ = (request.location.display(), request.location.is_jp2()); }
                Err(error) => { let _ = error.to_string(); }
            }
            let _ = is_jp2_name(&path);
        }
    }
}

#[test]
fn windows_are_views() {
    let window = Window { x: 512, y: 0, width: 64, height: 32 };
    let table = [
        ("?window=512,0,64,32&url=/x.jp2", View::Window(1, window)),
        ("?url=%2Fx%2Ejp2&window=512,0,64,32", View::Window(1, window)),
        ("?overview=4&window=512,0,64,32&url=/x.jp2", View::Window(4, window)),
        ("?as=tiff&overview=2&window=512,0,64,32&url=/x.jp2", View::Window(2, window)),
    ];
    for (path, view) in table {
        let request = parse(path).unwrap();
        assert_eq!(request.view, view, "{path}");
        assert_eq!(request.location.file_path().rsplit('/').next(), Some("x.jp2"), "{path}");
        assert_eq!(parse(&request.name()).unwrap(), request, "{path}");
    }
    for (path, words) in [
        ("?window=1,2,3&url=/x.jp2", "column,row,width,height"),
        ("?window=1,2,3,4,5&url=/x.jp2", "column,row,width,height"),
        ("?window=1,2,-3,4&url=/x.jp2", "column,row,width,height"),
        ("?window=1,2,3,4294967296&url=/x.jp2", "column,row,width,height"),
        ("?cells=256&url=/x.jp2", "'cells' is not known"),
        ("?as=jp2&window=1,2,3,4&url=/x.jp2", "leave as=jp2 out"),
        ("?packets=1,2,3,4&url=/x.jp2", "'packets' is not known"),
    ] {
        let error = parse(path).unwrap_err().to_string();
        assert!(error.contains(words), "{path}: {error}");
    }
}

#[test]
fn names_of_views_have_no_long_parts() {
    // GDAL calls lstat() on them.
    let long = format!("https://host/{}/x.jp2?sig={}", "a".repeat(200), "%2F".repeat(60));
    let request = parse(&long).unwrap().with(View::Reduced(2));
    assert!(request.name().starts_with("?overview=2&url=https://host/aaa"), "{}", request.name());
    assert_eq!(parse(&request.name()).unwrap().file, long);
}
