//! Blobs of Azure: with the account's key, a shared access signature, a token, or nothing.

use std::time::SystemTime;

use ::http::HeaderValue;
use ::http::header::{AUTHORIZATION, CONTENT_LENGTH, DATE};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential, split_sas};
use object_store::client::HttpRequest;
use url::Url;

use crate::error::{Error, Result};
use crate::options::{AzureAccess, AzureOptions};
use crate::source::remote::call::{Hints, PAGE, What};
use crate::source::remote::target::address::{Address, cannot_ask, check_key, endpoint, fits, set};

pub(super) const HINTS: Hints = Hints {
    credentials: "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_ACCESS_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_ACCESS_TOKEN or AZURE_NO_SIGN_REQUEST=YES",
    place: "the path, AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_CONNECTION_STRING",
};

/// A URL as long as this, in bytes, cannot be sent.
const MAX_URL: usize = u16::MAX as usize;

/// A container, and how it is asked for.
pub(super) struct Container {
    url: Url,
    account: String,
    /// `None` where requests are not signed.
    credential: Option<AzureCredential>,
}

impl Container {
    /// The container `name`, and where its blob `key` lies.
    pub(super) fn locate(name: &str, key: &str, options: &AzureOptions) -> Result<(Address, Self)> {
        let shown = format!("az://{name}/{key}");
        let invalid = |what: &str| Error::Path { path: shown.clone(), what: what.to_owned() };
        check_key(key, &shown)?;
        // "$root" and "$web" are names too.
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-$".contains(&byte)) {
            return Err(invalid("the container's name has characters that no container's name has"));
        }
        let Some(base) = &options.endpoint else {
            return Err(invalid(&format!("the account is not known: set {}", HINTS.credentials)));
        };
        let account = options.account.as_deref().unwrap_or_default();
        let token = match &options.access {
            AzureAccess::Bearer(token) => token.expose(),
            _ => "",
        };
        if [account, token].into_iter().any(|value| HeaderValue::from_str(value).is_err()) {
            return Err(invalid(
                "AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_ACCESS_TOKEN has characters that cannot be sent",
            ));
        }
        let url = endpoint("CPL_AZURE_ENDPOINT", base)?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        fits(&format!("{base}/{name}"), key, &shown, "CPL_AZURE_ENDPOINT")?;
        let place = base.split_once("://").map_or(base.as_str(), |(_, place)| place);
        let origin = format!("az://{place}/{name}/{key}");
        let authority = url.origin().ascii_serialization();
        let credential = credential(&options.access)?;
        let container = Self { url: below(url, [name]), account: account.to_owned(), credential };
        Ok((Address { origin, authority }, container))
    }

    /// Where the blob `key` is asked for, or a page of the container's listing.
    pub(super) fn url(&self, key: &str, what: &What) -> String {
        let What::Page { prefix, token } = what else { return below(self.url.clone(), key.split('/')).into() };
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .extend_pairs([("restype", "container"), ("comp", "list"), ("prefix", prefix)])
            .extend_pairs(token.iter().map(|token| ("marker", token)))
            .append_pair("maxresults", &PAGE.to_string());
        url.into()
    }

    /// Signs `request`, which is for `what`, unless requests go out without a signature.
    pub(super) fn sign(&self, request: &mut HttpRequest, what: &What) -> object_store::Result<()> {
        let headers = request.headers_mut();
        match what {
            What::Put(_) => drop(headers.insert("x-ms-blob-type", HeaderValue::from_static("BlockBlob"))),
            What::Range(_) | What::Tail(_) => drop(headers.insert(CONTENT_LENGTH, 0.into())),
            What::Page { .. } => {}
        }
        let Some(credential) = &self.credential else {
            // The version and the date, which the authorizer adds too.
            headers.insert("x-ms-version", HeaderValue::from_static("2023-11-03"));
            set(headers, DATE, &httpdate::fmt_http_date(SystemTime::now()));
            return Ok(());
        };
        if let AzureCredential::SASToken(pairs) = credential {
            // The authorizer would panic on a URL that becomes too long.
            let added: usize = pairs.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
            if request.uri().to_string().len() + added >= MAX_URL {
                return Err(object_store::Error::NotSupported { source: "the URL is too long".into() });
            }
        } else {
            // The authorizer would add its own to the user's.
            headers.remove(AUTHORIZATION);
        }
        AzureAuthorizer::new(credential, &self.account).try_authorize(request)
    }
}

fn credential(access: &AzureAccess) -> Result<Option<AzureCredential>> {
    let credential = match access {
        AzureAccess::Key(key) => AzureAccessKey::try_new(key.expose()).map(AzureCredential::AccessKey).ok(),
        AzureAccess::Sas(pairs) => split_sas(pairs.expose()).map(AzureCredential::SASToken).ok(),
        AzureAccess::Bearer(token) => Some(AzureCredential::BearerToken(token.expose().to_owned())),
        AzureAccess::Unsigned | AzureAccess::Gdal => return Ok(None),
    };
    credential.map(Some).ok_or_else(|| cannot_ask(HINTS))
}

/// The URL of what lies below `url`, which has a host and so can have a path.
fn below<'a>(mut url: Url, parts: impl IntoIterator<Item = &'a str>) -> Url {
    if let Ok(mut path) = url.path_segments_mut() {
        path.extend(parts);
    }
    url
}
