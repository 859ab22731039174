pub(super) fn compute(task: &super::Task<'_>, scratch: &mut super::Scratch) {
    super::body::compute(task, scratch);
}
