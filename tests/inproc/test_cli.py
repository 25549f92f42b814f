"""The `garage` command as a process of its own against the real app: tables, JSON, exit codes, sign-in, trust, both languages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from garage.client import lease, openssh, profiles, tls
from garage.client.errors import ClientError
from garage.client.state import Cli
from garage.core.states import Event
from garage.errors import KINDS, GarageError
from garage.services import api_tokens, keys, machines
from garage.services.context import Caller, Context
from garage.shell.tls import fingerprint, make_certificate
from tests.conftest import ALICE_KEY, Clock
from tests.inproc.served import Served, play, ready_machine, serving, wait_until

REPO = Path(__file__).parents[2]


class Shell:
    """Somebody's terminal with a home of its own."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.environment = {
            **{
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "PYTHONPATH": str(REPO),
                "LANG": "C.UTF-8",
                "TZ": "Asia/Tokyo",
            },
            **environment,
        }

    def __call__(self, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "garage.cli", *words]
        environment = self.environment | more
        return subprocess.run(argv, env=environment, input=stdin, capture_output=True, text=True, timeout=40)

    def json(self, *words: str) -> object:
        done = self(*words, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def served(ctx: Context, admin: Caller) -> Iterator[Served]:
    with serving(ctx) as running:
        yield running


@pytest.fixture
def shell(served: Served, alice: Caller, tmp_path: Path) -> Shell:
    home = tmp_path / "alice"
    home.mkdir()
    return Shell(home, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(alice))


def test_signing_in_and_out(served: Served, ctx: Context, alice: Caller, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    alone = shell("machine", "list", GARAGE_HOME=str(tmp_path))
    assert alone.returncode == KINDS["not_signed_in"].exit
    assert "garage login" in alone.stderr
    wrong = shell("login", served.url, "--name", "alice", "--password-stdin", stdin="nonsense\n")
    assert (wrong.returncode, wrong.stderr.splitlines()[0]) == (4, "garage: name or password is wrong")
    done = shell("login", served.url, "--name", "alice", "--password-stdin", stdin="password of alice\n")
    assert done.stdout == f"Signed in to {served.url} as alice.\n"
    saved = tmp_path / ".config" / "garage" / "config.toml"
    assert saved.stat().st_mode & 0o777 == 0o600
    assert "password" not in saved.read_text()
    assert shell.json("status")["me"]["name"] == "alice"  # type: ignore[index]
    assert len(api_tokens.listing(ctx, alice)) == 1
    assert shell("logout").returncode == 0
    assert api_tokens.listing(ctx, alice) == []
    assert shell("status", GARAGE_HOME=str(tmp_path)).returncode == 4


def test_a_token_from_standard_input(served: Served, alice: Caller, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert shell("login", served.url, "--token-stdin", stdin=f"{served.token(alice)}\n").returncode == 0
    assert shell.json("status")["me"]["name"] == "alice"  # type: ignore[index]
    assert shell("--profile", "nowhere", "status").returncode == KINDS["not_found"].exit


def test_the_servers_own_admin_needs_no_login(served: Served, ctx: Context, admin: Caller, tmp_path: Path) -> None:
    home = tmp_path / "server"
    home.mkdir()
    (home / "admin.token").write_text(served.token(admin) + "\n")
    (home / "garage.toml").write_text(f'listen = "{served.url.removeprefix("http://")}"\n')
    assert Shell(tmp_path, GARAGE_HOME=str(home)).json("status")["me"]["name"] == "root-admin"  # type: ignore[index]


def test_a_self_signed_certificate_is_pinned_and_a_changed_one_refused(
    ctx: Context, admin: Caller, alice: Caller, tmp_path: Path
) -> None:
    key_folder = ctx.config.home / "keys"
    key_folder.mkdir()

    def renew() -> str:
        certificate, key = make_certificate("0.0.0.0")
        (key_folder / "tls.crt").write_bytes(certificate)
        (key_folder / "tls.key").write_bytes(key)
        return fingerprint(certificate)

    shown, shell = renew(), Shell(tmp_path)
    secret = api_tokens.create(ctx, alice, "t")[1]

    def login(url: str, *more: str) -> subprocess.CompletedProcess[str]:
        return shell("login", url, "--token-stdin", *more, stdin=f"{secret}\n")

    with serving(ctx, listen="127.0.0.2:0") as running:
        url = running.url.replace("127.0.0.1", "127.0.0.2")
        assert url.startswith("https://")
        refused = login(url)
        assert refused.returncode == KINDS["forbidden"].exit
        assert shown in refused.stderr
        assert secret not in refused.stderr
        assert login(url, "--fingerprint", "sha256:" + "0" * 64).returncode == KINDS["forbidden"].exit
        direct = {"GARAGE_URL": url, "GARAGE_TOKEN": secret}
        assert shell("status", **direct, GARAGE_FINGERPRINT=shown).returncode == 0
        assert shell("status", **direct, GARAGE_FINGERPRINT="sha256:" + "0" * 64).returncode == KINDS["forbidden"].exit
        assert shell("status", **direct, GARAGE_CA=str(key_folder / "tls.crt")).returncode == 0
        assert login(url, "--fingerprint", shown.upper().replace("SHA256:", "")).returncode == 0
        assert shell("status").returncode == 0
    renew()
    with serving(ctx, listen=url.removeprefix("https://")):
        changed = shell("status")
        assert changed.returncode == KINDS["forbidden"].exit
        assert "--fingerprint" in changed.stderr
        assert login(url).returncode == KINDS["forbidden"].exit


def test_passwords_never_travel_in_clear() -> None:
    for url in ("http://garage.example:8080", "ftp://x", "https://user@x", "https://x/path", ""):
        with pytest.raises(ClientError):
            profiles.check_url(url)
    assert profiles.check_url("garage.example:8443") == "https://garage.example:8443"
    assert profiles.check_url("http://[::1]:8080/") == "http://[::1]:8080"


def test_creating_shows_progress_and_ends_with_the_ssh_line(shell: Shell, ctx: Context, alice: Caller) -> None:
    def worker() -> None:
        wait_until(lambda: machines.listing(ctx, alice).items, 20)
        made = machines.listing(ctx, alice).items[0].id
        time.sleep(0.3)
        play(ctx, made, Event.STARTED)
        time.sleep(0.3)
        play(ctx, made, Event.ANSWERED)

    threading.Thread(target=worker, daemon=True).start()
    done = shell("machine", "create", "one", "--size", "tiny", "--days", "2")
    assert (done.returncode, done.stdout) == (0, "garage ssh one\n"), done.stderr
    words = [line.split("s  ")[1] for line in done.stderr.splitlines()]
    assert words == ["preparing", "booting", "ready"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "Its user-data may still be at work; this waits for the end: garage ssh one -- cloud-init status --wait"),
        (
            ("--count", "2"),
            "Their user-data may still be at work; on each, this waits for the end: cloud-init status --wait",
        ),
    ],
)
def test_ready_is_not_the_end_of_user_data(
    shell: Shell, ctx: Context, alice: Caller, tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    def worker() -> None:
        wait_until(lambda: machines.listing(ctx, alice).items, 20)
        for view in machines.listing(ctx, alice).items:
            play(ctx, view.id, Event.STARTED, Event.ANSWERED)

    (tmp_path / "given").write_text("#cloud-config\npackages: [jq]\n")
    threading.Thread(target=worker, daemon=True).start()
    done = shell("machine", "create", "one", "--user-data", str(tmp_path / "given"), *more)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, said), done.stderr


def test_a_failed_boot_says_why_with_its_exit_code(shell: Shell, ctx: Context, alice: Caller) -> None:
    from garage.db.models import Machine
    from garage.services.transitions import fire

    def worker() -> None:
        wait_until(lambda: machines.listing(ctx, alice).items, 20)
        with ctx.db.write() as session:
            row = session.get_one(Machine, machines.listing(ctx, alice).items[0].id)
            fire(session, ctx, row, Event.STARTED)
            error = GarageError("boot_failed", "one did not boot", hint="look at its console")
            fire(session, ctx, row, Event.ERROR, error=error)
            row.console_tail = "Kernel panic"

    threading.Thread(target=worker, daemon=True).start()
    done = shell("machine", "create", "one")
    assert done.returncode == KINDS["boot_failed"].exit
    assert "Kernel panic\ngarage: one did not boot\n  → look at its console\n" in done.stderr


def test_machines_as_table_and_as_json(shell: Shell, ctx: Context, alice: Caller) -> None:
    assert "garage machine create" in shell("machine", "list").stderr
    ready_machine(ctx, alice, "one")
    lines = shell("machine", "list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "ADDRESS", "SIZE", "IMAGE", "TAGS", "LEASE", "LEFT"]
    assert lines[1].split()[:5] == ["one", "ready", "127.0.0.1", "tiny", "debian-12"]
    assert "\x1b" not in lines[0]
    items = shell.json("machine", "list")["items"]  # type: ignore[index]
    assert [item["name"] for item in items] == ["one"]
    shown = shell("machine", "show", "one").stdout
    assert "garage ssh one" in shown
    assert "one.alice.home.garage.internal" in shown
    assert shell("machine", "sizes").stdout.split()[:4] == ["NAME", "VCPU", "MEMORY", "DISK"]
    assert shell("machine", "renew", "one", "--days", "10").returncode == 0
    assert shell.json("machine", "stop", "one", "--no-wait")["state"] == "stopping"  # type: ignore[index]
    unanswered = shell("machine", "delete", "one")
    assert unanswered.returncode == 2
    assert "--yes" in unanswered.stderr
    assert shell("machine", "delete", "one", stdin="n\n").returncode == 130
    assert shell("machine", "delete", "one", "--yes").stdout == "one: deleting\n"


def test_a_lease_that_ends_soon_or_is_over_is_told_apart_from_the_answer(
    shell: Shell, ctx: Context, alice: Caller, clock: Clock, tmp_path: Path
) -> None:
    from garage.db.models import Machine

    clock.now = time.time()  # the command goes by this computer's clock
    hours = {"fresh": 150.0, "soon": 5.5, "over": -2.0}
    for number, (name, left) in enumerate(hours.items()):
        made = ready_machine(ctx, alice, name, f"127.0.0.{number + 1}")
        with ctx.db.write() as session:
            row = session.get_one(Machine, made.id)
            row.lease_until = clock.now + left * 3600
            row.lease_warned, row.lease_ended_at = left < 24, row.lease_until if left < 0 else None

    listed = shell("machine", "list")
    over, renew_over, soon, renew_soon = listed.stderr.splitlines()
    assert over.startswith("garage: the lease of over ended 20")
    assert " JST; unless it is renewed, the machine is deleted 20" in over
    assert (renew_over, renew_soon) == ("  → garage machine renew over", "  → garage machine renew soon")
    assert soon.startswith("garage: the lease of soon ends 20")
    assert ", in 5 h " in soon
    assert "lease of" not in listed.stdout
    assert shell("machine", "show", "soon").stderr.splitlines()[1] == "  → garage machine renew soon"
    assert shell("machine", "show", "fresh").stderr == ""
    for words in (("list",), ("show", "soon")):
        programs = shell("machine", *words, "-o", "json")
        assert (json.loads(programs.stdout) is not None, programs.stderr) == (True, "")
    japanese = shell("machine", "show", "soon", LANG="ja_JP.UTF-8").stderr
    assert japanese.startswith("garage: soon の期限は 20")
    assert "（あと5時間" in japanese
    assert shell("machine", "renew", "soon").returncode == 0
    assert shell("machine", "show", "soon").stderr == ""
    fake = tmp_path / "ssh"
    fake.write_text("#!/bin/sh\necho logged in\n")
    fake.chmod(0o755)
    path = f"{tmp_path}:{shell.environment['PATH']}"
    done = shell("ssh", "-i", "key", "over", PATH=path)
    assert (done.returncode, done.stdout) == (0, "logged in\n"), done.stderr
    assert done.stderr.splitlines() == [over, renew_over]


def test_a_long_list_of_leases_is_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    machine = {"project": "alice", "owner": "alice", "state": "ready", "lease_warned": True}
    times = {"lease_until": "2020-01-01T00:00:00.000Z", "deletes_at": "2020-01-04T00:00:00.000Z"}
    items = [{"name": f"m{number}", **machine, **times} for number in range(8)]
    gone = {"name": "x", **machine, **times, "state": "deleting"}
    lease.warn(Cli(), [*items, gone])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 * lease.SHOWN + 1
    assert lines[-1] == "garage: the leases of 3 more end soon or are over"


def test_errors_are_told_twice(shell: Shell) -> None:
    people = shell("machine", "show", "nothing")
    assert people.returncode == KINDS["not_found"].exit
    assert people.stdout == ""
    assert people.stderr.startswith("garage: there is no machine nothing\n  → ")
    programs = shell("-o", "json", "machine", "show", "nothing")
    assert json.loads(programs.stderr)["code"] == "not_found"
    japanese = shell("machine", "show", "nothing", LANG="ja_JP.UTF-8")
    assert japanese.returncode == KINDS["not_found"].exit
    assert shell("machine", "create", "Bad_Name").returncode == KINDS["invalid_field"].exit
    for days in ("x", "nan", "inf", "0"):
        assert shell("machine", "create", "--days", days).returncode == 2
    away = shell("status", GARAGE_URL="http://127.0.0.1:9")
    assert away.returncode == KINDS["unavailable"].exit
    denied = shell("ssh", "nothing", "true")
    assert denied.returncode == KINDS["not_found"].exit


def test_people_keys_tokens_projects(shell: Shell, served: Served, ctx: Context, admin: Caller, tmp_path: Path) -> None:
    path = tmp_path / "id.pub"
    path.write_text(ALICE_KEY)
    assert shell("key", "add", str(path)).stdout.startswith("Registered laptop (SHA256:")
    assert "laptop" in shell("key", "list").stdout
    assert shell("key", "delete", "laptop").returncode == 0
    token = shell("token", "create", "ci", "--days", "3").stdout.strip()
    assert Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=token).json("status")["me"]["name"] == "alice"  # type: ignore[index]
    root = Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(admin))
    assert "/welcome/" in root("user", "invite", "carol").stdout
    assert "invited" in root("user", "list").stdout
    assert root("user", "disable", "carol").returncode == 0
    assert shell("user", "list").returncode == KINDS["forbidden"].exit
    assert shell("project", "create", "lab").returncode == 0
    assert "root-admin" in shell("project", "member", "add", "lab", "root-admin", "--role", "owner").stdout
    assert "0 / 3" in root("project", "quota", "lab", "--machines", "3").stdout
    assert shell("project", "member", "remove", "lab", "root-admin").returncode == 0
    assert shell("project", "delete", "lab").returncode == 0
    assert "alice" in shell("project", "list").stdout
    for words in (
        ("image", "list"),
        ("node", "list"),
        ("audit", "list"),
        ("token", "list"),
        ("project", "show", "alice"),
    ):
        assert shell(*words).stdout.strip()
        assert shell.json(*words)


