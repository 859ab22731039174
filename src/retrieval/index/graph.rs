//! The graph: nodes with their neighbours on each level, walked from the top down.
//!
//! Source: Malkov and Yashunin, arXiv:1603.09320, Algorithms 1 (insert), 2 (search of a level), 4 (choice of neighbours)
//! and 5 (search).

use super::codes::Codes;
use crate::kernels::inner;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Levels of the graph; with M = 16 a level holds a sixteenth of the one below: 16 levels are for more vectors than
/// there are row numbers.
const LEVELS: u32 = 16;
/// Nodes a thread inserts between two looks at whether the graph is still wanted.
const STEP: usize = 64;
/// Nodes inserted one after the other at first: inserted at once they would not find each other.
const FIRST: usize = 256;
/// Locks of the nodes' lists, each for many nodes.
const LOCKS: usize = 4096;
/// Candidates compared with the chosen ones at a time.
const BATCH: usize = 4;

/// The graph over rows of [`Codes`].
pub(super) struct Graph {
    codes: Codes,
    /// Neighbours a node keeps (M); twice as many on the lowest level.
    neighbours: usize,
    ef_construction: usize,
    /// The lists of the lowest level: for each node how many neighbours it has, then the neighbours. Searches read them
    /// while inserts change them: they see whole numbers, so at worst a list that is half the old one.
    lowest: Vec<AtomicU32>,
    /// The lists of the upper levels, from the first on.
    upper: Vec<AtomicU32>,
    /// For each node the number of its first list in `upper`, and one more for the end.
    upper_of: Vec<u32>,
    /// The node on the highest level, with which all begins.
    entry: u32,
    /// For nodes of equal remainder, held while a list is changed.
    locks: Vec<Mutex<()>>,
    /// What searches work with, kept for the next ones: as many as there may be searches at once.
    idle: Mutex<Vec<Scratch>>,
    most_idle: usize,
}

/// A node and how near it is, in one number that is greater the nearer it is, and of equally near ones the lower their
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Near(u64);

impl Near {
    fn new(score: i32, node: u32) -> Self {
        let ordered = score.cast_unsigned() ^ (1 << 31);
        Self(u64::from(ordered) << 32 | u64::from(!node))
    }

    fn node(self) -> u32 {
        !(self.0 as u32)
    }

    fn score(self) -> i32 {
        (((self.0 >> 32) as u32) ^ (1 << 31)).cast_signed()
    }
}

/// What a search works with.
struct Scratch {
    /// For each node the number of the walk that met it last.
    met: Vec<u8>,
    walk: u8,
    /// Met and not yet left behind, the nearest first.
    ahead: BinaryHeap<Near>,
    /// The nearest of those admitted, the farthest first.
    found: BinaryHeap<Reverse<Near>>,
    rows: Vec<u32>,
    scores: Vec<i32>,
    vector: Vec<i8>,
    candidates: Vec<Near>,
    chosen: Vec<u32>,
    passed: Vec<u32>,
    other: Vec<i8>,
}

impl Scratch {
    fn new(nodes: usize) -> Self {
        Self {
            met: vec![0; nodes],
            walk: 0,
            ahead: BinaryHeap::new(),
            found: BinaryHeap::new(),
            rows: Vec::new(),
            scores: Vec::new(),
            vector: Vec::new(),
            candidates: Vec::new(),
            chosen: Vec::new(),
            passed: Vec::new(),
            other: Vec::new(),
        }
    }

    /// Forgets what was met.
    fn begin(&mut self) {
        if self.walk == u8::MAX {
            self.met.fill(0);
            self.walk = 0;
        }
        self.walk += 1;
        self.ahead.clear();
        self.found.clear();
    }
}

impl Graph {
    /// Builds the graph over all rows, in parallel on the current rayon pool. `None` if `wanted` says no meanwhile.
    pub(super) fn build(
        codes: Codes,
        nodes: usize,
        neighbours: usize,
        ef_construction: usize,
        wanted: &(dyn Fn() -> bool + Sync),
    ) -> Option<Self> {
        let levels = levels(nodes, neighbours);
        let mut upper_of = Vec::with_capacity(nodes + 1);
        let mut lists = 0;
        for level in &levels {
            upper_of.push(lists);
            lists += level;
        }
        upper_of.push(lists);
        let empty = |numbers| std::iter::repeat_with(AtomicU32::default).take(numbers).collect();
        let most = levels.iter().copied().max().unwrap_or(0);
        let graph = Self {
            codes,
            neighbours,
            ef_construction: ef_construction.max(neighbours),
            lowest: empty(nodes * (2 * neighbours + 1)),
            upper: empty(lists as usize * (neighbours + 1)),
            upper_of,
            // It is there from the start, so the highest level never changes while the graph is built.
            entry: levels.iter().position(|level| *level == most).unwrap_or(0) as u32,
            locks: std::iter::repeat_with(Mutex::default).take(LOCKS).collect(),
            idle: Mutex::default(),
            most_idle: std::thread::available_parallelism().map_or(1, usize::from) + rayon::current_num_threads(),
        };
        let first = nodes.min(FIRST);
        let steps = (nodes - first).div_ceil(STEP);
        let given_up = AtomicBool::new(false);
        let insert = |from: usize, to: usize| {
            if given_up.load(Ordering::Relaxed) || !wanted() {
                given_up.store(true, Ordering::Relaxed);
                return;
            }
            let mut scratch = graph.scratch();
            for node in from..to {
                graph.insert(node as u32, &mut scratch);
            }
            graph.give_back(scratch);
        };
        insert(0, first);
        (0..steps).into_par_iter().for_each(|step| {
            let from = first + step * STEP;
            insert(from, nodes.min(from + STEP));
        });
        let given_up = given_up.into_inner();
        (!given_up).then_some(graph)
    }

