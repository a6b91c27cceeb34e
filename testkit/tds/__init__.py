"""A scripted TDS server, for Microsoft's real driver."""
