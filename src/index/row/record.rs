//! One row of the index.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::overviews::EmbeddedOverviews;
use super::packets::PacketLengths;
use super::tiff::head_of;
use crate::error::{Error, Result};
use crate::index::scan::Scanned;
use crate::index::scan::own_tlm::own_tile_parts;
use crate::index::scan::tiff::ScannedTiff;
use crate::jp2::{Header, Progress, SOD_LENGTH, SOT_LENGTH, Structure, TilePart, parse_main_header};
use crate::path::{Key, ProductName};
use crate::source::{Source, SourceOffset};
use crate::tiff::{Head, Pieces};

/// The full key of a row. Rows are sorted by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct RecordKey {
    /// The product's name without `.SAFE`. Where a file's path has none: `L2A_T31UDQ_20241016T105031`, what the path says
    /// of it; empty where that is nothing.
    pub(crate) product_id: String,
    /// `31UDQ`; empty where unknown, and for Landsat, whose scenes lie in no such tile.
    pub(crate) mgrs_tile: String,
    /// The v1 spelling: `B02` at the band's best resolution, else `B02_20m`.
    pub(crate) band_id: String,
    /// The resolution in metres; 0 where unknown.
    pub(crate) resolution: u32,
}

impl RecordKey {
    /// The row's key for a file with this name.
    pub(crate) fn new(key: &Key) -> Self {
        let best = key.best_resolution();
        let band_id = match key.resolution {
            Some(metres) if best != Some(metres) => format!("{}_{metres}m", key.band),
            _ => key.band.clone(),
        };
        let mgrs_tile = key.mgrs_tile.clone().unwrap_or_default();
        let product_id = match &key.product {
            ProductName::Full(name) => name.clone(),
            ProductName::Sensed { time, level: Some(level) } => format!("{level}_T{mgrs_tile}_{time}"),
            ProductName::Sensed { time, level: None } => format!("T{mgrs_tile}_{time}"),
            ProductName::Unknown => String::new(),
        };
        Self { product_id, mgrs_tile, band_id, resolution: key.resolution.or(best).unwrap_or(0) }
    }
}

/// One row: what a JP2 is called, what it was when it was scanned, and where its tile-parts lie; or what a TIFF is called, and
/// its header.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// What the index calls the file.
    pub(crate) key: RecordKey,
    /// The object's key in its archive, without scheme and bucket.
    pub(crate) path: String,
    /// The size of the file in bytes; `None` in v1 rows of files that have a TLM of their own (their blob is empty).
    pub(crate) file_size: Option<u64>,
    /// Where the first SOT marker stands; `None` as above.
    pub(crate) first_sot: Option<u64>,
    /// The file up to the end of the first SOT marker segment, which v1 rows do not have; of a TIFF, its `ranges`.
    pub(crate) header: Option<Bytes>,
    /// The tile-parts in source order, not yet checked against the header; empty in rows of files with a TLM whose
    /// headers of tile-parts nobody has read.
    pub(crate) parts: Vec<TilePart>,
    /// Whether the file has a TLM marker of its own that fits it.
    pub(crate) has_tlm: bool,
    /// Of a TIFF, the ranges of the file that `header` holds, one after the other: what opening it takes.
    pub(crate) ranges: Option<Vec<Range<u64>>>,
    /// Where the row was made from ([`crate::source::Source::origin`]); v1 rows do not say.
    pub(crate) origin: Option<String>,
    /// The file's ETag when the row was made.
    pub(crate) etag: Option<String>,
    /// When the file had last been modified, in seconds since 1970-01-01 UTC.
    pub(crate) last_modified: Option<i64>,
    /// How long its packets are, where the index carries that.
    pub(crate) packets: Option<PacketLengths>,
    /// The packets of its coarsest resolutions, where the index carries them.
    pub(crate) overviews: Option<EmbeddedOverviews>,
}

