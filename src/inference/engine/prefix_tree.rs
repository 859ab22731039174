//! Keys and values of what was computed before, by what it was computed for: a radix tree over token sequences, a page
//! an edge (Zheng et al., arXiv:2312.07104). Requests that begin alike (the next turn of a conversation, another question
//! under the same instructions) go on from there.

use crate::inference::kv_cache::{KvCache, KvPool, PAGE, Page};
use std::collections::HashMap;
use std::sync::Arc;

/// The root has no page.
const ROOT: usize = 0;

#[derive(Debug)]
struct Node {
    /// What its page holds, at most [`PAGE`]; only nodes with as many have children.
    tokens: Vec<u32>,
    page: Option<Arc<Page>>,
    parent: usize,
    /// By their first token.
    children: HashMap<u32, Vec<usize>>,
    /// When it was last used, by a clock that counts uses.
    used: u64,
}

#[derive(Debug)]
pub(super) struct PrefixTree {
    pool: KvPool,
    nodes: Vec<Option<Node>>,
    vacant: Vec<usize>,
    clock: u64,
}

impl PrefixTree {
    pub(super) fn new(pool: &KvPool) -> Self {
        let root = Node {
            tokens: Vec::new(),
            page: None,
            parent: ROOT,
            children: HashMap::new(),
            used: 0,
        };
        Self {
            pool: pool.clone(),
            nodes: vec![Some(root)],
            vacant: Vec::new(),
            clock: 0,
        }
    }

    fn node(&self, index: usize) -> Option<&Node> {
        self.nodes.get(index).and_then(Option::as_ref)
    }

    /// The child of `index` that has most tokens in common with the beginning of `tokens`, and how many.
    fn best_child(&self, index: usize, tokens: &[u32]) -> Option<(usize, usize)> {
        let children = self.node(index)?.children.get(tokens.first()?)?;
        children
            .iter()
            .filter_map(|&child| Some((child, common(&self.node(child)?.tokens, tokens))))
            .max_by_key(|&(_, length)| length)
    }

    fn touch(&mut self, index: usize) {
        self.clock += 1;
        let clock = self.clock;
        if let Some(node) = self.nodes.get_mut(index).and_then(Option::as_mut) {
            node.used = clock;
        }
    }

    /// A cache of the longest beginning of `tokens` that is here, for a sequence of at most `max_tokens`.
    pub(super) fn longest(&mut self, tokens: &[u32], max_tokens: usize) -> KvCache {
        let (mut pages, mut len, mut at) = (Vec::new(), 0, ROOT);
        while let Some((child, length)) = self.best_child(at, &tokens[len..]) {
            self.touch(child);
            pages.extend(self.node(child).and_then(|node| node.page.clone()));
            len += length;
            at = child;
            if length < PAGE {
                break;
            }
        }
        KvCache::from_pages(&self.pool, pages, len, max_tokens)
    }

    /// Keeps what `cache` holds of `tokens`.
    pub(super) fn keep(&mut self, tokens: &[u32], cache: &KvCache) {
        let len = tokens.len().min(cache.len());
        let mut at = ROOT;
        for (chunk, page) in tokens[..len].chunks(PAGE).zip(cache.pages()) {
            match self.best_child(at, chunk) {
                // All of it is here already.
                Some((child, length)) if length == chunk.len() => at = child,
                // What is here goes on with it, and no further.
                Some((child, length)) if self.node(child).is_some_and(|node| node.tokens.len() == length) => {
                    if let Some(node) = self.nodes.get_mut(child).and_then(Option::as_mut) {
                        node.tokens = chunk.to_vec();
                        node.page = Some(Arc::clone(page));
                    }
                    at = child;
                }
                _ => at = self.insert(at, chunk, page),
            }
            self.touch(at);
        }
    }

    fn insert(&mut self, parent: usize, tokens: &[u32], page: &Arc<Page>) -> usize {
        let node = Some(Node {
            tokens: tokens.to_vec(),
            page: Some(Arc::clone(page)),
            parent,
            children: HashMap::new(),
            used: 0,
        });
        let index = if let Some(index) = self.vacant.pop() {
            self.nodes[index] = node;
            index
        } else {
            self.nodes.push(node);
            self.nodes.len() - 1
        };
        if let Some(parent) = self.nodes[parent].as_mut() {
            parent.children.entry(tokens[0]).or_default().push(index);
        }
        index
    }

    /// Gives one page up, the least recently used of those without children; rather one that no sequence holds, because
    /// only that becomes free. (A sequence that no longer shares the page it writes needs no copy of it.) Returns false
    /// if there is none.
    pub(super) fn give_up(&mut self) -> bool {
        let leaves = (self.nodes.iter().enumerate()).filter_map(|(index, node)| {
            let node = node.as_ref()?;
            let held = Arc::strong_count(node.page.as_ref()?) > 1;
            node.children.is_empty().then_some((held, node.used, index))
        });
        match leaves.min() {
            Some((_, _, index)) => {
                self.remove(index);
                true
            }
            None => false,
        }
    }

