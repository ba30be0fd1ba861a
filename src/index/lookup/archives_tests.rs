//! One row serves the same file at every archive, whichever it was made at.

use std::sync::Arc;

use super::find::tests::{find_by, record};
use crate::index::{Record, RecordKey};
use crate::path::Key;
use crate::source::Source;
use crate::source::memory::Memory;

const L2A: &str = "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206";
/// The same tile on the same day: seen from the next orbit, and processed twice.
const OTHERS: [&str; 3] = [
    "S2B_MSIL2A_20241016T104031_N0511_R008_T31UDQ_20241016T140000",
    "S2A_MSIL2A_20241016T105031_N0500_R051_T31UDQ_20250101T000000",
    "S2A_MSIL2A_20241017T105031_N0511_R051_T31UDQ_20241017T151206",
];
const L1C: &str = "S2A_MSIL1C_20241016T105031_N0511_R051_T31UDQ_20241016T125031";
const OLD: &str = "S2A_OPER_PRD_MSIL1C_PDMC_20161230T123456_R065_V20160929T101022_20160929T101643";

/// The URLs of a file of a product at CDSE, Google and AWS.
fn urls(product: &str, band: &str) -> [String; 3] {
    let below = |level: &str, file: &str| {
        format!("{product}.SAFE/GRANULE/{level}_T31UDQ_A1_20241016T105303/IMG_DATA/{file}.jp2")
    };
    let day = product.split('_').nth(2).and_then(|time| time.get(6..8)).unwrap_or_default();
    let (name, metres) = band.split_once('_').unwrap_or((band, ""));
    let aws = "https://sentinel-s2.s3.amazonaws.com/tiles/31/U/DQ/2024/10";
    match product {
        OLD => {
            let tile = "S2A_OPER_MSI_L1C_TL_SGS__20160929T154211_A006640_T32TQM";
            let below = format!("{OLD}.SAFE/GRANULE/{tile}_N02.04/IMG_DATA/{tile}_{band}.jp2");
            [
                format!("s3://eodata/Sentinel-2/MSI/L1C/2016/09/29/{below}"),
                format!("https://storage.googleapis.com/gcp-public-data-sentinel-2/tiles/32/T/QM/{below}"),
                format!("https://sentinel-s2-l1c.s3.amazonaws.com/tiles/32/T/QM/2016/9/29/0/{band}.jp2"),
            ]
        }
        L1C => {
            let below = below("L1C", &format!("T31UDQ_20241016T105031_{band}"));
            [
                format!("/vsis3/eodata/Sentinel-2/MSI/L1C/2024/10/16/{below}"),
                format!("gs://gcp-public-data-sentinel-2/tiles/31/U/DQ/{below}"),
                format!("{aws}/16/1/{band}.jp2"),
            ]
        }
        _ => {
            let below = below("L2A", &format!("R{metres}/T31UDQ_{}_{band}", product.split('_').nth(2).unwrap()));
            [
                format!("s3://eodata/Sentinel-2/MSI/L2A/2024/10/{day}/{below}"),
                format!("https://storage.googleapis.com/gcp-public-data-sentinel-2/L2/tiles/31/U/DQ/{below}"),
                format!("{aws}/{day}/0/R{metres}/{name}.jp2"),
            ]
        }
    }
}

fn key(url: &str) -> Key {
    crate::path::parse(url).unwrap().key.unwrap()
}

/// The row of a file as it is made at a URL; `size` tells it from others. `told` is the product's name where another
/// file of the archive tells it.
fn row(url: &str, told: Option<&str>, size: u64) -> Record {
    let mut key = RecordKey::new(&key(url));
    key.product_id = told.map_or(key.product_id, str::to_owned);
    let row = record(&key.product_id, &key.band_id, key.resolution);
    // Beyond the last tile-part may be something.
    let file_size = row.file_size.map(|was| was + size);
    Record { key, file_size, ..row }
}

/// The products and sizes of the rows that an index of `rows` has for a URL.
fn found(name: &str, mut rows: Vec<Record>, url: &str) -> Vec<(String, u64)> {
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    let bytes = crate::index::row::write::build_index(&rows).unwrap();
    let memory = Arc::new(Memory::new(name, bytes));
    let found = find_by(name, &key(url), url, move |_: &str| Ok(memory.clone() as Arc<dyn Source>));
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    found.records.into_iter().map(|row| (row.key.product_id, row.file_size.unwrap())).collect()
}

#[test]
fn a_row_made_at_one_archive_is_found_by_the_urls_of_all() {
    for (product, band) in
        [(L2A, "B03_10m"), (L2A, "B03_20m"), (L2A, "SCL_20m"), (L1C, "B03"), (L1C, "TCI"), (OLD, "B03")]
    {
        let urls = urls(product, band);
        for (from, made_at) in urls.iter().enumerate() {
            // What AWS has tells the product in another file, which may not have been asked for.
            for told in [Some(product), None] {
                for (to, url) in urls.iter().enumerate() {
                    let row = row(made_at, told, 1);
                    let name = format!("https://test/{product}-{band}-{from}-{to}-{}.parquet", told.is_some());
                    let expected = vec![(row.key.product_id.clone(), row.file_size.unwrap())];
                    assert_eq!(found(&name, vec![row], url), expected, "{made_at} {url}");
                }
            }
        }
    }
}

#[test]
fn other_files_of_the_day_are_told_apart() {
    let rows: Vec<Record> = [L2A, OTHERS[0], OTHERS[1], OTHERS[2]]
        .iter()
        .flat_map(|product| ["B03_10m", "B03_20m", "B04_10m"].map(|band| row(&urls(product, band)[0], None, 5)))
        .chain(["B03", "B04"].map(|band| row(&urls(L1C, band)[0], None, 7)))
        .collect();
    let ask = |product: &str, band: &str, archive: usize| {
        let name = format!("https://test/day-{product}-{band}-{archive}.parquet");
        let mut names: Vec<_> =
            found(&name, rows.clone(), &urls(product, band)[archive]).into_iter().map(|row| row.0).collect();
        names.sort();
        names
    };
    for archive in 0..2 {
        assert_eq!(ask(L2A, "B03_10m", archive), [L2A]);
        assert_eq!(ask(L1C, "B03", archive), [L1C]);
    }
    // The day is all that AWS tells: the size decides.
    assert_eq!(ask(L2A, "B03_10m", 2), [OTHERS[1], L2A, OTHERS[0]]);
    assert_eq!(ask(L1C, "B03", 2), [L1C]);
}

#[test]
fn the_whole_name_goes_before_a_day() {
    // The row of the day stands far before that of the name, which is the right one: more row groups are between them than
    // are asked together.
    let mut rows = vec![row(&urls(L2A, "B03_10m")[2], None, 3)];
    for n in 0..17 * 256 {
        let mut other = rows[0].clone();
        other.key.band_id = format!("MSK_{n:04}");
        rows.push(other);
    }
    rows.push(row(&urls(L2A, "B03_10m")[0], None, 9));
    let names = found("https://test/whole.parquet", rows, &urls(L2A, "B03_10m")[0]);
    assert!(names.iter().any(|(product, _)| product == L2A), "{names:?}");
}
