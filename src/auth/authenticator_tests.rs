//! Tokens: made, found again, expired, damaged; what a file or a log may show of them.

use super::*;
use crate::domain::id::AppName;
use crate::drivers::memory::{ManualClock, MemoryStore};
use crate::ports::store::StoreError;
use chrono::DateTime;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

struct Fixture {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    auth: Authenticator,
    dir: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let auth = open(&store, &clock).await;
        let dir = tempfile::tempdir().unwrap();
        Self {
            store,
            clock,
            auth,
            dir,
        }
    }

    /// As after a restart of lain.
    async fn reopened(&self) -> Authenticator {
        open(&self.store, &self.clock).await
    }

    fn admin_token(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join(ADMIN_TOKEN_FILE)).unwrap();
        text.trim().to_owned()
    }
}

async fn open(store: &Arc<MemoryStore>, clock: &Arc<ManualClock>) -> Authenticator {
    Authenticator::open(Arc::clone(store) as _, Arc::clone(clock) as _, true)
        .await
        .unwrap()
}

fn new_token(name: &str, scope: Scope, lifetime: Option<u64>) -> NewToken {
    NewToken {
        name: name.to_owned(),
        scopes: vec![scope],
        lifetime: lifetime.map(Duration::from_secs),
    }
}

#[tokio::test]
async fn a_token_lets_in_until_it_is_revoked_also_after_a_restart() {
    let fixture = Fixture::new().await;
    let app = Scope::App(AppName::new("shop").unwrap());
    let new = new_token("ci", app.clone(), None);
    let (token, info) = fixture.auth.create(new).await.unwrap();
    let principal = fixture.reopened().await.verify(&token.expose()).unwrap();
    assert_eq!(
        (principal.name.as_str(), principal.scopes),
        ("ci", vec![app])
    );
    assert_eq!(fixture.auth.list(), std::slice::from_ref(&info));

    assert!(fixture.auth.revoke(&info.id).await.unwrap());
    assert!(!fixture.auth.revoke(&info.id).await.unwrap());
    for auth in [&fixture.auth, &fixture.reopened().await] {
        assert!(matches!(
            auth.verify(&token.expose()),
            Err(AuthError::Unknown)
        ));
        assert_eq!(auth.list(), []);
    }
}

#[tokio::test]
async fn a_right_id_with_a_wrong_secret_is_unknown() {
    let fixture = Fixture::new().await;
    let new = new_token("ci", Scope::Admin, None);
    let (token, _) = fixture.auth.create(new).await.unwrap();
    let text = token.expose();
    let last = if text.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", &text[..text.len() - 1]);
    assert!(matches!(
        fixture.auth.verify(&wrong),
        Err(AuthError::Unknown)
    ));
    assert!(matches!(
        fixture.auth.verify("hunter2"),
        Err(AuthError::Malformed)
    ));
}

#[tokio::test]
async fn a_token_expires_by_the_clock() {
    let fixture = Fixture::new().await;
    let new = new_token("ci", Scope::Read, Some(60));
    let (token, _) = fixture.auth.create(new).await.unwrap();
    fixture.clock.advance(Duration::from_secs(59));
    assert!(fixture.auth.verify(&token.expose()).is_ok());
    fixture.clock.advance(Duration::from_secs(1));
    let error = fixture.auth.verify(&token.expose()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("token ci expired at 1970-01-01 00:01:00 UTC"),
        "{text}"
    );
}

#[tokio::test]
async fn without_authentication_everyone_is_the_administrator() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.auth.anonymous(), None);
    let open = Authenticator::open(fixture.store.clone(), fixture.clock.clone(), false);
    let anyone = open.await.unwrap().anonymous().unwrap();
    assert_eq!(
        (anyone.name.as_str(), anyone.scopes),
        ("anonymous", vec![Scope::Admin])
    );
}

#[tokio::test]
async fn the_api_is_told_why_a_token_is_refused() {
    let fixture = Fixture::new().await;
    let new = new_token("ci", Scope::Read, Some(60));
    let (token, _) = fixture.auth.create(new).await.unwrap();
    let token = token.expose();
    let verifier: &dyn TokenVerifier = &fixture.auth;
    assert!(verifier.verify(&token).is_ok());
    fixture.clock.advance(Duration::from_secs(60));
    let expired = TokenError::Expired("ci".to_owned());
    assert_eq!(verifier.verify(&token), Err(expired));
    assert_eq!(verifier.verify("no token"), Err(TokenError::Unknown));
}

