//! Variables in a text, as Flux puts them in: `${NAME}`, `${NAME:=default}`, `$${NAME}`, and what else a
//! shell can do.
//!
//! The language is that of Flux's own parser, with its gaps: `${NAME-default}` is an error, and of
//! `${NAME:+text}` and `${NAME:?text}`, the text is a default.

mod operators;
mod reader;

use operators::{apply, grows_beyond};
use reader::{Argument, Expansion, Piece, Reader};

/// What is known of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable<'a> {
    /// It has this value.
    Known(&'a str),
    /// It has a value that is not to be seen here, as that of an encrypted Secret.
    Hidden,
    /// Nothing that is to be seen here gives it a value.
    Elsewhere,
    /// Nothing gives it a value.
    Missing,
}

/// A text after its variables were put in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Substituted {
    /// The text. Variables whose value is hidden are left as they were written.
    pub(super) text: String,
    /// The variables without a value and without a default, each as often as it is used.
    pub(super) missing: Vec<String>,
}

/// A text that Flux refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("after `${{` comes the name of a variable, or `$${{` where no variable is meant")]
    NoName,
    #[error("a variable has no closing brace, or something between its name and the brace")]
    NotClosed,
    #[error("what a variable is to be changed into cannot be read")]
    BadArgument,
    #[error("variables are nested too deeply")]
    TooDeep,
    #[error("variables make a text of more than {MAX_BYTES} bytes")]
    TooLong,
}

/// The API server does not take larger objects.
const MAX_BYTES: usize = 3 * 1024 * 1024;

/// Puts the variables into a text.
pub(super) fn substitute<'a>(
    text: &str,
    variable: &dyn Fn(&str) -> Variable<'a>,
) -> Result<Substituted, Error> {
    let mut output = Substituted::default();
    for piece in Reader::new(text) {
        match piece? {
            Piece::Text(text) => output.text += text,
            Piece::Expansion { expansion, source } => {
                expand(&expansion, source, variable, &mut output)?;
            }
        }
        if output.text.len() > MAX_BYTES {
            return Err(Error::TooLong);
        }
    }
    Ok(output)
}

