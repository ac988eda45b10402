"""The ledger's schema, as the list of steps that lead from each version to the next."""

from __future__ import annotations

_FIRST = """
CREATE TABLE executions (
    id TEXT PRIMARY KEY,
    tree TEXT NOT NULL,
    backend TEXT NOT NULL,
    engine_id TEXT NOT NULL,
    root INTEGER NOT NULL,
    is_current INTEGER NOT NULL,
    status TEXT NOT NULL,
    workflow TEXT NOT NULL,
    actor TEXT NOT NULL,
    created REAL NOT NULL,
    doc TEXT NOT NULL
);
CREATE UNIQUE INDEX executions_current ON executions (backend, engine_id) WHERE is_current = 1;
CREATE INDEX executions_tree ON executions (tree);
CREATE INDEX executions_created ON executions (created);
CREATE TABLE looks (id TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE frozen (id TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE requests (id TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE operations (
    id TEXT PRIMARY KEY,
    tree TEXT NOT NULL,
    state TEXT NOT NULL,
    at REAL NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX operations_open ON operations (tree) WHERE state = 'open';
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    tree TEXT NOT NULL,
    execution TEXT NOT NULL,
    operation TEXT NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX events_tree ON events (tree, seq);
CREATE TRIGGER events_are_only_appended BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'the history is only appended to'); END;
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'the history is only appended to'); END;
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    token TEXT NOT NULL,
    holder TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started TEXT NOT NULL,
    expires REAL NOT NULL
);
CREATE TABLE rows (
    root TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (root, key)
) WITHOUT ROWID;
CREATE TABLE inbox (
    id TEXT PRIMARY KEY,
    root TEXT NOT NULL,
    at REAL NOT NULL,
    doc TEXT NOT NULL,
    outcome TEXT
);
CREATE INDEX inbox_pending ON inbox (root) WHERE outcome IS NULL;
CREATE TABLE cursors (name TEXT PRIMARY KEY, seq INTEGER NOT NULL);
"""

#: Which ledger this is, among others that know the same engines.
_IDENTITY = """
CREATE TABLE identity AS SELECT lower(hex(randomblob(16))) AS id;
"""

#: What was sent and never seen is looked for among everything that has ended, every second by an agent.
_ASKED = """
CREATE INDEX executions_asked ON executions (tree) WHERE is_current = 1 AND instr(doc, '"asked":') > 0;
"""

#: MIGRATIONS[n] leads from version n to version n + 1.
MIGRATIONS: tuple[str, ...] = (_FIRST, _IDENTITY, _ASKED)

VERSION = len(MIGRATIONS)
