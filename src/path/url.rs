//! What a URL carries besides the place of a file: a user and a password, a signature.

use url::Url;

use crate::secret::Secret;

/// Whether a pair of a query string is part of a signature, which differs from one signed URL of a file to the next;
/// `is_sas`: the query has a shared access signature of Azure's.
fn is_of_signature(pair: &str, is_sas: bool) -> bool {
    // https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas and its neighbours.
    const SAS: [&str; 22] = [
        "sv", "ss", "srt", "sr", "sp", "st", "se", "spr", "sig", "skoid", "sktid", "skt", "ske", "sks", "skv", "si",
        "sip", "saoid", "suoid", "scid", "sdd", "ses",
    ];
    let name = pair.split('=').next().unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    lower.starts_with("x-amz-") || lower.starts_with("x-goog-") || (is_sas && SAS.contains(&name))
}

/// The pairs of a query string that name a file, and those that are a signature.
fn divide(query: &str) -> (Vec<&str>, Vec<&str>) {
    let is_sas = query.split('&').any(|pair| pair.starts_with("sig="));
    query.split('&').partition(|pair| !is_of_signature(pair, is_sas))
}

/// The part of a query string that tells one file from another: all of it but a signature.
pub(crate) fn identifying_query(url: &Url) -> Option<String> {
    let (named, _) = divide(url.query()?);
    (!named.is_empty()).then(|| named.join("&"))
}

/// What lets a caller read the file at `url`, where the URL itself has that: user info, a signature.
pub(crate) fn url_secrets(url: &str) -> Option<Secret> {
    let url = Url::parse(url).ok()?;
    let signature = url.query().map(|query| divide(query).1.join("&")).unwrap_or_default();
    let carried = format!("{}:{}@{signature}", url.username(), url.password().unwrap_or_default());
    (carried != ":@").then(|| Secret::new(carried))
}
