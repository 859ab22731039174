-- Who writes, on which channels.
CREATE TABLE customers (
    id          BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    -- The name, masked.
    shown       TEXT    NOT NULL,
    -- What is known in the clear, sealed with the customer's key.
    sealed      TEXT    NOT NULL,
    -- Two that turned out to be one: a pointer, so that it is undone exactly by removing it.
    merged_into BLOB    REFERENCES customers (id),
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    CHECK (merged_into IS NULL OR merged_into <> id)
) STRICT;

CREATE INDEX customers_merged ON customers (merged_into) WHERE merged_into IS NOT NULL;

CREATE TABLE identities (
    id          BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    customer_id BLOB    NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    channel     TEXT    NOT NULL,
    -- HMAC-SHA-256 of channel and address, by a key that lies wrapped in vault_secrets.
    lookup      BLOB    NOT NULL CHECK (length(lookup) = 32),
    shown       TEXT    NOT NULL,
    sealed      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    UNIQUE (channel, lookup)
) STRICT;

CREATE INDEX identities_of_customer ON identities (customer_id, id);

-- The customer as it was known then; who that is now is found by following merged_into.
ALTER TABLE conversations ADD COLUMN customer_id BLOB REFERENCES customers (id) ON DELETE SET NULL;
CREATE INDEX conversations_of_customer ON conversations (customer_id, id) WHERE customer_id IS NOT NULL;

-- Keys of the vault that belong to no conversation, wrapped by the master key: "lookup", and "customer:" with an id.
CREATE TABLE vault_secrets (
    name       TEXT    PRIMARY KEY NOT NULL,
    wrapped    BLOB    NOT NULL CHECK (length(wrapped) = 68),
    created_at INTEGER NOT NULL
) STRICT;