fn expand<'a>(
    expansion: &Expansion,
    source: &str,
    variable: &dyn Fn(&str) -> Variable<'a>,
    output: &mut Substituted,
) -> Result<(), Error> {
    let mut arguments = Vec::new();
    for argument in &expansion.arguments {
        match argument {
            Argument::Text(text) => arguments.push(text.clone()),
            Argument::Expansion(inner) => {
                let mut value = Substituted::default();
                expand(inner, "", variable, &mut value)?;
                output.missing.append(&mut value.missing);
                arguments.push(value.text);
            }
        }
    }
    let has_default = matches!(&*expansion.operator, "=" | ":=" | ":-" | ":+" | ":?");
    let value = match variable(&expansion.name) {
        Variable::Known(value) => value,
        Variable::Elsewhere | Variable::Missing if has_default => "",
        Variable::Hidden | Variable::Elsewhere => {
            output.text += source;
            return Ok(());
        }
        Variable::Missing => {
            output.missing.push(expansion.name.clone());
            ""
        }
    };
    if grows_beyond(MAX_BYTES, &expansion.operator, value, &arguments) {
        return Err(Error::TooLong);
    }
    let changed = apply(&expansion.operator, value, &arguments);
    if output.text.len() + changed.len() > MAX_BYTES {
        return Err(Error::TooLong);
    }
    output.text += &changed;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn variable(name: &str) -> Variable<'static> {
        match name {
            "mixed" => Variable::Known("abcdEFGH28ij"),
            "path" => Variable::Known("/var/log/app.main.log"),
            "empty" => Variable::Known(""),
            "twice" => Variable::Known("abcABC123ABCabc"),
            "slash" => Variable::Known("a/b/c"),
            "secret" => Variable::Hidden,
            _ => Variable::Missing,
        }
    }

    fn text(input: &str) -> String {
        substitute(input, &variable).unwrap().text
    }

    #[test]
    fn every_operator_does_what_it_does_in_flux() {
        for (input, expected) in [
            ("no variables, $mixed, $ { }", "no variables, $mixed, $ { }"),
            ("<${mixed}>${mixed}", "<abcdEFGH28ij>abcdEFGH28ij"),
            ("${#mixed}", "12"),
            ("${mixed^}", "AbcdEFGH28ij"),
            ("${mixed^^}", "ABCDEFGH28IJ"),
            ("${mixed,}", "abcdEFGH28ij"),
            ("${mixed,,}", "abcdefgh28ij"),
            ("${path:5}", "log/app.main.log"),
            ("${path:5:3}", "log"),
            ("${path:-3}", "/var/log/app.main.log"),
            ("${path:5:99}", "log/app.main.log"),
            ("${path:99}", ""),
            ("${path:1:-4}", "var/log/app.main"),
            ("${mixed=x}${missing=x}", "abcdEFGH28ijx"),
            ("${missing:=x}${missing:-y}${empty:=z}", "xyz"),
            ("${missing:+x}${missing:?y}${mixed:+x}", "xyabcdEFGH28ij"),
            ("${missing:=}", ""),
            ("${missing:=a ${mixed,,} b}", "a abcdefgh28ij b"),
            ("${missing:=${none:=deep}er}", "deeper"),
            ("${twice/abc/XYZ}", "XYZABC123ABCabc"),
            ("${twice//abc/XYZ}", "XYZABC123ABCXYZ"),
            ("${twice/#abc/XYZ}", "XYZABC123ABCabc"),
            ("${twice/%abc/XYZ}", "abcABC123ABCXYZ"),
            (
                "${twice/#/pre-}${twice/%/-post}",
                "pre-abcABC123ABCabcabcABC123ABCabc-post",
            ),
            ("${twice/abc/}", "ABC123ABCabc"),
            ("${slash//\\//-}", "a-b-c"),
            ("${path#*.}", "main.log"),
            ("${path##*.}", "log"),
            ("${path##*/}", "app.main.log"),
            ("${path%.*}", "/var/log/app.main"),
            ("${path%%.*}", "/var/log/app"),
            ("$${mixed}", "${mixed}"),
            ("$$$${mixed}", "$${mixed}"),
            ("$$${mixed}", "$abcdEFGH28ij"),
            ("a$$b$", "a$b$"),
            (
                "${secret}-${secret:=x}-${mixed}",
                "${secret}-${secret:=x}-abcdEFGH28ij",
            ),
        ] {
            assert_eq!(text(input), expected, "{input}");
        }
    }

    #[test]
    fn what_flux_refuses_is_an_error() {
        for (input, expected) in [
            ("${}", Error::NoName),
            ("${.Values.x}", Error::NoName),
            ("${ x }", Error::NoName),
            ("${x", Error::NotClosed),
            ("${x-default}", Error::NotClosed),
            ("${x.y}", Error::NotClosed),
            ("${x:=y", Error::BadArgument),
            ("${x:}", Error::BadArgument),
            ("${x/y}", Error::BadArgument),
            ("${x#}", Error::BadArgument),
        ] {
            assert_eq!(substitute(input, &variable), Err(expected), "{input}");
        }
    }

    #[test]
    fn variables_without_a_value_and_a_default_are_named() {
        let input = "${a} ${b:=x} ${c^^} ${empty} ${d:=${e}} ${secret}";
        let output = substitute(input, &variable).unwrap();
        assert_eq!(output.missing, ["a", "c", "e"]);
    }

    #[test]
    fn a_text_cannot_become_as_long_as_it_likes() {
        let long = "x".repeat(1000);
        let input = "${long}".repeat(100_000);
        let long = |_: &str| Variable::Known(&long);
        assert_eq!(substitute(&input, &long), Err(Error::TooLong));
        let deep = format!("{}x{}", "${a:=".repeat(1000), "}".repeat(1000));
        assert_eq!(substitute(&deep, &variable), Err(Error::TooDeep));
    }

    proptest! {
        #[test]
        fn no_text_stops_the_reader(input in "[$\\{\\}:=a/#%^,\\\\*ü\\[-]{0,40}") {
            let _ = substitute(&input, &variable);
        }

        #[test]
        fn a_text_without_dollars_stays(input in "[^$]{0,40}") {
            prop_assert_eq!(text(&input), input);
        }
    }
}
