//! The specification: plain loops over the packed layout.

use super::Task;
use super::activations::Tile;
use super::format::{BLOCK, Format, LANES, Matrix, SUPER, Scales};
use half::f16;

/// The quant of number `k` of a block, for one lane.
fn quant(format: Format, block: &[u8], lane: usize, k: usize) -> i32 {
    let (group, byte) = (k / 4, 4 * lane + k % 4);
    let nibble = |string: u8| if group < 4 { string & 15 } else { string >> 4 };
    let q = match format.bits() {
        8 => block[64 * group + byte],
        5 => {
            let fifth = (block[256 + 8 * group + byte / 8] >> (byte % 8)) & 1;
            nibble(block[64 * (group % 4) + byte]) | (fifth << 4)
        }
        6 => {
            let upper = (block[256 + 64 * (group / 4) + byte] >> (2 * (group % 4))) & 3;
            nibble(block[64 * (group % 4) + byte]) | (upper << 4)
        }
        _ => nibble(block[64 * (group % 4) + byte]),
    };
    i32::from(q)
}

/// The scales (both the same if there is one) and the minimum of a block, for one lane.
fn scales(format: Format, bytes: &[u8], block: usize, lane: usize) -> ([f32; 2], f32) {
    let half = |at: usize| f16::from_le_bytes([bytes[at + 2 * lane], bytes[at + 2 * lane + 1]]).to_f32();
    let (index, part) = (block / SUPER, block % SUPER);
    match format.scales() {
        Scales::Half => ([half(block * 2 * LANES); 2], 0.0),
        Scales::HalfMin => ([half(block * 4 * LANES); 2], half(block * 4 * LANES + 2 * LANES)),
        Scales::SuperMin => {
            let start = index * (4 + 2 * SUPER) * LANES;
            let at = start + 4 * LANES + part * 2 * LANES + lane;
            let scale = half(start) * f32::from(bytes[at]);
            ([scale; 2], 0.0 - half(start + 2 * LANES) * f32::from(bytes[at + LANES]))
        }
        Scales::SuperSixteen => {
            let start = index * (2 + 2 * SUPER) * LANES;
            let at = start + 2 * LANES + part * 2 * LANES + lane;
            let scale = |at: usize| half(start) * f32::from(bytes[at].cast_signed());
            ([scale(at), scale(at + LANES)], 0.0)
        }
    }
}

impl Matrix<'_> {
    /// The numbers of row `row`, as the file has them.
    #[must_use]
    pub fn row(&self, row: usize) -> Vec<f32> {
        let panel = self.panel(row / LANES);
        let lane = row % LANES;
        let (quants, scale_bytes) = panel.split_at(self.blocks() * self.format.quant_bytes());
        let number = |index: usize| {
            let (block, k) = (index / BLOCK, index % BLOCK);
            let (scales, minimum) = scales(self.format, scale_bytes, block, lane);
            let quants = &quants[block * self.format.quant_bytes()..];
            let q = quant(self.format, quants, lane, k) - self.format.zero();
            scales[k / 16] * q as f32 + minimum
        };
        (0..self.columns).map(number).collect()
    }
}

#[allow(unsafe_code)]
pub(super) fn compute(task: &Task<'_>, first: usize, panels: usize) {
    for panel in first..first + panels {
        let (start, lanes) = task.lanes(panel);
        let bias = task.bias(panel);
        for tile in task.x.tiles() {
            for row in 0..tile.height {
                let at = (tile.first + row) * task.matrix.rows + start;
                // SAFETY: the output is borrowed while the task lives, and each panel is computed by one piece.
                let out = unsafe { task.out.part(at, lanes) };
                for (lane, out) in out.iter_mut().enumerate() {
                    *out = number(task, (panel, lane), (tile, row), bias[lane]);
                }
            }
        }
    }
}

/// The number of a lane of a panel and a row of a tile.
fn number(task: &Task<'_>, (panel, lane): (usize, usize), (tile, row): (Tile, usize), bias: f32) -> f32 {
    let format = task.matrix.format;
    let blocks = task.matrix.blocks();
    let rows = task.rows(tile);
    let (quants, scale_bytes) = task.matrix.panel(panel).split_at(blocks * format.quant_bytes());
    let mut y = bias;
    for (block, quants) in quants.chunks_exact(format.quant_bytes()).enumerate() {
        let at = block * tile.height + row;
        let x = &rows.values[at * BLOCK..(at + 1) * BLOCK];
        let sum = |range: std::ops::Range<usize>| -> i32 {
            let term = |k: usize| (quant(format, quants, lane, k) - format.zero()) * i32::from(x[k]);
            range.map(term).sum()
        };
        let (scales, minimum) = scales(format, scale_bytes, block, lane);
        let x_scale = rows.scales[at];
        if format.scales_a_block() == 2 {
            y = (sum(0..16) as f32).mul_add(scales[0] * x_scale, y);
            y = (sum(16..32) as f32).mul_add(scales[1] * x_scale, y);
        } else {
            y = (sum(0..BLOCK) as f32).mul_add(scales[0] * x_scale, y);
        }
        if format.minimum() {
            y = minimum.mul_add(rows.totals[at], y);
        }
    }
    y
}
