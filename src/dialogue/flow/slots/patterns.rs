//! Phones, order numbers, one-time codes and addresses.

use super::numerals;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// The shortest and longest address, in characters.
const ADDRESS_CHARS: std::ops::RangeInclusive<usize> = 6..=120;

static DIGITS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\+?[0-9](?:[ -]?[0-9])+").expect("a fixed pattern"));
static SPOKEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[0-9零〇一幺二三四五六七八九](?:[ -]?[0-9零〇一幺二三四五六七八九])+").expect("a fixed pattern")
});
static LANDLINE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\(?0[1-9][0-9]{1,2}\)?[ -]?[2-9][0-9]{6,7}").expect("a fixed pattern"));
static PHONE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:1[3-9][0-9]{9}|0[1-9][0-9]{1,2}[2-9][0-9]{6,7}|[48]00[0-9]{7})$").expect("a fixed pattern")
});
static PLACE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[\p{Han}]{1,8}?(?:省|市|自治区|区|县|镇|乡|村|路|街道?|大道|巷|弄|胡同|小区|花园|新村|苑|大厦|广场|公寓|工业园)|[0-9a-z一二三四五六七八九十-]+(?:号院|号楼|号|弄|栋|幢|座|单元|室|层|楼)|(?-u:\b)(?:road|rd|street|st|avenue|ave|lane|district|building|bldg|room|floor|apartment|apt|unit)(?-u:\b)").expect("a fixed pattern")
});
static ADDRESS_LEAD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:(?:我的?|家里?|收货|安装|邮寄|新|详细|寄送)*地址|(?:我的?|家里?|收货|安装|邮寄|新|详细|寄送)*(?:是|在|为|改成|改为|换成|寄到|送到|住在?|:)+|寄到|送到|寄|我家?住?在?|(?:my |the )?(?:new )?address(?: is|:)?|(?:i live )?(?:at|in) |please |send it to |it'?s )\s*").expect("a fixed pattern")
});
/// What ends an address: the next clause about something else.
static ADDRESS_END: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[,，;。!?] ?(?:我?的?(?:电话|手机|联系|订单|时间|日期|备注|谢谢|下周|明天|后天|周)|phone|my phone|thank|order)|[。!?;]$|(?:谢谢|吧|哈|哦)[。!]?$").expect("a fixed pattern")
});

/// Telephone numbers in `text` (folded): mobile, landline and 400 numbers, as digits alone.
pub(super) fn phones(text: &str) -> Vec<(Range<usize>, String)> {
    let mut found: Vec<(Range<usize>, String)> = Vec::new();
    for place in digit_runs(text) {
        let run = &text[place.clone()];
        let digits = in_digits(run);
        let digits = digits
            .strip_prefix("86")
            .filter(|rest| rest.len() == 11 || run.starts_with('+'))
            .unwrap_or(&digits);
        if PHONE.is_match(digits) {
            found.push((place, digits.to_owned()));
        }
    }
    for place in LANDLINE.find_iter(text).map(|hit| hit.range()) {
        if found
            .iter()
            .all(|(known, _)| place.end <= known.start || known.end <= place.start)
            && !glued(text, &place)
        {
            found.push((place.clone(), in_digits(&text[place])));
        }
    }
    found.sort_by_key(|(place, _)| place.start);
    found
}

/// Runs of digits, which may hold spaces and hyphens, and which are no part of a longer word.
fn digit_runs(text: &str) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = DIGITS
        .find_iter(text)
        .map(|hit| hit.range())
        .filter(|place| !glued(text, place))
        .collect();
    for hit in SPOKEN.find_iter(text) {
        // Said digit by digit, in Chinese numerals.
        if !hit.as_str().is_ascii() && runs.iter().all(|run| hit.end() <= run.start || run.end <= hit.start()) {
            runs.push(hit.range());
        }
    }
    runs
}

fn glued(text: &str, place: &Range<usize>) -> bool {
    text[..place.start]
        .chars()
        .next_back()
        .is_some_and(|c| c.is_ascii_alphanumeric())
        || text[place.end..]
            .chars()
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric())
}

fn in_digits(text: &str) -> String {
    text.chars()
        .filter_map(numerals::digit)
        .filter_map(|value| char::from_digit(value, 10))
        .collect()
}

/// One-time codes: four to eight digits that stand alone, with or without spaces.
pub(super) fn codes(text: &str) -> Vec<(Range<usize>, String)> {
    digit_runs(text)
        .into_iter()
        .map(|place| (place.clone(), in_digits(&text[place])))
        .filter(|(_, digits)| (4..=8).contains(&digits.len()))
        .collect()
}

