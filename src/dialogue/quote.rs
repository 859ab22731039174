//! An answer without a writer: the sentences of a passage that hold the answer, word for word.

use super::sentences::segments;
use crate::inference::AnswerPlace;
use regex::Regex;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

/// Characters that a quotation aims at where the place of the answer is sure: two or three sentences.
const SHORT_CHARS: usize = 160;
/// Characters of a quotation at most where it is not.
const LONG_CHARS: usize = 320;
/// The same two where the question asks for a description, a list, a reason or a way: its answer is several sentences.
const AT_LENGTH: [usize; 2] = [320, 480];
/// Characters of a text that are not left out where a description is quoted from it: a sentence or two at its end.
const REST_CHARS: usize = 90;
/// How likely the answer must be within a quotation that is not made longer. Of 367 answers to questions on encyclopaedia
/// articles (CMRC 2018), the given answer stood in .88 of the quotations when all were short (136 characters on the average),
/// in .926 with this rule (184), in .937 when all were long (251).
const SURE: f32 = 0.98;
/// How many sentences are quoted along at most because one refers to them.
const MOST_BEFORE: usize = 2;
/// How many rows are quoted along at most because a row refers to them.
const MOST_ROWS_ABOVE: usize = 8;
/// How likely a table's row must hold the answer to be quoted beside the likeliest.
const LIKELY_ROW: f32 = 0.05;

/// How much a question asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A name, a number, a date, yes or no.
    Fact,
    /// What something is like, consists of, is for, comes from, or how it is done.
    Description,
}

impl Detail {
    /// What `question` asks for, by its words.
    #[must_use]
    pub fn of(question: &str) -> Self {
        const WORDS: [&str; 48] = [
            "怎样",
            "怎么样",
            "怎樣",
            "怎麼樣",
            "如何",
            "什么样",
            "什麼樣",
            "特点",
            "特點",
            "特征",
            "特徵",
            "特色",
            "外形",
            "外观",
            "外觀",
            "内容",
            "內容",
            "经过",
            "經過",
            "过程",
            "過程",
            "背景",
            "原因",
            "为什么",
            "為什麼",
            "为何",
            "為何",
            "哪些",
            "有何",
            "做了什么",
            "做了什麼",
            "功能",
            "作用",
            "功效",
            "影响",
            "影響",
            "评价",
            "評價",
            "介绍",
            "介紹",
            "区别",
            "差別",
            "流程",
            "步骤",
            "步驟",
            "describe",
            "what are",
            "how do",
        ];
        let question = question.to_lowercase();
        if WORDS.iter().any(|word| question.contains(word)) {
            Self::Description
        } else {
            Self::Fact
        }
    }
}

/// What is quoted of a text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The head of the table that `part` is a row of.
    pub table_head: Option<Range<usize>>,
    /// The words.
    pub part: Range<usize>,
}

impl Quote {
    /// Words that are no row of a table.
    #[must_use]
    pub fn part(part: Range<usize>) -> Self {
        Self { table_head: None, part }
    }
}

impl Quote {
    /// The part with the head of its table, if it is a row of one.
    #[must_use]
    pub fn at(text: &str, part: Range<usize>) -> Self {
        if !is_row(&text[part.clone()]) {
            return Self::part(part);
        }
        let mut head = None;
        let mut start = text[..part.start].rfind('\n').map_or(0, |at| at + 1);
        while start > 0 {
            let before = text[..start - 1].rfind('\n').map_or(0, |at| at + 1);
            let line = &text[before..start - 1];
            if !is_row(line) {
                break;
            }
            head = Some(before..before + line.trim_end().len());
            start = before;
        }
        Self {
            table_head: head.filter(|head| !is_rule(&text[head.clone()])),
            part,
        }
    }

    /// Whether it is a row of a table.
    #[must_use]
    pub fn is_row(&self, text: &str) -> bool {
        is_row(&text[self.part.clone()])
    }

    /// The words as an answer shows them: a row as a table of its own, with its head.
    #[must_use]
    pub fn shown(&self, text: &str) -> String {
        let part = &*without_anchors(&text[self.part.clone()]);
        match &self.table_head {
            Some(head) => {
                let head = text[head.clone()].trim();
                let columns = head.matches('|').count().saturating_sub(1).max(1);
                format!("{head}\n|{}\n{part}\n", " --- |".repeat(columns))
            }
            None if is_row(part) => format!("{part}\n"),
            None => part.to_owned(),
        }
    }
}

