-- Personal data in the clear, sealed. Each conversation has a key of its own, which lies here wrapped by the master key (a file
-- outside the database): removing the row of a key makes its values unreadable for ever.
CREATE TABLE vault_keys (
    conversation_id BLOB    PRIMARY KEY NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    -- The name of the master key (8 bytes), a nonce (12), the wrapped key with its tag (48).
    wrapped         BLOB    NOT NULL CHECK (length(wrapped) = 68),
    created_at      INTEGER NOT NULL
) STRICT;

CREATE TABLE vault_values (
    id              BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    conversation_id BLOB    NOT NULL REFERENCES vault_keys (conversation_id) ON DELETE CASCADE,
    message_id      BLOB    NOT NULL CHECK (length(message_id) = 16),
    kind            TEXT    NOT NULL,
    -- The characters of the mask in the stored message.
    start_char      INTEGER NOT NULL CHECK (start_char >= 0),
    end_char        INTEGER NOT NULL CHECK (end_char >= start_char),
    -- A nonce (12 bytes), the value with its tag (16 more).
    sealed          BLOB    NOT NULL CHECK (length(sealed) >= 28)
) STRICT;

CREATE INDEX vault_of_conversation ON vault_values (conversation_id, id);
