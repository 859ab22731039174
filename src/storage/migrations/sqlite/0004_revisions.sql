-- What every document and FAQ said at one time. documents, passages and faqs stay what customers are told now; the revision
-- in state 'published' says the same. An item from before this table gets its first revision when it is first changed.
CREATE TABLE revisions (
    id            BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    kind          TEXT    NOT NULL CHECK (kind IN ('document', 'faq')),
    item_id       BLOB    NOT NULL CHECK (length(item_id) = 16),
    number        INTEGER NOT NULL CHECK (number > 0),
    op            TEXT    NOT NULL CHECK (op IN ('put', 'remove')),
    state         TEXT    NOT NULL CHECK (state IN ('draft', 'review', 'published', 'retired', 'rejected')),
    -- The source of a document, the key of a FAQ.
    name          TEXT    NOT NULL,
    -- The title of a document, the question of a FAQ.
    title         TEXT    NOT NULL,
    author        TEXT    NOT NULL,
    reviewer      TEXT,
    note          TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    decided_at    INTEGER,
    -- What was live when it was drafted. No reference: an old revision may be deleted.
    base_revision BLOB    CHECK (length(base_revision) = 16),
    -- The version that it was last replaced in.
    retired_in    INTEGER,
    scope         TEXT    NOT NULL CHECK (json_valid(scope)),
    content       TEXT    CHECK (json_valid(content)),
    UNIQUE (kind, item_id, number),
    CHECK ((op = 'remove') = (content IS NULL)),
    CHECK (state <> 'retired' OR retired_in IS NOT NULL)
) STRICT;

CREATE UNIQUE INDEX revisions_live ON revisions (kind, item_id) WHERE state = 'published';
CREATE INDEX revisions_of_state ON revisions (state, id);
CREATE INDEX revisions_open ON revisions (kind, name) WHERE state IN ('draft', 'review');

ALTER TABLE kb_versions ADD COLUMN author TEXT NOT NULL DEFAULT '';

-- The revision that was live before and the one that is live after; old_revision is NULL where the item was not there. Both are
-- NULL in rows from before this migration: what they changed cannot be undone.
ALTER TABLE kb_changes ADD COLUMN old_revision BLOB CHECK (length(old_revision) = 16);
ALTER TABLE kb_changes ADD COLUMN new_revision BLOB CHECK (length(new_revision) = 16);

-- Questions whose right answer is known.
CREATE TABLE golden_questions (
    id         BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    question   TEXT    NOT NULL UNIQUE,
    expect     TEXT    NOT NULL CHECK (json_valid(expect)),
    author     TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
