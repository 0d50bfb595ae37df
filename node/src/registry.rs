//! The registration service, as its clients see it.

use crate::{NodeArgs, NodeError};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use mixnn_protocol::control::Profile;
use mixnn_protocol::registration::{
    Advance, Bytes, Claims, Directory, Head, LONG_POLL_SECONDS, NodeClass, Refusal, Registered,
    Registration, Review, Reviewed, TIME_HEADER, Tokens, TokensRequest,
};
use mixnn_protocol::{Claim, PublicKey, WallClock};
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// For one request. A busy platform answers late, but it answers.
const REQUEST: Duration = Duration::from_secs(30);
/// For a service that cannot be reached: a restarted one is back by then. What is asked for can be asked
/// for again, so a lost reply costs nothing.
const OUTAGE: Duration = Duration::from_secs(60);
/// For a question whose answer may also be none.
const MOMENT: Duration = Duration::from_secs(5);
/// Longer than this no service has a request wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A connection is used again for so long: less than any server keeps it. Clients whose runtime rests between
/// requests do not see that it was closed.
const IDLE: Duration = Duration::from_secs(2);
/// Tokens of one request: few enough that a slow signer is done with them in time.
const TOKENS_AT_ONCE: usize = 32;
/// Such requests at the same time.
const TOKEN_REQUESTS: usize = 4;
/// For registration in all: a pod may start before its model's designer.
const REGISTRATION: Duration = Duration::from_secs(120);
/// The longest answer taken.
const MAX_ANSWER: usize = 16 << 20;
/// The longest token taken.
const MAX_TOKEN: usize = 16 << 10;

/// A client of the registration service, over HTTPS to one CA.
pub struct RegistryClient {
    http: Client,
    url: String,
    token_file: PathBuf,
    profile: Option<Profile>,
    clock: Mutex<Option<WallClock>>,
}

impl RegistryClient {
    /// A client by the flags.
    ///
    /// # Errors
    /// The CA cannot be read, or the URL is not https.
    pub fn new(args: &NodeArgs) -> Result<Self, NodeError> {
        if !args.registry.starts_with("https://") {
            let problem = format!("'{}' does not begin with https://", args.registry);
            return Err(NodeError::Flag { flag: "--registry", problem });
        }
        let pem = ca_bundle(args)?;
        let bad =
            |e: reqwest::Error| NodeError::Flag { flag: "--registry-ca", problem: detail(&e) };
        let roots = Certificate::from_pem_bundle(&pem).map_err(bad)?;
        let http = Client::builder()
            .tls_certs_only(roots)
            .https_only(true)
            .no_proxy()
            .timeout(REQUEST)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(bad)?;
        let url = args.registry.trim_end_matches('/').to_owned();
        Ok(Self {
            http,
            url,
            token_file: args.token_file.clone(),
            profile: None,
            clock: Mutex::default(),
        })
    }

    /// Registers this numeric profile too: this node computes.
    #[must_use]
    pub fn with_profile(self, profile: Profile) -> Self {
        Self { profile: Some(profile), ..self }
    }

    /// The platform's clock, as it was read last; this machine's before the first answer.
    pub fn clock(&self) -> WallClock {
        let read = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        read.unwrap_or_else(WallClock::system)
    }

    fn read_clock(&self, answer: &Response) {
        let said = answer.headers().get(TIME_HEADER).and_then(|v| v.to_str().ok()?.parse().ok());
        if let Some(millis) = said {
            let read = WallClock { at: Instant::now(), unix: Duration::from_millis(millis) };
            let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
            clock.get_or_insert(read).follow(read);
        }
    }

