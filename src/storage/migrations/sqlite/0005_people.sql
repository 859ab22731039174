-- Who works here. Nobody is deleted: the audit log names them.
CREATE TABLE users (
    id                  BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    name                TEXT    NOT NULL,
    -- The name in small letters: two people cannot differ in capitals alone.
    name_key            TEXT    NOT NULL UNIQUE,
    display_name        TEXT    NOT NULL,
    role                TEXT    NOT NULL CHECK (role IN ('agent', 'supervisor', 'admin', 'auditor')),
    -- argon2id, in the PHC string format.
    password_hash       TEXT    NOT NULL,
    -- RFC 6238; NULL where a password is enough.
    totp_secret         BLOB,
    -- The last time step whose code was used: no code is taken twice.
    totp_step           INTEGER,
    created_at          INTEGER NOT NULL,
    disabled_at         INTEGER,
    password_changed_at INTEGER NOT NULL,
    must_change         INTEGER NOT NULL CHECK (must_change IN (0, 1))
) STRICT;

-- Only the hash of a session's token is kept.
CREATE TABLE sessions (
    token_sha256 BLOB    PRIMARY KEY NOT NULL CHECK (length(token_sha256) = 32),
    user_id      BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_of_user ON sessions (user_id, created_at);

-- Who did what, each row bound to the one before by its hash. Nothing here is changed or removed.
CREATE TABLE audit (
    seq       INTEGER PRIMARY KEY NOT NULL CHECK (seq > 0),
    at        INTEGER NOT NULL,
    actor     TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    object    TEXT    NOT NULL,
    detail    TEXT    NOT NULL CHECK (json_valid(detail)),
    prev_hash BLOB    NOT NULL CHECK (length(prev_hash) = 32),
    hash      BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT raise(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit
BEGIN
    SELECT raise(ABORT, 'the audit log is append-only');
END;
