//! Blobs of Azure: with the account's key, a shared access signature, a token, or nothing.

use std::time::SystemTime;

use ::http::HeaderValue;
use ::http::header::{AUTHORIZATION, CONTENT_LENGTH, DATE};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential, split_sas};
use object_store::client::HttpRequest;
use url::Url;

use super::{Service, Target, cannot_ask, check_key, endpoint, fits, header};
use crate::error::{Error, Result};
use crate::options::{AzureAccess, Options};
use crate::source::remote::call::{PAGE, What};

/// See [`Target::advice`].
pub(super) const ADVICE: &str = "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_ACCESS_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_ACCESS_TOKEN or AZURE_NO_SIGN_REQUEST=YES";

/// A container, and how it is asked for.
pub(super) struct Container {
    url: Url,
    account: String,
    /// `None` where requests are not signed.
    credential: Option<AzureCredential>,
}

impl Target {
    /// The blob `key` of `container`.
    pub(super) fn azure(container: &str, key: &str, options: &Options) -> Result<Self> {
        let shown = format!("az://{container}/{key}");
        let invalid = |what: &str| Error::Path { path: shown.clone(), what: what.to_owned() };
        check_key(key, &shown)?;
        // "$root" and "$web" are names too.
        if !container.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-$".contains(&byte)) {
            return Err(invalid("the container's name has characters that no container's name has"));
        }
        let Some(base) = &options.azure.endpoint else {
            return Err(invalid(&format!("the account is not known: set {ADVICE}")));
        };
        let account = options.azure.account.as_deref().unwrap_or_default();
        let token = match &options.azure.access {
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
        fits(&format!("{base}/{container}"), key, &shown, "CPL_AZURE_ENDPOINT")?;
        let place = base.split_once("://").map_or(base.as_str(), |(_, place)| place);
        let origin = format!("az://{place}/{container}/{key}");
        let authority = url.origin().ascii_serialization();
        let service = Service::Azure(Container {
            url: below(url, [container]),
            account: account.to_owned(),
            credential: credential(&options.azure.access)?,
        });
        Self::new(origin, authority, key, service, options.azure.clone(), options)
    }
}

impl Container {
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
            headers.extend(header(DATE, &httpdate::fmt_http_date(SystemTime::now())));
            return Ok(());
        };
        if !matches!(credential, AzureCredential::SASToken(_)) {
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
    credential.map(Some).ok_or_else(|| cannot_ask(ADVICE))
}

/// The URL of what lies below `url`, which has a host and so can have a path.
fn below<'a>(mut url: Url, parts: impl IntoIterator<Item = &'a str>) -> Url {
    if let Ok(mut path) = url.path_segments_mut() {
        path.extend(parts);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::super::tests::options;
    use super::*;

    const ACCOUNT: (&str, &str) = ("AZURE_STORAGE_ACCOUNT", "me");

    #[test]
    fn origins_are_the_same_whatever_the_credentials() {
        let cloud = "az://me.blob.core.windows.net/c/a key";
        for (set, origin) in [
            (vec![ACCOUNT, ("AZURE_NO_SIGN_REQUEST", "YES")], cloud),
            (vec![ACCOUNT, ("AZURE_STORAGE_ACCESS_KEY", "c2VzYW1l")], cloud),
            (vec![ACCOUNT, ("AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=sesame")], cloud),
            (vec![ACCOUNT, ("AZURE_STORAGE_ACCESS_TOKEN", "sesame")], cloud),
            (
                vec![(
                    "AZURE_STORAGE_CONNECTION_STRING",
                    "AccountName=me;AccountKey=c2VzYW1l;BlobEndpoint=http://127.0.0.1:10000/me",
                )],
                "az://127.0.0.1:10000/me/c/a key",
            ),
        ] {
            let target = Target::azure("c", "a key", &options(&set)).unwrap();
            assert_eq!(target.origin, origin);
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_without_showing_it() {
        let key = ("AZURE_STORAGE_ACCESS_KEY", "not base64: sesame");
        let error = Target::azure("c", "k", &options(&[ACCOUNT, key])).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("AZURE_STORAGE_ACCESS_KEY") && !error.contains("sesame"), "{error}");
        for (container, key, set) in [
            ("c/d", "k", vec![ACCOUNT]),
            ("c", "a//k", vec![ACCOUNT]),
            ("c", "k", vec![]),
            ("c", "k", vec![ACCOUNT, ("AZURE_STORAGE_ACCESS_TOKEN", "sesame\n")]),
            ("c", "k", vec![ACCOUNT, ("CPL_AZURE_ENDPOINT", "https://u:sesame@h")]),
        ] {
            let error = Target::azure(container, key, &options(&set)).map(|_| ()).unwrap_err().to_string();
            assert!(!error.contains("sesame"), "{error}");
        }
    }
}
