-- Times are microseconds since 1970-01-01 UTC; lists are JSON, as text. Texts are compared and ordered by their bytes (COLLATE "C"),
-- whatever the database's language. A migration that was ever released is not edited: its checksum is stored in each database.

-- Every change of what may be answered adds a row; the greatest version is the present one.
CREATE TABLE kb_versions (
    version    BIGINT PRIMARY KEY,
    note       TEXT   COLLATE "C" NOT NULL,
    author     TEXT   COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);

-- Every node hears of a version when it is committed.
CREATE FUNCTION kb_version_is_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('kefu_knowledge', NEW.version::text);
    RETURN NULL;
END
$$;

CREATE TRIGGER kb_version_is_told AFTER INSERT ON kb_versions
    FOR EACH ROW EXECUTE FUNCTION kb_version_is_told();

CREATE TABLE documents (
    id          UUID   PRIMARY KEY,
    source      TEXT   COLLATE "C" NOT NULL UNIQUE,
    title       TEXT   COLLATE "C" NOT NULL,
    -- Which formats there are is the program's to know.
    format      TEXT   COLLATE "C" NOT NULL,
    sha256      TEXT   COLLATE "C" NOT NULL,
    imported_at BIGINT NOT NULL,
    -- Who may be told, where and when; {} is everybody, everywhere, always.
    scope       TEXT   COLLATE "C" NOT NULL DEFAULT '{}' CHECK (scope::json IS NOT NULL),
    text        TEXT   COLLATE "C" NOT NULL
);

CREATE TABLE passages (
    id          UUID   PRIMARY KEY,
    document_id UUID   NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    ordinal     BIGINT NOT NULL CHECK (ordinal >= 0),
    title_path  TEXT   COLLATE "C" NOT NULL CHECK (title_path::json IS NOT NULL),
    -- From 1; NULL where the document has no pages.
    page        BIGINT CHECK (page > 0),
    start_byte  BIGINT NOT NULL CHECK (start_byte >= 0),
    end_byte    BIGINT NOT NULL CHECK (end_byte >= start_byte),
    text        TEXT   COLLATE "C" NOT NULL,
    UNIQUE (document_id, ordinal)
);

CREATE TABLE faqs (
    id          UUID   PRIMARY KEY,
    key         TEXT   COLLATE "C" NOT NULL UNIQUE,
    question    TEXT   COLLATE "C" NOT NULL,
    variants    TEXT   COLLATE "C" NOT NULL CHECK (variants::json IS NOT NULL),
    answer      TEXT   COLLATE "C" NOT NULL,
    category    TEXT   COLLATE "C" NOT NULL,
    source      TEXT   COLLATE "C" NOT NULL,
    imported_at BIGINT NOT NULL,
    scope       TEXT   COLLATE "C" NOT NULL DEFAULT '{}' CHECK (scope::json IS NOT NULL)
);

-- What every document and FAQ said at one time. documents, passages and faqs are what customers are told now; the revision in
-- state 'published' says the same.
CREATE TABLE revisions (
    id            UUID   PRIMARY KEY,
    kind          TEXT   COLLATE "C" NOT NULL CHECK (kind IN ('document', 'faq')),
    item_id       UUID   NOT NULL,
    number        BIGINT NOT NULL CHECK (number > 0),
    op            TEXT   COLLATE "C" NOT NULL CHECK (op IN ('put', 'remove')),
    state         TEXT   COLLATE "C" NOT NULL CHECK (state IN ('draft', 'review', 'published', 'retired', 'rejected')),
    -- The source of a document, the key of a FAQ.
    name          TEXT   COLLATE "C" NOT NULL,
    -- The title of a document, the question of a FAQ.
    title         TEXT   COLLATE "C" NOT NULL,
    author        TEXT   COLLATE "C" NOT NULL,
    reviewer      TEXT   COLLATE "C",
    note          TEXT   COLLATE "C" NOT NULL,
    created_at    BIGINT NOT NULL,
    decided_at    BIGINT,
    -- What was live when it was drafted. No reference: an old revision may be deleted.
    base_revision UUID,
    -- The version that it was last replaced in.
    retired_in    BIGINT,
    scope         TEXT   COLLATE "C" NOT NULL CHECK (scope::json IS NOT NULL),
    content       TEXT   COLLATE "C" CHECK (content IS NULL OR content::json IS NOT NULL),
    UNIQUE (kind, item_id, number),
    CHECK ((op = 'remove') = (content IS NULL)),
    CHECK (state <> 'retired' OR retired_in IS NOT NULL)
);

