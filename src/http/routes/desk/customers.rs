//! Customers: who writes, on which channels. Names and addresses are shown masked; in the clear with a reason alone.

use crate::desk::Profile;
use crate::domain::{Customer, CustomerId};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::paging::{List, PageParams};
use crate::http::state::AppState;
use crate::people::Person;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A customer in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CustomerRow {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// The name, masked; may be empty.
    #[schema(example = "王**")]
    name: String,
    /// When it was first seen.
    #[schema(format = DateTime)]
    created_at: String,
}

impl CustomerRow {
    fn of(customer: Customer) -> Self {
        Self {
            id: customer.id.to_string(),
            name: customer.shown,
            created_at: customer.created_at.to_string(),
        }
    }
}

/// A customer with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CustomerBody {
    /// Its identifier: of the customer that the others were merged into.
    #[schema(format = Uuid)]
    id: String,
    /// The name, masked; may be empty.
    #[schema(example = "王**")]
    name: String,
    /// When it was first seen.
    #[schema(format = DateTime)]
    created_at: String,
    /// Where it writes from.
    addresses: Vec<AddressBody>,
    /// Customers merged into it.
    merged: Vec<CustomerRow>,
    /// Its conversations, newest first, at most 50.
    conversations: Vec<ConversationRow>,
}

/// An address.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddressBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// Whose it is: this customer, or one merged into it.
    #[schema(format = Uuid)]
    customer_id: String,
    /// The channel.
    #[schema(example = "phone")]
    channel: String,
    /// The address, masked.
    #[schema(example = "138****5678")]
    address: String,
}

/// A conversation in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConversationRow {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// `open`, `waiting` or `closed`.
    status: &'static str,
    /// `web` or `api`.
    channel: &'static str,
    /// When something was last said.
    #[schema(format = DateTime)]
    updated_at: String,
}

impl CustomerBody {
    pub(super) fn of(profile: Profile) -> Self {
        let addresses = profile.identities.into_iter().map(|identity| AddressBody {
            id: identity.id.to_string(),
            customer_id: identity.customer_id.to_string(),
            channel: identity.channel,
            address: identity.shown,
        });
        let conversations = profile.conversations.into_iter().map(|conversation| ConversationRow {
            id: conversation.id.to_string(),
            status: conversation.status.name(),
            channel: conversation.channel.name(),
            updated_at: conversation.updated_at.to_string(),
        });
        Self {
            id: profile.customer.id.to_string(),
            name: profile.customer.shown,
            created_at: profile.customer.created_at.to_string(),
            addresses: addresses.collect(),
            merged: profile.merged.into_iter().map(CustomerRow::of).collect(),
            conversations: conversations.collect(),
        }
    }
}

/// The customer of that id, as it stands in a path or a body.
pub(super) fn parse_customer(id: &str) -> Result<CustomerId, ApiError> {
    id.parse().map_err(|_| ApiError::not_found("customer"))
}

async fn shown(state: &AppState, id: CustomerId) -> Result<CustomerBody, ApiError> {
    let profile = state.customers()?.profile(id).await?;
    profile
        .map(CustomerBody::of)
        .ok_or_else(|| ApiError::not_found("customer"))
}

/// Lists customers in the order in which they were first seen; those merged into others are not in it.
#[utoipa::path(
    get, path = "/api/v1/desk/customers", tag = "desk", params(PageParams),
    responses((status = 200, body = List<CustomerRow>), (status = "4XX", body = ErrorBody))
)]
pub(crate) async fn list(State(state): State<AppState>, page: PageParams) -> Result<Json<List<CustomerRow>>, ApiError> {
    let customers = state.store().customers(&page.request()).await;
    List::of(customers, CustomerRow::of).map(Json)
}

/// An address on a channel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddressIn {
    /// The channel.
    #[schema(example = "phone")]
    pub(crate) channel: String,
    /// The address: a number, an account.
    #[schema(example = "13812345678")]
    pub(crate) address: String,
    /// The name, for a customer who is not known yet.
    #[serde(default)]
    pub(crate) name: String,
}

