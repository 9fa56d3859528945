//! A user name and a password, handed to `git` through memory that has no name.
//!
//! `git` asks a [credential helper](https://git-scm.com/docs/gitcredentials), which here is a line
//! of shell that copies what it finds behind a file descriptor of this process. Only processes of
//! the operator's own user can open that; nothing of it is in a file, an argument or a variable.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// A user name and a password in memory. Gone when it is dropped.
pub(crate) struct Login(File);

impl Login {
    /// Writes both down, in the form that `git` reads.
    ///
    /// # Errors
    /// What the operating system says; also when one of them has a line break, which the form
    /// does not allow.
    pub(crate) fn new(username: &str, password: &str) -> io::Result<Self> {
        if [username, password]
            .iter()
            .any(|text| text.contains(['\n', '\0']))
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "there is a line break in it",
            ));
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut memory = File::from(memfd_create("nico-git-login", flags)?);
        write!(memory, "username={username}\npassword={password}\n")?;
        fcntl_add_seals(
            &memory,
            SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
        )?;
        Ok(Self(memory))
    }

    /// The helper, as a setting of `git` names it. It uses nothing but the shell itself.
    pub(crate) fn helper(&self) -> String {
        let (process, descriptor) = (std::process::id(), self.0.as_raw_fd());
        format!(
            "!answer() {{ case $1 in get) while IFS= read -r line; do printf '%s\\n' \"$line\"; \
             done </proc/{process}/fd/{descriptor} ;; esac; }}; answer"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn answer(login: &Login, question: &str) -> String {
        let script = format!("{} {question}", &login.helper()[1..]);
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_helper_answers_each_question_whole_and_keeps_nothing() {
        let login = Login::new("me", r"a \n 'b' $c").unwrap();
        let expected = "username=me\npassword=a \\n 'b' $c\n";
        assert_eq!(answer(&login, "get"), expected);
        assert_eq!(answer(&login, "get"), expected);
        assert_eq!(answer(&login, "store"), "");
        assert!(!login.helper().contains("'b'"));
    }

    #[test]
    fn a_line_break_cannot_smuggle_another_answer_in() {
        assert!(Login::new("me\nhost=evil.example", "x").is_err());
    }
}
