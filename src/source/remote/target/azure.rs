//! Blobs of Azure: with the account's key, a shared access signature, a token, or nothing.

use ::http::HeaderValue;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::ClientOptions;

use super::{Kind, Target, endpoint, fits, object_path};
use crate::error::{Error, Result};
use crate::options::{AzureAccess, AzureOptions};
use crate::source::identity::Access;

/// See [`Target::advice`].
pub(crate) const ADVICE: &str = "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_ACCESS_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_ACCESS_TOKEN or AZURE_NO_SIGN_REQUEST=YES";

impl Target {
    /// The blob `key` of `container`.
    pub(crate) fn azure(container: &str, key: &str, access: &Access) -> Result<Self> {
        let options = &access.options;
        let shown = format!("az://{container}/{key}");
        let invalid = |what: &str| Error::Path { path: shown.clone(), what: what.to_owned() };
        let path = object_path(key, &shown)?;
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
        let options_of_azure = AzureOptions { endpoint: Some(base), ..options.azure.clone() };
        let kind = Kind::Azure { container: container.to_owned(), options: options_of_azure };
        Self::new(origin, url.origin().ascii_serialization(), path, kind, access)
    }
}

/// What makes the store that asks for blobs of `container`.
pub(crate) fn builder(container: &str, options: &AzureOptions) -> MicrosoftAzureBuilder {
    let builder = MicrosoftAzureBuilder::new()
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_account(options.account.clone().unwrap_or_default())
        .with_container_name(container)
        .with_endpoint(options.endpoint.clone().unwrap_or_default());
    match &options.access {
        AzureAccess::Key(key) => builder.with_access_key(key.expose()),
        AzureAccess::Sas(pairs) => builder.with_config(AzureConfigKey::SasKey, pairs.expose()),
        AzureAccess::Bearer(token) => builder.with_bearer_token_authorization(token.expose()),
        AzureAccess::Unsigned | AzureAccess::Gdal => builder.with_skip_signature(true),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::access;
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
            let target = Target::azure("c", "a key", &access("az://c/k", &set)).unwrap();
            assert_eq!(target.origin, origin);
            target.store(0, None).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_without_showing_it() {
        let key = ("AZURE_STORAGE_ACCESS_KEY", "not base64: sesame");
        let target = Target::azure("c", "k", &access("az://c/k", &[ACCOUNT, key])).unwrap();
        let error = target.store(0, None).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("AZURE_STORAGE_ACCESS_KEY") && !error.contains("sesame"), "{error}");
        for (container, key, set) in [
            ("c/d", "k", vec![ACCOUNT]),
            ("c", "a//k", vec![ACCOUNT]),
            ("c", "k", vec![]),
            ("c", "k", vec![ACCOUNT, ("AZURE_STORAGE_ACCESS_TOKEN", "sesame\n")]),
            ("c", "k", vec![ACCOUNT, ("CPL_AZURE_ENDPOINT", "https://u:sesame@h")]),
        ] {
            let error = Target::azure(container, key, &access("az://c/k", &set)).map(|_| ()).unwrap_err().to_string();
            assert!(!error.contains("sesame"), "{error}");
        }
    }
}
