//! What every storage must do, and what those that outlive a process must do besides.

#[path = "support/etcd.rs"]
mod etcd;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd::Cluster;
use nico_apiserver::storage::{
    Durable, Expected, Memory, OpenError, Revision, Storage, StorageError, Stored,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Storages of every kind, all empty.
struct Storages {
    all: Vec<(&'static str, Arc<dyn Storage>)>,
    _folder: TempDir,
    _etcd: Option<Cluster>,
}

async fn storages() -> Storages {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let etcd = Cluster::start(1);
    let durable = Durable::open(&folder.path().join("data")).expect("a new directory");
    let mut all: Vec<(&'static str, Arc<dyn Storage>)> = vec![
        ("memory", Arc::new(Memory::default())),
        ("durable", Arc::new(durable)),
    ];
    if let Some(etcd) = &etcd {
        all.push(("etcd", Arc::new(etcd.storage("/test").await)));
    }
    Storages {
        all,
        _folder: folder,
        _etcd: etcd,
    }
}

fn text(value: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(value.as_bytes()))
}

fn show(entries: &[Stored]) -> Vec<String> {
    let show = |e: &Stored| format!("{}={}", e.key, String::from_utf8_lossy(&e.value));
    entries.iter().map(show).collect()
}

async fn create(storage: &dyn Storage, key: &str) -> Revision {
    let written = storage.write(key, Expected::Absent, text("1")).await;
    written.expect("the key is free")
}

/// All changes after a revision up to another, in as many parts as they come.
async fn changes(
    storage: &dyn Storage,
    prefix: &str,
    mut after: Revision,
    until: Revision,
) -> Vec<(String, Revision, Option<Revision>, Option<Bytes>)> {
    let mut all = Vec::new();
    while after < until {
        let next = storage.changes(prefix, after);
        let seen = tokio::time::timeout(etcd::PATIENCE, next).await;
        let seen = seen
            .expect("changes come in time")
            .expect("nothing is compacted");
        all.extend(seen.changes.iter().map(|change| {
            let before = change.before.as_ref().map(|before| before.revision);
            (
                change.key.to_string(),
                change.revision,
                before,
                change.after.clone(),
            )
        }));
        assert!(seen.revision > after);
        after = seen.revision;
    }
    all
}

#[tokio::test]
async fn a_write_that_expects_something_else_is_refused() {
    let storages = storages().await;
    for (name, storage) in &storages.all {
        let first = create(&**storage, "a").await;
        for wrong in [Expected::Absent, Expected::Revision(first + 1)] {
            let refused = storage.write("a", wrong, text("2")).await;
            assert!(
                matches!(refused, Err(StorageError::Changed)),
                "{name}: {wrong:?}"
            );
        }
        let is = Expected::Revision(first);
        storage.write("a", is, None).await.unwrap();
        assert!(storage.get("a").await.unwrap().is_none(), "{name}");
    }
}

#[tokio::test]
async fn an_old_revision_shows_the_entries_of_that_time() {
    let storages = storages().await;
    for (name, storage) in &storages.all {
        let a = create(&**storage, "x/a").await;
        let b = create(&**storage, "x/b").await;
        let (a_is, b_is) = (Expected::Revision(a), Expected::Revision(b));
        storage.write("x/a", a_is, text("2")).await.unwrap();
        storage.write("x/b", b_is, None).await.unwrap();
        let at = |revision| storage.list("x/", None, Some(revision), None);
        assert_eq!(show(&at(a).await.unwrap().entries), ["x/a=1"], "{name}");
        assert_eq!(
            show(&at(b).await.unwrap().entries),
            ["x/a=1", "x/b=1"],
            "{name}"
        );
        let now = storage.list("x/", None, None, None).await.unwrap();
        assert_eq!(show(&now.entries), ["x/a=2"], "{name}");
        assert!(
            matches!(at(99).await, Err(StorageError::Future { .. })),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_page_begins_behind_the_given_key_and_says_how_many_are_left() {
    let storages = storages().await;
    for (name, storage) in &storages.all {
        for key in ["w/z", "x/a", "x/b", "x/c", "x/d", "y/a"] {
            create(&**storage, key).await;
        }
        let page = storage
            .list("x/", Some("x/a"), None, Some(2))
            .await
            .unwrap();
        assert_eq!(show(&page.entries), ["x/b=1", "x/c=1"], "{name}");
        assert_eq!(page.remaining, 1, "{name}");
        let at = Some(page.revision - 2);
        let old = storage.list("x/", None, at, Some(1)).await.unwrap();
        assert_eq!((old.entries.len(), old.remaining), (1, 2), "{name}");
        let all = storage.list("x/", None, None, None).await.unwrap();
        assert_eq!((all.entries.len(), all.remaining), (4, 0), "{name}");
    }
}

#[tokio::test]
async fn changes_come_in_order_and_only_for_the_prefix() {
    let storages = storages().await;
    for (name, storage) in &storages.all {
        let start = storage.revision().await.unwrap();
        for key in ["x/a", "y/a", "x/b"] {
            create(&**storage, key).await;
        }
        let newest = storage.revision().await.unwrap();
        let seen = changes(&**storage, "x/", start, newest).await;
        let keys: Vec<&str> = seen.iter().map(|change| &*change.0).collect();
        assert_eq!(keys, ["x/a", "x/b"], "{name}");
    }
}

#[tokio::test]
async fn what_fell_out_of_the_history_is_compacted() {
    let storage = Memory::with_history(2);
    let start = storage.revision().await.unwrap();
    for key in ["a", "b", "c"] {
        create(&storage, key).await;
    }
    let watch = storage.changes("", start).await;
    assert!(matches!(watch, Err(StorageError::Compacted { oldest }) if oldest == start + 1));
    let known = storage.changes("", start + 1).await.unwrap();
    assert_eq!(known.changes.len(), 2);
    let list = storage.list("", None, Some(start), None).await;
    assert!(matches!(list, Err(StorageError::Compacted { .. })));
}

/// A step of a random history: which key, and whether it expects the truth and removes.
type Step = (u8, bool, bool);

/// Plays a history and compares everything that can be read with a model.
async fn check(storage: &dyn Storage, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut model: BTreeMap<String, (Revision, Bytes)> = BTreeMap::new();
    let start = storage.revision().await.expect("the storage works");
    let mut newest = start;
    let (mut history, mut states) = (Vec::new(), Vec::new());
    for (number, (key, honest, removes)) in steps.iter().enumerate() {
        let key = format!("k/{}", key % 4);
        let before = model.get(&key).map(|(revision, _)| *revision);
        let is = before.map_or(Expected::Absent, Expected::Revision);
        let value = (!removes || before.is_none()).then(|| Bytes::from(number.to_string()));
        if !honest {
            let wrong = Expected::Revision(newest + 7);
            let refused = storage.write(&key, wrong, value).await;
            prop_assert!(matches!(refused, Err(StorageError::Changed)));
            continue;
        }
        let revision = storage
            .write(&key, is, value.clone())
            .await
            .expect("the storage works");
        prop_assert!(revision > newest);
        newest = revision;
        match &value {
            Some(value) => drop(model.insert(key.clone(), (revision, value.clone()))),
            None => drop(model.remove(&key)),
        }
        history.push((key, revision, before, value));
        states.push((revision, model.clone()));
    }
    prop_assert_eq!(storage.revision().await.expect("the storage works"), newest);
    for (revision, model) in &states {
        let page = storage
            .list("k/", None, Some(*revision), None)
            .await
            .expect("the storage works");
        let is: BTreeMap<String, (Revision, Bytes)> = page
            .entries
            .into_iter()
            .map(|entry| (entry.key.to_string(), (entry.revision, entry.value)))
            .collect();
        prop_assert_eq!(&is, model);
    }
    prop_assert_eq!(changes(storage, "k/", start, newest).await, history);
    Ok(())
}

#[test]
fn every_storage_agrees_with_the_model_over_random_histories() {
    let runtime = Runtime::new().unwrap();
    let storages = runtime.block_on(storages());
    for (name, _) in &storages.all {
        let cases = if *name == "memory" { 128 } else { 12 };
        let mut runner = TestRunner::new(Config::with_cases(cases));
        let steps = proptest::collection::vec(any::<Step>(), 0..40);
        let number = std::cell::Cell::new(0);
        let checked = runner.run(&steps, |steps| {
            number.set(number.get() + 1);
            let folder = tempfile::tempdir().unwrap();
            runtime.block_on(async {
                match (*name, &storages._etcd) {
                    ("etcd", Some(etcd)) => {
                        let storage = etcd.storage(&format!("/case/{}", number.get())).await;
                        check(&storage, &steps).await
                    }
                    ("durable", _) => check(&Durable::open(folder.path()).unwrap(), &steps).await,
                    _ => check(&Memory::default(), &steps).await,
                }
            })
        });
        checked.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn a_directory_keeps_what_was_answered_even_if_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let storage = Durable::open(&data).unwrap();
    let a = create(&storage, "a").await;
    let b = create(&storage, "b").await;
    let gone = storage
        .write("a", Expected::Revision(a), None)
        .await
        .unwrap();
    // What a killed process leaves is what is in the file now.
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(data.join("objects.redb"), copy.join("objects.redb")).unwrap();
    let restarted = Durable::open(&copy).unwrap();
    assert_eq!(restarted.revision().await.unwrap(), gone);
    let page = restarted.list("", None, None, None).await.unwrap();
    assert_eq!(show(&page.entries), ["b=1"]);
    assert_eq!(page.entries[0].revision, b);
    // The history is gone, and nothing of it is skipped in silence.
    let old = restarted.changes("", b).await;
    assert!(matches!(old, Err(StorageError::Compacted { .. })));
    let next = create(&restarted, "c").await;
    assert_eq!(next, gone + 1);
    assert_eq!(changes(&restarted, "", gone, next).await.len(), 1);
}

#[tokio::test]
async fn many_writers_to_a_directory_are_all_served_once() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(Durable::open(folder.path()).unwrap());
    let writers = (0..200).map(|number| {
        let storage = storage.clone();
        tokio::spawn(async move {
            let key = format!("k/{}", number % 100);
            storage
                .write(&key, Expected::Absent, text("1"))
                .await
                .is_ok()
        })
    });
    let done = futures::future::join_all(writers).await;
    assert_eq!(
        done.into_iter()
            .filter(|done| *done.as_ref().unwrap())
            .count(),
        100
    );
    drop(storage);
    let again = Durable::open(folder.path()).unwrap();
    let page = again.list("k/", None, None, None).await.unwrap();
    assert_eq!(page.entries.len(), 100);
}

#[test]
fn a_directory_is_private_and_used_by_one_server_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let storage = Durable::open(&data).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("objects.redb")), 0o600);
    assert!(matches!(Durable::open(&data), Err(OpenError::InUse(_))));
    drop(storage);
    Durable::open(&data).unwrap();
}

#[test]
fn a_directory_with_something_else_in_it_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("letter"), "dear").unwrap();
    assert!(matches!(
        Durable::open(folder.path()),
        Err(OpenError::Foreign(_))
    ));
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("objects.redb"), "no database".repeat(900)).unwrap();
    assert!(matches!(
        Durable::open(other.path()),
        Err(OpenError::Database { .. })
    ));
}

