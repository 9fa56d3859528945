//! Where something stands in the repository: files, byte ranges, lines and columns.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::OnceLock;

/// A file of a [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// A range of bytes in a file. Small, because every node of every document has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// The byte after the last one.
    pub end: u32,
}

/// A place as editors show it: both numbers begin with 1, columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A file that was looked at. Its path is relative to the repository's root, with `/`.
#[derive(Debug)]
pub struct SourceFile {
    /// The path from the repository's root.
    pub path: String,
    /// What it says; empty where it could not be read as text.
    pub text: String,
    /// Where each line begins; made when it is first asked for.
    lines: OnceLock<Vec<u32>>,
}

/// The texts of a repository, by path.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
    by_path: BTreeMap<String, FileId>,
}

impl Location {
    /// The place in `file` between two byte offsets. Offsets above 4 GiB do not occur: such a file
    /// is not read.
    pub fn new(file: FileId, start: usize, end: usize) -> Self {
        let narrow = |offset| u32::try_from(offset).unwrap_or(u32::MAX);
        Self {
            file,
            start: narrow(start),
            end: narrow(end.max(start)),
        }
    }

    /// The beginning of a file: for what is wrong with it as a whole.
    pub fn start_of(file: FileId) -> Self {
        Self::new(file, 0, 0)
    }
}

impl SourceFile {
    fn lines(&self) -> &[u32] {
        self.lines.get_or_init(|| {
            let newlines = self.text.bytes().zip(1..);
            let newlines = newlines.filter(|(byte, _)| *byte == b'\n');
            std::iter::once(0)
                .chain(newlines.map(|(_, next)| next))
                .collect()
        })
    }
}

impl Sources {
    /// Adds a file, and returns how it is named from here on.
    pub fn add(&mut self, path: String, text: String) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).expect("fewer than 2^32 files"));
        self.by_path.insert(path.clone(), id);
        self.files.push(SourceFile {
            path,
            text,
            lines: OnceLock::new(),
        });
        id
    }

    /// The file with this path from the root.
    pub fn find(&self, path: &str) -> Option<FileId> {
        self.by_path.get(path).copied()
    }

    /// The files whose paths begin with `prefix`, in the order of their paths.
    pub fn below(&self, prefix: &str) -> impl Iterator<Item = (&str, FileId)> {
        let from = self
            .by_path
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let below = from.map(|(path, file)| (path.as_str(), *file));
        below.take_while(move |(path, _)| path.starts_with(prefix))
    }

    /// A file that was added here.
    pub fn get(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    /// All files, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        (0..).map(FileId).zip(&self.files)
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The line and column where `location` begins.
    pub fn position(&self, location: Location) -> Position {
        self.position_of(location.file, location.start)
    }

    /// The line and column where `location` ends.
    pub fn end_position(&self, location: Location) -> Position {
        self.position_of(location.file, location.end)
    }

    fn position_of(&self, file: FileId, offset: u32) -> Position {
        let file = self.get(file);
        let offset = file.text.floor_char_boundary(offset as usize);
        let lines = file.lines();
        let line = lines.partition_point(|start| *start as usize <= offset);
        let line_start = lines[line - 1] as usize;
        Position {
            line,
            column: file.text[line_start..offset].chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_begin_with_one() {
        let mut sources = Sources::default();
        let file = sources.add("a.yaml".into(), "a: ü\r\nbé: x\n".into());
        let at = |offset| sources.position(Location::new(file, offset, offset));
        assert_eq!(at(0), Position { line: 1, column: 1 });
        assert_eq!(at(5), Position { line: 1, column: 5 });
        assert_eq!(at(12), Position { line: 2, column: 5 });
        assert_eq!(at(9999), Position { line: 3, column: 1 });
    }
}
