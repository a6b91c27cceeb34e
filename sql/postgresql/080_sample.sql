-- The samples that were loaded, so that a sample is not loaded again after its rows were deleted.
CREATE TABLE IF NOT EXISTS web.sample_data (
    "Name"     text        NOT NULL PRIMARY KEY,
    "LoadedAt" timestamptz NOT NULL DEFAULT clock_timestamp()
);