def test_the_console_comes_without_escape_codes(shell: Shell, ctx: Context, alice: Caller) -> None:
    machine = ready_machine(ctx, alice, "one")
    log = ctx.config.home / "console" / f"{machine.id}.log"
    log.parent.mkdir()
    log.write_bytes(b"\x1b[32mlogin:\x1b[0m\n")
    assert shell("machine", "console", "one").stdout == "login:\n"


def test_japanese(shell: Shell, ctx: Context, alice: Caller) -> None:
    ready_machine(ctx, alice, "one")
    words = shell("machine", "list", LANG="ja_JP.UTF-8").stdout
    assert "名前" in words
    assert "使えます" in words
    assert "機械を作って使う" in shell("--help", LANG="ja_JP.UTF-8").stdout
    commands = shell("machine", "--help", LANG="ja_JP.UTF-8").stdout.split("Commands:")[1].splitlines()
    assert len(commands) > 20
    assert not [line for line in commands if line.endswith("...")], "a text without spaces is not cut"


def test_a_repeated_mutation_happens_once(served: Served, ctx: Context, alice: Caller) -> None:
    """A connection that breaks after the request was sent is tried again with the same key."""
    import httpx

    from garage.client.api import Api

    api = Api(profiles.Profile("x", served.url, served.token(alice)))
    inner, broken = api._http._transport.handle_request, []  # type: ignore[attr-defined]

    def breaks_once(request: httpx.Request) -> httpx.Response:
        answer = inner(request)
        if not broken:
            broken.append(True)
            answer.read()
            raise httpx.ReadError("connection reset")
        return answer

    api._http._transport.handle_request = breaks_once  # type: ignore[method-assign]
    assert api.post("/machines", {"name": "once"})["name"] == "once"
    assert broken
    assert len(machines.listing(ctx, alice).items) == 1


