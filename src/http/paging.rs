//! Lists that come in pages: `?limit=&cursor=` in, `items` and `next_cursor` out.

use super::error::ApiError;
use super::state::AppState;
use crate::storage::{Page, PageRequest, StorageError};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Rows where the request names no number.
const DEFAULT_LIMIT: u32 = 50;

/// Rows at most.
const MAX_LIMIT: u32 = 200;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageParams {
    /// Rows, 1 to 200; 50 where it is left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before; left out for the first.
    cursor: Option<String>,
}

impl FromRequestParts<AppState> for PageParams {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Result<Self, ApiError> {
        let Query(params) =
            Query::<Self>::try_from_uri(&parts.uri).map_err(|error| ApiError::parameter("limit", error.body_text()))?;
        if params.limit.is_some_and(|limit| !(1..=MAX_LIMIT).contains(&limit)) {
            let message = format!("limit must lie between 1 and {MAX_LIMIT}");
            return Err(ApiError::parameter("limit", message));
        }
        Ok(params)
    }
}

impl PageParams {
    /// As the store takes it.
    pub(super) fn request(&self) -> PageRequest {
        PageRequest {
            limit: self.limit.unwrap_or(DEFAULT_LIMIT),
            cursor: self.cursor.clone(),
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List<T> {
    /// The rows.
    pub(super) items: Vec<T>,
    /// What to ask for the next page with; null at the end.
    pub(super) next_cursor: Option<String>,
}

impl<T> List<T> {
    /// The page as it is sent. A cursor that no list gave is the client's fault.
    pub(super) fn of<U>(page: Result<Page<U>, StorageError>, body: impl FnMut(U) -> T) -> Result<Self, ApiError> {
        match page {
            Ok(page) => Ok(Self {
                items: page.items.into_iter().map(body).collect(),
                next_cursor: page.next,
            }),
            Err(StorageError::Invalid { detail, .. }) => Err(ApiError::parameter("cursor", detail)),
            Err(error) => Err(error.into()),
        }
    }
}
