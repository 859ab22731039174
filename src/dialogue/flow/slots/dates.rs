//! Days as people name them, relative to a given day: 后天, 下周三, 12月3号, 月底, next Tuesday, Dec 3.

use super::numerals;
use jiff::civil::{Date, Weekday};
use jiff::{Span, ToSpan};
use regex::{Captures, Regex};
use std::ops::Range;
use std::sync::LazyLock;

/// Where a day without a year or month may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It is to come, as an appointment is.
    Future,
    /// It is over, as a payment that was made.
    Past,
}

/// A day that was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) place: Range<usize>,
    /// `None` where the words name a day that is not computed (a holiday of the moon calendar, 周末).
    pub(super) date: Option<Date>,
}

type Rule = fn(&Captures<'_>, Date, Direction) -> Option<Date>;

/// Days further back than this are taken for those of the next year.
const STALE_DAYS: i32 = 90;

struct Pattern {
    regex: Regex,
    rule: Rule,
}

static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let n = r"[0-9]{1,3}|[一二两三四五六七八九十廿卅]{1,3}";
    let day = r"[0-9]{1,2}|[一二三四五六七八九十廿卅]{1,3}";
    let week = r"一|二|三|四|五|六|日|天|[1-7]";
    let month = "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?";
    let weekday =
        "mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:r(?:s(?:day)?)?)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?";
    let rules: Vec<(String, Rule)> = vec![
        // The longer ones stand before those that are part of them.
        (r"(?P<y>[0-9]{4}|[二零〇一三四五六七八九]{4})年(?P<m>[0-9]{1,2}|[一二三四五六七八九十]{1,2})月(?P<d>DAY)[日号]?".replace("DAY", day), full),
        (r"(?-u:\b)(?P<y>20[0-9]{2})[-/.](?P<m>[0-9]{1,2})[-/.](?P<d>[0-9]{1,2})(?-u:\b)".to_owned(), full),
        (r"(?P<which>下下个?|下个?|这个?|本|上个?)月(?P<d>DAY)[日号]".replace("DAY", day), of_month),
        (r"(?P<which>下下个?|下个?|这个?|本|上个?)?月(?:底|末)".to_owned(), month_end),
        (r"(?P<which>明年|今年|去年)?(?P<m>[0-9]{1,2}|[一二三四五六七八九十]{1,2})月(?:份)?(?P<d>DAY)[日号]?".replace("DAY", day), month_day),
        (r"(?P<which>下下个?|下个?|这个?|本|上个?)?(?:周|星期|礼拜)(?P<w>WEEK)".replace("WEEK", week), week_day),
        (r"(?P<n>N)个?(?P<u>天|日|周|星期|礼拜|月)(?:之|以)?后".replace('N', n), after),
        (r"过(?P<n>N)个?(?P<u>天|周|星期|礼拜|月)".replace('N', n), after),
        (r"半个月(?:之|以)?后".to_owned(), half_month),
        (r"(?P<n>N)个?(?P<u>天|日|周|星期|礼拜|月)(?:之|以)?前".replace('N', n), before),
        (r"大后天|大前天|后天|前天|明天|明日|明早|明晚|昨天|昨日|今天|今日|今晚|今早|当天".to_owned(), near),
        (r"(?P<which>明年|今年|去年)?(?:元旦|五一|劳动节|国庆节?|十一假期|圣诞节?|年底)".to_owned(), feast),
        (r"(?:大年|农历|阴历|正月|腊月)[一二三四五六七八九十廿]{0,3}|除夕|春节|中秋节?|端午节?|清明节?|元宵节?|过年|周末|月初|月中|年初|节后|weekend".to_owned(), unknown),
        (r"(?-u:\b)(?P<d>[0-9]{1,2})(?:st|nd|rd|th)?(?: of)? (?P<mon>MONTH)\.?(?:,? (?P<y>20[0-9]{2}))?(?-u:\b)".replace("MONTH", month), english_date),
        (r"(?-u:\b)(?P<mon>MONTH)\.? (?:the )?(?P<d>[0-9]{1,2})(?:st|nd|rd|th)?(?:,? (?P<y>20[0-9]{2}))?(?-u:\b)".replace("MONTH", month), english_date),
        (r"(?-u:\b)(?:(?P<which>next|this|coming|last) )?(?P<w>WD)(?-u:\b)".replace("WD", weekday), english_weekday),
        (r"(?-u:\b)day after tomorrow(?-u:\b)|(?-u:\b)tomorrow(?-u:\b)|(?-u:\b)today(?-u:\b)|(?-u:\b)tonight(?-u:\b)|(?-u:\b)yesterday(?-u:\b)".to_owned(), english_near),
        (r"(?-u:\b)in (?P<n>[0-9]{1,3}|a|one|two|three|four|five|six|seven|ten) (?P<u>days?|weeks?|months?)(?-u:\b)".to_owned(), english_after),
        (r"(?-u:\b)(?P<n>[0-9]{1,3}|a|one|two|three|four|five|six|seven|ten) (?P<u>days?|weeks?|months?) from (?:now|today)(?-u:\b)".to_owned(), english_after),
        (r"(?-u:\b)end of (?:the|this) month(?-u:\b)".to_owned(), |_, now, _| Some(now.last_of_month())),
        (r"(?-u:\b)end of next month(?-u:\b)".to_owned(), |_, now, _| shift(now, 1.month()).map(Date::last_of_month)),
        (r"(?P<m>[0-9]{1,2})/(?P<d>[0-9]{1,2})".to_owned(), month_day),
        (r"(?P<d>DAY)[号日]".replace("DAY", day), day_alone),
        (r"(?-u:\b)the (?P<d>[0-9]{1,2})(?:st|nd|rd|th)(?-u:\b)".to_owned(), day_alone),
    ];
    rules
        .into_iter()
        .map(|(source, rule)| Pattern {
            regex: Regex::new(&source).expect("a fixed pattern"),
            rule,
        })
        .collect()
});

