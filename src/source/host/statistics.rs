//! What the sources of a process have done so far, by host.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};

/// Declares the counters of a host once, for all that is done with them.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters that only grow; nothing is ordered by them.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $($(#[$doc])* pub(crate) $name: AtomicU64,)* }

        /// The counters at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub(crate) struct Statistics { $($(#[$doc])* pub(crate) $name: u64,)* }

        impl Counters {
            /// How they stand.
            pub(crate) fn now(&self) -> Statistics {
                Statistics { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl Statistics {
            fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)*
            }

            fn json(&self) -> Value {
                json!({ $(stringify!($name): self.$name,)* })
            }
        }
    };
}

counters! {
    /// Requests sent, each try and each redirect counted.
    requests,
    /// Bytes of bodies received, those of failed tries too.
    bytes,
    /// Units answered from the cache.
    cache_hits,
    /// Units that another thread was fetching already.
    shared_fetches,
    /// Tries after the first one.
    retries,
    /// Requests that had to wait: for others to end, for a quota, or because the host asked for a pause.
    waits,
    /// How long they waited, in milliseconds.
    waited_ms,
    /// Reads that failed for good.
    read_errors,
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Counters {
    /// Takes note of a wait.
    pub(crate) fn waited(&self, time: Duration) {
        count(&self.waits, 1);
        count(&self.waited_ms, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }
}

/// The sum over all hosts.
pub(crate) fn total(hosts: &BTreeMap<String, Statistics>) -> Statistics {
    hosts.values().fold(Statistics::default(), |mut sum, host| {
        sum.add(host);
        sum
    })
}

/// `{"version": …, "process": …, "total": {…}, "hosts": {"https://host": {…}}}`, the counters by their names.
pub(crate) fn json(hosts: &BTreeMap<String, Statistics>) -> String {
    let by_host: Map<String, Value> = hosts.iter().map(|(name, host)| (name.clone(), host.json())).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "process": std::process::id(),
        "total": total(hosts).json(),
        "hosts": by_host,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_up_by_host() {
        let counters = Counters::default();
        count(&counters.requests, 2);
        counters.waited(Duration::from_millis(1500));
        let hosts = [("https://a".to_owned(), counters.now()), ("https://b".to_owned(), counters.now())].into();
        let written: Value = serde_json::from_str(&json(&hosts)).unwrap();
        assert_eq!(written["total"]["requests"], 4);
        assert_eq!(written["hosts"]["https://b"]["waited_ms"], 1500);
        assert_eq!(written["process"], std::process::id());
        assert_eq!(written["total"].as_object().unwrap().len(), 8);
    }
}
