//! Label selectors: `a=b,c in (d,e),!f`.

use serde_json::Value;

use crate::status::Status;

/// All requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Symbol(symbol) => symbol,
            Self::End => "",
        }
    }
}

impl LabelSelector {
    /// Reads a selector; an empty text selects everything.
    ///
    /// # Errors
    /// 400 with what was found and what was expected.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let mut parser = Parser {
            tokens: tokens(text),
            position: 0,
        };
        let mut requirements = Vec::new();
        if parser.peek() == &Token::End {
            return Ok(Self::default());
        }
        loop {
            requirements.push(parser.requirement()?);
            match parser.next() {
                Token::End => return Ok(Self(requirements)),
                Token::Symbol(",") => {}
                other => {
                    return Err(Status::bad_request(format!(
                        "found '{}', expected: ',' or 'end of string'",
                        other.text()
                    )));
                }
            }
        }
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these labels are selected.
    pub fn matches(&self, labels: &Value) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &Value) -> bool {
        let label = labels.get(&self.key).and_then(Value::as_str);
        let among = || label.is_some_and(|label| self.values.iter().any(|value| value == label));
        let compare = |holds: fn(&i64, &i64) -> bool| {
            let label = label.and_then(|label| label.parse().ok());
            let value = self.values.first().and_then(|value| value.parse().ok());
            label
                .zip(value)
                .is_some_and(|(label, value)| holds(&label, &value))
        };
        match self.operator {
            Operator::In => among(),
            Operator::NotIn => !among(),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => compare(i64::gt),
            Operator::LessThan => compare(i64::lt),
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.position).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, Status> {
        let absent = self.peek() == &Token::Symbol("!");
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(unexpected(&other, "!, identifier, or 'end of string'")),
        };
        let problems = crate::objects::key_problems(&key);
        if let Some(problem) = problems.first() {
            return Err(Status::bad_request(format!(
                "unable to parse requirement: <nil>: Invalid value: {key:?}: {problem}"
            )));
        }
        let plain = |operator| Requirement {
            key: key.clone(),
            operator,
            values: Vec::new(),
        };
        if absent {
            return Ok(plain(Operator::DoesNotExist));
        }
        let operator = match self.peek() {
            Token::End | Token::Symbol(",") => return Ok(plain(Operator::Exists)),
            Token::Symbol("=" | "==") => Operator::In,
            Token::Symbol("!=") => Operator::NotIn,
            Token::Symbol(">") => Operator::GreaterThan,
            Token::Symbol("<") => Operator::LessThan,
            Token::Word(word) if word == "in" => {
                self.next();
                let values = self.values()?;
                return Ok(Requirement {
                    key,
                    operator: Operator::In,
                    values,
                });
            }
            Token::Word(word) if word == "notin" => {
                self.next();
                let values = self.values()?;
                return Ok(Requirement {
                    key,
                    operator: Operator::NotIn,
                    values,
                });
            }
            other => return Err(unexpected(other, "in, notin, =, ==, !=, gt, lt")),
        };
        self.next();
        let value = match self.peek().clone() {
            Token::Word(value) => {
                self.next();
                value
            }
            Token::End | Token::Symbol(",") => String::new(),
            other => return Err(unexpected(&other, "identifier")),
        };
        check_value(&key, &value)?;
        if matches!(operator, Operator::GreaterThan | Operator::LessThan)
            && value.parse::<i64>().is_err()
        {
            return Err(Status::bad_request(format!(
                "unable to parse requirement: values[0][{key}]: Invalid value: {value:?}: for \
                 'Gt', 'Lt' operators, the value must be an integer"
            )));
        }
        Ok(Requirement {
            key,
            operator,
            values: vec![value],
        })
    }

    fn values(&mut self) -> Result<Vec<String>, Status> {
        match self.next() {
            Token::Symbol("(") => {}
            other => {
                return Err(Status::bad_request(format!(
                    "unable to parse requirement: found '{}' expected: '('",
                    other.text()
                )));
            }
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                Token::Word(value) => {
                    check_value("", &value)?;
                    values.push(value);
                    match self.next() {
                        Token::Symbol(",") => {}
                        Token::Symbol(")") => return Ok(values),
                        other => return Err(unexpected(&other, "',' or ')'")),
                    }
                }
                // Nothing between two separators is the empty value.
                Token::Symbol(",") => values.push(String::new()),
                Token::Symbol(")") => {
                    values.push(String::new());
                    return Ok(values);
                }
                other => return Err(unexpected(&other, "',', ')' or identifier")),
            }
        }
    }
}

fn check_value(key: &str, value: &str) -> Result<(), Status> {
    match crate::objects::value_problems(value).first() {
        None => Ok(()),
        Some(problem) => Err(Status::bad_request(format!(
            "unable to parse requirement: values[0][{key}]: Invalid value: {value:?}: {problem}"
        ))),
    }
}

fn unexpected(found: &Token, expected: &str) -> Status {
    Status::bad_request(format!(
        "unable to parse requirement: found '{}', expected: {expected}",
        found.text()
    ))
}

fn tokens(text: &str) -> Vec<Token> {
    const SYMBOLS: &[&str] = &["==", "!=", "=", "!", "<", ">", ",", "(", ")"];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let special = |c: char| c.is_whitespace() || "=!<>,()".contains(c);
            let end = rest.find(special).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_select_as_documented() {
        let x = json!({"app": "x", "tier": "1"});
        for (selector, selected) in [
            ("", true),
            ("app=x", true),
            ("app==x,tier=1", true),
            ("app!=x", false),
            ("none!=x", true),
            ("app in (x, y)", true),
            ("app notin (x)", false),
            ("tier", true),
            ("!tier", false),
            ("!none", true),
            ("tier>0", true),
            ("tier<1", false),
            ("app=", false),
        ] {
            assert_eq!(
                LabelSelector::parse(selector).unwrap().matches(&x),
                selected,
                "{selector}"
            );
        }
    }

    #[test]
    fn what_does_not_parse_is_an_error() {
        for selector in [
            "a in",
            "bad key=1",
            "a=b=c",
            "a=bad value!",
            "=",
            "a in (b",
            "a,,b",
        ] {
            assert!(LabelSelector::parse(selector).is_err(), "{selector}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            let _ = LabelSelector::parse(&text);
        }
    }
}