/// What `pattern` matches as a whole word in `text`, in capitals, without spaces and hyphens. Spaces may stand between the
/// characters, and digits may be said in Chinese numerals.
pub(super) fn orders(text: &str, pattern: &Regex) -> Vec<(Range<usize>, String)> {
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[0-9a-z]+").expect("a fixed pattern"));
    let words: Vec<Range<usize>> = WORD.find_iter(text).map(|hit| hit.range()).collect();
    let mut found: Vec<(Range<usize>, String)> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        // The longest run of words with nothing but a space or a hyphen between them that fits.
        let mut joined = String::new();
        let mut best = None;
        for (count, word) in words[at..].iter().enumerate().take(8) {
            if count > 0 {
                let between = &text[words[at + count - 1].end..word.start];
                if !matches!(between, " " | "-" | "") {
                    break;
                }
            }
            joined.push_str(&text[word.clone()].to_ascii_uppercase());
            if fits(pattern, &joined) {
                best = Some((count, joined.clone()));
            }
        }
        if let Some((count, number)) = best {
            found.push((words[at].start..words[at + count].end, number));
            at += count;
        }
        at += 1;
    }
    for hit in SPOKEN.find_iter(text) {
        let digits = in_digits(hit.as_str());
        if !hit.as_str().is_ascii() && fits(pattern, &digits) && !glued(text, &hit.range()) {
            found.push((hit.range(), digits));
        }
    }
    found.sort_by_key(|(place, _)| place.start);
    found
}

fn fits(pattern: &Regex, text: &str) -> bool {
    pattern.find(text).is_some_and(|hit| hit.range() == (0..text.len()))
}

/// The address in `text`, if there is one: at least `parts` of it (a district, a street, a house number) must be there.
/// `original` is `text` as it was written, of the same length.
pub(super) fn address(text: &str, original: &str, parts: usize) -> Option<(Range<usize>, String)> {
    let hits: Vec<Range<usize>> = PLACE.find_iter(text).map(|hit| hit.range()).collect();
    if hits.len() < parts || hits.is_empty() {
        return None;
    }
    let first = hits[0].start;
    // The clause in which the address begins.
    let clause = text[..first]
        .rfind(['，', ',', '。', ';', '!', '?'])
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let last = hits[hits.len() - 1].end;
    let end = ADDRESS_END
        .find_iter(&text[clause..])
        .map(|hit| clause + hit.start())
        .find(|at| *at >= last.min(text.len()))
        .unwrap_or(text.len());
    let mut start = clause;
    while let Some(hit) = ADDRESS_LEAD.find(&text[start..end]).filter(|hit| !hit.is_empty()) {
        start += hit.end();
    }
    let value = original
        .get(start..end)?
        .trim()
        .trim_end_matches(['，', ',', '。', '.', '!', '?'])
        .trim();
    ADDRESS_CHARS
        .contains(&value.chars().count())
        .then(|| (start..end, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{address, codes, orders, phones};
    use regex::Regex;

    #[test]
    fn telephone_numbers() {
        for (text, number) in [
            ("13812345678", "13812345678"),
            ("+86 138 0013 8000", "13800138000"),
            ("电话138-0013-8000谢谢", "13800138000"),
            ("一三八零零一三八零零零", "13800138000"),
            ("010-62345678", "01062345678"),
            ("400-820-8820", "4008208820"),
            ("8613812345678", "13812345678"),
        ] {
            let found = phones(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(found[0].1, number, "{text}");
        }
        for text in ["1381234567", "138123456789", "kf13812345678", "23812345678", "12345"] {
            assert!(phones(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn order_numbers() {
        let pattern = Regex::new("[A-Z]{2}[0-9]{8,13}").unwrap();
        for (text, number) in [
            ("订单kf20261101的", "KF20261101"),
            ("sf 1234 5678 90", "SF1234567890"),
            ("是kf-2026-1101。", "KF20261101"),
        ] {
            assert_eq!(orders(text, &pattern)[0].1, number, "{text}");
        }
        assert!(orders("kf202611", &pattern).is_empty());
        assert!(orders("xkf20261101", &pattern).is_empty());
        let tail = Regex::new("[0-9]{4}").unwrap();
        assert_eq!(orders("尾号三六九二", &tail)[0].1, "3692");
        assert!(orders("13812345678", &tail).is_empty());
    }

    #[test]
    fn codes_stand_alone() {
        assert_eq!(codes("验证码是 882 311")[0].1, "882311");
        assert!(codes("13812345678").is_empty());
        assert!(codes("sf123456").is_empty());
    }

    #[test]
    fn addresses() {
        for (text, value) in [
            ("地址上海市浦东新区世纪大道100号", "上海市浦东新区世纪大道100号"),
            (
                "寄到杭州市西湖区文三路128号2单元301室吧",
                "杭州市西湖区文三路128号2单元301室",
            ),
            (
                "我的地址是南京市鼓楼区中山路1号，电话13800138000",
                "南京市鼓楼区中山路1号",
            ),
            (
                "no. 18 renmin road, building 3, suzhou",
                "no. 18 renmin road, building 3, suzhou",
            ),
        ] {
            assert_eq!(address(text, text, 2).unwrap().1, value, "{text}");
        }
        assert!(address("安装要收费吗", "安装要收费吗", 1).is_none());
    }
}
