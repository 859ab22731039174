-- What customers asked in vain, alike questions as one, and what people answered them.
CREATE TABLE gaps (
    id        BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    question  TEXT    NOT NULL,
    -- Other wordings, newest first.
    examples  TEXT    NOT NULL CHECK (json_valid(examples)),
    count     INTEGER NOT NULL CHECK (count > 0),
    first_at  INTEGER NOT NULL,
    last_at   INTEGER NOT NULL,
    closed_at INTEGER,
    closed_by TEXT,
    reason    TEXT
) STRICT;

CREATE INDEX gaps_open ON gaps (count DESC, id) WHERE closed_at IS NULL;

-- Which replies were looked at, each once; gap_id is NULL where the message asked nothing.
CREATE TABLE gap_messages (
    message_id BLOB PRIMARY KEY NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    gap_id     BLOB REFERENCES gaps (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX messages_unresolved ON messages (seq) WHERE route IN ('refuse', 'clarify', 'handoff');
CREATE INDEX ratings_low ON ratings (message_id) WHERE score <= 2;

CREATE TABLE suggestions (
    id              BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    question        TEXT    NOT NULL,
    variants        TEXT    NOT NULL CHECK (json_valid(variants)),
    answer          TEXT    NOT NULL,
    origin          TEXT    NOT NULL CHECK (origin IN ('conversation', 'correction', 'written')),
    conversation_id BLOB    UNIQUE REFERENCES conversations (id) ON DELETE SET NULL,
    similar         TEXT    NOT NULL CHECK (json_valid(similar)),
    state           TEXT    NOT NULL CHECK (state IN ('open', 'accepted', 'dismissed')),
    created_at      INTEGER NOT NULL,
    decided_at      INTEGER,
    decided_by      TEXT,
    reason          TEXT
) STRICT;

CREATE INDEX suggestions_by_state ON suggestions (state, id);

-- Conversations that were looked at for a suggestion.
CREATE TABLE suggested_conversations (
    conversation_id BLOB PRIMARY KEY NOT NULL REFERENCES conversations (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
