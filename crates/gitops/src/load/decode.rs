//! Bytes to text. Kubernetes' tools read UTF-8, so anything else is a finding.

use crate::finding::Finding;
use crate::rules::yaml::LOD001;
use crate::source::{FileId, Location};

use super::Unread;

/// Bytes that are not UTF-8.
#[derive(Debug)]
pub(super) struct NotText {
    /// What could be read before the first bad byte.
    pub(super) readable_part: String,
    what: String,
}

/// The text of a file, without a byte order mark.
pub(super) fn text(mut bytes: Vec<u8>) -> Result<String, NotText> {
    if let Some(encoding) = other_unicode(&bytes) {
        return Err(NotText {
            readable_part: String::new(),
            what: format!("the file is encoded in {encoding}"),
        });
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        NotText {
            readable_part: String::from_utf8_lossy(&bytes[..good]).into_owned(),
            what: format!("the byte 0x{:02x} here is not UTF-8", bytes[good]),
        }
    })
}

/// UTF-16 and UTF-32 are known by their byte order mark, or by every other byte being zero.
fn other_unicode(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [0, second, 0, fourth, ..] if *second != 0 && *fourth != 0 => Some("UTF-16"),
        [first, 0, third, 0, ..] if *first != 0 && *third != 0 => Some("UTF-16"),
        _ => None,
    }
}

pub(super) fn not_text(at: Location, error: &NotText) -> Finding {
    Finding::new(&LOD001, at, error.what.clone())
}

pub(super) fn unread(file: FileId, reason: &Unread) -> Finding {
    let finding = Finding::new(&LOD001, Location::start_of(file), reason.to_string());
    match reason {
        Unread::LeadsOutside => finding.fix("replace the link with the file it leads to"),
        Unread::DanglingLink(_) => finding.fix("remove the link, or point it at a file"),
        Unread::TooLarge { .. } => finding.fix("split the file, or list it under `ignore`"),
        Unread::Failed(_) => finding.fix("make the file readable"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(text(b"\xef\xbb\xbfa: 1".to_vec()).unwrap(), "a: 1");
    }

    #[test]
    fn other_encodings_are_named() {
        for (bytes, expected) in [
            (&b"\xff\xfea\0:\0"[..], "UTF-16"),
            (b"a\0:\0 \0", "UTF-16"),
            (b"\0a\0:\0 ", "UTF-16"),
            (b"\xff\xfe\0\0a\0\0\0", "UTF-32"),
            (b"name: caf\xe9\n", "0xe9"),
        ] {
            let error = text(bytes.to_vec()).unwrap_err();
            assert!(error.what.contains(expected), "{}", error.what);
        }
    }

    #[test]
    fn what_comes_before_a_bad_byte_can_be_shown() {
        let error = text(b"a: 1\nname: caf\xe9\n".to_vec()).unwrap_err();
        assert_eq!(error.readable_part, "a: 1\nname: caf");
    }
}
