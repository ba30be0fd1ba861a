//! Objects of Google Cloud Storage, through the interface that its servers have for clients of S3: "the Cloud Storage XML
//! API is interoperable with services such as Amazon S3", with HMAC keys and signatures of version 4 for the region
//! `auto`. Without a signature, or with a token among the user's headers, such a request is a plain GET.

use ::http::{HeaderName, HeaderValue};

use crate::error::{Error, Result};
use crate::options::{GsAccess, GsOptions, S3Options};
use crate::source::remote::call::Hints;
use crate::source::remote::target::address::{Address, check_key, endpoint, fits};
use crate::source::remote::target::s3::{Bucket, check};

pub(super) const HINTS: Hints = Hints {
    credentials: "GS_NO_SIGN_REQUEST=YES, GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY, an 'Authorization: Bearer …' in GDAL_HTTP_HEADERS, or GOOGLE_APPLICATION_CREDENTIALS; GS_USER_PROJECT where the requester pays",
    place: "the path and CPL_GS_ENDPOINT",
};

/// The object `key` of the bucket `bucket`.
pub(super) fn locate(bucket: &str, key: &str, options: &GsOptions) -> Result<(Address, Bucket)> {
    let shown = format!("gs://{bucket}/{key}");
    check_key(key, &shown)?;
    let url = endpoint("CPL_GS_ENDPOINT", &options.endpoint)?;
    let base = url.as_str().trim_end_matches('/');
    let (id, secret) = match &options.access {
        GsAccess::Keys { id, secret } => (Some(id.clone()), Some(secret.clone())),
        GsAccess::Unsigned | GsAccess::Headers | GsAccess::Gdal => (None, None),
    };
    let s3 = S3Options {
        no_sign_request: id.is_none(),
        access_key_id: id,
        secret_access_key: secret,
        session_token: None,
        region: "auto".to_owned(),
        endpoint: Some(base.to_owned()),
        virtual_hosting: false,
        request_payer: false,
    };
    check(bucket, &s3, &shown, "GS_ACCESS_KEY_ID")?;
    fits(&format!("{base}/{bucket}"), key, &shown, "CPL_GS_ENDPOINT")?;
    let place = base.split_once("://").map_or(base, |(_, place)| place);
    let origin = format!("gs://{place}/{bucket}/{key}");
    Ok((Address { origin, authority: url.origin().ascii_serialization() }, Bucket::new(bucket, &s3)?))
}

/// The header that says which project pays. As in GDAL, who does not sign does not pay either.
pub(super) fn payer(options: &GsOptions) -> Result<Option<(HeaderName, HeaderValue)>> {
    let (GsAccess::Headers, Some(project)) = (&options.access, &options.user_project) else { return Ok(None) };
    let value = HeaderValue::from_str(project).map_err(|_| Error::Option {
        name: "GS_USER_PROJECT",
        value: project.clone(),
        expected: "the name of a project",
    })?;
    Ok(Some((HeaderName::from_static("x-goog-user-project"), value)))
}