/// The days named in `text` (folded), in the order in which they stand there.
pub(super) fn all(text: &str, today: Date, direction: Direction) -> Vec<Named> {
    let mut found: Vec<Named> = Vec::new();
    for pattern in PATTERNS.iter() {
        for captures in pattern.regex.captures_iter(text) {
            let place = captures.get(0).map_or(0..0, |whole| whole.range());
            if found
                .iter()
                .any(|known| place.start < known.place.end && known.place.start < place.end)
                || part_of_word(text, &place)
            {
                continue;
            }
            found.push(Named {
                date: (pattern.rule)(&captures, today, direction),
                place,
            });
        }
    }
    found.sort_by_key(|named| named.place.start);
    found
}

/// Digits that go on beside it belong to something longer: a house number (128号), an order number.
fn part_of_word(text: &str, place: &Range<usize>) -> bool {
    let first = text[place.clone()].chars().next();
    let before = text[..place.start].chars().next_back();
    let after = text[place.end..].chars().next();
    let last = text[place.clone()].chars().next_back();
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let joined = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '/'));
    (digit(first) && (joined(before) || before.is_some_and(|c| matches!(c, '路' | '街' | '道' | '巷' | '弄' | '院' | '村')) || before == Some('第')))
        || (digit(last) && joined(after))
        // 5号楼 and 3号线 are no days.
        || (matches!(last, Some('号')) && after.is_some_and(|c| matches!(c, '楼' | '线' | '院' | '门' | '店' | '码' | '单' | '房' | '铺' | '栋')))
}

fn group<'t>(captures: &Captures<'t>, name: &str) -> Option<&'t str> {
    captures.name(name).map(|found| found.as_str())
}

fn number(captures: &Captures<'_>, name: &str) -> Option<i16> {
    let text = group(captures, name)?;
    if text == "a" {
        return Some(1);
    }
    let value = numerals::word(text).map_or_else(|| numerals::parse(text), |value| Some(f64::from(value)))?;
    (value.fract() == 0.0 && (0.0..10_000.0).contains(&value)).then_some(value as i16)
}

