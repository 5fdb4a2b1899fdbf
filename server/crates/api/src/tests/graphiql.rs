use std::io::Read as _;

use axum::body::Bytes;
use axum::http::HeaderMap;
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::*;

const PAGE: &str = include_str!("../../assets/graphiql/page.html");
const OURS: [&str; 3] = [
    PAGE,
    include_str!("../../assets/graphiql/page.css"),
    include_str!("../../assets/graphiql/page.js"),
];
const EXAMPLES: &str = include_str!("../../assets/graphiql/examples.graphql");
const README: &str = include_str!("../../assets/graphiql/README.md");

async fn get(world: &World, path: &str, encoding: Option<&str>) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = Request::get(path);
    if let Some(encoding) = encoding {
        request = request.header("accept-encoding", encoding);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    (
        parts.status,
        parts.headers,
        to_bytes(body, usize::MAX).await.unwrap(),
    )
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// The URLs of the files that the page refers to.
fn named(page: &str) -> Vec<String> {
    let named = page.split('"').filter(|text| text.starts_with("graphiql/"));
    named.map(|path| format!("/{path}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_loads_nothing_from_other_hosts() {
    let world = World::new().await;
    let (status, headers, page) = get(&world, "/graphiql", None).await;
    assert_eq!(status, 200);
    assert_eq!(header(&headers, "content-type"), "text/html; charset=utf-8");
    assert_eq!(
        header(&headers, "content-security-policy"),
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    assert_eq!(header(&headers, "x-content-type-options"), "nosniff");
    assert_eq!(header(&headers, "referrer-policy"), "no-referrer");
    assert_eq!(header(&headers, "cache-control"), "no-cache");
    for text in OURS {
        assert!(!text.contains("://"), "a URL with a host in\n{text}");
        assert!(!text.contains("src=\"//") && !text.contains("href=\"//"));
    }
    let page = str::from_utf8(&page).unwrap();
    assert!(!page.contains("{{") && !page.contains("<style"));
    assert!(!page.contains("<script>") && !page.contains("javascript:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_cached_for_good_under_a_hash_of_their_contents() {
    let world = World::new().await;
    let (_, _, page) = get(&world, "/graphiql", None).await;
    let mut paths = named(str::from_utf8(&page).unwrap());
    assert_eq!(paths.len(), 7);
    let folder = paths[0].rsplit_once('/').unwrap().0.to_owned();
    paths.push(format!("{folder}/examples.graphql"));
    paths.push(format!("{folder}/graphiql.LICENSE"));
    for path in paths {
        let media = match path.rsplit_once('.').unwrap().1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "graphql" => "application/graphql; charset=utf-8",
            _ => "text/plain; charset=utf-8",
        };
        let (status, headers, plain) = get(&world, &path, None).await;
        assert_eq!((status.as_u16(), header(&headers, "content-encoding")), (200, ""));
        for encoding in ["gzip", "br, GZIP;q=0.5", "deflate, gzip, br, zstd"] {
            let (status, headers, gzipped) = get(&world, &path, Some(encoding)).await;
            assert_eq!(status, 200, "{path}");
            assert_eq!(header(&headers, "content-encoding"), "gzip");
            assert_eq!(header(&headers, "content-type"), media, "{path}");
            assert_eq!(header(&headers, "x-content-type-options"), "nosniff");
            assert_eq!(header(&headers, "vary"), "accept-encoding");
            assert_eq!(
                header(&headers, "cache-control"),
                "public, max-age=31536000, immutable"
            );
            let mut unzipped = Vec::new();
            GzDecoder::new(&gzipped[..]).read_to_end(&mut unzipped).unwrap();
            assert_eq!(unzipped, plain, "{path}");
        }
        for encoding in ["gzip;q=0", "br", "identity"] {
            let (_, headers, _) = get(&world, &path, Some(encoding)).await;
            assert_eq!(header(&headers, "content-encoding"), "", "{encoding}");
        }
        let elsewhere = path.replace(&folder, "/graphiql/another");
        let (status, headers, _) = get(&world, &elsewhere, None).await;
        assert_eq!(
            (status.as_u16(), header(&headers, "cache-control")),
            (200, "no-cache")
        );
    }
    for missing in ["page.html", "README.md", "%2e%2e%2fpage.js"] {
        let (status, _, _) = get(&world, &format!("{folder}/{missing}"), None).await;
        assert_eq!(status, 404, "{missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn third_party_files_match_the_hashes_in_the_readme() {
    let world = World::new().await;
    let lines = README.lines().filter(|line| line.matches('`').count() == 8);
    let mut compared = 0;
    for line in lines {
        let cells: Vec<&str> = line.split('`').collect();
        let (_, _, file) = get(&world, &format!("/graphiql/any/{}", cells[1]), None).await;
        let sum: String = Sha256::digest(&file)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(cells[7], sum, "{}", cells[1]);
        compared += 1;
    }
    assert_eq!(compared, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_work() {
    let world = World::new().await;
    let (ann, platform) = (world.user(1, 1), world.platform());
    let mut executed = 0;
    for example in EXAMPLES.split("#---\n") {
        // HTTP does not execute a subscription.
        if example.contains("\nsubscription ") {
            continue;
        }
        let token = if example.contains("publishEvents") {
            &platform
        } else {
            &ann
        };
        let data = world.ask(token, example, json!({})).await;
        for (_, payload) in data.as_object().unwrap() {
            let errors = payload.get("userErrors").unwrap_or(&Json::Null);
            assert!(errors.is_null() || *errors == json!([]), "{data:#}");
        }
        executed += 1;
    }
    assert_eq!(executed, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_turns_the_page_off() {
    let world = World::with(Settings {
        graphiql: false,
        ..Settings::development()
    })
    .await;
    for path in ["/graphiql", "/graphiql/any/page.js"] {
        assert_eq!(get(&world, path, None).await.0, 404, "{path}");
    }
}