def test_help_and_proxy_start_quickly(tmp_path: Path) -> None:
    began = time.monotonic()
    done = Shell(tmp_path)("--help")
    print(f"garage --help in {time.monotonic() - began:.2f} s")
    assert "proxy" not in done.stdout
    code = "import sys; import garage.cli, garage.client.proxy, garage.client.commands.ssh; print([m for m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO).stdout
    for heavy in ("httpx", "rich", "sqlalchemy", "flask", "'websockets"):
        assert heavy not in loaded


def test_the_agent_and_files_are_searched_for_keys(shell: Shell, ctx: Context, alice: Caller) -> None:
    (shell.home / ".ssh").mkdir()
    (shell.home / ".ssh" / "id_ed25519.pub").write_text(ALICE_KEY)
    assert shell("ssh-config").returncode == 0
    assert [key.public_key for key in keys.listing(ctx, alice)] == [ALICE_KEY]
    text = shell("ssh-config").stdout
    assert text.startswith("Host *.garage\n  User debian\n  ProxyCommand ")
    assert "StrictHostKeyChecking yes" in text
    assert len(keys.listing(ctx, alice)) == 1


@pytest.mark.parametrize(
    ("words", "options", "destination", "command"),
    [
        (["one"], (), "debian@one", ()),
        (["root@one.lab", "ls", "-l"], (), "root@one.lab", ("ls", "-l")),
        (["-L", "80:x:80", "-N", "one"], ("-L", "80:x:80", "-N"), "debian@one", ()),
        (["-vNL80:x:80", "one", "-A", "--", "-x"], ("-vNL80:x:80", "-A"), "debian@one", ("-x",)),
        (["-l", "me", "one", "--", "a", "--", "b"], ("-l", "me"), "one", ("a", "--", "b")),
        (["-oBatchMode=yes", "ONE.garage", "-p", "22"], ("-oBatchMode=yes", "-p", "22"), "debian@one", ()),
    ],
)
def test_an_ssh_line_is_read_as_ssh_reads_it(
    words: list[str], options: tuple[str, ...], destination: str, command: tuple[str, ...]
) -> None:
    line = openssh.split(words)
    assert (line.options, line.destination, line.command) == (options, destination, command)


