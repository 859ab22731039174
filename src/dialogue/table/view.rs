//! A table as questions see it: things that have names, attributes that have names, and a cell for each pair. Tables name the
//! things in their first columns or in their head; which of the two a question means shows when its words are compared.

use super::amount::{Unit, Value, names_money, unit, value};
use super::fold::words;
use super::parse::{Cell, Table};
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// A name with the wordings it goes by.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// As the table writes it, without its unit.
    pub(super) shown: String,
    /// Its folded words.
    pub(super) words: Vec<String>,
    pub(super) wordings: Vec<Wording>,
}

/// Folded words under which something is meant, and how it is then called in an answer.
#[derive(Clone, Debug)]
pub(super) struct Wording {
    pub(super) words: Vec<String>,
    pub(super) shown: String,
    /// 0 for the whole name; where several names have a wording, the one with the lowest rank has it alone.
    rank: u8,
}

/// An attribute: a column, or a row where the head names the things.
#[derive(Clone, Debug)]
pub(super) struct Attribute {
    pub(super) name: Name,
    pub(super) unit: Unit,
}

/// One way to look at a table.
pub(super) struct View<'a> {
    table: &'a Table,
    /// Whether the head names the things.
    pub(super) turned: bool,
    /// The names of the things: one list, or two where the first column alone does not tell rows apart.
    pub(super) keys: Vec<Vec<Name>>,
    /// For each thing its place in each list of `keys`.
    pub(super) things: Vec<Vec<usize>>,
    pub(super) attributes: Vec<Attribute>,
    /// The units that the things' names give, where the head names the things or a row its unit.
    units: Vec<Unit>,
    /// Words of the heads of the key columns ("卡种"): what the things are called together.
    pub(super) kind_words: Vec<Vec<String>>,
    /// Words that begin or end several of the names ("青禾", "卡").
    pub(super) common_words: Vec<String>,
}

impl<'a> View<'a> {
    /// The ways to look at `table`, under headings.
    pub(super) fn of(table: &'a Table, titles: &[Vec<String>]) -> Vec<Self> {
        [Self::straight(table, titles), Self::turned(table, titles)]
            .into_iter()
            .flatten()
            .collect()
    }

    fn straight(table: &'a Table, titles: &[Vec<String>]) -> Option<Self> {
        let column = |at: usize| table.rows.iter().map(move |row| row.cells[at].text.as_str());
        let rows = table.rows.len();
        let first: HashSet<&str> = column(0).collect();
        let pairs: HashSet<(&str, &str)> = column(0).zip(column(1)).collect();
        let dimensions = if first.len() == rows {
            1
        } else if table.head.len() > 2 && pairs.len() == rows {
            2
        } else {
            return None;
        };
        let mut keys = Vec::new();
        let mut things = vec![Vec::new(); table.rows.len()];
        for at in 0..dimensions {
            let mut places: HashMap<&str, usize> = HashMap::new();
            let mut values: Vec<&str> = Vec::new();
            for (thing, text) in things.iter_mut().zip(column(at)) {
                let place = *places.entry(text).or_insert_with(|| {
                    values.push(text);
                    values.len() - 1
                });
                thing.push(place);
            }
            keys.push(thing_names(&values, &words(&table.head[at].text), titles));
        }
        Some(Self {
            table,
            turned: false,
            common_words: common_words(&keys),
            keys,
            things,
            attributes: attributes(&mut table.head[dimensions..].iter()),
            units: column(0).map(unit_of).collect(),
            kind_words: table.head[..dimensions].iter().map(|cell| words(&cell.text)).collect(),
        })
    }

