//! Yes, no, and which of several: 好的, 不用了, no thanks; 第二个, the last one, a name or another word for it.

use super::numerals;
use super::times;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

static NO: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:(?:嗯|额|呃|那|先|我|暂时|目前|还是|就)*(?:不用了?|不必了?|不需要了?|不要了?|不了|不是的?|不对|不行|不可以|不想|不补|不确认|不同意|不办|没有了?|否|不|没|无|错了?|先不|别))|^(?:no|nope|nah|not|don'?t|do not|n|none|never|wrong|incorrect)(?-u:\b)").expect("a fixed pattern")
});
static YES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:嗯|额|那|就|我|都|恩)*(?:是的?|对的?|好的?|行|可以|确认|确定|没错|没问题|没有问题|同意|要的?|需要|补|办|当然|有的?|嗯|恩|成|ok|就这样|无误|提交|预约吧|麻烦了|帮我|正确)|^(?:yes|yeah|yep|yup|sure|ok|okay|correct|right|confirm|go ahead|please do|of course|fine|sounds good|that'?s (?:right|fine|correct)|y|do it|absolutely|exactly|all right|alright)(?-u:\b)").expect("a fixed pattern")
});
static FAKE_NO: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:没错|没问题|没有问题|不错|no problem|not a problem|no worries)").expect("a fixed pattern")
});

/// Whether `text` (folded) says yes or no; `None` where it says neither.
pub fn yes_no(text: &str) -> Option<bool> {
    let text =
        text.trim_matches(|c: char| c.is_whitespace() || c.is_ascii_punctuation() || "，。！？、～~".contains(c));
    if FAKE_NO.is_match(text) {
        return Some(true);
    }
    if NO.is_match(text) {
        return Some(false);
    }
    YES.is_match(text).then_some(true)
}

/// One of several that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Words for it, folded.
    pub(super) words: Vec<String>,
}

/// What a text says about a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// This one, said there.
    One(Range<usize>, usize),
    /// More than one.
    Several,
    /// None.
    None,
}

static ORDINAL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"第(?P<n>[0-9]{1,2}|[一二三四五六七八九十]{1,2})(?:个|项|种|条|张|档)?|(?-u:\b)(?:the )?(?P<en>first|second|third|fourth|fifth|last)(?: one| option)?(?-u:\b)|(?P<last>最后一?个|后者)|(?P<first>前者|最早)|(?:选项?|选择|option |number |no\.? ?)(?P<o>[0-9]{1,2}|[一二三四五六七八九])|^(?P<bare>[0-9]{1,2}|[一二三四五六七八九])[.。、号吧]?$").expect("a fixed pattern")
});

/// Finds which of `candidates` is meant in `text` (folded). Where it was just asked, also by its place in the list, by a time of
/// day and by the part of the day that only one of them has.
pub(super) fn choose(text: &str, candidates: &[Candidate], asked: bool) -> Chosen {
    let mut hits: Vec<(Range<usize>, usize)> = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        for word in candidate.words.iter().filter(|word| asked || word.chars().count() >= 2) {
            for (at, _) in text.match_indices(word.as_str()) {
                let place = at..at + word.len();
                if whole_word(text, &place) {
                    hits.push((place, index));
                }
            }
        }
    }
    // A word within a longer one is part of it: 卡 in 信用卡.
    let longest: Vec<(Range<usize>, usize)> = hits
        .iter()
        .filter(|(place, _)| {
            !hits
                .iter()
                .any(|(other, _)| other.len() > place.len() && other.start <= place.start && place.end <= other.end)
        })
        .cloned()
        .collect();
    match settle(&longest) {
        Chosen::None if asked => {}
        settled => return settled,
    }
    if let Some((place, index)) = ordinal(text, candidates.len()) {
        return Chosen::One(place, index);
    }
    by_time(text, candidates)
}

fn whole_word(text: &str, place: &Range<usize>) -> bool {
    let first_is_latin = text[place.clone()].starts_with(|c: char| c.is_ascii_alphanumeric());
    let last_is_latin = text[place.clone()].ends_with(|c: char| c.is_ascii_alphanumeric());
    !(first_is_latin && text[..place.start].ends_with(|c: char| c.is_ascii_alphanumeric())
        || last_is_latin && text[place.end..].starts_with(|c: char| c.is_ascii_alphanumeric()))
}

