//! Numbers as a spreadsheet shows them: a share as 12.50%, a day as 2024-03-01 and not as 45352.
//!
//! Source: ECMA-376 part 1, 18.8.30 (format codes) and 18.17.4 (dates).

use jiff::civil::{Date, DateTime, date};
use std::fmt::Write;

/// The last day of year 9999, the last one that Excel knows.
const MAX_SERIAL: f64 = 2_958_466.0;
/// Digits behind the point at most.
const MAX_DECIMALS: usize = 30;

/// The format code of a number that every file may use without declaring it. Where it depends on the country, the
/// form that cannot be mistaken.
pub(super) fn built_in(id: u32) -> &'static str {
    match id {
        1 => "0",
        2 => "0.00",
        3 | 37 | 38 | 41 | 42 => "#,##0",
        4 | 39 | 40 | 43 | 44 => "#,##0.00",
        9 => "0%",
        10 => "0.00%",
        11 => "0.00E+00",
        14 | 30 => "yyyy-mm-dd",
        15 => "d-mmm-yy",
        16 => "d-mmm",
        17 => "mmm-yy",
        18 => "h:mm AM/PM",
        19 => "h:mm:ss AM/PM",
        20 => "h:mm",
        21 => "h:mm:ss",
        22 => "yyyy-mm-dd h:mm",
        27 | 36 | 50 | 52 | 57 => "yyyy\"年\"m\"月\"",
        28 | 29 | 51 | 53 | 54 | 58 => "m\"月\"d\"日\"",
        31 => "yyyy\"年\"m\"月\"d\"日\"",
        32 => "h\"时\"mm\"分\"",
        33 => "h\"时\"mm\"分\"ss\"秒\"",
        34 | 55 => "AM/PMh\"时\"mm\"分\"",
        35 | 56 => "AM/PMh\"时\"mm\"分\"ss\"秒\"",
        45 => "mm:ss",
        46 => "[h]:mm:ss",
        47 => "mm:ss.0",
        _ => "General",
    }
}

/// One thing that a code says.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Literal(String),
    /// A letter of a date or time and how often it stands there, in lower case.
    Date(char, usize),
    /// Hours, minutes or seconds counted on beyond a day, an hour, a minute.
    Elapsed(char),
    HalfDay,
    Zero,
    Optional,
    Point,
    Comma,
    Percent,
    Exponent,
    Slash,
    Text,
    General,
}

/// `value` as the code shows it. `from_1904`: the file counts days from 1904 on.
pub(super) fn show(value: f64, code: &str, from_1904: bool) -> String {
    let sections = sections(code);
    let (section, value) = match sections.len() {
        0 => return general(value),
        2.. if value < 0.0 => (&sections[1], -value),
        3.. if value == 0.0 => (&sections[2], value),
        _ => (&sections[0], value),
    };
    let is_date = |token: &Token| matches!(token, Token::Date(..) | Token::Elapsed(_) | Token::HalfDay);
    let shown = if section.iter().any(is_date) {
        show_date(value, section, from_1904)
    } else {
        show_number(value, section)
    };
    shown.trim().to_owned()
}

