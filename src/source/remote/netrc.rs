//! Which hosts a netrc file has a user and password for.
//!
//! GDAL lets curl look into ~/.netrc at every request (GDAL_HTTP_NETRC, YES by default), after redirects too: that is how
//! archives with a single sign-on are read. Files of hosts that it names are therefore read by GDAL.

use std::path::Path;

use url::Url;

/// Whether `file`, where there is one, names the host of `url`, or has an entry for all hosts. A URL with a user in it
/// goes before the file.
pub(crate) fn knows(file: Option<&Path>, url: &str) -> bool {
    let text = file.and_then(|file| std::fs::read_to_string(file).ok());
    let parsed = Url::parse(url).ok().filter(|url| url.username().is_empty());
    let (Some(text), Some(host)) = (text, parsed.as_ref().and_then(Url::host_str)) else { return false };
    names(&text, host)
}

/// `machine NAME` and `default` stand between blanks; what follows `macdef` is a script up to an empty line.
fn names(text: &str, host: &str) -> bool {
    let mut in_script = false;
    for line in text.lines() {
        in_script &= !line.trim().is_empty();
        if in_script {
            continue;
        }
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "default" => return true,
                "machine" if words.next().is_some_and(|name| name.trim_matches('"').eq_ignore_ascii_case(host)) => {
                    return true;
                }
                // A password may be any word.
                "login" | "password" | "account" => drop(words.next()),
                "macdef" => {
                    in_script = true;
                    break;
                }
                _ if word.starts_with('#') => break,
                _ => {}
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let text = "# machine no.example\nmachine a.example login me password default\nmachine \"B.example\"\n\tlogin x\n\
                    macdef init\nmachine script.example\n\nmachine c.example";
        for (host, named) in [
            ("a.example", true),
            ("b.example", true),
            ("c.example", true),
            ("script.example", false),
            ("no.example", false),
            ("me", false),
        ] {
            assert_eq!(names(text, host), named, "{host}");
        }
        assert!(names("machine a login b\ndefault login c", "any"));
        assert!(!names("", "any"));
    }

    #[test]
    fn a_file_that_is_not_there_names_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("netrc");
        assert!(!knows(Some(&file), "https://a/x") && !knows(None, "https://a/x"));
        std::fs::write(&file, "machine a login me password secret").unwrap();
        assert!(knows(Some(&file), "https://a:1/x") && !knows(Some(&file), "https://b/x"));
        assert!(!knows(Some(&file), "https://you@a/x"));
    }
}
