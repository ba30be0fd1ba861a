//! Reading big-endian values from bytes of a file, with the place of every byte known.

use super::Progress;

/// A position in a prefix of a file. Reading past what is there is no error but [`Progress::Need`]: the caller
/// fetches more, up to the end of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    /// The bytes at hand.
    bytes: &'a [u8],
    /// Where `bytes` begins, in bytes from the start of the file.
    base: u64,
    /// The position in `bytes`.
    at: usize,
}

/// More bytes are needed: from the base of the cursor up to this offset of the file, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Short(pub(super) u64);

impl<'a> Cursor<'a> {
    /// A cursor at the first of `bytes`, which stand at `base` in the file.
    pub(super) fn new(bytes: &'a [u8], base: u64) -> Self {
        Self { bytes, base, at: 0 }
    }

    /// The offset in the file.
    pub(super) fn offset(&self) -> u64 {
        self.base.saturating_add(self.at as u64)
    }

    /// Moves to an offset of the file that is not before the base.
    pub(super) fn seek(&mut self, offset: u64) -> Result<(), Short> {
        match usize::try_from(offset.saturating_sub(self.base)) {
            Ok(at) if at <= self.bytes.len() => {
                self.at = at;
                Ok(())
            }
            _ => Err(Short(offset)),
        }
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Short> {
        let end = self.at.checked_add(length);
        match end.and_then(|end| self.bytes.get(self.at..end)) {
            Some(taken) => {
                self.at = self.at.saturating_add(length);
                Ok(taken)
            }
            None => Err(Short(self.offset().saturating_add(length as u64))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let taken = self.take(N)?;
        Ok(taken.try_into().unwrap_or([0; N]))
    }

    /// One byte.
    pub(super) fn u8(&mut self) -> Result<u8, Short> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// Two bytes, big-endian.
    pub(super) fn u16(&mut self) -> Result<u16, Short> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes, big-endian.
    pub(super) fn u32(&mut self) -> Result<u32, Short> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes, big-endian.
    pub(super) fn u64(&mut self) -> Result<u64, Short> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Whether all bytes are read.
    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }
}

impl<T> From<Short> for Progress<T> {
    fn from(short: Short) -> Self {
        Progress::Need(short.0)
    }
}
