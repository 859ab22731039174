//! Times of day: 上午十点半, 三点一刻, 15:00, 3pm, half past three.

use super::numerals;
use jiff::civil::Time;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

static CHINESE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?P<part>凌晨|清晨|早上|早晨|上午|中午|下午|午后|傍晚|晚上|夜里|今晚|明晚|今早|明早|早|晚)?的?(?P<h>[0-9]{1,2}|[零一二两三四五六七八九十]{1,3})(?:点钟?|时)(?P<m>半|一刻|三刻|整|[0-9]{1,2}分?|[零一二三四五六七八九十]{1,3}分?)?",
    )
    .expect("a fixed pattern")
});
static DIGITAL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?P<part>凌晨|早上|上午|中午|下午|傍晚|晚上|今晚|明晚)?(?P<h>[0-9]{1,2}):(?P<m>[0-9]{2})(?: ?(?P<ap>[ap])\.?m(?-u:\b)\.?)?").expect("a fixed pattern")
});
static ENGLISH: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?-u:\b)(?P<h>[0-9]{1,2}) ?(?P<ap>[ap])\.?m(?-u:\b)\.?|(?-u:\b)(?P<half>half past|quarter past|quarter to) (?P<hw>[0-9]{1,2}|[a-z]+)(?: ?(?P<hap>[ap])\.?m(?-u:\b)\.?)?|(?-u:\b)(?P<oh>[0-9]{1,2}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve) o'?clock(?: in the (?P<day>morning|afternoon|evening))?|(?-u:\b)(?P<word>noon|midday)(?-u:\b)").expect("a fixed pattern")
});
static PART: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"凌晨|清晨|早上|早晨|上午|中午|下午|午后|傍晚|晚上|夜里|今晚|明晚|今早|明早|(?-u:\b)morning(?-u:\b)|(?-u:\b)afternoon(?-u:\b)|(?-u:\b)evening(?-u:\b)|(?-u:\b)tonight(?-u:\b)").expect("a fixed pattern")
});

/// A part of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Midnight to six.
    Night,
    /// Six to noon.
    Morning,
    /// About noon.
    Noon,
    /// Noon to six.
    Afternoon,
    /// Six to midnight.
    Evening,
}

impl Part {
    fn of(text: &str) -> Option<Self> {
        Some(match text {
            "凌晨" | "夜里" => Self::Night,
            "清晨" | "早上" | "早晨" | "上午" | "今早" | "明早" | "早" | "morning" => Self::Morning,
            "中午" => Self::Noon,
            "下午" | "午后" | "afternoon" => Self::Afternoon,
            "傍晚" | "晚上" | "今晚" | "明晚" | "晚" | "evening" | "tonight" => Self::Evening,
            _ => return None,
        })
    }

    /// Whether `time` lies in it.
    pub(super) fn holds(self, time: Time) -> bool {
        let hour = time.hour();
        match self {
            Self::Night => hour < 6,
            Self::Morning => (6..12).contains(&hour),
            Self::Noon => (11..14).contains(&hour),
            Self::Afternoon => (12..18).contains(&hour),
            Self::Evening => hour >= 17,
        }
    }
}

/// The parts of the day named in `text` (folded).
pub(super) fn parts(text: &str) -> Vec<(Range<usize>, Part)> {
    PART.find_iter(text)
        .filter_map(|found| Some((found.range(), Part::of(found.as_str())?)))
        .collect()
}

/// The hour of 24 for one that was said with or without a part of the day.
fn hour(said: f64, part: Option<Part>) -> Option<i8> {
    let said = if said.fract() == 0.0 && (0.0..=24.0).contains(&said) {
        said as i8
    } else {
        return None;
    };
    Some(match part {
        Some(Part::Afternoon) if said < 12 => said + 12,
        Some(Part::Noon) if said <= 2 => said + 12,
        Some(Part::Evening) if (4..12).contains(&said) => said + 12,
        Some(Part::Evening | Part::Night) if said == 12 => 0,
        // Nobody is visited at three in the night: 三点 is in the afternoon.
        None if (1..=6).contains(&said) => said + 12,
        _ if said == 24 => 0,
        _ => said,
    })
}

