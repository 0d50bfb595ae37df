//! Registration and the directory: JSON over HTTPS between a node and the platform.
//!
//! | request | by | answer |
//! | --- | --- | --- |
//! | `POST /v1/register` [`Registration`] | every node, once | [`Registered`], or 503 with Retry-After while no claim is in stock |
//! | `GET /v1/directory` | every node | [`Directory`]: what this caller may see; with `?after=VERSION`, once it is newer than that, or after [`LONG_POLL_SECONDS`] |
//! | `GET /v1/head` | a designer | [`Head`] of its model |
//! | `POST /v1/head` [`Advance`] | a designer | [`Head`], or 409 if it was not as expected |
//! | `POST /v1/claims` [`Claims`] | a designer | 204 |
//! | `POST /v1/tokens` [`TokensRequest`] | a designer | [`Tokens`] |
//!
//! Each carries `Authorization: Bearer` with the node's token. A refusal is [`Refusal`]. 401: the token is not good;
//! 503 and 429, with Retry-After: it cannot be told now, or too many ask at once; ask again.

use crate::claim::Claim;
use crate::control::Profile;
use crate::{NodeId, Suite, wire_base64};
use serde::{Deserialize, Serialize};

/// The longest registration body, in bytes.
pub const MAX_REGISTRATION: usize = 8 << 10;

/// Header of every answer: the platform's time, in milliseconds of Unix time. The edges of covered lanes are told by
/// it, so that nobody's own clock matters.
pub const TIME_HEADER: &str = "mixnn-time";

/// How long a request for a newer directory is kept waiting.
pub const LONG_POLL_SECONDS: u64 = 20;

/// How far a model has come: kept apart from its checkpoints, so that an old one is noticed.
///
/// The term is the fence between designers: who raises it takes over, and every request of an earlier
/// designer is refused from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Head {
    /// Of the designer that took over last; 0: there was none.
    pub term: u32,
    /// Number of the newest whole checkpoint, from 1; 0: there is none.
    pub checkpoint: u64,
    /// Steps after which it was taken.
    pub step: u64,
}

/// Compare-and-swap of a model's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Advance {
    /// What it must be.
    pub expected: Head,
    /// What it becomes: nothing of it smaller.
    pub head: Head,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeClass {
    /// Runs one layer.
    Layer,
    /// Forwards letters and cells.
    Relay,
    /// Owns a model.
    Designer,
}

/// A node's registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registration {
    /// [`crate::VERSION`] of the node.
    pub protocol_version: u8,
    /// What the node does; must agree with what its token was made for.
    pub class: NodeClass,
    /// Where it listens: `http://address:port`.
    pub url: String,
    /// Suite of the key.
    pub suite: Suite,
    /// HPKE public key.
    #[serde(with = "wire_base64")]
    pub public_key: Vec<u8>,
    /// Numeric profile of a node that computes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// The answer to a registration: the same to the same registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// The node's id.
    pub id: NodeId,
    /// For a layer pod: the claim under which its letters are signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// The issuer's public key, DER in base64.
    #[serde(with = "wire_base64")]
    pub admission_key: Vec<u8>,
}

/// The directory, cut to what the caller may see.
///
/// A relay sees id and URL of every node; a layer pod those of relays only; a designer, which draws
/// the paths, sees everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    /// The key epoch that new lanes belong to.
    pub epoch: u32,
    /// Rises with every change of the whole directory.
    #[serde(default)]
    pub version: u64,
    /// The nodes.
    pub nodes: Vec<DirectoryEntry>,
}

/// One node of the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectoryEntry {
    /// Its id.
    pub id: NodeId,
    /// Where it listens.
    pub url: String,
    /// The rest, for designers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<NodeDetail>,
}

/// What only a designer sees of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeDetail {
    /// What the node does.
    pub class: NodeClass,
    /// Suite of the key.
    pub suite: Suite,
    /// HPKE public key.
    #[serde(with = "wire_base64")]
    pub public_key: Vec<u8>,
    /// Numeric profile, of layer pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// The claim that the pod got, which tells the designer that the pod is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// Opaque name of who hosts it.
    pub host_domain: String,
    /// Opaque name of the machine.
    pub node_domain: String,
}

/// A designer's stock of claims, for pods that are still to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claims {
    /// Fresh claims, each given to one pod.
    pub claims: Vec<Claim>,
}

/// Blinded messages to be signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokensRequest {
    /// At most [`MAX_TOKENS`], 256 bytes each.
    pub blinded: Vec<Bytes>,
}

/// The most blinded messages in one request.
pub const MAX_TOKENS: usize = 256;

/// Blind signatures, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// One per blinded message.
    pub signatures: Vec<Bytes>,
}

/// A designer asks whose a client's bearer token is, and whether that client may ask its model.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Review {
    /// The client's token, at most [`MAX_REVIEWED`] bytes.
    pub token: String,
}

impl std::fmt::Debug for Review {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Review(..)")
    }
}

/// The longest token that is reviewed.
pub const MAX_REVIEWED: usize = 16 << 10;

/// What is known of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reviewed {
    /// Who it is; none if the token is not good, or not for this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Whether it may ask this model.
    pub allowed: bool,
}

/// Bytes, base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes(#[serde(with = "wire_base64")] pub Vec<u8>);

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// A stable name.
    pub reason: String,
    /// In words: what was wrong and what to do.
    pub message: String,
}

impl Refusal {
    /// Reason of a layer pod's refusal while no claim is in stock: it is to try again.
    pub const NO_CLAIM: &str = "no-claim";
    /// Reason of a designer's refusal once another one has taken over.
    pub const SUPERSEDED: &str = "superseded";
    /// Reason of a refusal to advance a head that is not as expected.
    pub const HEAD_MOVED: &str = "head-moved";
    /// Reason of a refusal to a caller without a good token.
    pub const UNAUTHORIZED: &str = "unauthorized";
    /// Reason of a refusal while too many requests are under way: try again.
    pub const BUSY: &str = "busy";
    /// Reason of a refusal while what keeps the registrations does not answer: try again.
    pub const UNAVAILABLE: &str = "unavailable";
}
