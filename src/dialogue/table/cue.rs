//! The words of a question that are no names: what is asked, and what only surrounds it.

use super::fold::words;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What some words of a question say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cue {
    /// Nothing that matters.
    Filler,
    /// Something that no table answers: "为什么".
    Beyond,
    /// Which of them: "哪个", "which".
    Which,
    /// What, how much: a value is asked for.
    Value,
    /// How much it costs: a value, and of money.
    Money,
    /// How long it takes: a value, and of time.
    Time,
    /// By how much they differ.
    Difference,
    /// More of it: "高", "更贵". With a number: by how much.
    Degree(Degree),
    /// By how much more: "贵多少".
    DegreeDifference(Degree),
    /// The most of all: "最高".
    Most(Degree),
    /// That costs nothing: "免费".
    Free,
    /// A bound before its number: "超过 100".
    BoundBefore(Bound),
    /// A bound after its number: "100 元以上".
    BoundAfter(Bound),
    /// How many there are: "几种".
    Count,
    /// All of them: "有哪些", "分别".
    List,
    /// Per year, per month.
    Per(&'static str),
}

/// A direction, and what it can be said of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Degree {
    pub(super) more: bool,
    pub(super) of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// Anything that has a number.
    Any,
    Money,
    Time,
}

/// How a number is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Above,
    Below,
    AtLeast,
    AtMost,
}

const MORE: &[(&str, Of)] = &[
    ("高", Of::Any),
    ("多", Of::Any),
    ("大", Of::Any),
    ("重", Of::Any),
    ("贵", Of::Money),
    ("长", Of::Any),
    ("久", Of::Time),
    ("慢", Of::Time),
];
const LESS: &[(&str, Of)] = &[
    ("低", Of::Any),
    ("少", Of::Any),
    ("小", Of::Any),
    ("轻", Of::Any),
    ("便宜", Of::Money),
    ("划算", Of::Money),
    ("实惠", Of::Money),
    ("短", Of::Any),
    ("快", Of::Time),
];
/// English: base, comparative, superlative.
const MORE_EN: &[(&str, &str, &str, Of)] = &[
    ("high", "higher", "highest", Of::Any),
    ("large", "larger", "largest", Of::Any),
    ("big", "bigger", "biggest", Of::Any),
    ("heavy", "heavier", "heaviest", Of::Any),
    ("long", "longer", "longest", Of::Any),
    ("expensive", "more expensive", "most expensive", Of::Money),
    ("costly", "costlier", "costliest", Of::Money),
    ("slow", "slower", "slowest", Of::Time),
    ("much", "more", "most", Of::Any),
    ("dear", "dearer", "dearest", Of::Money),
];
const LESS_EN: &[(&str, &str, &str, Of)] = &[
    ("low", "lower", "lowest", Of::Any),
    ("small", "smaller", "smallest", Of::Any),
    ("light", "lighter", "lightest", Of::Any),
    ("short", "shorter", "shortest", Of::Any),
    ("cheap", "cheaper", "cheapest", Of::Money),
    ("expensive", "less expensive", "least expensive", Of::Money),
    ("quick", "quicker", "quickest", Of::Time),
    ("fast", "faster", "fastest", Of::Time),
    ("little", "less", "least", Of::Any),
];

