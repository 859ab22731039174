-- What customers want: examples, and heads that were trained on them.

CREATE TABLE intent_examples (
    id         UUID   PRIMARY KEY,
    -- Masked.
    text       TEXT   COLLATE "C" NOT NULL,
    intent     TEXT   COLLATE "C" NOT NULL CHECK (intent <> ''),
    origin     TEXT   COLLATE "C" NOT NULL CHECK (origin IN ('given', 'corrected')),
    message_id UUID   REFERENCES messages (id) ON DELETE CASCADE,
    author     TEXT   COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE UNIQUE INDEX intent_examples_text ON intent_examples (md5(text));
CREATE INDEX intent_examples_by_intent ON intent_examples (intent, id);
CREATE INDEX intent_examples_of_message ON intent_examples (message_id) WHERE message_id IS NOT NULL;

CREATE TABLE heads (
    version    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task       TEXT   COLLATE "C" NOT NULL,
    head       BYTEA  NOT NULL,
    author     TEXT   COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX heads_of_task ON heads (task, version);
