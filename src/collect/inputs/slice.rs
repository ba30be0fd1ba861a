//! A part of the inputs, for one of several workers.

use std::fmt;
use std::str::FromStr;

/// The K-th of N parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slice {
    part: usize,
    of: usize,
}

impl fmt::Display for Slice {
    /// As files are named by it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-{}-of-{}", self.part, self.of)
    }
}

impl FromStr for Slice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((part, of)) if (1..=of).contains(&part) => Ok(Self { part, of }),
            _ => Err("use K/N with K from 1 to N, such as 3/64"),
        }
    }
}

impl Slice {
    /// How many parts there are.
    pub(super) fn parts(self) -> usize {
        self.of
    }

    /// The items of this part.
    pub(super) fn take<T>(self, items: Vec<T>) -> Vec<T> {
        items.into_iter().skip(self.part - 1).step_by(self.of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_up_the_whole() {
        let parts: Vec<Vec<u32>> =
            (1..=3).map(|part| format!("{part}/3").parse::<Slice>().unwrap().take((0..8).collect())).collect();
        assert_eq!(parts, [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]);
        for wrong in ["0/3", "4/3", "1", "1/", "a/b", "1/0"] {
            assert!(wrong.parse::<Slice>().is_err(), "{wrong}");
        }
    }
}
