//! Whom a piece of knowledge is meant for, as files say it.

use crate::domain::Scope;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// The scope of four fields: the first moment, the first moment no more, audiences, channels. Lists are separated by `;` or
/// `|`; an empty field limits nothing.
///
/// # Errors
/// What is wrong, and what is expected.
pub(super) fn read_scope([from, until, audiences, channels]: [&str; 4]) -> Result<Scope, String> {
    let names = |list: &str| {
        let mut names: Vec<String> = Vec::new();
        for name in list
            .split([';', '|', '；'])
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            if !names.iter().any(|other| other == name) {
                names.push(name.to_owned());
            }
        }
        names
    };
    let scope = Scope {
        effective_from: moment("effective_from", from)?,
        expires_at: moment("expires_at", until)?,
        audiences: names(audiences),
        channels: names(channels),
    };
    match scope.fault() {
        None => Ok(scope),
        Some(fault) => Err(fault),
    }
}

/// A moment by date and time, or the beginning of a day where this machine is.
fn moment(field: &str, text: &str) -> Result<Option<Timestamp>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(Some(moment));
    }
    let day = text
        .parse::<Date>()
        .ok()
        .filter(|_| text.len() == "2026-12-01".len())
        .and_then(|day| day.to_zoned(TimeZone::system()).ok());
    day.map(|day| Some(day.timestamp())).ok_or_else(|| {
        format!("{field} \"{text}\" is neither a date such as 2026-12-01 nor a time such as 2026-12-01T08:00:00+08:00")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_begin_where_the_machine_is() {
        let scope = read_scope(["2026-12-01", " 2027-01-01T08:00:00+08:00 ", "", ";|"]).unwrap();
        let day = scope.effective_from.unwrap().to_zoned(TimeZone::system());
        assert_eq!(day.strftime("%Y-%m-%d %H:%M").to_string(), "2026-12-01 00:00");
        assert_eq!(scope.expires_at, Some("2027-01-01T00:00:00Z".parse().unwrap()));
        assert!(scope.audiences.is_empty() && scope.channels.is_empty());
        for wrong in ["2026-13-01", "tomorrow", "20261201", "2026-12-01 08:00", "12/01/2026"] {
            assert!(read_scope([wrong, "", "", ""]).is_err(), "{wrong}");
        }
        let long = "x".repeat(101);
        assert!(read_scope(["", "", &long, ""]).is_err());
        assert!(
            read_scope([
                "",
                "",
                "",
                &(0..33).map(|n| n.to_string()).collect::<Vec<_>>().join(";")
            ])
            .is_err()
        );
    }
}
