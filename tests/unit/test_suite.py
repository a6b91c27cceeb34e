"""The suite itself: it ends wherever it is started."""

import os
import signal
import subprocess
import sys

import pytest

from settings import ROOT

# As `scripts/test &` in a script and `nohup scripts/test` start it: SIGINT and SIGHUP ignored.
BACKGROUND = ("bash", "-c", 'nohup "$@" & wait $!', "bash")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT], ids=lambda n: n.name)
def test_a_process_that_a_test_starts_dies_of(number):
    with subprocess.Popen(["sleep", "60"]) as child:
        child.send_signal(number)
        try:
            assert child.wait(5) == -number
        finally:
            child.kill()


def test_in_the_background_the_processes_that_tests_start_can_be_stopped():
    inner = test_a_process_that_a_test_starts_dies_of.__name__
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"{__file__}::{inner}")
    # The signals of the outer run are not those of the inner.
    environment = {k: v for k, v in os.environ.items() if k != "TESTS_IGNORED_SIGNALS"}
    done = subprocess.run(
        [*BACKGROUND, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_every_test_has_a_time_limit(request):
    assert float(request.config.getini("timeout")) > 0