    fn turned(table: &'a Table, titles: &[Vec<String>]) -> Option<Self> {
        let names: Vec<&str> = table.head[1..].iter().map(|cell| cell.text.as_str()).collect();
        let mut attributes = attributes(&mut table.rows.iter().map(|row| &row.cells[0]));
        // Rows are called by the same short names whether they are things or attributes.
        let texts: Vec<&str> = table.rows.iter().map(|row| row.cells[0].text.as_str()).collect();
        for (attribute, name) in attributes.iter_mut().zip(thing_names(&texts, &[], titles)) {
            attribute.name.wordings.extend(name.wordings);
        }
        settle(attributes.iter_mut().map(|attribute| &mut attribute.name).collect());
        let distinct: HashSet<&str> = attributes
            .iter()
            .map(|attribute| attribute.name.shown.as_str())
            .collect();
        if distinct.len() < attributes.len() || names.len() < 2 {
            return None;
        }
        let keys = vec![thing_names(&names, &[], titles)];
        Some(Self {
            table,
            turned: true,
            common_words: common_words(&keys),
            keys,
            things: (0..names.len()).map(|at| vec![at]).collect(),
            attributes,
            units: names.iter().map(|name| unit_of(name)).collect(),
            kind_words: Vec::new(),
        })
    }

    /// The place of a cell: row and column of the table.
    pub(super) fn place(&self, thing: usize, attribute: usize) -> (usize, usize) {
        if self.turned {
            (attribute, thing + 1)
        } else {
            (thing, attribute + self.keys.len())
        }
    }

    fn cell(&self, thing: usize, attribute: usize) -> &'a Cell {
        let (row, column) = self.place(thing, attribute);
        &self.table.rows[row].cells[column]
    }

    /// What the cell says.
    pub(super) fn value(&self, thing: usize, attribute: usize) -> Value {
        let own = &self.attributes[attribute].unit;
        let unit = if own.is_empty() { &self.units[thing] } else { own };
        value(&self.cell(thing, attribute).text, unit)
    }

    /// The cell as it is shown: its words, with the unit of the head.
    pub(super) fn shown(&self, thing: usize, attribute: usize) -> String {
        let text = &self.cell(thing, attribute).text;
        match self.value(thing, attribute) {
            Value::Amount(amount)
                if amount.is_exact() && text.chars().all(|c| c.is_ascii_digit() || c == ',' || c == '.') =>
            {
                let unit = amount.like(amount.low);
                format!(
                    "{text}{}",
                    unit.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                )
            }
            _ => text.clone(),
        }
    }

    /// The thing's whole name.
    pub(super) fn name(&self, thing: usize) -> String {
        let parts = self.things[thing]
            .iter()
            .zip(&self.keys)
            .map(|(place, names)| names[*place].shown.as_str());
        parts.collect::<Vec<_>>().join(" ")
    }

    /// Whether any cell of the attribute names money.
    pub(super) fn is_money(&self, attribute: usize) -> bool {
        self.attributes[attribute].unit.measure() == super::amount::Measure::Money
            || (0..self.things.len()).any(|thing| names_money(&self.cell(thing, attribute).text))
    }
}

/// Words before the name of a main thing that askers leave out: "年费" is the main card's, "利率" the yearly one.
const UNMARKED: [&str; 18] = [
    "主卡", "主", "年", "年化", "每年", "每期", "每次", "基本", "基础", "标准", "当前", "现行", "main", "primary",
    "standard", "basic", "base", "regular",
];

/// Names of attributes that mean the same.
const SYNONYMS: [&[&str]; 6] = [
    &[
        "运费",
        "邮费",
        "快递费",
        "邮资",
        "寄费",
        "shipping",
        "shipping fee",
        "shipping cost",
        "delivery fee",
        "postage",
    ],
    &[
        "时效",
        "送达时间",
        "到达时间",
        "配送时间",
        "运送时间",
        "delivery time",
        "transit time",
        "shipping time",
    ],
    &["价格", "价钱", "售价", "卖价", "price"],
    &["费用", "收费", "收费标准", "资费", "fee", "charge", "cost"],
    &[
        "保修",
        "保修期",
        "保修时间",
        "质保",
        "质保期",
        "warranty",
        "warranty period",
    ],
    &["租金", "租费", "rent", "rental"],
];

/// The unit in brackets at the end of a name.
fn unit_of(name: &str) -> Unit {
    bracketed(name).1.and_then(unit).unwrap_or_default()
}

static UNMARKED_WORDS: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| UNMARKED.iter().map(|text| words(text)).collect());
static SYNONYM_WORDS: LazyLock<Vec<Vec<Vec<String>>>> = LazyLock::new(|| {
    SYNONYMS
        .iter()
        .map(|group| group.iter().map(|text| words(text)).collect())
        .collect()
});

