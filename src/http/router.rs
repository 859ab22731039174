//! All routes, each with its policy: [`Routes::add`] and [`Routes::page`] are the only ways to a route, and neither
//! works without one.

use super::auth::{Guard, Policy, guard};
use super::error::ApiError;
use super::middleware::envelope;
use super::routes::{
    ask, audit, auth, conversations, desk, docs, gaps, health, knowledge, openai, pages, passages, personal_data,
    search, suggestions, understanding,
};
use super::state::AppState;
use crate::domain::Roles;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::MethodRouter;
use std::time::Duration;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

/// For everything that writes no answer.
const SHORT: Duration = Duration::from_secs(30);

/// A route with who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePolicy {
    /// The method.
    pub method: Method,
    /// The path, with `{name}` for what varies.
    pub path: String,
    /// Who may use it.
    pub policy: Policy,
}

/// How long a handler may take until its answer begins.
#[derive(Clone, Copy)]
enum Patience {
    /// Half a minute.
    Short,
    /// As long as an answer is written: it has a deadline of its own.
    Answer,
}

struct Routes {
    state: AppState,
    router: OpenApiRouter<AppState>,
    table: Vec<RoutePolicy>,
}

impl Routes {
    /// Routes that the document describes.
    fn add(
        mut self,
        policy: Policy,
        patience: Patience,
        (schemas, mut paths, methods): UtoipaMethodRouter<AppState>,
    ) -> Self {
        for (path, item) in &mut paths.paths {
            for (method, operation) in operations(item) {
                operation.security = security(policy);
                self.table.push(RoutePolicy {
                    method,
                    path: path.clone(),
                    policy,
                });
            }
        }
        let methods = self.guarded(policy, patience, methods);
        Self {
            router: self.router.routes((schemas, paths, methods)),
            ..self
        }
    }

    /// What is kept in the knowledge base, for people who signed in: all may look, authors draft, editors decide.
    fn knowledge(self) -> Self {
        use Patience::{Answer, Short};
        use knowledge::{documents, faqs, golden, imports, overview, publish, revisions, trial, versions};
        let reader = Policy::Person(Roles::ALL);
        let author = Policy::Person(Roles::AUTHORS);
        let editor = Policy::Person(Roles::EDITORS);
        // An upload is bounded by the setting that bounds uploads, not by the one for other bodies.
        let (schemas, paths, upload) = routes!(imports::create);
        let upload = (schemas, paths, upload.layer(DefaultBodyLimit::disable()));
        self.add(reader, Short, routes!(overview::show))
            .add(reader, Short, routes!(documents::list))
            .add(reader, Short, routes!(documents::show))
            .add(author, Short, routes!(documents::set_scope))
            .add(author, Short, routes!(documents::remove))
            .add(reader, Short, routes!(faqs::list))
            .add(reader, Short, routes!(faqs::show))
            .add(author, Short, routes!(faqs::create))
            .add(author, Short, routes!(faqs::change))
            .add(author, Short, routes!(faqs::remove))
            .add(reader, Short, routes!(revisions::list))
            .add(reader, Short, routes!(revisions::show))
            .add(author, Short, routes!(revisions::submit))
            .add(editor, Short, routes!(revisions::reject))
            .add(author, Short, routes!(revisions::discard))
            .add(editor, Answer, upload)
            .add(editor, Short, routes!(imports::show))
            .add(editor, Short, routes!(imports::cancel))
            .add(editor, Answer, routes!(publish::publish))
            .add(reader, Short, routes!(versions::list))
            .add(reader, Short, routes!(versions::show))
            .add(editor, Answer, routes!(versions::rollback))
            .add(reader, Answer, routes!(trial::try_question))
            .add(reader, Short, routes!(golden::list))
            .add(editor, Short, routes!(golden::create))
            .add(editor, Short, routes!(golden::remove))
    }

    /// What people see who take conversations over: all may look; who may draft may say whose a conversation is; merging and clear
    /// values are for supervisors and admins, forgetting somebody is for admins.
    fn desk(self) -> Self {
        use Patience::{Answer, Short};
        use desk::{conversations, customers};
        let reader = Policy::Person(Roles::ALL);
        let author = Policy::Person(Roles::AUTHORS);
        let editor = Policy::Person(Roles::EDITORS);
        let admin = Policy::Person(Roles::ADMINS);
        self.add(reader, Short, routes!(conversations::queue))
            .add(reader, Short, routes!(conversations::show))
            .add(author, Short, routes!(conversations::set_customer))
            .add(reader, Short, routes!(customers::list))
            .add(author, Short, routes!(customers::create))
            .add(reader, Short, routes!(customers::lookup))
            .add(reader, Short, routes!(customers::show))
            .add(author, Short, routes!(customers::rename))
            .add(author, Short, routes!(customers::add_address))
            .add(editor, Short, routes!(customers::merge))
            .add(editor, Short, routes!(customers::unmerge))
            .add(editor, Short, routes!(customers::reveal))
            .add(admin, Answer, routes!(customers::erase))
    }

    /// What intents are learnt from: all may look, who may draft may say what a message was about, editors decide what is learnt.
    fn understanding(self) -> Self {
        use Patience::Short;
        let reader = Policy::Person(Roles::ALL);
        let author = Policy::Person(Roles::AUTHORS);
        let editor = Policy::Person(Roles::EDITORS);
        self.add(reader, Short, routes!(understanding::intents))
            .add(editor, Short, routes!(understanding::train))
            .add(reader, Short, routes!(understanding::examples))
            .add(editor, Short, routes!(understanding::add_examples))
            .add(editor, Short, routes!(understanding::remove_example))
            .add(author, Short, routes!(understanding::correct))
    }

