//! Work that nobody waits for at a counter: what is published is tried before, what is uploaded is imported beside the
//! server's answers. Nothing here knows HTTP; `http` starts jobs and asks after them.

mod erase;
mod export;
mod golden;
mod import;
mod learn;
mod publish;
mod train;

pub use erase::{EraseError, Erased, Eraser, Expired};
pub use export::{ExportReport, export};
pub use golden::{GoldenReport, Outcome, Worse, read_golden};
pub use import::{ImportJob, ImportState, Imports, ImportsError, Upload, UploadedFile};
pub use learn::{LearnError, Learner, Learnt};
pub use publish::{PublishError, PublishRequest, Published, Publisher};
pub use train::{Set, TrainError, Trainer, TrainerState, fit};
