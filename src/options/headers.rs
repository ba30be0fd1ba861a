//! GDAL_HTTP_HEADERS: pairs of names and values.

use crate::options::value::Secret;

/// The `Name: value` pairs of a list, separated by line ends or, as GDAL's documentation has it, by commas: "If a comma
/// or a double-quote character is needed in the value, then the key: value pair must be enclosed in double-quote
/// characters. In that situation, backslash and double quote character must be backslash-escaped."
pub(super) fn parse_headers(list: &str) -> Vec<(String, Secret)> {
    let pairs = if list.contains('\n') { list.lines().map(str::to_owned).collect() } else { split_quoted(list) };
    pairs
        .iter()
        .filter_map(|pair| pair.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), Secret::new(value.trim())))
        .collect()
}

/// The pairs at the commas outside quotes, without the quotes.
fn split_quoted(list: &str) -> Vec<String> {
    let (mut pairs, mut quoted) = (vec![String::new()], false);
    let mut characters = list.chars();
    while let Some(character) = characters.next() {
        let next = match character {
            '"' => {
                quoted = !quoted;
                continue;
            }
            '\\' if quoted => characters.next(),
            ',' if !quoted => {
                pairs.push(String::new());
                continue;
            }
            other => Some(other),
        };
        if let Some(pair) = pairs.last_mut() {
            pair.extend(next);
        }
    }
    pairs
}

/// A list of the headers of `shared`, a list too, and of `own`, single pairs.
pub(crate) fn join_headers(shared: Option<&str>, own: &[&str]) -> String {
    let mut list = String::new();
    for (name, value) in shared.map_or_else(Vec::new, parse_headers) {
        list.push_str(&format!("{name}: {}\n", value.expose()));
    }
    for pair in own {
        list.push_str(pair);
        list.push('\n');
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        for (list, expected) in [
            ("A: 1,B: x:y", vec![("A", "1"), ("B", "x:y")]),
            ("A: 1, 2\r\nB: 3\n", vec![("A", "1, 2"), ("B", "3")]),
            (r#"Foo: Bar,"Baz: a\\b \"c\", d",X: Y"#, vec![("Foo", "Bar"), ("Baz", r#"a\b "c", d"#), ("X", "Y")]),
            ("no pair", vec![]),
            ("", vec![]),
        ] {
            let parsed = parse_headers(list);
            let parsed: Vec<_> = parsed.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
            assert_eq!(parsed, expected, "{list}");
        }
        assert_eq!(join_headers(Some("A: 1,B: 2"), &["C: 3, 4"]), "A: 1\nB: 2\nC: 3, 4\n");
        assert_eq!(parse_headers(&join_headers(None, &["C: 3, 4"]))[0].1.expose(), "3, 4");
    }
}
