"""The names and the configuration of the embedded database."""

PORT = 5432
DATABASE = "app"
OWNER = "owner"
API_ROLE = "webapp"

CONFIGURATION = f"""
listen_addresses = ''
port = {PORT}
max_connections = 200
shared_buffers = 256MB
timezone = 'UTC'
log_timezone = 'UTC'
logging_collector = off
"""
# On the command line, so that they apply to existing clusters too. Statements, parameters, error
# messages and DETAIL contain what clients sent; the API logs failed calls itself.
# log_min_messages=log omits the errors of statements and keeps those of the server.
QUIET_LOG = {
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_duration": "off",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_autovacuum_min_duration": "-1",
    "log_checkpoints": "off",
    "log_connections": "off",
    "log_disconnections": "off",
    "log_lock_waits": "off",
    "log_temp_files": "-1",
}
