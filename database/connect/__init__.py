"""From a connection string and an access token to an open connection."""
