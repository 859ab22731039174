-- The task flow of a conversation: what it holds, and how each of its replies came to be.
CREATE TABLE flow_sessions (
    conversation_id BLOB    PRIMARY KEY NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    -- Counts changes: who read an older one may not write.
    revision        INTEGER NOT NULL CHECK (revision > 0),
    state           TEXT    NOT NULL CHECK (json_valid(state)),
    updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One reply: state before, inputs and effects, to be computed again. Its message is stored after it.
CREATE TABLE flow_turns (
    message_id      BLOB    PRIMARY KEY NOT NULL CHECK (length(message_id) = 16),
    conversation_id BLOB    NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    trace           TEXT    NOT NULL CHECK (json_valid(trace)),
    created_at      INTEGER NOT NULL
) STRICT;

CREATE INDEX flow_turns_by_conversation ON flow_turns (conversation_id);
