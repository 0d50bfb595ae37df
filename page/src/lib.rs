//! The owner's page: what the record of a run tells, live in a browser, and what else only the owner may ask for.
//!
//! ```text
//! /  /page.css  /*.js   the page itself, from this binary; says nothing of any run, needs no token
//! /record?from=N&of=G   lines of the record from byte N on, while the file is G still
//! /try                  a picture: what the model takes it for, where somebody can say it
//! /checkpoints          which there are, where they are known
//! /weights?number=N     the weights of one, or of the newest: a safetensors file
//! ```
//!
//! All but the page itself need the token. The server reads the record, and nothing else: it costs the training
//! nothing but the reading of what was appended, once a second for each browser. What is in it is put together in
//! the browser.

mod assets;
mod oracle;
mod owner;
mod tail;
mod verdict;

pub use oracle::{Booth, Oracle};
pub use owner::{OneToken, owner_token};
pub use tail::{Part, read as read_record};
pub use verdict::{Share, Verdict, softmax};

/// A body, as [`Oracle`] takes it.
pub use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, StatusCode, header};
use mixnn_serving::{Authenticator, InferError, Limits, identify, serve_app};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Open connections: a few browsers.
const CONNECTIONS: usize = 32;
/// The largest picture, in bytes.
pub const MAX_PICTURE: usize = 8 << 20;
/// For one answer of the model.
const PATIENCE: Duration = Duration::from_secs(60);
/// Which file lines are of: another number, other lines.
const OF: HeaderName = HeaderName::from_static("x-of");
/// Where to go on.
const NEXT: HeaderName = HeaderName::from_static("x-next");
/// The run's name.
const RUN: HeaderName = HeaderName::from_static("x-run");
/// Whether pictures can be tried.
const TRIES: HeaderName = HeaderName::from_static("x-tries");

/// What is shown, and to whom.
pub struct Shown {
    /// The run's name.
    pub run: String,
    /// Its record; it need not be there yet.
    pub record: PathBuf,
    /// Whose tokens are good.
    pub tokens: Arc<dyn Authenticator>,
    /// Who says what a picture shows, if anybody does.
    pub oracle: Option<Arc<dyn Oracle>>,
    /// Where checkpoints are known, if they are.
    pub checkpoints: Option<Arc<dyn Checkpoints>>,
}

/// Knows the checkpoints of a run.
pub trait Checkpoints: Send + Sync + 'static {
    /// All of them, oldest first.
    ///
    /// # Errors
    /// Why they cannot be listed, in words.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Checkpoint>, String>>;

    /// The weights of this one, or of the newest, as a safetensors file under PyTorch's names.
    ///
    /// # Errors
    /// There is none, or it does not open; in words.
    fn weights(&self, number: Option<u64>) -> BoxFuture<'_, Result<Vec<u8>, String>>;
}

/// A checkpoint, or one that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Its number.
    pub number: u64,
    /// Steps after which it was taken.
    pub step: u64,
    /// The designer's term.
    pub term: u32,
    /// When it was written, in seconds since 1970.
    pub written: u64,
    /// How many layers it has.
    pub layers: u64,
    /// Sealed bytes of all layers.
    pub bytes: u64,
    /// Why it cannot be read, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Shows a run until the returned token is cancelled or the runtime ends.
pub async fn serve(listener: TcpListener, shown: Shown, stop: CancellationToken) {
    let limits =
        Limits { connections: CONNECTIONS, request: Duration::from_secs(10), ..Limits::default() };
    serve_app(listener, app(shown), limits, stop).await;
}

/// The same on a thread of its own, as long as the process lives. Gives the address.
///
/// # Errors
/// The address cannot be listened on.
pub fn start(address: SocketAddr, shown: Shown) -> std::io::Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(address))?;
    let address = listener.local_addr()?;
    let show = move || runtime.block_on(serve(listener, shown, CancellationToken::new()));
    std::thread::Builder::new().name("page".into()).spawn(show)?;
    Ok(address)
}

struct Desk {
    shown: Shown,
    /// Reading a picture takes memory: one at a time.
    trying: Semaphore,
}

