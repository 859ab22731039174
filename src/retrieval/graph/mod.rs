//! A graph of what the knowledge base speaks of: things (rows of tables, headings, what is defined, codes), what is said of them
//! (columns), and where. Each layer has its own, made of the facts of its rows when the layer is made or loaded; a question walks
//! those of all layers and sees what is alive and may be told, so it follows every change as the search does.
//!
//! It serves three ends: after an answer, what else one may ask is shown; where a question is about one of several things and
//! names none, these are shown to choose from; and, where the settings say so, other names of a thing are searched too.

mod facts;
mod related;

use super::terms::{name_key, units};
use std::collections::HashMap;
use std::sync::Arc;

pub(super) use facts::Facts;
pub(super) use related::About;
pub use related::{Related, RelatedKind};

/// Rows that are kept for a name.
const MAX_ROWS: usize = 64;
/// Other names that are kept for one.
const MAX_ALIASES: usize = 8;
/// Units of a name that is looked for.
pub(super) const MAX_UNITS: usize = 12;

/// The graph of one layer. Names are keys by [`name_key`].
#[derive(Default)]
pub(super) struct Graph {
    /// For each thing the rows that speak of it.
    things: HashMap<Box<str>, Vec<u32>>,
    /// For each name another, with the row that says so.
    aliases: HashMap<Box<str>, Vec<(u32, Box<str>)>>,
    bytes: usize,
}

impl Graph {
    /// The graph of rows with these facts.
    pub(super) fn of(facts: &[Arc<Facts>]) -> Self {
        let mut graph = Self::default();
        for (row, facts) in facts.iter().enumerate() {
            let row = row as u32;
            for name in facts.names() {
                let rows = graph.things.entry(key(name).into()).or_default();
                if rows.len() < MAX_ROWS && rows.last() != Some(&row) {
                    rows.push(row);
                }
            }
            for (one, other) in &facts.aliases {
                for (one, other) in [(one, other), (other, one)] {
                    let aliases = graph.aliases.entry(key(one).into()).or_default();
                    if aliases.len() < MAX_ALIASES {
                        aliases.push((row, other.as_str().into()));
                    }
                }
            }
        }
        let things = graph.things.iter().map(|(name, rows)| name.len() + rows.len() * 4 + 60);
        let aliases = graph.aliases.iter().map(|(name, aliases)| {
            let others = aliases.iter().map(|(_, alias)| alias.len() + 24);
            name.len() + others.sum::<usize>() + 60
        });
        graph.bytes = things.sum::<usize>() + aliases.sum::<usize>();
        graph
    }

    /// The rows that speak of the thing of that key, dead ones too.
    pub(super) fn rows(&self, key: &str) -> &[u32] {
        self.things.get(key).map_or(&[], Vec::as_slice)
    }

    /// What else is called so, with the rows that say it, dead ones too.
    pub(super) fn aliases(&self, key: &str) -> &[(u32, Box<str>)] {
        self.aliases.get(key).map_or(&[], Vec::as_slice)
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The key of a name.
pub(super) fn key(name: &str) -> String {
    name_key(&units(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_and_other_names_are_found_by_any_spelling() {
        let facts = |names: &[&str]| {
            Arc::new(Facts {
                defined: names.iter().map(|name| (*name).to_owned()).collect(),
                aliases: vec![("个人所得税".to_owned(), "个税".to_owned())],
                ..Facts::default()
            })
        };
        let graph = Graph::of(&[facts(&["KX-200", "金卡"]), facts(&["金卡"])]);
        assert_eq!(graph.rows(&key("kx200")), [0]);
        assert_eq!(graph.rows(&key("金卡")), [0, 1]);
        assert!(graph.rows(&key("白金卡")).is_empty());
        let others: Vec<&str> = graph
            .aliases(&key("個稅"))
            .iter()
            .map(|(_, alias)| alias.as_ref())
            .collect();
        assert_eq!(others, ["个人所得税", "个人所得税"]);
        assert!(graph.bytes() > 0);
        let many: Vec<Arc<Facts>> = (0..1000).map(|_| facts(&["金卡"])).collect();
        assert_eq!(Graph::of(&many).rows("金卡").len(), MAX_ROWS);
    }
}