    /// A page to look at, which the document leaves out.
    fn page(mut self, policy: Policy, path: &str, methods: MethodRouter<AppState>) -> Self {
        self.table.push(RoutePolicy {
            method: Method::GET,
            path: path.to_owned(),
            policy,
        });
        let methods = self.guarded(policy, Patience::Short, methods);
        Self {
            router: self.router.route(path, methods),
            ..self
        }
    }

    fn guarded(&self, policy: Policy, patience: Patience, methods: MethodRouter<AppState>) -> MethodRouter<AppState> {
        let guarding = Guard {
            state: self.state.clone(),
            policy,
        };
        let methods = match patience {
            Patience::Answer => methods,
            Patience::Short => methods.route_layer(from_fn(|request, next: axum::middleware::Next| async {
                tokio::time::timeout(SHORT, next.run(request))
                    .await
                    .map_err(|_elapsed| {
                        ApiError::new(
                            StatusCode::SERVICE_UNAVAILABLE,
                            "timeout",
                            "this took too long; try again",
                        )
                    })
            })),
        };
        methods.route_layer(from_fn_with_state(guarding, guard))
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, item.get.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.map(|operation| (method, operation)))
}

fn security(policy: Policy) -> Option<Vec<SecurityRequirement>> {
    let scheme = |name: &str| SecurityRequirement::new::<_, [String; 0], String>(name, []);
    match policy {
        Policy::Public | Policy::LocalOnly => None,
        Policy::Visitor => Some(vec![scheme("visitor_token"), scheme("visitor_cookie")]),
        Policy::ApiKey => Some(vec![scheme("api_key")]),
        Policy::SignedIn | Policy::Person(_) => Some(vec![scheme("session_cookie")]),
        Policy::Reader => Some(vec![
            scheme("visitor_token"),
            scheme("visitor_cookie"),
            scheme("api_key"),
        ]),
    }
}

/// All routes of the server, and the table of who may use which.
pub fn build(state: &AppState) -> (Router, Vec<RoutePolicy>) {
    use Patience::{Answer, Short};
    use Policy::{ApiKey, LocalOnly, Person, Public, Reader, SignedIn, Visitor};
    let routes = Routes {
        state: state.clone(),
        router: OpenApiRouter::with_openapi(docs::document(state)),
        table: Vec::new(),
    };
    let routes = routes
        .add(ApiKey, Answer, routes!(ask::ask))
        .add(ApiKey, Short, routes!(search::search))
        .add(ApiKey, Short, routes!(understanding::understand))
        .add(Reader, Short, routes!(passages::passage))
        .add(Public, Short, routes!(conversations::create))
        .add(Visitor, Short, routes!(conversations::show))
        .add(Visitor, Answer, routes!(conversations::say))
        .add(Visitor, Short, routes!(conversations::rate))
        .add(Visitor, Short, routes!(conversations::handoff))
        .add(Visitor, Short, routes!(conversations::close))
        .add(Person(Roles::EDITORS), Short, routes!(personal_data::list))
        .add(Person(Roles::EDITORS), Short, routes!(personal_data::reveal))
        .add(ApiKey, Answer, routes!(openai::chat::complete))
        .add(ApiKey, Answer, routes!(openai::completions::complete))
        .add(ApiKey, Answer, routes!(openai::embeddings::embed))
        .add(ApiKey, Answer, routes!(openai::rerank::rerank))
        .add(ApiKey, Short, routes!(openai::models::list))
        .add(ApiKey, Short, routes!(openai::models::show))
        .add(Public, Short, routes!(auth::login))
        .add(SignedIn, Short, routes!(auth::logout))
        .add(SignedIn, Short, routes!(auth::me))
        .add(SignedIn, Short, routes!(auth::password))
        .add(Person(Roles::REVIEWERS), Short, routes!(audit::list))
        .knowledge()
        .desk()
        .understanding()
        .add(Person(Roles::ALL), Short, routes!(gaps::list))
        .add(Person(Roles::EDITORS), Short, routes!(gaps::close))
        .add(Person(Roles::ALL), Short, routes!(suggestions::list))
        .add(Person(Roles::AUTHORS), Short, routes!(suggestions::create))
        .add(Person(Roles::EDITORS), Short, routes!(suggestions::accept))
        .add(Person(Roles::EDITORS), Short, routes!(suggestions::dismiss))
        .add(Public, Short, routes!(health::healthz))
        .add(Public, Short, routes!(health::readyz))
        .add(LocalOnly, Short, routes!(health::metrics));
    let document = docs::Document::of(routes.router.get_openapi());
    let routes = routes
        .page(LocalOnly, "/api/openapi.json", docs::json(document))
        .page(LocalOnly, "/api/docs", docs::redirect())
        .page(LocalOnly, "/api/docs/", docs::index())
        .page(LocalOnly, "/api/docs/{*file}", docs::asset())
        .page(Public, "/", pages::index())
        .page(Public, "/admin", pages::admin())
        .page(Public, "/admin/{*page}", pages::admin())
        .page(Public, "/assets/{*file}", pages::asset());
    let Routes { router, table, .. } = routes;
    let (router, _document) = router.split_for_parts();
    let router = router
        .method_not_allowed_fallback(async || ApiError::of_status(StatusCode::METHOD_NOT_ALLOWED))
        .fallback(async || ApiError::of_status(StatusCode::NOT_FOUND))
        .layer(from_fn_with_state(state.clone(), envelope))
        .with_state(state.clone());
    (router, table)
}
