//! Quoting for the POSIX shell.

/// One shell word that stands for exactly `argument`.
///
/// Words of harmless characters stay as they are, so that commands remain readable in logs.
/// A NUL character cannot be part of a shell word and is left out.
pub fn quote(argument: &str) -> String {
    let harmless =
        |character: char| character.is_ascii_alphanumeric() || "@%+=:,./_-".contains(character);
    if !argument.is_empty() && argument.chars().all(harmless) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\0', "").replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::quote;

    #[test]
    fn plain_words_stay_readable() {
        assert_eq!(quote("/nix/store/abc-system"), "/nix/store/abc-system");
        assert_eq!(quote(".#node-1"), "'.#node-1'");
    }

    #[test]
    fn the_shell_gives_back_what_was_quoted() {
        for argument in [
            "", " ", "a b", "it's", "$(id)", "`id`", "\\", "\"", "a\nb", "-n", "*", "ä;&|",
        ] {
            let output = Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(argument))])
                .output()
                .expect("sh runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout), argument);
        }
    }
}
