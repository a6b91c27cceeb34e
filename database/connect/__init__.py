"""Connection strings, access tokens and the sockets of connections."""