impl RequestBody for AddressIn {}

/// The customer at an address; somebody new where nobody is known there.
#[utoipa::path(
    post, path = "/api/v1/desk/customers", tag = "desk", request_body = AddressIn,
    responses(
        (status = 200, body = CustomerBody, description = "Known before"), (status = 201, body = CustomerBody),
        (status = "4XX", body = ErrorBody),
    )
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    person: Person,
    JsonBody(body): JsonBody<AddressIn>,
) -> Result<Response, ApiError> {
    let customers = state.customers()?;
    let (customer, new) = customers
        .identify(&body.channel, &body.address, &body.name, &person.name)
        .await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(shown(&state, customer.id).await?)).into_response())
}

/// Looks a customer up. The address stands in the body: what stands in a path is logged.
#[utoipa::path(
    post, path = "/api/v1/desk/customers/lookup", tag = "desk", request_body = AddressIn,
    responses((status = 200, body = CustomerBody), (status = 404, body = ErrorBody, description = "Nobody is known there"))
)]
pub(crate) async fn lookup(
    State(state): State<AppState>,
    JsonBody(body): JsonBody<AddressIn>,
) -> Result<Json<CustomerBody>, ApiError> {
    let found = state.customers()?.find(&body.channel, &body.address).await?;
    let found = found.ok_or_else(|| ApiError::not_found("customer"))?;
    Ok(Json(shown(&state, found.id).await?))
}

/// Shows a customer.
#[utoipa::path(
    get, path = "/api/v1/desk/customers/{id}", tag = "desk", params(("id" = String, Path, description = "The customer")),
    responses((status = 200, body = CustomerBody), (status = 404, body = ErrorBody))
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<CustomerBody>, ApiError> {
    Ok(Json(shown(&state, parse_customer(&id)?).await?))
}

/// Another name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameBody {
    /// The name; empty for none.
    name: String,
}

impl RequestBody for NameBody {}

/// Gives a customer another name.
#[utoipa::path(
    put, path = "/api/v1/desk/customers/{id}/name", tag = "desk", request_body = NameBody,
    params(("id" = String, Path, description = "The customer")),
    responses((status = 200, body = CustomerBody), (status = "4XX", body = ErrorBody))
)]
pub(crate) async fn rename(
    State(state): State<AppState>,
    person: Person,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<NameBody>,
) -> Result<Json<CustomerBody>, ApiError> {
    let id = parse_customer(&id)?;
    if !state.customers()?.rename(id, &body.name, &person.name).await? {
        return Err(ApiError::not_found("customer"));
    }
    Ok(Json(shown(&state, id).await?))
}

/// Adds an address to a customer.
#[utoipa::path(
    post, path = "/api/v1/desk/customers/{id}/addresses", tag = "desk", request_body = AddressIn,
    params(("id" = String, Path, description = "The customer")),
    responses(
        (status = 200, body = CustomerBody), (status = "4XX", body = ErrorBody),
        (status = 409, body = ErrorBody, description = "It is another customer's: merge the two"),
    )
)]
pub(crate) async fn add_address(
    State(state): State<AppState>,
    person: Person,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<AddressIn>,
) -> Result<Json<CustomerBody>, ApiError> {
    let id = parse_customer(&id)?;
    state
        .customers()?
        .add_address(id, &body.channel, &body.address, &person.name)
        .await?;
    Ok(Json(shown(&state, id).await?))
}

/// Who the customer turned out to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MergeBody {
    /// The customer that stays.
    into: String,
    /// Why, 4 to 1000 characters; kept in the audit log.
    reason: String,
}

impl RequestBody for MergeBody {}