/// The part of `text` that holds the answer as the reader sees it: the sentences that the likeliest place touches, and
/// their neighbours as long as the whole stays short; longer where the reader is not sure of the place, towards where
/// else the answer may be. A list that is touched is quoted whole. A row of a table takes the table's head along.
///
/// `also` is where another reader sees the answer: sentences up to there are quoted too, if that is not too long.
#[must_use]
pub fn quote_around(text: &str, place: &AnswerPlace, also: Option<&Range<usize>>, detail: Detail) -> Quote {
    let parts = units(text);
    let answer = &place.span;
    let touched = |range: &Range<usize>| range.start < answer.end && answer.start < range.end;
    // Where only a heading is marked, what stands under it is meant.
    let below = || parts.iter().position(|range| range.start >= answer.start);
    let Some(first) = parts.iter().position(touched).or_else(below) else {
        let whole = text.len() - text.trim_start().len()..text.trim_end().len();
        return Quote::part(whole);
    };
    let last = parts.iter().rposition(touched).unwrap_or(first);
    let draft = Draft {
        text,
        parts: &parts,
        place,
        chars: match detail {
            Detail::Fact => [SHORT_CHARS, LONG_CHARS],
            Detail::Description => AT_LENGTH,
        },
    };
    if draft.is_row(first) {
        draft.rows(first, last)
    } else {
        let (first, last) = draft.up_to(first, last, also);
        draft.sentences(first, last)
    }
}

/// What is quoted whole or not at all: sentences (with what a semicolon divides), items of lists, rows of tables.
fn units(text: &str) -> Vec<Range<usize>> {
    let mut units: Vec<Range<usize>> = Vec::new();
    for range in segments(text) {
        if is_rule(&text[range.clone()]) || is_table_head(text, &range) || is_heading(text, &range) {
            continue;
        }
        match units.last_mut() {
            Some(last) if text[last.clone()].ends_with('；') && !text[last.end..range.start].contains('\n') => {
                last.end = range.end;
            }
            _ => units.push(range),
        }
    }
    units
}

/// A quotation in the making.
struct Draft<'a> {
    text: &'a str,
    parts: &'a [Range<usize>],
    place: &'a AnswerPlace,
    /// Characters aimed at where the place is sure, and where it is not.
    chars: [usize; 2],
}

