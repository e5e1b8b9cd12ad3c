//! The description and the page to read it.

use crate::support::{Api, Send};
use reqwest::Method;
use std::collections::BTreeSet;

#[tokio::test]
async fn the_page_needs_no_token_and_nothing_from_elsewhere() {
    let api = Api::start().await;
    let page = api.bare(Method::GET, "docs").answer().await.is(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(
        page.header("content-security-policy")
            .contains("script-src 'self'")
    );
    let mut all = page.text.clone();
    for (path, media_type) in [
        ("docs/docs.js", "text/javascript"),
        ("docs/docs.css", "text/css"),
    ] {
        let part = api.bare(Method::GET, path).answer().await.is(200);
        assert!(part.header("content-type").starts_with(media_type));
        assert!(page.text.contains(&format!("/api/v1/{path}")), "{path}");
        all.push_str(&part.text);
    }
    assert!(!all.contains("://"), "an address from elsewhere");
    assert!(
        !page.text.contains("style=") && !page.text.contains("<script>"),
        "inline code"
    );
    for part in [
        "lang=\"en\"",
        "name=\"viewport\"",
        "<main",
        "<nav",
        "aria-label",
        "class=\"skip\"",
    ] {
        assert!(page.text.contains(part), "{part}");
    }
}

#[tokio::test]
async fn the_description_is_the_checked_in_one() {
    let api = Api::start().await;
    let served = api.bare(Method::GET, "openapi.json").answer().await.is(200);
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.text, include_str!("../../docs/openapi.json"));
    let description = served.json();
    assert_eq!(description["openapi"], "3.1.0");
    let tags: BTreeSet<&str> = description["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["name"].as_str().unwrap())
        .collect();
    let used: BTreeSet<&str> = description["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| operation["tags"][0].as_str().unwrap())
        .collect();
    assert_eq!(tags, used);
}
