//! The tile-parts of a file that has a TLM of its own (T.800 A.7.1).

use crate::error::{Error, Result};
use crate::index::format::blob::parts_of;
use crate::jp2::{EOC, MainHeader, TilePart, TilePartTable, parse_tlm_segments};

/// The tile-parts by the file's own TLM, where that leads exactly to the end of the codestream, with or without EOC.
pub(crate) fn own_tile_parts(main: &MainHeader, header: &[u8], file_size: u64) -> Result<Vec<TilePart>> {
    let entries = parse_tlm_segments(&main.tlm(header).concat())?;
    let parts = parts_of(&entries, main.end, file_size)?;
    let end = main.codestream_end_in(file_size);
    let last = TilePartTable::new(parts.clone(), main.siz.tiles(), end)?.end();
    if end != last && end != last + EOC.len() as u64 {
        return Err(Error::Row { what: format!("by the TLM the tile-parts end at {last}, the codestream at {end}") });
    }
    Ok(parts)
}