    fn remove(&mut self, index: usize) {
        let Some(node) = self.nodes[index].take() else { return };
        self.vacant.push(index);
        if let Some(parent) = self.nodes[node.parent].as_mut() {
            let first = node.tokens[0];
            if let Some(children) = parent.children.get_mut(&first) {
                children.retain(|&child| child != index);
                if children.is_empty() {
                    parent.children.remove(&first);
                }
            }
        }
    }
}

/// Tokens that `a` and `b` begin with alike.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::kv_cache::KvShape;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    const SHAPE: KvShape = KvShape {
        layers: 1,
        heads: 1,
        dim: 1,
    };

    /// Goes on from what the tree has of `tokens`, as the engine does; returns how much that was.
    fn serve(tree: &mut PrefixTree, tokens: &[u32]) -> usize {
        let mut cache = tree.longest(&tokens[..tokens.len() - 1], 1000);
        let had = cache.len();
        let rows: Vec<f32> = tokens[had..].iter().map(|&token| token as f32).collect();
        while tree.pool.free() < cache.pages_for(rows.len()) {
            assert!(tree.give_up(), "room can be made");
        }
        cache.make_room(rows.len()).unwrap();
        let positions: Vec<usize> = (had..tokens.len()).collect();
        cache.write(0, &positions, &rows, &rows).unwrap();
        cache.advance_to(tokens.len());
        assert_eq!(held(&cache), tokens, "a token's numbers are its own");
        tree.keep(tokens, &cache);
        had
    }

    fn held(cache: &KvCache) -> Vec<u32> {
        let layout = crate::kernels::attention::Layout::new(1, 1);
        (0..cache.len())
            .map(|at| {
                let page = cache.pages()[at / PAGE].numbers();
                layout.key(page, 0, at % PAGE).next().unwrap() as u32
            })
            .collect()
    }

    fn tree(pages: usize) -> PrefixTree {
        PrefixTree::new(&KvPool::new(SHAPE, pages))
    }

    #[test]
    fn the_longest_beginning_is_found_to_the_token() {
        let mut tree = tree(100);
        let prompt: Vec<u32> = (0..200).collect();
        assert_eq!(serve(&mut tree, &prompt), 0);
        assert_eq!(
            serve(&mut tree, &prompt),
            199,
            "the last token is computed for its logits"
        );
        let other: Vec<u32> = (0..130).chain(500..560).collect();
        assert_eq!(serve(&mut tree, &other), 130);
        assert_eq!(serve(&mut tree, &(0..150).chain(900..910).collect::<Vec<_>>()), 150);
        assert_eq!(serve(&mut tree, &[7, 8, 9]), 0);
    }

    #[test]
    fn a_longer_answer_takes_the_place_of_its_beginning() {
        let mut tree = tree(100);
        for end in [10, 20, 64, 70] {
            serve(&mut tree, &(0..end).collect::<Vec<_>>());
        }
        assert_eq!(tree.pool.free(), 98, "two pages hold all four");
    }

    #[test]
    fn the_least_recently_used_is_given_up_from_its_end() {
        let mut tree = tree(5);
        let first: Vec<u32> = (0..128).collect();
        let second: Vec<u32> = (200..328).collect();
        serve(&mut tree, &first);
        serve(&mut tree, &second);
        serve(&mut tree, &first);
        serve(&mut tree, &(400..460).collect::<Vec<_>>());
        serve(&mut tree, &(500..510).collect::<Vec<_>>());
        assert_eq!(tree.longest(&first, 1000).len(), 128);
        assert_eq!(tree.longest(&second, 1000).len(), 64);
    }

    #[test]
    fn pages_in_use_are_given_up_last_and_stay_with_their_users() {
        let mut tree = tree(4);
        serve(&mut tree, &(0..100).collect::<Vec<_>>());
        serve(&mut tree, &(500..600).collect::<Vec<_>>());
        let held = tree.longest(&(0..70).collect::<Vec<_>>(), 1000);
        assert!(tree.give_up() && tree.give_up());
        assert_eq!(tree.pool.free(), 2, "the other's first");
        assert!(tree.give_up() && tree.give_up() && !tree.give_up());
        assert_eq!(tree.pool.free(), 2);
        assert_eq!(self::held(&held), (0..70).collect::<Vec<_>>());
        drop(held);
        assert_eq!(tree.pool.free(), 4);
    }

    #[test]
    fn random_prompts_never_get_anothers_numbers_and_leak_nothing() {
        let mut rng = StdRng::seed_from_u64(9);
        let mut tree = tree(24);
        let mut prompts: Vec<Vec<u32>> = Vec::new();
        for _ in 0..2000 {
            let mut prompt = match prompts.len() {
                0 => Vec::new(),
                count => {
                    let earlier = &prompts[rng.random_range(0..count)];
                    earlier[..rng.random_range(0..=earlier.len())].to_vec()
                }
            };
            prompt.extend((0..rng.random_range(1..100)).map(|_| rng.random_range(0..4u32)));
            prompt.truncate(400);
            serve(&mut tree, &prompt);
            prompts.push(prompt);
            if prompts.len() > 20 {
                prompts.remove(0);
            }
        }
        while tree.give_up() {}
        assert_eq!(tree.pool.free(), 24, "everything can be given up");
        assert_eq!(tree.nodes.iter().flatten().count(), 1, "only the root is left");
    }
}
