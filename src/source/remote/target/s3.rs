//! Objects of S3 stores: AWS's, CDSE's, and whatever else speaks its language.

use std::net::IpAddr;

use ::http::{HeaderMap, HeaderValue};
use object_store::aws::AmazonS3Builder;
use object_store::client::ClientOptions;
use url::Url;

use super::{Kind, Target, endpoint, fits, object_path};
use crate::error::{Error, Result};
use crate::options::S3Options;
use crate::source::identity::Access;
use crate::source::remote::response::is_region;

/// See [`Target::advice`].
pub(crate) const ADVICE: &str = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_NO_SIGN_REQUEST, AWS_REQUEST_PAYER=requester, AWS_S3_ENDPOINT";

/// The endpoint's name in origins of AWS, whatever the region.
const AWS: &str = "s3.amazonaws.com";

impl Target {
    /// The object `key` of `bucket`.
    pub(crate) fn s3(bucket: &str, key: &str, access: &Access) -> Result<Self> {
        let options = &access.options;
        let s3 = options.s3.clone();
        let shown = format!("s3://{bucket}/{key}");
        let path = object_path(key, &shown)?;
        check(bucket, &s3, &shown, "AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN or AWS_REGION")?;
        let endpoint = custom_endpoint(&s3)?;
        let host = endpoint.as_ref().map_or_else(|| AWS.to_owned(), aws_or_own);
        let origin = format!("s3://{host}/{bucket}/{key}");
        let authority =
            endpoint.map_or_else(|| format!("https://{bucket}.{AWS}"), |url| url.origin().ascii_serialization());
        fits(&bucket_endpoint(bucket, &s3, None)?, key, &shown, "AWS_S3_ENDPOINT")?;
        Self::new(origin, authority, path, Kind::S3 { bucket: bucket.to_owned(), options: s3 }, access)
    }
}

/// Refuses what object_store would panic on. `named` are the options that hold what is sent in headers.
pub(crate) fn check(bucket: &str, s3: &S3Options, shown: &str, named: &str) -> Result<()> {
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

/// What makes the store that asks for objects of `bucket`, in `region` where that is not the options'.
pub(crate) fn builder(
    bucket: &str,
    options: &S3Options,
    region: Option<&str>,
    headers: HeaderMap,
) -> Result<AmazonS3Builder> {
    let builder = AmazonS3Builder::new()
        .with_client_options(ClientOptions::new().with_allow_http(true).with_default_headers(headers))
        .with_bucket_name(bucket)
        .with_region(region.unwrap_or(&options.region))
        // Said so, object_store takes the endpoint for the whole of what stands before the key.
        .with_virtual_hosted_style_request(true)
        .with_endpoint(bucket_endpoint(bucket, options, region)?)
        .with_request_payer(options.request_payer);
    if options.no_sign_request {
        return Ok(builder.with_skip_signature(true));
    }
    let (Some(id), Some(secret)) = (&options.access_key_id, &options.secret_access_key) else { return Ok(builder) };
    let builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose());
    Ok(match &options.session_token {
        Some(token) => builder.with_token(token.expose()),
        None => builder,
    })
}

/// Whether buckets lie at AWS's endpoint, in a region that a response may tell.
pub(crate) fn is_movable(options: &S3Options) -> bool {
    custom_endpoint(options).is_ok_and(|endpoint| endpoint.is_none())
}

/// AWS_S3_ENDPOINT, where it is not AWS's default one.
fn custom_endpoint(s3: &S3Options) -> Result<Option<Url>> {
    let Some(value) = &s3.endpoint else { return Ok(None) };
    Ok(Some(endpoint("AWS_S3_ENDPOINT", value)?).filter(|url| url.host_str() != Some(AWS)))
}

