//! Every label of this protocol's key derivations and signatures, in one place.
//!
//! A label is used for exactly one purpose; two purposes never share one.

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &[u8] = $text;)*
        #[cfg(test)]
        pub(crate) const ALL: &[&[u8]] = &[$($name),*];
    };
}

labels! {
    /// HPKE `info` of a letter (RFC 9180, section 5.1), followed by the suite byte.
    LETTER_INFO = b"mixnn v1 letter";
    /// HPKE export: the key that seals a letter's body.
    LETTER_BODY = b"mixnn v1 letter body";
    /// HPKE export: the secret of one hop of one lane.
    HOP_SECRET = b"mixnn v1 hop secret";
    /// Expand of a hop secret: the link tag key of the link into this hop.
    HOP_TAG = b"mixnn v1 hop tag";
    /// Expand of a hop secret: the key with which a sender-half hop opens.
    HOP_OPEN = b"mixnn v1 hop open";
    /// Expand of a hop secret: the key with which a receiver-half hop seals.
    HOP_SEAL = b"mixnn v1 hop seal";
    /// Expand of a hop secret: the name under which the owner of a covered lane moves its stop.
    HOP_LEASE = b"mixnn v1 hop lease";
    /// Expand of a generation's secret: its AEAD key.
    GENERATION_KEY = b"mixnn v1 generation key";
    /// Expand of a generation's secret: the secret of the next generation.
    GENERATION_NEXT = b"mixnn v1 generation next";
    /// Ed25519 context of a pod's set-up, signed under its claim.
    POD_SETUP = b"mixnn v1 pod setup";
    /// HPKE `info` of a layer's sealed state, followed by the suite byte.
    SHARD_INFO = b"mixnn v1 shard";
    /// HPKE export: the key that seals the parts of a layer's state.
    SHARD_KEY = b"mixnn v1 shard key";
    /// Prefix of the message that an admission token signs (RFC 9474).
    ADMISSION = b"mixnn v1 admission";
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_label_is_used_twice() {
        let distinct: std::collections::HashSet<_> = super::ALL.iter().collect();
        assert_eq!(distinct.len(), super::ALL.len());
    }

    /// Only an `info` goes on after its label, with the suite byte; no other label does so.
    #[test]
    fn no_label_with_a_suite_byte_is_another_label() {
        for (label, suite) in [(super::LETTER_INFO, 1), (super::LETTER_INFO, 2)]
            .into_iter()
            .chain([(super::SHARD_INFO, 1), (super::SHARD_INFO, 2)])
        {
            let info = [label, &[suite]].concat();
            assert!(super::ALL.iter().all(|label| !label.starts_with(&info)));
        }
    }
}