/// Says that two customers are one. It can be undone: nothing of either is changed but a pointer.
#[utoipa::path(
    post, path = "/api/v1/desk/customers/{id}/merge", tag = "desk", request_body = MergeBody,
    params(("id" = String, Path, description = "The customer that is merged into the other")),
    responses(
        (status = 200, body = CustomerBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "They are one already"),
    )
)]
pub(crate) async fn merge(
    State(state): State<AppState>,
    person: Person,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<MergeBody>,
) -> Result<Json<CustomerBody>, ApiError> {
    let (id, into) = (parse_customer(&id)?, parse_customer(&body.into)?);
    if !state.customers()?.merge(id, into, &person.name, &body.reason).await? {
        return Err(ApiError::not_found("customer"));
    }
    Ok(Json(shown(&state, into).await?))
}

/// Why something is done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhyBody {
    /// Why, 4 to 1000 characters; kept in the audit log.
    reason: String,
}

impl RequestBody for WhyBody {}

/// Undoes a merge. What came in at either one's addresses, before or since, is that one's own again.
#[utoipa::path(
    post, path = "/api/v1/desk/customers/{id}/unmerge", tag = "desk", request_body = WhyBody,
    params(("id" = String, Path, description = "The customer that was merged into another")),
    responses(
        (status = 200, body = CustomerBody), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "It was merged into none"),
    )
)]
pub(crate) async fn unmerge(
    State(state): State<AppState>,
    person: Person,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<WhyBody>,
) -> Result<Json<CustomerBody>, ApiError> {
    let id = parse_customer(&id)?;
    if !state.customers()?.unmerge(id, &person.name, &body.reason).await? {
        return Err(ApiError::not_found("customer"));
    }
    Ok(Json(shown(&state, id).await?))
}

/// A customer in the clear.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClearBody {
    /// The name; may be empty.
    name: String,
    /// Where it writes from.
    addresses: Vec<ClearAddress>,
}

/// An address in the clear.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClearAddress {
    /// The channel.
    channel: String,
    /// The address.
    address: String,
}

/// Reveals a customer's name and addresses. Who did it and why is in the audit log.
#[utoipa::path(
    post, path = "/api/v1/desk/customers/{id}/reveal", tag = "desk", request_body = WhyBody,
    params(("id" = String, Path, description = "The customer")),
    responses((status = 200, body = ClearBody), (status = "4XX", body = ErrorBody))
)]
pub(crate) async fn reveal(
    State(state): State<AppState>,
    person: Person,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<WhyBody>,
) -> Result<Json<ClearBody>, ApiError> {
    let id = parse_customer(&id)?;
    let clear = state.customers()?.reveal(id, &person.name, &body.reason).await?;
    let clear = clear.ok_or_else(|| ApiError::not_found("customer"))?;
    let addresses = clear.addresses.into_iter();
    Ok(Json(ClearBody {
        name: clear.name.0,
        addresses: addresses
            .map(|(channel, address)| ClearAddress {
                channel,
                address: address.0,
            })
            .collect(),
    }))
}

/// What was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErasedBody {
    /// Conversations.
    conversations: u64,
    /// Messages.
    messages: u64,
    /// Keys of personal data.
    vault_keys: u64,
    /// Examples of knowledge gaps, and suggested FAQs.
    examples: u64,
    /// Whether it is out of all files; else it is as soon as nobody reads what was before.
    settled: bool,
}

/// Forgets a customer: conversations, personal data, keys, and what was learnt from them. It cannot be undone.
#[utoipa::path(
    post, path = "/api/v1/desk/customers/{id}/erase", tag = "desk", request_body = WhyBody,
    params(("id" = String, Path, description = "The customer")),
    responses((status = 200, body = ErasedBody), (status = "4XX", body = ErrorBody))
)]
pub(crate) async fn erase(
    State(state): State<AppState>,
    person: Person,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<WhyBody>,
) -> Result<Json<ErasedBody>, ApiError> {
    let id = parse_customer(&id)?;
    let eraser = &state.services()?.eraser;
    let erased = eraser.erase_customer(id, &person.name, &body.reason).await?;
    let erased = erased.ok_or_else(|| ApiError::not_found("customer"))?;
    Ok(Json(ErasedBody {
        conversations: erased.removed.conversations,
        messages: erased.removed.messages,
        vault_keys: erased.removed.vault_keys,
        examples: erased.removed.examples,
        settled: erased.settled,
    }))
}
