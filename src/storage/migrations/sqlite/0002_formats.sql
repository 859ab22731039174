-- Documents come in more formats than the first three, and which there are is the program's to know: the check goes.
-- A passage knows the page it begins on, a document and a FAQ who may be told of them. Both tables are written anew, so that the long column stays the last one.
CREATE TABLE documents_new (
    id          BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    source      TEXT    NOT NULL UNIQUE,
    title       TEXT    NOT NULL,
    format      TEXT    NOT NULL,
    sha256      TEXT    NOT NULL,
    imported_at INTEGER NOT NULL,
    -- Who may be told, where and when; {} is everybody, everywhere, always.
    scope       TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(scope)),
    text        TEXT    NOT NULL
) STRICT;

CREATE TABLE passages_new (
    id          BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    document_id BLOB    NOT NULL REFERENCES documents_new (id) ON DELETE CASCADE,
    ordinal     INTEGER NOT NULL CHECK (ordinal >= 0),
    title_path  TEXT    NOT NULL CHECK (json_valid(title_path)),
    -- From 1; NULL where the document has no pages.
    page        INTEGER CHECK (page > 0),
    start_byte  INTEGER NOT NULL CHECK (start_byte >= 0),
    end_byte    INTEGER NOT NULL CHECK (end_byte >= start_byte),
    text        TEXT    NOT NULL,
    UNIQUE (document_id, ordinal)
) STRICT;

INSERT INTO documents_new (id, source, title, format, sha256, imported_at, text)
    SELECT id, source, title, format, sha256, imported_at, text FROM documents;
INSERT INTO passages_new (id, document_id, ordinal, title_path, start_byte, end_byte, text)
    SELECT id, document_id, ordinal, title_path, start_byte, end_byte, text FROM passages;

-- Passages first: they would be deleted together with their documents.
DROP TABLE passages;
DROP TABLE documents;
ALTER TABLE documents_new RENAME TO documents;
ALTER TABLE passages_new RENAME TO passages;

ALTER TABLE faqs ADD COLUMN scope TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(scope));