impl Draft<'_> {
    fn limit(&self, sure: bool) -> usize {
        self.chars[usize::from(!sure)]
    }

    fn is_row(&self, part: usize) -> bool {
        is_row(&self.text[self.parts[part].clone()])
    }

    fn is_item(&self, part: usize) -> bool {
        is_item(self.text, &self.parts[part])
    }

    fn bytes(&self, first: usize, last: usize) -> Range<usize> {
        self.parts[first].start..self.parts[last].end
    }

    fn chars(&self, first: usize, last: usize) -> usize {
        self.text[self.bytes(first, last)].chars().count()
    }

    /// Whether a heading stands between the first and the last part: what is below it is about something else.
    fn has_heading(&self, first: usize, last: usize) -> bool {
        self.text[self.bytes(first, last)]
            .lines()
            .any(|line| line.trim_start().starts_with('#'))
    }

    /// How likely the answer is within, or touches it.
    fn share(&self, part: usize) -> f32 {
        self.place.touching(&self.parts[part])
    }

    /// The row with the table's head, and the next ones that the answer may be in.
    fn rows(&self, first: usize, last: usize) -> Quote {
        let (mut first, mut last) = (
            first,
            (first..=last)
                .take_while(|part| self.is_row(*part))
                .last()
                .unwrap_or(first),
        );
        let likely = |part: usize| self.is_row(part) && self.share(part) >= LIKELY_ROW;
        while first > 0 && likely(first - 1) && self.chars(first - 1, last) <= self.limit(false) {
            first -= 1;
        }
        while last + 1 < self.parts.len() && likely(last + 1) && self.chars(first, last + 1) <= self.limit(false) {
            last += 1;
        }
        // "The same as above" says nothing without what is above.
        let refers = |part: usize| refers_above(&self.text[self.parts[part].clone()]);
        let said = (0..=first)
            .rev()
            .take_while(|part| self.is_row(*part))
            .find(|part| !refers(*part));
        if let Some(said) = said.filter(|said| first - said <= MOST_ROWS_ABOVE) {
            first = said;
        }
        Quote {
            part: self.bytes(first, last),
            ..Quote::at(self.text, self.parts[first].clone())
        }
    }

    /// The parts from the first to the last with those that `also` touches, if all of it is sentences below one heading and
    /// not too long.
    fn up_to(&self, first: usize, last: usize, also: Option<&Range<usize>>) -> (usize, usize) {
        let touched = |part: &usize| {
            also.is_some_and(|also| self.parts[*part].start < also.end && also.start < self.parts[*part].end)
        };
        let (Some(from), Some(to)) = (
            (0..self.parts.len()).find(touched),
            (0..self.parts.len()).rfind(touched),
        ) else {
            return (first, last);
        };
        let (from, to) = (from.min(first), to.max(last));
        let fits = (from..=to).all(|part| !self.is_row(part))
            && self.chars(from, to) <= self.limit(false)
            && !self.has_heading(from, to);
        if fits { (from, to) } else { (first, last) }
    }

    fn sentences(&self, mut first: usize, mut last: usize) -> Quote {
        (first, last) = self.whole_list(first, last);
        first = self.with_what_it_refers_to(first, last);
        loop {
            let sure = self.place.within(&[self.bytes(first, last)]) >= SURE;
            let limit = self.limit(sure);
            let fits = |part: &usize| {
                let (from, to) = (first.min(*part), last.max(*part));
                !self.is_row(*part) && self.chars(from, to) <= limit && !self.has_heading(from, to)
            };
            let after = Some(last + 1).filter(|part| *part < self.parts.len()).filter(fits);
            let before = first.checked_sub(1).filter(fits);
            let earlier = self.place.touching(&(0..self.parts[first].start));
            let later = self.place.touching(&(self.parts[last].end..self.text.len()));
            // Of equals what follows: it explains more often than what precedes.
            let preferred = if earlier > later {
                before.or(after)
            } else {
                after.or(before)
            };
            let Some(next) = preferred else { break };
            (first, last) = self.whole_list(first.min(next), last.max(next));
        }
        let (start, end) = self.with_rest(first, last);
        Quote::part(self.bytes(start, end))
    }

    /// The first part, or the one before it that says what "this" or "therefore" means at its beginning.
    fn with_what_it_refers_to(&self, mut first: usize, last: usize) -> usize {
        for _ in 0..MOST_BEFORE {
            let refers = refers_back(&self.text[self.parts[first].clone()]) && !self.is_item(first);
            let Some(before) = first.checked_sub(1).filter(|_| refers) else {
                break;
            };
            if self.is_row(before) || self.has_heading(before, last) || self.chars(before, last) > self.limit(false) {
                break;
            }
            first = before;
        }
        first
    }

    /// The parts with those before and after them where a description is asked for and little of the text would be left out.
    fn with_rest(&self, first: usize, last: usize) -> (usize, usize) {
        let end = self.parts.len() - 1;
        let left = self.chars(0, end) - self.chars(first, last);
        let whole = self.chars == AT_LENGTH
            && left <= REST_CHARS
            && !self.has_heading(0, end)
            && !(0..=end).any(|part| self.is_row(part));
        if whole { (0, end) } else { (first, last) }
    }

    /// The parts with the rest of the list that they are in, and the line that announces it, if that is not too long.
    fn whole_list(&self, first: usize, last: usize) -> (usize, usize) {
        let (mut from, mut to) = (first, last);
        let announces = |part: usize| self.text[self.parts[part].clone()].ends_with(['：', ':']);
        // The items below the next heading are another list.
        let adjoins = |part: usize| part + 1 < self.parts.len() && !self.has_heading(part, part + 1);
        if self.is_item(from) {
            while from > 0 && self.is_item(from - 1) && adjoins(from - 1) {
                from -= 1;
            }
            if from > 0 && announces(from - 1) && adjoins(from - 1) {
                from -= 1;
            }
        }
        if self.is_item(to) || announces(to) {
            while adjoins(to) && self.is_item(to + 1) {
                to += 1;
            }
        }
        if self.chars(from, to) <= self.limit(false) {
            (from, to)
        } else {
            (first, last)
        }
    }
}

