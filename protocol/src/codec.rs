//! Reading and writing the fixed binary layouts. Numbers are big-endian (network order).

/// Bytes that do not follow the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what} at byte {at}")]
pub struct Malformed {
    /// Which field.
    pub what: &'static str,
    /// Offset of the field in what was being read.
    pub at: usize,
}

/// A cursor over bytes from outside.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the field begins that was read last: the one that an error is about.
    field: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, field: 0 }
    }

    pub(crate) const fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.field }
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        self.field = self.at;
        let taken = self.bytes[self.at..].get(..n).ok_or(self.malformed("length"))?;
        self.at += n;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn secret(&mut self) -> Result<crate::Secret, Malformed> {
        Ok(crate::Secret::from_bytes(self.array()?))
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Ends the reading: every byte must have been used.
    pub(crate) const fn end(self) -> Result<(), Malformed> {
        if self.at == self.bytes.len() {
            return Ok(());
        }
        Err(Malformed { what: "trailing bytes", at: self.at })
    }
}
