//! GMLJP2 (OGC 05-047r3, 08-085r8): an association box (T.801, `asoc`) labelled "gml.data", in it one such box for each
//! XML document, of which "gml.root-instance" describes the coverage.

use std::ops::Range;

use roxmltree::{Document, Node};

use super::affine::Affine;
use crate::jp2::{Header, box_of, build_box, walk_boxes};

/// The label of the document that describes the coverage.
const ROOT: &str = "gml.root-instance";

/// GDAL reads the vectors of a file that says so in a comment in the other order, where it swaps the axes.
const OTHER_ORDER: &str = "GDAL_JP2K_ALT_OFFSETVECTOR_ORDER";

/// A document with its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Labelled<'a> {
    label: &'a [u8],
    xml: &'a [u8],
}

/// The documents in the contents of an association box; none where it is not of GMLJP2.
pub(super) fn documents(asoc: &[u8]) -> Vec<Labelled<'_>> {
    fn label(contents: &[u8]) -> Option<&[u8]> {
        box_of(contents, *b"lbl ").map(|found| without_nuls(found.contents))
    }
    let is_gml = walk_boxes(asoc).next().is_some_and(|first| first.kind == *b"lbl ")
        && label(asoc).is_some_and(|label| label.eq_ignore_ascii_case(b"gml.data"));
    let mut found = Vec::new();
    for inner in walk_boxes(asoc).filter(|inner| is_gml && inner.kind == *b"asoc") {
        let xml = box_of(inner.contents, *b"xml ").map(|xml| xml.contents);
        if let (Some(label), Some(xml)) = (label(inner.contents), xml) {
            found.push(Labelled { label, xml });
        }
    }
    found
}

fn without_nuls(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}

/// Where a grid of pixels lies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grid {
    /// The EPSG code of its coordinate reference system.
    pub(crate) epsg: u16,
    /// The centre of the first pixel.
    pub(crate) origin: [f64; 2],
    /// The steps to the next column and to the next row.
    pub(crate) steps: [[f64; 2]; 2],
}

impl Grid {
    /// The affine transform of its pixels.
    pub(crate) fn transform(&self) -> [f64; 6] {
        Affine::from_centre(self.origin, self.steps).0
    }
}

/// The grid of the image of a file that begins with `header`, if it is one of UTM on WGS 84; `None` where the file has no
/// GMLJP2 box before its codestream, or one that says something else.
pub(crate) fn grid_of(header: &Header) -> Option<Grid> {
    let found: Vec<Labelled<'_>> =
        header.boxes().filter(|one| one.kind == *b"asoc").flat_map(|one| documents(one.contents)).collect();
    let grid = with_coverage(&found, |_, coverage| {
        let epsg = coverage.reference_system().map(|(epsg, _)| epsg);
        let epsg = epsg.filter(|epsg| matches!(epsg, 32_601..=32_660 | 32_701..=32_760));
        Ok(epsg.map(|epsg| Grid { epsg, origin: coverage.origin.pair, steps: coverage.steps() }))
    });
    grid.ok()??
}

/// The documents as GDAL tells of them: their labels and their texts; `None` for one that is not valid UTF-8.
pub(super) fn texts<'a>(documents: &'a [Labelled<'_>]) -> impl Iterator<Item = Option<(&'a str, String)>> {
    documents.iter().map(|document| {
        let text = std::str::from_utf8(without_nuls(document.xml)).ok()?;
        Some((std::str::from_utf8(document.label).ok()?, text.replace('\0', "\n")))
    })
}

