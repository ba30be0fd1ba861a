//! What may be shown of a URL, and of an error's chain.

use url::Url;

/// The last link of an error's chain, in words: the outer links repeat it, or name the URL.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// A URL without query string, user info and fragment.
pub(super) fn display(url: &Url) -> String {
    let mut shown = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        shown.push_str(&format!(":{port}"));
    }
    shown + url.path()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_no_secret_of_a_url() {
        let url = Url::parse("https://user:pass@HOST:443/a%20b//c?token=1#x").unwrap();
        assert_eq!(display(&url), "https://host/a%20b//c");
    }
}
