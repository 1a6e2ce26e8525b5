// The index: one SQLite database. Its schema is for operators to read, too: `sqlite3 index.sqlite .schema`.

/**
 * Each takes the schema one version further, in one transaction; `PRAGMA user_version` says how many have been
 * run. What has been released is never changed here: another one is added.
 */
export const migrations: readonly string[] = [
  `
  CREATE TABLE uploads (
    key              INTEGER PRIMARY KEY,
    id               TEXT    NOT NULL UNIQUE,
    version          INTEGER NOT NULL DEFAULT 1,
    state            TEXT    NOT NULL CHECK (state IN ('open', 'claimed', 'finished', 'removed')),
    created_at       INTEGER NOT NULL, -- milliseconds since the epoch, as all times
    active_at        INTEGER NOT NULL, -- when a byte or this row last changed
    length           INTEGER,          -- of the whole content in bytes, once it is known
    size             INTEGER NOT NULL, -- bytes received
    whole            INTEGER NOT NULL, -- 1: all bytes came with the upload, so it has no ranges
    attempt          INTEGER NOT NULL,
    claim_owner      TEXT,
    claim_expires_at INTEGER,
    refused          INTEGER,
    moved            INTEGER,
    removed_at       INTEGER,
    expires_after_ms INTEGER,          -- of this upload alone, while it is open
    max_length       INTEGER,          -- of this upload alone, in bytes
    digest           TEXT,
    metadata         TEXT    NOT NULL, -- JSON, an object of texts
    context          TEXT,
    file             TEXT,             -- the content, below content/; without it: in bodies, or nowhere any more
    response         TEXT
  ) STRICT;

  -- Sweeps and listings, by state and by age, and their sums, read this index alone.
  CREATE INDEX uploads_by_state ON uploads (state, active_at, size);

  -- What a sweep looks for besides: few, if any.
  CREATE INDEX uploads_refused ON uploads (key) WHERE refused = 1;
  CREATE INDEX uploads_own_expiry ON uploads (key) WHERE state = 'open' AND expires_after_ms IS NOT NULL;
  CREATE INDEX uploads_undiscarded ON uploads (key)
    WHERE (state = 'removed' OR moved = 1) AND (file IS NOT NULL OR whole = 1);

  -- Received bytes, start inclusive, end exclusive: disjoint and never touching.
  CREATE TABLE ranges (
    upload INTEGER NOT NULL REFERENCES uploads ON DELETE CASCADE,
    start  INTEGER NOT NULL,
    end    INTEGER NOT NULL CHECK (end > start),
    PRIMARY KEY (upload, start)
  ) STRICT, WITHOUT ROWID;

  CREATE TRIGGER range_added AFTER INSERT ON ranges BEGIN
    UPDATE uploads SET size = size + NEW.end - NEW.start WHERE key = NEW.upload AND whole = 0;
  END;
  CREATE TRIGGER range_grown AFTER UPDATE ON ranges BEGIN
    UPDATE uploads SET size = size + NEW.end - OLD.end WHERE key = NEW.upload AND whole = 0;
  END;
  CREATE TRIGGER range_merged AFTER DELETE ON ranges BEGIN
    UPDATE uploads SET size = size - (OLD.end - OLD.start) WHERE key = OLD.upload AND whole = 0;
  END;

  -- The content of small uploads.
  CREATE TABLE bodies (
    upload INTEGER PRIMARY KEY REFERENCES uploads ON DELETE CASCADE,
    bytes  BLOB NOT NULL
  ) STRICT;

  -- An index of uploads.metadata.
  CREATE TABLE metadata (
    name   TEXT    NOT NULL,
    value  TEXT    NOT NULL,
    upload INTEGER NOT NULL REFERENCES uploads ON DELETE CASCADE,
    PRIMARY KEY (name, value, upload)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX metadata_by_upload ON metadata (upload);

  CREATE TRIGGER metadata_stated AFTER INSERT ON uploads WHEN NEW.metadata <> '{}' BEGIN
    INSERT OR IGNORE INTO metadata (name, value, upload) SELECT key, value, NEW.key FROM json_each(NEW.metadata);
  END;
  CREATE TRIGGER metadata_changed AFTER UPDATE OF metadata ON uploads WHEN NEW.metadata <> OLD.metadata BEGIN
    DELETE FROM metadata WHERE upload = NEW.key;
    INSERT OR IGNORE INTO metadata (name, value, upload) SELECT key, value, NEW.key FROM json_each(NEW.metadata);
  END;

  -- Files that are no upload's: not yet (owner is the process that writes it), or no more (owner is '').
  CREATE TABLE litter (
    file  TEXT PRIMARY KEY,
    owner TEXT    NOT NULL,
    at    INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TRIGGER content_discarded AFTER UPDATE OF file ON uploads
  WHEN OLD.file IS NOT NULL AND NEW.file IS NOT OLD.file BEGIN
    INSERT INTO litter (file, owner, at) VALUES (OLD.file, '', OLD.active_at);
  END;
  CREATE TRIGGER upload_purged AFTER DELETE ON uploads WHEN OLD.file IS NOT NULL BEGIN
    INSERT INTO litter (file, owner, at) VALUES (OLD.file, '', OLD.active_at);
  END;
  `,
];

/** How long a change waits for another process that is just committing one. */
export const busyTimeoutMs = 10_000;

/**
 * The log may grow to this many pages (32 MiB) before it is folded into the database: each page that many
 * uploads share is then written once for all of them.
 */
const checkpointPages = 8192;

/** Settings of the connection that writes. Under `power` each commit is synced; otherwise each fold only. */
export const writerPragmas = (power: boolean): readonly string[] => [
  'journal_mode = WAL',
  `synchronous = ${power ? 'FULL' : 'NORMAL'}`,
  'foreign_keys = ON',
  `wal_autocheckpoint = ${checkpointPages}`,
];

/** … and of the one that reads. */
export const readerPragmas: readonly string[] = ['query_only = ON'];