CREATE UNIQUE INDEX revisions_live ON revisions (kind, item_id) WHERE state = 'published';
CREATE INDEX revisions_of_state ON revisions (state, id);
CREATE INDEX revisions_open ON revisions (kind, name) WHERE state IN ('draft', 'review');

-- What each version changed, so that an index follows without reading everything; with the revision that was live before
-- (NULL where the item was not there) and the one that is live after.
CREATE TABLE kb_changes (
    version      BIGINT NOT NULL REFERENCES kb_versions (version),
    kind         TEXT   COLLATE "C" NOT NULL CHECK (kind IN ('document', 'faq')),
    item_id      UUID   NOT NULL,
    old_revision UUID,
    new_revision UUID,
    PRIMARY KEY (version, kind, item_id)
);

-- Questions whose right answer is known. They may be longer than a row of an index.
CREATE TABLE golden_questions (
    id         UUID   PRIMARY KEY,
    question   TEXT   COLLATE "C" NOT NULL,
    expect     TEXT   COLLATE "C" NOT NULL CHECK (expect::json IS NOT NULL),
    author     TEXT   COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE UNIQUE INDEX golden_words ON golden_questions (md5(question));

-- Vectors of 32-bit floats, little-endian. Derived from text, kept so that no text is embedded twice.
CREATE TABLE embeddings (
    model_sha256 TEXT   COLLATE "C" NOT NULL,
    key          BYTEA  NOT NULL CHECK (octet_length(key) = 32),
    dimension    BIGINT NOT NULL CHECK (dimension > 0),
    vector       BYTEA  NOT NULL CHECK (octet_length(vector) = 4 * dimension),
    PRIMARY KEY (model_sha256, key)
);

-- Numbers do not become smaller by compression.
ALTER TABLE embeddings ALTER COLUMN vector SET STORAGE EXTERNAL;

-- status_at is when the present status began: people are served in that order.
CREATE TABLE conversations (
    id           UUID   PRIMARY KEY,
    channel      TEXT   COLLATE "C" NOT NULL CHECK (channel IN ('web', 'api')),
    status       TEXT   COLLATE "C" NOT NULL CHECK (status IN ('open', 'waiting', 'closed')),
    token_sha256 TEXT   COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    status_at    BIGINT NOT NULL
);

CREATE INDEX conversations_waiting ON conversations (status_at, id) WHERE status = 'waiting';
CREATE INDEX conversations_closed ON conversations (id) WHERE status = 'closed';

-- seq is the order in which messages were stored, within a conversation: whoever adds one holds the conversation's row.
CREATE TABLE messages (
    seq             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id              UUID   NOT NULL UNIQUE,
    conversation_id UUID   NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    role            TEXT   COLLATE "C" NOT NULL CHECK (role IN ('visitor', 'assistant', 'agent', 'system')),
    route           TEXT   COLLATE "C"
        CHECK (route IN ('faq', 'flow', 'passages', 'smalltalk', 'clarify', 'refuse', 'handoff')),
    confidence      DOUBLE PRECISION,
    citations       TEXT   COLLATE "C" NOT NULL CHECK (citations::json IS NOT NULL),
    kb_version      BIGINT,
    model           TEXT   COLLATE "C",
    total_ms        BIGINT CHECK (total_ms >= 0),
    stopped         BIGINT NOT NULL CHECK (stopped IN (0, 1)),
    created_at      BIGINT NOT NULL,
    text            TEXT   COLLATE "C" NOT NULL
);

CREATE INDEX messages_of_conversation ON messages (conversation_id, seq);
CREATE INDEX messages_unresolved ON messages (seq) WHERE route IN ('refuse', 'clarify', 'handoff');
CREATE INDEX messages_of_people ON messages (conversation_id) WHERE role = 'agent';

-- One rating a message, and one a conversation as a whole (message_id is null there).
CREATE TABLE ratings (
    conversation_id UUID   NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    message_id      UUID   UNIQUE REFERENCES messages (id) ON DELETE CASCADE,
    score           BIGINT NOT NULL CHECK (score BETWEEN 1 AND 5),
    comment         TEXT   COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL
);

CREATE INDEX ratings_of_conversation ON ratings (conversation_id);
CREATE UNIQUE INDEX ratings_whole ON ratings (conversation_id) WHERE message_id IS NULL;
CREATE INDEX ratings_low ON ratings (message_id) WHERE score <= 2;

CREATE TABLE api_keys (
    id         UUID   PRIMARY KEY,
    name       TEXT   COLLATE "C" NOT NULL,
    sha256     TEXT   COLLATE "C" NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

-- Who works here. Nobody is deleted: the audit log names them.
CREATE TABLE users (
    id                  UUID   PRIMARY KEY,
    name                TEXT   COLLATE "C" NOT NULL,
    -- The name in small letters: two people cannot differ in capitals alone.
    name_key            TEXT   COLLATE "C" NOT NULL UNIQUE,
    display_name        TEXT   COLLATE "C" NOT NULL,
    role                TEXT   COLLATE "C" NOT NULL CHECK (role IN ('agent', 'supervisor', 'admin', 'auditor')),
    -- argon2id, in the PHC string format.
    password_hash       TEXT   COLLATE "C" NOT NULL,
    -- RFC 6238; NULL where a password is enough.
    totp_secret         BYTEA,
    -- The last time step whose code was used: no code is taken twice.
    totp_step           BIGINT,
    created_at          BIGINT NOT NULL,
    disabled_at         BIGINT,
    password_changed_at BIGINT NOT NULL,
    must_change         BIGINT NOT NULL CHECK (must_change IN (0, 1))
);

-- Only the hash of a session's token is kept.
CREATE TABLE sessions (
    token_sha256 BYTEA  PRIMARY KEY CHECK (octet_length(token_sha256) = 32),
    user_id      UUID   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at   BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL
);

CREATE INDEX sessions_of_user ON sessions (user_id, created_at);

-- Who did what, each row bound to the one before by its hash. Nothing here is changed or removed.
CREATE TABLE audit (
    seq       BIGINT PRIMARY KEY CHECK (seq > 0),
    at        BIGINT NOT NULL,
    actor     TEXT   COLLATE "C" NOT NULL,
    action    TEXT   COLLATE "C" NOT NULL,
    object    TEXT   COLLATE "C" NOT NULL,
    detail    TEXT   COLLATE "C" NOT NULL CHECK (detail::json IS NOT NULL),
    prev_hash BYTEA  NOT NULL CHECK (octet_length(prev_hash) = 32),
    hash      BYTEA  NOT NULL CHECK (octet_length(hash) = 32)
);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- What customers asked in vain, alike questions as one, and what people answered them.
CREATE TABLE gaps (
    id        UUID   PRIMARY KEY,
    question  TEXT   COLLATE "C" NOT NULL,
    -- Other wordings, newest first.
    examples  TEXT   COLLATE "C" NOT NULL CHECK (examples::json IS NOT NULL),
    count     BIGINT NOT NULL CHECK (count > 0),
    first_at  BIGINT NOT NULL,
    last_at   BIGINT NOT NULL,
    closed_at BIGINT,
    closed_by TEXT   COLLATE "C",
    reason    TEXT   COLLATE "C"
);

CREATE INDEX gaps_open ON gaps (count DESC, id) WHERE closed_at IS NULL;

-- Which replies were looked at, each once; gap_id is NULL where the message asked nothing.
CREATE TABLE gap_messages (
    message_id UUID PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    gap_id     UUID REFERENCES gaps (id) ON DELETE CASCADE
);

CREATE TABLE suggestions (
    id              UUID   PRIMARY KEY,
    question        TEXT   COLLATE "C" NOT NULL,
    variants        TEXT   COLLATE "C" NOT NULL CHECK (variants::json IS NOT NULL),
    answer          TEXT   COLLATE "C" NOT NULL,
    origin          TEXT   COLLATE "C" NOT NULL CHECK (origin IN ('conversation', 'correction', 'written')),
    conversation_id UUID   UNIQUE REFERENCES conversations (id) ON DELETE SET NULL,
    "similar"       TEXT   COLLATE "C" NOT NULL CHECK ("similar"::json IS NOT NULL),
    state           TEXT   COLLATE "C" NOT NULL CHECK (state IN ('open', 'accepted', 'dismissed')),
    created_at      BIGINT NOT NULL,
    decided_at      BIGINT,
    decided_by      TEXT   COLLATE "C",
    reason          TEXT   COLLATE "C"
);

CREATE INDEX suggestions_by_state ON suggestions (state, id);

-- Conversations that were looked at for a suggestion.
CREATE TABLE suggested_conversations (
    conversation_id UUID PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE
);

-- Personal data in the clear, sealed. Each conversation has a key of its own, which lies here wrapped by the master key (a file
-- outside the database): removing the row of a key makes its values unreadable for ever.
CREATE TABLE vault_keys (
    conversation_id UUID   PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE,
    -- The name of the master key (8 bytes), a nonce (12), the wrapped key with its tag (48).
    wrapped         BYTEA  NOT NULL CHECK (octet_length(wrapped) = 68),
    created_at      BIGINT NOT NULL
);

CREATE TABLE vault_values (
    id              UUID   PRIMARY KEY,
    conversation_id UUID   NOT NULL REFERENCES vault_keys (conversation_id) ON DELETE CASCADE,
    message_id      UUID   NOT NULL,
    kind            TEXT   COLLATE "C" NOT NULL,
    -- The characters of the mask in the stored message.
    start_char      BIGINT NOT NULL CHECK (start_char >= 0),
    end_char        BIGINT NOT NULL CHECK (end_char >= start_char),
    -- A nonce (12 bytes), the value with its tag (16 more).
    sealed          BYTEA  NOT NULL CHECK (octet_length(sealed) >= 28)
);

CREATE INDEX vault_of_conversation ON vault_values (conversation_id, id);

-- The task flow of a conversation: what it holds, and how each of its replies came to be.
CREATE TABLE flow_sessions (
    conversation_id UUID   PRIMARY KEY REFERENCES conversations (id) ON DELETE CASCADE,
    -- Counts changes: who read an older one may not write.
    revision        BIGINT NOT NULL CHECK (revision > 0),
    state           TEXT   COLLATE "C" NOT NULL CHECK (state::json IS NOT NULL),
    updated_at      BIGINT NOT NULL
);

-- One reply: state before, inputs and effects, to be computed again. Its message is stored after it.
CREATE TABLE flow_turns (
    message_id      UUID   PRIMARY KEY,
    conversation_id UUID   NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    trace           TEXT   COLLATE "C" NOT NULL CHECK (trace::json IS NOT NULL),
    created_at      BIGINT NOT NULL
);

CREATE INDEX flow_turns_by_conversation ON flow_turns (conversation_id);
