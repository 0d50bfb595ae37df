//! The owner's own token, for a page that no file of tokens is given: who has the owner's secret has it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use futures_util::future::BoxFuture;
use mixnn_serving::{Authenticator, Identity, InferError, token_digest};
use std::fmt::Write as _;

/// The bearer token of an owner's secret: HKDF-SHA256 (RFC 5869, empty salt) with info `mixnn v1 page token`, 32
/// bytes, hexadecimal. It opens the page, and gives nothing else away that follows from the secret.
pub fn owner_token(secret: &[u8; 32]) -> String {
    let mut bytes = [0; 32];
    Salt::new(HKDF_SHA256, &[])
        .extract(secret)
        .expand(&[b"mixnn v1 page token"], HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut bytes))
        .expect("32 bytes are within HKDF-SHA256's limit of 255 blocks");
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Lets one token in.
pub struct OneToken([u8; 32]);

impl OneToken {
    /// This one. Only its digest is kept.
    pub fn new(token: &str) -> Self {
        Self(token_digest(token))
    }
}

impl Authenticator for OneToken {
    fn identify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, InferError>> {
        let same = verify_slices_are_equal(&self.0, &token_digest(token)).is_ok();
        let unknown = InferError::Unauthenticated("this bearer token is not known");
        Box::pin(async move { if same { Ok(Identity("owner".into())) } else { Err(unknown) } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By Python's hmac: extract with a key of 32 zeros, expand once, of the secret `bytes(range(32))`.
    #[tokio::test]
    async fn the_token_follows_from_the_secret_and_no_other_is_let_in() {
        let mut secret = [0; 32];
        (0..32).for_each(|i| secret[i] = i as u8);
        let token = owner_token(&secret);
        assert_eq!(token, "0c24ad0a450428daa87f8866ee9191d7346a8593c43a356d44670d578204e80c");
        let one = OneToken::new(&token);
        assert!(one.identify(&token).await.is_ok());
        for other in ["", &token[1..], &owner_token(&[0; 32])] {
            assert!(one.identify(other).await.is_err());
        }
    }
}
