-- What each version changed, so that an index follows without reading everything. Older versions have no rows here.
CREATE TABLE kb_changes (
    version INTEGER NOT NULL REFERENCES kb_versions (version),
    kind    TEXT    NOT NULL CHECK (kind IN ('document', 'faq')),
    item_id BLOB    NOT NULL CHECK (length(item_id) = 16),
    PRIMARY KEY (version, kind, item_id)
) STRICT, WITHOUT ROWID;