const WHICH: &[&str] = &[
    "哪个",
    "哪一个",
    "哪种",
    "哪一种",
    "哪张",
    "哪一张",
    "哪款",
    "哪一款",
    "哪家",
    "哪类",
    "哪档",
    "哪项",
    "哪一项",
    "哪台",
    "哪条",
    "哪些",
    "哪几种",
    "哪几个",
    "哪几张",
    "哪几款",
    "谁",
    "哪",
    "which",
    "which one",
    "which of the",
];
const VALUE: &[&str] = &[
    "多少",
    "是多少",
    "几",
    "什么",
    "是什么",
    "多高",
    "多大",
    "多重",
    "多长",
    "what",
    "how much",
    "how high",
    "how large",
    "how many",
];
const BEYOND: &[&str] = &[
    "为什么",
    "为何",
    "为啥",
    "怎么",
    "怎样",
    "如何",
    "凭什么",
    "what if",
    "how do",
    "how to",
    "how can",
    "how would",
    "how is",
];
const MONEY: &[&str] = &[
    "多少钱",
    "几块钱",
    "几块",
    "几元",
    "多少元",
    "怎么收费",
    "收多少",
    "收费多少",
    "how much does it cost",
    "how much do they cost",
];
const TIME: &[&str] = &[
    "多久",
    "几天",
    "多长时间",
    "多少天",
    "几个月",
    "how long",
    "how many days",
];
const DIFFERENCE: &[&str] = &[
    "差多少",
    "相差多少",
    "差了多少",
    "差几",
    "差多少钱",
    "相差多少钱",
    "相差几",
    "相差",
    "差额",
    "差价",
    "差距",
    "差距多大",
    "差异",
    "差别",
    "差",
    "difference",
    "differ",
    "price difference",
    "the difference",
];
const FREE: &[&str] = &[
    "免费",
    "免",
    "免收",
    "不收费",
    "不收",
    "不要钱",
    "不用钱",
    "不花钱",
    "免交",
    "免付",
    "free",
    "free of charge",
    "no charge",
    "for free",
    "without charge",
];
const COUNT: &[&str] = &[
    "几种",
    "多少种",
    "几个",
    "多少个",
    "几款",
    "多少款",
    "几张",
    "几类",
    "多少类",
    "几档",
    "几项",
    "多少项",
    "几家",
    "how many",
    "how many kinds of",
    "how many types of",
    "number of",
    "一共有几种",
    "共几种",
];
const LIST: &[&str] = &[
    "有哪些",
    "都有哪些",
    "哪些",
    "分别",
    "分别是",
    "各",
    "各是",
    "各自",
    "各要",
    "所有",
    "全部",
    "每种",
    "每个",
    "各种",
    "列出",
    "有什么",
    "all",
    "list",
    "every",
    "what are",
];
const FILLER: &[&str] = &[
    "的",
    "了",
    "呢",
    "吗",
    "嘛",
    "啊",
    "呀",
    "吧",
    "是",
    "有",
    "在",
    "和",
    "与",
    "跟",
    "及",
    "以及",
    "还是",
    "或",
    "或者",
    "还",
    "都",
    "到底",
    "究竟",
    "大概",
    "请问",
    "请",
    "问",
    "你好",
    "您好",
    "我",
    "想",
    "我想",
    "知道",
    "了解",
    "查",
    "查一下",
    "查询",
    "一下",
    "看",
    "看看",
    "告诉",
    "帮",
    "给",
    "你们",
    "您们",
    "贵行",
    "贵司",
    "这",
    "那",
    "之间",
    "两个",
    "两种",
    "两者",
    "两张",
    "两款",
    "三个",
    "三种",
    "三张",
    "三款",
    "种",
    "个",
    "款",
    "要",
    "需要",
    "收",
    "收取",
    "交",
    "付",
    "花",
    "钱",
    "元",
    "为",
    "之",
    "其中",
    "里",
    "里面",
    "中",
    "上",
    "目前",
    "现在",
    "现行",
    "如今",
    "会",
    "应",
    "应该",
    "寄",
    "寄到",
    "到",
    "发",
    "发到",
    "送",
    "送到",
    "往",
    "去",
    "办",
    "办理",
    "用",
    "使用",
    "买",
    "购买",
    "比",
    "相比",
    "比较",
    "对比",
    "一些",
    "一点",
    "更",
    "于",
    "呐",
    "哈",
    "也",
    "把",
    "一张",
    "一台",
    "一款",
    "一个",
    "一种",
    "so",
    "the",
    "of",
    "is",
    "are",
    "was",
    "do",
    "does",
    "did",
    "a",
    "an",
    "for",
    "in",
    "on",
    "at",
    "to",
    "from",
    "by",
    "with",
    "and",
    "or",
    "v",
    "vs",
    "versus",
    "between",
    "than",
    "compare",
    "compared",
    "comparison",
    "each",
    "you",
    "your",
    "i",
    "me",
    "my",
    "please",
    "tell",
    "can",
    "could",
    "would",
    "want",
    "know",
    "about",
    "it",
    "its",
    "there",
    "this",
    "that",
    "these",
    "those",
    "one",
    "two",
    "three",
    "take",
    "send",
    "charge",
    "cost",
    "pay",
    "have",
    "has",
    "get",
    "which",
    "what",
    "i'd",
    "like",
    "show",
    "be",
    "will",
    "any",
    "we",
    "need",
    "kind",
    "type",
];
const PER: &[(&str, &str)] = &[
    ("一年", "year"),
    ("每年", "year"),
    ("per year", "year"),
    ("a year", "year"),
    ("yearly", "year"),
    ("annually", "year"),
    ("一个月", "month"),
    ("每月", "month"),
    ("每个月", "month"),
    ("per month", "month"),
    ("a month", "month"),
    ("monthly", "month"),
    ("一天", "day"),
    ("每天", "day"),
    ("per day", "day"),
    ("a day", "day"),
    ("一次", "次"),
    ("每次", "次"),
    ("一笔", "笔"),
    ("每笔", "笔"),
    ("一份", "份"),
    ("每份", "份"),
    ("一件", "件"),
    ("每件", "件"),
    ("每张", "张"),
    ("每台", "台"),
    ("每米", "m"),
    ("一米", "m"),
    ("每公斤", "kg"),
    ("每千克", "kg"),
];
const BOUNDS_BEFORE: &[(&str, Bound)] = &[
    ("超过", Bound::Above),
    ("大于", Bound::Above),
    ("高于", Bound::Above),
    ("多于", Bound::Above),
    ("高过", Bound::Above),
    ("over", Bound::Above),
    ("above", Bound::Above),
    ("more than", Bound::Above),
    ("higher than", Bound::Above),
    ("greater than", Bound::Above),
    (">", Bound::Above),
    ("低于", Bound::Below),
    ("小于", Bound::Below),
    ("少于", Bound::Below),
    ("不到", Bound::Below),
    ("不足", Bound::Below),
    ("under", Bound::Below),
    ("below", Bound::Below),
    ("less than", Bound::Below),
    ("lower than", Bound::Below),
    ("cheaper than", Bound::Below),
    ("<", Bound::Below),
    ("不低于", Bound::AtLeast),
    ("不少于", Bound::AtLeast),
    ("不小于", Bound::AtLeast),
    ("至少", Bound::AtLeast),
    ("at least", Bound::AtLeast),
    ("≥", Bound::AtLeast),
    ("不超过", Bound::AtMost),
    ("不高于", Bound::AtMost),
    ("不多于", Bound::AtMost),
    ("不大于", Bound::AtMost),
    ("at most", Bound::AtMost),
    ("no more than", Bound::AtMost),
    ("up to", Bound::AtMost),
    ("≤", Bound::AtMost),
];
const BOUNDS_AFTER: &[(&str, Bound)] = &[
    ("以上", Bound::AtLeast),
    ("及以上", Bound::AtLeast),
    ("or more", Bound::AtLeast),
    ("以下", Bound::AtMost),
    ("及以下", Bound::AtMost),
    ("以内", Bound::AtMost),
    ("之内", Bound::AtMost),
    ("or less", Bound::AtMost),
];