/// An item of a list: a mark or a number begins its line.
fn is_item(text: &str, part: &Range<usize>) -> bool {
    let line = text[..part.start].rfind('\n').map_or(0, |at| at + 1);
    let mark = text[line..part.start].trim();
    if !mark.is_empty() {
        return mark.chars().all(|c| matches!(c, '-' | '*' | '•'));
    }
    let own = text[part.clone()].trim_start_matches(['(', '（', '第']);
    let rest = own.trim_start_matches(|c: char| c.is_ascii_digit() || "一二三四五六七八九十".contains(c));
    rest.len() < own.len() && rest.starts_with(['.', '、', ')', '）', '．', '步'])
}

/// Links within the document, and the marks they lead to: they lead nowhere from an answer.
static ANCHORS: LazyLock<[(Regex, &'static str); 2]> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"));
    [
        (regex(r"\[([^\[\]\n]{0,300})\]\(#[^()\n]{0,300}\)"), "$1"),
        (regex(r"[ \t]*\{#[^{}\n]{0,200}\}"), ""),
    ]
});

fn without_anchors(part: &str) -> Cow<'_, str> {
    let mut part = Cow::Borrowed(part);
    for (pattern, replacement) in ANCHORS.iter() {
        if pattern.is_match(&part) {
            part = Cow::Owned(pattern.replace_all(&part, *replacement).into_owned());
        }
    }
    part
}

/// Whether the part is the head of a table: a row with the rule below it.
#[must_use]
pub fn is_table_head(text: &str, part: &Range<usize>) -> bool {
    let next = text[part.end..]
        .split_once('\n')
        .map_or("", |(_, rest)| rest.lines().next().unwrap_or(""));
    is_row(&text[part.clone()]) && next.contains('-') && is_rule(next.trim())
}

/// A heading of Markdown.
fn is_heading(text: &str, part: &Range<usize>) -> bool {
    let line = text[..part.start].rfind('\n').map_or(0, |at| at + 1);
    text[line..part.start].trim_start().starts_with('#')
}

/// Whether a cell of a row says that it is the same as in the row above.
fn refers_above(row: &str) -> bool {
    row.split('|').any(|cell| {
        ["同上", "同前", "〃", "″", "ditto", "same as above"].contains(&cell.trim().to_lowercase().as_str())
    })
}

/// Whether a sentence begins with a word that says nothing without the sentence before it.
fn refers_back(sentence: &str) -> bool {
    const CHINESE: [&str; 31] = [
        "这", "這", "该", "該", "此", "其", "他", "她", "它", "前者", "后者", "後者", "上述", "同时", "同時", "随即",
        "隨即", "随后", "隨後", "之后", "之後", "后来", "後來", "因此", "因而", "所以", "但", "然而", "不过", "不過",
        "否则",
    ];
    const ENGLISH: [&str; 16] = [
        "this",
        "these",
        "that",
        "those",
        "it",
        "its",
        "they",
        "their",
        "he",
        "she",
        "such",
        "then",
        "therefore",
        "however",
        "but",
        "otherwise",
    ];
    let word: String = sentence.chars().take_while(char::is_ascii_alphabetic).collect();
    CHINESE.iter().any(|start| sentence.starts_with(start)) || ENGLISH.contains(&word.to_lowercase().as_str())
}

/// A row of a pipe table.
fn is_row(part: &str) -> bool {
    part.trim_start().starts_with('|')
}

