//! GDAL's options for the object stores: who asks, and where.
//!
//! The order in which one way of signing goes before another is GDAL's (`GetConfiguration` of cpl_aws.cpp,
//! cpl_google_cloud.cpp and cpl_azure.cpp). Where it ends at something that the options alone do not hold (a profile, a
//! key file, the identity of a machine), the answer is "by GDAL".

use crate::options::value::{Get, flag, text};
use crate::path::parse_headers;
use crate::secret::Secret;

/// GDAL's options for S3, with GDAL's names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct S3Options {
    /// AWS_NO_SIGN_REQUEST.
    pub(crate) no_sign_request: bool,
    /// AWS_ACCESS_KEY_ID.
    pub(crate) access_key_id: Option<String>,
    /// AWS_SECRET_ACCESS_KEY.
    pub(crate) secret_access_key: Option<Secret>,
    /// AWS_SESSION_TOKEN.
    pub(crate) session_token: Option<Secret>,
    /// AWS_REGION, else AWS_DEFAULT_REGION, else us-east-1.
    pub(crate) region: String,
    /// AWS_S3_ENDPOINT as a URL: AWS_HTTPS decides the scheme where it has none.
    pub(crate) endpoint: Option<String>,
    /// AWS_VIRTUAL_HOSTING.
    pub(crate) virtual_hosting: bool,
    /// AWS_REQUEST_PAYER=requester.
    pub(crate) request_payer: bool,
}

impl S3Options {
    /// As GDAL has it in cpl_aws.cpp: no signature if none is wanted, else the keys among the options, else whatever
    /// else there is (profiles, roles, the instance), which is GDAL's to find.
    pub(super) fn resolve(get: Get) -> Self {
        let text = |name: &str| text(get, name);
        Self {
            no_sign_request: flag(get, "AWS_NO_SIGN_REQUEST", false),
            access_key_id: text("AWS_ACCESS_KEY_ID"),
            secret_access_key: text("AWS_SECRET_ACCESS_KEY").map(Secret::new),
            session_token: text("AWS_SESSION_TOKEN").map(Secret::new),
            region: text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION")).unwrap_or_else(|| "us-east-1".to_owned()),
            endpoint: text("AWS_S3_ENDPOINT").map(|endpoint| {
                if endpoint.contains("://") {
                    endpoint
                } else if flag(get, "AWS_HTTPS", true) {
                    format!("https://{endpoint}")
                } else {
                    format!("http://{endpoint}")
                }
            }),
            virtual_hosting: flag(get, "AWS_VIRTUAL_HOSTING", true),
            request_payer: text("AWS_REQUEST_PAYER").is_some_and(|payer| payer.eq_ignore_ascii_case("requester")),
        }
    }

    /// Whether requests can be made from these options alone: static keys, or none wanted.
    pub(crate) fn is_static(&self) -> bool {
        self.no_sign_request || (self.access_key_id.is_some() && self.secret_access_key.is_some())
    }
}

/// GDAL's options for Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct GsOptions {
    /// CPL_GS_ENDPOINT, a URL.
    pub(crate) endpoint: String,
    /// How requests are signed.
    pub(crate) access: GsAccess,
    /// GS_USER_PROJECT, which pays for requests.
    pub(crate) user_project: Option<String>,
}

/// How requests to Google Cloud Storage are signed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum GsAccess {
    /// GS_NO_SIGN_REQUEST=YES.
    Unsigned,
    /// GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY.
    Keys { id: String, secret: Secret },
    /// An `Authorization` among GDAL_HTTP_HEADERS, such as the token of `gcloud auth print-access-token`.
    Headers,
    /// By GDAL alone: service accounts, refresh tokens, ~/.boto, the machine's identity.
    Gdal,
}

