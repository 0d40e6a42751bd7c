-- One row: which fleet this is.
CREATE TABLE fleet (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    lineage BLOB NOT NULL CHECK (length(lineage) = 32),
    created INTEGER NOT NULL
) STRICT;

-- `place` is the one in the log: a link is judged by what came before it.
CREATE TABLE trust_roots (
    version INTEGER PRIMARY KEY,
    place INTEGER NOT NULL,
    envelope BLOB NOT NULL
) STRICT;

CREATE TABLE links (
    number INTEGER PRIMARY KEY,
    place INTEGER NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    envelope BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE proposals (
    link INTEGER NOT NULL REFERENCES links (number),
    place INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    PRIMARY KEY (link, place)
) STRICT;

-- In the order of arrival.
CREATE TABLE revocations (
    place INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    envelope BLOB NOT NULL,
    arrived INTEGER NOT NULL
) STRICT;

-- A secret is known by its SHA-256 alone.
CREATE TABLE tokens (
    secret BLOB PRIMARY KEY CHECK (length(secret) = 32),
    made INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    expires INTEGER NOT NULL,
    used INTEGER,
    host BLOB
) STRICT;

CREATE TABLE hosts (
    id BLOB PRIMARY KEY CHECK (length(id) = 32),
    keeper_key BLOB NOT NULL CHECK (length(keeper_key) = 32),
    hostname TEXT NOT NULL,
    joined INTEGER NOT NULL,
    token_by TEXT NOT NULL,
    last_seen INTEGER,
    -- The standing, in the host's own words; no mode means that it never said.
    mode INTEGER,
    trust_version INTEGER NOT NULL DEFAULT 0,
    floor_number INTEGER,
    floor_digest BLOB,
    agent_version TEXT NOT NULL DEFAULT '',
    refusal TEXT NOT NULL DEFAULT '',
    -- The newest link that the host has certainly verified.
    confirmed INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE labels (
    host BLOB NOT NULL REFERENCES hosts (id),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (host, key)
) STRICT, WITHOUT ROWID;

-- The keys of a host's certificates, as SHA-256 over the subject public key info: the one that it
-- showed last, and the one that was offered since.
CREATE TABLE certificates (
    host BLOB PRIMARY KEY REFERENCES hosts (id),
    current BLOB CHECK (length(current) = 32),
    offered BLOB CHECK (length(offered) = 32),
    -- When the last was issued.
    newest INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Hosts that may not come back.
CREATE TABLE bans (
    host BLOB PRIMARY KEY CHECK (length(host) = 32),
    banned INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a host was sent of each id, and what it has confirmed. An empty digest: that it is absent.
CREATE TABLE sent (
    host BLOB NOT NULL REFERENCES hosts (id),
    id BLOB NOT NULL,
    link INTEGER NOT NULL,
    digest BLOB NOT NULL,
    wanted INTEGER NOT NULL,
    confirmed BLOB,
    PRIMARY KEY (host, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE sent_revocations (
    host BLOB NOT NULL REFERENCES hosts (id),
    revocation BLOB NOT NULL,
    confirmed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (host, revocation)
) STRICT, WITHOUT ROWID;

CREATE TABLE receipts (
    host BLOB NOT NULL REFERENCES hosts (id),
    number INTEGER NOT NULL,
    digest BLOB NOT NULL,
    floor INTEGER,
    envelope BLOB NOT NULL,
    PRIMARY KEY (host, number)
) STRICT;

-- The audit log: leaves are digests of salt and body, so that a body can be erased.
CREATE TABLE log (
    place INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL,
    -- The root of the log that ends here.
    root BLOB NOT NULL,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    salt BLOB,
    body BLOB
) STRICT;
