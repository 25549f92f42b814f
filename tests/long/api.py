"""`make test-api`: Schemathesis asks a garage of simulated servers whatever the OpenAPI document allows, and what it does not.

The garage is real but for its servers: web and worker as processes, SQLite, three simulated nodes. First two thousand ask at once for the
last slot of a quota, and one gets it. Then come every boundary of every field, random requests, and random walks in which one answer's ids
go into the next request. Whatever is asked, nothing may answer 5xx, nor with a status, a media type or a field that the document does not
promise; no process ends, and afterwards the nodes hold what the rows say. All of it runs in a network namespace that has nothing but its
own loopback: whatever address a request makes up is nobody's.
What came of it is a line of JSON; the exit code is 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import SystemRandom
from typing import Any

from garage.burnin.trial import Trial
from tests.long.last_slot import ASKED, last_slot

KEPT = Path(__file__).parents[2] / "build" / "test-api"
EXAMPLES = 200
"""Random requests per route; with the boundaries and the walks this makes more than 20,000."""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
UNASKED = "/events$|/ssh$|/restore$"
"""What does not end by itself, what is no HTTP, and what takes a garage's backup, which nobody can make up."""
APART = "GARAGE_TEST_APART"
"""Set where this process has a network of its own."""
REST_SECONDS = 120.0
SHOWN = 20


def ask(garage: Trial, seed: int, examples: int) -> Path:
    """Schemathesis' own report, a line of JSON per event."""
    shutil.rmtree(KEPT, ignore_errors=True)
    KEPT.mkdir(parents=True)
    settings, report = KEPT / "schemathesis.toml", KEPT / "events.jsonl"
    settings.write_text('headers = { Authorization = "Bearer ${GARAGE_TOKEN}" }\n')
    argv = [
        *("st", "--config-file", str(settings), "--no-color", "run", f"{garage.profile.url}/api/v1/openapi.json"),
        *("--checks", CHECKS, "--exclude-path-regex", UNASKED, "--warnings", "off", "--continue-on-failure"),
        *("--max-examples", str(examples), "--seed", str(seed), "--request-timeout", "60", "--no-shrink"),
        *("--report-ndjson-path", str(report)),
    ]
    with (KEPT / "said").open("w") as said:
        environ = {**os.environ, "GARAGE_TOKEN": garage.profile.token}
        subprocess.run(argv, stdout=said, stderr=said, env=environ, cwd=KEPT, check=False)
    return report


def scenarios(report: Path) -> Iterator[dict[str, Any]]:
    for line in report.read_text().splitlines():
        event = json.loads(line)
        if found := event.get("ScenarioFinished"):
            yield found["recorder"]


def told(report: Path) -> tuple[Counter[str], Counter[str]]:
    """How often each status was answered; what was wrong, by route."""
    statuses, wrong = Counter[str](), Counter[str]()
    for scenario in scenarios(report):
        asked = scenario.get("interactions", {})
        answers = [each.get("response") for each in asked.values()]
        statuses.update(str(answer["status_code"]) if answer else "no answer" for answer in answers)
        for case, checks in scenario.get("checks", {}).items():
            if not outside(asked.get(case, {}).get("response")):
                failed = [check["failure_info"]["failure"] for check in checks if check["status"] == "failure"]
                wrong.update(f"{each.get('operation')}: {each['title']}: {each['message'][:200]}" for each in failed)
    return statuses, wrong


def outside(answer: dict[str, Any] | None) -> bool:
    """Whether an answer says that a server which the request named does not answer: a 502 that is none of ours."""
    content = (answer or {}).get("content", {}).get("$base64", "")
    return bool(answer) and b'"code":"ssh_failed"' in base64.b64decode(content)


def aftermath(garage: Trial, before: dict[str, int]) -> list[str]:
    """What is not as it should be: a process that ended, work that does not end, a node that holds what no row knows."""
    ended = [f"{name} ended" for name, part in garage.parts.items() if part.pid != before[name]]
    rest = [] if garage.wait(garage.at_rest, REST_SECONDS) else ["something is still under way"]
    return [*ended, *rest, *map(str, garage.troubles())]


def campaign(seed: int, examples: int, asked: int) -> dict[str, Any]:
    """What came of it; `wrong` is empty where all was well."""
    began = time.monotonic()
    with Trial(nodes=3) as garage:
        before = {name: part.pid for name, part in garage.parts.items()}
        slot, late = last_slot(garage, asked)
        statuses, wrong = told(ask(garage, seed, examples))
        wrong.update(late)
        wrong.update(aftermath(garage, before))
    return {
        **{"seed": seed, "requests": sum(statuses.values()), "seconds": round(time.monotonic() - began)},
        **{
            "statuses": dict(sorted(statuses.items())),
            "last_slot": dict(slot),
            "wrong": dict(wrong.most_common(SHOWN)),
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-api")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--asked", type=int, default=ASKED, help="How many ask for the last slot.")
    words = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    if not os.environ.get(APART):
        lonely = [
            "unshare",
            "--net",
            "sh",
            "-c",
            'ip link set lo up; exec "$@"',
            "sh",
            sys.executable,
            "-m",
            "tests.long.api",
        ]
        os.execvpe(lonely[0], [*lonely, *sys.argv[1:]], {**os.environ, APART: "yes"})
    seed = words.seed if words.seed is not None else SystemRandom().randrange(10**6)
    print(f"seed {seed}: make test-api SEED={seed}; what it says is in {KEPT / 'said'}", flush=True)
    found = campaign(seed, words.examples, words.asked)
    print(json.dumps(found, ensure_ascii=False), flush=True)
    return 0 if found["requests"] and not found["wrong"] else 1


if __name__ == "__main__":
    sys.exit(main())