/// The line between a table's head and body.
fn is_rule(part: &str) -> bool {
    part.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

#[cfg(test)]
mod tests {
    use super::{Detail, Quote};
    use crate::inference::{AnswerPlace, TokenShare};
    use std::ops::Range;

    fn quote_around(text: &str, place: &AnswerPlace) -> Quote {
        super::quote_around(text, place, None, Detail::Fact)
    }

    /// A place that is beyond doubt.
    fn sure(span: Range<usize>) -> AnswerPlace {
        AnswerPlace {
            span,
            tokens: Vec::new(),
        }
    }

    #[test]
    fn a_doubtful_place_is_quoted_at_length_towards_where_else_it_may_be() {
        let sentence = |c: &str| format!("{}。", c.repeat(80));
        let text: String = ["甲", "乙", "丙", "丁", "戊"].map(sentence).concat();
        let bytes = sentence("甲").len();
        let place = |other: usize, share: f32| AnswerPlace {
            span: 2 * bytes..2 * bytes + 3,
            tokens: [(2, 1.0 - share), (other, share)]
                .map(|(sentence, share)| TokenShare {
                    bytes: sentence * bytes..sentence * bytes + 3,
                    begins: share,
                    ends: share,
                })
                .to_vec(),
        };
        assert_eq!(quote_around(&text, &place(3, 0.01)).part, 2 * bytes..3 * bytes);
        assert_eq!(quote_around(&text, &place(3, 0.3)).part, 2 * bytes..4 * bytes);
        assert_eq!(quote_around(&text, &place(1, 0.3)).part, bytes..3 * bytes);
        // Farther than a quotation may be long: as near as it gets.
        assert_eq!(quote_around(&text, &place(0, 0.3)).part, 0..3 * bytes);
    }

    #[test]
    fn a_sentence_comes_with_the_one_it_refers_to() {
        let text = format!(
            "{}。白金卡面向高端客户。该卡首年免年费。此后每年600元。",
            "前".repeat(150)
        );
        let quoted = |part: &str, text: &str| {
            let at = text.find(part).unwrap();
            text[quote_around(text, &sure(at..at + part.len())).part].to_owned()
        };
        let wanted = "白金卡面向高端客户。该卡首年免年费。此后每年600元。";
        assert_eq!(quoted("每年600元", &text), wanted);
        assert_eq!(quoted("首年", &text), wanted);
        // Not over a heading, and nothing that is too long to be quoted along.
        assert_eq!(
            quoted("首年", "# 白金卡\n\n介绍。\n\n# 年费\n\n该卡首年免年费。"),
            "该卡首年免年费。"
        );
        let long = format!("{}。该卡首年免年费。", "前".repeat(400));
        assert_eq!(quoted("首年", &long), "该卡首年免年费。");
    }

    #[test]
    fn a_quotation_ends_at_the_next_heading() {
        let text = "## 额度\n\n可在App提额。\n\n## 激活\n\n收到卡后激活。";
        let at = text.find("提额").unwrap();
        assert_eq!(&text[quote_around(text, &sure(at..at + 3)).part], "可在App提额。");
        let at = text.find("收到").unwrap();
        assert_eq!(&text[quote_around(text, &sure(at..at + 3)).part], "收到卡后激活。");
    }

    #[test]
    fn links_within_the_document_are_shown_as_words() {
        let text = "见[年费](#section_1)与[官网](https://example.com)。 {#top}";
        assert_eq!(
            Quote::part(0..text.len()).shown(text),
            "见年费与[官网](https://example.com)。"
        );
    }

    #[test]
    fn a_list_is_quoted_whole_with_the_line_that_announces_it() {
        let item = |n: u32| format!("{n}. {}。\n", "步".repeat(50));
        let text = format!(
            "说明在此。\n\n办理步骤：\n\n{}{}{}\n另行通知。",
            item(1),
            item(2),
            item(3)
        );
        let at = text.find("2. 步").unwrap();
        let got = quote_around(&text, &sure(at + 3..at + 6));
        let whole = &text[got.part];
        assert!(whole.starts_with("办理步骤：") && whole.ends_with("步。"), "{whole}");
        assert!(whole.contains("3. 步"));
        let two = "- 甲项\n- 乙项\n\n## 另一类\n\n- 丙项\n- 丁项\n";
        for (words, whole) in [("乙项", "甲项\n- 乙项"), ("丙项", "丙项\n- 丁项")] {
            let at = two.find(words).unwrap();
            assert_eq!(&two[quote_around(two, &sure(at..at + 3)).part], whole);
        }
        let dashed = "需要：\n- 身份证\n- 户口本\n";
        let at = dashed.find("户口").unwrap();
        assert_eq!(
            &dashed[quote_around(dashed, &sure(at..at + 3)).part],
            "需要：\n- 身份证\n- 户口本"
        );
    }

    #[test]
    fn a_row_takes_its_head_along_and_sentences_their_neighbours() {
        let text = "收费如下。\n| 卡 | 年费 |\n| --- | --- |\n| 金卡 | 200元 |\n| 白金卡 | 600元 |\n以上为标准价。";
        let around = |words: &str| {
            let at = text.find(words).unwrap();
            quote_around(text, &sure(at..at + words.len()))
        };
        let got = around("600元");
        assert_eq!(&text[got.table_head.clone().unwrap()], "| 卡 | 年费 |");
        assert_eq!(&text[got.part.clone()], "| 白金卡 | 600元 |");
        assert_eq!(got.shown(text), "| 卡 | 年费 |\n| --- | --- |\n| 白金卡 | 600元 |\n");
        assert_eq!(
            around("金卡 | 200元 |\n| 白金卡").shown(text),
            "| 卡 | 年费 |\n| --- | --- |\n| 金卡 | 200元 |\n| 白金卡 | 600元 |\n"
        );
        assert_eq!(&text[around("标准价").part], "以上为标准价。");
        let text = "| 方式 | 费用 | 利息 |\n| --- | --- | --- |\n| 柜台 | 1% | 每日0.05% |\n| 网银 | 2% | 同上 |\n| 境外 | 3% | 同上 |\n";
        let at = text.find("3%").unwrap();
        let got = quote_around(text, &sure(at..at + 2));
        assert!(
            got.shown(text).contains("每日0.05%") && got.shown(text).contains("境外"),
            "{}",
            got.shown(text)
        );

        let headed = "## 提前支取\n\n可提前支取1次。";
        assert_eq!(&headed[quote_around(headed, &sure(0..9)).part], "可提前支取1次。");
        let at = headed.find("1次").unwrap();
        assert_eq!(&headed[quote_around(headed, &sure(at..at + 1)).part], "可提前支取1次。");

        let prose = "甲。乙。丙。";
        assert_eq!(quote_around(prose, &sure(6..9)), Quote::part(0..prose.len()));
        assert_eq!(quote_around(prose, &sure(0..0)), Quote::part(0..prose.len()));
        let long = format!("{}。正是这句。{}。", "前".repeat(200), "后".repeat(200));
        let at = long.find("正是").unwrap();
        assert_eq!(&long[quote_around(&long, &sure(at..at + 3)).part], "正是这句。");
    }

    #[test]
    fn what_a_second_reader_saw_nearby_is_quoted_along() {
        let (long, next) = ("正".repeat(170) + "。", "次".repeat(100) + "。");
        let text = format!("{long}{next}{}", "远".repeat(200) + "。");
        let first = &sure(0..9);
        let whole = |part: Range<usize>| &text[super::quote_around(&text, first, Some(&part), Detail::Fact).part];
        assert_eq!(
            super::quote_around(&text, first, None, Detail::Fact).part,
            0..long.len()
        );
        assert_eq!(whole(long.len() + 3..long.len() + 9), format!("{long}{next}"));
        // Too far to be quoted in one piece.
        assert_eq!(whole(text.len() - 9..text.len() - 3), long);
    }

    #[test]
    fn a_description_is_quoted_at_length() {
        let text = "它是一种生活在沿海的小鸟。".repeat(60);
        let chars = |question| {
            let quote = super::quote_around(&text, &sure(0..9), None, Detail::of(question));
            text[quote.part].chars().count()
        };
        assert!(chars("它的外形有什么特点？") > 2 * chars("它叫什么？") - 40);
        // What is left of a text is not cut off from a description.
        let text = format!("{}末尾一句。", "它是一种生活在沿海的小鸟。".repeat(24));
        let quote = super::quote_around(&text, &sure(0..9), None, Detail::Description);
        assert!(text[quote.part].ends_with("末尾一句。"));
        assert_eq!(Detail::of("Describe the plan"), Detail::Description);
        assert_eq!(Detail::of("年费多少"), Detail::Fact);
    }
}