fn small(captures: &Captures<'_>, name: &str) -> Option<i8> {
    number(captures, name).and_then(|value| i8::try_from(value).ok())
}

fn shift(date: Date, by: Span) -> Option<Date> {
    date.checked_add(by).ok()
}

fn full(captures: &Captures<'_>, _: Date, _: Direction) -> Option<Date> {
    Date::new(number(captures, "y")?, small(captures, "m")?, small(captures, "d")?).ok()
}

/// Months from now that 下个, 上个 and the like mean.
fn offset(which: Option<&str>) -> i32 {
    match which.map(|which| which.trim_end_matches('个')) {
        Some("下下") => 2,
        Some("下") => 1,
        Some("上") => -1,
        _ => 0,
    }
}

fn of_month(captures: &Captures<'_>, now: Date, _: Direction) -> Option<Date> {
    let month = shift(now.first_of_month(), offset(group(captures, "which")).months())?;
    Date::new(month.year(), month.month(), small(captures, "d")?).ok()
}

fn month_end(captures: &Captures<'_>, now: Date, _: Direction) -> Option<Date> {
    shift(now.first_of_month(), offset(group(captures, "which")).months()).map(Date::last_of_month)
}

fn month_day(captures: &Captures<'_>, now: Date, direction: Direction) -> Option<Date> {
    let (month, day) = (small(captures, "m")?, small(captures, "d")?);
    let year = match group(captures, "which") {
        Some("明年") => return Date::new(now.year() + 1, month, day).ok(),
        Some("去年") => return Date::new(now.year() - 1, month, day).ok(),
        Some(_) => return Date::new(now.year(), month, day).ok(),
        None => now.year(),
    };
    of_year(year, month, day, now, direction)
}

/// A day of which the year was not said.
fn of_year(year: i16, month: i8, day: i8, now: Date, direction: Direction) -> Option<Date> {
    let date = Date::new(year, month, day).ok()?;
    let ahead = date.since(now).ok()?.get_days();
    match direction {
        Direction::Future if ahead < -STALE_DAYS => Date::new(year + 1, month, day).ok(),
        Direction::Past if ahead > 0 => Date::new(year - 1, month, day).ok(),
        _ => Some(date),
    }
}

fn weekday(text: &str) -> Option<i32> {
    Some(match text {
        "一" | "1" => 1,
        "二" | "2" => 2,
        "三" | "3" => 3,
        "四" | "4" => 4,
        "五" | "5" => 5,
        "六" | "6" => 6,
        "日" | "天" | "7" => 7,
        _ => match text.get(..3)? {
            "mon" => 1,
            "tue" => 2,
            "wed" => 3,
            "thu" => 4,
            "fri" => 5,
            "sat" => 6,
            "sun" => 7,
            _ => return None,
        },
    })
}

/// The day of the week of that number, so many weeks from this one. Weeks begin on Monday, as is usual in China.
fn in_week(now: Date, weeks: i32, day: i32) -> Option<Date> {
    let today = i32::from(now.weekday().to_monday_one_offset());
    shift(now, (weeks * 7 + day - today).days())
}

fn nearest(now: Date, day: i32, direction: Direction) -> Option<Date> {
    let today = i32::from(now.weekday().to_monday_one_offset());
    match direction {
        Direction::Future => in_week(now, i32::from(day < today), day),
        Direction::Past => in_week(now, -i32::from(day > today), day),
    }
}

fn week_day(captures: &Captures<'_>, now: Date, direction: Direction) -> Option<Date> {
    let day = weekday(group(captures, "w")?)?;
    match group(captures, "which") {
        None => nearest(now, day, direction),
        which => in_week(now, offset(which), day),
    }
}

fn english_weekday(captures: &Captures<'_>, now: Date, direction: Direction) -> Option<Date> {
    let day = weekday(group(captures, "w")?)?;
    match group(captures, "which") {
        Some("next") => in_week(now, 1, day),
        Some("last") => nearest(shift(now, (-1).days())?, day, Direction::Past),
        _ => nearest(now, day, direction),
    }
}

