"""The campaign of `make test-api`, cut short: fifty for the last slot of a quota, every boundary of every field of
every route, and a few random requests."""

from __future__ import annotations

import json
import subprocess
import sys


def test_nothing_that_the_document_allows_or_forbids_breaks_anything() -> None:
    argv = [sys.executable, "-m", "tests.long.api", "--seed", "1", "--examples", "1", "--asked", "50"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == {}
    assert found["last_slot"] == {"201": 1, "quota_exceeded": 49}
    assert found["requests"] > 1000
    assert found["statuses"].keys() >= {"200", "201", "422"}
    assert done.returncode == 0
