//! Objects of S3 stores: AWS's, CDSE's, and whatever else speaks its language.

use std::net::IpAddr;

use ::http::HeaderValue;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::error::{Error, Result};
use crate::options::S3Options;
use crate::source::remote::call::{Hints, PAGE, What};
use crate::source::remote::response::is_region;
use crate::source::remote::target::address::{Address, check_key, endpoint, fits};

pub(super) const HINTS: Hints = Hints {
    credentials: "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_NO_SIGN_REQUEST, AWS_REQUEST_PAYER=requester, AWS_S3_ENDPOINT",
    place: "the path and AWS_S3_ENDPOINT",
};

/// What of a key is percent-encoded: all but letters, digits and `-._~/`, as signatures want it.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The endpoint's name in origins of AWS, whatever the region.
const AWS: &str = "s3.amazonaws.com";

/// A bucket, and how it is asked for.
pub(super) struct Bucket {
    pub(super) name: String,
    /// The options' region.
    pub(super) region: String,
    /// AWS_S3_ENDPOINT, where it is not AWS's default one.
    endpoint: Option<Url>,
    virtual_hosting: bool,
    request_payer: bool,
    /// `None` where requests are not signed.
    credential: Option<AwsCredential>,
}

impl Bucket {
    /// The bucket `name`, and where its object `key` lies.
    pub(super) fn locate(name: &str, key: &str, options: &S3Options) -> Result<(Address, Self)> {
        let shown = format!("s3://{name}/{key}");
        check_key(key, &shown)?;
        check(name, options, &shown, "AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN or AWS_REGION")?;
        let bucket = Self::new(name, options)?;
        let host = bucket.endpoint.as_ref().map_or_else(|| AWS.to_owned(), aws_or_own);
        let origin = format!("s3://{host}/{name}/{key}");
        let own = bucket.endpoint.as_ref().map(|url| url.origin().ascii_serialization());
        let authority = own.unwrap_or_else(|| format!("https://{name}.{AWS}"));
        fits(&bucket.base(None)?, key, &shown, "AWS_S3_ENDPOINT")?;
        Ok((Address { origin, authority }, bucket))
    }

    pub(super) fn new(name: &str, s3: &S3Options) -> Result<Self> {
        let credential = match (&s3.access_key_id, &s3.secret_access_key) {
            (Some(id), Some(secret)) if !s3.no_sign_request => Some(AwsCredential {
                key_id: id.clone(),
                secret_key: secret.expose().to_owned(),
                token: s3.session_token.as_ref().map(|token| token.expose().to_owned()),
            }),
            _ => None,
        };
        Ok(Self {
            name: name.to_owned(),
            region: s3.region.clone(),
            endpoint: custom_endpoint(s3)?,
            virtual_hosting: s3.virtual_hosting,
            request_payer: s3.request_payer,
            credential,
        })
    }

    /// Whether it lies at AWS's endpoint, in a region that a response may name.
    pub(super) fn is_movable(&self) -> bool {
        self.endpoint.is_none()
    }

    /// Where the object `key` is asked for, or a page of the bucket's listing.
    pub(super) fn url(&self, key: &str, what: &What, region: Option<&str>) -> Result<String> {
        let base = self.base(region)?;
        let What::Page { prefix, token } = what else {
            return Ok(format!("{base}/{}", utf8_percent_encode(key, KEY)));
        };
        let mut query = Serializer::new(String::new());
        query.extend_pairs(token.iter().map(|token| ("continuation-token", token)));
        query.extend_pairs([("list-type", "2"), ("prefix", prefix)]).append_pair("max-keys", &PAGE.to_string());
        Ok(format!("{base}?{}", query.finish()))
    }

    /// Signs `request`, unless requests go out without a signature.
    pub(super) fn sign(&self, request: &mut HttpRequest, region: Option<&str>) -> object_store::Result<()> {
        let Some(credential) = &self.credential else { return Ok(()) };
        AwsAuthorizer::new(credential, "s3", region.unwrap_or(&self.region))
            .with_request_payer(self.request_payer)
            .try_authorize(request, None)
    }

    /// Whatever stands before the key in the URL: the bucket is in the host's name or in the path.
    fn base(&self, region: Option<&str>) -> Result<String> {
        let region = region.unwrap_or(&self.region);
        let aws = || {
            let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
            let url = Url::parse(&format!("https://s3.{region}.amazonaws.com{suffix}")).ok();
            url.filter(|_| is_region(region)).ok_or_else(|| Error::Option {
                name: "AWS_REGION",
                value: region.to_owned(),
                expected: "the name of a region, such as eu-central-1",
            })
        };
        let url = self.endpoint.clone().map_or_else(aws, Ok)?;
        let (bucket, host) = (&self.name, url.host_str().unwrap_or_default());
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() || host == "localhost";
        // As in GDAL: a certificate for one level does not cover a bucket with dots.
        let in_host = self.virtual_hosting && !is_address && !bucket.contains(['.', ':', '_']);
        let base = url.as_str().trim_end_matches('/');
        Ok(match base.split_once("://").filter(|_| in_host) {
            Some((scheme, rest)) => format!("{scheme}://{bucket}.{rest}"),
            None => format!("{base}/{bucket}"),
        })
    }
}

/// Refuses what the authorizer would panic on. `named` are the options that hold what is sent in headers.
pub(super) fn check(bucket: &str, s3: &S3Options, shown: &str, named: &str) -> Result<()> {
    let invalid = |what: String| Err(Error::Path { path: shown.to_owned(), what });
    if bucket.is_empty() || !bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)) {
        return invalid("the bucket's name has characters that no bucket's name has".to_owned());
    }
    let secrets =
        [s3.access_key_id.as_deref(), s3.session_token.as_ref().map(|token| token.expose()), Some(&s3.region)];
    if secrets.into_iter().flatten().any(|value| HeaderValue::from_str(value).is_err()) {
        return invalid(format!("{named} has characters that cannot be sent"));
    }
    Ok(())
}

/// AWS_S3_ENDPOINT, where it is not AWS's default one.
fn custom_endpoint(s3: &S3Options) -> Result<Option<Url>> {
    let Some(value) = &s3.endpoint else { return Ok(None) };
    Ok(Some(endpoint("AWS_S3_ENDPOINT", value)?).filter(|url| url.host_str() != Some(AWS)))
}

/// The endpoint's host and port as an origin has it.
fn aws_or_own(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let regional = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"));
    match (regional, url.port()) {
        (Some(name), _) if name == "s3" || name.starts_with("s3.") || name.starts_with("s3-") => AWS.to_owned(),
        (_, Some(port)) => format!("{host}:{port}"),
        (_, None) => host.to_owned(),
    }
}
