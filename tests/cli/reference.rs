//! `docs/cli.md` is what the definitions say, and the clap tree is sound.

#[test]
fn the_clap_tree_is_sound() {
    lain::cli::command().debug_assert();
}

#[test]
fn reference() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
    let made = lain::cli::reference::markdown(lain::cli::command());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/cli.md differs from the definitions; UPDATE_DOCS=1 cargo test --test cli reference"
    );
}
