//! The specification: plain loops over the packed layout.

use super::super::format::LANES;
use super::{Format, Matrix, Task};
use half::{bf16, f16};

impl Matrix<'_> {
    /// Number `column` of a lane of a panel.
    fn number(&self, panel: &[u8], lane: usize, column: usize) -> f32 {
        let at = (column * LANES + lane) * self.format.bytes();
        let two = || [panel[at], panel[at + 1]];
        match self.format {
            Format::F32 => f32::from_le_bytes([panel[at], panel[at + 1], panel[at + 2], panel[at + 3]]),
            Format::F16 => f16::from_le_bytes(two()).to_f32(),
            Format::BF16 => bf16::from_le_bytes(two()).to_f32(),
        }
    }

    /// The numbers of row `row`, as the file has them.
    #[must_use]
    pub fn row(&self, row: usize) -> Vec<f32> {
        let panel = self.panel(row / LANES);
        (0..self.columns)
            .map(|column| self.number(panel, row % LANES, column))
            .collect()
    }
}

#[allow(unsafe_code)]
pub(super) fn compute(task: &Task<'_>, panel: usize, panels: usize) {
    for panel in panel..panel + panels {
        let (start, lanes) = task.lanes(panel);
        let bias = task.bias(panel);
        let bytes = task.matrix.panel(panel);
        for row in 0..task.rows {
            // SAFETY: the output is borrowed while the task lives, and each panel is computed by one piece.
            let out = unsafe { task.out.part(row * task.matrix.rows + start, lanes) };
            for (lane, out) in out.iter_mut().enumerate() {
                *out = bias[lane];
                for (column, x) in task.x(row, 1).iter().enumerate() {
                    *out = task.matrix.number(bytes, lane, column).mul_add(*x, *out);
                }
            }
        }
    }
}
