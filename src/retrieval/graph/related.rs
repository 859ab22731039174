//! What else one may ask: other questions about the same thing, the same about its siblings, and the things among which a
//! question does not choose.

use super::facts::Table;
use super::key;
use crate::domain::{Faq, FaqId, PassageId, is_han};
use crate::retrieval::RetrievalError;
use crate::retrieval::corpus::Row;
use crate::retrieval::expand::Wanted;
use crate::retrieval::index::dot;
use crate::retrieval::search::View;
use crate::retrieval::terms::{Named, words};
use crate::understanding::match_key;
use std::collections::HashSet;
use std::sync::Arc;

/// Things of a question that are followed.
const MAX_THINGS: usize = 4;
/// FAQs looked at for each.
const MAX_FAQS: usize = 48;
/// Things to choose from; among more, nobody chooses from a list.
const MAX_SIBLINGS: usize = 8;
/// A question as near as this to the one that was asked is the same question.
const SAME: f32 = 0.97;

/// What a suggestion comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelatedKind {
    /// An approved question about the same thing.
    Faq,
    /// Something else that a document says of the same thing, or the same of another one.
    Document,
    /// One of the things among which the question does not choose.
    Choice,
}

/// Something one may ask next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The question, to be asked as it stands.
    pub question: String,
    /// What it comes from.
    pub kind: RelatedKind,
}

/// What was asked and answered.
#[derive(Clone, Debug, Default)]
pub(in crate::retrieval) struct About {
    /// The question, normalised.
    pub(in crate::retrieval) question: String,
    /// Its vector, where it has one.
    pub(in crate::retrieval) vector: Option<Arc<[f32]>>,
    /// The FAQ that answered it.
    pub(in crate::retrieval) faq: Option<FaqId>,
    /// The passage that answered it, or is nearest to an answer.
    pub(in crate::retrieval) passage: Option<PassageId>,
    /// Suggestions at most.
    pub(in crate::retrieval) limit: usize,
}

