"""Where the suites keep real clusters and the logs of servers."""

from embedded.folder import reachable_directory, unprivileged_account
from settings import ROOT

# `.local/tests/`; below a checkout that is closed to PostgreSQL's account, where the product goes.
TESTS = reachable_directory(ROOT / ".local" / "tests", unprivileged_account())