/// The times named in `text` (folded), in order.
pub(super) fn all(text: &str) -> Vec<(Range<usize>, Time)> {
    let mut found: Vec<(Range<usize>, Time)> = Vec::new();
    let mut add = |place: Range<usize>, hour: Option<i8>, minute: i8| {
        let overlaps = found
            .iter()
            .any(|(known, _): &(Range<usize>, Time)| place.start < known.end && known.start < place.end);
        if let Some(time) = hour.and_then(|hour| Time::new(hour, minute, 0, 0).ok())
            && !overlaps
        {
            found.push((place, time));
        }
    };
    for captures in DIGITAL.captures_iter(text) {
        let place = captures.get(0).map_or(0..0, |whole| whole.range());
        let part = captures.name("part").and_then(|part| Part::of(part.as_str()));
        let Ok(said) = captures["h"].parse::<i8>() else {
            continue;
        };
        let minute = captures["m"].parse().unwrap_or(60);
        let hour = match (captures.name("ap").map(|ap| ap.as_str()), part) {
            (Some("p"), _) if said < 12 => Some(said + 12),
            (Some("a"), _) if said == 12 => Some(0),
            (Some(_), _) | (None, None) => Some(said),
            (None, part) => hour(f64::from(said), part),
        };
        add(place, hour, minute);
    }
    for captures in ENGLISH.captures_iter(text) {
        let place = captures.get(0).map_or(0..0, |whole| whole.range());
        let (hour, minute) = english(&captures);
        add(place, hour, minute);
    }
    for captures in CHINESE.captures_iter(text) {
        let place = captures.get(0).map_or(0..0, |whole| whole.range());
        if is_a_little(text, &place) {
            continue;
        }
        let part = captures.name("part").and_then(|part| Part::of(part.as_str()));
        let minute = match captures.name("m").map(|m| m.as_str()) {
            None | Some("整") => 0,
            Some("半") => 30,
            Some("一刻") => 15,
            Some("三刻") => 45,
            Some(minute) => numerals::parse(minute.trim_end_matches('分'))
                .filter(|m| *m < 60.0)
                .map_or(60, |m| m as i8),
        };
        add(
            place,
            numerals::parse(&captures["h"]).and_then(|said| hour(said, part)),
            minute,
        );
    }
    found.sort_by_key(|(place, _)| place.start);
    found
}

/// 有一点, 早一点: a little, and not one o'clock.
fn is_a_little(text: &str, place: &Range<usize>) -> bool {
    let before = text[..place.start].chars().next_back();
    match &text[place.clone()] {
        "早一点" | "晚一点" => true,
        "一点" => {
            before.is_some_and(|c| "有快慢差好多少大小高低贵宜近远".contains(c))
                || text[place.end..].starts_with(['儿', '都', '也'])
        }
        _ => false,
    }
}

fn english(captures: &regex::Captures<'_>) -> (Option<i8>, i8) {
    let get = |name: &str| captures.name(name).map(|found| found.as_str());
    let spoken = |text: &str| numerals::word(text).map_or_else(|| text.parse().ok(), |value| i8::try_from(value).ok());
    let twelve = |said: i8, ap: Option<&str>| match ap {
        Some("p") if said < 12 => Some(said + 12),
        Some("a") if said == 12 => Some(0),
        Some(_) => Some(said),
        None => hour(f64::from(said), None),
    };
    if get("word").is_some() {
        return (Some(12), 0);
    }
    if let (Some(said), ap @ Some(_)) = (get("h"), get("ap")) {
        return (said.parse().ok().and_then(|said| twelve(said, ap)), 0);
    }
    if let Some(kind) = get("half") {
        let hour = get("hw").and_then(spoken).and_then(|said| twelve(said, get("hap")));
        return match kind {
            "half past" => (hour, 30),
            "quarter past" => (hour, 15),
            _ => (hour.map(|hour| (hour + 23) % 24), 45),
        };
    }
    let day = get("day").and_then(Part::of);
    (
        get("oh").and_then(spoken).and_then(|said| hour(f64::from(said), day)),
        0,
    )
}

#[cfg(test)]
mod tests {
    use super::all;
    use jiff::civil::time;

    #[test]
    fn times_of_day() {
        for (text, h, m) in [
            ("上午十点半", 10, 30),
            ("下午3点", 15, 0),
            ("三点一刻", 15, 15),
            ("晚上八点", 20, 0),
            ("15:00", 15, 0),
            ("下午2:30", 14, 30),
            ("3pm", 15, 0),
            ("3:30 p.m.", 15, 30),
            ("10 am", 10, 0),
            ("九点", 9, 0),
            ("中午12点", 12, 0),
            ("中午一点", 13, 0),
            ("19点40分", 19, 40),
            ("half past three", 15, 30),
            ("quarter to 10", 9, 45),
            ("noon", 12, 0),
            ("10点三刻", 10, 45),
            ("晚上12点", 0, 0),
            ("十四点的", 14, 0),
            ("eight o'clock in the evening", 20, 0),
            ("凌晨两点", 2, 0),
        ] {
            let found = all(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(found[0].1, time(h, m, 0, 0), "{text}");
        }
        for text in ["25点", "10:75", "有一点问题", "早一点", "10元", "x am"] {
            assert!(all(text).is_empty(), "{text}");
        }
    }
}