impl View<'_> {
    /// What one may ask next, best first; nothing where the base says nothing more of what the question names.
    pub(in crate::retrieval) fn related(&self, about: &About) -> Result<Vec<Related>, RetrievalError> {
        let answered = about.faq.and_then(|id| self.faq(id));
        let mut text = about.question.clone();
        if let Some(faq) = &answered {
            text.push('\n');
            text.push_str(&faq.question);
        }
        let things = self.things(&text)?;
        // A question in an approved wording was not embedded; the wording was.
        let vector = about.vector.as_deref().or_else(|| self.wording(about.faq?));
        let faqs = self.other_faqs(vector, answered.as_deref(), &things)?;
        let of_tables = self.of_tables(about, &things);
        let headings = self.other_headings(about, &things);
        // One suggestion of each source, then more of the first.
        let mut faqs = faqs.into_iter();
        let mut found: Vec<Related> = faqs.by_ref().take(about.limit.saturating_sub(1).max(1)).collect();
        found.extend(of_tables);
        found.extend(headings);
        found.extend(faqs);
        let mut seen = HashSet::from([match_key(&about.question)]);
        found.retain(|related| seen.insert(match_key(&related.question)));
        found.truncate(about.limit);
        Ok(found)
    }

    /// The things among which the question does not choose: those of the passage's table that has a column the question asks
    /// for, where it names none of its rows. Nothing where there is one alone, or more than can be shown.
    pub(in crate::retrieval) fn siblings(&self, about: &About) -> Vec<Related> {
        let Some((layer, row)) = about.passage.and_then(|id| self.passage_row(id)) else {
            return Vec::new();
        };
        let asked = key(&about.question);
        // "年费" asks for the column "主卡年费", too.
        let mut told = words(&about.question);
        told.retain(|word| word.chars().count() > 1);
        for table in &self.layers[layer].layer().rows.facts[row as usize].tables {
            let asks = |head: &&String| {
                let head = key(head);
                asked.contains(&head) || told.iter().any(|word| head.ends_with(word))
            };
            let Some(head) = table.heads.iter().find(asks) else {
                continue;
            };
            let keys = self.keys_beside(layer, row, table);
            if keys.len() < 2 || keys.len() > MAX_SIBLINGS || keys.iter().any(|thing| names_some(&asked, &key(thing))) {
                continue;
            }
            let choice = |thing: &String| Related {
                question: of(thing, head),
                kind: RelatedKind::Choice,
            };
            return keys.iter().map(choice).collect();
        }
        Vec::new()
    }

    /// The keys of the things that a text names, of which a row says something that is alive and may be told, in the order of the
    /// text; where it names none, the rarest word of it that more than one text has.
    fn things(&self, text: &str) -> Result<Vec<String>, RetrievalError> {
        let named = Named::new(text);
        let known = |name: &str| {
            let mut layers = self.layers.iter();
            layers.any(|seen| seen.layer().graph.rows(name).iter().any(|row| seen.row(*row)))
        };
        let mut things: Vec<String> = Vec::new();
        for (range, ()) in named.names(super::MAX_UNITS, |name| known(name).then_some(())) {
            let thing = named.key(range);
            if !things.contains(&thing) {
                things.push(thing);
            }
        }
        things.truncate(MAX_THINGS);
        if things.is_empty() {
            let mut rare = Vec::new();
            for word in words(text) {
                let chars: Vec<char> = word.chars().collect();
                // A word that the dictionary does not have stands in the index by its pairs.
                let pairs = chars
                    .windows(2)
                    .map(|pair| pair.iter().collect())
                    .filter(|_| chars.len() > 2);
                for word in pairs.chain([word]).filter(|word: &String| word.chars().count() > 1) {
                    if self.words.frequency(&word)? > 1 {
                        rare.push((self.words.rarity(&word)?, key(&word)));
                    }
                }
            }
            rare.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
            rare.dedup();
            things.extend(rare.into_iter().take(1).map(|(_, word)| word));
        }
        Ok(things)
    }

    /// FAQs about one of the things: nearest to the question first, but none that is the same question or has the same answer.
    fn other_faqs(
        &self,
        vector: Option<&[f32]>,
        answered: Option<&Faq>,
        things: &[String],
    ) -> Result<Vec<Related>, RetrievalError> {
        let mut found: Vec<(f32, &Faq)> = Vec::new();
        for thing in things {
            let allowed = |part: usize, row: u32| {
                let seen = &self.layers[part];
                matches!(seen.layer().rows.rows[row as usize], Row::Faq(_)) && seen.row(row)
            };
            for text in self.words.search(&Wanted::of(thing), MAX_FAQS, &allowed)? {
                let layer = self.layers[text.part].layer();
                let Row::Faq(place) = layer.rows.rows[text.text as usize] else {
                    continue;
                };
                let faq = layer.rows.faqs[place as usize].as_ref();
                let is_answered =
                    answered.is_some_and(|answered| answered.id == faq.id || answered.answer == faq.answer);
                let is_known = found.iter().any(|(_, known)| known.id == faq.id);
                if is_answered || is_known || !faq.wordings().any(|wording| key(wording).contains(thing.as_str())) {
                    continue;
                }
                let near = match vector {
                    Some(vector) => {
                        let wordings = layer.wordings.flat.matrix();
                        let near = layer
                            .wordings_of(place as usize)
                            .map(|at| dot(vector, wordings.row(at)));
                        near.fold(-1.0, f32::max)
                    }
                    None => 0.0,
                };
                if near < SAME {
                    found.push((near, faq));
                }
            }
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.key.cmp(&b.1.key)));
        let related = |(_, faq): (f32, &Faq)| Related {
            question: faq.question.clone(),
            kind: RelatedKind::Faq,
        };
        Ok(found.into_iter().map(related).collect())
    }

    /// What a table says of one of the things beside what was asked, and the same of the next row.
    fn of_tables(&self, about: &About, things: &[String]) -> Vec<Related> {
        let asked = key(&about.question);
        let document = |question: String| Related {
            question,
            kind: RelatedKind::Document,
        };
        for thing in things {
            // Of several tables the oldest, whatever layer it is in.
            let Some((_, table, place)) = self.tables_of(thing).min_by_key(|(id, ..)| *id) else {
                continue;
            };
            let is_asked = |head: &&String| asked.contains(&key(head));
            // Where the question asks for none of its columns, the table is about something else.
            let Some(head) = table.heads.iter().find(is_asked) else {
                continue;
            };
            let sibling = table.keys.get(place + 1).or_else(|| table.keys.first());
            let sibling = sibling.filter(|name| key(name) != *thing);
            let other = table.heads.iter().find(|head| !is_asked(head));
            let same = sibling.map(|name| document(of(name, head)));
            let related: Vec<Related> = (same.into_iter())
                .chain(other.map(|head| document(of(&table.keys[place], head))))
                .collect();
            return related;
        }
        Vec::new()
    }

    /// The tables with a row of the thing, alive and to be told: each with its passage and the place of the row.
    fn tables_of(&self, thing: &str) -> impl Iterator<Item = (PassageId, &Table, usize)> {
        self.layers.iter().flat_map(move |seen| {
            let rows = &seen.layer().rows;
            let speaking = seen.layer().graph.rows(thing).iter().filter(|row| seen.row(**row));
            speaking.flat_map(move |row| {
                let tables = rows.facts[*row as usize].tables.iter();
                tables.filter_map(move |table| match rows.rows[*row as usize] {
                    Row::Passage(id, _) => Some((id, table, table.keys.iter().position(|name| key(name) == *thing)?)),
                    Row::Faq(_) => None,
                })
            })
        })
    }

    /// Headings beside the one that answered, in the same document, that name one of the things.
    fn other_headings(&self, about: &About, things: &[String]) -> Vec<Related> {
        let Some((layer, row)) = about.passage.and_then(|id| self.passage_row(id)) else {
            return Vec::new();
        };
        let facts = &self.layers[layer].layer().rows.facts;
        let own = &facts[row as usize].heading;
        let names_thing = |heading: &String| {
            let heading = key(heading);
            things
                .iter()
                .any(|thing| heading.contains(thing.as_str()) && heading != *thing)
        };
        let rows = self.document_rows(layer, row);
        let headings = rows.filter_map(|row| facts[row as usize].heading.as_ref());
        let others = headings.filter(|heading| own.as_ref() != Some(heading) && names_thing(heading));
        let related = |heading: &String| Related {
            question: heading.clone(),
            kind: RelatedKind::Document,
        };
        others.map(related).collect()
    }

    /// The things of a table, with those of the same document's tables that have the same columns: a long table is more than one
    /// passage.
    fn keys_beside(&self, layer: usize, row: u32, table: &Table) -> Vec<String> {
        let facts = &self.layers[layer].layer().rows.facts;
        let tables = self
            .document_rows(layer, row)
            .flat_map(|row| &facts[row as usize].tables);
        let mut keys: Vec<String> = Vec::new();
        for name in tables
            .filter(|other| other.heads == table.heads)
            .flat_map(|table| &table.keys)
        {
            if keys.len() <= MAX_SIBLINGS && !keys.contains(name) {
                keys.push(name.clone());
            }
        }
        keys
    }

    /// The rows of the document that the row is of, those that are alive and may be told, in order.
    fn document_rows(&self, layer: usize, row: u32) -> impl Iterator<Item = u32> {
        let seen = &self.layers[layer];
        seen.layer()
            .rows_beside(row)
            .iter()
            .copied()
            .filter(|row| seen.row(*row))
    }

    /// The layer and row of a passage.
    fn passage_row(&self, id: PassageId) -> Option<(usize, u32)> {
        self.layers.iter().enumerate().find_map(|(place, seen)| {
            let row = seen.layer().row_of(id).filter(|row| seen.row(*row))?;
            Some((place, row))
        })
    }

    /// The vector of a FAQ's first wording.
    fn wording(&self, id: FaqId) -> Option<&[f32]> {
        self.layers.iter().find_map(|seen| {
            let (row, _) = seen.layer().faq_of(id).filter(|(row, _)| seen.row(*row))?;
            let Row::Faq(faq) = seen.layer().rows.rows[row as usize] else {
                return None;
            };
            let first = seen.layer().wordings_of(faq as usize).start;
            Some(seen.layer().wordings.flat.matrix().row(first))
        })
    }

    fn faq(&self, id: FaqId) -> Option<Arc<Faq>> {
        self.layers.iter().find_map(|seen| {
            let (row, faq) = seen.layer().faq_of(id)?;
            seen.row(row).then(|| faq.clone())
        })
    }
}

/// Whether a text of that key names the thing of that key: all of it, or for a longer Chinese name two characters of its beginning or
/// its end ("白金" for "白金卡", "金卡" for "青禾金卡").
fn names_some(text: &str, thing: &str) -> bool {
    let chars: Vec<char> = thing.chars().collect();
    let long = chars.len() > 2 && chars.iter().copied().all(is_han);
    let has = |part: &[char]| text.contains(&part.iter().collect::<String>());
    text.contains(thing) || (long && (has(&chars[..2]) || has(&chars[chars.len() - 2..])))
}

/// "金卡的年费", "Gold card annual fee".
fn of(thing: &str, head: &str) -> String {
    let chinese = |c: Option<char>| c.is_some_and(is_han);
    if chinese(thing.chars().next_back()) && chinese(head.chars().next()) {
        format!("{thing}的{head}")
    } else {
        format!("{thing} {head}")
    }
}