type Cues = HashMap<Vec<String>, Cue>;

fn cues() -> Cues {
    let mut found = Cues::new();
    // What is added first stays: a filler never takes the place of a cue.
    let mut add = |text: &str, cue: Cue| {
        found.entry(words(text)).or_insert(cue);
    };
    for (text, of, more) in
        (MORE.iter().map(|(text, of)| (text, of, true))).chain(LESS.iter().map(|(text, of)| (text, of, false)))
    {
        let degree = Degree { more, of: *of };
        add(&format!("最{text}"), Cue::Most(degree));
        for form in ["更", "比较", "", "要", "会"] {
            add(&format!("{form}{text}"), Cue::Degree(degree));
        }
        for form in ["一些", "一点", "些", "点", "出"] {
            add(&format!("{text}{form}"), Cue::Degree(degree));
        }
        for form in ["多少", "多少钱", "出多少", "了多少", "几", "几块钱", "几元", "多久"] {
            add(&format!("{text}{form}"), Cue::DegreeDifference(degree));
        }
    }
    for (verb, more) in [
        ("多收", true),
        ("少收", false),
        ("多付", true),
        ("少付", false),
        ("省", false),
    ] {
        let degree = Degree { more, of: Of::Any };
        for form in ["多少", "多少钱"] {
            add(&format!("{verb}{form}"), Cue::DegreeDifference(degree));
        }
    }
    for ((base, comparative, superlative, of), more) in
        (MORE_EN.iter().map(|row| (row, true))).chain(LESS_EN.iter().map(|row| (row, false)))
    {
        let degree = Degree { more, of: *of };
        add(superlative, Cue::Most(degree));
        add(comparative, Cue::Degree(degree));
        add(&format!("how much {comparative}"), Cue::DegreeDifference(degree));
        add(&format!("how many {comparative}"), Cue::DegreeDifference(degree));
        if !matches!(*base, "much" | "little") {
            add(base, Cue::Degree(degree));
        }
    }
    for (text, bound) in BOUNDS_BEFORE {
        add(text, Cue::BoundBefore(*bound));
    }
    for (text, bound) in BOUNDS_AFTER {
        add(text, Cue::BoundAfter(*bound));
    }
    for (text, per) in PER {
        add(text, Cue::Per(per));
    }
    let plain: [(&[&str], Cue); 10] = [
        (BEYOND, Cue::Beyond),
        (DIFFERENCE, Cue::Difference),
        (FREE, Cue::Free),
        (COUNT, Cue::Count),
        (MONEY, Cue::Money),
        (TIME, Cue::Time),
        (LIST, Cue::List),
        (WHICH, Cue::Which),
        (VALUE, Cue::Value),
        (FILLER, Cue::Filler),
    ];
    for (texts, cue) in plain {
        for text in texts {
            add(text, cue);
        }
    }
    found
}

