//! Whether a written sentence says only what its sources say.
//!
//! The check is strict, because failing it costs little: the passage is quoted instead. It compares what can be
//! compared without understanding: numbers with units, Latin names, negation, and how many of the sentence's words
//! the source has. It cannot see a wrong row of a table or a swapped subject.

use super::facts::{Facts, Quantity};
use super::quote::is_table_head;
use super::sentences::segments;
use super::table;
use crate::domain::is_han;
use crate::understanding::normalise;
use regex::Regex;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

/// The least share of a sentence's word pairs that the cited passage (or the question) must contain. Chosen, not measured: a
/// sentence that shares less than half of its words with its source is not a restatement of it.
const LEAST_OVERLAP: f32 = 0.5;

/// The greatest share of a sentence's word pairs that only the question has.
const MOST_FOREIGN: f32 = 0.25;

/// What may be cited, prepared once for all sentences of an answer.
#[derive(Debug)]
pub struct Grounding {
    passages: Vec<Prepared>,
    question_facts: Facts,
    question_terms: HashSet<String>,
}

#[derive(Debug)]
struct Prepared {
    text: String,
    facts: Facts,
    terms: HashSet<String>,
}

/// The result of the check of one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The sentence states nothing: only marks or white space.
    Empty,
    /// The passage of that place (from 0) has it; `quote` is the range in its text that says it.
    Supported {
        /// Which passage.
        passage: usize,
        /// Bytes of the passage's text.
        quote: Range<usize>,
    },
    /// No passage has it.
    Unsupported(Reason),
}

/// Why a sentence was not let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A number, date or amount that no single passage has.
    Number(String),
    /// A name in Latin letters that no single passage has.
    Name(String),
    /// Its words are not those of any passage.
    Words,
    /// It denies what the source affirms, or the reverse.
    Negation,
}

impl Reason {
    /// What a log may say of it: the number or name itself may be a customer's.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "number",
            Self::Name(_) => "name",
            Self::Words => "words",
            Self::Negation => "negation",
        }
    }
}

impl Grounding {
    /// Prepares `passages` as (title, text), and the customer's own words, whose numbers and names may be repeated.
    #[must_use]
    pub fn new<'a>(passages: impl IntoIterator<Item = (&'a str, &'a str)>, question: &str) -> Self {
        let passages = passages
            .into_iter()
            .map(|(title, text)| {
                let whole = format!("{title}\n{text}");
                Prepared {
                    text: text.to_owned(),
                    facts: Facts::of(&whole),
                    terms: terms(&whole),
                }
            })
            .collect();
        Self {
            passages,
            question_facts: Facts::of(question),
            question_terms: terms(question),
        }
    }

    /// Checks one sentence.
    #[must_use]
    pub fn check(&self, sentence: &str) -> Verdict {
        let words = terms(sentence);
        if words.is_empty() {
            return Verdict::Empty;
        }
        let facts = Facts::of(sentence);
        let mut refused = Reason::Words;
        let mut best: Option<(f32, usize)> = None;
        for (place, passage) in self.passages.iter().enumerate() {
            if let Some(reason) = self.lacks(passage, &facts) {
                refused = reason;
                continue;
            }
            let overlap = share(&words, |word| {
                passage.terms.contains(word) || self.question_terms.contains(word)
            });
            let own = share(&words, |word| passage.terms.contains(word));
            // What the question alone says is no part of the source: a sentence that is much about it answers for a
            // thing ("the diamond card") that the source may not know.
            let foreign = share(&words, |word| {
                !passage.terms.contains(word) && self.question_terms.contains(word)
            });
            if foreign > MOST_FOREIGN {
                continue;
            }
            // Words of the question alone prove nothing: some must come from the passage.
            if overlap >= LEAST_OVERLAP && own > LEAST_OVERLAP / 2.0 && best.is_none_or(|(most, _)| own > most) {
                best = Some((own, place));
            }
        }
        let Some((_, place)) = best else {
            return Verdict::Unsupported(refused);
        };
        let passage = &self.passages[place];
        let quote = nearest_segment(&passage.text, &words);
        if denies(sentence) && !denies(&passage.text[quote.clone()]) && !denies(&passage.text) {
            return Verdict::Unsupported(Reason::Negation);
        }
        if !denies(sentence) && strictly_denies(&passage.text[quote.clone()]) && !asks(sentence) {
            return Verdict::Unsupported(Reason::Negation);
        }
        Verdict::Supported { passage: place, quote }
    }

    /// The first fact that neither the passage nor the question has.
    fn lacks(&self, passage: &Prepared, facts: &Facts) -> Option<Reason> {
        for quantity in &facts.quantities {
            if !passage.facts.support(quantity) && !self.question_facts.support(quantity) {
                return Some(Reason::Number(
                    format!("{} {}", quantity.value, quantity.unit).trim().to_owned(),
                ));
            }
        }
        // A number of the customer's may be repeated; a name that only the customer knows is answered for by nobody.
        let known = |name: &String| passage.facts.latin.contains(name);
        facts
            .names
            .iter()
            .find(|name| !known(name))
            .map(|name| Reason::Name(name.clone()))
    }
}

