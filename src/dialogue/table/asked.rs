//! What a question asks of one view of a table. Every word of it must be understood: as a name of the table, as a word that asks,
//! as a word of the headings above the table, or as one that says nothing. One word more, and the question is another.

use super::amount::unit_at;
use super::cue::{self, Bound, Cue, Degree};
use super::decimal::Decimal;
use super::fold::{Kind, Token, tokens, words};
use super::view::{View, Wording, enough};

/// A bound with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) bound: Bound,
    pub(super) number: Decimal,
    /// The unit in its one spelling; empty where none is said.
    pub(super) unit: String,
    /// Number and unit in the asker's words.
    pub(super) shown: String,
}

/// Words of a question that is read at most.
const MAX_WORDS: usize = 80;
/// Ways to take overlapping names at most.
const MAX_WAYS: usize = 16;

/// What was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The things named, as (list, place in the list, name), in the question's order.
    pub(super) things: Vec<(usize, usize, String)>,
    /// The attributes named, in the question's order.
    pub(super) attributes: Vec<usize>,
    pub(super) cues: Vec<Cue>,
    pub(super) limit: Option<Limit>,
    /// What the values must be per.
    pub(super) per: Option<&'static str>,
}

impl Asked {
    pub(super) fn has(&self, cue: Cue) -> bool {
        self.cues.contains(&cue)
    }

    /// The directions of a kind of cue; `None` if there are none or they differ.
    pub(super) fn degree(&self, of: impl Fn(&Cue) -> Option<Degree>) -> Option<Degree> {
        let mut found = self.cues.iter().filter_map(of);
        let first = found.next()?;
        found.all(|other| other.more == first.more).then_some(first)
    }
}

/// First word, number of words, whom they name and how it is called.
type Mention = (usize, usize, Named, String);

/// Who a run of words names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Thing(usize, usize),
    Attribute(usize),
}

/// Reads `question` against `view`; `None` where a word of it is not understood, or may mean two things.
pub(super) fn read(question: &str, view: &View<'_>, titles: &[Vec<String>]) -> Option<Asked> {
    let (text, tokens) = tokens(question);
    let tokens: Vec<Token> = tokens.into_iter().filter(Token::is_word).collect();
    let words: Vec<&str> = tokens.iter().map(|token| token.word.as_str()).collect();
    if words.len() > MAX_WORDS {
        return None;
    }
    let mut understood: Option<Asked> = None;
    for mentions in mentions(&words, view) {
        match (read_with(&text, &tokens, &mentions, view, titles), &understood) {
            (Some(asked), None) => understood = Some(asked),
            (Some(asked), Some(other)) if asked != *other => return None,
            _ => {}
        }
    }
    understood
}

fn read_with(
    text: &str,
    tokens: &[Token],
    mentions: &[Mention],
    view: &View<'_>,
    titles: &[Vec<String>],
) -> Option<Asked> {
    let mut asked = Asked::default();
    let named: Vec<Named> = mentions.iter().map(|mention| mention.2).collect();
    let mut at = 0;
    while at < tokens.len() {
        if let Some((_, length, named, shown)) = mentions.iter().find(|mention| mention.0 == at) {
            match *named {
                Named::Thing(list, place) if !asked.things.iter().any(|known| (known.0, known.1) == (list, place)) => {
                    asked.things.push((list, place, shown.clone()));
                }
                Named::Attribute(attribute) if !asked.attributes.contains(&attribute) => {
                    asked.attributes.push(attribute);
                }
                _ => {}
            }
            at += length;
            continue;
        }
        // What comes before the next name is read on its own.
        let end = mentions
            .iter()
            .map(|mention| mention.0)
            .filter(|start| *start > at)
            .min()
            .unwrap_or(tokens.len());
        at += asked.step(text, &tokens[..end], at, view, titles, &named)?;
    }
    Some(asked)
}

impl Asked {
    /// Understands the words at `at`; how many they are.
    fn step(
        &mut self,
        text: &str,
        tokens: &[Token],
        at: usize,
        view: &View<'_>,
        titles: &[Vec<String>],
        named: &[Named],
    ) -> Option<usize> {
        let words: Vec<&str> = tokens[at..].iter().map(|token| token.word.as_str()).collect();
        if let Some(length) = self.limit_at(text, tokens, at) {
            return Some(length);
        }
        let cue = cue::at(&words);
        let context = context(&words, view, titles, named);
        match cue {
            Some((cue, length)) if length >= context => {
                match cue {
                    Cue::Filler => {}
                    Cue::Per(per) if self.per.is_none_or(|known| known == per) => self.per = Some(per),
                    // A bound without a number, two periods.
                    Cue::BoundBefore(_) | Cue::BoundAfter(_) | Cue::Per(_) | Cue::Beyond => return None,
                    cue => self.cues.push(cue),
                }
                Some(length)
            }
            _ => (context > 0).then_some(context),
        }
    }

    /// A bound with its number that begins at `at`; how many words it has.
    fn limit_at(&mut self, text: &str, tokens: &[Token], at: usize) -> Option<usize> {
        let words: Vec<&str> = tokens[at..].iter().map(|token| token.word.as_str()).collect();
        let before = cue::at(&words).and_then(|(cue, length)| match cue {
            Cue::BoundBefore(bound) => Some((bound, length)),
            _ => None,
        });
        let start = at + before.map_or(0, |(_, length)| length);
        let mut end = start;
        let mut unit = String::new();
        if let Some((name, after)) = unit_at(tokens, end) {
            (unit, end) = (name, after);
        }
        let number = tokens.get(end)?.number()?;
        end += 1;
        let mut shown = tokens[start].start..tokens[end - 1].end;
        if unit.is_empty()
            && let Some((name, after)) = unit_at(tokens, end)
        {
            (unit, end) = (name, after);
            shown.end = tokens[end - 1].end;
        }
        let rest: Vec<&str> = tokens[end..].iter().map(|token| token.word.as_str()).collect();
        let after = cue::at(&rest).and_then(|(cue, length)| match cue {
            Cue::BoundAfter(bound) => Some((bound, length)),
            _ => None,
        });
        let bound = match (before, after) {
            (Some((bound, _)), None) => bound,
            (None, Some((bound, length))) => {
                end += length;
                bound
            }
            _ => return None,
        };
        if self.limit.is_some() {
            return None;
        }
        self.limit = Some(Limit {
            bound,
            number,
            unit,
            shown: text[shown].to_owned(),
        });
        Some(end - at)
    }
}

