"""scripts/run and scripts/test: help and errors before they change anything."""

import os
import shutil
import socket
import subprocess

import pytest

from settings import ROOT

RUN = str(ROOT / "scripts" / "run")
TEST = str(ROOT / "scripts" / "test")


def typed(*words, **environment):
    return subprocess.run(
        words,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("shell", [(), ("sh",), ("bash",)], ids=str)
@pytest.mark.parametrize("script", [RUN, TEST])
def test_help_is_printed_by_any_shell_and_nothing_is_done(shell, script):
    done = typed(*shell, script, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: scripts/{script.rpartition('/')[2]} [")


@pytest.mark.parametrize("script", [RUN, TEST])
def test_without_bash_one_sentence_names_the_remedy(script, tmp_path):
    tmp_path.joinpath("dirname").symlink_to(shutil.which("dirname"))
    done = typed("/bin/sh", script, PATH=str(tmp_path))
    name = script.rpartition("/")[2]
    assert done.returncode != 0
    assert done.stderr == f"scripts/{name} needs bash: install the package bash.\n"


@pytest.mark.parametrize("port", ["65536", "70000", "http", "-1"])
def test_an_invalid_port_is_rejected(port):
    done = typed(RUN, "--port", port)
    assert done.returncode != 0
    sentence = f"scripts/run: --port {port} is wrong: it must be a number from 0 to 65535.\n"
    assert done.stderr == sentence


def test_a_port_in_use_is_refused_with_the_next_one():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = typed(RUN, "--port", str(port))
    assert done.returncode != 0
    assert done.stderr == f"Port {port} is in use; try --port {port % 65535 + 1}.\n"


def test_a_host_of_another_machine_is_rejected():
    done = typed(RUN, "--host", "192.0.2.1", "--port", "0")
    assert done.returncode != 0
    assert done.stderr.startswith("--host 192.0.2.1 is not an address of this machine (")


@pytest.mark.parametrize("workers", ["two", "0", "-1", "1.5"])
def test_an_invalid_number_of_workers_is_rejected(workers):
    done = typed(RUN, WEB_CONCURRENCY=workers)
    assert done.returncode != 0
    wanted = "it must be a whole number from 1 to 9999"
    assert done.stderr == f"WEB_CONCURRENCY={workers} is wrong: {wanted}.\n"