/// The numbers and names of `answer` that none of `sources` contains: what must be empty in everything that is sent.
#[must_use]
pub fn unsupported(answer: &str, sources: &[&str]) -> Vec<String> {
    let mut known = Facts::default();
    for source in sources {
        known.extend(Facts::of(source));
    }
    known.extend(computed(answer, &known));
    let facts = Facts::of(answer);
    let mut missing: Vec<String> = facts
        .quantities
        .iter()
        .filter(|quantity| !known.support(quantity))
        .map(|quantity| format!("{} {}", quantity.value, quantity.unit).trim().to_owned())
        .collect();
    missing.extend(facts.names.into_iter().filter(|name| !known.latin.contains(name)));
    missing.sort();
    missing
}

/// Differences and counts that an answer works out before the reader's eyes: "600 − 160 = 440" where both numbers are known and the
/// sum is right, and "共3项：A、B、C" where so many follow.
fn computed(answer: &str, known: &Facts) -> Facts {
    let bare = |value: &str| Quantity {
        value: value.to_owned(),
        unit: "",
    };
    let mut found = Facts::default();
    for sum in DIFFERENCE.captures_iter(answer) {
        let [greater, lesser, difference] = [&sum[1], &sum[2], &sum[3]];
        if known.support(&bare(greater))
            && known.support(&bare(lesser))
            && table::difference(greater, lesser, difference)
        {
            found.quantities.insert(bare(difference));
        }
    }
    for count in COUNT.captures_iter(answer) {
        let (number, listed) = (count.get(1).or(count.get(3)), count.get(2).or(count.get(4)));
        if let (Some(number), Some(listed)) = (number, listed)
            && number.as_str().parse() == Ok(listed.as_str().split(['、', ',']).count())
        {
            found.quantities.insert(bare(number.as_str()));
        }
    }
    found
}