/// A number without a format.
pub(super) fn general(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value:.0}");
    }
    // Excel keeps 15 digits; one less takes away what binary fractions add.
    let magnitude = value.abs().log10().floor();
    if !(-9.0..15.0).contains(&magnitude) {
        return format!("{value:.5e}").replace('e', "E");
    }
    let decimals = (13.0 - magnitude).clamp(0.0, 12.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn sections(code: &str) -> Vec<Vec<Token>> {
    let mut sections = vec![Vec::new()];
    let mut rest = code.chars().peekable();
    while let Some(c) = rest.next() {
        if c == ';' {
            sections.push(Vec::new());
            continue;
        }
        let Some(section) = sections.last_mut() else { break };
        let mut literal = |text: String| match section.last_mut() {
            Some(Token::Literal(last)) => last.push_str(&text),
            _ => section.push(Token::Literal(text)),
        };
        let lower = c.to_ascii_lowercase();
        match lower {
            '"' => literal(rest.by_ref().take_while(|c| *c != '"').collect()),
            '\\' => literal(rest.next().map(String::from).unwrap_or_default()),
            // The width of a character, and a filler.
            '_' | '*' => {
                rest.next();
            }
            '[' => {
                let inner: String = rest.by_ref().take_while(|c| *c != ']').collect();
                if let Some(currency) = inner.strip_prefix('$') {
                    literal(currency.split('-').next().unwrap_or_default().to_owned());
                } else if let Some(first) = inner.chars().next().map(|c| c.to_ascii_lowercase())
                    && "hms".contains(first)
                    && inner.chars().all(|c| c.to_ascii_lowercase() == first)
                {
                    section.push(Token::Elapsed(first));
                }
            }
            'g' if rest.clone().take(6).collect::<String>().eq_ignore_ascii_case("eneral") => {
                rest.nth(5);
                section.push(Token::General);
            }
            // As the Chinese program writes it.
            'g' if rest.clone().take(5).collect::<String>() == "/通用格式" => {
                rest.nth(4);
                section.push(Token::General);
            }
            'a' if rest.clone().take(4).collect::<String>().eq_ignore_ascii_case("m/pm") => {
                rest.nth(3);
                section.push(Token::HalfDay);
            }
            '上' if rest.clone().take(4).collect::<String>() == "午/下午" => {
                rest.nth(3);
                section.push(Token::HalfDay);
            }
            'e' if matches!(rest.peek(), Some('+' | '-')) => {
                rest.next();
                section.push(Token::Exponent);
            }
            'y' | 'm' | 'd' | 'h' | 's' | 'a' | 'e' => {
                let mut count = 1;
                while rest.peek().is_some_and(|next| next.to_ascii_lowercase() == lower) {
                    rest.next();
                    count += 1;
                }
                section.push(Token::Date(if lower == 'e' { 'y' } else { lower }, count));
            }
            '0' => section.push(Token::Zero),
            '#' | '?' => section.push(Token::Optional),
            '.' => section.push(Token::Point),
            ',' => section.push(Token::Comma),
            '%' => section.push(Token::Percent),
            '/' => section.push(Token::Slash),
            '@' => section.push(Token::Text),
            _ => literal(c.to_string()),
        }
    }
    if code.trim().is_empty() { Vec::new() } else { sections }
}

fn show_number(value: f64, section: &[Token]) -> String {
    let is_digit = |token: &Token| matches!(token, Token::Zero | Token::Optional);
    let has = |wanted: &Token| section.contains(wanted);
    let fraction = has(&Token::Slash) && section.iter().any(is_digit);
    let scaled = value * 100_f64.powi(section.iter().filter(|token| **token == Token::Percent).count().min(2) as i32);
    let mut shown = String::new();
    if value < 0.0 {
        shown.push('-');
    }
    let mut done = false;
    let exponent_at = section.iter().position(|token| *token == Token::Exponent);
    for (at, token) in section.iter().enumerate() {
        match token {
            Token::Literal(text) => shown.push_str(text),
            Token::Percent => shown.push('%'),
            Token::Slash if !fraction => shown.push('/'),
            Token::General | Token::Text if !done => {
                shown.push_str(&general(value.abs()));
                done = true;
            }
            Token::Zero | Token::Optional | Token::Point if !done => {
                done = true;
                if fraction {
                    shown.push_str(&general(value.abs()));
                } else {
                    let end = exponent_at.unwrap_or(section.len());
                    shown.push_str(&digits(
                        scaled.abs(),
                        section.get(at..end).unwrap_or_default(),
                        exponent_at.is_some(),
                    ));
                }
            }
            _ => {}
        }
    }
    shown
}

/// The digits of a number by the places that a code gives them.
fn digits(value: f64, places: &[Token], scientific: bool) -> String {
    let point = places
        .iter()
        .position(|token| *token == Token::Point)
        .unwrap_or(places.len());
    let (whole, behind) = places.split_at(point);
    let is_digit = |token: &&Token| matches!(token, Token::Zero | Token::Optional);
    let zeros = |tokens: &[Token]| tokens.iter().filter(|token| **token == Token::Zero).count();
    let decimals = behind.iter().filter(is_digit).count().min(MAX_DECIMALS);
    if scientific {
        let text = format!("{value:.decimals$e}");
        return match text.split_once('e') {
            Some((number, power)) if power.starts_with('-') => format!("{number}E-{:0>2}", &power[1..]),
            Some((number, power)) => format!("{number}E+{power:0>2}"),
            None => text,
        };
    }
    let last_digit = whole.iter().rposition(|token| is_digit(&token)).unwrap_or(0);
    let first_digit = whole.iter().position(|token| is_digit(&token)).unwrap_or(0);
    let thousands = whole
        .get(first_digit..last_digit)
        .is_some_and(|between| between.contains(&Token::Comma));
    let scale = places
        .iter()
        .rev()
        .skip_while(|token| matches!(token, Token::Literal(_) | Token::Percent));
    let scale = scale.take_while(|token| **token == Token::Comma).count().min(4);
    let text = format!("{:.decimals$}", value / 1000_f64.powi(scale as i32));
    let (integer, mut fraction) = match text.split_once('.') {
        Some((integer, fraction)) => (integer.to_owned(), fraction.to_owned()),
        None => (text, String::new()),
    };
    while fraction.len() > zeros(behind) && fraction.ends_with('0') {
        fraction.pop();
    }
    let mut integer = if integer == "0" && zeros(whole) == 0 && !fraction.is_empty() {
        String::new()
    } else {
        format!("{integer:0>width$}", width = zeros(whole).min(MAX_DECIMALS))
    };
    if thousands {
        let digits: Vec<char> = integer.chars().collect();
        integer = String::new();
        for (at, digit) in digits.iter().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                integer.push(',');
            }
            integer.push(*digit);
        }
    }
    if fraction.is_empty() {
        integer
    } else {
        format!("{integer}.{fraction}")
    }
}

