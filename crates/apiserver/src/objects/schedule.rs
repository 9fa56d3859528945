//! When CronJobs run: what is wrong with a schedule in the format of cron, or with a time zone.

const DESCRIPTORS: &[&str] = &[
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];
/// The fields of a schedule: the least and the greatest number, and names for numbers.
const FIELDS: &[(u32, u32, &[&str])] = &[
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (
        1,
        12,
        &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    ),
    (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// What is wrong with a schedule, if anything.
pub fn problem(schedule: &str) -> Option<String> {
    if schedule.contains("TZ") {
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        return Some(why.to_owned());
    }
    if schedule.starts_with('@') {
        let known = DESCRIPTORS.contains(&schedule)
            || schedule.strip_prefix("@every ").is_some_and(is_duration);
        return (!known).then(|| format!("unrecognized descriptor: {schedule}"));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Some(format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        ));
    }
    let mut parts = fields
        .iter()
        .zip(FIELDS)
        .flat_map(|(field, bounds)| field.split(',').map(move |part| (part, bounds)));
    parts.find_map(|(part, (least, most, names))| part_problem(part, *least, *most, names))
}

/// What is wrong with `*`, `2`, `2-4`, `*/5` or `2-10/2`.
fn part_problem(part: &str, least: u32, most: u32, names: &[&str]) -> Option<String> {
    let number = |text: &str| -> Option<u32> {
        let named = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text));
        match named.and_then(|position| u32::try_from(position).ok()) {
            Some(position) => Some(position + least),
            None => text.parse().ok(),
        }
    };
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    if step.is_some_and(|step| step.parse::<u32>().is_ok_and(|step| step == 0)) {
        return Some(format!("step of range should be a positive number: {part}"));
    }
    if step.is_some_and(|step| step.parse::<u32>().is_err()) {
        return Some(format!("failed to parse int from {part}"));
    }
    if matches!(range, "*" | "?") {
        return None;
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (Some(first), Some(last)) = (number(first), number(last)) else {
        return Some(format!("failed to parse int from {part}"));
    };
    if first < least {
        Some(format!(
            "beginning of range ({first}) below minimum ({least}): {part}"
        ))
    } else if last > most {
        Some(format!(
            "end of range ({last}) above maximum ({most}): {part}"
        ))
    } else if first > last {
        Some(format!(
            "beginning of range ({first}) beyond end of range ({last}): {part}"
        ))
    } else {
        None
    }
}

/// Whether a text is a duration such as `1h30m`.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        let unit = ["ms", "us", "ns", "h", "m", "s"]
            .into_iter()
            .find(|unit| rest[number..].starts_with(unit));
        let Some(unit) = unit.filter(|_| rest[..number].parse::<f64>().is_ok()) else {
            return false;
        };
        rest = &rest[number + unit.len()..];
    }
    !text.is_empty()
}

/// What is wrong with the name of a time zone, if anything. Where the machine knows no zones, every
/// name will do.
pub fn zone_problem(zone: &str) -> Option<String> {
    if zone.is_empty() {
        return Some("timeZone must be nil or non-empty string".to_owned());
    }
    if zone.eq_ignore_ascii_case("Local") {
        let why = "timeZone must be an explicit time zone as defined in \
                   https://www.iana.org/time-zones";
        return Some(why.to_owned());
    }
    let zones = jiff::tz::db();
    let unknown = !zones.is_definitively_empty() && zones.get(zone).is_err();
    unknown.then(|| format!("unknown time zone {zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_those_of_cron() {
        for (schedule, good) in [
            ("*/5 * * * *", true),
            ("0 0 1,15 * mon-fri", true),
            ("0 4-20/2 * JAN ?", true),
            ("@daily", true),
            ("@every 1h30m", true),
            ("daily", false),
            ("* * * *", false),
            ("@sometimes", false),
            ("@every day", false),
            ("60 * * * *", false),
            ("* * 0 * *", false),
            ("* * * * 7", false),
            ("5-1 * * * *", false),
            ("*/0 * * * *", false),
            ("x * * * *", false),
            ("TZ=UTC 0 0 * * *", false),
        ] {
            assert_eq!(
                problem(schedule).is_none(),
                good,
                "{schedule}: {:?}",
                problem(schedule)
            );
        }
    }

    #[test]
    fn a_time_zone_has_a_name() {
        assert!(zone_problem("").is_some());
        assert!(zone_problem("local").is_some());
        assert!(zone_problem("UTC").is_none());
    }
}