impl Record {
    /// The row of a file that was just scanned. `path` is the object's key in its archive, `origin` its source's.
    pub(crate) fn from_scan(key: RecordKey, path: &str, origin: &str, scanned: Scanned) -> Self {
        Self {
            key,
            path: path.to_owned(),
            file_size: Some(scanned.meta.size),
            first_sot: Some(scanned.main.end),
            header: Some(scanned.header),
            parts: scanned.parts,
            has_tlm: scanned.has_tlm,
            ranges: None,
            origin: Some(origin.to_owned()),
            etag: scanned.meta.etag,
            last_modified: scanned.meta.last_modified,
            packets: None,
            overviews: None,
        }
    }

    /// The same of a TIFF.
    pub(crate) fn from_tiff(key: RecordKey, path: &str, origin: &str, scanned: ScannedTiff) -> Self {
        Self {
            key,
            path: path.to_owned(),
            file_size: Some(scanned.meta.size),
            first_sot: None,
            header: Some(scanned.header),
            parts: Vec::new(),
            has_tlm: false,
            ranges: Some(scanned.ranges),
            origin: Some(origin.to_owned()),
            etag: scanned.meta.etag,
            last_modified: scanned.meta.last_modified,
            packets: None,
            overviews: None,
        }
    }

    /// Whether it is of a TIFF.
    pub(crate) fn is_of_tiff(&self) -> bool {
        self.ranges.is_some()
    }

    /// The header of a TIFF as stretches of the file, and what it says.
    ///
    /// # Errors
    /// [`Error::Row`] and [`Error::Malformed`] where its columns contradict each other, or the header is not valid.
    pub(crate) fn tiff(&self) -> Result<(Pieces, Head)> {
        let (Some(size), Some(header), Some(ranges)) = (self.file_size, &self.header, &self.ranges) else {
            return Err(Error::Row { what: "it is not of a TIFF".to_owned() });
        };
        head_of(size, header, ranges)
    }

    /// Whether a TIFF has the size and the header of this row. The first request brings its beginning, and tells its size.
    ///
    /// # Errors
    /// As [`Record::tiff`]; whatever reading the file fails with.
    pub(crate) fn is_header_of(&self, source: &dyn Source) -> Result<bool> {
        let (pieces, head) = self.tiff()?;
        let mut ranges = head.ranges.iter().map(|range| SourceOffset(range.start)..SourceOffset(range.end));
        let beginning = source.read_up_to(SourceOffset(0), ranges.next().map_or(0, |first| first.end.0))?;
        if source.head()?.size != pieces.size() {
            return Ok(false);
        }
        let mut found = vec![beginning];
        found.extend(source.read_ranges(&ranges.collect::<Vec<_>>())?);
        Ok(head.ranges.iter().map(|range| pieces.get(range)).eq(found.iter().map(|bytes| Some(&**bytes))))
    }

    /// Checks that the `index` column is of a file of the size that the row records.
    pub(super) fn check_size(&self, size: u64) -> Result<()> {
        match self.file_size {
            Some(told) if told != size => {
                Err(Error::Row { what: format!("file_size is {told}, in the index column {size}") })
            }
            _ => Ok(()),
        }
    }

    /// The file's structure, checked as a whole: `header` is the file from its first byte to the end of its first SOT
    /// marker segment, the row's own or read from the file, `file_size` the size of a file whose row does not record it.
    ///
    /// # Errors
    /// [`Error::Row`] where header and tile-parts contradict each other; [`Error::Malformed`] where the header is not valid.
    pub(crate) fn structure(&self, header: &Bytes, file_size: u64) -> Result<Structure> {
        let row = |what: String| Error::Row { what };
        let file_size = self.file_size.unwrap_or(file_size);
        let Progress::Done(main) = parse_main_header(header, header.len() as u64)? else {
            return Err(row(format!("a header of {} bytes that does not end there", header.len())));
        };
        if let Some(first) = self.first_sot.filter(|first| *first != main.end) {
            return Err(row(format!("the first tile-part is recorded at {first}, the header ends at {}", main.end)));
        }
        let parts = match self.has_tlm {
            true => self.with_heads(own_tile_parts(&main, header, file_size)?)?,
            false => self.parts.clone(),
        };
        check_heads(&parts, main.coding.default.levels)?;
        Structure::new(file_size, Header { bytes: header.clone(), main }, parts)
    }
}

