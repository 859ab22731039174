//! The routes, one noun a file.

pub(super) mod ask;
pub(super) mod audit;
pub(super) mod auth;
pub(super) mod conversations;
pub(super) mod desk;
pub(super) mod docs;
pub(super) mod gaps;
pub(super) mod health;
pub(super) mod knowledge;
pub(super) mod openai;
pub(super) mod pages;
pub(super) mod passages;
pub(super) mod personal_data;
pub(super) mod search;
pub(super) mod suggestions;
pub(super) mod understanding;
