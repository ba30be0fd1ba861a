//! Files by the names of their products, where each archive has them: in folders of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::file::Lease;
use crate::index::{Record, RecordKey, StoredRow, scan, write_index};
use crate::jp2::made;
use crate::path::{key_of_names, parse};
use crate::source::memory::Memory;

/// The archives' folders, an index, and two products that no other world has: what is open goes by its name.
struct World {
    folder: tempfile::TempDir,
    l2a: String,
    l1c: String,
}

impl World {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(100_000);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            folder: tempfile::tempdir().unwrap(),
            l2a: format!("S2A_MSIL2A_20211016T105031_N0500_R051_T31UDQ_20241016T{number}"),
            l1c: format!("S2A_MSIL1C_20211016T105031_N0301_R051_T31UDQ_20211016T{number}"),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A band of L2A and one of L1C at CDSE, Google and AWS, the latter with this sequence number.
    fn places(&self, sequence: u32) -> [[String; 3]; 2] {
        let below = "GRANULE/L2A_T31UDQ_A1_20211016T105303/IMG_DATA/R20m/T31UDQ_20211016T105031_B03_20m.jp2";
        let l2a = format!("{}.SAFE/{below}", self.l2a);
        let below = "GRANULE/L1C_T31UDQ_A1_20211016T105303/IMG_DATA/T31UDQ_20211016T105031_B03.jp2";
        let l1c = format!("{}.SAFE/{below}", self.l1c);
        [
            [
                format!("eodata/Sentinel-2/MSI/L2A_N0500/2021/10/16/{l2a}"),
                format!("gcp-public-data-sentinel-2/L2/tiles/31/U/DQ/{l2a}"),
                format!("sentinel-s2-l2a/tiles/31/U/DQ/2021/10/16/{sequence}/R20m/B03.jp2"),
            ],
            [
                format!("eodata/Sentinel-2/MSI/L1C/2021/10/16/{l1c}"),
                format!("gcp-public-data-sentinel-2/tiles/31/U/DQ/{l1c}"),
                format!("sentinel-s2-l1c/tiles/31/U/DQ/2021/10/16/{sequence}/B03.jp2"),
            ],
        ]
    }

    /// The path of the band of L2A by its product's name.
    fn path(&self) -> String {
        format!("{}/B03_20m", self.l2a)
    }

    /// Puts a file whose packets have `packet` bytes into an archive.
    fn put(&self, path: &str, packet: u32) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes(packet)).unwrap();
    }

    /// Writes the index.
    fn index(&self, mut rows: Vec<Record>) {
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        let rows: Vec<_> = rows.iter().map(|row| Ok(StoredRow::from(row))).collect();
        write_index(&self.at("index.parquet"), rows.into_iter(), Default::default()).unwrap();
    }

    fn caller(&self, store: &str, set: &[(&str, &str)]) -> Caller<'static> {
        let index = self.at("index.parquet").display().to_string();
        let store = if Path::new(store).is_absolute() || store.is_empty() {
            store.to_owned()
        } else {
            self.at(store).display().to_string()
        };
        let fixed = [("VSITLM_CACHE_DIR", "NO"), ("VSITLM_INDEX", &index), ("VSITLM_STORE", &store)];
        Caller::of_options(&[set, &fixed].concat())
    }

    /// Opens a path with VSITLM_STORE, a folder of this world, and more options.
    fn open(&self, path: &str, store: &str, set: &[(&str, &str)]) -> Result<Arc<Lease>> {
        crate::file::open(&parse(path).unwrap(), &self.caller(store, set))
    }

    /// What opening says against it.
    fn refused(&self, path: &str, store: &str, set: &[(&str, &str)]) -> String {
        self.open(path, store, set).map(|file| file.name.clone()).unwrap_err().chain()
    }
}

fn bytes(packet: u32) -> Vec<u8> {
    made::File { packet, plt: true, ..made::File::default() }.bytes()
}

/// The row of a product's file with this path in the archive where it was made, elsewhere.
fn row(product: &str, path: &str, packet: u32) -> Record {
    let mut key = key_of_names(path).unwrap();
    let of_product = Key::of_product(product);
    (key.product, key.mgrs_tile) = (of_product.product, of_product.mgrs_tile);
    let origin = format!("s3://elsewhere/{path}");
    let memory = Memory::new(&origin, bytes(packet));
    Record::from_scan(RecordKey::new(&key), path, &origin, scan(&memory).unwrap())
}

/// A place's archive, and the path of a row that is made there.
fn split(place: &str) -> (&str, &str) {
    place.split_once('/').unwrap()
}

