//! The words of a text, for the lexical index and for measuring what a question and a text have in common.
//!
//! Chinese has no spaces. A dictionary (jieba) finds words, and pairs of neighbouring characters find what the
//! dictionary cuts differently in question and text; together they beat either alone.

use crate::domain::is_han;
use crate::understanding::{dictionary, normalise, simplified, simplify};
use std::collections::HashSet;
use std::sync::LazyLock;

/// Words that say how something is asked and not what about.
const STOP_WORDS: &str = "的 了 吗 呢 吧 啊 呀 哦 嘛 么 着 过 是 我 你 您 他 她 它 我们 你们 他们 咱 咱们 自己 有 没有 和 与 及 或 \
    或者 在 就 都 也 还 又 再 很 这 那 这个 那个 这些 那些 哪 哪个 哪些 哪里 哪儿 怎么 怎么办 怎么样 怎样 如何 什么 为什么 为何 咋 \
    咋办 啥 多少 几 请问 请 想 要 想要 需要 可以 可 能 能够 能不能 可不可以 会 会不会 是不是 是否 有没有 应该 该 被 把 给 让 跟 对 \
    从 到 向 于 以 为 之 其 个 一下 一个 下 去 来 呗 谢谢 你好 您好 麻烦 知道 问 问一下 想问 告诉 一 得 地 里 上 时 时候 \
    a an the is are was were be been am do does did how what when where which who whom why can could may might must \
    should would will shall i me my mine we us our you your he she it its they them their this that these those to of \
    in on at by for from with and or not no if as so than then there here have has had get got please tell know want \
    need about into any some";

static STOPS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| STOP_WORDS.split_whitespace().collect());

/// All terms of a text, each as often as it occurs: words, parts of compounds, and pairs of Han characters.
#[must_use]
pub(super) fn index_terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    for run in runs(text) {
        match run {
            Run::Han(run) => han_terms(&run, &mut terms),
            Run::Latin(word) => latin_terms(&word, &mut terms),
        }
    }
    terms
}

/// The terms a question is searched by: each once; without stop words unless it has nothing else.
#[must_use]
pub(super) fn query_terms(text: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let all: Vec<String> = index_terms(text)
        .into_iter()
        .filter(|term| seen.insert(term.clone()))
        .collect();
    let telling: Vec<String> = all
        .iter()
        .filter(|term| !STOPS.contains(term.as_str()))
        .cloned()
        .collect();
    if telling.is_empty() { all } else { telling }
}

/// The informative words of a text, each once.
#[must_use]
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for run in runs(text) {
        match run {
            Run::Han(run) => han_words(&run, &mut words),
            Run::Latin(word) => words.push(stem(&word)),
        }
    }
    let mut seen = HashSet::new();
    words.retain(|word| !STOPS.contains(word.as_str()) && seen.insert(word.clone()));
    words
}

/// The smallest parts of a text that names are made of: Han characters one by one, and words of other scripts cut where
/// letters and digits meet ("KX-200" and "kx 200" are the same).
#[must_use]
pub(super) fn units(text: &str) -> Vec<String> {
    let mut units = Vec::new();
    for run in runs(text) {
        match run {
            Run::Han(run) => units.extend(run.chars().map(String::from)),
            Run::Latin(word) => {
                let mut terms = Vec::new();
                latin_terms(&word, &mut terms);
                let parts = if terms.len() > 1 { &terms[1..] } else { &terms[..] };
                units.extend_from_slice(parts);
            }
        }
    }
    units
}

/// Units as one text: equal for the same units in the same order.
#[must_use]
pub(super) fn name_key(units: &[String]) -> String {
    let mut key = String::new();
    for unit in units {
        let is_latin = |c: Option<char>| c.is_some_and(|c| !is_han(c));
        if is_latin(key.chars().next_back()) && is_latin(unit.chars().next()) {
            key.push(' ');
        }
        key.push_str(unit);
    }
    key
}

/// A text in which names are looked for.
pub(super) struct Named {
    units: Vec<String>,
    /// Before which units, and after the last one, a word may begin.
    borders: Vec<bool>,
}

