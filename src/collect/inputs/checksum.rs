//! The checksums that manifests give.

use md5::Md5;
use sha3::{Digest, Sha3_256};

use crate::error::{Error, Result};
use crate::source::{Source, SourceOffset};

/// Bytes that are asked for at once, and hashed while they are in memory.
const BLOCK: u64 = 4 << 20;

/// What a file's bytes must sum up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// As products of before 2021 have it.
    Md5([u8; 16]),
    /// As products have it since.
    Sha3_256([u8; 32]),
}

impl Checksum {
    /// By the name of the algorithm, as manifests write it, and the sum in hexadecimal digits; `None` for any other.
    pub(super) fn parse(algorithm: &str, digits: &str) -> Option<Self> {
        match algorithm.to_ascii_uppercase().as_str() {
            "MD5" => Some(Self::Md5(bytes(digits)?)),
            "SHA3-256" => Some(Self::Sha3_256(bytes(digits)?)),
            _ => None,
        }
    }

    /// Checks a file against it, which is read whole, in blocks.
    ///
    /// # Errors
    /// [`Error::Changed`] where the bytes are others, with both sums; those of reading.
    pub(crate) fn check(&self, source: &dyn Source) -> Result<()> {
        match self {
            Self::Md5(expected) => compare("MD5", expected, &sum::<Md5>(source)?),
            Self::Sha3_256(expected) => compare("SHA3-256", expected, &sum::<Sha3_256>(source)?),
        }
    }
}

/// The bytes that hexadecimal digits write.
fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (number, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * number..2 * number + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn sum<D: Digest>(source: &dyn Source) -> Result<Vec<u8>> {
    let size = source.head()?.size;
    let mut hasher = D::new();
    let mut start = 0;
    while start < size {
        let end = size.min(start + BLOCK);
        for block in source.read_ranges(&[SourceOffset(start)..SourceOffset(end)])? {
            hasher.update(&block);
        }
        start = end;
    }
    Ok(hasher.finalize().to_vec())
}

fn compare(algorithm: &str, expected: &[u8], found: &[u8]) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let digits = |sum: &[u8]| sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (expected, found) = (digits(expected), digits(found));
    Err(Error::Changed { what: format!("its {algorithm} is {found}, by the product's manifest {expected}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::memory::Memory;

    #[test]
    fn files_are_checked_against_their_sums() {
        // RFC 1321 A.5, and the SHA-3 examples of FIPS 202: the sums of "abc".
        let sums = [
            ("MD5", "900150983CD24FB0D6963F7D28E17F72"),
            ("sha3-256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
        ];
        for (algorithm, digits) in sums {
            let sum = Checksum::parse(algorithm, digits).unwrap();
            sum.check(&Memory::new("abc", "abc")).unwrap();
            let error = sum.check(&Memory::new("abd", "abd")).unwrap_err().to_string();
            assert!(error.contains(&digits.to_ascii_lowercase()), "{error}");
            assert_eq!(Checksum::parse(algorithm, &digits[1..]), None);
            assert_eq!(Checksum::parse(algorithm, &format!("+{}", &digits[1..])), None);
        }
        assert_eq!(Checksum::parse("SHA-1", sums[0].1), None);
    }

    #[test]
    fn large_files_are_read_in_blocks() {
        let file = Memory::new("large", vec![0; (BLOCK + 5) as usize]);
        let sum = Checksum::parse("MD5", &"0".repeat(32)).unwrap();
        assert!(sum.check(&file).is_err());
        assert_eq!(*file.reads.lock().unwrap(), [(0, BLOCK), (BLOCK, 5)]);
    }
}