#[test]
fn one_row_serves_every_archive_that_has_the_file() {
    let world = World::new();
    let places = world.places(0);
    for (n, place) in places.iter().flatten().enumerate() {
        world.put(place, if n < 3 { 300 } else { 500 });
    }
    for made_at in 0..3 {
        world.index(vec![
            row(&world.l2a, split(&places[0][made_at]).1, 300),
            row(&world.l1c, split(&places[1][made_at]).1, 500),
        ]);
        for (path, places, packet) in [
            (world.path(), &places[0], 300),
            (format!("{}.SAFE/B03_20m.jp2", world.l2a), &places[0], 300),
            (format!("{}/B03", world.l1c), &places[1], 500),
        ] {
            for (there, place) in places.iter().enumerate() {
                let opened = world.open(&path, split(place).0, &[("VSITLM_ON_MISS", "fail")]);
                if made_at == 2 && there != 2 {
                    let error = opened.map(|file| file.name.clone()).unwrap_err().chain();
                    assert!(error.contains(&path[..60]) && error.contains("granule's folder"), "{error}");
                    continue;
                }
                let file = opened.unwrap_or_else(|error| panic!("{path} from {made_at} at {there}: {}", error.chain()));
                assert_eq!(file.name, world.at(place).display().to_string());
                let mut first = [0; 12];
                file.read_at(0, &mut first, &mut crate::file::Ahead::default()).unwrap();
                assert_eq!(first, bytes(packet)[..12]);
                assert!(file.size() > bytes(packet).len() as u64, "the TLM is there");
            }
        }
    }
    // The bucket of AWS is that of the level, whichever the user names.
    world.index(vec![row(&world.l1c, split(&places[1][0]).1, 500)]);
    assert!(world.open(&format!("{}/B03", world.l1c), "sentinel-s2-l2a", &[]).is_ok());
}

#[test]
fn the_size_tells_which_product_of_a_day_it_is_at_aws() {
    let world = World::new();
    world.index(vec![row(&world.l2a, split(&world.places(0)[0][0]).1, 300)]);
    let path = world.path();
    world.put(&world.places(0)[0][2], 400);
    for verify in ["AUTO", "READ", "OPEN"] {
        // Another product's file is not walked, and taken for none.
        let error = world.refused(&path, "sentinel-s2-l2a", &[("VSITLM_VERIFY", verify)]);
        assert!(error.contains("/0/R20m/B03.jp2: the index row does not fit"), "{error}");
    }
    world.put(&world.places(2)[0][2], 300);
    for verify in ["AUTO", "READ", "OPEN"] {
        let file = world.open(&path, "sentinel-s2-l2a", &[("VSITLM_VERIFY", verify)]).unwrap();
        assert_eq!(file.name, world.at(&world.places(2)[0][2]).display().to_string(), "{verify}");
    }
}

#[test]
fn a_product_that_was_not_reprocessed_is_found_at_cdse() {
    let world = World::new();
    let place = world.places(0)[0][0].replace("L2A_N0500", "L2A");
    world.put(&place, 300);
    // As on a disk: the path tells no collection.
    let path = place.split("16/").nth(1).unwrap();
    world.index(vec![row(&world.l2a, path, 300)]);
    let file = world.open(&world.path(), "eodata", &[("VSITLM_VERIFY", "READ")]).unwrap();
    assert_eq!(file.name, world.at(&place).display().to_string());
}

#[test]
fn a_file_that_has_changed_is_walked_where_its_path_tells_the_product() {
    let world = World::new();
    let [[place, ..], _] = world.places(0);
    world.index(vec![row(&world.l2a, split(&place).1, 300)]);
    world.put(&place, 301);
    let error = world.refused(&world.path(), "eodata", &[("VSITLM_ON_MISS", "fail")]);
    assert!(error.contains("no index row for it"), "{error}");
    assert!(world.open(&world.path(), "eodata", &[]).unwrap().size() > bytes(301).len() as u64);
}

#[test]
fn views_of_a_product_path_are_those_of_the_file() {
    let world = World::new();
    let [[place, ..], _] = world.places(0);
    world.index(vec![row(&world.l2a, split(&place).1, 300)]);
    world.put(&place, 300);
    let list = world.open(&format!("{}/B03_20m.jp2.ovr", world.l2a), "eodata", &[("VSITLM_OVERVIEWS", "ALL")]).unwrap();
    let mut text = vec![0; list.size() as usize];
    list.read_at(0, &mut text, &mut crate::file::Ahead::default()).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("?overview=2&amp;url=S2A_MSIL2A") && text.contains("B03_20m"), "{text}");
    let view = world.open(&format!("?overview=2&url={}", world.path()), "eodata", &[]).unwrap();
    assert!(view.size() < list.size() + bytes(300).len() as u64);
}