impl Named {
    /// Prepares `text`.
    pub(super) fn new(text: &str) -> Self {
        let units = units(text);
        let mut borders = vec![true; units.len() + 1];
        let mut at = 0;
        for run in runs(text) {
            // The parts of one word and number stand apart: any of them may be a name.
            let Run::Han(run) = run else { continue };
            at += units[at..].iter().take_while(|unit| !unit.starts_with(is_han)).count();
            for token in dictionary().cut(&run, false) {
                let length = token.word.chars().count();
                let end = (at + length).min(units.len());
                borders[(at + 1).min(end)..end].fill(false);
                at = end;
            }
        }
        Self { units, borders }
    }

    /// Where names stand in it: the longest at each place, none within another. A name of up to three units must begin and end
    /// where words do ("年费" is not in "今年费了"); what is longer is hardly there by chance. `look_up` gets keys of at most
    /// `longest` units.
    pub(super) fn names<T>(
        &self,
        longest: usize,
        mut look_up: impl FnMut(&str) -> Option<T>,
    ) -> Vec<(std::ops::Range<usize>, T)> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < self.units.len() {
            let most = longest.min(self.units.len() - at);
            let name = (1..=most).rev().find_map(|length| {
                let stands = length > 3 || (self.borders[at] && self.borders[at + length]);
                let name = stands.then(|| look_up(&self.key(at..at + length)))??;
                Some((at..at + length, name))
            });
            at = name.as_ref().map_or(at + 1, |(range, _)| range.end);
            found.extend(name);
        }
        found
    }

    /// The key of what stands there.
    pub(super) fn key(&self, range: std::ops::Range<usize>) -> String {
        name_key(&self.units[range])
    }
}

/// A stretch of Han characters of a text in which a word may have been mistyped.
pub(super) struct Piece {
    /// The characters.
    pub(super) text: String,
    /// Its pairs of neighbouring characters.
    pub(super) pairs: Vec<String>,
}

/// The stretches of `least..=most` Han characters of a text that begin and end where words do and hold no stop word, the longest
/// first at each place.
#[must_use]
pub(super) fn pieces(text: &str, least: usize, most: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for run in runs(text) {
        let Run::Han(run) = run else { continue };
        let tokens: Vec<&str> = dictionary()
            .cut(&run, false)
            .into_iter()
            .map(|token| token.word)
            .collect();
        for start in 0..tokens.len() {
            let mut longer = Vec::new();
            let mut text = String::new();
            for token in &tokens[start..] {
                text.push_str(token);
                let chars: Vec<char> = text.chars().collect();
                if STOPS.contains(token) || chars.len() > most {
                    break;
                }
                if chars.len() >= least {
                    let pairs = chars.windows(2).map(|pair| pair.iter().collect()).collect();
                    longer.push(Piece {
                        text: text.clone(),
                        pairs,
                    });
                }
            }
            pieces.extend(longer.into_iter().rev());
        }
    }
    pieces
}

/// What of a stretch of Han characters stands behind its last stop word.
#[must_use]
pub(super) fn after_stop_words(run: &str) -> &str {
    let tokens = dictionary().cut(run, false);
    let rest: usize = (tokens.iter().rev())
        .take_while(|token| !STOPS.contains(token.word))
        .map(|token| token.word.len())
        .sum();
    &run[run.len() - rest..]
}

/// Whether the dictionary has that word.
#[must_use]
pub(super) fn is_word(text: &str) -> bool {
    dictionary().has_word(text)
}

/// A text in which words are looked for.
pub(super) struct Haystack {
    text: String,
    latin: HashSet<String>,
}

impl Haystack {
    /// Prepares `text`.
    pub(super) fn new(text: &str) -> Self {
        let text = simplify(&normalise(text)).to_lowercase();
        let mut latin = HashSet::new();
        for run in runs(&text) {
            if let Run::Latin(word) = run {
                let mut terms = Vec::new();
                latin_terms(&word, &mut terms);
                latin.extend(terms);
            }
        }
        Self { text, latin }
    }