/// The document that describes the coverage: of several, the last.
fn root(documents: &[Labelled<'_>]) -> Option<Result<String, &'static str>> {
    let found = documents.iter().rfind(|document| document.label.eq_ignore_ascii_case(ROOT.as_bytes()))?;
    // What follows the document is padding, and line ends may be NULs, which GDAL mends.
    let end = found.xml.iter().rposition(|byte| *byte == b'>').map_or(0, |last| last + 1);
    let text = std::str::from_utf8(found.xml.get(..end).unwrap_or_default());
    Some(text.map(|text| text.replace('\0', "\n")).map_err(|_| "its GMLJP2 box is not valid UTF-8"))
}

/// What `f` makes of the text of the document that describes the coverage, and of the coverage; `None` where there is none.
fn with_coverage<T>(
    documents: &[Labelled<'_>],
    f: impl FnOnce(&str, &Coverage<'_>) -> Result<T, &'static str>,
) -> Result<Option<T>, &'static str> {
    let Some(text) = root(documents).transpose()? else { return Ok(None) };
    let document = Document::parse(&text).map_err(|_| "its GMLJP2 box is not valid XML")?;
    Coverage::of(&document)?.map(|coverage| f(&text, &coverage)).transpose()
}

/// Two numbers of a document and where they stand there; `rest` are the words that follow them.
struct Pair {
    pair: [f64; 2],
    rest: Vec<String>,
    at: Range<usize>,
}

impl Pair {
    fn of(node: Node<'_, '_>) -> Option<Self> {
        let text = node.first_child().filter(|text| text.is_text() && text.next_sibling().is_none())?;
        let mut words =
            text.text()?.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|word| !word.is_empty());
        let mut number = || words.next()?.parse::<f64>().ok().filter(|value| value.is_finite());
        let pair = [number()?, number()?];
        Some(Self { pair, rest: words.map(str::to_owned).collect(), at: text.range() })
    }

    fn with(&self, [x, y]: [f64; 2]) -> (Range<usize>, String) {
        let words = [x.to_string(), y.to_string()].into_iter().chain(self.rest.iter().cloned());
        (self.at.clone(), words.collect::<Vec<_>>().join(" "))
    }
}

/// The first rectified grid of a document, as GDAL finds it.
struct Coverage<'a> {
    grid: Node<'a, 'a>,
    /// The centre of the first pixel.
    origin: Pair,
    /// The steps to the next column and to the next row.
    columns: Pair,
    rows: Pair,
    /// The name of the coordinate reference system.
    srs: Option<&'a str>,
}

impl<'a> Coverage<'a> {
    /// `None` where GDAL finds none; why it is not understood where GDAL may find one.
    fn of(document: &'a Document<'a>) -> Result<Option<Self>, &'static str> {
        fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
            node.children().find(|child| child.tag_name().name() == name)
        }
        let grid = document.descendants().find(|node| node.tag_name().name() == "RectifiedGrid");
        let point = grid.and_then(|grid| child(child(grid, "origin")?, "Point"));
        let (Some(grid), Some(point)) = (grid, point) else { return Ok(None) };
        let mut vectors = grid.children().filter(|child| child.tag_name().name() == "offsetVector");
        let (Some(columns), Some(rows)) = (vectors.next(), vectors.next()) else { return Ok(None) };
        let position =
            child(point, "pos").or_else(|| child(point, "coordinates").filter(|it| it.attributes().len() == 0));
        let pairs = (position.and_then(Pair::of), Pair::of(columns), Pair::of(rows));
        let (Some(origin), Some(columns), Some(rows)) = pairs else {
            return Err("the numbers of its GMLJP2 box");
        };
        let envelope = || {
            let collection = document.descendants().find(|node| node.tag_name().name() == "FeatureCollection")?;
            child(child(collection, "boundedBy")?, "Envelope")?.attribute("srsName")
        };
        let srs = point.attribute("srsName").or_else(envelope).or_else(|| grid.attribute("srsName"));
        Ok(Some(Self { grid, origin, columns, rows, srs }))
    }

    fn steps(&self) -> [[f64; 2]; 2] {
        [self.columns.pair, self.rows.pair]
    }

    /// The EPSG code of the reference system, and whether GDAL takes its first axis for the second one; `None` where that is
    /// not certain.
    fn reference_system(&self) -> Option<(u16, bool)> {
        let srs = self.srs?;
        let after = |prefix: &str| {
            srs.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix)).and(srs.get(prefix.len()..))
        };
        let code = |rest: &str, between: char| -> Option<u16> {
            let (_, code) = rest.split_once(between)?;
            code.parse().ok()
        };
        if let Some(rest) = after("epsg:") {
            return Some((rest.parse().ok()?, false));
        }
        let by_urn = after("urn:ogc:def:crs:EPSG:").and_then(|rest| code(rest, ':'));
        let by_url = || after("http://www.opengis.net/def/crs/EPSG/").and_then(|rest| code(rest, '/'));
        let epsg = by_urn.or_else(by_url)?;
        Some((epsg, is_northing_first(epsg)? && !self.names_easting_first()))
    }

    /// Whether the grid names its axes, easting first.
    fn names_easting_first(&self) -> bool {
        let names = self.grid.children().filter(|child| child.tag_name().name() == "axisName");
        let names: Vec<String> = names.map(|name| name.text().unwrap_or_default().to_ascii_uppercase()).collect();
        let starts = |index: usize, words: [&str; 2]| {
            names.get(index).is_some_and(|name| words.iter().any(|word| name.starts_with(word)))
        };
        starts(0, ["EAST", "LONG"]) && starts(1, ["NORTH", "LAT"])
    }
}