static CUES: LazyLock<(Cues, usize)> = LazyLock::new(|| {
    let cues = cues();
    let longest = cues.keys().map(Vec::len).max().unwrap_or(0);
    (cues, longest)
});

/// The longest cue that `words` begin with, and how many words it has.
pub(super) fn at(words: &[&str]) -> Option<(Cue, usize)> {
    let (cues, longest) = &*CUES;
    (1..=words.len().min(*longest)).rev().find_map(|length| {
        let key: Vec<String> = words[..length].iter().map(|word| (*word).to_owned()).collect();
        cues.get(&key).map(|cue| (*cue, length))
    })
}

#[cfg(test)]
mod tests {
    use super::{Cue, Degree, Of, at};

    #[test]
    fn the_longest_words_decide() {
        let cue = |words: &[&str]| at(words).map(|(cue, _)| cue);
        assert_eq!(cue(&["差", "多", "少"]), Some(Cue::Difference));
        assert_eq!(
            cue(&["最", "高"]),
            Some(Cue::Most(Degree {
                more: true,
                of: Of::Any
            }))
        );
        assert_eq!(
            cue(&["便", "宜", "多", "少"]),
            Some(Cue::DegreeDifference(Degree {
                more: false,
                of: Of::Money
            }))
        );
        assert_eq!(cue(&["多", "少"]), Some(Cue::Value));
        assert_eq!(
            cue(&["how", "much", "cheaper"]),
            Some(Cue::DegreeDifference(Degree {
                more: false,
                of: Of::Money
            }))
        );
        assert_eq!(cue(&["不", "超", "过"]), Some(Cue::BoundBefore(super::Bound::AtMost)));
        assert_eq!(cue(&["不", "是"]), None);
    }
}
