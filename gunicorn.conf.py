"""What `gunicorn app:app` does without flags; App Service reads it too."""

import os

worker_class = "gthread"
# A worker is bound to one core by the interpreter's lock; threads wait for the database.
workers = int(os.environ.get("WEB_CONCURRENCY") or min(4, os.cpu_count() or 1))
threads = 16
# Longer than any request may take, so that a worker is never killed in the midst of one.
timeout = 120
graceful_timeout = 35
keepalive = 30
# Its default path is one for all servers of a user, so a second one would fight over it.
control_socket_disable = True
