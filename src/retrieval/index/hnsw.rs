//! Approximate search over a hierarchical navigable small world graph (Malkov and Yashunin, arXiv:1603.09320), built
//! by `hnsw_rs`. The graph is never written to disk: its reader trusts what it reads, and a graph that is built in the
//! background while the exact index serves costs nobody any time.

use super::{Matrix, Neighbour, VectorIndex, dot};
use anndists::dist::Distance;
use hnsw_rs::hnsw::Hnsw;
use std::collections::HashMap;

/// Levels of the graph; with M = 16 a level holds a sixteenth of the one below: 16 levels are for more vectors than
/// there are row numbers.
const LEVELS: usize = 16;
/// Vectors inserted between two looks at whether the graph is still wanted.
const STEP: usize = 256;

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

/// The graph.
pub struct HnswIndex {
    graph: Hnsw<'static, f32, Cosine>,
    /// For each node the rows with its vector: equal vectors are one node. (As nodes of their own, more of them than a
    /// node keeps neighbours would form an island that no search leaves.)
    rows: Vec<Vec<u32>>,
    len: usize,
    ef_search: usize,
}

/// 1 - cosine of vectors of norm 1.
#[derive(Clone, Copy, Default)]
struct Cosine;

impl Distance<f32> for Cosine {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        // Rounding makes the cosine of equal vectors exceed 1; the graph asserts that no distance is negative.
        let distance = 1.0 - dot(a, b);
        if distance > 0.0 { distance } else { 0.0 }
    }
}

impl HnswIndex {
    /// Builds the graph over the rows of `matrix`, in parallel on the current rayon pool. `None` if `wanted` says no
    /// meanwhile.
    ///
    /// Cost: about 1 ms a vector of 384 numbers and thread at `ef_construction` 200, and the vectors a second time in
    /// memory.
    pub fn build(matrix: &Matrix, settings: GraphSettings, wanted: &(dyn Fn() -> bool + Sync)) -> Option<Self> {
        let mut nodes: HashMap<Vec<u32>, usize> = HashMap::with_capacity(matrix.rows());
        let mut rows: Vec<Vec<u32>> = Vec::new();
        for row in 0..matrix.rows() {
            let bits: Vec<u32> = matrix.row(row).iter().map(|x| x.to_bits()).collect();
            let node = *nodes.entry(bits).or_insert(rows.len());
            if node == rows.len() {
                rows.push(Vec::with_capacity(1));
            }
            rows[node].push(row as u32);
        }
        drop(nodes);
        // hnsw_rs ends the process for more than 256 neighbours.
        let neighbours = settings.neighbours.clamp(2, 256);
        let graph = Hnsw::new(neighbours, rows.len(), LEVELS, settings.ef_construction, Cosine);
        let nodes: Vec<(&[f32], usize)> = rows
            .iter()
            .enumerate()
            .map(|(node, rows)| (matrix.row(rows[0] as usize), node))
            .collect();
        for (step, nodes) in nodes.chunks(STEP).enumerate() {
            if !wanted() {
                return None;
            }
            if step == 0 {
                // The first nodes find each other only one after the other.
                for node in nodes {
                    graph.insert(*node);
                }
            } else {
                graph.parallel_insert_slice(&nodes.to_vec());
            }
        }
        drop(nodes);
        Some(Self {
            graph,
            rows,
            len: matrix.rows(),
            ef_search: settings.ef_search,
        })
    }
}

impl VectorIndex for HnswIndex {
    fn len(&self) -> usize {
        self.len
    }

    fn search(&self, query: &[f32], k: usize) -> Vec<Neighbour> {
        if k == 0 || self.rows.is_empty() {
            return Vec::new();
        }
        let nodes = self.graph.search(query, k.min(self.rows.len()), self.ef_search.max(k));
        self.rows_of(&nodes, k, &|_| true)
    }

    /// Rows that are not allowed are walked over and not kept, so the walk grows longer the fewer are allowed, and may end
    /// with fewer than there are: callers with few allowed rows search them exactly.
    fn search_among(&self, query: &[f32], k: usize, allowed: &dyn Fn(u32) -> bool) -> Vec<Neighbour> {
        if k == 0 || self.rows.is_empty() {
            return Vec::new();
        }
        let filter = |node: &usize| {
            let rows = self.rows.get(*node);
            rows.is_some_and(|rows| rows.iter().any(|row| allowed(*row)))
        };
        // The node at which the walk begins takes a place, allowed or not.
        let ef = self.ef_search.max(k) + 1;
        let nodes = self
            .graph
            .search_filter(query, (k + 1).min(self.rows.len()), ef, Some(&filter));
        self.rows_of(&nodes, k, allowed)
    }
}

impl HnswIndex {
    /// The allowed rows of these nodes, nearest first.
    fn rows_of(&self, nodes: &[hnsw_rs::hnsw::Neighbour], k: usize, allowed: &dyn Fn(u32) -> bool) -> Vec<Neighbour> {
        let mut found: Vec<Neighbour> = nodes
            .iter()
            .flat_map(|node| {
                let similarity = 1.0 - node.distance;
                let rows = self.rows.get(node.d_id).into_iter().flatten();
                rows.filter(|row| allowed(**row))
                    .map(move |row| Neighbour { row: *row, similarity })
            })
            .collect();
        found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.row.cmp(&b.row)));
        found.truncate(k);
        found
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
        let empty = HnswIndex::build(&Matrix::new(8, Vec::new()), SETTINGS, &|| true).unwrap();
        assert!(empty.search(&[1.0; 8], 3).is_empty());
    }
}