fn settle(hits: &[(Range<usize>, usize)]) -> Chosen {
    match hits {
        [] => Chosen::None,
        [(place, index), rest @ ..] if rest.iter().all(|(_, other)| other == index) => {
            Chosen::One(place.clone(), *index)
        }
        _ => Chosen::Several,
    }
}

fn ordinal(text: &str, count: usize) -> Option<(Range<usize>, usize)> {
    let captures = ORDINAL.captures(text)?;
    let place = captures.get(0)?.range();
    let get = |name: &str| captures.name(name).map(|found| found.as_str());
    let index = if get("last").is_some() || get("en") == Some("last") {
        count.checked_sub(1)?
    } else if get("first").is_some() {
        0
    } else if let Some(word) = get("en") {
        ["first", "second", "third", "fourth", "fifth"]
            .iter()
            .position(|known| *known == word)?
    } else {
        let number = get("n").or_else(|| get("o")).or_else(|| get("bare"))?;
        (numerals::parse(number)? as usize).checked_sub(1)?
    };
    (index < count).then_some((place, index))
}

/// By a time or a part of the day, where the candidates are times.
fn by_time(text: &str, candidates: &[Candidate]) -> Chosen {
    let times_of = |candidate: &Candidate| candidate.words.first().map(|word| times::all(word)).unwrap_or_default();
    if let Some((place, time)) = times::all(text).into_iter().next() {
        let begins: Vec<(Range<usize>, usize)> = candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| times_of(candidate).first().is_some_and(|(_, begin)| *begin == time))
            .map(|(index, _)| (place.clone(), index))
            .collect();
        return settle(&begins);
    }
    if let Some((place, part)) = times::parts(text).into_iter().next() {
        let within: Vec<(Range<usize>, usize)> = candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| times_of(candidate).first().is_some_and(|(_, begin)| part.holds(*begin)))
            .map(|(index, _)| (place.clone(), index))
            .collect();
        return settle(&within);
    }
    Chosen::None
}

#[cfg(test)]
mod tests {
    use super::{Candidate, Chosen, choose, yes_no};

    #[test]
    fn yes_and_no() {
        for text in [
            "好的",
            "是",
            "嗯嗯",
            "可以，就这样",
            "没问题",
            "确认预约",
            "yes please",
            "ok",
            "sure",
            "no problem",
            "对的",
            "行",
            "要补",
        ] {
            assert_eq!(yes_no(text), Some(true), "{text}");
        }
        for text in [
            "不用了",
            "no thanks",
            "不对",
            "暂时不需要",
            "先不",
            "nope",
            "不",
            "没有",
            "不可以",
            "别",
        ] {
            assert_eq!(yes_no(text), Some(false), "{text}");
        }
        for text in ["多少钱", "明天", "how much", "note", "今天"] {
            assert_eq!(yes_no(text), None, "{text}");
        }
    }

    fn candidates(words: &[&[&str]]) -> Vec<Candidate> {
        words
            .iter()
            .map(|words| Candidate {
                words: words.iter().map(|word| (*word).to_owned()).collect(),
            })
            .collect()
    }

    #[test]
    fn one_of_several() {
        let cards = candidates(&[&["信用卡", "credit card", "credit"], &["借记卡", "储蓄卡", "debit"]]);
        let one = |text: &str, asked| match choose(text, &cards, asked) {
            Chosen::One(_, index) => Some(index),
            _ => None,
        };
        assert_eq!(one("我的储蓄卡丢了", false), Some(1));
        assert_eq!(one("第二个", true), Some(1));
        assert_eq!(one("第二个", false), None);
        assert_eq!(one("the first one", true), Some(0));
        assert_eq!(one("2", true), Some(1));
        assert_eq!(one("最后一个", true), Some(1));
        assert_eq!(one("第三个", true), None);
        assert_eq!(one("accredited", true), None);
        assert_eq!(choose("信用卡和储蓄卡", &cards, true), Chosen::Several);
        let times = candidates(&[&["09:00-11:00"], &["14:00-16:00"], &["18:00-20:00"]]);
        for (text, index) in [
            ("九点那个", 0),
            ("下午", 1),
            ("晚上的吧", 2),
            ("2pm", 1),
            ("14点的", 1),
            ("早上", 0),
        ] {
            assert!(
                matches!(choose(text, &times, true), Chosen::One(_, found) if found == index),
                "{text}"
            );
        }
    }
}
