-- How each reply of the assistant came to be, and what the people who take over are told.

-- Models and settings, each combination once.
CREATE TABLE environments (
    sha256 TEXT PRIMARY KEY NOT NULL,
    json   TEXT NOT NULL CHECK (json_valid(json))
) STRICT;

CREATE TABLE reply_records (
    message_id  BLOB    PRIMARY KEY NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    -- The message that was answered.
    question_id BLOB    NOT NULL CHECK (length(question_id) = 16),
    environment TEXT    NOT NULL REFERENCES environments (sha256),
    record      TEXT    NOT NULL CHECK (json_valid(record)),
    created_at  INTEGER NOT NULL,
    -- The question as it was understood, masked; empty where its message was masked again since.
    understood  TEXT    NOT NULL
) STRICT;

CREATE INDEX reply_records_of_question ON reply_records (question_id);
CREATE INDEX reply_records_by_time ON reply_records (created_at);

-- Whether the words were masked again after they had been answered.
ALTER TABLE messages ADD COLUMN remasked INTEGER NOT NULL DEFAULT 0 CHECK (remasked IN (0, 1));

CREATE TABLE handoffs (
    id              BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    conversation_id BLOB    NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    at              INTEGER NOT NULL,
    summary         TEXT    NOT NULL CHECK (json_valid(summary))
) STRICT;

CREATE INDEX handoffs_of_conversation ON handoffs (conversation_id, id);
