"""Starts the API as its container does, without a container engine.

Run as `python -m tests.container_start`. The files that .dockerignore lets into the image lie in a
folder of root's. As root, in mount and network namespaces of its own (unshare): everything is
read-only but what compose.yaml mounts, and the Dockerfile's command runs with the Dockerfile's
environment, as its user. Without root, as this user in a copy without write permission, which is
less. Exits with 0 when the health check of the Dockerfile, one customer and one page of trips were
answered and SIGTERM ended it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import fnmatch
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from settings import ROOT, TARGETS
from testkit.cluster import fresh_cluster, socket_of
from testkit.proxy import Proxy

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "compose.yaml").read_text()
FINAL_STAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :].replace("\\\n", " ")
NOT_WALKED = {".git", ".local", ".venv", "node_modules"}
START_SECONDS = 40
STOP_SECONDS = 40
# linux/sockios.h, linux/if.h
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def in_image(path: str) -> bool:
    """Whether .dockerignore lets `path` into the build; the last line that fits decides."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/").rstrip("/")
        levels = pattern.count("/") + 1
        parts = path.split("/")
        fits = any(
            fnmatch.fnmatch("/".join(parts[start : start + levels]), pattern)
            for start in (range(len(parts)) if "**/" in line else [0])
        )
        if fits:
            kept = line.startswith("!")
    return kept


def command(instruction: str) -> list[str]:
    """The words of CMD or HEALTHCHECK in the Dockerfile's last stage."""
    (words,) = re.findall(rf"^{instruction} [^\[\n]*(\[.*\])$", FINAL_STAGE, re.M)
    return json.loads(words)


def environment() -> dict[str, str]:
    """What ENV sets in the Dockerfile's last stage."""
    lines = re.findall(r"^ENV (.*)$", FINAL_STAGE, re.M)
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


def user() -> int:
    return int(re.search(r"^USER (\d+)$", FINAL_STAGE, re.M).group(1))


def tmpfs_mounts() -> list[tuple[str, str]]:
    """(folder, mount options) of each tmpfs that compose.yaml gives the API."""
    (listed,) = re.findall(r"^    tmpfs: \[(.*)\]$", COMPOSE, re.M)
    mounts = [word.strip(" \"'").partition(":") for word in listed.split(", ")]
    return [(place, options or "mode=1777") for place, _, options in mounts]


def copy_of_the_image(folder: Path) -> None:
    """The files of WORKDIR, and `python` and `gunicorn` on a PATH of their own, unwritable."""
    for path in sorted(ROOT.rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if name.split("/")[0] not in NOT_WALKED and path.is_file() and in_image(name):
            target = folder / "app" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    (folder / "bin").mkdir()
    gunicorn = folder / "bin" / "gunicorn"
    gunicorn.write_text('#!/bin/sh\nexec python -m gunicorn "$@"\n')
    gunicorn.chmod(0o755)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() or path == gunicorn else 0o444)


def python_in(folder: Path) -> None:
    """Mount this interpreter and its packages into `folder`: their own may be closed to the user.

    For a mount namespace of one's own.
    """
    packages = Path(sysconfig.get_path("purelib"))
    venv, base = folder / "venv", folder / "base"
    inside = venv / packages.relative_to(sys.prefix)
    for made in (venv / "bin", inside, base):
        made.mkdir(parents=True)
    interpreter = base / Path(sys._base_executable).resolve().relative_to(sys.base_prefix)
    (venv / "pyvenv.cfg").write_text(f"home = {interpreter.parent}\n")
    (venv / "bin" / "python").symlink_to(interpreter)
    mount("--bind", sys.base_prefix, base)
    mount("--bind", packages, inside)


def mount(*words: str | Path) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


