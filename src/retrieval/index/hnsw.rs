//! Approximate search over a hierarchical navigable small world graph ([`Graph`]). The graph is never written to disk: one
//! that is built in the background while the exact index serves costs nobody any time, and none has to be trusted.

use super::codes::Codes;
use super::graph::Graph;
use super::{Matrix, Neighbour, VectorIndex};
use crate::kernels::{Level, inner};
use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::Hasher;

/// How the graph is built and searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphSettings {
    /// Neighbours a node keeps (M).
    pub neighbours: usize,
    /// Candidates while building.
    pub ef_construction: usize,
    /// Candidates while searching.
    pub ef_search: usize,
}

/// The graph. It is walked by vectors rounded to 8 bits; what the walk finds is compared exactly.
pub struct HnswIndex {
    graph: Graph,
    matrix: Matrix,
    rows: NodeRows,
    ef_search: usize,
}

/// For each node the rows with its vector: equal vectors are one node. (As nodes of their own, more of them than a node
/// keeps neighbours would form an island that no search leaves.)
struct NodeRows {
    /// For each node the place of its first row, and one more for the end.
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl NodeRows {
    fn new(matrix: &Matrix) -> Self {
        let mut first_with: HashMap<u64, u32> = HashMap::with_capacity(matrix.rows());
        let mut firsts: Vec<u32> = Vec::new();
        let mut node_of = Vec::with_capacity(matrix.rows());
        let bits = |row: u32| matrix.row(row as usize).iter().map(|x| x.to_bits());
        for row in 0..matrix.rows() as u32 {
            let mut hash = DefaultHasher::new();
            bits(row).for_each(|bits| hash.write_u32(bits));
            let own = firsts.len() as u32;
            let node = match first_with.entry(hash.finish()) {
                Entry::Vacant(entry) => *entry.insert(own),
                Entry::Occupied(entry) => *entry.get(),
            };
            // Different vectors of the same hash are different nodes.
            let is_known = node != own && bits(firsts[node as usize]).eq(bits(row));
            if !is_known {
                firsts.push(row);
            }
            node_of.push(if is_known { node } else { own });
        }
        let mut starts = vec![0_u32; firsts.len() + 1];
        for node in &node_of {
            starts[*node as usize + 1] += 1;
        }
        for node in 0..firsts.len() {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; node_of.len()];
        for (row, node) in node_of.iter().enumerate() {
            let place = &mut next[*node as usize];
            rows[*place as usize] = row as u32;
            *place += 1;
        }
        Self { starts, rows }
    }

    fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    fn of(&self, node: u32) -> &[u32] {
        &self.rows[self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize]
    }
}

impl HnswIndex {
    /// Builds the graph over the rows of `matrix`, in parallel on the current rayon pool. `None` if `wanted` says no
    /// meanwhile, or the rows are too long ([`inner::MAX_BYTES`]).
    ///
    /// Cost: about 0.3 ms a vector of 384 numbers and thread at `ef_construction` 200; in memory what [`Self::bytes`] says, the
    /// vectors themselves are shared.
    pub fn build(matrix: &Matrix, settings: GraphSettings, wanted: &(dyn Fn() -> bool + Sync)) -> Option<Self> {
        if matrix.dim() > inner::MAX_BYTES {
            return None;
        }
        let rows = NodeRows::new(matrix);
        let nodes = rows.nodes();
        let codes = Codes::new(matrix, (0..nodes).map(|node| rows.of(node as u32)[0] as usize));
        let neighbours = settings.neighbours.clamp(2, 256);
        Some(Self {
            graph: Graph::build(codes, nodes, neighbours, settings.ef_construction, wanted)?,
            matrix: matrix.clone(),
            rows,
            ef_search: settings.ef_search,
        })
    }

    /// The same graph, searched with so many candidates.
    #[must_use]
    pub fn with_ef_search(self, ef_search: usize) -> Self {
        Self { ef_search, ..self }
    }