fn span(count: i16, unit: &str) -> Option<Span> {
    let count = i32::from(count);
    Some(match unit {
        "天" | "日" | "day" | "days" => count.days(),
        "周" | "星期" | "礼拜" | "week" | "weeks" => (count * 7).days(),
        "月" | "month" | "months" => count.months(),
        _ => return None,
    })
}

fn after(captures: &Captures<'_>, now: Date, _: Direction) -> Option<Date> {
    shift(now, span(number(captures, "n")?, group(captures, "u")?)?)
}

fn before(captures: &Captures<'_>, now: Date, _: Direction) -> Option<Date> {
    shift(now, span(-number(captures, "n")?, group(captures, "u")?)?)
}

fn english_after(captures: &Captures<'_>, now: Date, direction: Direction) -> Option<Date> {
    after(captures, now, direction)
}

fn half_month(_: &Captures<'_>, now: Date, _: Direction) -> Option<Date> {
    shift(now, 15.days())
}

fn near(captures: &Captures<'_>, now: Date, _: Direction) -> Option<Date> {
    let days = match captures.get(0)?.as_str() {
        "大后天" => 3,
        "后天" => 2,
        "明天" | "明日" | "明早" | "明晚" => 1,
        "昨天" | "昨日" => -1,
        "前天" => -2,
        "大前天" => -3,
        _ => 0,
    };
    shift(now, days.days())
}

fn english_near(captures: &Captures<'_>, now: Date, _: Direction) -> Option<Date> {
    let days = match captures.get(0)?.as_str() {
        "day after tomorrow" => 2,
        "tomorrow" => 1,
        "yesterday" => -1,
        _ => 0,
    };
    shift(now, days.days())
}

fn feast(captures: &Captures<'_>, now: Date, direction: Direction) -> Option<Date> {
    let text = captures.get(0)?.as_str();
    let (month, day) = match text.trim_start_matches(['明', '今', '去', '年']) {
        "元旦" => (1, 1),
        "五一" | "劳动节" => (5, 1),
        "国庆" | "国庆节" | "十一假期" => (10, 1),
        "圣诞" | "圣诞节" => (12, 25),
        _ => (12, 31),
    };
    match group(captures, "which") {
        Some("明年") => Date::new(now.year() + 1, month, day).ok(),
        Some("去年") => Date::new(now.year() - 1, month, day).ok(),
        Some(_) => Date::new(now.year(), month, day).ok(),
        None => {
            let date = Date::new(now.year(), month, day).ok()?;
            // The next one, or the one before: a feast that was last month is not meant.
            match direction {
                Direction::Future if date < now => Date::new(now.year() + 1, month, day).ok(),
                Direction::Past if date > now => Date::new(now.year() - 1, month, day).ok(),
                _ => Some(date),
            }
        }
    }
}

fn unknown(_: &Captures<'_>, _: Date, _: Direction) -> Option<Date> {
    None
}

fn english_date(captures: &Captures<'_>, now: Date, direction: Direction) -> Option<Date> {
    const MONTHS: [&str; 12] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let name = group(captures, "mon")?.get(..3)?;
    let month = i8::try_from(MONTHS.iter().position(|month| *month == name)? + 1).ok()?;
    let day = small(captures, "d")?;
    match group(captures, "y") {
        Some(year) => Date::new(year.parse().ok()?, month, day).ok(),
        None => of_year(now.year(), month, day, now, direction),
    }
}

fn day_alone(captures: &Captures<'_>, now: Date, direction: Direction) -> Option<Date> {
    let day = small(captures, "d")?;
    let first = now.first_of_month();
    let months = match direction {
        Direction::Future if day < now.day() => 1,
        Direction::Past if day > now.day() => -1,
        _ => 0,
    };
    let month = shift(first, months.months())?;
    Date::new(month.year(), month.month(), day).ok()
}

