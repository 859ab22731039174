//! `kefu bench index --vectors N`: the graph over many synthetic vectors beside exact search: recall over speed.

use crate::retrieval::index::{FlatIndex, GraphSettings, HnswIndex, Matrix, VectorIndex, dot};
use anyhow::Context;
use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

/// Numbers of a vector, as the embedding model gives them.
const DIM: usize = 384;
/// Questions asked in each round.
const QUERIES: usize = 500;
/// Of these, those whose exact answer is known.
const KNOWN: usize = 200;
/// Neighbours that are looked for.
const K: usize = 10;
/// Candidates while searching.
const EF: [usize; 3] = [32, 64, 128];
/// Rounds of the questions; the quickest is told.
const ROUNDS: usize = 5;
/// Centres of the clusters and how far vectors stray from them.
const CLUSTERS: usize = 1000;
const SPREAD: f32 = 0.7;

/// Which sizes are measured.
#[derive(Debug, Args)]
pub struct Sizes {
    /// Measure the graph over so many synthetic vectors, e.g. 1000,10000,100000
    #[arg(long, value_delimiter = ',', value_name = "N")]
    vectors: Vec<usize>,
    /// Draw queries a second over the number of vectors there
    #[arg(long, value_name = "FILE.svg", requires = "vectors")]
    svg: Option<PathBuf>,
}

/// The figures for one number of vectors.
struct Figures {
    rows: usize,
    build_s: f64,
    bytes: usize,
    exact_ms: f64,
    /// For each of [`EF`]: recall, queries a second.
    graph: Vec<(f64, f64)>,
}

impl Sizes {
    pub fn any(&self) -> bool {
        !self.vectors.is_empty()
    }

