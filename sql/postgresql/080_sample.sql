-- Which samples were loaded once: a sample that its owner has deleted does not come back.
CREATE TABLE IF NOT EXISTS web.sample_data (
    "Name"     text        NOT NULL PRIMARY KEY,
    "LoadedAt" timestamptz NOT NULL DEFAULT clock_timestamp()
);