    /// Bytes of memory beside the vectors.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.graph.bytes() + size_of_val(&*self.rows.starts) + size_of_val(&*self.rows.rows)
    }

    fn search_where(&self, query: &[f32], k: usize, allowed: impl Fn(u32) -> bool) -> Vec<Neighbour> {
        if k == 0 || self.rows.nodes() == 0 {
            return Vec::new();
        }
        assert_eq!(query.len(), self.matrix.dim(), "a query of another dimension");
        let ef = self.ef_search.max(k).min(self.rows.nodes());
        let nodes = self
            .graph
            .search(query, ef, |node| self.rows.of(node).iter().any(|row| allowed(*row)));
        let firsts: Vec<u32> = nodes.iter().map(|node| self.rows.of(*node)[0]).collect();
        let mut similarities = vec![0.0; firsts.len()];
        inner::dots(
            Level::detect(),
            query,
            self.matrix.as_slice(),
            &firsts,
            &mut similarities,
        );
        let rows_of = |(node, similarity): (&u32, f32)| {
            let allowed = self.rows.of(*node).iter().filter(|row| allowed(**row));
            allowed.map(move |row| Neighbour { row: *row, similarity })
        };
        let mut found: Vec<Neighbour> = nodes.iter().zip(similarities).flat_map(rows_of).collect();
        found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.row.cmp(&b.row)));
        found.truncate(k);
        found
    }
}

impl VectorIndex for HnswIndex {
    fn len(&self) -> usize {
        self.matrix.rows()
    }

    fn search(&self, query: &[f32], k: usize) -> Vec<Neighbour> {
        self.search_where(query, k, |_| true)
    }

