//! Ranges and combinations; every fault at once.

use super::{Config, Device};
use std::net::SocketAddr;

/// What is wrong with `config`, each in words that name the key; empty if nothing is.
pub(super) fn faults(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    let mut need = |holds: bool, text: &str| {
        if !holds {
            faults.push(text.to_owned());
        }
    };
    match config.http.listen.parse::<SocketAddr>() {
        Ok(address) => need(
            address.ip().is_loopback() || config.http.behind_proxy,
            "http.listen is reachable from other machines: set http.behind_proxy = true and put a proxy that ends TLS \
             before it, or listen on 127.0.0.1",
        ),
        Err(_) => need(
            false,
            "http.listen must be an address and port, for example 127.0.0.1:8787",
        ),
    }
    let http = &config.http;
    need(
        !http.allowed_hosts.is_empty(),
        "http.allowed_hosts must name at least one host",
    );
    need(http.max_connections > 0, "http.max_connections must be at least 1");
    need(http.header_timeout_ms > 0, "http.header_timeout_ms must be at least 1");
    need(
        http.max_header_bytes >= 1024,
        "http.max_header_bytes must be at least 1024",
    );
    need(
        http.max_message_bytes <= http.max_json_bytes,
        "http.max_message_bytes must not exceed http.max_json_bytes",
    );
    need(
        http.max_replies_per_visitor > 0,
        "http.max_replies_per_visitor must be at least 1",
    );
    let storage = &config.storage;
    need(
        storage.url.is_empty() || storage.url.starts_with("postgres://") || storage.url.starts_with("postgresql://"),
        "storage.url must begin with postgres:// (or be empty: the embedded database)",
    );
    need(
        (2..=1000).contains(&storage.max_connections),
        "storage.max_connections must be 2 to 1000",
    );
    let inference = &config.inference;
    need(
        (1..=20).contains(&config.dialogue.read_top_k),
        "dialogue.read_top_k must be 1 to 20",
    );
    match inference.device.parse() {
        Ok(Device::Cpu) => {}
        Ok(Device::Cuda(_)) => need(
            cfg!(feature = "cuda"),
            "inference.device names a graphics card, and this program was built for the processor alone: build it with \
             scripts/build-cuda.sh, or set it to \"cpu\"",
        ),
        Err(fault) => need(false, &format!("inference.device {fault}")),
    }
    need(
        !inference.four_bit_weights || inference.device.parse() == Ok(Device::Cpu),
        "inference.four_bit_weights holds for the processor: set inference.device to \"cpu\", or it to false",
    );
    need(
        inference.context_tokens >= 256,
        "inference.context_tokens must be at least 256",
    );
    need(inference.queue_length > 0, "inference.queue_length must be at least 1");
    need(
        inference.parallel_requests > 0,
        "inference.parallel_requests must be at least 1",
    );
    need(
        inference.prefill_chunk_tokens > 0,
        "inference.prefill_chunk_tokens must be at least 1",
    );
    need(inference.pause_ms > 0, "inference.pause_ms must be at least 1");
    need(
        (16..=1 << 24).contains(&inference.kv_cache_mb),
        "inference.kv_cache_mb must be 16 to 16777216",
    );
    need(
        inference.embed_queue_length > 0,
        "inference.embed_queue_length must be at least 1",
    );
    need(
        inference.embed_batch_tokens >= 512,
        "inference.embed_batch_tokens must be at least 512",
    );
    let server = &inference.server;
    need(
        !server.is_set() || !server.model.is_empty(),
        "inference.server.model must name the model that inference.server.url serves",
    );
    need(
        server.connect_timeout_ms > 0 && server.timeout_ms > 0,
        "inference.server.connect_timeout_ms and timeout_ms must be at least 1",
    );
    need(
        server.breaker_failures > 0,
        "inference.server.breaker_failures must be at least 1",
    );
    need(
        server.api_key_env.is_empty() || server.api_key_file.is_empty(),
        "inference.server.api_key_env and api_key_file: give one of them",
    );
    let retrieval = &config.retrieval;
    need(
        (32..=retrieval.max_passage_tokens).contains(&retrieval.passage_tokens),
        "retrieval.passage_tokens must lie between 32 and retrieval.max_passage_tokens",
    );
    need(
        retrieval.max_passage_tokens <= 480,
        "retrieval.max_passage_tokens must be at most 480 (the embedder reads 512)",
    );
    need(
        (4..=64).contains(&retrieval.hnsw_neighbours),
        "retrieval.hnsw_neighbours must lie between 4 and 64",
    );
    need(
        retrieval.ef_construction >= retrieval.hnsw_neighbours,
        "retrieval.ef_construction is too small",
    );
    need(
        retrieval.ef_search > 0 && retrieval.candidates > 0,
        "retrieval.ef_search and candidates must be at least 1",
    );
    let knowledge = &config.knowledge;
    need(
        (1..=100_000).contains(&knowledge.keep_revisions),
        "knowledge.keep_revisions must lie between 1 and 100000",
    );
    need(
        knowledge.max_upload_bytes > 0,
        "knowledge.max_upload_bytes must be at least 1",
    );
    need(
        config.customers.history_messages <= 200,
        "customers.history_messages must be at most 200",
    );
    need(
        (1..=10_000).contains(&config.retention.batch),
        "retention.batch must lie between 1 and 10000",
    );
    let days = [
        config.retention.conversations_days,
        config.retention.messages_days,
        config.retention.traces_days,
    ];
    need(
        days.iter().all(|days| *days <= 36_500),
        "retention: days must be at most 36500 (0 keeps for ever)",
    );
    let dialogue = &config.dialogue;
    need(
        (1..=20).contains(&dialogue.top_k),
        "dialogue.top_k must lie between 1 and 20",
    );
    need(
        dialogue.passage_budget_tokens + dialogue.answer_tokens + 800 <= inference.context_tokens,
        "dialogue's budgets together with 800 tokens for instructions and the question must fit into inference.context_tokens",
    );
    need(
        (1..=120_000).contains(&dialogue.judging_timeout_ms),
        "dialogue.judging_timeout_ms must lie between 1 and 120000",
    );
    need(
        (1..=120_000).contains(&dialogue.second_reading_timeout_ms),
        "dialogue.second_reading_timeout_ms must lie between 1 and 120000",
    );
    need(
        dialogue.second_reading_tokens + 1000 <= inference.context_tokens,
        "dialogue.second_reading_tokens and 1000 tokens for instructions, question and answer must fit into inference.context_tokens",
    );
    need(
        dialogue.max_question_chars > 0,
        "dialogue.max_question_chars must be at least 1",
    );
    for (name, value) in [
        ("faq_confidence", dialogue.faq_confidence),
        ("answer_confidence", dialogue.answer_confidence),
    ] {
        need(
            (-1.0..=1.0).contains(&value),
            &format!("dialogue.{name} must lie between 0 and 1, or be -1 for what dialogue.wrong_answers allows"),
        );
    }
    for (name, value) in [
        ("wrong_answers", dialogue.wrong_answers),
        ("clarify_confidence", dialogue.clarify_confidence),
        ("flow_similarity", dialogue.flow_similarity),
        ("confirmed_confidence", dialogue.confirmed_confidence),
        ("agreement", dialogue.agreement),
    ] {
        need(
            (0.0..=1.0).contains(&value),
            &format!("dialogue.{name} must lie between 0 and 1"),
        );
    }
    need(
        (-1439..=1439).contains(&dialogue.utc_offset_minutes),
        "dialogue.utc_offset_minutes must lie between -1439 and 1439",
    );
    let understanding = &config.understanding;
    need(
        (0.0..=10.0).contains(&understanding.handoff_dissatisfaction),
        "understanding.handoff_dissatisfaction must lie between 0 and 1, or above 1 to call nobody",
    );
    need(
        (0.0..=1.0).contains(&understanding.risk_confidence),
        "understanding.risk_confidence must lie between 0 and 1",
    );
    for (name, tool) in &config.tools {
        faults.extend(tool.faults(name));
    }
    faults
}