    /// Measures every size, one after the other.
    pub fn measure(&self, threads: usize, rows: &mut Vec<Value>) -> anyhow::Result<()> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let mut all = Vec::new();
        for &count in &self.vectors {
            let figures = measure(count, &pool).context("building the graph")?;
            rows.push(figures.row());
            all.push(figures);
        }
        if let Some(path) = &self.svg {
            std::fs::write(path, svg(&all)).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

impl Figures {
    fn row(&self) -> Value {
        let by_ef = EF
            .iter()
            .zip(&self.graph)
            .map(|(ef, (recall, per_second))| json!({"ef": ef, "recall_at_10": recall, "queries_per_s": per_second}));
        json!({
            "name": format!("graph over {} vectors of {DIM}", self.rows), "build_s": self.build_s,
            "graph_mb": self.bytes as f64 / 1e6, "vectors_mb": (self.rows * DIM * 4) as f64 / 1e6,
            "exact_ms": self.exact_ms, "search": by_ef.collect::<Vec<_>>(),
        })
    }
}

/// Vectors of norm 1 about the centres of clusters, and questions like them.
fn vectors(rows: usize) -> (Matrix, Matrix) {
    let mut random = StdRng::seed_from_u64(1);
    let centres: Vec<f32> = (0..CLUSTERS * DIM).map(|_| random.random_range(-1.0..1.0)).collect();
    let mut draw = |count: usize| {
        let mut data = Vec::with_capacity(count * DIM);
        for _ in 0..count {
            let centre = random.random_range(0..CLUSTERS);
            let start = data.len();
            let near = centres[centre * DIM..(centre + 1) * DIM].iter();
            data.extend(near.map(|x| x + random.random_range(-SPREAD..SPREAD)));
            let norm = dot(&data[start..], &data[start..]).sqrt();
            for x in &mut data[start..] {
                *x /= norm;
            }
        }
        Matrix::new(DIM, data)
    };
    (draw(rows), draw(QUERIES))
}

fn measure(rows: usize, pool: &rayon::ThreadPool) -> Option<Figures> {
    let (matrix, queries) = vectors(rows);
    let settings = GraphSettings {
        neighbours: 16,
        ef_construction: 200,
        ef_search: EF[0],
    };
    let began = Instant::now();
    let mut graph = pool.install(|| HnswIndex::build(&matrix, settings, &|| true))?;
    let build_s = began.elapsed().as_secs_f64();
    let exact = FlatIndex::new(matrix);
    let began = Instant::now();
    let wanted: Vec<Vec<u32>> = (0..KNOWN)
        .map(|query| {
            exact
                .search(queries.row(query), K)
                .iter()
                .map(|found| found.row)
                .collect()
        })
        .collect();
    let exact_ms = began.elapsed().as_secs_f64() * 1e3 / KNOWN as f64;
    let mut by_ef = Vec::new();
    for ef in EF {
        graph = graph.with_ef_search(ef);
        let found = |query: usize| graph.search(queries.row(query), K);
        let same: usize = (0..KNOWN)
            .map(|query| {
                found(query)
                    .iter()
                    .filter(|found| wanted[query].contains(&found.row))
                    .count()
            })
            .sum();
        let best = (0..ROUNDS)
            .map(|_| {
                let began = Instant::now();
                for query in 0..QUERIES {
                    std::hint::black_box(found(query));
                }
                began.elapsed().as_secs_f64()
            })
            .fold(f64::INFINITY, f64::min);
        by_ef.push((same as f64 / (KNOWN * K.min(rows)) as f64, QUERIES as f64 / best));
    }
    Some(Figures {
        rows,
        build_s,
        bytes: graph.bytes(),
        exact_ms,
        graph: by_ef,
    })
}

/// Queries a second over the number of vectors, both by powers of ten: a line for each [`EF`] and one for exact search.
fn svg(all: &[Figures]) -> String {
    let (width, height, left, top) = (560.0, 360.0, 70.0, 20.0);
    let (low, high) = (2.0, 6.0);
    let x = |rows: usize| left + ((rows.max(1) as f64).log10() - 3.0).clamp(0.0, 3.0) / 3.0 * width;
    let y = |per_second: f64| {
        top + height * (1.0 - (per_second.max(1.0).log10() - low).clamp(0.0, high - low) / (high - low))
    };
    let mut lines = String::new();
    let mut add = |name: String, colour: &str, points: Vec<(usize, f64)>| {
        let path: Vec<String> = points
            .iter()
            .map(|(rows, rate)| format!("{:.1},{:.1}", x(*rows), y(*rate)))
            .collect();
        let end = points.last().map_or((left, top), |(rows, rate)| (x(*rows), y(*rate)));
        let path = path.join(" ");
        let line = format!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{path}\"/>\n\
             <text x=\"{:.0}\" y=\"{:.0}\" fill=\"{colour}\">{name}</text>\n",
            end.0 + 6.0,
            end.1 + 4.0
        );
        lines.push_str(&line);
    };
    for (place, ef) in EF.iter().enumerate() {
        let points = all
            .iter()
            .map(|figures| (figures.rows, figures.graph[place].1))
            .collect();
        add(
            format!("graph, ef {ef}"),
            ["#1565c0", "#2e7d32", "#6a1b9a"][place % 3],
            points,
        );
    }
    let exact = all
        .iter()
        .map(|figures| (figures.rows, 1e3 / figures.exact_ms.max(1e-6)))
        .collect();
    add("exact".to_owned(), "#c62828", exact);
    let mut ticks = String::new();
    for power in 3..=6 {
        let at = x(10_usize.pow(power));
        let down = top + height + 18.0;
        let tick = format!("<text x=\"{at:.0}\" y=\"{down:.0}\" text-anchor=\"middle\">10^{power}</text>\n");
        ticks.push_str(&tick);
    }
    for power in 2..=6 {
        let at = y(10_f64.powi(power)) + 4.0;
        let tick = format!(
            "<text x=\"{:.0}\" y=\"{at:.0}\" text-anchor=\"end\">10^{power}</text>\n",
            left - 8.0
        );
        ticks.push_str(&tick);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"#999\"/>\n{ticks}{lines}\
         <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">vectors of {DIM} numbers, synthetic</text>\n\
         <text x=\"14\" y=\"{:.0}\" transform=\"rotate(-90 14 {:.0})\" text-anchor=\"middle\">queries a second, one thread</text>\n</svg>\n",
        left + width + 110.0,
        top + height + 50.0,
        left + width / 2.0,
        top + height + 40.0,
        top + height / 2.0,
        top + height / 2.0
    )
}

/// The machine's threads that build.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A row in words.
pub fn print(row: &Value) {
    println!(
        "{}: built in {:.1} s, {:.0} MB beside {:.0} MB of vectors, exact {:.2} ms",
        row["name"].as_str().unwrap_or_default(),
        row["build_s"].as_f64().unwrap_or_default(),
        row["graph_mb"].as_f64().unwrap_or_default(),
        row["vectors_mb"].as_f64().unwrap_or_default(),
        row["exact_ms"].as_f64().unwrap_or_default()
    );
    for search in row["search"].as_array().into_iter().flatten() {
        println!(
            "  ef {:>4}  recall@10 {:.4}  {:>8.0} queries/s",
            search["ef"],
            search["recall_at_10"].as_f64().unwrap_or_default(),
            search["queries_per_s"].as_f64().unwrap_or_default()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_vectors_are_measured_and_drawn() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let figures = measure(300, &pool).unwrap();
        assert!(figures.graph.iter().all(|(recall, rate)| *recall > 0.9 && *rate > 0.0));
        let drawn = svg(&[figures]);
        assert!(drawn.contains("polyline") && drawn.trim_end().ends_with("</svg>"));
    }
}