fn app(shown: Shown) -> Router {
    let desk = Arc::new(Desk { shown, trying: Semaphore::new(1) });
    let mut app = Router::new()
        .route("/record", get(record))
        .route("/try", post(attempt).layer(DefaultBodyLimit::max(MAX_PICTURE)))
        .route("/checkpoints", get(checkpoints))
        .route("/weights", get(weights))
        .route_layer(from_fn_with_state(desk.clone(), known))
        .with_state(desk);
    for asset in assets::ALL {
        let answer = move || async move { ([(header::CONTENT_TYPE, asset.kind)], asset.text) };
        app = app.route(asset.path, get(answer));
    }
    app.layer(axum::middleware::map_response(guarded))
}

/// Who shows no token that is known gets nothing, and nothing of what they send is read.
async fn known(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    match identify(desk.shown.tokens.as_ref(), request.headers()).await {
        Ok(_) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Nothing from elsewhere, nothing kept, in nobody's frame.
async fn guarded(mut response: Response) -> Response {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// From where on lines are asked for.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    from: u64,
    #[serde(default)]
    of: u64,
}

async fn record(State(desk): State<Arc<Desk>>, Query(asked): Query<Asked>) -> Response {
    let path = desk.shown.record.clone();
    let read = tokio::task::spawn_blocking(move || tail::read(&path, asked.of, asked.from)).await;
    match read {
        Ok(Ok(part)) => part.into_response(&desk.shown),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the record cannot be read");
            (StatusCode::INTERNAL_SERVER_ERROR, "the record cannot be read: the log says why")
                .into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn attempt(
    State(desk): State<Arc<Desk>>,
    picture: Bytes,
) -> Result<Json<Verdict>, InferError> {
    let nobody = || InferError::NotFound("nobody says here what a picture shows".into());
    let oracle = desk.shown.oracle.as_ref().ok_or_else(nobody)?;
    let late = |message: &str| InferError::Unavailable {
        message: message.to_owned(),
        retry_after: Duration::from_secs(1),
    };
    let asked = async {
        let _turn = desk.trying.acquire().await;
        oracle.ask(picture).await
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    answer.map_err(|_| late("the model did not answer in time"))?.map(Json)
}

async fn checkpoints(State(desk): State<Arc<Desk>>) -> Result<Json<Vec<Checkpoint>>, InferError> {
    let listed = desk.vault()?.list().await;
    listed.map(Json).map_err(InferError::Failed)
}

/// Which checkpoint's weights.
#[derive(Deserialize)]
struct Wanted {
    number: Option<u64>,
}

async fn weights(
    State(desk): State<Arc<Desk>>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, InferError> {
    let bytes = desk.vault()?.weights(wanted.number).await.map_err(InferError::NotFound)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

impl Desk {
    fn vault(&self) -> Result<&dyn Checkpoints, InferError> {
        let none = || InferError::NotFound("no checkpoints are kept, or not known here".into());
        self.shown.checkpoints.as_deref().ok_or_else(none)
    }
}

impl Part {
    fn into_response(self, shown: &Shown) -> Response {
        // A name that is no header is left out.
        let name = HeaderValue::from_str(&shown.run).unwrap_or(HeaderValue::from_static(""));
        let kind = HeaderValue::from_static("application/jsonl; charset=utf-8");
        let headers = [
            (header::CONTENT_TYPE, kind),
            (OF, HeaderValue::from(self.of)),
            (NEXT, HeaderValue::from(self.next)),
            (RUN, name),
            (TRIES, HeaderValue::from(u16::from(shown.oracle.is_some()))),
        ];
        (headers, self.lines).into_response()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use axum::body::to_bytes;
    use mixnn_serving::TokenFile;
    use std::path::Path;
    use tower::ServiceExt;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn shown(folder: &Path) -> Router {
        let tokens = folder.join("tokens");
        std::fs::write(&tokens, format!("owner {TOKEN}\n")).unwrap();
        let tokens = Arc::new(TokenFile::open(&tokens).unwrap());
        let (run, record) = ("lenet5-1".into(), folder.join("record"));
        let (oracle, checkpoints) = (Some(Arc::new(Seven) as _), Some(Arc::new(Two) as _));
        app(Shown { run, record, tokens, oracle, checkpoints })
    }

    struct Seven;

    impl Oracle for Seven {
        fn ask(&self, picture: Bytes) -> BoxFuture<'_, Result<Verdict, InferError>> {
            let outputs = [0.0, f64::from(picture[0])];
            Box::pin(async move { Ok(Verdict::ranked("net", "1".into(), &outputs, &[])) })
        }
    }

    struct Two;

    impl Checkpoints for Two {
        fn list(&self) -> BoxFuture<'_, Result<Vec<Checkpoint>, String>> {
            let one = |number| Checkpoint { number, ..Checkpoint::default() };
            Box::pin(async move { Ok([1, 2].map(one).into()) })
        }

        fn weights(&self, number: Option<u64>) -> BoxFuture<'_, Result<Vec<u8>, String>> {
            let known = number.is_none_or(|n| n < 3);
            Box::pin(async move { known.then(|| vec![7]).ok_or_else(|| "none of 3".into()) })
        }
    }

    async fn send(
        app: &Router,
        path: &str,
        token: Option<&str>,
        body: Option<Vec<u8>>,
    ) -> Response {
        let method = if body.is_some() { "POST" } else { "GET" };
        let mut request = http::Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        app.clone()
            .oneshot(request.body(axum::body::Body::from(body.unwrap_or_default())).unwrap())
            .await
            .unwrap()
    }

    async fn ask(app: &Router, path: &str, token: Option<&str>) -> Response {
        send(app, path, token, None).await
    }

    async fn text(answer: Response) -> String {
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn nobody_without_the_token_reads_the_record() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("record"), "{\"event\":\"secret\"}\n").unwrap();
        let app = shown(folder.path());
        for token in [None, Some(""), Some("0123456789abcdef0123456789abcdee")] {
            for path in ["/record", "/checkpoints", "/weights"] {
                let answer = ask(&app, path, token).await;
                assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
                assert!(!text(answer).await.contains("secret"));
            }
            let answer = send(&app, "/try", token, Some(vec![1])).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        }
        assert_eq!(ask(&app, "/record", Some(TOKEN)).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn pictures_are_answered_and_checkpoints_told() {
        let folder = tempfile::tempdir().unwrap();
        let app = shown(folder.path());
        let answer = send(&app, "/try", Some(TOKEN), Some(vec![2])).await;
        assert!(text(answer).await.contains(r#""answer":"1""#));
        let large = send(&app, "/try", Some(TOKEN), Some(vec![0; MAX_PICTURE + 1])).await;
        assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let listed = text(ask(&app, "/checkpoints", Some(TOKEN)).await).await;
        assert!(listed.starts_with(r#"[{"number":1,"#), "{listed}");
        assert_eq!(text(ask(&app, "/weights", Some(TOKEN)).await).await, "\u{7}");
        let missing = ask(&app, "/weights?number=3", Some(TOKEN)).await;
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        assert!(text(missing).await.contains("none of 3"));
    }

    #[tokio::test]
    async fn lines_come_once_and_anew_when_the_file_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let (path, app) = (folder.path().join("record"), shown(folder.path()));
        let get = async |of: &str, from: &str| {
            let answer = ask(&app, &format!("/record?of={of}&from={from}"), Some(TOKEN)).await;
            let head = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
            let (of, next) = (head("x-of"), head("x-next"));
            let body = to_bytes(answer.into_body(), 1 << 21).await.unwrap();
            (of, next, String::from_utf8(body.to_vec()).unwrap())
        };
        assert_eq!(get("0", "0").await, ("0".into(), "0".into(), String::new()), "not there yet");
        std::fs::write(&path, "one\ntwo\nthr").unwrap();
        let (of, next, lines) = get("0", "0").await;
        assert_eq!((next.as_str(), lines.as_str()), ("8", "one\ntwo\n"));
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        let (same, next, lines) = get(&of, &next).await;
        assert_eq!((same.clone(), lines.as_str()), (of, "three\n"));
        assert_eq!(get(&same, &next).await.2, "");
        let another = folder.path().join("another");
        std::fs::write(&another, "two\n").unwrap();
        std::fs::rename(&another, &path).unwrap();
        let (other, _, lines) = get(&same, &next).await;
        assert_ne!(other, same);
        assert_eq!(lines, "two\n");
    }

    #[tokio::test]
    async fn the_page_is_whole_and_may_load_nothing_from_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let app = shown(folder.path());
        for asset in assets::ALL {
            let answer = ask(&app, asset.path, None).await;
            assert_eq!(answer.status(), StatusCode::OK);
            let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'"), "{policy}");
            assert!(!asset.text.contains("https://"), "{}", asset.path);
        }
        assert_eq!(ask(&app, "/../Cargo.toml", None).await.status(), StatusCode::NOT_FOUND);
    }
}
