//! Objects of Google Cloud Storage, through the interface that its servers have for clients of S3: "the Cloud Storage XML
//! API is interoperable with services such as Amazon S3", with HMAC keys and signatures of version 4 for the region
//! `auto`. Without a signature, or with a token among the user's headers, such a request is a plain GET.

use ::http::HeaderValue;

use super::s3::{Bucket, check};
use super::{Service, Target, check_key, endpoint, fits};
use crate::error::{Error, Result};
use crate::options::{GsAccess, Options, S3Options};

/// See [`Target::advice`].
pub(super) const ADVICE: &str = "GS_NO_SIGN_REQUEST=YES, GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY, an 'Authorization: Bearer …' in GDAL_HTTP_HEADERS, or GOOGLE_APPLICATION_CREDENTIALS; GS_USER_PROJECT where the requester pays";

impl Target {
    /// The object `key` of `bucket`.
    pub(super) fn gs(bucket: &str, key: &str, options: &Options) -> Result<Self> {
        let shown = format!("gs://{bucket}/{key}");
        check_key(key, &shown)?;
        let url = endpoint("CPL_GS_ENDPOINT", &options.gs.endpoint)?;
        let base = url.as_str().trim_end_matches('/');
        let (id, secret) = match &options.gs.access {
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
        let authority = url.origin().ascii_serialization();
        let service = Service::Gs(Bucket::new(bucket, &s3)?);
        let mut target = Self::new(origin, authority, key, service, options.gs.clone(), options)?;
        // As in GDAL, who does not sign does not pay either.
        if let (GsAccess::Headers, Some(project)) = (&options.gs.access, &options.gs.user_project) {
            let project = HeaderValue::from_str(project).map_err(|_| Error::Option {
                name: "GS_USER_PROJECT",
                value: project.clone(),
                expected: "the name of a project",
            })?;
            target.headers.insert("x-goog-user-project", project);
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::options;
    use super::*;

    #[test]
    fn origins_are_the_same_whatever_the_credentials() {
        let keys = [("GS_ACCESS_KEY_ID", "id"), ("GS_SECRET_ACCESS_KEY", "sesame")];
        let own = ("CPL_GS_ENDPOINT", "http://127.0.0.1:9000/storage/");
        let unsigned = ("GS_NO_SIGN_REQUEST", "YES");
        let google = "gs://storage.googleapis.com/b/a key";
        for (set, origin) in [
            (vec![unsigned], google),
            (keys.to_vec(), google),
            (vec![("GDAL_HTTP_HEADERS", "Authorization: Bearer t")], google),
            (vec![unsigned, own], "gs://127.0.0.1:9000/storage/b/a key"),
        ] {
            let target = Target::gs("b", "a key", &options(&set)).unwrap();
            assert_eq!(target.origin, origin);
            assert!(target.movable_bucket().is_none());
        }
        for (bucket, key, set) in [
            ("b/c", "k", vec![unsigned]),
            ("b", "a/../k", vec![unsigned]),
            ("b", "k", vec![("GS_ACCESS_KEY_ID", "a\nb"), keys[1]]),
            ("b", "k", vec![unsigned, ("CPL_GS_ENDPOINT", "https://u:sesame@h")]),
        ] {
            let error = Target::gs(bucket, key, &options(&set)).map(|_| ()).unwrap_err().to_string();
            assert!(!error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn a_project_pays_for_requests_with_a_token() {
        let project = ("GS_USER_PROJECT", "mine");
        let paying = options(&[project, ("GDAL_HTTP_HEADERS", "Authorization: Bearer t")]);
        assert_eq!(Target::gs("b", "k", &paying).unwrap().headers["x-goog-user-project"], "mine");
        let unsigned = options(&[project, ("GS_NO_SIGN_REQUEST", "YES")]);
        assert!(Target::gs("b", "k", &unsigned).unwrap().headers.is_empty());
    }
}
