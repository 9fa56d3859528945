//! What only a file system can do: links, sizes, rights.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nico_gitops::load;

use super::findings;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn found(root: &Path) -> BTreeSet<String> {
    findings(&load::disk::load(root).expect("the folder is there"))
}

#[test]
fn links_that_lead_nowhere_out_or_in_circles_are_a_finding() {
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "secret.yaml", "token: hunter2\n");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "app/a.yaml", "a: 1\n");
    symlink("loop.yaml", root.join("loop.yaml")).unwrap();
    symlink("two.yaml", root.join("one.yaml")).unwrap();
    symlink("one.yaml", root.join("two.yaml")).unwrap();
    symlink("nowhere.yaml", root.join("nothing.yaml")).unwrap();
    symlink(outside.path().join("secret.yaml"), root.join("out.yaml")).unwrap();
    symlink("/etc/passwd", root.join("passwd.yaml")).unwrap();
    // Folders are not followed, wherever they lead.
    symlink("..", root.join("app/up")).unwrap();
    symlink(outside.path(), root.join("elsewhere")).unwrap();
    let found: Vec<_> = found(root)
        .iter()
        .map(|finding| finding.split(": ").next().unwrap().to_owned())
        .collect();
    let nowhere = "the symbolic link leads nowhere";
    assert_eq!(
        found,
        [
            format!("LOD001 loop.yaml:1 {nowhere}"),
            format!("LOD001 nothing.yaml:1 {nowhere}"),
            format!("LOD001 one.yaml:1 {nowhere}"),
            "LOD001 out.yaml:1 the symbolic link leads out of the repository".to_owned(),
            "LOD001 passwd.yaml:1 the symbolic link leads out of the repository".to_owned(),
            format!("LOD001 two.yaml:1 {nowhere}"),
        ]
    );
}

#[test]
fn what_a_generator_reads_through_a_link_stays_inside() {
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "secret", "hunter2\n");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let generator = "configMapGenerator:\n  - name: a\n    files: [link]\n";
    write(root, "kustomization.yaml", generator);
    symlink(outside.path().join("secret"), root.join("link")).unwrap();
    let found = found(root);
    let expected =
        "FLX021 kustomization.yaml:2 link: the symbolic link leads out of the repository";
    assert!(found.contains(expected), "{found:?}");
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("large.yaml")).unwrap();
    // Ten gigabytes of nothing, which take no space.
    file.set_len(10 << 30).unwrap();
    let found = found(folder.path());
    let expected = format!("LOD001 large.yaml:1 the file has {} bytes", 10_u64 << 30);
    assert!(
        found.iter().any(|finding| finding.starts_with(&expected)),
        "{found:?}"
    );
}

#[test]
fn what_is_no_file_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("a.yaml")).unwrap();
    let found = found(folder.path());
    assert!(
        found.contains("LOD001 a.yaml:1 the file cannot be read: it is not a regular file"),
        "{found:?}"
    );
}
