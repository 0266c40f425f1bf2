-- Times are integer microseconds since the epoch, UTC. Ids are lower-case UUID text.

CREATE TABLE IF NOT EXISTS log (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT NOT NULL,
    id       TEXT NOT NULL,
    subject  TEXT NOT NULL,
    body     BLOB NOT NULL,
    at_us    INTEGER NOT NULL,
    is_open  INTEGER NOT NULL DEFAULT 1,
    UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS log_open ON log (kind, subject, sequence) WHERE is_open = 1;

CREATE TABLE IF NOT EXISTS ingestions (
    id          TEXT PRIMARY KEY,
    sequence    INTEGER NOT NULL UNIQUE,
    dataset     TEXT NOT NULL,
    start_us    INTEGER NOT NULL,
    end_us      INTEGER NOT NULL,
    metadata    TEXT NOT NULL,
    location    TEXT NOT NULL,
    status      TEXT NOT NULL,
    accepted_us INTEGER NOT NULL,
    received    INTEGER NOT NULL,
    stored      INTEGER NOT NULL DEFAULT 0,
    duplicate   INTEGER NOT NULL DEFAULT 0,
    rejected    INTEGER NOT NULL DEFAULT 0,
    warnings    TEXT NOT NULL DEFAULT '[]',
    reason      TEXT NOT NULL DEFAULT '',
    admitted    INTEGER NOT NULL DEFAULT 0,
    token       INTEGER NOT NULL DEFAULT 0,
    owner       TEXT
);
CREATE INDEX IF NOT EXISTS ingestions_by_span ON ingestions (dataset, start_us, end_us, sequence);

CREATE TABLE IF NOT EXISTS chunks (
    dataset      TEXT NOT NULL,
    hour_us      INTEGER NOT NULL,
    sequence     INTEGER NOT NULL,
    part         INTEGER NOT NULL,
    ingestion_id TEXT NOT NULL,
    rows         INTEGER NOT NULL,
    first_us     INTEGER NOT NULL,
    last_us      INTEGER NOT NULL,
    location     TEXT NOT NULL,
    retired      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (dataset, hour_us, sequence, part)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chunks_by_ingestion ON chunks (ingestion_id);

CREATE TABLE IF NOT EXISTS coverage (
    dataset  TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    end_us   INTEGER NOT NULL,
    PRIMARY KEY (dataset, start_us)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS windows (
    dataset       TEXT NOT NULL,
    length_us     INTEGER NOT NULL,
    start_us      INTEGER NOT NULL,
    status        TEXT NOT NULL DEFAULT 'waiting',
    reason        TEXT NOT NULL DEFAULT '',
    version       INTEGER NOT NULL DEFAULT 0,
    built_version INTEGER NOT NULL DEFAULT 0,
    due_us        INTEGER,
    attempts      INTEGER NOT NULL DEFAULT 0,
    tried_version INTEGER NOT NULL DEFAULT 0,
    base          INTEGER,
    token         INTEGER NOT NULL DEFAULT 0,
    owner         TEXT,
    PRIMARY KEY (dataset, length_us, start_us)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS windows_free ON windows (start_us, due_us)
    WHERE status = 'queued' AND owner IS NULL;
CREATE INDEX IF NOT EXISTS windows_due ON windows (due_us) WHERE status = 'queued' AND owner IS NULL;
CREATE INDEX IF NOT EXISTS windows_held ON windows (owner) WHERE owner IS NOT NULL;

CREATE TABLE IF NOT EXISTS revisions (
    dataset      TEXT NOT NULL,
    length_us    INTEGER NOT NULL,
    start_us     INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    rows         INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    inputs_hash  TEXT NOT NULL,
    inputs       TEXT NOT NULL,
    sequence     INTEGER NOT NULL,
    location     TEXT NOT NULL,
    supersedes   TEXT,
    built_us     INTEGER NOT NULL,
    PRIMARY KEY (dataset, length_us, start_us, number)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS datasets (
    name          TEXT PRIMARY KEY,
    version       INTEGER NOT NULL,
    metadata      TEXT NOT NULL,
    findings      TEXT NOT NULL,
    registered_us INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS quarantine (
    id           TEXT PRIMARY KEY,
    dataset      TEXT NOT NULL,
    ingestion_id TEXT NOT NULL,
    location     TEXT NOT NULL,
    rows         INTEGER NOT NULL,
    reasons      TEXT NOT NULL,
    at_us        INTEGER NOT NULL,
    status       TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS bookmarks (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