    /// How much of `word` is in the text, 0 to 1: all of it, or for a longer Chinese word the share of its pairs of
    /// characters ("信用卡年费" where the text has "信用卡的年费").
    pub(super) fn contains(&self, word: &str) -> f32 {
        let chars: Vec<char> = word.chars().collect();
        if !chars.first().is_some_and(|c| is_han(*c)) {
            return f32::from(u8::from(self.latin.contains(word)));
        }
        if self.text.contains(word) {
            return 1.0;
        }
        if chars.len() < 3 {
            return 0.0;
        }
        let pairs = chars
            .windows(2)
            .filter(|pair| self.text.contains(&pair.iter().collect::<String>()))
            .count();
        pairs as f32 / (chars.len() - 1) as f32
    }
}

/// A stretch of one kind.
enum Run {
    /// Han characters.
    Han(String),
    /// A word or number of any other script, in lower case.
    Latin(String),
}

/// The runs of a text after normalising, in simplified characters: question and text meet in either script. A full stop between digits belongs to the number; a comma there is left out.
fn runs(text: &str) -> Vec<Run> {
    let chars: Vec<char> = normalise(text)
        .chars()
        .map(simplified)
        .flat_map(char::to_lowercase)
        .collect();
    let mut runs = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let start = at;
        if is_han(chars[at]) {
            while at < chars.len() && is_han(chars[at]) {
                at += 1;
            }
            runs.push(Run::Han(chars[start..at].iter().collect()));
        } else if chars[at].is_alphanumeric() {
            let mut word = String::new();
            let digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
            while at < chars.len() {
                let c = chars[at];
                let within_number = at > start && digit(at - 1) && digit(at + 1);
                if c.is_alphanumeric() && !is_han(c) || (c == '.' && within_number) {
                    word.push(c);
                } else if !(c == ',' && within_number && digit(at + 2) && digit(at + 3)) {
                    break;
                }
                at += 1;
            }
            runs.push(Run::Latin(word));
        } else {
            at += 1;
        }
    }
    runs
}

/// The words of a run. Only the dictionary cuts: jieba's guesses at unknown words tear known ones apart ("金卡年|费要").
/// What the dictionary does not know comes out as single characters; neighbouring ones are joined.
fn han_words(run: &str, words: &mut Vec<String>) {
    let mut joined = String::new();
    for token in dictionary().cut(run, false) {
        let is_single = token.word.chars().nth(1).is_none();
        if is_single && !STOPS.contains(token.word) {
            joined.push_str(token.word);
            continue;
        }
        if !joined.is_empty() {
            words.push(std::mem::take(&mut joined));
        }
        words.push(token.word.to_owned());
    }
    if !joined.is_empty() {
        words.push(joined);
    }
}

fn han_terms(run: &str, terms: &mut Vec<String>) {
    let mut pairs: HashSet<&str> = HashSet::new();
    let borders: Vec<usize> = run.char_indices().map(|(at, _)| at).chain([run.len()]).collect();
    for ends in borders.windows(3) {
        let pair = &run[ends[0]..ends[2]];
        pairs.insert(pair);
        terms.push(pair.to_owned());
    }
    // A word of two characters is a pair already.
    terms.extend(
        dictionary()
            .cut_for_search(run, false)
            .into_iter()
            .filter(|token| !pairs.contains(token.word))
            .map(|token| token.word.to_owned()),
    );
}

/// The word, and where letters and digits meet ("iphone15"), its parts.
fn latin_terms(word: &str, terms: &mut Vec<String>) {
    terms.push(stem(word));
    let is_digit = |c: char| c.is_ascii_digit() || c == '.';
    let mut start = 0;
    let mut parts = Vec::new();
    for (at, c) in word.char_indices().skip(1) {
        let before = word[..at].chars().next_back().unwrap_or(c);
        if is_digit(before) != is_digit(c) {
            parts.push(&word[start..at]);
            start = at;
        }
    }
    if start > 0 {
        parts.push(&word[start..]);
        terms.extend(parts.into_iter().map(stem));
    }
}

