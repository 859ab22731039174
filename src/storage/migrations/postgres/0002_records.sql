-- How each reply of the assistant came to be, what the people who take over are told, who writes on which channels, and what is old.

-- Models and settings, each combination once.
CREATE TABLE environments (
    sha256 TEXT COLLATE "C" PRIMARY KEY,
    json   TEXT COLLATE "C" NOT NULL CHECK (json::json IS NOT NULL)
);

CREATE TABLE reply_records (
    message_id  UUID   PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    -- The message that was answered.
    question_id UUID   NOT NULL,
    environment TEXT   COLLATE "C" NOT NULL REFERENCES environments (sha256),
    record      TEXT   COLLATE "C" NOT NULL CHECK (record::json IS NOT NULL),
    created_at  BIGINT NOT NULL,
    -- The question as it was understood, masked; empty where its message was masked again since.
    understood  TEXT   COLLATE "C" NOT NULL
);

CREATE INDEX reply_records_of_question ON reply_records (question_id);
CREATE INDEX reply_records_by_time ON reply_records (created_at);
CREATE INDEX reply_records_of_environment ON reply_records (environment);

-- Whether the words were masked again after they had been answered.
ALTER TABLE messages ADD COLUMN remasked BIGINT NOT NULL DEFAULT 0 CHECK (remasked IN (0, 1));

CREATE TABLE handoffs (
    id              UUID   PRIMARY KEY,
    conversation_id UUID   NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    at              BIGINT NOT NULL,
    summary         TEXT   COLLATE "C" NOT NULL CHECK (summary::json IS NOT NULL)
);

CREATE INDEX handoffs_of_conversation ON handoffs (conversation_id, id);

CREATE TABLE customers (
    id          UUID   PRIMARY KEY,
    -- The name, masked.
    shown       TEXT   COLLATE "C" NOT NULL,
    -- What is known in the clear, sealed with the customer's key.
    sealed      TEXT   COLLATE "C" NOT NULL,
    -- Two that turned out to be one: a pointer, so that it is undone exactly by removing it. All of one customer are removed together.
    merged_into UUID   REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    CHECK (merged_into IS NULL OR merged_into <> id)
);

CREATE INDEX customers_merged ON customers (merged_into) WHERE merged_into IS NOT NULL;

CREATE TABLE identities (
    id          UUID   PRIMARY KEY,
    customer_id UUID   NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    channel     TEXT   COLLATE "C" NOT NULL,
    -- HMAC-SHA-256 of channel and address, by a key that lies wrapped in vault_secrets.
    lookup      BYTEA  NOT NULL CHECK (octet_length(lookup) = 32),
    shown       TEXT   COLLATE "C" NOT NULL,
    sealed      TEXT   COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    UNIQUE (channel, lookup)
);

CREATE INDEX identities_of_customer ON identities (customer_id, id);

-- The customer as it was known then; who that is now is found by following merged_into.
ALTER TABLE conversations ADD COLUMN customer_id UUID REFERENCES customers (id) ON DELETE SET NULL;
CREATE INDEX conversations_of_customer ON conversations (customer_id, id) WHERE customer_id IS NOT NULL;

-- Keys of the vault that belong to no conversation, wrapped by the master key: "lookup", and "customer:" with an id.
CREATE TABLE vault_secrets (
    name       TEXT   COLLATE "C" PRIMARY KEY,
    wrapped    BYTEA  NOT NULL CHECK (octet_length(wrapped) = 68),
    created_at BIGINT NOT NULL
);

-- What is old is found without reading everything.
CREATE INDEX conversations_by_time ON conversations (updated_at, id);
CREATE INDEX messages_by_time ON messages (created_at, seq);
CREATE INDEX flow_turns_by_time ON flow_turns (created_at);
CREATE INDEX vault_values_of_message ON vault_values (message_id);
CREATE INDEX gap_messages_of_gap ON gap_messages (gap_id) WHERE gap_id IS NOT NULL;
