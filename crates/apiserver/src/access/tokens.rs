//! Bearer tokens that are given at start, each for a user with groups.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::request::Identity;

use super::AUTHENTICATED;

/// A file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// A line is not CSV.
    #[error("a line is not comma-separated values: {0}")]
    Csv(#[from] csv::Error),
    /// A line has too little in it.
    #[error("line {line}: expected token,user,uid and perhaps \"group1,group2\"")]
    Columns {
        /// The number of the line, from 1.
        line: u64,
    },
}

/// Tokens that are known from the start, as digests, and whose they are.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    known: HashMap<[u8; 32], Arc<Identity>>,
}

impl Tokens {
    /// Knows one more token.
    pub fn add(&mut self, token: &str, user: &str, uid: &str, groups: &[&str]) {
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        if groups.iter().all(|group| group != AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        let identity = Identity {
            user: user.to_owned(),
            uid: uid.to_owned(),
            groups,
            ..Identity::default()
        };
        self.known.insert(digest(token), Arc::new(identity));
    }

    /// Knows the tokens of a file as kube-apiserver's `--token-auth-file` reads it: lines of
    /// `token,user,uid,"group1,group2"`.
    ///
    /// # Errors
    /// If a line is something else.
    pub fn add_file(&mut self, text: &str) -> Result<(), TokenFileError> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        for record in reader.records() {
            let record = record?;
            let field = |index| record.get(index).unwrap_or_default();
            if record.len() < 3 || field(0).is_empty() || field(1).is_empty() {
                let line = record.position().map_or(0, csv::Position::line);
                return Err(TokenFileError::Columns { line });
            }
            let groups = field(3)
                .split(',')
                .map(str::trim)
                .filter(|group| !group.is_empty());
            self.add(field(0), field(1), field(2), &groups.collect::<Vec<_>>());
        }
        Ok(())
    }

    /// Whose token this is. Digests are compared, so that the time it takes says nothing about
    /// the tokens.
    pub fn find(&self, token: &str) -> Option<Arc<Identity>> {
        self.known.get(&digest(token)).cloned()
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_tokens_is_read_as_the_real_server_reads_it() {
        let mut tokens = Tokens::default();
        let file = "t1,anna,1,\"crew, system:masters\"\nt2,otto,2\nt3,eva,3,guests\n";
        tokens.add_file(file).unwrap();
        let anna = tokens.find("t1").unwrap();
        assert_eq!((anna.user.as_str(), anna.uid.as_str()), ("anna", "1"));
        assert_eq!(anna.groups, ["crew", "system:masters", AUTHENTICATED]);
        assert_eq!(tokens.find("t2").unwrap().groups, [AUTHENTICATED]);
        assert_eq!(tokens.find("t3").unwrap().groups, ["guests", AUTHENTICATED]);
        assert!(tokens.find("t4").is_none() && tokens.find("").is_none());
    }

    #[test]
    fn a_line_that_says_too_little_is_named() {
        let file = "t1,anna,1\nt2,otto\n";
        let error = Tokens::default().add_file(file).unwrap_err();
        assert!(error.to_string().starts_with("line 2"), "{error}");
        assert!(!error.to_string().contains("t2"), "tokens are not shown");
    }
}