/// Whatever stands before the key in the URL: the bucket is in the host's name or in the path.
fn bucket_endpoint(bucket: &str, s3: &S3Options, region: Option<&str>) -> Result<String> {
    let region = region.unwrap_or(&s3.region);
    let url = match custom_endpoint(s3)? {
        Some(url) => url,
        None => {
            let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
            let url = Url::parse(&format!("https://s3.{region}.amazonaws.com{suffix}")).ok();
            url.filter(|_| is_region(region)).ok_or_else(|| Error::Option {
                name: "AWS_REGION",
                value: region.to_owned(),
                expected: "the name of a region, such as eu-central-1",
            })?
        }
    };
    let host = url.host_str().unwrap_or_default();
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() || host == "localhost";
    // As in GDAL: a bucket with dots is no name that a certificate for one level covers.
    let in_host = s3.virtual_hosting && !is_address && !bucket.contains(['.', ':', '_']);
    let base = url.as_str().trim_end_matches('/');
    Ok(match base.split_once("://").filter(|_| in_host) {
        Some((scheme, rest)) => format!("{scheme}://{bucket}.{rest}"),
        None => format!("{base}/{bucket}"),
    })
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

#[cfg(test)]
mod tests {
    use super::super::tests::access;
    use super::*;

    #[test]
    fn endpoints() {
        let own = ("AWS_S3_ENDPOINT", "s3.example:9000");
        for (bucket, more, base, origin) in [
            ("b", vec![], "https://b.s3.us-east-1.amazonaws.com", "s3://s3.amazonaws.com/b/k"),
            (
                "b",
                vec![("AWS_REGION", "cn-north-1")],
                "https://b.s3.cn-north-1.amazonaws.com.cn",
                "s3://s3.amazonaws.com/b/k",
            ),
            ("b.c", vec![], "https://s3.us-east-1.amazonaws.com/b.c", "s3://s3.amazonaws.com/b.c/k"),
            (
                "b",
                vec![("AWS_VIRTUAL_HOSTING", "NO")],
                "https://s3.us-east-1.amazonaws.com/b",
                "s3://s3.amazonaws.com/b/k",
            ),
            ("b", vec![own], "https://b.s3.example:9000", "s3://s3.example:9000/b/k"),
            (
                "b",
                vec![own, ("AWS_HTTPS", "NO"), ("AWS_VIRTUAL_HOSTING", "NO")],
                "http://s3.example:9000/b",
                "s3://s3.example:9000/b/k",
            ),
            ("b", vec![("AWS_S3_ENDPOINT", "http://[::1]:9000/")], "http://[::1]:9000/b", "s3://[::1]:9000/b/k"),
            (
                "b",
                vec![("AWS_S3_ENDPOINT", "s3.amazonaws.com")],
                "https://b.s3.us-east-1.amazonaws.com",
                "s3://s3.amazonaws.com/b/k",
            ),
            (
                "b",
                vec![("AWS_S3_ENDPOINT", "s3.eu-west-1.amazonaws.com")],
                "https://b.s3.eu-west-1.amazonaws.com",
                "s3://s3.amazonaws.com/b/k",
            ),
            (
                "b",
                vec![("AWS_S3_ENDPOINT", "notaws3.amazonaws.com.evil")],
                "https://b.notaws3.amazonaws.com.evil",
                "s3://notaws3.amazonaws.com.evil/b/k",
            ),
        ] {
            let access = access("s3://b/k", &more);
            assert_eq!(bucket_endpoint(bucket, &access.options.s3, None).unwrap(), base);
            assert_eq!(Target::s3(bucket, "k", &access).unwrap().origin, origin);
        }
        for wrong in
            [("AWS_S3_ENDPOINT", "https://u:sesame@h"), ("AWS_S3_ENDPOINT", "h/?sesame"), ("AWS_REGION", "a.b/c")]
        {
            let error = Target::s3("b", "k", &access("s3://b/k", &[wrong])).map(|_| ()).unwrap_err();
            assert!(matches!(&error, Error::Option { name, .. } if *name == wrong.0), "{error}");
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
    }
}