fn attributes(cells: &mut dyn Iterator<Item = &Cell>) -> Vec<Attribute> {
    let mut found: Vec<Attribute> = cells.map(|cell| attribute(&cell.text)).collect();
    settle(found.iter_mut().map(|attribute| &mut attribute.name).collect());
    found
}

fn attribute(text: &str) -> Attribute {
    let (base, bracket) = bracketed(text);
    let unit = bracket.and_then(unit);
    let shown = if unit.is_some() { base } else { text }.trim().to_owned();
    let mut wordings = vec![wording(&shown, &shown, 0)];
    if bracket.is_some() {
        wordings.push(wording(base, &shown, 1));
    }
    for rank in 0..wordings.len() {
        let whole = wordings[rank].words.clone();
        let prefixes = UNMARKED_WORDS.iter().filter(|prefix| whole.starts_with(prefix));
        if let Some(prefix) = prefixes.max_by_key(|prefix| prefix.len())
            && enough(&whole[prefix.len()..])
        {
            wordings.push(Wording {
                words: whole[prefix.len()..].to_vec(),
                shown: shown.clone(),
                rank: 2,
            });
        }
    }
    for rank in 0..wordings.len() {
        let same = |group: &&Vec<Vec<String>>| group.contains(&wordings[rank].words);
        for words in SYNONYM_WORDS.iter().find(same).into_iter().flatten() {
            wordings.push(Wording {
                words: words.clone(),
                shown: shown.clone(),
                rank: 3,
            });
        }
    }
    Attribute {
        name: Name {
            words: words(&shown),
            shown,
            wordings,
        },
        unit: unit.unwrap_or_default(),
    }
}

/// The names of things in one list. `kind` are the words of the list's head.
fn thing_names(texts: &[&str], kind: &[String], titles: &[Vec<String>]) -> Vec<Name> {
    let folded: Vec<Vec<String>> = texts.iter().map(|text| words(bracketed(text).0)).collect();
    let brand = brand(&folded, titles);
    let suffix = latin_suffix(&folded);
    let mut names: Vec<Name> = texts.iter().map(|text| thing_name(text, kind)).collect();
    for name in &mut names {
        for at in 0..name.wordings.len() {
            let Wording { words, shown, .. } = name.wordings[at].clone();
            let unbranded = words
                .strip_prefix(brand.as_slice())
                .filter(|rest| !brand.is_empty() && enough(rest));
            let short = |words: &[String]| {
                words
                    .strip_suffix(suffix.as_slice())
                    .filter(|rest| !suffix.is_empty() && enough(rest))
                    .map(<[_]>::to_vec)
            };
            let more = [unbranded.map(<[_]>::to_vec), short(&words), unbranded.and_then(short)];
            name.wordings.extend(more.into_iter().flatten().map(|words| Wording {
                words,
                shown: shown.clone(),
                rank: 2,
            }));
        }
    }
    settle(names.iter_mut().collect());
    names
}

