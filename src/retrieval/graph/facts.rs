//! What a passage says about things, as far as its form tells: the rows and columns of its tables, its headings, what it
//! defines, and what else things are called. Read by rules, when the passage is indexed; what the rules do not see is not there.

use crate::domain::{Passage, is_han};
use crate::retrieval::searchable::plain;
use crate::retrieval::terms::{after_stop_words, units};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// Tables of a passage that are taken up.
const MAX_TABLES: usize = 4;
/// Rows of a table.
const MAX_KEYS: usize = 64;
/// Columns of a table.
const MAX_HEADS: usize = 12;
/// Things that a passage defines.
const MAX_DEFINED: usize = 8;
/// Pairs of names.
const MAX_ALIASES: usize = 16;
/// Characters of a name.
const NAME_CHARS: std::ops::RangeInclusive<usize> = 2..=16;
/// Chinese characters before a bracket that are taken for one name; of more it is not known where the name begins.
const MAX_BEFORE: usize = 8;

/// What one passage says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::retrieval) struct Facts {
    /// The innermost heading it stands under.
    pub(in crate::retrieval) heading: Option<String>,
    /// Its tables.
    pub(in crate::retrieval) tables: Vec<Table>,
    /// What it defines.
    pub(in crate::retrieval) defined: Vec<String>,
    /// Two names of one thing.
    pub(in crate::retrieval) aliases: Vec<(String, String)>,
}

/// A table: things, one a row, and what is said of each, one a column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::retrieval) struct Table {
    /// The heads of its columns but the first.
    pub(in crate::retrieval) heads: Vec<String>,
    /// The first cells of its rows.
    pub(in crate::retrieval) keys: Vec<String>,
}

impl Facts {
    /// Reads a passage.
    pub(in crate::retrieval) fn of(passage: &Passage) -> Self {
        let text = plain(&passage.text);
        let mut facts = Self {
            heading: passage.title_path.last().and_then(|title| name(title)),
            tables: tables(&text),
            ..Self::default()
        };
        for line in text.lines().filter(|line| !line.trim_start().starts_with('|')) {
            if facts.defined.len() < MAX_DEFINED
                && let Some(defined) = defined(line)
                && !facts.defined.contains(&defined)
            {
                facts.defined.push(defined);
            }
        }
        for found in BRACKETS.captures_iter(&text) {
            if facts.aliases.len() == MAX_ALIASES {
                break;
            }
            if let Some(pair) = alias(&found[1], &found[2])
                && !facts.aliases.contains(&pair)
            {
                facts.aliases.push(pair);
            }
        }
        facts
    }

    /// What things are called here.
    pub(in crate::retrieval) fn names(&self) -> impl Iterator<Item = &str> {
        let keys = self.tables.iter().flat_map(|table| &table.keys);
        let aliases = self.aliases.iter().flat_map(|(one, other)| [one, other]);
        let all = keys.chain(&self.heading).chain(&self.defined).chain(aliases);
        all.map(String::as_str)
    }

    /// About how many bytes it takes.
    pub(in crate::retrieval) fn bytes(&self) -> usize {
        let heads = self.tables.iter().flat_map(|table| &table.heads);
        let text: usize = self.names().map(|name| name.len() + 24).sum();
        120 + text + heads.map(|head| head.len() + 24).sum::<usize>()
    }
}

/// `text` as the name of something; `None` where it is none: too short, too long, a number, a sentence.
fn name(text: &str) -> Option<String> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"^(?:第?[0-9一二三四五六七八九十]{1,3}[、.．)）章节条]\s*|[（(][0-9一二三四五六七八九十]{1,3}[)）]\s*)")
    });
    let text = text.trim().trim_matches(['“', '”', '"', '「', '」', '：', ':']);
    let text = NUMBER.replace(text, "");
    // What stands in brackets behind it says more about it.
    let text = text.split(['（', '(']).next().unwrap_or_default().trim();
    let is_sentence = text.contains(['，', '。', '；', '？', '！', ',', ';', '?', '!', '|', '：']);
    let tells = text.chars().filter(|c| c.is_alphabetic()).count() >= 2 || has_code(text);
    (NAME_CHARS.contains(&text.chars().count()) && !is_sentence && tells && !starts_with_amount(text))
        .then(|| text.to_owned())
}

fn has_code(text: &str) -> bool {
    let units = units(text);
    units
        .iter()
        .any(|unit| unit.starts_with(|c: char| c.is_ascii_alphabetic()))
        && units.len() > 1
}

/// "3个月", "1-49", "10:00": no thing.
fn starts_with_amount(text: &str) -> bool {
    text.starts_with(|c: char| c.is_numeric() || matches!(c, '¥' | '$' | '<' | '>' | '≥' | '≤' | '-' | '—'))
}

/// The tables of a text without markup: lines of cells between bars, the first with the heads.
fn tables(text: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut within = false;
    for line in text.lines() {
        let Some(row) = line.trim().strip_prefix('|') else {
            within = false;
            continue;
        };
        let mut cells = row.trim_end_matches('|').split('|');
        let first = cells.next().unwrap_or_default();
        if within {
            if let (Some(table), Some(key)) = (tables.last_mut(), name(first))
                && table.keys.len() < MAX_KEYS
                && !table.keys.contains(&key)
            {
                table.keys.push(key);
            }
        } else if tables.len() < MAX_TABLES {
            within = true;
            let heads = cells.filter_map(name).take(MAX_HEADS).collect();
            tables.push(Table {
                heads,
                keys: Vec::new(),
            });
        }
    }
    tables.retain(|table| !table.heads.is_empty() && !table.keys.is_empty());
    tables
}