impl GsOptions {
    pub(super) fn resolve(get: Get) -> Self {
        let user_project = text(get, "GS_USER_PROJECT");
        let authorized = || {
            let headers = text(get, "GDAL_HTTP_HEADERS").map_or_else(Vec::new, |list| parse_headers(&list));
            headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        };
        let access = if flag(get, "GS_NO_SIGN_REQUEST", false) {
            GsAccess::Unsigned
        } else if let Some(secret) = text(get, "GS_SECRET_ACCESS_KEY") {
            match text(get, "GS_ACCESS_KEY_ID") {
                // Google refuses requests that mix x-goog- headers with those of a signature of AWS's kind.
                Some(id) if user_project.is_none() => GsAccess::Keys { id, secret: Secret::new(secret) },
                _ => GsAccess::Gdal,
            }
        } else if authorized() {
            GsAccess::Headers
        } else {
            GsAccess::Gdal
        };
        let endpoint = text(get, "CPL_GS_ENDPOINT").unwrap_or_else(|| "https://storage.googleapis.com".to_owned());
        Self { endpoint, access, user_project }
    }
}

/// GDAL's options for Azure.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AzureOptions {
    /// The account's name, where one is known.
    pub(crate) account: Option<String>,
    /// The URL below which containers lie, without a slash at its end.
    pub(crate) endpoint: Option<String>,
    /// How requests are signed.
    pub(crate) access: AzureAccess,
}

/// How requests to Azure are signed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum AzureAccess {
    /// AZURE_NO_SIGN_REQUEST=YES.
    Unsigned,
    /// The account's key.
    Key(Secret),
    /// A shared access signature, without a leading '?'.
    Sas(Secret),
    /// AZURE_STORAGE_ACCESS_TOKEN.
    Bearer(Secret),
    /// By GDAL alone: the configuration of the az command, the machine's identity, a federated token.
    Gdal,
}

impl AzureOptions {
    pub(super) fn resolve(get: Get) -> Self {
        let scheme = |secure: bool| if secure { "https" } else { "http" };
        let trimmed = |url: String| url.trim_end_matches('/').to_owned();
        let endpoint = text(get, "CPL_AZURE_ENDPOINT").map(trimmed);
        if let Some(connection) = text(get, "AZURE_STORAGE_CONNECTION_STRING") {
            let part = |name: &str| {
                let value = connection.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
                value.filter(|value| !value.is_empty()).map(str::to_owned)
            };
            let secure = part("DefaultEndpointsProtocol").is_none_or(|protocol| protocol != "http");
            let named = part("BlobEndpoint").map(trimmed);
            return match (part("AccountName"), part("AccountKey"), part("SharedAccessSignature")) {
                (Some(account), Some(key), _) => {
                    let suffix = part("EndpointSuffix").map(trimmed);
                    let made = |suffix: String| format!("{}://{account}.blob.{suffix}", scheme(secure));
                    let endpoint = named
                        .or_else(|| suffix.map(made))
                        .or(endpoint)
                        .unwrap_or_else(|| made("core.windows.net".to_owned()));
                    Self {
                        account: Some(account),
                        endpoint: Some(endpoint),
                        access: AzureAccess::Key(Secret::new(key)),
                    }
                }
                (account, _, Some(sas)) if named.is_some() => {
                    Self { account, endpoint: named, access: AzureAccess::Sas(signature(&sas)) }
                }
                _ => Self { account: None, endpoint: None, access: AzureAccess::Gdal },
            };
        }
        let Some(account) = text(get, "AZURE_STORAGE_ACCOUNT") else {
            return Self { account: None, endpoint, access: AzureAccess::Gdal };
        };
        let secure = flag(get, "CPL_AZURE_USE_HTTPS", true);
        let endpoint = endpoint.unwrap_or_else(|| format!("{}://{account}.blob.core.windows.net", scheme(secure)));
        let access = if let Some(token) = text(get, "AZURE_STORAGE_ACCESS_TOKEN") {
            AzureAccess::Bearer(Secret::new(token))
        } else if let Some(key) = text(get, "AZURE_STORAGE_ACCESS_KEY") {
            AzureAccess::Key(Secret::new(key))
        // AZURE_SAS is its name before GDAL 3.5.
        } else if let Some(sas) = text(get, "AZURE_STORAGE_SAS_TOKEN").or_else(|| text(get, "AZURE_SAS")) {
            AzureAccess::Sas(signature(&sas))
        } else if flag(get, "AZURE_NO_SIGN_REQUEST", false) {
            AzureAccess::Unsigned
        } else {
            AzureAccess::Gdal
        };
        Self { account: Some(account), endpoint: Some(endpoint), access }
    }
}

