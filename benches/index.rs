//! Vector indexes: how long building and searching take, and what the graph misses. Shapes: 384 numbers as the
//! embedding model gives them, from 4,000 vectors (where the graph begins to serve) to 20,000.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kefu::retrieval::index::{FlatIndex, GraphSettings, HnswIndex, Matrix, VectorIndex, dot};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::hint::black_box;

const DIM: usize = 384;
const QUERIES: usize = 200;
const SETTINGS: GraphSettings = GraphSettings {
    neighbours: 16,
    ef_construction: 200,
    ef_search: 64,
};

/// Vectors of norm 1 around 200 centres; the last [`QUERIES`] are the questions.
fn vectors(rows: usize) -> (Matrix, Matrix) {
    let mut random = StdRng::seed_from_u64(1);
    let centres: Vec<f32> = (0..200 * DIM).map(|_| random.random_range(-1.0..1.0)).collect();
    let mut data = Vec::with_capacity((rows + QUERIES) * DIM);
    for _ in 0..rows + QUERIES {
        let centre = random.random_range(0..200);
        let row: Vec<f32> = centres[centre * DIM..(centre + 1) * DIM]
            .iter()
            .map(|x| x + random.random_range(-0.7..0.7))
            .collect();
        let norm = dot(&row, &row).sqrt();
        data.extend(row.iter().map(|x| x / norm));
    }
    let queries = data.split_off(rows * DIM);
    (Matrix::new(DIM, data), Matrix::new(DIM, queries))
}

fn recall(exact: &FlatIndex, graph: &HnswIndex, queries: &Matrix) -> f64 {
    let mut same = 0;
    for query in 0..queries.rows() {
        let wanted = exact.search(queries.row(query), 10);
        let found = graph.search(queries.row(query), 10);
        same += wanted.iter().filter(|a| found.iter().any(|b| a.row == b.row)).count();
    }
    same as f64 / (queries.rows() * 10) as f64
}

fn search(c: &mut Criterion) {
    let mut group = c.benchmark_group("index/search");
    for rows in [4_000, 20_000] {
        let (matrix, queries) = vectors(rows);
        let exact = FlatIndex::new(matrix.clone());
        let Some(graph) = HnswIndex::build(&matrix, SETTINGS, &|| true) else {
            continue;
        };
        println!(
            "{rows} vectors: recall@10 of the graph {:.4}",
            recall(&exact, &graph, &queries)
        );
        let indexes: [(&str, &dyn VectorIndex); 2] = [("exact", &exact), ("graph", &graph)];
        for (name, index) in indexes {
            let mut number = 0;
            group.bench_function(BenchmarkId::new(name, rows), |b| {
                b.iter(|| {
                    number = (number + 1) % QUERIES;
                    black_box(index.search(queries.row(number), 32))
                });
            });
        }
    }
    group.finish();
}

fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("index/build");
    group.sample_size(10);
    for rows in [4_000, 20_000] {
        let (matrix, _) = vectors(rows);
        group.bench_function(BenchmarkId::new("graph", rows), |b| {
            b.iter(|| black_box(HnswIndex::build(&matrix, SETTINGS, &|| true)));
        });
    }
    group.finish();
}

criterion_group!(benches, search, build);
criterion_main!(benches);
