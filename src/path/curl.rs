//! The options that `/vsicurl?name=value&…&url=…` has for one file, as GDAL options of the same meaning.
//!
//! GDAL's documentation, "/vsicurl/": "options between the question mark and the url key are key-value pairs", each
//! percent-encoded; an option of the path goes before the configuration option.

use percent_encoding::percent_decode_str;

use crate::secret::Secret;

/// The option that `header.<name>=<value>` adds to.
pub(super) const HEADERS: &str = "GDAL_HTTP_HEADERS";

/// What the path calls an option, and what GDAL's configuration calls it.
const NAMES: [(&str, &str); 12] = [
    ("max_retry", "GDAL_HTTP_MAX_RETRY"),
    ("retry_delay", "GDAL_HTTP_RETRY_DELAY"),
    ("retry_codes", "GDAL_HTTP_RETRY_CODES"),
    ("useragent", "GDAL_HTTP_USERAGENT"),
    ("unsafessl", "GDAL_HTTP_UNSAFESSL"),
    ("timeout", "GDAL_HTTP_TIMEOUT"),
    ("low_speed_time", "GDAL_HTTP_LOW_SPEED_TIME"),
    ("connecttimeout", "GDAL_HTTP_CONNECTTIMEOUT"),
    ("proxy", "GDAL_HTTP_PROXY"),
    ("proxyauth", "GDAL_PROXY_AUTH"),
    ("proxyuserpwd", "GDAL_HTTP_PROXYUSERPWD"),
    ("header_file", "GDAL_HTTP_HEADER_FILE"),
];

/// Options that say how GDAL finds out a file's size and its siblings, which is done otherwise here.
const WITHOUT_MEANING: [&str; 3] = ["use_head", "list_dir", "empty_dir"];

/// The settings among `options`; `None` where one of them is only known to GDAL (cookie=, pc_url_signing=, …).
pub(super) fn settings(options: &str) -> Option<Vec<(&'static str, Secret)>> {
    let mut settings = Vec::new();
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let decoded = percent_decode_str(option).decode_utf8_lossy();
        let (name, value) = decoded.split_once('=')?;
        let name = name.to_ascii_lowercase();
        if let Some(header) = name.strip_prefix("header.") {
            settings.push((HEADERS, Secret::new(format!("{header}: {value}"))));
        } else if let Some((_, known)) = NAMES.iter().find(|(known, _)| *known == name) {
            settings.push((known, Secret::new(value)));
        } else if name != "url" && !WITHOUT_MEANING.contains(&name.as_str()) {
            return None;
        }
    }
    Some(settings)
}
