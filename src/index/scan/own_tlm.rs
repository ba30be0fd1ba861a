//! The tile-parts of a file that has a TLM of its own (T.800 A.7.1).

use crate::error::{Error, Result};
use crate::index::format::blob::parts_of;
use crate::jp2::{EOC, MainHeader, TilePart, TilePartTable, parse_tlm_segments};

/// Where the codestream ends, in bytes from the start of the file.
pub(crate) fn codestream_end(main: &MainHeader, file_size: u64) -> Result<u64> {
    match main.codestream_end {
        Some(end) if end > file_size => {
            Err(Error::Row { what: format!("the jp2c box ends at {end}, the file of {file_size} bytes before it") })
        }
        Some(end) => Ok(end),
        None => Ok(file_size),
    }
}

/// The tile-parts by the file's own TLM, where that leads exactly to the end of the codestream, with or without EOC.
pub(crate) fn own_tile_parts(main: &MainHeader, header: &[u8], file_size: u64) -> Result<Vec<TilePart>> {
    let entries = parse_tlm_segments(&main.tlm(header).concat())?;
    let parts = parts_of(&entries, main.end, file_size)?;
    let end = codestream_end(main, file_size)?;
    let last = TilePartTable::new(parts.clone(), main.siz.tiles(), end)?.end();
    if end != last && end != last + EOC.len() as u64 {
        return Err(Error::Row { what: format!("by the TLM the tile-parts end at {last}, the codestream at {end}") });
    }
    Ok(parts)
}
