//! What can be done to the value of a variable.

use super::super::glob;

/// Whether replacing each occurrence of a text makes one that is longer than that.
pub(super) fn grows_beyond(
    bytes: usize,
    operator: &str,
    value: &str,
    arguments: &[String],
) -> bool {
    let [first, second] = arguments else {
        return false;
    };
    operator == "//" && value.matches(&**first).count().saturating_mul(second.len()) > bytes
}

/// What the operator makes of the value.
pub(super) fn apply(operator: &str, value: &str, arguments: &[String]) -> String {
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