@pytest.mark.parametrize("words", [[], ["-v"], ["../x"], ["-L"], ["a b"], ["--", "x/y"], ["%n"], ["$(x)"]])
def test_what_is_no_machine_is_refused(words: list[str]) -> None:
    with pytest.raises(ClientError):
        openssh.split(words)


def test_scp_lines() -> None:
    words = ["-r", "-P", "22", "file", "one:dir", "root@two.lab:/x", "./a:b", "/c:d"]
    assert openssh.remotes(words) == ["one", "two.lab"]
    assert openssh.named(words)[3:] == ["file", "debian@one:dir", "root@two.lab:/x", "./a:b", "/c:d"]


def test_the_configuration_quotes_what_ssh_would_read() -> None:
    text = openssh.config_text(["/opt/my venv/garage"], Path("/home/50%/known"), [])
    assert "ProxyCommand '/opt/my venv/garage' proxy %n" in text
    assert 'UserKnownHostsFile "/home/50%%/known/%k"' in text


def test_profiles_survive_a_round_trip(tmp_path: Path) -> None:
    saved = {"a.b:1": profiles.Profile("a.b:1", "https://a.b:1", 'to"k\\en', "利用者", certificate="-----\nline\n")}
    profiles.write_all(tmp_path / "c.toml", "a.b:1", saved)
    assert profiles.read_all(tmp_path / "c.toml") == ("a.b:1", saved)


def test_a_fingerprint_is_compared_forgivingly() -> None:
    certificate = make_certificate("garage.example")[0].decode()
    shown = tls.fingerprint(certificate)
    assert shown == fingerprint(certificate.encode())
    assert tls.same_fingerprint(":".join(shown[7:][i : i + 2] for i in range(0, 64, 2)).upper(), certificate)
    assert not tls.same_fingerprint(shown[:-1], certificate)
    assert not tls.same_fingerprint("", certificate)