    /// Registers this process's key. Waits while the service is not there yet or has no claim.
    ///
    /// # Errors
    /// It refused, or did not take the registration in time.
    pub async fn register(
        &self,
        class: NodeClass,
        url: &str,
        key: &PublicKey,
    ) -> Result<Registered, NodeError> {
        let registration = Registration {
            protocol_version: mixnn_protocol::VERSION,
            class,
            url: url.to_owned(),
            suite: key.suite(),
            public_key: key.to_bytes(),
            profile: self.profile.clone(),
        };
        let start = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            let error = match self.post("/v1/register", &registration).await {
                Ok(registered) => return Ok(registered),
                Err(error) => error,
            };
            let passing = match &error {
                NodeError::Unreachable { .. } => true,
                NodeError::Refused { reason, .. } => {
                    [Refusal::NO_CLAIM, Refusal::UNAVAILABLE, Refusal::BUSY]
                        .contains(&reason.as_str())
                }
                _ => false,
            };
            if !passing {
                return Err(error);
            }
            if start.elapsed() > REGISTRATION {
                let seconds = REGISTRATION.as_secs();
                return Err(NodeError::Deadline {
                    seconds,
                    what: format!("registration: {error}"),
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Whether the service knows this node as one of its own: asked once, and for a moment.
    pub async fn knows_me(&self) -> bool {
        let Ok(bearer) = self.bearer() else { return false };
        let request = self.http.get(self.at("/v1/directory")).header(AUTHORIZATION, bearer);
        let answer = request.timeout(MOMENT).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// The part of the directory that this node may see.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn directory(&self) -> Result<Directory, NodeError> {
        read(self.send(self.http.request(Method::GET, self.at("/v1/directory"))).await?).await
    }

    /// The same, once it is newer than `version` or the service has had it wait long enough.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn directory_after(&self, version: u64) -> Result<Directory, NodeError> {
        let url = self.at(&format!("/v1/directory?after={version}"));
        let within = Duration::from_secs(LONG_POLL_SECONDS) + REQUEST;
        read(self.send(self.http.get(url).timeout(within)).await?).await
    }

    /// How far this designer's model has come.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn head(&self) -> Result<Head, NodeError> {
        read(self.send(self.http.get(self.at("/v1/head"))).await?).await
    }

    /// Compare-and-swap of the head. Who raises the term shuts out the designer before it.
    ///
    /// # Errors
    /// It is not as expected, another designer has taken over, or the service does not answer.
    pub async fn advance(&self, expected: Head, head: Head) -> Result<Head, NodeError> {
        self.post("/v1/head", &Advance { expected, head }).await
    }

    /// Puts claims into the stock of this designer's model.
    ///
    /// # Errors
    /// The service refuses or does not answer.
    pub async fn publish_claims(&self, claims: Vec<Claim>) -> Result<(), NodeError> {
        let request = self.http.post(self.at("/v1/claims")).json(&Claims { claims });
        self.send(request).await.map(drop)
    }

    /// Blind signatures, in the order of `blinded`.
    ///
    /// # Errors
    /// The service refuses or does not answer.
    pub async fn tokens(&self, blinded: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, NodeError> {
        let requests: Vec<TokensRequest> = blinded
            .chunks(TOKENS_AT_ONCE)
            .map(|some| TokensRequest { blinded: some.iter().cloned().map(Bytes).collect() })
            .collect();
        let answers = requests.iter().map(|request| self.signed(request));
        let signed: Vec<Vec<Bytes>> =
            stream::iter(answers).buffered(TOKEN_REQUESTS).try_collect().await?;
        Ok(signed.into_iter().flatten().map(|b| b.0).collect())
    }

    async fn signed(&self, request: &TokensRequest) -> Result<Vec<Bytes>, NodeError> {
        let tokens: Tokens = self.post("/v1/tokens", request).await?;
        if tokens.signatures.len() != request.blinded.len() {
            return Err(NodeError::Answer("another number of tokens than asked for".into()));
        }
        Ok(tokens.signatures)
    }

    /// Whose a client's token is, and whether that client may ask this designer's model. Asked once: who
    /// waits for the answer can ask again.
    ///
    /// # Errors
    /// The service refuses or does not answer.
    pub async fn review(&self, token: &str) -> Result<Reviewed, NodeError> {
        let review = Review { token: token.to_owned() };
        let request = self.http.post(self.at("/v1/review")).json(&review).timeout(MOMENT);
        let answer = request.header(AUTHORIZATION, self.bearer()?).send().await;
        let unreachable = |e| NodeError::Unreachable { url: self.url.clone(), detail: detail(&e) };
        let answer = answer.map_err(unreachable)?;
        if answer.status().is_success() {
            return read(answer).await;
        }
        let Refusal { reason, message } = read(answer).await?;
        Err(NodeError::Refused { reason, message })
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, NodeError> {
        read(self.send(self.http.post(self.at(path)).json(body)).await?).await
    }

    /// Sends a request, again while the service says that it cannot answer now.
    async fn send(&self, request: RequestBuilder) -> Result<Response, NodeError> {
        let start = Instant::now();
        loop {
            let again = request.try_clone();
            let again = again.ok_or_else(|| NodeError::Answer("a request that streams".into()))?;
            let answer = self.reach(again).await?;
            if answer.status().is_success() {
                return Ok(answer);
            }
            let (status, pause) = (answer.status(), retry_after(&answer));
            let refusal = read::<Refusal>(answer).await.unwrap_or_else(|_| Refusal {
                reason: status_name(status),
                message: format!("HTTP status {status}"),
            });
            let passes = [Refusal::UNAVAILABLE, Refusal::BUSY].contains(&refusal.reason.as_str());
            if !passes || start.elapsed() + pause > OUTAGE {
                let Refusal { reason, message } = refusal;
                return Err(NodeError::Refused { reason, message });
            }
            tracing::debug!(refusal.message, "asking again");
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a request, again and again while the service cannot be reached.
    async fn reach(&self, request: RequestBuilder) -> Result<Response, NodeError> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            let again = request.try_clone();
            let again = again.ok_or_else(|| NodeError::Answer("a request that streams".into()))?;
            let error = match again.header(AUTHORIZATION, self.bearer()?).send().await {
                Ok(answer) => {
                    self.read_clock(&answer);
                    return Ok(answer);
                }
                Err(error) => {
                    NodeError::Unreachable { url: self.url.clone(), detail: detail(&error) }
                }
            };
            if start.elapsed() + pause > OUTAGE {
                return Err(error);
            }
            tracing::debug!(%error, "asking again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// The token, read anew: projected tokens are replaced while a pod lives.
    fn bearer(&self) -> Result<HeaderValue, NodeError> {
        let path = &self.token_file;
        let file = |source| NodeError::File { what: "the token", path: path.clone(), source };
        let token = Zeroizing::new(std::fs::read_to_string(path).map_err(file)?);
        let token = token.trim();
        if token.is_empty() || token.len() > MAX_TOKEN {
            let problem = format!("{} holds no token of 1 to {MAX_TOKEN} bytes", path.display());
            return Err(NodeError::Flag { flag: "--token-file", problem });
        }
        let bearer = Zeroizing::new(format!("Bearer {token}"));
        let mut value = HeaderValue::from_str(&bearer).map_err(|_| NodeError::Flag {
            flag: "--token-file",
            problem: format!("{} holds characters that no token has", path.display()),
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl std::fmt::Debug for RegistryClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RegistryClient({})", self.url)
    }
}

fn ca_bundle(args: &NodeArgs) -> Result<Vec<u8>, NodeError> {
    if let Some(pem) = &args.registry_ca_pem {
        return Ok(pem.clone().into_bytes());
    }
    let Some(path) = &args.registry_ca else {
        let problem = "missing: name the registration service's CA".to_owned();
        return Err(NodeError::Flag { flag: "--registry-ca", problem });
    };
    let file = |source| NodeError::File { what: "the CA", path: path.clone(), source };
    std::fs::read(path).map_err(file)
}

async fn read<T: DeserializeOwned>(mut answer: Response) -> Result<T, NodeError> {
    let mut body = Vec::new();
    let broken = |e: reqwest::Error| NodeError::Answer(detail(&e));
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(NodeError::Answer(format!("longer than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|e| NodeError::Answer(e.to_string()))
}

/// How long the service asks to wait, within reason.
fn retry_after(answer: &Response) -> Duration {
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1)).min(LONGEST_PAUSE)
}

fn status_name(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("unknown").to_ascii_lowercase().replace(' ', "-")
}

/// An error with all its causes, in one line.
fn detail(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