/// The names in the question, the longest first taken: 白金卡 is not also 金卡. Where two names overlap and neither is within the other
/// ("3年" and "年利率"), once without the one and once without the other. Nothing where the same words name two.
fn mentions(words: &[&str], view: &View<'_>) -> Vec<Vec<Mention>> {
    let things = view.keys.iter().enumerate().flat_map(|(list, names)| {
        let named =
            move |(place, name): (usize, &'_ super::view::Name)| (Named::Thing(list, place), name.wordings.clone());
        names.iter().enumerate().map(named)
    });
    let attributes = view.attributes.iter().enumerate();
    let attributes = attributes.map(|(place, attribute)| (Named::Attribute(place), attribute.name.wordings.clone()));
    let mut all: Vec<Mention> = Vec::new();
    for (named, wordings) in things.chain(attributes) {
        for Wording {
            words: wording, shown, ..
        } in wordings
        {
            for (start, run) in words.windows(wording.len()).enumerate() {
                if run.iter().zip(&wording).all(|(a, b)| a == b) {
                    all.push((start, wording.len(), named, shown.clone()));
                }
            }
        }
    }
    all.sort_by_key(|(start, length, _, _)| (std::cmp::Reverse(*length), *start));
    let mut ways = vec![all];
    let mut found = Vec::new();
    while let Some(all) = ways.pop() {
        match taken(&all) {
            Taken::All(taken) => found.push(taken),
            Taken::Two => return Vec::new(),
            Taken::Overlap(one, other) => {
                if found.len() + ways.len() > MAX_WAYS {
                    return Vec::new();
                }
                let without = |gone: &Mention| {
                    all.iter()
                        .filter(|mention| (mention.0, mention.1) != (gone.0, gone.1))
                        .cloned()
                        .collect()
                };
                ways.extend([without(&one), without(&other)]);
            }
        }
    }
    found
}

enum Taken {
    All(Vec<Mention>),
    /// The same words name two.
    Two,
    Overlap(Mention, Mention),
}

fn taken(all: &[Mention]) -> Taken {
    let mut taken: Vec<Mention> = Vec::new();
    for mention in all {
        let (start, length) = (mention.0, mention.1);
        let clash = taken
            .iter()
            .find(|other| start < other.0 + other.1 && other.0 < start + length);
        match clash {
            None => taken.push(mention.clone()),
            Some(other) if (other.0, other.1) == (start, length) && other.2 != mention.2 => return Taken::Two,
            Some(other) if !(other.0 <= start && start + length <= other.0 + other.1) => {
                return Taken::Overlap(mention.clone(), other.clone());
            }
            Some(_) => {}
        }
    }
    Taken::All(taken)
}

/// How many words, from the first, stand in a heading above the table or say what its things are. Words that another name of the
/// table has, one that was not named, are none: they would change what is meant.
fn context(words: &[&str], view: &View<'_>, titles: &[Vec<String>], named: &[Named]) -> usize {
    let has = |text: &[String], run: &[&str]| {
        text.windows(run.len())
            .any(|window| window.iter().zip(run).all(|(a, b)| a == b))
    };
    let others = || {
        let things = view.keys.iter().enumerate().flat_map(|(list, names)| {
            names
                .iter()
                .enumerate()
                .map(move |(place, name)| (Named::Thing(list, place), name))
        });
        let attributes = view
            .attributes
            .iter()
            .enumerate()
            .map(|(place, attribute)| (Named::Attribute(place), &attribute.name));
        things.chain(attributes).filter(|(other, _)| !named.contains(other))
    };
    let is_free = |run: &[&str]| {
        !others().any(|(_, name)| has(&name.words, run)) || {
            let run: Vec<String> = run.iter().map(|word| (*word).to_owned()).collect();
            view.kind_words.contains(&run)
        }
    };
    let titled = (1..=words.len()).rev().find(|length| {
        let run = &words[..*length];
        let owned: Vec<String> = run.iter().map(|word| (*word).to_owned()).collect();
        let kind = view.kind_words.iter().any(|kind| has(kind, run));
        enough(&owned) && (kind || titles.iter().any(|title| has(title, run))) && is_free(run)
    });
    let single = words.first().is_some_and(|word| {
        view.common_words.iter().any(|common| common == word)
            || view.kind_words.iter().flatten().any(|kind| kind == word)
    });
    titled.unwrap_or(usize::from(single))
}

/// The headings as folded words.
pub(super) fn titles(titles: &[String]) -> Vec<Vec<String>> {
    titles.iter().map(|title| words(title)).collect()
}

/// Whether words of a text are of Han characters for the most part; kept beside the reader of questions, which tells languages apart.
pub(super) fn is_han(text: &str) -> bool {
    let (_, tokens) = tokens(text);
    let han = tokens.iter().filter(|token| token.kind == Kind::Han).count();
    let latin = tokens.iter().filter(|token| token.kind == Kind::Latin).count();
    han > latin
}