impl Record {
    /// The tile-parts by a file's own TLM, with the heads that the row has of them.
    fn with_heads(&self, own: Vec<TilePart>) -> Result<Vec<TilePart>> {
        if self.parts.is_empty() {
            return Ok(own);
        }
        if own.iter().map(TilePart::place).eq(self.parts.iter().map(TilePart::place)) {
            Ok(self.parts.clone())
        } else {
            Err(Error::Row { what: "its tile-parts are not those of the file's TLM".into() })
        }
    }
}

/// Heads fit tile-parts that are coded with `levels` decomposition levels: SOT, what is kept, SOD and packets stand in this
/// order, and no ends of resolutions are known, or those of all, the last at the tile-part's end.
fn check_heads(parts: &[TilePart], levels: u8) -> Result<()> {
    let fits = |part: &&TilePart| {
        let Some(head) = &part.head else { return true };
        let (kept, packets) = (u64::from(head.kept), u64::from(head.packets));
        let ends_fit = match head.resolution_ends.as_slice() {
            [] => true,
            ends @ [.., last] => ends.len() == usize::from(levels) + 1 && *last == part.length,
        };
        SOT_LENGTH <= kept && kept + SOD_LENGTH <= packets && head.packets <= part.length && ends_fit
    };
    match parts.iter().find(|part| !fits(part)) {
        None => Ok(()),
        Some(part) => Err(Error::Row {
            what: format!(
                "a tile-part of {} bytes with {levels} decomposition levels is said to have the header and resolutions {:?}",
                part.length, part.head
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::scan::scan;
    use crate::jp2::made;
    use crate::path::key_of_names;
    use crate::source::memory::Memory;

    fn record(file: &made::File) -> Record {
        let source = Memory::new("file:///x.jp2", file.bytes());
        let key = RecordKey { product_id: "P".into(), mgrs_tile: String::new(), band_id: "B".into(), resolution: 0 };
        Record::from_scan(key, "x.jp2", "file:///x.jp2", scan(&source).unwrap())
    }

    #[test]
    fn a_scanned_file_gives_a_structure() {
        for file in [
            made::File::default(),
            made::File { tlm: true, ..made::File::default() },
            made::File { eoc: false, parts: 2, reversed: true, ..made::File::default() },
            made::File { jp2c: Some(crate::jp2::LBox::Short(0)), trailer: vec![7; 9999], ..made::File::default() },
        ] {
            let record = record(&file);
            assert_eq!(record.has_tlm, file.tlm);
            let structure = record.structure(record.header.as_ref().unwrap(), 0).unwrap();
            assert_eq!(structure.tile_parts.tiles(), 6);
            assert_eq!(structure.tile_parts.parts()[0].offset, record.header.unwrap().len() as u64 - SOT_LENGTH);
        }
    }

    #[test]
    fn a_row_that_contradicts_its_header_is_refused() {
        let good = record(&made::File { packet: 3000, ..made::File::default() });
        let header = good.header.clone().unwrap();
        let refused = |change: &dyn Fn(&mut Record), header: &Bytes| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.structure(header, 0).unwrap_err()
        };
        refused(&|_| (), &header.slice(..header.len() - 1));
        refused(&|_| (), &Bytes::from([&header[..], &[0xFF, 0x64, 0, 2]].concat()));
        refused(&|_| (), &header.slice(..header.len() - 12));
        refused(&|bad| bad.first_sot = Some(1), &header);
        refused(&|bad| bad.parts[0].offset += 1, &header);
        refused(&|bad| drop(bad.parts.pop()), &header);
        refused(&|bad| bad.parts[5].tile = 6, &header);
        refused(&|bad| bad.parts[2].length = 13, &header);
        refused(&|bad| bad.file_size = Some(bad.file_size.unwrap() - 5000), &header);
    }

    #[test]
    fn heads_that_do_not_fit_are_refused() {
        for tlm in [false, true] {
            let mut good = record(&made::File { plt: true, ..made::File::default() });
            if tlm {
                // The header of the same file with a TLM: as a row of it has it, all is as much further on.
                let other = record(&made::File { tlm: true, ..made::File::default() });
                let further = other.first_sot.unwrap() - good.first_sot.unwrap();
                good.parts.iter_mut().for_each(|part| part.offset += further);
                let file = made::File { tlm: true, plt: true, ..made::File::default() };
                good = Record { parts: good.parts, ..record(&file) };
            }
            let header = good.header.clone().unwrap();
            assert!(good.structure(&header, 0).unwrap().tile_parts.parts().iter().all(|part| part.head.is_some()));
            let check = |change: &dyn Fn(&mut crate::jp2::TilePartHead)| {
                let mut row = good.clone();
                change(row.parts[4].head.as_mut().unwrap());
                row.structure(&header, 0).map(drop)
            };
            let length = good.parts[4].length;
            let refused = |change: &dyn Fn(&mut crate::jp2::TilePartHead)| {
                assert!(
                    matches!(check(change), Err(Error::Row { what }) if what.contains(&format!(" {length} bytes")))
                );
            };
            check(&|head| head.resolution_ends.clear()).unwrap();
            refused(&|head| head.resolution_ends.truncate(2));
            refused(&|head| head.resolution_ends.insert(0, 20));
            refused(&|head| head.resolution_ends[2] -= 1);
            refused(&|head| head.kept = 11);
            refused(&|head| head.packets = head.kept + 1);
            refused(&|head| head.kept = u32::MAX);
            refused(&|head| {
                head.resolution_ends.clear();
                head.packets = length + 1;
            });
        }
    }

    #[test]
    fn cogs_have_the_keys_of_their_archives() {
        let keyed = |path: &str| {
            let key = RecordKey::new(&key_of_names(path).unwrap());
            (key.product_id, key.mgrs_tile, key.band_id, key.resolution)
        };
        let cog = |file: &str| keyed(&format!("5/V/PG/2024/6/S2A_5VPG_20240601_0_L2A/{file}.tif"));
        let expected = |band: &str, metres| ("S2A_5VPG_20240601_0_L2A".into(), "05VPG".into(), band.into(), metres);
        assert_eq!(cog("B03"), expected("B03", 10));
        assert_eq!((cog("B01"), cog("AOT")), (expected("B01", 60), expected("AOT", 0)));
        assert_eq!(cog("CLD_20m"), expected("CLD_20m", 20));
        let product = "LC09_L1TP_199026_20240601_20240602_02_T1";
        let landsat = |band: &str| keyed(&format!("{product}_{band}.TIF"));
        let expected = |band: &str, metres| (product.into(), String::new(), band.into(), metres);
        // B10 is a thermal band here, and one of 60 m of Sentinel-2's.
        assert_eq!((landsat("B10"), landsat("B8")), (expected("B10", 30), expected("B8", 15)));
        assert_eq!(landsat("QA_PIXEL"), expected("QA_PIXEL", 30));
        assert_eq!(keyed("/data/scene.tif"), (String::new(), String::new(), "scene".into(), 0));
    }

    #[test]
    fn bands_are_spelled_as_v1_has_them() {
        let product = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";
        let spelled = |path: &str| {
            let key = RecordKey::new(&key_of_names(path).unwrap());
            (key.product_id, key.band_id, key.resolution)
        };
        let of = |band: &str| spelled(&format!("{product}.SAFE/G/T31UDQ_20241016T105031_{band}.jp2"));
        assert_eq!(of("B03_10m"), (product.into(), "B03".into(), 10));
        assert_eq!(of("B03_20m"), (product.into(), "B03_20m".into(), 20));
        assert_eq!(of("B01_20m"), (product.into(), "B01".into(), 20));
        assert_eq!(of("B01_60m"), (product.into(), "B01_60m".into(), 60));
        assert_eq!(of("PVI"), (product.into(), "PVI".into(), 0));
        let level = |path| spelled(path);
        assert_eq!(level("T31UDQ_20241016T105031_B01.jp2"), ("L1C_T31UDQ_20241016T105031".into(), "B01".into(), 60));
        assert_eq!(
            level("tiles/31/U/DQ/2024/10/16/0/R60m/B03.jp2"),
            ("L2A_T31UDQ_20241016".into(), "B03_60m".into(), 60)
        );
        assert_eq!(level("x.jp2"), (String::new(), "x".into(), 0));
    }
}