    /// Nodes.
    pub(super) fn len(&self) -> usize {
        self.upper_of.len() - 1
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.codes.bytes() + size_of_val(&*self.lowest) + size_of_val(&*self.upper) + size_of_val(&*self.upper_of)
    }

    /// Up to `ef` nodes that `admits` allows, near to `vector`, the nearest first, as far as rounded vectors tell. Nodes that
    /// are not allowed are walked over.
    pub(super) fn search(&self, vector: &[f32], ef: usize, admits: impl Fn(u32) -> bool) -> Vec<u32> {
        if self.len() == 0 || ef == 0 {
            return Vec::new();
        }
        let mut scratch = self.scratch();
        let mut code = std::mem::take(&mut scratch.vector);
        Codes::encode(vector, &mut code);
        let entry = self.descend(&code, 0, &mut scratch);
        self.search_level(0, &code, &[entry], ef, admits, &mut scratch);
        let nodes = scratch.candidates.iter().map(|near| near.node()).collect();
        scratch.vector = code;
        self.give_back(scratch);
        nodes
    }

    fn scratch(&self) -> Scratch {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Scratch::new(self.len()))
    }

    fn give_back(&self, scratch: Scratch) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.most_idle {
            idle.push(scratch);
        }
    }

    /// The highest level of a node.
    fn level(&self, node: u32) -> u32 {
        self.upper_of[node as usize + 1] - self.upper_of[node as usize]
    }

    /// Neighbours a node keeps on a level.
    fn most(&self, level: u32) -> usize {
        if level == 0 {
            2 * self.neighbours
        } else {
            self.neighbours
        }
    }

    /// A node's list on a level that it has.
    fn list(&self, node: u32, level: u32) -> &[AtomicU32] {
        let size = self.most(level) + 1;
        let (lists, at) = match level {
            0 => (&self.lowest, node as usize),
            _ => (&self.upper, (self.upper_of[node as usize] + level - 1) as usize),
        };
        &lists[at * size..][..size]
    }

    /// The nearest node that is found above `level`, going from one node to the nearest of its neighbours.
    fn descend(&self, vector: &[i8], level: u32, scratch: &mut Scratch) -> Near {
        self.codes.score(vector, &[self.entry], &mut scratch.scores);
        let mut nearest = Near::new(scratch.scores[0], self.entry);
        for level in (level + 1..=self.level(self.entry)).rev() {
            loop {
                read(self.list(nearest.node(), level), &mut scratch.rows);
                self.codes.score(vector, &scratch.rows, &mut scratch.scores);
                let neighbours = scratch.scores.iter().zip(&scratch.rows);
                let best = neighbours.map(|(score, node)| Near::new(*score, *node)).max();
                match best {
                    Some(best) if best > nearest => nearest = best,
                    _ => break,
                }
            }
        }
        nearest
    }

    /// Algorithm 2. What is found stands in `scratch.candidates`, the nearest first.
    fn search_level(
        &self,
        level: u32,
        vector: &[i8],
        entries: &[Near],
        ef: usize,
        admits: impl Fn(u32) -> bool,
        scratch: &mut Scratch,
    ) {
        scratch.begin();
        let Scratch {
            met,
            walk,
            ahead,
            found,
            rows,
            scores,
            candidates,
            ..
        } = scratch;
        for entry in entries {
            met[entry.node() as usize] = *walk;
            ahead.push(*entry);
            if admits(entry.node()) {
                found.push(Reverse(*entry));
            }
        }
        let mut farthest = farthest_of(found, ef);
        while let Some(next) = ahead.pop() {
            if next < farthest {
                break;
            }
            read(self.list(next.node(), level), rows);
            rows.retain(|node| std::mem::replace(&mut met[*node as usize], *walk) != *walk);
            if let Some(after) = ahead.peek() {
                inner::fetch(self.list(after.node(), level));
            }
            self.codes.score(vector, rows, scores);
            for (node, score) in rows.iter().zip(scores.iter()) {
                let near = Near::new(*score, *node);
                if near < farthest {
                    continue;
                }
                ahead.push(near);
                if !admits(*node) {
                    continue;
                }
                if found.len() < ef {
                    found.push(Reverse(near));
                } else if let Some(mut last) = found.peek_mut() {
                    *last = Reverse(near);
                }
                farthest = farthest_of(found, ef);
            }
        }
        candidates.clear();
        candidates.extend(found.drain().map(|Reverse(near)| near));
        candidates.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Algorithm 1. The node's own lists are there before any other node leads to it, and it is led to from below first: so
    /// nobody comes to it and finds no way on.
    fn insert(&self, node: u32, scratch: &mut Scratch) {
        if node == self.entry {
            return;
        }
        let mut vector = std::mem::take(&mut scratch.vector);
        self.codes.decode(node, &mut vector);
        let top = self.level(node).min(self.level(self.entry));
        let mut entries = vec![self.descend(&vector, top, scratch)];
        for level in (0..=top).rev() {
            self.search_level(level, &vector, &entries, self.ef_construction, |_| true, scratch);
            scratch.candidates.retain(|near| near.node() != node);
            entries.clone_from(&scratch.candidates);
            self.choose(self.neighbours, scratch);
            let _held = self.lock(node);
            write(self.list(node, level), &scratch.chosen);
        }
        let mut neighbours = Vec::with_capacity(self.most(0));
        for level in 0..=top {
            read(self.list(node, level), &mut neighbours);
            for neighbour in &neighbours {
                self.lead(*neighbour, node, level, scratch);
            }
        }
        scratch.vector = vector;
    }

    /// Puts `node` on the list of `from`, which is made anew if it is full.
    fn lead(&self, from: u32, node: u32, level: u32, scratch: &mut Scratch) {
        let list = self.list(from, level);
        let _held = self.lock(from);
        let len = list[0].load(Ordering::Relaxed) as usize;
        if list[1..=len].iter().any(|known| known.load(Ordering::Relaxed) == node) {
            return;
        }
        if len < self.most(level) {
            list[len + 1].store(node, Ordering::Relaxed);
            list[0].store(len as u32 + 1, Ordering::Release);
            return;
        }
        read(list, &mut scratch.rows);
        scratch.rows.push(node);
        self.codes.decode(from, &mut scratch.other);
        self.codes.score(&scratch.other, &scratch.rows, &mut scratch.scores);
        scratch.candidates.clear();
        let nears = scratch.rows.iter().zip(&scratch.scores);
        scratch
            .candidates
            .extend(nears.map(|(node, score)| Near::new(*score, *node)));
        scratch.candidates.sort_unstable_by(|a, b| b.cmp(a));
        self.choose(self.most(level), scratch);
        write(list, &scratch.chosen);
    }

    /// Algorithm 4: of `scratch.candidates`, which have the nearest first, up to `most` into `scratch.chosen`. One that is
    /// nearer to a chosen one than to the node itself is passed over, since the way leads over that one; if places are left,
    /// the nearest of these take them.
    fn choose(&self, most: usize, scratch: &mut Scratch) {
        let Scratch {
            scores,
            candidates,
            chosen,
            passed,
            other,
            ..
        } = scratch;
        chosen.clear();
        passed.clear();
        for near in candidates.iter() {
            if chosen.len() == most {
                break;
            }
            self.codes.decode(near.node(), other);
            let is_behind = chosen.chunks(BATCH).any(|chosen| {
                self.codes.score(other, chosen, scores);
                scores.iter().any(|score| *score >= near.score())
            });
            if is_behind {
                passed.push(near.node());
            } else {
                chosen.push(near.node());
            }
        }
        let places = most - chosen.len();
        chosen.extend(passed.iter().take(places));
    }

    fn lock(&self, node: u32) -> std::sync::MutexGuard<'_, ()> {
        // Nothing is guarded that a panic could leave half done.
        self.locks[node as usize % LOCKS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The least near that still counts: the farthest of those found, once they are `ef`.
fn farthest_of(found: &BinaryHeap<Reverse<Near>>, ef: usize) -> Near {
    match found.peek() {
        Some(Reverse(farthest)) if found.len() >= ef => *farthest,
        _ => Near(0),
    }
}

/// The nodes of a list, into `out`.
fn read(list: &[AtomicU32], out: &mut Vec<u32>) {
    let len = list[0].load(Ordering::Acquire) as usize;
    out.clear();
    out.extend(list[1..=len].iter().map(|node| node.load(Ordering::Relaxed)));
}

fn write(list: &[AtomicU32], nodes: &[u32]) {
    for (place, node) in list[1..].iter().zip(nodes) {
        place.store(*node, Ordering::Relaxed);
    }
    list[0].store(nodes.len() as u32, Ordering::Release);
}

/// The highest level of each node: as many as `neighbours` times fewer on each.
fn levels(nodes: usize, neighbours: usize) -> Vec<u32> {
    let mut random = StdRng::seed_from_u64(0);
    let scale = 1.0 / (neighbours as f64).ln();
    let level = |random: &mut StdRng| {
        let uniform = 1.0 - random.random::<f64>();
        ((-uniform.ln() * scale) as u32).min(LEVELS - 1)
    };
    (0..nodes).map(|_| level(&mut random)).collect()
}