    /// Rows that are not allowed are walked over and not kept, so the walk grows longer the fewer are allowed, and may end
    /// with fewer than there are: callers with few allowed rows search them exactly.
    fn search_among(&self, query: &[f32], k: usize, allowed: &dyn Fn(u32) -> bool) -> Vec<Neighbour> {
        self.search_where(query, k, allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::clustered;
    use super::super::{FlatIndex, Matrix};
    use super::*;

    const SETTINGS: GraphSettings = GraphSettings {
        neighbours: 16,
        ef_construction: 200,
        ef_search: 64,
    };

    #[test]
    fn recall_against_exact_search() {
        // Questions are like the texts they ask about: both are drawn from the same clusters.
        let mut rows = clustered(5_200, 64, 50, 1);
        let queries = Matrix::new(64, rows.split_off(5_000 * 64));
        let matrix = Matrix::new(64, rows);
        let graph = HnswIndex::build(&matrix, SETTINGS, &|| true).unwrap();
        let exact = FlatIndex::new(matrix);
        let mut same = 0;
        for query in 0..queries.rows() {
            let rows = |found: Vec<Neighbour>| found.iter().map(|n| n.row).collect::<Vec<_>>();
            let wanted = rows(exact.search(queries.row(query), 10));
            let found = rows(graph.search(queries.row(query), 10));
            same += wanted.iter().filter(|row| found.contains(row)).count();
        }
        assert!(same >= 1900, "recall@10 {}", same as f32 / 2000.0);
    }

    #[test]
    fn recall_among_a_part_of_the_rows() {
        let mut rows = clustered(5_100, 64, 50, 4);
        let queries = Matrix::new(64, rows.split_off(5_000 * 64));
        let matrix = Matrix::new(64, rows);
        let graph = HnswIndex::build(&matrix, SETTINGS, &|| true).unwrap();
        let exact = FlatIndex::new(matrix);
        // Every second, tenth and twentieth row.
        for share in [2, 10, 20] {
            let allowed = |row: u32| row % share == 1;
            let (mut same, mut all) = (0, 0);
            for query in 0..queries.rows() {
                let wanted = exact.search_among(queries.row(query), 10, &allowed);
                let found = graph.search_among(queries.row(query), 10, &allowed);
                assert!(found.iter().all(|n| allowed(n.row)));
                all += wanted.len();
                same += wanted.iter().filter(|a| found.iter().any(|b| a.row == b.row)).count();
            }
            assert!(same * 100 >= all * 95, "1 of {share}: {same} of {all}");
        }
        assert!(graph.search_among(queries.row(0), 10, &|_| false).is_empty());
    }

    #[test]
    fn equal_vectors_are_all_found() {
        let mut data = clustered(300, 32, 3, 3);
        let twin = data[..32].to_vec();
        for _ in 0..200 {
            data.extend(&twin);
        }
        let matrix = Matrix::new(32, data);
        let graph = HnswIndex::build(&matrix, SETTINGS, &|| true).unwrap();
        let found = graph.search(&twin, 201);
        assert_eq!(found.len(), 201);
        assert!(found.iter().all(|n| n.row == 0 || n.row >= 300));
        let other = matrix.row(7).to_vec();
        assert_eq!(graph.search(&other, 1)[0].row, 7);
    }

    #[test]
    fn an_unwanted_graph_is_not_built() {
        let matrix = Matrix::new(8, clustered(600, 8, 3, 3));
        assert!(HnswIndex::build(&matrix, SETTINGS, &|| false).is_none());
        // In the middle of it, too.
        let looks = std::sync::atomic::AtomicUsize::new(0);
        let wanted = || looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3;
        assert!(HnswIndex::build(&matrix, SETTINGS, &wanted).is_none());
        let empty = HnswIndex::build(&Matrix::new(8, Vec::new()), SETTINGS, &|| true).unwrap();
        assert!(empty.search(&[1.0; 8], 3).is_empty());
    }

    #[test]
    fn one_and_two_rows_and_more_asked_for_than_there_are() {
        for count in 1..40 {
            let matrix = Matrix::new(8, clustered(count, 8, 3, 6));
            let graph = HnswIndex::build(&matrix, SETTINGS, &|| true).unwrap();
            let exact = FlatIndex::new(matrix.clone());
            for row in 0..count {
                assert_eq!(graph.search(matrix.row(row), 50), exact.search(matrix.row(row), 50));
            }
            assert!(graph.search(matrix.row(0), 0).is_empty());
        }
    }

    #[test]
    fn a_single_row_that_is_allowed_is_found() {
        let matrix = Matrix::new(32, clustered(2_000, 32, 20, 7));
        let graph = HnswIndex::build(&matrix, SETTINGS, &|| true).unwrap();
        for row in (0..2_000).step_by(97) {
            let found = graph.search_among(matrix.row(5), 3, &|other| other == row);
            assert_eq!(found.iter().map(|n| n.row).collect::<Vec<_>>(), [row]);
        }
    }

    #[test]
    fn vectors_about_a_common_direction_are_told_apart() {
        // As those of embedding models are, whose cosines all lie near .8; similarities are the exact ones.
        let mut rows = clustered(3_100, 64, 30, 8);
        for row in rows.chunks_exact_mut(64) {
            for x in row.iter_mut() {
                *x += 0.25;
            }
            let norm = super::super::dot(row, row).sqrt();
            for x in row.iter_mut() {
                *x /= norm;
            }
        }
        let queries = Matrix::new(64, rows.split_off(3_000 * 64));
        let matrix = Matrix::new(64, rows);
        let graph = HnswIndex::build(&matrix, SETTINGS, &|| true).unwrap();
        let exact = FlatIndex::new(matrix);
        let mut same = 0;
        for query in 0..queries.rows() {
            let wanted = exact.search(queries.row(query), 10);
            let found = graph.search(queries.row(query), 10);
            same += wanted.iter().filter(|neighbour| found.contains(neighbour)).count();
        }
        assert!(same >= 950, "recall@10 {}", same as f32 / 1000.0);
    }
}
