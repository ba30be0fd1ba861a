//! The columns of an index.

use parquet::basic::Type;

/// The columns that a look-up knows, by their places in [`COLUMNS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub(crate) enum Column {
    ProductId,
    BandId,
    MgrsTile,
    Resolution,
    Origin,
    Path,
    Index,
    FileSize,
    Header,
    ResolutionEnds,
    Etag,
    LastModified,
    OverviewFactor,
    PacketCount,
    CloudCover,
    Datetime,
}

/// How many they are.
pub(crate) const COUNT: usize = 16;

/// In the order of [`Column`]: what each is called, and whether an index must have it: v1 files have just those.
pub(crate) const COLUMNS: [(Column, &str, bool); COUNT] = [
    (Column::ProductId, "product_id", true),
    (Column::BandId, "band_id", true),
    (Column::MgrsTile, "mgrs_tile", false),
    (Column::Resolution, "resolution", false),
    (Column::Origin, "origin", false),
    (Column::Path, "path", false),
    (Column::Index, "index", true),
    (Column::FileSize, "file_size", false),
    (Column::Header, "header", false),
    (Column::ResolutionEnds, "resolution_ends", false),
    (Column::Etag, "etag", false),
    (Column::LastModified, "last_modified", false),
    (Column::OverviewFactor, "overview_factor", false),
    (Column::PacketCount, "packet_count", false),
    (Column::CloudCover, "eo:cloud_cover", false),
    (Column::Datetime, "datetime", false),
];

impl Column {
    /// All of them, in their order.
    pub(crate) fn all() -> [Self; COUNT] {
        COLUMNS.map(|(column, ..)| column)
    }

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        COLUMNS[self as usize].1
    }
}

/// The columns that a look-up never reads ([`crate::index::file::pages`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub(crate) enum Paged {
    Packets,
    Overviews,
}

impl Paged {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 2] = [Self::Packets, Self::Overviews];

    /// What the column is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Overviews => "overviews",
        }
    }
}

/// The largest page of such a column that is read, header included, in bytes.
pub(crate) const MOST_PAGE: u64 = 64 << 20;
/// The largest value that is written: its page's header and levels fit beside it.
pub(crate) const MOST_VALUE: u64 = MOST_PAGE - 1024;

/// Whether a column can have this type.
pub(crate) fn fits(column: Column, physical: Type) -> bool {
    use Column::{CloudCover, Datetime, FileSize, LastModified, OverviewFactor, PacketCount, Resolution};
    match column {
        Resolution | FileSize | LastModified | OverviewFactor | PacketCount | Datetime => {
            matches!(physical, Type::INT32 | Type::INT64)
        }
        CloudCover => matches!(physical, Type::FLOAT | Type::DOUBLE),
        _ => physical == Type::BYTE_ARRAY,
    }
}
