"""The gateway's plain async routes: node polls and reports, console, downloads, errors, what is logged."""

from __future__ import annotations

import logging
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from garage_setup.build import Builder
from garage_setup.command import Runner
from garage_setup.pythons import Environments

from garage.core.console import MAX_BYTES
from garage.errors import KINDS
from garage.gateway.access import shown
from garage.services import machines, nodes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from netd import wire
from tests.conftest import NODE_TOKEN
from tests.inproc.served import Served, ready_machine, serving, wait_until

NODE = {"Authorization": f"Bearer {NODE_TOKEN}"}


@pytest.fixture
def served(ctx: Context, admin: Caller) -> Iterator[Served]:
    with serving(ctx) as running:
        yield running


def test_a_node_gets_its_spec_at_once_and_then_only_news(served: Served, ctx: Context) -> None:
    first = served.http.get("/node/v1/spec", params={"after": 0, "wait": 25}, headers=NODE)
    spec = wire.unseal(first.content, ctx.controller_key.public_key(), node="node1")
    assert first.status_code == 200
    began = time.monotonic()
    assert served.http.get(f"/node/v1/spec?after={spec.version}&wait=1", headers=NODE).status_code == 204
    assert time.monotonic() - began > 0.9
    assert served.http.get(f"/node/v1/spec?after={spec.version}", headers=NODE).status_code == 204


def test_a_waiting_node_learns_of_a_change_at_once(served: Served, ctx: Context, alice: Caller) -> None:
    delays = []
    for number in range(5):
        answered: list[float] = []
        known = wire.unseal(nodes.sealed_spec(ctx, "node1", 0) or b"", ctx.controller_key.public_key(), node="node1")

        def poll(after: int = known.version, answered: list[float] = answered) -> None:
            answer = served.http.get(f"/node/v1/spec?after={after}&wait=25", headers=NODE)
            answered.extend([time.monotonic(), answer.status_code])

        waiting = threading.Thread(target=poll)
        waiting.start()
        time.sleep(0.15)
        machines.create(ctx, alice, NewMachine(name=f"m{number}", size="tiny"))
        committed = time.monotonic()
        waiting.join(20)
        assert answered[1:] == [200], "long before the 25 s that it would wait"
        delays.append(answered[0] - committed)
    print(f"node wakes after {statistics.median(delays) * 1000:.0f} ms (worst {max(delays) * 1000:.0f})")


def test_a_node_reports_about_itself_alone(served: Served, ctx: Context) -> None:
    said = wire.Report(node="node1", applied_version=1)
    assert served.http.post("/node/v1/report", content=msgspec.json.encode(said), headers=NODE).status_code == 204
    assert nodes.listing(ctx, Caller("", "x", admin=True))[0].applied_version == 1
    other = wire.Report(node="node2", applied_version=1)
    refused = served.http.post("/node/v1/report", content=msgspec.json.encode(other), headers=NODE)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


def test_what_a_node_cannot_do_is_shown_until_it_can(served: Served, ctx: Context) -> None:
    for trouble, told in (("nft -f -: ended by SIGSEGV", "network_error: nft -f -: ended by SIGSEGV"), ("", "")):
        said = wire.Report(node="node1", applied_version=0, trouble=trouble)
        assert served.http.post("/node/v1/report", content=msgspec.json.encode(said), headers=NODE).status_code == 204
        assert nodes.listing(ctx, Caller("", "x", admin=True))[0].netd_error == told


def test_a_report_that_is_none_is_refused(served: Served) -> None:
    for body in (b"", b"{", b"[]", b'{"node":"node1"}', b'{"node":"node1","applied_version":-1}', b"\xff" * 9):
        refused = served.http.post("/node/v1/report", content=body, headers=NODE)
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed_request")


def test_a_report_is_bounded(served: Served) -> None:
    refused = served.http.post("/node/v1/report", content=b" " * (1024 * 1024 + 1), headers=NODE)
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")


def test_a_poll_with_bad_numbers_is_refused(served: Served) -> None:
    for query in ("after=x", "after=-1", "after=", "wait=1e9", "after=" + "9" * 40, "wait=²"):
        refused = served.http.get(f"/node/v1/spec?{query}", headers=NODE)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_field")


def test_without_a_valid_token_nothing_is_told(served: Served) -> None:
    for path in ("/node/v1/spec", "/api/v1/events", "/api/v1/machines/x/console"):
        for given in (None, "Bearer x", "Bearer", "Basic eDp5"):
            refused = served.http.get(path, headers={"Authorization": given} if given else {})
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["code"] == "not_signed_in"
            assert refused.headers["www-authenticate"].startswith("Bearer")


def test_a_members_token_is_no_nodes_token(served: Served, alice: Caller) -> None:
    assert served.http.get("/node/v1/spec", headers=served.as_(alice)).status_code == 401


def test_flask_answers_what_no_async_route_takes(served: Served, alice: Caller) -> None:
    assert served.http.get("/api/v1/me", headers=served.as_(alice)).json()["name"] == "alice"
    missing = served.http.get("/api/v1/nothing", headers=served.as_(alice))
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    made = served.http.post("/api/v1/machines", json={"name": "one"}, headers=served.as_(alice))
    assert made.status_code == 201
    large = served.http.post("/api/v1/machines", content=b" " * 300_000, headers=served.as_(alice))
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    assert "server" not in made.headers


