#![allow(clippy::unwrap_used)]
use super::super::format::{Format, LANES, Matrix, SUPER};
use super::super::{BLOCK, Parts, Quantised, Task, scalar};
use super::registers::{Configuration, Shape, Tiles};
use crate::kernels::level::{Level, Set};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::cell::Cell;

thread_local! {
    static SHAPE: Cell<Option<Shape>> = const { Cell::new(None) };
}

/// What the registers compute, in plain loops. Source: Intel 64 and IA-32 Architectures Software Developer's Manual,
/// volume 2, `TILELOADD`, `TDPBSSD`, `TILESTORED`.
struct Model;

impl Tiles for Model {
    unsafe fn configure(shape: Shape) {
        assert!(shape.rows <= 16 && shape.columns <= 64 && shape.columns.is_multiple_of(4));
        SHAPE.set(Some(shape));
    }

    unsafe fn release() {
        SHAPE.set(None);
    }

    unsafe fn multiply<const SET: usize>(x: *const i8, quants: *const i8, sums: *mut i32) {
        assert!(SET < 2);
        let shape = SHAPE.get().expect("registers without a shape");
        for (row, lane) in (0..shape.rows).flat_map(|row| (0..LANES).map(move |lane| (row, lane))) {
            // SAFETY: the caller's.
            let sum: i32 = (0..shape.columns)
                .map(|k| unsafe {
                    let quant = *quants.add(k / 4 * 4 * LANES + 4 * lane + k % 4);
                    i32::from(*x.add(row * BLOCK + k)) * i32::from(quant)
                })
                .sum();
            // SAFETY: the caller's.
            unsafe { *sums.add(row * LANES + lane) = sum };
        }
    }
}

/// A model that has one bit wrong.
struct Broken;

impl Tiles for Broken {
    unsafe fn configure(shape: Shape) {
        // SAFETY: the caller's.
        unsafe { Model::configure(shape) };
    }

    unsafe fn release() {
        // SAFETY: as above.
        unsafe { Model::release() };
    }

    unsafe fn multiply<const SET: usize>(x: *const i8, quants: *const i8, sums: *mut i32) {
        // SAFETY: as above.
        unsafe {
            Model::multiply::<SET>(x, quants, sums);
            *sums.add(77) ^= 1;
        }
    }
}

fn avx512() -> bool {
    Level::available().iter().any(|level| level.0 == Set::Avx512)
}

#[test]
fn a_wrong_sum_is_noticed() {
    if !avx512() {
        return;
    }
    for format in Format::ALL {
        // SAFETY: the machine has AVX-512; models may be used anywhere.
        unsafe {
            assert!(super::check::agrees::<Model>(format), "{format:?}");
            assert!(!super::check::agrees::<Broken>(format), "{format:?}");
        }
    }
    assert_eq!(SHAPE.get(), None, "registers are given back");
}

#[test]
fn products_of_a_model_of_the_registers_are_those_of_the_specification() {
    if !avx512() {
        return;
    }
    let mut rng = StdRng::seed_from_u64(1);
    for format in Format::ALL {
        // Fewer blocks than products are ahead, as many, more; one panel, a broken one, more than are unpacked at once.
        let blocks = if format.file_block() == BLOCK {
            [1, 3, 4, 9]
        } else {
            [SUPER; 4]
        };
        for (blocks, lanes) in blocks.into_iter().zip([16, 7, 80, 33]) {
            let columns = blocks * BLOCK;
            let mut bytes = vec![0u8; format.packed_bytes(lanes, columns)];
            rng.fill(&mut bytes[..]);
            for panel in bytes.chunks_exact_mut(format.panel_bytes(columns)) {
                // Scales in half precision stay finite.
                panel[blocks * format.quant_bytes()..]
                    .iter_mut()
                    .for_each(|byte| *byte &= 0xbb);
            }
            let bias: Vec<f32> = (0..lanes).map(|_| rng.random_range(-1.0..1.0)).collect();
            for rows in 17..=64 {
                let x: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(-1.0..1.0)).collect();
                let mut rounded = Quantised::default();
                rounded.fill(Level(Set::Avx512, true), &x, columns);
                assert!(rounded.square() && rounded.tiles().all(|tile| (8..=16).contains(&tile.height)));
                let corrections = rounded.corrections(format);
                let (mut want, mut got) = (vec![f32::NAN; rows * lanes], vec![f32::NAN; rows * lanes]);
                let mut task = Task {
                    matrix: Matrix::new(format, (lanes, columns), &bytes),
                    bias: Some(&bias),
                    x: &rounded,
                    corrections: &corrections,
                    out: Parts::new(&mut want),
                };
                // The specification of all rows takes long.
                if [17, 33, 64].contains(&rows) {
                    scalar::compute(&task, 0, lanes.div_ceil(LANES));
                } else {
                    let mut narrow = Quantised::default();
                    narrow.fill(Level(Set::Avx512, false), &x, columns);
                    let corrections = narrow.corrections(format);
                    let task = Task {
                        x: &narrow,
                        corrections: &corrections,
                        ..task
                    };
                    // SAFETY: the machine has AVX-512.
                    unsafe { super::super::avx512::compute(&task, 0, lanes.div_ceil(LANES)) };
                }
                task.out = Parts::new(&mut got);
                // SAFETY: the machine has AVX-512; a model may be used anywhere, and the rows lie in tiles for it.
                unsafe { super::compute_with::<Model>(&task, 0, lanes.div_ceil(LANES)) };
                let bits = |numbers: &[f32]| numbers.iter().map(|y| y.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&got), bits(&want), "{format:?} {lanes} x {columns}, {rows} rows");
            }
        }
    }
}

#[test]
fn a_configuration_is_what_the_manual_says() {
    let configuration = Configuration::new(Shape { rows: 13, columns: 32 });
    // SAFETY: 64 bytes without padding.
    let bytes: [u8; 64] = unsafe { std::mem::transmute(configuration) };
    let mut want = [0; 64];
    want[0] = 1;
    for tile in [0, 3] {
        // Sums, activations, quants.
        want[16 + 2 * tile..][..6].copy_from_slice(&[64, 0, 32, 0, 64, 0]);
        want[48 + tile..][..3].copy_from_slice(&[13, 13, 8]);
    }
    assert_eq!(bytes, want);
}
