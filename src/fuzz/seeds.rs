//! What fuzzing begins with: files made in code, and the structures that they consist of.

use std::sync::Arc;

use bytes::Bytes;

use super::index::{made_file, path_in};
use super::memory::Host;
use crate::geo::Georeference;
use crate::index::{PacketLengths, Record, RecordKey, build_index, build_index_blob, build_resolution_ends, scan};
use crate::jp2::{EOC, LBox, Progress, made, parse_main_header};
use crate::path;
use crate::source::{HostFiles, Identity, Source};
use crate::tiff::{Image, SampleType, Tiff};

/// The first inputs of every target, by its name. `codestreams` are small ones that an encoder has written.
pub fn seeds(codestreams: &[Vec<u8>]) -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut files = made::File::many();
    files.extend([
        made::File::default(),
        made::File { tlm: true, plt: true, ..made::File::default() },
        made::File { parts: 3, reversed: true, plt: true, ..made::File::default() },
        made::File { jp2c: Some(LBox::Extended(0)), eoc: false, ..made::File::default() },
    ]);
    for file in &mut files {
        // Small files are mutated in more places that matter.
        if file.tile == 32 {
            (file.width, file.height, file.packet) = (file.width.min(64), file.height.min(32), 1);
        }
    }
    let made = files.iter().map(made::File::bytes);
    for (number, bytes) in made.chain(codestreams.iter().cloned()).enumerate() {
        let Ok(Progress::Done(main)) = parse_main_header(&bytes, bytes.len() as u64) else { continue };
        seeds.push(("main_header", bytes[..main.end as usize + 2].to_vec()));
        seeds.push(("tile_parts", bytes[main.codestream as usize..].to_vec()));
        seeds.push(("file", [&[number as u8 & 3], &bytes[..]].concat()));
        if main.has_tlm() {
            seeds.push(("tlm", main.tlm(&bytes).concat()));
        }
        seeds.extend(row(&bytes).map(|row| ("row", row)));
    }
    seeds.extend(codestreams.iter().filter_map(|bytes| Some(("packets", packets_of(bytes)?))));
    seeds.extend(codestreams.iter().map(|bytes| ("decode", [&[0, 0, 0], &bytes[..]].concat())));
    seeds.extend(codestreams.iter().map(|bytes| ("decode", [&[1, 90, 160], &bytes[..]].concat())));
    // What these bytes choose: structures that are unlike.
    let choices = |seed: u32| (0..120u32).map(|place| (place * (2 * seed + 37) + seed * 91) as u8).collect();
    seeds.extend((0..8).map(|seed| ("openjpeg", choices(seed))));
    seeds.push(("index", index()));
    seeds.extend([(40, 8), (16, 16), (70, 32)].map(|(side, bits)| ("tiff", tiff(side, bits))));
    let paths = [
        "/data/x.jp2",
        "file:///data/x%20y.jp2",
        "vsicurl?max_retry=3&url=https%3A%2F%2Fuser:secret@host%2Fx.jp2%3Ftoken%3Dsecret",
        "s3://eodata/Sentinel-2/MSI/L2A/2024/10/16/x.jp2.ovr",
        "?overview=4&url=%2Fvsizip%2F%7B%2Fdata%2Fx.zip%7D%2Fx.jp2",
        "gs://bucket/x.jp2",
        "S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20241016T151206.SAFE/MSK_CLDPRB_20m.jp2",
    ];
    seeds.extend(paths.into_iter().chain([path_in("x").as_str()]).map(|path| ("path", path.into())));
    let options = "VSITLM_INDEX=/a.parquet;s3://b/{level}-{mgrs_tile}.parquet\nVSITLM_CACHE_SIZE=64MB\nVSITLM_STORE=https://host/eodata\n\
        VSITLM_MERGE_GAP=AUTO\nVSITLM_VERIFY=OPEN\nVSITLM_MAX_CONNECTIONS=8\nGDAL_HTTP_HEADERS=A: b,\"C: d, e\"\n\
        GDAL_HTTP_TIMEOUT=1.5\nGDAL_HTTP_USERPWD=secret-user:word\nAWS_SECRET_ACCESS_KEY=secret-key\n\
        AWS_S3_ENDPOINT=host:9000\nAWS_HTTPS=NO\nAWS_VIRTUAL_HOSTING=FALSE\n";
    seeds.push(("options", options.into()));
    seeds
}

/// The main header of a codestream and the packets of its only tile, which is one tile-part.
fn packets_of(bytes: &[u8]) -> Option<Vec<u8>> {
    let Progress::Done(main) = parse_main_header(bytes, bytes.len() as u64).ok()? else { return None };
    let sod = bytes.windows(2).position(|at| at == [0xFF, 0x93])?;
    let end = bytes.strip_suffix(&EOC).unwrap_or(bytes).len();
    Some([&bytes[..main.end as usize + 2], &bytes[sod + 2..end]].concat())
}

/// The row of a file.
fn row(bytes: &[u8]) -> Option<Vec<u8>> {
    let record = record("x.jp2", bytes)?;
    let header = record.header?;
    let blob = build_index_blob(record.file_size?, record.first_sot?, &record.parts);
    let ends = build_resolution_ends(&record.parts);
    let mut row = Vec::new();
    for column in [Some(&header[..]), (!record.has_tlm).then_some(&blob[..]), ends.as_deref()] {
        row.extend_from_slice(&column.map_or(0xFFFF, |column| column.len() as u16).to_be_bytes());
    }
    row.extend_from_slice(&record.file_size?.to_be_bytes());
    row.extend_from_slice(&header);
    if !record.has_tlm {
        row.extend_from_slice(&blob);
    }
    row.extend_from_slice(&ends.unwrap_or_default());
    if let Some(packets) = record.packets {
        row.extend_from_slice(&packets.count().to_be_bytes());
        row.extend_from_slice(&packets.value().ok()?);
    }
    Some(row)
}

fn record(path: &str, bytes: &[u8]) -> Option<Record> {
    let host = Host { jp2: Bytes::copy_from_slice(bytes), index: None, is_cheap: false };
    let source: Arc<dyn Source> = host.open(path, &Identity::none()).ok()?;
    let key = path::parse(path).ok()?.key?;
    let mut scanned = scan(&*source).ok()?;
    let lengths = std::mem::take(&mut scanned.lengths);
    let record = Record::from_scan(RecordKey::new(&key), path, path, scanned);
    Some(Record { packets: PacketLengths::new(&record.parts, &lengths).ok(), ..record })
}

/// A TIFF of two bands in tiles of 16 px, with an overview.
fn tiff(side: u32, bits: u16) -> Vec<u8> {
    let image = Image {
        levels: vec![(side, side), (side / 2, side / 2)],
        sample: SampleType { bits, signed: false },
        colours: vec![None, None],
        palette: None,
        georeference: Some(Georeference { epsg: 32_631, transform: [10.0, 0.0, 6e5, 0.0, -10.0, 5e6] }),
        metadata: Vec::new(),
        tile: 16,
    };
    let tiff = Tiff::new(&image).expect("a small image");
    let mut bytes = vec![7; tiff.size() as usize];
    tiff.read(0, &mut bytes);
    bytes
}

/// An index of one row.
fn index() -> Vec<u8> {
    let record = record(&path_in("x"), made_file()).expect("a made file is scanned");
    build_index(&[record]).expect("in memory")
}