/// Whether EPSG has northing or latitude as the first axis of a reference system; `None` of those that are not listed here.
fn is_northing_first(epsg: u16) -> Option<bool> {
    match epsg {
        // UTM on WGS 84 and ETRS89; France, Switzerland, the Netherlands, Great Britain; Web Mercator.
        32_601..=32_660 | 32_701..=32_760 | 25_828..=25_838 | 2154 | 2056 | 28_992 | 27_700 | 3857 => Some(false),
        // ETRS89 LCC and LAEA; ETRS89 and WGS 84 in degrees.
        3034 | 3035 | 4258 | 4326 => Some(true),
        _ => None,
    }
}

/// The EPSG code and the transform; `None` where the documents say nothing.
pub(super) fn place(documents: &[Labelled<'_>]) -> Result<Option<(u16, Affine)>, &'static str> {
    with_coverage(documents, |text, coverage| {
        let (epsg, is_flipped) = coverage.reference_system().ok_or("the reference system of its GMLJP2 box")?;
        if is_flipped && text.contains(OTHER_ORDER) {
            return Err("the order of the vectors of its GMLJP2 box");
        }
        let affine = Affine::from_centre(coverage.origin.pair, coverage.steps());
        Ok((epsg, if is_flipped { affine.flipped() } else { affine }))
    })
}

/// The box of pixels `scale` times as large, from the same corner: the documents are the same but for three pairs of
/// numbers, so that they have their reference system whatever it is. Nothing where they georeference nothing.
pub(super) fn build_scaled(documents: &[Labelled<'_>], scale: [f64; 2]) -> Result<Vec<u8>, &'static str> {
    let scaled = with_coverage(documents, |text, coverage| {
        let [sx, sy] = scale;
        if sx != sy && text.contains(OTHER_ORDER) {
            return Err("the order of the vectors of its GMLJP2 box");
        }
        let Coverage { origin, columns, rows, .. } = coverage;
        let times = |pair: [f64; 2], scale: f64| pair.map(|value| value * scale);
        let [dx, dy] = Affine::shift(coverage.steps(), scale);
        let [x, y] = origin.pair;
        let mut changes =
            [origin.with([x + dx, y + dy]), columns.with(times(columns.pair, sx)), rows.with(times(rows.pair, sy))];
        changes.sort_by_key(|(at, _)| std::cmp::Reverse(at.start));
        let mut root = text.to_owned();
        for (at, words) in changes {
            root.replace_range(at, &words);
        }
        Ok(root)
    });
    let Some(root) = scaled? else { return Ok(Vec::new()) };
    let labelled = |label: &[u8], xml: &[u8]| {
        build_box(*b"asoc", &[build_box(*b"lbl ", label)?, build_box(*b"xml ", xml)?].concat())
    };
    let is_root = |document: &&Labelled<'_>| document.label.eq_ignore_ascii_case(ROOT.as_bytes());
    let others = documents.iter().filter(|document| !is_root(document));
    let boxes = std::iter::once(labelled(ROOT.as_bytes(), root.as_bytes()))
        .chain(others.map(|document| labelled(document.label, document.xml)));
    let label = build_box(*b"lbl ", b"gml.data");
    let contents: Option<Vec<Vec<u8>>> = std::iter::once(label).chain(boxes).collect();
    contents.and_then(|contents| build_box(*b"asoc", &contents.concat())).ok_or("the length of its GMLJP2 box")
}
