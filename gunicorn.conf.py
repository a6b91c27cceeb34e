"""gunicorn's settings, read by `gunicorn app:app` and by App Service."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterable
from typing import Any

from gunicorn.errors import HaltServer

from serving.announcement import announce
from serving.cores import cpus_to_pin_to, keep_to, next_cpu
from serving.exposure import refusal_to_listen
from serving.listeners import refuse_new_connections
from serving.metrics_folder import make_metrics_folder
from serving.refusals import expect_refusals, print_refusal
from settings import Settings, SettingsError, check_authentication, read_settings

MAX_THREADS = 256


def read_valid_settings() -> Settings | None:
    try:
        return read_settings()
    except SettingsError:
        return None  # on_starting reports the mistake


def request_threads() -> int:
    """More than can wait for one database, so that POOL_MAX_WAITING rejects requests while threads
    are still free for others."""
    if _settings is None:
        return 16
    return min(_settings.pool_max_size + _settings.pool_max_waiting + 8, MAX_THREADS)


_settings = read_valid_settings()


worker_class = "serving.worker.DrainingWorker"
logger_class = "serving.logs.ServerLog"
# The app logs each request, with its route and the database calls.
accesslog = None
# The interpreter's lock binds a worker to one core; threads wait for the database.
workers = int(os.environ.get("WEB_CONCURRENCY") or min(4, os.cpu_count() or 1))
threads = request_threads()
# Longer than any request may take, so that no worker is killed during one.
timeout = 120
graceful_timeout = 35
keepalive = 30
# Per worker; fewer if `ulimit -n` is too low. A full worker closes the connection that has been
# silent for the longest.
worker_connections = 4096
# By default gunicorn trusts SCRIPT_NAME and PATH_INFO from any client on this machine.
forwarder_headers = ""
# App Service and a proxy add about thirty headers.
limit_request_fields = 64
# All servers of a user would share the default path.
control_socket_disable = True
# gunicorn's default of 0 opens Unix sockets, and files that the app writes, to every account.
umask = 0o022


def on_starting(server: Any) -> None:
    if server.cfg.workers < 1:
        sys.exit(f"WEB_CONCURRENCY={server.cfg.workers} is wrong: set 1 or more workers.")
    # Reported here once; otherwise each worker would report it.
    try:
        settings = read_settings()
        check_authentication(settings)
    except SettingsError as error:
        sys.exit(str(error))
    announce(settings)
    # Workers inherit it and import prometheus_client afterwards, so preload_app must stay off.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = server.metrics_folder = make_metrics_folder()
    expect_refusals(server.metrics_folder)


def when_ready(server: Any) -> None:
    if reason := refusal_to_listen(server.LISTENERS, read_settings()):
        on_exit(server)
        sys.exit(reason)
    stop = server.stop

    def stop_gently(graceful: bool = True) -> None:
        # Not if another process keeps using these sockets.
        alone = server.reexec_pid == server.master_pid == 0 and not server.systemd
        if graceful and alone and not _inherited(server.cfg.address):
            for listener in server.LISTENERS:
                refuse_new_connections(listener.sock)
        while True:
            # Each worker that fails to start halts the server; the first halt is already running.
            with contextlib.suppress(HaltServer):
                stop(graceful)
                return

    server.stop = stop_gently


def pre_fork(server: Any, worker: Any) -> None:
    worker.cpu = None
    if _settings is not None and _settings.pin_workers:
        # During a reload, the oldest workers are about to be replaced by the new ones.
        others = sorted(server.WORKERS.values(), key=lambda other: other.age)
        kept = others[-(server.num_workers - 1) :] if server.num_workers > 1 else []
        worker.cpu = next_cpu(cpus_to_pin_to(), server.num_workers, [w.cpu for w in kept])


def post_fork(server: Any, worker: Any) -> None:
    # Before the worker starts threads, which inherit it.
    if worker.cpu is not None and not keep_to(worker.cpu):
        worker.log.warning("Workers are not pinned to CPUs: the system forbids it.")


def child_exit(server: Any, worker: Any) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def worker_exit(server: Any, worker: Any) -> None:
    wsgi = getattr(worker, "wsgi", None)
    if wsgi is not None:
        from app import close_app

        close_app(wsgi, timeout=1.0)


def on_exit(server: Any) -> None:
    print_refusal()
    shutil.rmtree(server.metrics_folder, ignore_errors=True)


def _inherited(addresses: Iterable[Any]) -> bool:
    """Whether another process opened one of the sockets (fd://) and may still use it."""
    return any(isinstance(address, int) for address in addresses)