static DIFFERENCE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(\d{1,24}(?:\.\d+)?) − (\d{1,24}(?:\.\d+)?) = (\d{1,24}(?:\.\d+)?)"));
static COUNT: LazyLock<Regex> = LazyLock::new(|| regex(r"共(\d{1,3})[项項]：([^。\n]+)|(\d{1,3}) in all: ([^\n]+)"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

/// The segment of `text` that shares most with `words`, in proportion to its own length where several tie.
fn nearest_segment(text: &str, words: &HashSet<String>) -> Range<usize> {
    let mut best = (0.0_f32, 0..text.len());
    for range in segments(text) {
        if is_table_head(text, &range) {
            continue;
        }
        let own = terms(&text[range.clone()]);
        let common = own.intersection(words).count() as f32;
        // The Dice coefficient: long segments do not win by their length alone.
        let score = 2.0 * common / (own.len() + words.len()).max(1) as f32;
        if score > best.0 {
            best = (score, range);
        }
    }
    best.1
}

/// What is compared: pairs of neighbouring Han characters, and Latin words and numbers in lower case.
#[must_use]
pub fn terms(text: &str) -> HashSet<String> {
    let text = normalise(text).to_lowercase();
    let mut found = HashSet::new();
    let mut han: Option<char> = None;
    let mut word = String::new();
    for c in text.chars().chain([' ']) {
        if is_han(c) {
            if let Some(before) = han {
                found.insert([before, c].iter().collect());
            }
            han = Some(c);
        } else {
            han = None;
        }
        if c.is_alphanumeric() && !is_han(c) {
            word.push(c);
        } else if !word.is_empty() {
            found.insert(std::mem::take(&mut word));
        }
    }
    found
}

fn share(words: &HashSet<String>, has: impl Fn(&String) -> bool) -> f32 {
    words.iter().filter(|word| has(word)).count() as f32 / words.len().max(1) as f32
}

/// Whether a sentence denies something.
fn denies(text: &str) -> bool {
    const MARKS: [&str; 17] = [
        "不", "没有", "无法", "无需", "无须", "未", "禁止", "免", "非", "除外", "not", "n't", "never", "no ",
        "without", "cannot", "free",
    ];
    let text = text.to_lowercase();
    MARKS.iter().any(|mark| text.contains(mark))
}

/// Whether a source forbids or excludes outright: then an answer without any denial turns it round.
fn strictly_denies(text: &str) -> bool {
    const MARKS: [&str; 14] = [
        "不得",
        "不能",
        "不可",
        "不支持",
        "不予",
        "不接受",
        "不适用",
        "不享受",
        "无法",
        "禁止",
        "除外",
        "cannot",
        "not allowed",
        "may not",
    ];
    let text = text.to_lowercase();
    MARKS.iter().any(|mark| text.contains(mark))
}

fn asks(sentence: &str) -> bool {
    sentence.trim_end().ends_with(['?', '？'])
}

#[cfg(test)]
mod tests {
    use super::{Grounding, Reason, Verdict, unsupported};

    const FEES: &str =
        "异地跨行转账每笔手续费 2 元，最高 50 元。手机银行转账免手续费。\n信用卡账户不支持转账还款以外的转入。";

    fn check(sentence: &str) -> Verdict {
        Grounding::new(
            [("转账 › 手续费", FEES), ("ATM", "取现每笔 4 元。")],
            "我转 800 元要多少手续费",
        )
        .check(sentence)
    }

    #[test]
    fn a_sentence_of_the_source_is_let_through_with_its_place() {
        let Verdict::Supported { passage, quote } = check("异地跨行转账的手续费是每笔2元，最高50元。")
        else {
            panic!()
        };
        assert_eq!(passage, 0);
        assert!(FEES[quote].contains("最高 50 元"));
    }

    #[test]
    fn invented_numbers_units_and_names_are_stopped() {
        assert_eq!(
            check("每笔手续费 3 元。"),
            Verdict::Unsupported(Reason::Number("3 yuan".to_owned()))
        );
        assert_eq!(
            check("转账每笔手续费 2 天。"),
            Verdict::Unsupported(Reason::Number("2 day".to_owned()))
        );
        assert!(matches!(
            check("手机银行转账请用 PayPal 免手续费。"),
            Verdict::Unsupported(Reason::Name(_))
        ));
        // The number is in the other passage, the words are in this one: no single source says it.
        assert!(matches!(
            check("异地跨行转账每笔手续费 4 元。"),
            Verdict::Unsupported(_)
        ));
    }

    #[test]
    fn what_nobody_wrote_is_stopped() {
        assert_eq!(
            check("我们的客服会尽快与您联系，祝您生活愉快。"),
            Verdict::Unsupported(Reason::Words)
        );
    }

    #[test]
    fn what_only_the_question_knows_is_answered_for_by_nobody() {
        let grounding = Grounding::new(
            [("年费", "普通会员免费。白金卡年费 600 元。")],
            "青禾 PLUS 付费会员一年多少钱",
        );
        assert!(matches!(
            grounding.check("青禾 PLUS 付费会员年费 600 元。"),
            Verdict::Unsupported(Reason::Name(_))
        ));
        let grounding = Grounding::new(
            [("年费", "普通会员免费。白金卡年费 600 元。")],
            "钻石贵宾卡一年年费多少钱",
        );
        assert_eq!(
            grounding.check("钻石贵宾卡年费 600 元。"),
            Verdict::Unsupported(Reason::Words)
        );
    }

    #[test]
    fn the_head_of_a_table_is_no_answer() {
        let table = "| 币种 | 年利率 |\n| --- | --- |\n| 美元 | 2.8% |";
        let grounding = Grounding::new([("存款", table)], "美元年利率");
        let Verdict::Supported { quote, .. } = grounding.check("币种美元的年利率是2.8%。") else {
            panic!()
        };
        assert_eq!(&table[quote], "| 美元 | 2.8% |");
    }

    #[test]
    fn a_reversed_sentence_is_stopped() {
        assert_eq!(
            check("信用卡账户支持转账还款以外的转入。"),
            Verdict::Unsupported(Reason::Negation)
        );
    }

    #[test]
    fn what_is_worked_out_before_the_readers_eyes_is_supported() {
        let source = "| 金卡 | 160元/年 |\n| 白金卡 | 600元/年 |";
        let missing = |answer: &str| unsupported(answer, &[source]);
        let none: [&str; 0] = [];
        assert_eq!(
            missing("金卡160元/年，白金卡600元/年，相差440元/年（600 − 160 = 440，按表中数字计算）。"),
            none
        );
        assert_eq!(missing("相差450元/年（600 − 160 = 450）。"), ["450", "450 yuan"]);
        assert_eq!(missing("相差400元/年（600 − 200 = 400）。"), ["200", "400", "400 yuan"]);
        assert_eq!(missing("共2项：金卡、白金卡。"), none);
        assert_eq!(missing("共3项：金卡、白金卡。"), ["3"]);
        assert_eq!(missing("2 in all: 金卡, 白金卡."), none);
    }

    #[test]
    fn the_customers_own_numbers_may_be_repeated() {
        assert!(matches!(
            check("转账 800 元，异地跨行每笔手续费 2 元。"),
            Verdict::Supported { .. }
        ));
        assert_eq!(
            unsupported("800 元收 2 元，PayPal 收 9 元 [1]", &[FEES, "800元"]),
            ["9 yuan", "paypal"]
        );
    }
}