#[tokio::test]
async fn servers_on_one_etcd_see_the_changes_of_each_other_and_nothing_else() {
    let Some(etcd) = Cluster::start(1) else {
        return;
    };
    let (one, two) = (etcd.storage("/same").await, etcd.storage("/same").await);
    let other = etcd.storage("/same-not").await;
    let start = two.revision().await.unwrap();
    create(&other, "a").await;
    let written = create(&one, "b").await;
    let seen = changes(&two, "", start, written).await;
    assert_eq!(seen.iter().map(|c| &*c.0).collect::<Vec<_>>(), ["b"]);
    // A server that starts later knows what etcd still knows.
    let three = etcd.storage("/same").await;
    assert_eq!(changes(&three, "", start, written).await, seen);
}

#[tokio::test]
async fn a_member_that_starts_again_loses_no_change() {
    let Some(mut etcd) = Cluster::start(1) else {
        return;
    };
    let storage = etcd.storage("/test").await;
    let first = create(&storage, "a").await;
    changes(&storage, "", first - 1, first).await;
    etcd.kill(0);
    let begun = std::time::Instant::now();
    let refused = storage.write("b", Expected::Absent, text("1")).await;
    assert!(matches!(refused, Err(StorageError::Unavailable(_))));
    assert!(begun.elapsed() < Duration::from_secs(10));
    etcd.revive(0);
    let other = etcd.storage("/test").await;
    let second = create(&other, "c").await;
    let seen = changes(&storage, "", first, second).await;
    assert_eq!(seen.last().map(|change| &*change.0), Some("c"));
}
