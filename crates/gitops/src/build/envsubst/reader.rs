//! The syntax of variables.

use super::Error;

/// Variables in the defaults of variables.
const MAX_DEPTH: usize = 50;

/// A part of a text.
pub(super) enum Piece<'text> {
    /// What is to be taken as it is.
    Text(&'text str),
    /// A variable.
    Expansion {
        /// What is to become of it.
        expansion: Expansion,
        /// How it was written.
        source: &'text str,
    },
}

/// What stands between `${` and `}`.
#[derive(Debug)]
pub(super) struct Expansion {
    pub(super) name: String,
    pub(super) operator: String,
    pub(super) arguments: Vec<Argument>,
}

#[derive(Debug)]
pub(super) enum Argument {
    Text(String),
    Expansion(Expansion),
}

/// Reads a text piece by piece.
pub(super) struct Reader<'text> {
    text: &'text str,
    position: usize,
}

impl<'text> Iterator for Reader<'text> {
    type Item = Result<Piece<'text>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.position;
        let letter = self.peek()?;
        if self.skip("$$") {
            return Some(Ok(Piece::Text("$")));
        }
        if self.skip("${") {
            let expansion = self.expansion(0);
            return Some(expansion.map(|expansion| Piece::Expansion {
                expansion,
                source: &self.text[start..self.position],
            }));
        }
        self.position += letter.len_utf8();
        self.take(|letter| letter != '$');
        Some(Ok(Piece::Text(&self.text[start..self.position])))
    }
}

impl<'text> Reader<'text> {
    pub(super) fn new(text: &'text str) -> Self {
        Self { text, position: 0 }
    }

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
    fn take(&mut self, accept: impl Fn(char) -> bool) -> &'text str {
        let rest = &self.text[self.position..];
        let end = rest.find(|letter| !accept(letter)).unwrap_or(rest.len());
        self.position += end;
        &rest[..end]
    }

    fn name(&mut self) -> Result<String, Error> {
        let name = self.take(|letter| letter.is_alphanumeric() || letter == '_');
        if name.is_empty() {
            return Err(Error::NoName);
        }
        Ok(name.to_owned())
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