/// What the line defines: "X是指…", "X, which refers to…".
fn defined(line: &str) -> Option<String> {
    static DEFINITION: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"^[\s>*•-]*(?:所谓)?[“「]?([^\s，。；：“”「」]{2,24}?(?: [A-Za-z0-9-]{1,16}){0,3})[”」]?(?:（[^（）]{1,24}）)?(?:是指|指的是|系指|，是指|，即|是一种|是一款| refers to | means )",
        )
    });
    name(&DEFINITION.captures(line)?[1])
}

static BRACKETS: LazyLock<Regex> =
    LazyLock::new(|| regex(r"([\p{Han}A-Za-z0-9][\p{Han}A-Za-z0-9 -]{0,40})\s?[（(]([^（）()\n]{2,40})[）)]"));

/// The names before and in a bracket, where they are surely of one thing.
fn alias(before: &str, within: &str) -> Option<(String, String)> {
    static CALLED: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"^(?:以下|下文|下|又|也|亦)?(?:统?简称|合称|称为|称|叫做?|俗称|英文缩写为?|英文简?称)(?:为|作)?[“「]?")
    });
    let before = before.trim();
    let is_chinese = |text: &str| text.chars().all(is_han);
    let called = CALLED.find(within).map(|found| &within[found.end()..]);
    let other = name(called.unwrap_or(within).trim_matches(|c| "”」“\" ".contains(c)))?;
    // The name is at the end of what stands before the bracket.
    let run: String = before
        .chars()
        .rev()
        .take_while(|c| is_han(*c))
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    if is_chinese(&other)
        && let Some(long) = long_form(&run, &other)
    {
        return Some((long, other));
    }
    let is_latin = |text: &str| !text.chars().any(is_han);
    let run = after_stop_words(&run);
    let short = run.chars().count() <= MAX_BEFORE;
    if called.is_some() || (is_latin(&other) && !run.is_empty() && is_code_or_words(&other)) {
        return name(run).filter(|_| short).map(|run| (run, other));
    }
    // A code and what it stands for: E31（门锁故障）.
    let code = before
        .rsplit(' ')
        .next()
        .filter(|code| is_latin(code) && has_code(code))?;
    (run.is_empty() && is_chinese(&other)).then(|| Some((name(code)?, other)))?
}

/// Letters, and figures with letters: "ATM", "Wealth Management", "KX-200".
fn is_code_or_words(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '.'))
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// The end of `run` that `short` is the short form of: it begins as that does and has its characters in order.
fn long_form(run: &str, short: &str) -> Option<String> {
    let run: Vec<char> = run.chars().collect();
    let short: Vec<char> = short.chars().collect();
    let starts = (0..run.len()).rev().filter(|at| run[*at] == short[0]);
    for start in starts {
        let long = &run[start..];
        let mut rest = short.iter().peekable();
        for c in long {
            rest.next_if_eq(&c);
        }
        if rest.peek().is_none() && long.len() > short.len() && long.len() <= *NAME_CHARS.end() {
            return name(&long.iter().collect::<String>());
        }
    }
    None
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DocumentId, PassageId};

    fn facts(titles: &[&str], text: &str) -> Facts {
        Facts::of(&Passage {
            id: PassageId::new(),
            document_id: DocumentId::new(),
            ordinal: 0,
            title_path: titles.iter().map(|title| (*title).to_owned()).collect(),
            text: text.to_owned(),
            page: None,
            start: 0,
            end: text.len(),
        })
    }

    #[test]
    fn tables_have_things_and_what_is_said_of_them() {
        let facts = facts(
            &["信用卡", "二、年费"],
            "### 年费\n\n| 卡种 | 年费 | 挂失费（元） |\n| --- | --- | --- |\n| **金卡** | 160元 | 50 |\n| 白金卡（含联名卡） | 600元 | 0 |\n\
             | 100 | 1 | 2 |\n\n另见\n\n| 1 | 2 |\n| --- | --- |\n| 3 | 4 |\n",
        );
        assert_eq!(facts.heading.as_deref(), Some("年费"));
        assert_eq!(
            facts.tables,
            [Table {
                heads: vec!["年费".to_owned(), "挂失费".to_owned()],
                keys: vec!["金卡".to_owned(), "白金卡".to_owned()],
            }]
        );
    }

    #[test]
    fn definitions_and_other_names_are_read() {
        let facts = facts(
            &["说明"],
            "账单日是指每月出账的日期。\n- 最低还款额（Minimum Payment）是指可以只还的部分。\n个人所得税（个税）由单位代扣。\n\
             青禾银行（以下简称“本行”）。报 E31（门锁故障）时断电。请到自动取款机（ATM）取现。\n\
             本条款适用于所有在本行开立账户的客户（含港澳台）。金额（元）。买入价（2026年）。",
        );
        assert_eq!(facts.defined, ["账单日", "最低还款额"]);
        let pairs: Vec<(&str, &str)> = facts.aliases.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("最低还款额", "Minimum Payment"),
                ("个人所得税", "个税"),
                ("青禾银行", "本行"),
                ("E31", "门锁故障"),
                ("自动取款机", "ATM"),
            ]
        );
    }

    #[test]
    fn there_is_a_bound_to_everything() {
        let rows: String = (0..500).fold(String::new(), |rows, n| rows + &format!("| 型号A{n} | x |\n"));
        let facts = facts(&[], &format!("| 型号 | 价格 |\n| --- | --- |\n{rows}"));
        assert_eq!(facts.tables[0].keys.len(), MAX_KEYS);
        assert!(self::facts(&[], "").names().next().is_none());
    }
}
