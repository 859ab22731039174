use super::{KbVersion, PassageId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What an answer rests on: an exact quote of a passage (or of an approved FAQ), with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// The number that stands in the answer as `[n]`, from 1.
    pub n: u32,
    /// The document, or the FAQ for an approved answer.
    pub document_id: Uuid,
    /// Title of the document, with the path of headings.
    pub title: String,
    /// The passage quoted. An approved FAQ is a passage of its own: its id is the FAQ's.
    pub passage_id: PassageId,
    /// The words quoted, exactly as the source has them.
    pub quote: String,
    /// First byte of the quote in the document's text (UTF-8).
    pub start: usize,
    /// One past the last byte of the quote in the document's text.
    pub end: usize,
    /// The knowledge base that was asked.
    pub kb_version: KbVersion,
}
