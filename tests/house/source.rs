//! The source of a file, as words and signs.

/// The words and signs of Rust source; no comments, no literals of text.
pub fn tokens(text: &str) -> Vec<String> {
    let text: Vec<char> = text.chars().collect();
    let at = |i: usize| text.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = Vec::new();
    let mut i = 0;
    while i < text.len() {
        let c = text[i];
        if c == '/' && at(i + 1) == '/' {
            while i < text.len() && text[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            i = after_comment(&text, i);
        } else if let Some(end) = after_raw(&text, i) {
            i = end;
        } else if c == '"' || (matches!(c, 'b' | 'c') && at(i + 1) == '"') {
            i = after_quoted(&text, i + usize::from(c != '"'), '"');
        } else if c == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            i = after_quoted(&text, i, '\'');
        } else if is_word(c) {
            let start = i;
            while is_word(at(i)) {
                i += 1;
            }
            out.push(text[start..i].iter().collect());
        } else {
            let is_pair = c == ':' && at(i + 1) == ':';
            // The quote of a lifetime is left out.
            if !c.is_whitespace() && c != '\'' {
                out.push(if is_pair { "::".to_owned() } else { c.to_string() });
            }
            i += if is_pair { 2 } else { 1 };
        }
    }
    out
}

/// Comments may stand in comments.
fn after_comment(text: &[char], start: usize) -> usize {
    let (mut i, mut depth) = (start, 0);
    while i < text.len() {
        match (text[i], text.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

/// The end of a text between two quotes, the first of which stands at `start`.
fn after_quoted(text: &[char], start: usize, quote: char) -> usize {
    let mut i = start + 1;
    while i < text.len() && text[i] != quote {
        i += if text[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// The end of `r"…"`, `br#"…"#` and the like, where one stands at `start`.
fn after_raw(text: &[char], start: usize) -> Option<usize> {
    if start > 0 && (text[start - 1].is_alphanumeric() || text[start - 1] == '_') {
        return None;
    }
    let mut i = start + usize::from(matches!(text[start], 'b' | 'c'));
    if text.get(i) != Some(&'r') {
        return None;
    }
    i += 1;
    let hashes = text[i..].iter().take_while(|c| **c == '#').count();
    i += hashes;
    if text.get(i) != Some(&'"') {
        return None;
    }
    i += 1;
    while i < text.len() {
        if text[i] == '"' && text[i + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return Some(i + 1 + hashes);
        }
        i += 1;
    }
    Some(i)
}

/// The place behind the bracket that closes the one at `open`.
fn after_bracket(tokens: &[String], open: usize) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

/// The same without the items and fields that are compiled for tests alone.
pub fn without_tests(tokens: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let is = |at: usize, token: &str| tokens.get(at).is_some_and(|found| found == token);
        let is_cfg = is(i, "#") && is(i + 1, "[") && is(i + 2, "cfg") && is(i + 3, "(");
        if !(is_cfg && (is(i + 4, "test") && is(i + 5, ")") || is(i + 4, "all") && is(i + 6, "test"))) {
            out.push(tokens[i].clone());
            i += 1;
            continue;
        }
        i = after_bracket(tokens, i + 1);
        while tokens.get(i).is_some_and(|token| token == "#") {
            i = after_bracket(tokens, i + 1);
        }
        i = after_item(tokens, i);
    }
    out
}

/// The place behind the item, the statement or the field at `start`.
fn after_item(tokens: &[String], start: usize) -> usize {
    let mut i = start;
    if tokens.get(i).is_some_and(|token| token == "pub") {
        i += 1;
        if tokens.get(i).is_some_and(|token| token == "(") {
            i = after_bracket(tokens, i);
        }
    }
    let is_field = tokens.get(i + 1).is_some_and(|token| token == ":");
    while i < tokens.len() {
        match tokens[i].as_str() {
            "{" if !is_field => return after_bracket(tokens, i),
            ";" => return i + 1,
            "," if is_field => return i + 1,
            "}" => return i,
            "(" | "[" | "{" => i = after_bracket(tokens, i),
            _ => i += 1,
        }
    }
    i
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_no_source() {
        let text = "a // crate::x\n /* crate::y /* */ crate::z */ \"crate::\\\"w\" r#\"crate::\"v\"# b'\\'' 'x' &'a b";
        assert_eq!(tokens(text), ["a", "b", "&", "a", "b"]);
        assert_eq!(tokens("crate::a{b}"), ["crate", "::", "a", "{", "b", "}"]);
    }
}