fn signature(sas: &str) -> Secret {
    Secret::new(sas.trim().trim_start_matches('?').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn getter<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn google_is_asked_in_gdals_order() {
        let keys = [("GS_ACCESS_KEY_ID", "id"), ("GS_SECRET_ACCESS_KEY", "sesame")];
        let token = ("GDAL_HTTP_HEADERS", "X: 1,authorization: Bearer sesame");
        let hmac = GsAccess::Keys { id: "id".into(), secret: Secret::new("sesame") };
        for (set, expected) in [
            (vec![], GsAccess::Gdal),
            (vec![("GDAL_HTTP_HEADERS", "X: 1"), ("GOOGLE_APPLICATION_CREDENTIALS", "f")], GsAccess::Gdal),
            (keys.to_vec(), hmac.clone()),
            (vec![keys[0], keys[1], token], hmac),
            (vec![keys[1], token], GsAccess::Gdal),
            (vec![keys[0], keys[1], ("GS_USER_PROJECT", "p")], GsAccess::Gdal),
            (vec![token, ("GS_USER_PROJECT", "p")], GsAccess::Headers),
            (vec![keys[0], keys[1], ("GS_NO_SIGN_REQUEST", "YES")], GsAccess::Unsigned),
        ] {
            let options = GsOptions::resolve(&getter(&set));
            assert_eq!(options.access, expected, "{set:?}");
            assert!(!format!("{options:?}").contains("sesame"));
        }
    }

    #[test]
    fn azure_is_asked_in_gdals_order() {
        let account = ("AZURE_STORAGE_ACCOUNT", "me");
        let key = ("AZURE_STORAGE_ACCESS_KEY", "a2V5");
        let sas = ("AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=x");
        let token = ("AZURE_STORAGE_ACCESS_TOKEN", "token");
        let unsigned = ("AZURE_NO_SIGN_REQUEST", "YES");
        let secret = |value: &str| Secret::new(value.to_owned());
        let cloud = Some("https://me.blob.core.windows.net");
        for (set, endpoint, access) in [
            (vec![], None, AzureAccess::Gdal),
            (vec![account], cloud, AzureAccess::Gdal),
            (vec![account, unsigned], cloud, AzureAccess::Unsigned),
            (vec![account, unsigned, sas], cloud, AzureAccess::Sas(secret("sv=1&sig=x"))),
            (vec![account, ("AZURE_SAS", "sig=y")], cloud, AzureAccess::Sas(secret("sig=y"))),
            (vec![account, unsigned, sas, key], cloud, AzureAccess::Key(secret("a2V5"))),
            (vec![account, sas, key, token], cloud, AzureAccess::Bearer(secret("token"))),
            (
                vec![account, key, ("CPL_AZURE_ENDPOINT", "http://h:1/me/")],
                Some("http://h:1/me"),
                AzureAccess::Key(secret("a2V5")),
            ),
            (
                vec![account, unsigned, ("CPL_AZURE_USE_HTTPS", "NO")],
                Some("http://me.blob.core.windows.net"),
                AzureAccess::Unsigned,
            ),
            (
                vec![
                    token,
                    account,
                    (
                        "AZURE_STORAGE_CONNECTION_STRING",
                        "DefaultEndpointsProtocol=http;AccountName=you;AccountKey=a2V5PQ==;BlobEndpoint=http://h:1/you/;",
                    ),
                ],
                Some("http://h:1/you"),
                AzureAccess::Key(secret("a2V5PQ==")),
            ),
            (
                vec![(
                    "AZURE_STORAGE_CONNECTION_STRING",
                    "DefaultEndpointsProtocol=https;AccountName=you;AccountKey=a2V5;EndpointSuffix=core.example",
                )],
                Some("https://you.blob.core.example"),
                AzureAccess::Key(secret("a2V5")),
            ),
            (
                vec![(
                    "AZURE_STORAGE_CONNECTION_STRING",
                    "BlobEndpoint=https://h/;SharedAccessSignature=sv=1&sig=z%3D",
                )],
                Some("https://h"),
                AzureAccess::Sas(secret("sv=1&sig=z%3D")),
            ),
            (vec![account, key, ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=you")], None, AzureAccess::Gdal),
        ] {
            let options = AzureOptions::resolve(&getter(&set));
            assert_eq!((options.endpoint.as_deref(), &options.access), (endpoint, &access), "{set:?}");
        }
    }
}
