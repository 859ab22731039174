//! Products with packed matrices of the shapes of Qwen2.5 0.5B and 1.5B, which come from memory as those of a model do.
//! An element is one multiplication or addition, so that `Gelem/s` are billions of operations a second. `rounding` is the
//! part of a product that rounds the activations, in elements that are rounded.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kefu::kernels::matmul::{Format, Matrix, Product, Quantised, dense, multiply};
use kefu::kernels::{Level, pool};
use memmap2::{Advice, MmapMut};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::Duration;

/// Rows and columns: attention and both halves of a feed-forward layer.
const SHAPES: [(usize, usize); 5] = [(896, 896), (4864, 896), (896, 4864), (8960, 1536), (1536, 8960)];
const FORMATS: [Format; 4] = [Format::Q5_0, Format::Q4_K, Format::Q6_K, Format::Q8_0];
const ROWS: [usize; 7] = [1, 2, 4, 8, 16, 64, 512];
const THREADS: [usize; 2] = [1, 2];
/// More than a cache holds.
const MEMORY: usize = 128 << 20;

/// Copies of a packed matrix, one after the other, in huge pages where there are any.
fn copies(len: usize, pack: impl FnOnce(&mut [u8])) -> MmapMut {
    let mut memory = MmapMut::map_anon(MEMORY.next_multiple_of(len)).expect("memory");
    #[cfg(target_os = "linux")]
    memory.advise(Advice::HugePage).ok();
    pack(&mut memory[..len]);
    let (first, others) = memory.split_at_mut(len);
    others
        .chunks_exact_mut(len)
        .for_each(|copy| copy.copy_from_slice(first));
    memory
}

/// A random matrix as a file has it, with scales of moderate size.
fn file(format: Format, numbers: usize, rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; numbers / format.file_block() * format.file_bytes()];
    rng.fill(&mut bytes[..]);
    for block in bytes.chunks_exact_mut(format.file_bytes()) {
        let scale = half::f16::from_f32(0.01).to_le_bytes();
        let at = if format == Format::Q6_K { 208 } else { 0 };
        block[at..at + 2].copy_from_slice(&scale);
        if format == Format::Q4_K {
            block[2..4].copy_from_slice(&scale);
        }
    }
    bytes
}

fn activations(rows: usize, columns: usize, rng: &mut StdRng) -> Vec<f32> {
    (0..rows * columns).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn quantised(c: &mut Criterion) {
    let (level, mut rng) = (Level::detect(), StdRng::seed_from_u64(1));
    for (format, (rows, columns)) in FORMATS.into_iter().flat_map(|f| SHAPES.map(|shape| (f, shape))) {
        // Blocks of a file are whole.
        let columns = columns / format.file_block() * format.file_block();
        let len = format.packed_bytes(rows, columns);
        let file = file(format, rows * columns, &mut rng);
        let memory = copies(len, |out| format.pack((rows, columns), &file, out));
        for threads in THREADS {
            let mut group = c.benchmark_group(format!("{format:?} {rows}x{columns} threads {threads}"));
            for tokens in ROWS {
                let mut x = Quantised::default();
                x.fill(level, &activations(tokens, columns, &mut rng), columns);
                let mut out = vec![0.0; tokens * rows];
                let mut matrices = memory.chunks_exact(len).cycle();
                group.throughput(Throughput::Elements(2 * (tokens * rows * columns) as u64));
                group.bench_function(BenchmarkId::from_parameter(tokens), |b| {
                    pool::with_threads(threads, || {
                        b.iter(|| {
                            let bytes = matrices.next().expect("at least one copy");
                            let matrix = Matrix::new(format, (rows, columns), bytes);
                            let (bias, out) = (None, &mut out[..]);
                            multiply(level, &x, &mut [Product { matrix, bias, out }]);
                        });
                    });
                });
            }
        }
    }
}

fn unquantised(c: &mut Criterion) {
    let (level, mut rng) = (Level::detect(), StdRng::seed_from_u64(2));
    let (rows, columns) = (4864, 896);
    for format in dense::Format::ALL {
        let len = format.packed_bytes(rows, columns);
        // The bits of 0.0078 or 2e-28, which any of the formats has.
        let file = [0, 0x20].repeat(rows * columns * format.bytes() / 2);
        let memory = copies(len, |out| format.pack((rows, columns), &file, out));
        for threads in THREADS {
            let mut group = c.benchmark_group(format!("{format:?} {rows}x{columns} threads {threads}"));
            for tokens in ROWS {
                let x = activations(tokens, columns, &mut rng);
                let mut out = vec![0.0; tokens * rows];
                let mut matrices = memory.chunks_exact(len).cycle();
                group.throughput(Throughput::Elements(2 * (tokens * rows * columns) as u64));
                group.bench_function(BenchmarkId::from_parameter(tokens), |b| {
                    pool::with_threads(threads, || {
                        b.iter(|| {
                            let bytes = matrices.next().expect("at least one copy");
                            let matrix = dense::Matrix::new(format, (rows, columns), bytes);
                            let (bias, out) = (None, &mut out[..]);
                            dense::multiply(level, &x, columns, &mut [dense::Product { matrix, bias, out }]);
                        });
                    });
                });
            }
        }
    }
}

fn rounding(c: &mut Criterion) {
    let (level, mut rng) = (Level::detect(), StdRng::seed_from_u64(3));
    let mut group = c.benchmark_group("rounding");
    for (tokens, columns) in [(1, 896), (512, 896), (512, 4864)] {
        let x = activations(tokens, columns, &mut rng);
        let mut rounded = Quantised::default();
        group.throughput(Throughput::Elements(x.len() as u64));
        group.bench_function(format!("{tokens}x{columns}"), |b| {
            b.iter(|| rounded.fill(level, &x, columns));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400));
    targets = quantised, unquantised, rounding
}
criterion_main!(benches);
