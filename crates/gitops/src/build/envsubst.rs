//! Variables in a text, as Flux puts them in: `${NAME}`, `${NAME:=default}`, `$${NAME}`, and what else a
//! shell can do.
//!
//! The language is that of Flux's own parser, with its gaps: `${NAME-default}` is an error, and of
//! `${NAME:+text}` and `${NAME:?text}`, the text is a default.

use super::glob;

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

/// Variables in the defaults of variables.
const MAX_DEPTH: usize = 50;

/// Puts the variables into a text.
pub(super) fn substitute<'a>(
    text: &str,
    variable: &dyn Fn(&str) -> Variable<'a>,
) -> Result<Substituted, Error> {
    let mut reader = Reader { text, position: 0 };
    let mut output = Substituted::default();
    while let Some(letter) = reader.peek() {
        if reader.skip("$$") {
            output.text.push('$');
        } else if reader.text[reader.position..].starts_with("${") {
            let start = reader.position;
            reader.skip("${");
            let expansion = reader.expansion(0)?;
            let source = &text[start..reader.position];
            expand(&expansion, source, variable, &mut output)?;
        } else {
            output.text.push(letter);
            reader.position += letter.len_utf8();
        }
        if output.text.len() > MAX_BYTES {
            return Err(Error::TooLong);
        }
    }
    Ok(output)
}

/// What stands between `${` and `}`.
#[derive(Debug)]
struct Expansion {
    name: String,
    operator: String,
    arguments: Vec<Argument>,
}

#[derive(Debug)]
enum Argument {
    Text(String),
    Expansion(Expansion),
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
    let changed = change(&expansion.operator, value, &arguments);
    if output.text.len() + changed.len() > MAX_BYTES {
        return Err(Error::TooLong);
    }
    output.text += &changed;
    Ok(())
}

/// Whether replacing each occurrence of a text makes one that is longer than that.
fn grows_beyond(bytes: usize, operator: &str, value: &str, arguments: &[String]) -> bool {
    let [first, second] = arguments else {
        return false;
    };
    operator == "//" && value.matches(&**first).count().saturating_mul(second.len()) > bytes
}

fn change(operator: &str, value: &str, arguments: &[String]) -> String {
    let first = arguments.first().map_or("", String::as_str);
    let second = arguments.get(1).map_or("", String::as_str);
    match operator {
        "^" => first_letter(value, char::to_uppercase),
        "^^" => value.to_uppercase(),
        "," => first_letter(value, char::to_lowercase),
        ",," => value.to_lowercase(),
        "#" if arguments.is_empty() => value.len().to_string(),
        "#" => glob::without_prefix(value, first, glob::Length::Shortest),
        "##" => glob::without_prefix(value, first, glob::Length::Longest),
        "%" => glob::without_suffix(value, first, glob::Length::Shortest),
        "%%" => glob::without_suffix(value, first, glob::Length::Longest),
        ":" => part(value, arguments),
        "/" => value.replacen(first, second, 1),
        "//" => value.replace(first, second),
        "/#" if arguments.len() == 2 => match value.strip_prefix(first) {
            Some(rest) => format!("{second}{rest}"),
            None => value.to_owned(),
        },
        "/%" if arguments.len() == 2 => match value.strip_suffix(first) {
            Some(rest) => format!("{rest}{second}"),
            None => value.to_owned(),
        },
        "/#" | "/%" => value.to_owned(),
        _ if value.is_empty() => arguments.concat(),
        _ => value.to_owned(),
    }
}

fn first_letter<I: Iterator<Item = char>>(value: &str, change: fn(char) -> I) -> String {
    let mut letters = value.chars();
    let first = letters.next().into_iter().flat_map(change);
    first.chain(letters.clone()).collect()
}

/// `${NAME:offset}` and `${NAME:offset:length}`, in bytes; negative ones count from the end.
fn part(value: &str, arguments: &[String]) -> String {
    let number = |index: usize| arguments.get(index).map(|text| text.parse::<i64>());
    let Some(Ok(offset)) = number(0) else {
        return value.to_owned();
    };
    let size = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let start = if offset < 0 {
        (size + offset).max(0)
    } else {
        offset
    };
    let end = match number(1) {
        None => size,
        Some(Ok(length)) if length < 0 => size + length,
        Some(Ok(length)) => start.saturating_add(length).min(size),
        Some(Err(_)) => return value.to_owned(),
    };
    let bound = |place: i64| usize::try_from(place).unwrap_or_default();
    let range = value.as_bytes().get(bound(start)..bound(end));
    String::from_utf8_lossy(range.unwrap_or_default()).into_owned()
}

