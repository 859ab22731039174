-- Identifiers are UUIDs as 16 bytes; times are microseconds since 1970-01-01 UTC; lists are JSON.
-- A migration that was ever released is not edited: its checksum is stored in each database.

-- Every change of what may be answered adds a row; the greatest version is the present one.
CREATE TABLE kb_versions (
    version    INTEGER PRIMARY KEY NOT NULL,
    note       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- The long column stands last, so that lists need not read past it.
CREATE TABLE documents (
    id          BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    source      TEXT    NOT NULL UNIQUE,
    title       TEXT    NOT NULL,
    format      TEXT    NOT NULL CHECK (format IN ('markdown', 'html', 'text')),
    sha256      TEXT    NOT NULL,
    imported_at INTEGER NOT NULL,
    text        TEXT    NOT NULL
) STRICT;

CREATE TABLE passages (
    id          BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    document_id BLOB    NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    ordinal     INTEGER NOT NULL CHECK (ordinal >= 0),
    title_path  TEXT    NOT NULL CHECK (json_valid(title_path)),
    start_byte  INTEGER NOT NULL CHECK (start_byte >= 0),
    end_byte    INTEGER NOT NULL CHECK (end_byte >= start_byte),
    text        TEXT    NOT NULL,
    UNIQUE (document_id, ordinal)
) STRICT;

CREATE TABLE faqs (
    id          BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    key         TEXT    NOT NULL UNIQUE,
    question    TEXT    NOT NULL,
    variants    TEXT    NOT NULL CHECK (json_valid(variants)),
    answer      TEXT    NOT NULL,
    category    TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    imported_at INTEGER NOT NULL
) STRICT;

-- Vectors of 32-bit floats, little-endian. Derived from text, kept so that no text is embedded twice.
CREATE TABLE embeddings (
    model_sha256 TEXT NOT NULL,
    key          BLOB NOT NULL CHECK (length(key) = 32),
    dimension    INTEGER NOT NULL CHECK (dimension > 0),
    vector       BLOB NOT NULL CHECK (length(vector) = 4 * dimension),
    PRIMARY KEY (model_sha256, key)
) STRICT;

-- status_at is when the present status began: people are served in that order.
CREATE TABLE conversations (
    id           BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    channel      TEXT    NOT NULL CHECK (channel IN ('web', 'api')),
    status       TEXT    NOT NULL CHECK (status IN ('open', 'waiting', 'closed')),
    token_sha256 TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    status_at    INTEGER NOT NULL
) STRICT;

CREATE INDEX conversations_waiting ON conversations (status_at, id) WHERE status = 'waiting';

-- seq is the order in which messages were stored.
CREATE TABLE messages (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    id              BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    conversation_id BLOB    NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    role            TEXT    NOT NULL CHECK (role IN ('visitor', 'assistant', 'agent', 'system')),
    route           TEXT    CHECK (route IN ('faq', 'flow', 'passages', 'smalltalk', 'clarify', 'refuse', 'handoff')),
    confidence      REAL,
    citations       TEXT    NOT NULL CHECK (json_valid(citations)),
    kb_version      INTEGER,
    model           TEXT,
    total_ms        INTEGER CHECK (total_ms >= 0),
    stopped         INTEGER NOT NULL CHECK (stopped IN (0, 1)),
    created_at      INTEGER NOT NULL,
    text            TEXT    NOT NULL
) STRICT;

CREATE INDEX messages_of_conversation ON messages (conversation_id, seq);

-- One rating a message, and one a conversation as a whole (message_id is null there).
CREATE TABLE ratings (
    conversation_id BLOB    NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    message_id      BLOB    UNIQUE REFERENCES messages (id) ON DELETE CASCADE,
    score           INTEGER NOT NULL CHECK (score BETWEEN 1 AND 5),
    comment         TEXT    NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;

CREATE INDEX ratings_of_conversation ON ratings (conversation_id);
CREATE UNIQUE INDEX ratings_whole ON ratings (conversation_id) WHERE message_id IS NULL;

CREATE TABLE api_keys (
    id         BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    name       TEXT    NOT NULL,
    sha256     TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
