"""The application as gunicorn serves it, in a worker that may take 2 GB of memory and no more.

`gunicorn tests.security.limited:app`: one path tells the worker's number and its peak.
"""

from __future__ import annotations

import json
import os
import re
import resource
from pathlib import Path

from app import create_app
from testkit.memory import PEAK

MOST_BYTES = 2 << 30

resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
app = create_app()
_inner = app.wsgi_app


def _watched(environ, start_response):
    if environ["PATH_INFO"] != PEAK:
        return _inner(environ, start_response)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), "peak_mb": peak}).encode()]


app.wsgi_app = _watched
