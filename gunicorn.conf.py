"""What `gunicorn app:app` does without flags; App Service reads it too."""

import contextlib
import os
import shutil
import sys

from gunicorn.errors import HaltServer

from serving.announcement import announce
from serving.exposure import refusal_to_listen
from serving.listeners import refuse_new_connections
from serving.metrics_folder import make_metrics_folder
from serving.refusals import expect_refusals, print_refusal
from settings import SettingsError, check_authentication, read_settings

MOST_THREADS = 256


def request_threads():
    """More than can wait for one database, so that POOL_MAX_WAITING is reached before the threads
    are all taken, and other requests still have some."""
    try:
        settings = read_settings()
    except SettingsError:
        return 16  # on_starting says what is wrong
    return min(settings.pool_max_size + settings.pool_max_waiting + 8, MOST_THREADS)


worker_class = "serving.worker.DrainingWorker"
logger_class = "serving.logs.ServerLog"
# A line for each request is written by the app, which knows its route and what it did.
accesslog = None
# A worker is bound to one core by the interpreter's lock; threads wait for the database.
workers = int(os.environ.get("WEB_CONCURRENCY") or min(4, os.cpu_count() or 1))
threads = request_threads()
# Longer than any request may take, so that a worker is never killed in the midst of one.
timeout = 120
graceful_timeout = 35
keepalive = 30
# Of a worker; fewer where `ulimit -n` has no room for them. A full worker closes the connection
# that has been silent for the longest.
worker_connections = 4096
# gunicorn believes SCRIPT_NAME and PATH_INFO from any client on this machine.
forwarder_headers = ""
# App Service and a proxy add some thirty headers of their own.
limit_request_fields = 64
# Its default path is one for all servers of a user, so a second one would fight over it.
control_socket_disable = True
# Its default of 0 opens a Unix socket, and all that the app writes, to every account.
umask = 0o022


def on_starting(server):
    if server.cfg.workers < 1:
        sys.exit(f"WEB_CONCURRENCY={server.cfg.workers} is wrong: set 1 or more workers.")
    # Here it is said once; a worker that can't start is one of many.
    try:
        settings = read_settings()
        check_authentication(settings)
    except SettingsError as error:
        sys.exit(str(error))
    announce(settings)
    # Workers inherit it, and import prometheus_client only later: preload_app must stay off.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = server.metrics_folder = make_metrics_folder()
    expect_refusals(server.metrics_folder)


def when_ready(server):
    if said := refusal_to_listen(server.LISTENERS, read_settings()):
        on_exit(server)
        sys.exit(said)
    stop = server.stop

    def stop_gently(graceful=True):
        # Not where another process goes on with the same sockets.
        alone = server.reexec_pid == server.master_pid == 0 and not server.systemd
        if graceful and alone and not _given(server.cfg.address):
            for listener in server.LISTENERS:
                refuse_new_connections(listener.sock)
        while True:
            # Each worker whose start failed halts the server: the first halt is under way.
            with contextlib.suppress(HaltServer):
                return stop(graceful)

    server.stop = stop_gently


def child_exit(server, worker):
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)


def worker_exit(server, worker):
    wsgi = getattr(worker, "wsgi", None)
    if wsgi is not None:
        from app import close_app

        close_app(wsgi, timeout=1.0)


def on_exit(server):
    print_refusal()
    shutil.rmtree(server.metrics_folder, ignore_errors=True)


def _given(addresses):
    """Whether one of the sockets was opened by someone else, who may keep it (fd://)."""
    return any(isinstance(address, int) for address in addresses)
