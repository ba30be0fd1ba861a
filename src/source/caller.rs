//! Whoever asks for a file: the options that hold for them, and GDAL's own file systems where there is a GDAL.

use std::sync::Arc;

use crate::error::{Result, ResultExt};
use crate::options::Options;
use crate::path::{Location, parse};
use crate::source::contract::{HostFiles, Source};
use crate::source::identity::{Access, Identity};
use crate::source::open::{open, reads_by_gdal};

/// Gives a configuration option of GDAL's as it holds for a path of GDAL's.
pub(crate) type GetOption<'a> = dyn Fn(&str, &str) -> Option<String> + Sync + 'a;

/// A caller. It opens locations with its own options and credentials.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    get: &'a GetOption<'a>,
    files: Option<&'a dyn HostFiles>,
    warn: Option<&'a (dyn Fn(&str) + Sync)>,
}

impl Caller<'static> {
    /// A process without GDAL: options are those of the environment.
    pub(crate) fn of_environment() -> Self {
        Self::new(&|_, name| std::env::var(name).ok())
    }
}

impl<'a> Caller<'a> {
    /// A caller whose options `get` gives, without a GDAL, whose warnings nobody reads.
    pub(crate) fn new(get: &'a GetOption<'a>) -> Self {
        Self { get, files: None, warn: None }
    }

    /// The same, for whom `files` reads what the native transport cannot.
    pub(crate) fn with_files(self, files: &'a dyn HostFiles) -> Self {
        Self { files: Some(files), ..self }
    }

    /// The same, whose warnings go to `warn`.
    pub(crate) fn with_warn(self, warn: &'a (dyn Fn(&str) + Sync)) -> Self {
        Self { warn: Some(warn), ..self }
    }

    /// Resolves the options that hold for `location`, once for all that is done there.
    ///
    /// # Errors
    /// [`crate::Error::Option`] for a value that an option of this program cannot have.
    pub(crate) fn access(&self, location: &Location) -> Result<Access> {
        let path = location.gdal_path();
        let get = |name: &str| location.option(name, &|name| (self.get)(&path, name));
        let options = Options::resolve(&get)?;
        let identity = match reads_by_gdal(location, &options) {
            true => Identity::by_gdal(location, &options, &get),
            false => Identity::native(location, &options),
        };
        Ok(Access { options: Arc::new(options), identity })
    }

    /// Opens `location`, which [`Caller::access`] was asked for. No request is made yet where it is remote.
    ///
    /// # Errors
    /// What the source reports.
    pub(crate) fn open(&self, location: &Location, access: &Access) -> Result<Arc<dyn Source>> {
        open(location, access, self.files)
    }

    /// Opens `location`; errors name it.
    ///
    /// # Errors
    /// As [`Caller::access`] and [`Caller::open`].
    pub(crate) fn source(&self, location: &Location) -> Result<Arc<dyn Source>> {
        self.access(location).and_then(|access| self.open(location, &access)).in_file(&location.display())
    }

    /// The identities that opening indexes, or whatever else lies at these paths, takes. A path that names nothing, or
    /// whose options cannot be, has none: opening it fails.
    pub(crate) fn identities(&self, paths: &[String]) -> Vec<Identity> {
        let identity = |path: &String| match parse(path).ok()?.location {
            Location::Local(_) => None,
            location => Some(self.access(&location).ok()?.identity),
        };
        paths.iter().filter_map(identity).collect()
    }

    /// Where warnings go, if somebody reads them.
    pub(crate) fn warn(&self) -> Option<&'a (dyn Fn(&str) + Sync)> {
        self.warn
    }
}

#[cfg(test)]
impl Caller<'static> {
    /// A caller with these options.
    pub(crate) fn of_options(options: &[(&str, &str)]) -> Self {
        let options: Vec<_> = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let get =
            move |_: &str, name: &str| options.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        Self::new(Box::leak(Box::new(get)))
    }
}

/// Files by what a closure gives for their paths.
#[cfg(test)]
pub(crate) struct OpenBy<F>(pub(crate) F);

#[cfg(test)]
impl<F: Fn(&str) -> Result<Arc<dyn Source>> + Send + Sync> HostFiles for OpenBy<F> {
    fn open(&self, path: &str, _: &Identity) -> Result<Arc<dyn Source>> {
        (self.0)(path)
    }
}
