//! Where a peer listens.

use std::fmt;

/// `host:port`, from a URL `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority(http::uri::Authority);

/// A URL that is no address of a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not of the form http://host:port")]
pub struct BadUrl(String);

impl Authority {
    /// The longest URL taken, in bytes.
    pub const MAX_URL: usize = 256;

    /// Takes the address out of a URL.
    ///
    /// # Errors
    /// It is not of the form `http://host:port`.
    pub fn from_url(url: &str) -> Result<Self, BadUrl> {
        let bad = || BadUrl(url.chars().take(Self::MAX_URL).collect());
        let authority = url.strip_prefix("http://").filter(|_| url.len() <= Self::MAX_URL);
        let authority = authority.map(|a| a.strip_suffix('/').unwrap_or(a)).ok_or_else(bad)?;
        let parsed: http::uri::Authority = authority.parse().map_err(|_| bad())?;
        if parsed.port_u16().is_none() || parsed.host().is_empty() || authority.contains('@') {
            return Err(bad());
        }
        Ok(Self(parsed))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Authority;

    #[test]
    fn only_plain_addresses_are_taken() {
        for good in ["http://127.0.0.1:80", "http://[::1]:8080/", "http://relay-0.mix.svc:7000"] {
            assert!(Authority::from_url(good).is_ok(), "{good}");
        }
        for bad in
            ["https://a:1", "http://a", "http://a:1/x", "http://u@a:1", "a:1", "http://:1", ""]
        {
            assert!(Authority::from_url(bad).is_err(), "{bad}");
        }
    }
}
