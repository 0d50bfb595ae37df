//! The owner's page: what the record of a run tells, live in a browser.
//!
//! ```text
//! /  /page.css  /*.js   the page itself, from this binary; says nothing of any run, needs no token
//! /record?from=N&of=G   lines of the record from byte N on, while the file is G still; needs the token
//! ```
//!
//! The server reads the record, and nothing else: it costs the training nothing but the reading of what was
//! appended, once a second for each browser. What is in it is put together in the browser.

mod assets;
mod tail;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use mixnn_serving::{Authenticator, Limits, TokenFile, identify, serve_app};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tail::Part;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Open connections: a few browsers.
const CONNECTIONS: usize = 32;
/// Which file lines are of: another number, other lines.
const OF: HeaderName = HeaderName::from_static("x-of");
/// Where to go on.
const NEXT: HeaderName = HeaderName::from_static("x-next");
/// The run's name.
const RUN: HeaderName = HeaderName::from_static("x-run");

/// What is shown, and to whom.
pub struct Shown {
    /// The run's name.
    pub run: String,
    /// Its record; it need not be there yet.
    pub record: PathBuf,
    /// Whose tokens are good.
    pub tokens: Arc<dyn Authenticator>,
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
/// The address cannot be listened on, or the file of tokens is none.
pub fn start(
    address: SocketAddr,
    run: &str,
    record: &Path,
    tokens: &Path,
) -> std::io::Result<SocketAddr> {
    let tokens = TokenFile::open(tokens).map_err(std::io::Error::other)?;
    let shown = Shown { run: run.to_owned(), record: record.to_owned(), tokens: Arc::new(tokens) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(address))?;
    let address = listener.local_addr()?;
    let show = move || runtime.block_on(serve(listener, shown, CancellationToken::new()));
    std::thread::Builder::new().name("page".into()).spawn(show)?;
    Ok(address)
}

fn app(shown: Shown) -> Router {
    let mut app = Router::new().route("/record", get(record)).with_state(Arc::new(shown));
    for asset in assets::ALL {
        let answer = move || async move { ([(header::CONTENT_TYPE, asset.kind)], asset.text) };
        app = app.route(asset.path, get(answer));
    }
    app.layer(axum::middleware::map_response(guarded))
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

async fn record(
    State(shown): State<Arc<Shown>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Response {
    if let Err(error) = identify(shown.tokens.as_ref(), &headers).await {
        return error.into_response();
    }
    let path = shown.record.clone();
    let read = tokio::task::spawn_blocking(move || tail::read(&path, asked.of, asked.from)).await;
    match read {
        Ok(Ok(part)) => part.into_response(&shown.run),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the record cannot be read");
            (StatusCode::INTERNAL_SERVER_ERROR, "the record cannot be read: the log says why")
                .into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Part {
    fn into_response(self, run: &str) -> Response {
        // A name that is no header is left out.
        let name = HeaderValue::from_str(run).unwrap_or(HeaderValue::from_static(""));
        let kind = HeaderValue::from_static("application/jsonl; charset=utf-8");
        let headers = [
            (header::CONTENT_TYPE, kind),
            (OF, HeaderValue::from(self.of)),
            (NEXT, HeaderValue::from(self.next)),
            (RUN, name),
        ];
        (headers, self.lines).into_response()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use axum::body::{Body, to_bytes};
    use http::Request;
    use tower::ServiceExt;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn shown(folder: &Path) -> Router {
        let tokens = folder.join("tokens");
        std::fs::write(&tokens, format!("owner {TOKEN}\n")).unwrap();
        let tokens = Arc::new(TokenFile::open(&tokens).unwrap());
        app(Shown { run: "lenet5-1".into(), record: folder.join("record"), tokens })
    }

    async fn ask(app: &Router, path: &str, token: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn nobody_without_the_token_reads_the_record() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("record"), "{\"event\":\"secret\"}\n").unwrap();
        let app = shown(folder.path());
        for token in [None, Some(""), Some("0123456789abcdef0123456789abcdee")] {
            let answer = ask(&app, "/record", token).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
            assert!(!String::from_utf8_lossy(&body).contains("secret"));
        }
        assert_eq!(ask(&app, "/record", Some(TOKEN)).await.status(), StatusCode::OK);
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
