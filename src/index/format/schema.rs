//! The schema of an index file: docs/index-format.md says what its columns hold.
//!
//! Rows are sorted by (product_id, mgrs_tile, band_id, resolution), in row groups of at most 256 which cut no product in
//! two, so that a look-up reads one row group.

use super::columns::Paged;

/// Rows of a row group, at most.
pub(crate) const ROWS: usize = 256;

/// Which of the columns that a look-up never reads rows have something in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) packets: bool,
    pub(crate) overviews: bool,
}

impl Carried {
    /// Those of all of these rows together.
    pub(crate) fn all(rows: impl Iterator<Item = Self>) -> Self {
        rows.fold(Self::default(), |all, row| Self {
            packets: all.packets || row.packets,
            overviews: all.overviews || row.overviews,
        })
    }

    /// Whether the file has this column.
    pub(crate) fn has(self, column: Paged) -> bool {
        match column {
            Paged::Packets => self.packets,
            Paged::Overviews => self.overviews,
        }
    }
}

/// The schema of a file whose rows carry this.
pub(crate) fn message(carried: Carried) -> String {
    let (factor, overviews) = if carried.overviews { (FACTOR_COLUMN, OVERVIEWS_COLUMN) } else { ("", "") };
    let (count, packets) = if carried.packets { (COUNT_COLUMN, PACKETS_COLUMN) } else { ("", "") };
    format!("message vsitlm {{{COLUMNS}{factor}{count}{CLOUD_COLUMN}{STAC_COLUMNS}{packets}{overviews}}}")
}

const COLUMNS: &str = "
    required binary product_id (STRING);
    required binary band_id (STRING);
    required binary path (STRING);
    required binary index;
    required binary mgrs_tile (STRING);
    required int32 resolution;
    optional int64 file_size;
    optional binary header;
    optional binary resolution_ends;
    optional binary origin (STRING);
    optional binary etag (STRING);
    optional int64 last_modified (TIMESTAMP(MICROS,true));
";
/// In a file in which a row has overviews: behind what else a look-up reads.
const FACTOR_COLUMN: &str = "
    optional int64 overview_factor;
";
/// In a file in which a row has packets, likewise.
const COUNT_COLUMN: &str = "
    optional int64 packet_count;
";
/// As STAC has it: what neither the file nor its name tells.
const CLOUD_COLUMN: &str = "
    optional double eo:cloud_cover;
";
const STAC_COLUMNS: &str = "
    optional int64 datetime (TIMESTAMP(MICROS,true));
    optional binary platform (STRING);
    optional binary processing_baseline (STRING);
    optional int32 relative_orbit;
    optional int32 epsg;
    optional group shape (LIST) { repeated group list { required int32 element; } }
    optional group transform (LIST) { repeated group list { required double element; } }
    optional group bbox { required double xmin; required double ymin; required double xmax; required double ymax; }
    optional binary geometry;
";
/// The last ones, so that what is read otherwise stays together.
const PACKETS_COLUMN: &str = "
    optional binary packets;
";
const OVERVIEWS_COLUMN: &str = "
    optional binary overviews;
";

/// GeoParquet 1.1.0's metadata. Without `crs`, coordinates are those of OGC:CRS84.
pub(crate) const GEO: &str = r#"{"version":"1.1.0","primary_column":"geometry","columns":{"geometry":{"encoding":"WKB","geometry_types":["Polygon","MultiPolygon"],"orientation":"counterclockwise","covering":{"bbox":{"xmin":["bbox","xmin"],"ymin":["bbox","ymin"],"xmax":["bbox","xmax"],"ymax":["bbox","ymax"]}}}}}"#;
