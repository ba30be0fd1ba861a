//! Questions as programs write them.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::file::Squares;
use crate::path::{self, Form, Request, View};

/// What is asked of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What image it is.
    Describe,
    /// That it be at hand.
    Fetch,
    /// Its samples.
    Read,
    /// Where its tile-parts lie.
    Parts,
    /// What the indexes have of it.
    Rows,
    /// What it is made of.
    Scan,
}

/// A question, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) kind: Kind,
    pub(super) request: Request,
    /// The bands whose samples are wanted, from 1 on; all of them where it is `None`.
    pub(super) bands: Option<Vec<u16>>,
    /// Squares of pixels that are wanted in place of all of the window around them, which the request names.
    pub(super) squares: Option<Squares>,
    /// Options that go before those that hold otherwise.
    pub(super) options: Vec<(String, String)>,
}

/// "squares" of a question.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    side: u32,
    at: Vec<(u32, u32)>,
}

fn bad<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Question { what: what.into() })
}

impl Question {
    /// Parses `{"ask": …, "path": …, "options": {…}}`.
    ///
    /// # Errors
    /// [`Error::Question`] for what is no question; [`Error::Path`] for a path that names nothing.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => return bad(format!("it is not valid JSON ({error})")),
        };
        let Value::Object(mut members) = value else { return bad("it is not a JSON object") };
        let mut take = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => bad(format!("it has no text \"{name}\"")),
        };
        let kind = match take("ask")?.as_str() {
            "describe" => Kind::Describe,
            "fetch" => Kind::Fetch,
            "read" => Kind::Read,
            "parts" => Kind::Parts,
            "rows" => Kind::Rows,
            "scan" => Kind::Scan,
            _ => return bad("\"ask\" is one of describe, fetch, parts, read, rows, scan"),
        };
        let path = take("path")?;
        let options = match members.remove("options") {
            None => Vec::new(),
            Some(Value::Object(options)) => options_of(options)?,
            Some(_) => return bad("\"options\" is no object"),
        };
        let bands = match members.remove("bands") {
            None | Some(Value::Null) => None,
            Some(bands) => match serde_json::from_value(bands) {
                Ok(bands) if kind == Kind::Read => Some(bands),
                _ => return bad("\"bands\" is a list of numbers, of a question \"read\""),
            },
        };
        let squares = match members.remove("squares") {
            None | Some(Value::Null) => None,
            Some(squares) => match serde_json::from_value::<Wanted>(squares) {
                Ok(Wanted { side, at }) if kind == Kind::Read => Some(Squares::new(side, &at)?),
                _ => return bad("\"squares\" has a \"side\", and columns and rows \"at\", of a question \"read\""),
            },
        };
        if let Some(name) = members.keys().next() {
            return bad(format!("\"{name}\" is not known"));
        }
        let mut request = parse_path(&path)?;
        if let Some(squares) = &squares {
            request = match request.view {
                View::Whole => request.with(View::Window(1, squares.around())),
                View::Reduced(factor) => request.with(View::Window(factor, squares.around())),
                _ => return bad("\"squares\" are of a whole image, or of a reduced one"),
            };
        }
        Ok(Self { kind, request, bands, squares, options })
    }
}

/// Options as a JSON object has them.
///
/// # Errors
/// [`Error::Question`] for what is no such object.
pub(super) fn parse_options(text: &str) -> Result<Vec<(String, String)>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(options)) => options_of(options),
        _ => bad("the options are not a JSON object"),
    }
}

fn options_of(options: Map<String, Value>) -> Result<Vec<(String, String)>> {
    let option = |(name, value)| match value {
        Value::String(value) if !String::is_empty(&name) && !name.contains('=') => Ok((name, value)),
        _ => bad(format!("the option \"{name}\" is no text")),
    };
    options.into_iter().map(option).collect()
}