def test_an_answer_has_one_date_whether_or_not_it_was_known(served: Served, alice: Caller) -> None:
    headers = served.as_(alice)
    first = served.http.get("/api/v1/machines", headers=headers)
    again = served.http.get("/api/v1/machines", headers={**headers, "If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    assert [len(answer.headers.get_list("date")) for answer in (first, again)] == [1, 1]


def test_the_console_is_plain_and_its_owners_alone(served: Served, ctx: Context, alice: Caller, bob: Caller) -> None:
    machine = ready_machine(ctx, alice, "one")
    path = "/api/v1/machines/one/console"
    assert served.http.get(path, headers=served.as_(alice)).text == ""
    log = ctx.config.home / "console" / f"{machine.id}.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * 70_000 + b"\n\x1b[0;32m  OK  \x1b[0m Started\r\nlogin: \xff\n")
    answer = served.http.get(path, headers=served.as_(alice))
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "  OK   Started\nlogin: \ufffd\n"
    assert served.http.get(path, headers=served.as_(bob)).status_code == 404
    assert served.http.get(f"{path}?kib=0", headers=served.as_(alice)).status_code == 422


def test_a_console_of_one_line_of_100_mb_costs_what_is_looked_at(served: Served, ctx: Context, alice: Caller) -> None:
    """Holes are zeros; at the end stands what a guest wrote to show something else than it is."""
    machine = ready_machine(ctx, alice, "one")
    log = ctx.config.home / "console" / f"{machine.id}.log"
    log.parent.mkdir()
    evil = b"\x1b]0;title\x07\x1b[31m\xff\xc3" + "\u202eend".encode()
    with log.open("wb") as file:
        file.truncate(100 << 20)
        file.seek(0, 2)
        file.write(b"y" * 70_000 + evil)
    headers = served.as_(alice)
    served.http.get("/api/v1/machines/one/console?kib=1", headers=headers)
    tracemalloc.start()
    try:
        answer = served.http.get("/api/v1/machines/one/console", headers=headers)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.text == "y" * (MAX_BYTES - len(evil)) + "\ufffd\ufffdend"
    assert most < 8 << 20, "of the whole process, the test's client included"
    with log.open("ab") as file:
        file.write(b"\n")
    ended = served.http.get("/api/v1/machines/one/console", headers=headers).text
    assert ended.rstrip("\n").endswith("yyy\ufffd\ufffdend"), "its end does not hide it"


def client_wheel(folder: Path) -> Path:
    """The wheel as set-up makes it, by this environment's own pip and setuptools."""
    runner, tools = Runner(folder / "build.log", folder, os.environ), Path(sys.prefix)
    return Builder(runner, Environments(runner, tools, folder / "pip"), tools, folder).client(lambda _: None)


def test_the_client_is_installed_from_the_controller_alone(served: Served, ctx: Context, tmp_path: Path) -> None:
    wheels = ctx.config.home / "wheels"
    wheels.mkdir()
    path = Path(shutil.copy(client_wheel(tmp_path), wheels))
    (wheels / "other-1-py3-none-any.whl").write_bytes(b"PK")
    assert served.http.get("/cli/").text.count("href=") == 1
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), f"{served.url}/cli/{path.name}"], check=True)
    code = "import garage.cli; print(garage.cli.__file__); garage.cli.main()"
    argv = [sys.executable, "-c", code, "--version"]
    done = subprocess.run(
        argv, env={"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.startswith(f"{tmp_path}/site/garage/cli.py")
    assert not (tmp_path / "site" / "garage" / "services").exists()
    for missing in ("/cli/other-1-py3-none-any.whl", "/cli/..%2fgarage.db", "/cli/garage_cli-9-py3-none-any.whl"):
        assert served.http.get(missing).status_code == 404


def test_the_log_has_no_secret(served: Served, alice: Caller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    headers = served.as_(alice)
    served.http.get("/api/v1/me?token=hunter2", headers=headers)
    served.http.get("/welcome/very-secret-link")
    served.http.get("/x%0Ainjected")

    def text() -> str:
        ours = [record for record in caplog.records if record.name.startswith(("garage", "uvicorn"))]
        return "\n".join(record.getMessage() for record in ours)

    wait_until(lambda: "/x%0Ainjected 404" in text())
    assert "/api/v1/me 422" in text()  # who puts a token there is told that it is not taken there
    for secret in ("hunter2", "very-secret-link", headers["Authorization"].split()[1]):
        assert secret not in text()


def test_what_a_log_line_shows() -> None:
    assert shown(b"/welcome/abc?x=1") == "/welcome/…"
    for path in (b"//welcome/abc", b"/%77elcome/abc", b"/welcome%2Fabc", b"/welcome/a%0Abc"):
        assert shown(path) == "/welcome/…"
    assert shown(b"/machines/one?q=2") == "/machines/one"


def test_every_code_that_the_gateway_uses_exists() -> None:
    assert {"ssh_failed", "quota_exceeded", "wrong_state", "too_large", "timeout"} <= set(KINDS)