#[test]
fn a_row_that_does_not_name_the_product_is_none_of_it() {
    let world = World::new();
    let [[_, _, place], _] = world.places(0);
    world.put(&place, 300);
    for product_id in ["L2A_T31UDQ_20211016", "L2A_T31UDQ_20211016T105031", ""] {
        let mut nameless = row(&world.l2a, split(&place).1, 300);
        nameless.key.product_id = product_id.into();
        world.index(vec![nameless]);
        let error = world.refused(&world.path(), "sentinel-s2-l2a", &[]);
        assert!(error.contains("no index of VSITLM_INDEX has a row that names this product"), "{error}");
    }
}

#[test]
fn what_is_missing_is_said() {
    let world = World::new();
    let [[place, ..], _] = world.places(0);
    world.index(vec![row(&world.l2a, split(&place).1, 300)]);
    let path = format!("{}/B03_20m.jp2", world.l2a);
    for (path, store, set, says) in [
        (path.as_str(), "eodata", &[("VSITLM_INDEX", "")][..], "set VSITLM_INDEX"),
        (&path, "", &[], "set VSITLM_STORE to where"),
        (&path, "eodata", &[], "not found"),
        (&path, "eodata", &[("VSITLM_STORE", "https://u:sesame@h/b?sesame")], "VSITLM_STORE=https://h/b is not valid"),
        (&format!("{}/B04", world.l2a), "eodata", &[], "no row of it, but of B03_20m"),
        (&format!("{}/B04", world.l1c), "eodata", &[], "no index of VSITLM_INDEX has a row that names this product"),
        (&world.l2a, "eodata", &[], "it is a folder: open one of B03_20m"),
    ] {
        let error = world.refused(path, store, set);
        assert!(error.contains(says) && error.contains(&path[..60]) && !error.contains("sesame"), "{error}");
    }
}

#[test]
fn a_hostile_row_leads_nowhere() {
    let world = World::new();
    world.put("secret/T31UDQ_20211016T105031_B03_20m.jp2", 300);
    let secret = world.at("secret/T31UDQ_20211016T105031_B03_20m.jp2").display().to_string();
    for path in [
        secret.as_str(),
        "../secret/T31UDQ_20211016T105031_B03_20m.jp2",
        "a/%2e%2e/../secret/T31UDQ_20211016T105031_B03_20m.jp2",
        "http://127.0.0.1:1/T31UDQ_20211016T105031_B03_20m.jp2",
    ] {
        let mut hostile = row(&world.l2a, "T31UDQ_20211016T105031_B03_20m.jp2", 300);
        hostile.key.product_id = world.l2a.clone();
        hostile.path = path.into();
        world.index(vec![hostile]);
        for store in ["base", "eodata", "sentinel-s2-l2a"] {
            let error = world.refused(&world.path(), store, &[]);
            assert!(error.contains("its path is none that an archive has"), "{path}: {error}");
        }
    }
}

#[test]
fn a_folder_lists_the_bands_that_can_be_opened() {
    let world = World::new();
    let [[place, ..], [other, ..]] = world.places(0);
    let mut rows = vec![row(&world.l2a, split(&place).1, 300), row(&world.l1c, split(&other).1, 300)];
    for band_id in ["B02", "TCI", "MSK_DETFOO_B02", "../B04", "B04/x", "", "mosaic"] {
        let mut another = rows[0].clone();
        another.key.band_id = band_id.into();
        rows.push(another);
    }
    world.index(rows);
    let list = |path: &str| bands(&parse(path).unwrap(), &world.caller("", &[]));
    let expected = ["B02.jp2", "B03_20m.jp2", "MSK_DETFOO_B02.jp2", "TCI.jp2"];
    for path in [world.l2a.clone(), format!("{}/", world.l2a), format!("{}.SAFE", world.l2a)] {
        assert_eq!(list(&path).unwrap(), expected, "{path}");
    }
    assert_eq!(list(&world.l1c).unwrap(), ["B03.jp2"]);
    // Nothing lies anywhere yet: the index records the size.
    let told = size(&parse(&world.path()).unwrap(), &world.caller("", &[])).unwrap().unwrap();
    world.put(&place, 300);
    assert_eq!(told.0, world.open(&world.path(), "eodata", &[]).unwrap().size());
    assert!(size(&parse(&format!("{}/B05", world.l2a)).unwrap(), &world.caller("", &[])).is_err());
    assert!(list(&world.l1c.replace("31UDQ", "31UDP")).is_err());
}
