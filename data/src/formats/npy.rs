//! The header of NumPy's `.npy` files, format versions 1 to 3
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).
//!
//! ```text
//! 93 'N' 'U' 'M' 'P' 'Y', major u8, minor u8, length of the header u16 (version 1) or u32, little-endian,
//! {'descr': '<u2', 'fortran_order': False, 'shape': (1000,), }
//! ```

/// Bytes of a file's beginning that [`parse`] needs at most.
pub const MOST: usize = 12 + (1 << 16);

/// A one-dimensional array of whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the numbers begin.
    pub start: u64,
    /// Bytes of a number: 1, 2, 4 or 8, little-endian.
    pub width: u64,
    /// Whether there may be negative ones.
    pub signed: bool,
    /// How many there are.
    pub count: u64,
}

/// Parses the beginning of a file.
///
/// # Errors
/// What was found, and what was expected.
pub fn parse(bytes: &[u8]) -> Result<Header, String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("does not begin as a .npy file does")?;
    let cut_short = "ends within its header: the file is cut short";
    let (version, rest) = rest.split_at_checked(2).ok_or(cut_short)?;
    let (length, rest, before) = match version[0] {
        1 => {
            let (l, rest) = rest.split_first_chunk::<2>().ok_or(cut_short)?;
            (u32::from(u16::from_le_bytes(*l)), rest, 10)
        }
        2 | 3 => {
            let (l, rest) = rest.split_first_chunk::<4>().ok_or(cut_short)?;
            (u32::from_le_bytes(*l), rest, 12)
        }
        other => return Err(format!("is of version {other} of the format; 1 to 3 are known")),
    };
    if length as usize > MOST - 12 {
        return Err(format!("has a header of {length} bytes; the most is {}", MOST - 12));
    }
    let text = rest.get(..length as usize).ok_or(cut_short)?;
    let text = std::str::from_utf8(text).map_err(|_| "has a header that is not UTF-8")?;
    let start = before + u64::from(length);
    let (width, signed) = kind(value(text, "descr")?)?;
    if value(text, "fortran_order")? != "False" {
        return Err("is in Fortran order; it must have one dimension".into());
    }
    Ok(Header { start, width, signed, count: count(value(text, "shape")?)? })
}

/// The value of a key, up to the comma or brace that ends it.
fn value<'a>(text: &'a str, key: &str) -> Result<&'a str, String> {
    let quoted = [format!("'{key}'"), format!("\"{key}\"")];
    let missing = || format!("has a header without '{key}'");
    let after = quoted.iter().find_map(|q| text.split_once(q.as_str())).ok_or_else(missing)?.1;
    let after = after.trim_start().strip_prefix(':').ok_or_else(missing)?.trim_start();
    let end = if after.starts_with('(') {
        after.find(')').map(|at| at + 1)
    } else {
        after.find([',', '}'])
    };
    Ok(after[..end.ok_or_else(missing)?].trim())
}

fn kind(descr: &str) -> Result<(u64, bool), String> {
    let name = descr.trim_matches(['\'', '"']);
    match name {
        "|u1" | "<u1" | "u1" => Ok((1, false)),
        "<u2" => Ok((2, false)),
        "<u4" => Ok((4, false)),
        "<u8" => Ok((8, false)),
        "<i2" => Ok((2, true)),
        "<i4" => Ok((4, true)),
        "<i8" => Ok((8, true)),
        other => Err(format!(
            "holds numbers of the type {other}; it must be u1, <u2, <u4, <u8, <i2, <i4 or <i8"
        )),
    }
}

fn count(shape: &str) -> Result<u64, String> {
    let inner = shape.strip_prefix('(').and_then(|s| s.strip_suffix(')')).unwrap_or(shape);
    let inner = inner.trim().trim_end_matches(',').trim_end();
    inner.parse().map_err(|_| format!("has the shape {shape}; it must have one dimension: (n,)"))
}

/// Writes a header, padded as the format asks.
pub fn header(descr: &str, count: u64) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({count},), }}");
    while !(10 + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out
}