/// English plurals become singular (the S-stemmer of Harman, 1991); everything else stays.
fn stem(word: &str) -> String {
    if word.len() <= 3 || !word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return word.to_owned();
    }
    let ends = |endings: &[&str]| endings.iter().any(|ending| word.ends_with(ending));
    if word.ends_with("ies") && !ends(&["eies", "aies"]) {
        format!("{}y", &word[..word.len() - 3])
    } else if (word.ends_with("es") && !ends(&["aes", "ees", "oes"]))
        || (word.ends_with('s') && !ends(&["us", "ss", "es"]))
    {
        word[..word.len() - 1].to_owned()
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_both_languages() {
        assert_eq!(words("请问信用卡丢了怎么挂失？"), ["信用卡", "丢", "挂失"]);
        assert_eq!(words("How do I return the Items?"), ["return", "item"]);
        assert_eq!(words("ＡＢＣ１２ 年费 1,200.50元"), ["abc12", "年费", "1200.50", "元"]);
        assert_eq!(words("金卡年费要多少"), ["金卡年费"]);
        assert!(words("怎么办呢").is_empty());
    }

    #[test]
    fn questions_and_texts_meet_however_they_are_cut() {
        let terms: HashSet<String> = index_terms("办理信用卡挂失手续").into_iter().collect();
        for term in query_terms("信用卡挂失") {
            assert!(terms.contains(&term), "{term}");
        }
        let terms = index_terms("iPhone15 policies");
        for term in ["iphone15", "iphone", "15", "policy"] {
            assert!(terms.iter().any(|other| other == term), "{term}");
        }
        assert!(!query_terms("怎么办").is_empty());
        assert!(query_terms("，。!?").is_empty());
    }

    #[test]
    fn names_are_found_by_their_units() {
        assert_eq!(name_key(&units("KX-200 门锁E31")), "kx 200门锁e 31");
        assert_eq!(name_key(&units("kx200")), name_key(&units("KX 200")));
        let names = ["金卡", "白金卡", "e 31"];
        let found = Named::new("白金卡和金卡报 E31").names(4, |key| names.iter().position(|name| *name == key));
        let numbers: Vec<usize> = found.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers, [1, 0, 2]);
        assert_eq!(found[0].0, 0..3);
        let named = |text: &str| Named::new(text).names(4, |key| (key == "年费").then_some(())).len();
        assert_eq!(
            (named("今年费了很大劲"), named("ATM2 的年费"), named("年费年费")),
            (0, 1, 2)
        );
    }

    #[test]
    fn pieces_begin_and_end_with_words() {
        let texts: Vec<String> = pieces("我的信用咔丢了", 2, 4)
            .into_iter()
            .map(|piece| piece.text)
            .collect();
        assert_eq!(texts, ["信用咔丢", "信用咔", "信用", "咔丢"]);
    }

    #[test]
    fn both_scripts_have_the_same_terms() {
        assert_eq!(
            index_terms("信用卡遺失，怎麼掛失？"),
            index_terms("信用卡遗失，怎么挂失？")
        );
        let text = Haystack::new("國際漫遊資費");
        assert!(words("国际漫游").iter().all(|word| text.contains(word) > 0.9));
        let text = Haystack::new("国际漫游资费");
        assert!(words("國際漫遊").iter().all(|word| text.contains(word) > 0.9));
    }

    #[test]
    fn a_word_is_found_whole_or_in_part() {
        let text = Haystack::new("普卡的信用卡的年费为 200 元，Gold cards free");
        assert!((text.contains("信用卡") - 1.0).abs() < f32::EPSILON);
        assert!((text.contains("信用卡年费") - 0.75).abs() < f32::EPSILON);
        assert!(text.contains("挂失") < f32::EPSILON);
        assert!(text.contains("200") > 0.9 && text.contains("20") < 0.1 && text.contains("card") > 0.9);
    }
}
