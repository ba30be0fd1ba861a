//! The partition layout: where the shard lies that holds a row.

use super::record::RecordKey;
use crate::path::{level_of, tile_of, year_of};

/// The file of a partition that a look-up asks where folders cannot be listed.
pub(crate) const SHARD: &str = "part-0.parquet";

/// Whether a path's name is that of an index file, and not of one that is being written.
pub(crate) fn is_index_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.ends_with(".parquet") && !name.starts_with('.')
}

/// `level=L2A/tile=31UDQ/year=2024`, of Landsat `level=L2SP/tile=199026/year=2024`; `None` where the key does not have all three.
pub(crate) fn partition_of(key: &RecordKey) -> Option<String> {
    let tile = if key.mgrs_tile.is_empty() { tile_of(&key.product_id)? } else { key.mgrs_tile.as_str().into() };
    Some(partition(level_of(&key.product_id)?, &tile, year_of(&key.product_id)?))
}

/// The folder of a partition.
pub(crate) fn partition(level: &str, tile: &str, year: &str) -> String {
    format!("level={level}/tile={tile}/year={year}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_partition() {
        let of = |product: &str, tile: &str| {
            let (product_id, mgrs_tile) = (product.to_owned(), tile.to_owned());
            partition_of(&RecordKey { product_id, mgrs_tile, ..RecordKey::default() })
        };
        let expected = Some("level=L2A/tile=31UDQ/year=2024".to_owned());
        assert_eq!(of("S2A_MSIL2A_20241016T105031_N0511_R051_T31UDQ_20250101T151206", ""), expected);
        assert_eq!(of("L2A_T31UDQ_20241016T105031", "31UDQ"), expected);
        assert_eq!(of("L2A_T31UDQ_20241016", "31UDQ"), expected);
        let old = "S2A_OPER_PRD_MSIL1C_PDMC_20170101T123456_R065_V20161231T101022_20161231T101643";
        assert_eq!(of(old, "32TQM").as_deref(), Some("level=L1C/tile=32TQM/year=2016"));
        let cog = Some("level=L2A/tile=05VPG/year=2024".to_owned());
        assert_eq!((of("S2A_5VPG_20240601_0_L2A", "05VPG"), of("S2A_5VPG_20240601_0_L2A", "")), (cog.clone(), cog));
        // The year of acquisition, not of processing.
        let landsat = of("LC09_L2SP_199026_20231231_20240101_02_T1", "");
        assert_eq!(landsat.as_deref(), Some("level=L2SP/tile=199026/year=2023"));
        assert_eq!((of(old, ""), of("T31UDQ_20241016T105031", "31UDQ"), of("", "")), (None, None, None));
    }
}
