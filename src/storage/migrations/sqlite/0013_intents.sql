-- What customers want: examples, and heads that were trained on them.

CREATE TABLE intent_examples (
    id         BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    -- Masked.
    text       TEXT    NOT NULL UNIQUE,
    intent     TEXT    NOT NULL CHECK (intent <> ''),
    origin     TEXT    NOT NULL CHECK (origin IN ('given', 'corrected')),
    message_id BLOB    REFERENCES messages (id) ON DELETE CASCADE,
    author     TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX intent_examples_by_intent ON intent_examples (intent, id);
CREATE INDEX intent_examples_of_message ON intent_examples (message_id) WHERE message_id IS NOT NULL;

CREATE TABLE heads (
    version    INTEGER PRIMARY KEY AUTOINCREMENT,
    task       TEXT    NOT NULL,
    head       BLOB    NOT NULL,
    author     TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX heads_of_task ON heads (task, version);
