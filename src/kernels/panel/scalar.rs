//! The specification: plain loops.

use super::{LayerNorm, Left, WIDTH, body};

pub(super) fn add_product(left: Left<'_>, inner: usize, right: &[f32], out: &mut [f32]) {
    for (row, sums) in out.chunks_exact_mut(WIDTH).take(left.rows).enumerate() {
        for (k, weights) in right.chunks_exact(WIDTH).take(inner).enumerate() {
            let a = left.data[k / WIDTH * left.stride + row * WIDTH + k % WIDTH];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += a * weight;
            }
        }
    }
}

pub(super) fn unpack_q4(packed: &[u8], scales: &[f32], out: &mut [f32]) {
    body::unpack_q4(packed, scales, out);
}

pub(super) fn unpack_q8(packed: &[i8], scales: &[f32], out: &mut [f32]) {
    body::unpack_q8(packed, scales, out);
}

pub(super) fn gelu(values: &mut [f32]) {
    body::gelu(values);
}

pub(super) fn softmax(values: &mut [f32], rows: usize, columns: usize, scale: f32) {
    body::softmax(values, rows, columns, scale);
}

pub(super) fn add_layer_norm(values: &mut [f32], added: &[f32], rows: usize, norm: LayerNorm<'_>) {
    body::add_layer_norm(values, added, rows, norm);
}