/// The day and time of a serial number; `None` before the first and after the last day.
fn moment(serial: f64, from_1904: bool) -> Option<DateTime> {
    if !(0.0..MAX_SERIAL).contains(&serial) {
        return None;
    }
    let mut days = serial.floor();
    let mut seconds = ((serial - days) * 86_400.0).round();
    if seconds >= 86_400.0 {
        days += 1.0;
        seconds = 0.0;
    }
    let epoch: Date = if from_1904 {
        date(1904, 1, 1)
    } else if days < 60.0 {
        // Excel holds 1900 to have been a leap year.
        date(1899, 12, 31)
    } else {
        date(1899, 12, 30)
    };
    let day = epoch.checked_add(jiff::Span::new().days(days as i64)).ok()?;
    day.at(0, 0, 0, 0)
        .checked_add(jiff::Span::new().seconds(seconds as i64))
        .ok()
}

fn show_date(value: f64, section: &[Token], from_1904: bool) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = [
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ];
    let Some(at) = moment(value, from_1904) else {
        return general(value);
    };
    let half_days = section.contains(&Token::HalfDay);
    let mut shown = String::new();
    // The "m" of minutes stands behind hours or before seconds.
    let mut after_hours = false;
    for (number, token) in section.iter().enumerate() {
        match token {
            Token::Literal(text) => shown.push_str(text),
            Token::Date(letter, count) => {
                let next = section[number + 1..]
                    .iter()
                    .find(|token| matches!(token, Token::Date(..)));
                let minutes = *letter == 'm' && (after_hours || matches!(next, Some(Token::Date('s', _))));
                after_hours = *letter == 'h';
                let padded = |value: i64| {
                    if *count > 1 {
                        format!("{value:02}")
                    } else {
                        value.to_string()
                    }
                };
                let hour = match i64::from(at.hour()) {
                    hour if !half_days => hour,
                    hour => (hour + 11) % 12 + 1,
                };
                let month = MONTHS[(at.month() - 1) as usize];
                let day = DAYS[(at.weekday().to_monday_zero_offset()) as usize];
                let part = match (letter, count) {
                    ('y', 1 | 2) => format!("{:02}", at.year() % 100),
                    ('y', _) => at.year().to_string(),
                    ('m', _) if minutes => padded(i64::from(at.minute())),
                    ('m', 3) => month[..3].to_owned(),
                    ('m', 4..) => month.to_owned(),
                    ('m', _) => padded(i64::from(at.month())),
                    ('d', 3) => day[..3].to_owned(),
                    ('d', 4..) => day.to_owned(),
                    ('d', _) => padded(i64::from(at.day())),
                    ('a', _) => {
                        let names = ["一", "二", "三", "四", "五", "六", "日"];
                        let name = names[at.weekday().to_monday_zero_offset() as usize];
                        if *count >= 4 {
                            format!("星期{name}")
                        } else {
                            name.to_owned()
                        }
                    }
                    ('h', _) => padded(hour),
                    _ => padded(i64::from(at.second())),
                };
                shown.push_str(&part);
            }
            Token::Elapsed(letter) => {
                let unit = match letter {
                    'h' => 24.0,
                    'm' => 1440.0,
                    _ => 86_400.0,
                };
                after_hours = *letter == 'h';
                let _ = write!(shown, "{:.0}", (value * unit + 1e-6).floor());
            }
            Token::HalfDay => shown.push_str(if at.hour() < 12 { "AM" } else { "PM" }),
            Token::Slash => shown.push('/'),
            Token::Comma => shown.push(','),
            Token::Point if !matches!(section.get(number + 1), Some(Token::Zero)) => shown.push('.'),
            _ => {}
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_in_the_sheet() {
        for (value, code, want) in [
            (0.125, "0.00%", "12.50%"),
            (1_234_567.891, "#,##0.00", "1,234,567.89"),
            (-1234.5, "#,##0.00;[Red](#,##0.00)", "(1,234.50)"),
            (-3.0, "0.0", "-3.0"),
            (0.5, "#.##", ".5"),
            (12.0, "0.##", "12"),
            (7.0, "000", "007"),
            (1200.0, "[$¥-804]#,##0.00", "¥1,200.00"),
            (88.0, "\"¥\"0_)", "¥88"),
            (3.0, "0\"个工作日\"", "3个工作日"),
            (12_345_678.0, "0.0,,\" M\"", "12.3 M"),
            (123_456.0, "0.00E+00", "1.23E+05"),
            (0.1 + 0.2, "General", "0.3"),
            (6_222_021_234_567.0, "General", "6222021234567"),
            (0.0, "0;-0;\"-\"", "-"),
            (42.0, "@", "42"),
            (1.0, "", "1"),
            (1.5, "G/通用格式\"万\"", "1.5万"),
        ] {
            assert_eq!(show(value, code, false), want, "{value} {code}");
        }
    }

    #[test]
    fn days_look_as_in_the_sheet() {
        for (value, code, want) in [
            (45352.0, "yyyy-mm-dd", "2024-03-01"),
            (45352.0, built_in(14), "2024-03-01"),
            (45352.0, built_in(31), "2024年3月1日"),
            (45352.0, "[$-804]yyyy\"年\"m\"月\"d\"日\";@", "2024年3月1日"),
            (45352.0, "d-mmm-yy", "1-Mar-24"),
            (45352.75, "yyyy/m/d h:mm", "2024/3/1 18:00"),
            (45352.75, "h:mm AM/PM", "6:00 PM"),
            (1.5, "[h]:mm:ss", "36:00:00"),
            (1.0, "yyyy-mm-dd", "1900-01-01"),
            (45352.0, "aaaa", "星期五"),
        ] {
            assert_eq!(show(value, code, false), want, "{value} {code}");
        }
        assert_eq!(show(43890.0, "yyyy-mm-dd", true), "2024-03-01");
        assert_eq!(show(-5.0, "yyyy-mm-dd", false), "-5");
        assert_eq!(show(1e300, "yyyy-mm-dd", false), general(1e300));
    }
}