#[tokio::test]
async fn only_a_hash_is_stored_and_nothing_is_shown() {
    let fixture = Fixture::new().await;
    let new = new_token("ci", Scope::Read, None);
    let (token, info) = fixture.auth.create(new).await.unwrap();
    let text = token.expose();
    let secret = text.rsplit('_').next().unwrap();
    let stored = fixture.store.list("", None, 9).await.unwrap();
    assert_eq!(stored[0].key, format!("auth/tokens/{}", info.id));
    let stored = String::from_utf8(stored[0].value.clone()).unwrap();
    assert!(!stored.contains(secret), "{stored}");
    let shown = format!(
        "{info:?} {token:?} {}",
        serde_json::to_string(&info).unwrap()
    );
    assert!(!shown.contains(secret), "{shown}");
    let hash = serde_json::to_string(&token.hash()).unwrap();
    assert!(
        stored.contains(&hash) && !shown.contains(hash.trim_matches('"')),
        "{shown}"
    );
}

#[tokio::test]
async fn the_admin_token_is_made_once_and_is_private() {
    let fixture = Fixture::new().await;
    let path = fixture
        .auth
        .ensure_admin_token(fixture.dir.path())
        .await
        .unwrap();
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    let token = fixture.admin_token();
    assert_eq!(fixture.auth.verify(&token).unwrap().scopes, [Scope::Admin]);

    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let again = fixture.reopened().await;
    again.ensure_admin_token(fixture.dir.path()).await.unwrap();
    assert_eq!((fixture.admin_token(), mode()), (token, 0o600));
    assert_eq!(again.list().len(), 1);
}

#[tokio::test]
async fn deleting_the_admin_tokens_file_replaces_the_token_and_no_other() {
    let fixture = Fixture::new().await;
    let new = new_token("ci", Scope::Admin, None);
    let (other, _) = fixture.auth.create(new).await.unwrap();
    for spoil in [None, Some("not a token"), Some("lain_0123456789abcdef_00")] {
        let path = fixture
            .auth
            .ensure_admin_token(fixture.dir.path())
            .await
            .unwrap();
        let old = fixture.admin_token();
        match spoil {
            None => std::fs::remove_file(&path).unwrap(),
            Some(text) => std::fs::write(&path, text).unwrap(),
        }
        fixture
            .auth
            .ensure_admin_token(fixture.dir.path())
            .await
            .unwrap();
        assert!(matches!(fixture.auth.verify(&old), Err(AuthError::Unknown)));
        fixture.auth.verify(&fixture.admin_token()).unwrap();
        fixture.auth.verify(&other.expose()).unwrap();
        assert_eq!(fixture.auth.list().len(), 2);
    }
}

#[tokio::test]
async fn a_start_that_fails_between_file_and_store_is_healed_by_the_next() {
    let fixture = Fixture::new().await;
    let full = StoreError::DiskFull {
        path: "memory".to_owned(),
    };
    fixture.store.fail_next_writes(1, full);
    let failed = fixture.auth.ensure_admin_token(fixture.dir.path()).await;
    assert!(matches!(failed, Err(AuthError::Store(_))));
    let next = fixture.reopened().await;
    next.ensure_admin_token(fixture.dir.path()).await.unwrap();
    next.verify(&fixture.admin_token()).unwrap();
}

#[tokio::test]
async fn what_another_server_does_is_followed() {
    let fixture = Fixture::new().await;
    let (here, there) = (Arc::new(fixture.reopened().await), &fixture.auth);
    let follower = tokio::spawn({
        let here = Arc::clone(&here);
        async move { here.follow().await }
    });
    let new = new_token("ci", Scope::Read, None);
    let (token, info) = there.create(new).await.unwrap();
    let text = token.expose();
    until(|| here.verify(&text).is_ok()).await;
    there.revoke(&info.id).await.unwrap();
    until(|| here.verify(&text).is_err()).await;
    follower.abort();
}

/// Waits until a condition holds that other tasks bring about.
async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), met)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_record_that_cannot_be_read_shuts_out_its_token_only() {
    let fixture = Fixture::new().await;
    let new = new_token("ci", Scope::Read, None);
    let (token, _) = fixture.auth.create(new).await.unwrap();
    let broken = Change::Put("auth/tokens/0123456789abcdef".to_owned(), b"{".to_vec());
    fixture
        .store
        .transact(Vec::new(), vec![broken])
        .await
        .unwrap();
    let auth = fixture.reopened().await;
    auth.verify(&token.expose()).unwrap();
    assert_eq!(auth.list().len(), 1);
}
