"""The private PostgreSQL that serves the sample when no database is configured."""
