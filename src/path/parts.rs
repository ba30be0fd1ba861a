//! The parts of which names of products and files are made.

/// A unit of Sentinel-2: `S2A`.
pub(super) fn is_sentinel_2(text: &str) -> bool {
    text.len() == 3 && text.strip_prefix("S2").is_some_and(|unit| unit.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// `T31UDQ`, without its T.
pub(super) fn tile_part(part: &str) -> Option<&str> {
    part.strip_prefix('T').filter(|tile| is_tile(tile))
}

/// An MGRS tile: zone, latitude band, square.
pub(super) fn is_tile(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 5 && bytes.iter().take(2).all(u8::is_ascii_digit) && bytes.iter().skip(2).all(u8::is_ascii_uppercase)
}

/// `20241016T105031`.
pub(super) fn is_time(text: &str) -> bool {
    text.len() == 15
        && text.bytes().enumerate().all(|(at, byte)| if at == 8 { byte == b'T' } else { byte.is_ascii_digit() })
}

/// So many digits, and nothing else.
pub(super) fn is_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
}