def isolate(folder: Path) -> None:
    """Make this process's file systems those of the container; its network is loopback alone."""
    python_in(folder)
    # The folders that the image makes for its user, by the Dockerfile's own words.
    for line in re.findall(r"install --directory [^&\n]*", FINAL_STAGE):
        parent = Path(line.split()[-1]).parent
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", parent)
        subprocess.run(line.split(), check=True)
        mount("-o", "remount,ro", parent)
    for place, options in [*tmpfs_mounts(), ("/dev/shm", "mode=1777,size=64m")]:
        mount("-t", "tmpfs", "-o", f"nosuid,nodev,{options}", "tmpfs", place)
    mount("-o", "remount,bind,ro", "/")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def serve_and_look(folder: Path, database: Path, words: list[str], variables: dict) -> None:
    """Start `words`, request what the module's docstring says, end it. Raises on any failure."""
    drop = []
    if os.geteuid() == 0:
        drop = ["setpriv", f"--reuid={user()}", f"--regid={user()}", "--clear-groups"]
        drop += ["--no-new-privs", "--bounding-set=-all"]
    with Proxy(database) as proxy:
        text = f"SERVER=127.0.0.1;PORT={proxy.port};DATABASE=app;UID=webapp"
        variables |= {f"POSTGRESQLCONNSTR_{target}": text for target in TARGETS}
        shared = {"cwd": folder / "app", "env": variables}
        server = subprocess.Popen([*drop, *words], **shared, stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + START_SECONDS
            look = [*drop, *command("HEALTHCHECK")]
            while subprocess.run(look, check=False, **shared, stderr=subprocess.DEVNULL).returncode:
                if server.poll() is not None:
                    raise SystemExit(f"The server ended with {server.returncode}.")
                if time.monotonic() > deadline:
                    raise SystemExit(f"The health check failed for {START_SECONDS} s.")
                time.sleep(0.1)
            for path in ("/health/ready", "/customer/123", "/taxidata?limit=1", "/metrics"):
                url = f"http://127.0.0.1:{variables['PORT']}{path}"
                with urllib.request.urlopen(url, timeout=30) as response:
                    response.read()
                print(f"GET {path}: {response.status}")
            server.send_signal(signal.SIGTERM)
            if server.wait(STOP_SECONDS):
                raise SystemExit(f"After SIGTERM the server ended with {server.returncode}.")
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inside", nargs=2, type=Path, help=argparse.SUPPRESS)
    inside = parser.parse_args().inside
    if inside:
        folder, database = inside
        isolate(folder)
        path = f"{folder}/bin:{folder}/venv/bin:/usr/bin:/bin"
        # A shared libpython, too, may lie in a folder that is closed to the user.
        own = {"PATH": path, "LD_LIBRARY_PATH": f"{folder}/base/lib", "AUTH": "none"}
        variables = {**environment(), **own}
        serve_and_look(folder, database, command("CMD"), variables)
        return 0
    with image() as folder, fresh_cluster(f"container-{os.getpid()}") as cluster:
        database = socket_of(cluster)
        if subprocess.run(["unshare", "--mount", "--net", "true"], check=False).returncode == 0:
            own = [sys.executable, "-m", "tests.container_start", "--inside", folder, database]
            done = subprocess.run(["unshare", "--mount", "--net", *own], check=False, cwd=ROOT)
            return done.returncode
        print("Without root: this user, a copy without write permission, 127.0.0.1.")
        # Nothing keeps others from 0.0.0.0 here, and its port may be taken.
        words = [word.replace("0.0.0.0", "127.0.0.1") for word in command("CMD")]
        path = f"{folder}/bin:{Path(sys.executable).parent}:/usr/bin:/bin"
        with tempfile.TemporaryDirectory() as local:
            own = {"PATH": path, "LOCAL_DIR": local, "PORT": str(free_port()), "AUTH": "none"}
            serve_and_look(folder, database, words, {**environment(), **own})
    return 0


@contextlib.contextmanager
def image() -> Iterator[Path]:
    # Not in /tmp, which is hidden in the namespace; a folder that other users pass.
    folder = Path(tempfile.mkdtemp(prefix="container-", dir="/var/tmp"))
    try:
        copy_of_the_image(folder)
        folder.chmod(0o755)
        yield folder
    finally:
        for path in [folder, *(p for p in folder.rglob("*") if p.is_dir())]:
            path.chmod(0o755)
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
