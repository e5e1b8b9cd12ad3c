//! Tailing real files: rotation, truncation, holes, compressed predecessors.

use super::tail::{Tail, Trouble, with};
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Docker's rotation: the oldest goes, the others move up, a new file begins.
fn rotate(path: &Path, keep: u32) {
    let _ = fs::remove_file(with(path, &format!(".{}", keep - 1)));
    for n in (1..keep - 1).rev() {
        let _ = fs::rename(
            with(path, &format!(".{n}")),
            with(path, &format!(".{}", n + 1)),
        );
    }
    fs::rename(path, with(path, ".1")).unwrap();
    append(path, "");
}

fn all(tail: &mut Tail, max: usize) -> (Vec<String>, Vec<Trouble>) {
    let (mut lines, mut troubles) = (Vec::new(), Vec::new());
    loop {
        let turn = tail
            .read(max, |line, _, _| {
                lines.push(String::from_utf8(line.to_vec()).unwrap())
            })
            .unwrap();
        troubles.extend(turn.trouble);
        if turn.end {
            return (lines, troubles);
        }
    }
}

fn dir() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x-json.log");
    (dir, path)
}

#[test]
fn lines_are_read_once_over_rotations_and_an_unended_line_waits() {
    let (_dir, path) = dir();
    let mut tail = Tail::open(&path, None, true);
    assert_eq!(all(&mut tail, 100).0, Vec::<String>::new());
    append(&path, "a\nb\nhal");
    assert_eq!(all(&mut tail, 100).0, ["a", "b"]);
    append(&path, "f\nc\n");
    rotate(&path, 3);
    append(&path, "d\n");
    rotate(&path, 3);
    append(&path, "e\n");
    let (lines, troubles) = all(&mut tail, 100);
    assert_eq!(lines, ["half", "c", "d", "e"]);
    assert_eq!(troubles, []);
}

#[test]
fn a_file_that_is_rotated_away_while_it_is_read_is_read_to_its_end() {
    let (_dir, path) = dir();
    append(&path, "a\n");
    let mut tail = Tail::open(&path, None, true);
    assert_eq!(all(&mut tail, 100).0, ["a"]);
    append(&path, "b\n");
    rotate(&path, 3);
    append(&path, "c\n");
    // Seen now, so that it stays open.
    let mut first = Vec::new();
    tail.read(2, |line, _, _| first.push(line.to_vec()))
        .unwrap();
    assert_eq!(first, [b"b"]);
    for text in ["d\n", "e\n"] {
        rotate(&path, 3);
        append(&path, text);
    }
    let (lines, troubles) = all(&mut tail, 100);
    assert_eq!(lines, ["c", "d", "e"]);
    assert_eq!(troubles, []);
}

#[test]
fn a_hole_that_the_engine_made_is_told() {
    let (_dir, path) = dir();
    append(&path, "a\n");
    let mut tail = Tail::open(&path, None, true);
    assert_eq!(all(&mut tail, 100).0, ["a"]);
    for text in ["b\n", "c\n", "d\n", "e\n"] {
        rotate(&path, 3);
        append(&path, text);
    }
    let (lines, troubles) = all(&mut tail, 100);
    assert_eq!(
        lines,
        ["c", "d", "e"],
        "b was deleted before it could be opened"
    );
    assert_eq!(troubles, [Trouble::RotatedAway]);
}

#[test]
fn a_truncated_file_is_read_from_its_beginning_and_that_is_told() {
    let (_dir, path) = dir();
    append(&path, "a long line\n");
    let mut tail = Tail::open(&path, None, true);
    assert_eq!(all(&mut tail, 100).0, ["a long line"]);
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    append(&path, "b\n");
    let (lines, troubles) = all(&mut tail, 100);
    assert_eq!(lines, ["b"]);
    assert_eq!(troubles, [Trouble::Truncated]);
}

#[test]
fn reading_goes_on_at_any_place_also_after_rotations() {
    let (_dir, path) = dir();
    append(&path, "a\nb\nc\n");
    let mut tail = Tail::open(&path, None, true);
    let mut places = Vec::new();
    tail.read(100, |_, place, _| places.push(place)).unwrap();
    let at = tail.resolve(places[1]).unwrap();
    for text in ["d\n", "e\n"] {
        rotate(&path, 4);
        append(&path, text);
    }
    let mut again = Tail::open(&path, Some(at), true);
    assert!(!again.replays());
    assert_eq!(all(&mut again, 100).0, ["b", "c", "d", "e"]);
    // The first reader goes on too, and its places say where.
    assert_eq!(all(&mut tail, 100).0, ["d", "e"]);
    let end = tail.resolve(tail.place()).unwrap();
    append(&path, "f\n");
    assert_eq!(all(&mut Tail::open(&path, Some(end), true), 100).0, ["f"]);
}

#[test]
fn an_inode_that_was_given_again_is_another_file() {
    let (_dir, path) = dir();
    append(&path, "first file, first line\n");
    let mut tail = Tail::open(&path, None, true);
    all(&mut tail, 100);
    let mut at = tail.resolve(tail.place()).unwrap();
    fs::remove_file(&path).unwrap();
    append(
        &path,
        "another file that is longer than the first one was\n",
    );
    at.inode = fs::metadata(&path).unwrap().ino();
    let mut again = Tail::open(&path, Some(at), true);
    assert!(again.replays());
    let (lines, troubles) = all(&mut again, 100);
    assert_eq!(lines.len(), 1);
    assert_eq!(troubles, [Trouble::RotatedAway]);
}

#[test]
fn compressed_predecessors_are_read_when_the_file_itself_is_gone() {
    let (_dir, path) = dir();
    append(&path, "a\nb\n");
    let mut tail = Tail::open(&path, None, true);
    tail.read(2, |_, _, _| {}).unwrap();
    let at = tail.resolve(tail.place());
    let mut packed = flate2::write::GzEncoder::new(
        fs::File::create(with(&path, ".1.gz")).unwrap(),
        flate2::Compression::fast(),
    );
    packed.write_all(&fs::read(&path).unwrap()).unwrap();
    packed.finish().unwrap();
    fs::remove_file(&path).unwrap();
    append(&path, "c\n");
    let mut again = Tail::open(&path, at, true);
    assert!(
        again.replays(),
        "what was taken before is for the caller to drop"
    );
    let (lines, troubles) = all(&mut again, 100);
    assert_eq!(lines, ["a", "b", "c"]);
    assert_eq!(troubles, []);
}

#[test]
fn lines_longer_than_a_turn_come_in_pieces() {
    let (_dir, path) = dir();
    append(&path, "0123456789\nx\n");
    let mut tail = Tail::open(&path, None, false);
    let mut pieces = Vec::new();
    while !tail
        .read(4, |text, _, ends| {
            pieces.push((String::from_utf8(text.to_vec()).unwrap(), ends))
        })
        .unwrap()
        .end
    {}
    let whole: String = pieces
        .iter()
        .map(|(text, ends)| format!("{text}{}", if *ends { "|" } else { "" }))
        .collect();
    assert_eq!(whole, "0123456789|x|");
}

#[test]
fn a_last_line_without_an_end_is_given_out_when_its_writer_is_gone() {
    let (_dir, path) = dir();
    append(&path, "a\nlast");
    let mut tail = Tail::open(&path, None, true);
    assert_eq!(all(&mut tail, 100).0, ["a"]);
    let mut rest = Vec::new();
    tail.finish(|line, _, _| rest.push(line.to_vec())).unwrap();
    assert_eq!(rest, [b"last"]);
    assert_eq!(all(&mut tail, 100).0, Vec::<String>::new());
}