/// The name of a day of the week.
pub(super) fn weekday_name(day: Weekday, chinese: bool) -> &'static str {
    let (zh, en) = match day {
        Weekday::Monday => ("周一", "Monday"),
        Weekday::Tuesday => ("周二", "Tuesday"),
        Weekday::Wednesday => ("周三", "Wednesday"),
        Weekday::Thursday => ("周四", "Thursday"),
        Weekday::Friday => ("周五", "Friday"),
        Weekday::Saturday => ("周六", "Saturday"),
        Weekday::Sunday => ("周日", "Sunday"),
    };
    if chinese { zh } else { en }
}

#[cfg(test)]
mod tests {
    use super::{Direction, all};
    use jiff::civil::{Date, date};

    const MONDAY: Date = date(2026, 11, 23);

    fn day(text: &str) -> Option<Date> {
        let found = all(text, MONDAY, Direction::Future);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        found[0].date
    }

    #[test]
    fn chinese_days() {
        for (text, y, m, d) in [
            ("今天", 2026, 11, 23),
            ("明天下午", 2026, 11, 24),
            ("后天上午十点半", 2026, 11, 25),
            ("大后天", 2026, 11, 26),
            ("周三", 2026, 11, 25),
            ("这周五", 2026, 11, 27),
            ("下周三下午", 2026, 12, 2),
            ("下下周一", 2026, 12, 7),
            ("星期天", 2026, 11, 29),
            ("下礼拜二", 2026, 12, 1),
            ("12月3号", 2026, 12, 3),
            ("十二月三日", 2026, 12, 3),
            ("3号", 2026, 12, 3),
            ("二十五号", 2026, 11, 25),
            ("月底", 2026, 11, 30),
            ("下月底", 2026, 12, 31),
            ("下个月五号", 2026, 12, 5),
            ("三天后", 2026, 11, 26),
            ("两周后", 2026, 12, 7),
            ("一个月后", 2026, 12, 23),
            ("半个月后", 2026, 12, 8),
            ("2026年12月24日", 2026, 12, 24),
            ("2026-12-24", 2026, 12, 24),
            ("12/24", 2026, 12, 24),
            ("元旦", 2027, 1, 1),
            ("1月5号", 2027, 1, 5),
            ("11月20号", 2026, 11, 20),
            ("明年3月1号", 2027, 3, 1),
            ("国庆", 2027, 10, 1),
            ("年底", 2026, 12, 31),
            ("过两天", 2026, 11, 25),
            ("周1", 2026, 11, 23),
        ] {
            assert_eq!(day(text), Some(date(y, m, d)), "{text}");
        }
    }

    #[test]
    fn english_days() {
        for (text, m, d) in [
            ("next tuesday 3pm", 12, 1),
            ("tomorrow", 11, 24),
            ("the day after tomorrow", 11, 25),
            ("friday", 11, 27),
            ("on dec 3", 12, 3),
            ("3rd of december", 12, 3),
            ("december 24th", 12, 24),
            ("in 3 days", 11, 26),
            ("in two weeks", 12, 7),
            ("end of the month", 11, 30),
            ("the 30th", 11, 30),
            ("this thursday", 11, 26),
        ] {
            assert_eq!(day(text), Some(date(2026, m, d)), "{text}");
        }
    }

    #[test]
    fn what_is_no_day_and_what_cannot_be_computed() {
        for text in [
            "文三路128号",
            "5号楼",
            "KF20261101",
            "138-0013-8000",
            "二月",
            "第3号",
            "10号线",
            "sofa",
            "a second monitor",
        ] {
            assert!(
                all(&text.to_lowercase(), MONDAY, Direction::Future).is_empty(),
                "{text}"
            );
        }
        for text in ["大年三十", "除夕", "周末", "13月40号", "2月30号"] {
            assert_eq!(day(text), None, "{text}");
        }
        let past = all("3号", MONDAY, Direction::Past);
        assert_eq!(past[0].date, Some(date(2026, 11, 3)));
        let past = all("12月3号", MONDAY, Direction::Past);
        assert_eq!(past[0].date, Some(date(2025, 12, 3)));
    }
}