fn thing_name(text: &str, kind: &[String]) -> Name {
    let mut wordings = vec![wording(text, text, 0)];
    // A bare number or letter is named with what it is a number of: "zone 1".
    if let [only] = wordings[0].words.as_slice()
        && !kind.is_empty()
        && !enough(std::slice::from_ref(only))
    {
        let (before, after) = (
            [kind, std::slice::from_ref(only)].concat(),
            [std::slice::from_ref(only), kind].concat(),
        );
        let shown = words_shown(kind, text);
        wordings.extend([before, after].map(|words| Wording {
            words,
            shown: shown.clone(),
            rank: 1,
        }));
    }
    let (base, bracket) = bracketed(text);
    if bracket.is_some() {
        wordings.push(wording(base, base.trim(), 1));
    }
    let parts: Vec<&str> = base
        .split(['、', '/', '／', ',', '，', '&'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect();
    if parts.len() > 1 {
        wordings.extend(parts.into_iter().map(|part| wording(part, part, 1)));
    }
    Name {
        shown: text.to_owned(),
        words: words(text),
        wordings,
    }
}

fn words_shown(kind: &[String], text: &str) -> String {
    let latin = kind.iter().any(|word| word.is_ascii());
    format!(
        "{}{}{text}",
        kind.join(if latin { " " } else { "" }),
        if latin { " " } else { "" }
    )
}

fn wording(text: &str, shown: &str, rank: u8) -> Wording {
    Wording {
        words: words(text),
        shown: shown.to_owned(),
        rank,
    }
}

/// Takes away wordings that two names have, but for the one that has it in the lowest rank, and those too short to be a name.
fn settle(mut names: Vec<&mut Name>) {
    let mut owners: HashMap<Vec<String>, (u8, Option<usize>)> = HashMap::new();
    for (owner, name) in names.iter().enumerate() {
        for wording in &name.wordings {
            let entry = owners
                .entry(wording.words.clone())
                .or_insert((wording.rank, Some(owner)));
            if wording.rank < entry.0 {
                *entry = (wording.rank, Some(owner));
            } else if wording.rank == entry.0 && entry.1 != Some(owner) {
                entry.1 = None;
            }
        }
    }
    for (owner, name) in names.iter_mut().enumerate() {
        name.wordings.retain(|wording| {
            enough(&wording.words) && owners.get(&wording.words).is_some_and(|(_, of)| *of == Some(owner))
        });
    }
}

/// Whether words are enough for a name: two Han characters, a Latin word, a number with something.
pub(super) fn enough(words: &[String]) -> bool {
    words.len() > 1
        || words
            .first()
            .is_some_and(|word| word.len() > 1 && word.bytes().any(|b| b.is_ascii_alphabetic()))
}

/// A text and what stands in brackets at its end.
fn bracketed(text: &str) -> (&str, Option<&str>) {
    let trimmed = text.trim_end();
    let open = ['(', '（'];
    let split = trimmed
        .strip_suffix([')', '）'])
        .and_then(|body| body.rfind(open).map(|at| (body, at)));
    match split {
        Some((body, at)) if at > 0 => {
            let width = body[at..].chars().next().map_or(1, char::len_utf8);
            (trimmed[..at].trim_end(), Some(body[at + width..].trim()))
        }
        _ => (trimmed, None),
    }
}

/// The words that begin all names but one at most (of three or more), or that begin two names and stand in a heading: a brand,
/// which askers leave out.
fn brand(names: &[Vec<String>], titles: &[Vec<String>]) -> Vec<String> {
    let mut best: &[String] = &[];
    for name in names {
        for length in 1..name.len() {
            let prefix = &name[..length];
            if !enough(prefix) || prefix.len() <= best.len() {
                continue;
            }
            let having = names
                .iter()
                .filter(|other| other.len() > length && other.starts_with(prefix))
                .count();
            let titled = titles
                .iter()
                .any(|title| title.windows(length).any(|run| run == prefix));
            if (having >= 3 && having + 1 >= names.len()) || (having >= 2 && titled) {
                best = prefix;
            }
        }
    }
    best.to_vec()
}

/// The Latin word that ends all names ("card").
fn latin_suffix(names: &[Vec<String>]) -> Vec<String> {
    match names.first().and_then(|name| name.last()) {
        Some(last)
            if names.len() > 1
                && last.bytes().all(|b| b.is_ascii_alphabetic())
                && names.iter().all(|name| name.last() == Some(last)) =>
        {
            vec![last.clone()]
        }
        _ => Vec::new(),
    }
}

/// Single words that begin or end at least two of the names.
fn common_words(keys: &[Vec<Name>]) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for name in keys.iter().flatten() {
        let words = words(bracketed(&name.shown).0);
        let ends: HashSet<&String> = words.first().into_iter().chain(words.last()).collect();
        for word in ends {
            *counts.entry(word.clone()).or_default() += 1;
        }
    }
    let is_word = |word: &str| !word.bytes().any(|b| b.is_ascii_digit());
    counts
        .into_iter()
        .filter(|(word, count)| *count > 1 && is_word(word))
        .map(|(word, _)| word)
        .collect()
}
