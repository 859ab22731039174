pub(super) fn compute(task: &super::Task<'_>, head: usize, rows: (usize, usize)) {
    super::body::compute(task, head, rows);
}