struct Reader<'text> {
    text: &'text str,
    position: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.position..].chars().next()
    }

    fn skip(&mut self, expected: &str) -> bool {
        let is_next = self.text[self.position..].starts_with(expected);
        if is_next {
            self.position += expected.len();
        }
        is_next
    }

    /// The letters up to the first one that is not accepted.
    fn take(&mut self, accept: impl Fn(char) -> bool) -> String {
        let rest = &self.text[self.position..];
        let end = rest.find(|letter| !accept(letter)).unwrap_or(rest.len());
        self.position += end;
        rest[..end].to_owned()
    }

    fn name(&mut self) -> Result<String, Error> {
        let name = self.take(|letter| letter.is_alphanumeric() || letter == '_');
        if name.is_empty() {
            return Err(Error::NoName);
        }
        Ok(name)
    }

    /// Reads up to and with the closing brace.
    fn expansion(&mut self, depth: usize) -> Result<Expansion, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        let is_length = self.skip("#");
        let name = self.name()?;
        let mut arguments = Vec::new();
        let operator = match self.peek() {
            _ if is_length => "#".to_owned(),
            Some('}') => String::new(),
            Some('=') => self.default("=", &mut arguments, depth)?,
            Some(',' | '^') => self.one_or_two(|letter| matches!(letter, ',' | '^')),
            Some(sign @ ('#' | '%')) => {
                let operator = self.one_or_two(|letter| letter == sign);
                arguments.push(self.argument(|letter| letter != '}', depth)?);
                operator
            }
            Some('/') => self.replacement(&mut arguments, depth)?,
            Some(':') => {
                let defaults = [":=", ":-", ":?", ":+"].into_iter();
                let rest = &self.text[self.position..];
                let operator = { defaults }.find(|operator| rest.starts_with(operator));
                match operator {
                    Some(operator) => self.default(operator, &mut arguments, depth)?,
                    None => self.part(&mut arguments, depth)?,
                }
            }
            _ => return Err(Error::NotClosed),
        };
        if !self.skip("}") {
            return Err(Error::NotClosed);
        }
        Ok(Expansion {
            name,
            operator,
            arguments,
        })
    }

    fn one_or_two(&mut self, accept: impl Fn(char) -> bool) -> String {
        let mut operator = String::new();
        while let Some(letter) = self.peek().filter(|letter| accept(*letter)) {
            if operator.len() == 2 {
                break;
            }
            operator.push(letter);
            self.position += letter.len_utf8();
        }
        operator
    }

    /// A variable, or the text up to the next one or to what is not accepted.
    fn argument(&mut self, accept: impl Fn(char) -> bool, depth: usize) -> Result<Argument, Error> {
        if self.skip("${") {
            return self.expansion(depth + 1).map(Argument::Expansion);
        }
        let rest = &self.text[self.position..];
        let next = rest.find("${").unwrap_or(rest.len());
        let end = rest.find(|letter| !accept(letter)).unwrap_or(rest.len());
        let text = &rest[..next.min(end)];
        if text.is_empty() {
            return Err(Error::BadArgument);
        }
        self.position += text.len();
        Ok(Argument::Text(text.to_owned()))
    }

    /// Text in which a backslash, or a second `$`, takes the meaning from what comes after it.
    fn escaped_argument(&mut self, end: char, depth: usize) -> Result<Argument, Error> {
        if self.skip("${") {
            return self.expansion(depth + 1).map(Argument::Expansion);
        }
        let mut text = String::new();
        while let Some(letter) = self.peek() {
            let rest = &self.text[self.position..];
            let escaped = ["\\/", "\\\\", "$$"].into_iter();
            if let Some(pair) = { escaped }.find(|pair| rest.starts_with(pair)) {
                text.push_str(&pair[1..]);
                self.position += pair.len();
            } else if letter == end || rest.starts_with("${") {
                break;
            } else {
                text.push(letter);
                self.position += letter.len_utf8();
            }
        }
        if text.is_empty() {
            return Err(Error::BadArgument);
        }
        Ok(Argument::Text(text))
    }

    fn default(
        &mut self,
        operator: &str,
        arguments: &mut Vec<Argument>,
        depth: usize,
    ) -> Result<String, Error> {
        self.skip(operator);
        while self.peek() != Some('}') {
            arguments.push(self.argument(|letter| letter != '}', depth)?);
        }
        Ok(operator.to_owned())
    }

    fn part(&mut self, arguments: &mut Vec<Argument>, depth: usize) -> Result<String, Error> {
        self.skip(":");
        arguments.push(self.argument(|letter| !matches!(letter, ':' | '}'), depth)?);
        if !self.take(|letter| letter == ':').is_empty() {
            arguments.push(self.argument(|letter| letter != '}', depth)?);
        }
        Ok(":".to_owned())
    }

    fn replacement(
        &mut self,
        arguments: &mut Vec<Argument>,
        depth: usize,
    ) -> Result<String, Error> {
        self.skip("/");
        let mut operator = "/".to_owned();
        operator.extend(
            self.peek()
                .filter(|letter| matches!(letter, '/' | '#' | '%')),
        );
        self.position += operator.len() - 1;
        arguments.push(match self.peek() {
            Some('/') => Argument::Text(String::new()),
            _ => self.escaped_argument('/', depth)?,
        });
        if self.take(|letter| letter == '/').is_empty() {
            return Err(Error::BadArgument);
        }
        if self.peek() != Some('}') {
            arguments.push(self.escaped_argument('}', depth)?);
        }
        Ok(operator)
    }
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
