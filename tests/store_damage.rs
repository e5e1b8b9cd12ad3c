//! Damaged store files: each is refused with what to do, or gives exactly what was written; none
//! panics, and none is taken for an empty store.

#![expect(
    clippy::unwrap_used,
    reason = "a test, and what helps it, fails by panicking"
)]

use lain::drivers::redb::RedbStore;
use lain::ports::store::{Change, Entry, Store, StoreError};
use std::path::{Path, PathBuf};

/// A store with some content, closed in order.
struct Sound {
    dir: tempfile::TempDir,
    bytes: Vec<u8>,
    content: Vec<Entry>,
}

impl Sound {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sound.redb");
        let store = RedbStore::open(&path).unwrap();
        for n in 0..200 {
            let value = vec![n; usize::from(n) * 7];
            let changes = vec![Change::Put(format!("apps/{n:03}"), value)];
            store.transact(Vec::new(), changes).await.unwrap();
        }
        let content = store.list("", None, usize::MAX).await.unwrap();
        drop(store);
        let bytes = std::fs::read(&path).unwrap();
        Self {
            dir,
            bytes,
            content,
        }
    }

    /// A copy with other bytes.
    fn damaged(&self, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join("lain.redb");
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn refused(path: &Path) -> StoreError {
    match RedbStore::open(path) {
        Ok(_) => panic!("a damaged file was opened"),
        Err(e) => e,
    }
}

#[tokio::test]
async fn files_that_are_no_store_are_refused_with_what_to_do() {
    let sound = Sound::new().await;
    let half = sound.bytes.len() / 2;
    let garbage: Vec<u8> = (0..100_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut beheaded = sound.bytes.clone();
    beheaded[..4096].fill(0);
    let cases: [(&str, &[u8]); 6] = [
        ("empty", b""),
        ("one byte", b"r"),
        ("text", b"# not a store\n"),
        ("garbage", &garbage),
        ("truncated", &sound.bytes[..half]),
        ("without its head", &beheaded),
    ];
    for (name, bytes) in cases {
        let path = sound.damaged(bytes);
        let error = refused(&path);
        assert!(
            matches!(error, StoreError::Corrupt { .. }),
            "{name}: {error:?}"
        );
        let text = error.to_string();
        let move_aside = format!("`mv {0} {0}.damaged`", path.display());
        assert!(text.contains(&move_aside), "{name}: {text}");
        assert!(text.contains("backup"), "{name}: {text}");
        assert_eq!(
            std::fs::read(&path).unwrap(),
            bytes,
            "{name}: the file was changed"
        );
    }
}

#[tokio::test]
async fn after_moving_a_damaged_file_aside_lain_starts_anew() {
    let sound = Sound::new().await;
    let path = sound.damaged(&sound.bytes[..sound.bytes.len() / 2]);
    refused(&path);
    std::fs::rename(&path, path.with_extension("redb.damaged")).unwrap();
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.list("", None, 9).await.unwrap(), []);
    let changes = vec![Change::Put("apps/a".to_owned(), b"{}".to_vec())];
    store.transact(Vec::new(), changes).await.unwrap();
}

/// Every damage of one to sixty-four bytes is found, or lies where nothing is stored.
#[tokio::test]
async fn random_damage_is_found_or_harmless() {
    let sound = Sound::new().await;
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut state = seed;
    let mut random = |below: usize| {
        // xorshift64*, enough to scatter damage and reproducible from the seed.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let bits = state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(bits).unwrap() % below
    };
    let (mut found, mut harmless) = (0, 0);
    for _ in 0..300 {
        let mut bytes = sound.bytes.clone();
        let place = random(bytes.len());
        for n in 0..=random(64) {
            if let Some(byte) = bytes.get_mut(place + n) {
                *byte ^= u8::try_from(1 + random(255)).unwrap();
            }
        }
        match RedbStore::open(sound.damaged(&bytes)) {
            Err(StoreError::Corrupt { .. }) => found += 1,
            Err(other) => panic!("at {place}: {other:?}"),
            Ok(store) => {
                harmless += 1;
                let content = store.list("", None, usize::MAX).await.unwrap();
                assert_eq!(content, sound.content, "damage at {place} was believed");
            }
        }
    }
    eprintln!("found {found}, harmless {harmless}");
    assert!(found > 50 && found + harmless == 300);
}

#[tokio::test]
async fn a_store_of_a_newer_lain_is_left_alone() {
    let sound = Sound::new().await;
    let path = sound.damaged(&sound.bytes);
    {
        let db = redb::Database::open(&path).unwrap();
        let write = db.begin_write().unwrap();
        let meta = redb::TableDefinition::<&str, u64>::new("meta");
        write.open_table(meta).unwrap().insert("format", 9).unwrap();
        write.commit().unwrap();
    }
    let text = refused(&path).to_string();
    assert!(
        text.contains("it has format 9, and this lain knows 1"),
        "{text}"
    );

    let foreign = sound.dir.path().join("foreign.redb");
    drop(redb::Database::create(&foreign).unwrap());
    let text = refused(&foreign).to_string();
    assert!(text.contains("no store of lain"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_opened_at_all_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lain.redb");
    std::fs::create_dir(&path).unwrap();
    let error = refused(&path);
    assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
    let expected = format!(
        "the store failed to open {}: Is a directory",
        path.display()
    );
    assert!(error.to_string().starts_with(&expected), "{error}");

    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = refused(&file.join("lain.redb"));
    let expected = format!("the store failed to make the directory {}", file.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test]
async fn a_creation_that_was_cut_short_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lain.redb");
    std::fs::write(dir.path().join("lain.redb.new"), b"half a store").unwrap();
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.describe().await.unwrap().revision, 0);
    assert!(!dir.path().join("lain.redb.new").exists());
}

#[tokio::test]
async fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/lain.redb");
    drop(RedbStore::open(&path).unwrap());
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = entry.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    drop(RedbStore::open(&path).unwrap());
    assert_eq!(mode(&path), 0o600);
}