/// A whole path of GDAL's: `/vsitlm/…` or `/vsitlm?…`. Questions are about the image, in whatever form GDAL gets it.
fn parse_path(path: &str) -> Result<Request> {
    let request = match path.strip_prefix("/vsitlm") {
        Some(rest) if rest.starts_with('?') => path::parse(rest)?,
        Some(rest) if rest.starts_with('/') => path::parse(rest.get(1..).unwrap_or_default())?,
        _ => {
            let what = "it does not begin with /vsitlm/ or /vsitlm?".into();
            return Err(Error::Path { path: path::without_secrets(path), what });
        }
    };
    Ok(match request.view {
        View::Window(..) => request,
        _ if request.is_tiff() => request.in_form(Form::Jp2),
        _ => request,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_understood() {
        let question = Question::parse(
            r#"{"ask": "fetch", "path": "/vsitlm?overview=4&url=%2Fa.jp2", "options": {"VSITLM_INDEX": "i"}}"#,
        )
        .unwrap();
        assert_eq!((question.kind, question.request.view), (Kind::Fetch, View::Reduced(4)));
        assert_eq!(question.request.location.display(), "/a.jp2");
        assert_eq!(question.options, [("VSITLM_INDEX".to_owned(), "i".to_owned())]);
        let decoded = Question::parse(r#"{"ask": "read", "path": "/vsitlm?as=tiff&url=/a.jp2"}"#).unwrap();
        assert_eq!((decoded.request.view, decoded.request.is_tiff()), (View::Whole, false));
        let local = Question::parse(r#"{"ask": "rows", "path": "/vsitlm//data/a.jp2"}"#).unwrap();
        assert_eq!(local.request.location.display(), "/data/a.jp2");
    }

    #[test]
    fn what_is_no_question_is_refused() {
        for (text, kind, said) in [
            ("", "Question", "not valid JSON"),
            ("[]", "Question", "not a JSON object"),
            (r#"{"path": "/vsitlm/a.jp2"}"#, "Question", "\"ask\""),
            (r#"{"ask": "wait", "path": "/vsitlm/a.jp2"}"#, "Question", "describe, fetch"),
            (r#"{"ask": "rows"}"#, "Question", "\"path\""),
            (r#"{"ask": "rows", "path": 7}"#, "Question", "\"path\""),
            (r#"{"ask": "read", "path": "/vsitlm/a.jp2", "bands": [-1]}"#, "Question", "bands"),
            (r#"{"ask": "rows", "path": "/vsitlm/a.jp2", "bands": [1]}"#, "Question", "bands"),
            (r#"{"ask": "read", "path": "/vsitlm/a.jp2", "squares": {"side": 1}}"#, "Question", "squares"),
            (r#"{"ask": "read", "path": "/vsitlm/a.jp2", "squares": {"side": 1, "at": []}}"#, "Question", "squares"),
            (
                r#"{"ask": "rows", "path": "/vsitlm/a.jp2", "squares": {"side": 1, "at": [[0, 0]]}}"#,
                "Question",
                "squares",
            ),
            (
                r#"{"ask": "read", "path": "/vsitlm?window=0,0,1,1&url=a.jp2", "squares": {"side": 1, "at": [[0, 0]]}}"#,
                "Question",
                "whole image",
            ),
            (r#"{"ask": "rows", "path": "/vsitlm/a.jp2", "options": []}"#, "Question", "options"),
            (r#"{"ask": "rows", "path": "/vsitlm/a.jp2", "options": {"A": 1}}"#, "Question", "\"A\""),
            (r#"{"ask": "rows", "path": "/vsitlm/a.jp2", "options": {"A=B": "1"}}"#, "Question", "\"A=B\""),
            (r#"{"ask": "rows", "path": "/vsitlm/a.jp2", "more": 1}"#, "Question", "\"more\""),
            (r#"{"ask": "rows", "path": "https://me:word@h/a.jp2?sig=secret"}"#, "Path", "/vsitlm"),
            (r#"{"ask": "rows", "path": "/vsitlm?overview=x&url=a"}"#, "Path", "factor"),
        ] {
            let error = Question::parse(text).unwrap_err();
            assert_eq!(error.kind(), kind, "{text}");
            let message = error.chain();
            assert!(message.contains(said) && !message.contains("secret") && !message.contains("word"), "{message}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ = Question::parse(&text);
            let _ = Question::parse(&format!("{{\"ask\":\"rows\",\"path\":{}}}", Value::String(text)));
        }
    }
}
