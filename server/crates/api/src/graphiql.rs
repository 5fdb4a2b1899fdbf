//! GraphiQL at `/graphiql`: a page to explore and try the API in a browser.
//!
//! The page loads nothing from other hosts, and its policy (CSP) says so. Browsers may cache its files for as long as
//! their content is current. The page needs no token and shows nothing that `/schema.graphql` does not show to
//! everybody; its requests go through the API like all others. A setting removes it.
//!
//! The files are in `assets/graphiql`, with a README that says where each came from.

use std::sync::LazyLock;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

/// The page loads everything from here. Elements may have inline styles, because the editor sets them; inline scripts
/// are not allowed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
/// The folder's name identifies the content of the files, so a URL never changes its content.
const KEPT: &str = "public, max-age=31536000, immutable";
/// Revalidated each time: the page, and files under the name of another edition (of a server with another version).
const ASKED_AGAIN: &str = "no-cache";

/// Tells browsers not to guess the media type.
const NO_GUESSING: (HeaderName, &str) = (X_CONTENT_TYPE_OPTIONS, "nosniff");

struct File {
    name: &'static str,
    media: &'static str,
    plain: &'static [u8],
    gzipped: &'static [u8],
}

macro_rules! file {
    ($name:literal, $media:literal) => {
        File {
            name: $name,
            media: $media,
            plain: include_bytes!(concat!("../assets/graphiql/", $name)),
            gzipped: include_bytes!(concat!(env!("OUT_DIR"), "/graphiql/", $name, ".gz")),
        }
    };
}

static FILES: [File; 11] = [
    file!("page.css", "text/css; charset=utf-8"),
    file!("page.js", "text/javascript; charset=utf-8"),
    file!("examples.graphql", "application/graphql; charset=utf-8"),
    file!("graphiql.min.css", "text/css; charset=utf-8"),
    file!("graphiql.min.js", "text/javascript; charset=utf-8"),
    file!("graphiql.LICENSE", "text/plain; charset=utf-8"),
    file!("react.production.min.js", "text/javascript; charset=utf-8"),
    file!("react-dom.production.min.js", "text/javascript; charset=utf-8"),
    file!("react.LICENSE", "text/plain; charset=utf-8"),
    file!("graphql-ws.min.js", "text/javascript; charset=utf-8"),
    file!("graphql-ws.LICENSE", "text/plain; charset=utf-8"),
];

/// A hash of the contents of all files, used as a name.
static EDITION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for file in &FILES {
        hash.update(file.plain);
    }
    let digest = hash.finalize();
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
});

static PAGE: LazyLock<Bytes> = LazyLock::new(|| {
    let page = include_str!("../assets/graphiql/page.html");
    // Relative to `/graphiql`, because the server may be behind a path prefix.
    page.replace("{{files}}", &format!("graphiql/{}", *EDITION))
        .into()
});

/// The page and its files.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/graphiql", get(page))
        .route("/graphiql/{edition}/{file}", get(file))
}

async fn page() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, ASKED_AGAIN),
        NO_GUESSING,
    ];
    (headers, PAGE.clone()).into_response()
}

/// A file, whatever edition is in the URL: while servers of two versions share an address, a page of one version gets
/// files of the other version instead of an error, and does not cache them.
async fn file(Path((edition, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kept = if edition == *EDITION { KEPT } else { ASKED_AGAIN };
    let common = [
        (CONTENT_TYPE, file.media),
        (CACHE_CONTROL, kept),
        (VARY, "accept-encoding"),
        NO_GUESSING,
    ];
    if takes_gzip(&headers) {
        (common, [(CONTENT_ENCODING, "gzip")], file.gzipped).into_response()
    } else {
        (common, file.plain).into_response()
    }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(ACCEPT_ENCODING).iter();
    let mut codings = codings.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    codings.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        named && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}
