"""Set-up: what is done again and what is not, what survives an interruption, what a service's environment holds."""

from __future__ import annotations

import io
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from garage_setup import lockfiles
from garage_setup.checks import check
from garage_setup.command import MARK, Runner, end_leftovers, leftovers
from garage_setup.digests import Stamps, of_files, sources
from garage_setup.down import purge
from garage_setup.exclusive import exclusive
from garage_setup.files import link, remove_tree, write
from garage_setup.libvirt import end
from garage_setup.place import CHECKOUT, Place, find
from garage_setup.plan import IMAGE_FILES, REGISTERED, Plan
from garage_setup.problem import DISK_HINT, SetupError, of_system
from garage_setup.screen import Screen
from garage_setup.services import SERVICES, read_environment, service_environment
from garage_setup.steps import Graph, Report, Step, Tell
from garage_setup.systemd import unit_text

from garage.shell.images import FILES


def _runner(home: Path) -> Runner:
    return Runner(home / "log" / "setup.log", home, {"HOME": "/root"})


def _run(home: Path, *steps: Step) -> tuple[Report, str]:
    out = io.StringIO()
    with Screen(out) as screen:
        report = Graph(steps, Stamps(home / "stamps.json"), screen, _runner(home)).run()
    return report, out.getvalue()


class Work:
    """A step's work that remembers when it was done."""

    def __init__(self, result: str | None = "made") -> None:
        self.times: list[tuple[float, float]] = []
        self.result = result
        self.seconds = 0.0

    def __call__(self, tell: Tell) -> str | None:
        started = time.monotonic()
        tell("working")
        time.sleep(self.seconds)
        self.times.append((started, time.monotonic()))
        return self.result


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    work = Work()
    first, shown = _run(tmp_path, Step("image", work, (), lambda: "abc"))
    again, silent = _run(tmp_path, Step("image", work, (), lambda: "abc"))
    assert (first.changed, again.changed, len(work.times)) == (True, False, 1)
    assert "image" in shown
    assert silent == ""


def test_what_changed_or_got_lost_is_done_again(tmp_path: Path) -> None:
    work = Work()
    _run(tmp_path, Step("image", work, (), lambda: "abc"))
    _run(tmp_path, Step("image", work, (), lambda: "abd"))
    _run(tmp_path, Step("image", work, (), lambda: "abd", lambda: False))
    assert len(work.times) == 3


def test_an_interrupted_step_is_done_again_and_finished_ones_are_not(tmp_path: Path) -> None:
    tools, image = Work(), Work()

    def interrupted(_tell: Tell) -> str:
        raise KeyboardInterrupt

    one = Step("tools", tools, (), lambda: "1")
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, one, Step("image", interrupted, ("tools",), lambda: "1"))
    _run(tmp_path, one, Step("image", image, ("tools",), lambda: "1"))
    assert (len(tools.times), len(image.times)) == (1, 1)


def test_independent_steps_run_side_by_side_and_dependent_ones_after(tmp_path: Path) -> None:
    left, right, last = Work(), Work(), Work()
    left.seconds = right.seconds = 0.3
    steps = (Step("left", left), Step("right", right), Step("last", last, ("left", "right")))
    _run(tmp_path, *steps)
    assert right.times[0][0] < left.times[0][1]
    assert last.times[0][0] >= max(left.times[0][1], right.times[0][1])


def test_plain_output_has_no_control_characters(tmp_path: Path) -> None:
    _, shown = _run(tmp_path, Step("image", Work(), (), lambda: "abc"))
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_a_failure_carries_the_last_lines_and_the_hint_and_ends_the_others(tmp_path: Path) -> None:
    runner = _runner(tmp_path)

    def wait_long() -> None:
        with pytest.raises(SetupError):
            runner.run(["sleep", "60"])

    slow = threading.Thread(target=wait_long)
    slow.start()
    with pytest.raises(SetupError) as caught:
        runner.run(["sh", "-c", "echo building; echo 'hint: free some disk' >&2; exit 3"])
    runner.cancel()
    slow.join(5)
    assert not slow.is_alive()
    assert (caught.value.hint, "building" in caught.value.tail) == ("free some disk", True)


def test_what_an_interrupted_run_left_is_ended_and_nothing_else(tmp_path: Path) -> None:
    other = tmp_path / "other"
    ours = subprocess.Popen(["sleep", "60"], env={MARK: str(tmp_path)})
    theirs = subprocess.Popen(["sleep", "60"], env={MARK: str(other)})
    try:
        reaper = threading.Thread(target=ours.wait)
        reaper.start()
        assert end_leftovers(tmp_path) == 1
        reaper.join(5)
        assert leftovers(other) == [theirs.pid]
    finally:
        theirs.kill()
        theirs.wait()


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusive(lock, "make up"), pytest.raises(SetupError, match="already running"), exclusive(lock, "make up"):
        pass
    with exclusive(lock, "make up"):
        pass


def test_digests_see_content_and_not_what_is_built(tmp_path: Path) -> None:
    source = tmp_path / "garage"
    write(source / "a.py", "1")
    before = of_files(sources(source))
    write(source / "__pycache__" / "a.pyc", "x")
    write(source / "static" / "vendor" / "htmx.js", "x")
    write(source / "ja" / "messages.mo", "x")
    assert of_files(sources(source)) == before
    write(source / "a.py", "2")
    assert of_files(sources(source)) != before


def test_a_database_password_reaches_the_services_by_a_private_file_and_stays(tmp_path: Path) -> None:
    url = "postgresql://garage:pa$$ w0rd@db/garage"
    assert service_environment(Place(tmp_path, {"GARAGE_DATABASE_URL": url}))
    assert not service_environment(Place(tmp_path, {}))
    path = tmp_path / "service.env"
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_environment(path)["GARAGE_DATABASE_URL"] == url
    shell = subprocess.run(
        ["sh", "-c", f'. {path}; printf %s "$GARAGE_DATABASE_URL"'], capture_output=True, text=True, check=True
    )
    assert shell.stdout == url


@pytest.mark.parametrize("value", ["a'b", "a\nb", "a\\b"])
def test_a_value_that_cannot_be_written_safely_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(SetupError):
        service_environment(Place(tmp_path, {"GARAGE_DATABASE_URL": value}))


def test_a_link_is_replaced_and_a_tree_removed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name / "file", name)
        link(tmp_path / "venv", tmp_path / name)
    assert (tmp_path / "venv" / "file").read_text() == "two"
    remove_tree(tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_home_and_address_come_from_environment_then_settings(tmp_path: Path) -> None:
    write(tmp_path / "garage.toml", 'listen = "127.0.0.1:9000"\ninstance = "abc"\n')
    place = find({"GARAGE_HOME": str(tmp_path)})
    assert (place.instance, place.listen) == ("abc", "127.0.0.1:9000")
    assert find({"GARAGE_HOME": str(tmp_path), "GARAGE_LISTEN": "127.0.0.1:1"}).listen == "127.0.0.1:1"


@pytest.mark.parametrize("name", [service.name for service in SERVICES])
def test_units_are_valid_and_confined(tmp_path: Path, name: str) -> None:
    """The highest exposure by `systemd-analyze security` that each may have."""
    allowed = {"web": 20, "worker": 40, "netd": 75}
    unit = tmp_path / f"garage-abc-{name}.service"
    unit.write_text(unit_text(name, Path("/var/lib/garage"), "abc"))
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={allowed[name]}", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
    assert "@" not in unit.read_text().replace("@system-service", "").replace("@privileged", "").replace(
        "@resources", ""
    )


def test_scripts_are_shellcheck_clean() -> None:
    done = subprocess.run(
        ["shellcheck", "scripts/node-setup", "scripts/run"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_set_up_needs_nothing_but_the_standard_library() -> None:
    names = [path.stem for path in (CHECKOUT / "scripts" / "garage_setup").glob("*.py") if path.stem != "__main__"]
    script = "".join(f"import garage_setup.{name}\n" for name in names)
    done = subprocess.run(
        ["/usr/bin/python3", "-S", "-c", script], cwd=CHECKOUT / "scripts", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_locks_name_no_index_and_no_path() -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-build.txt", "web/package-lock.json"):
        text = (CHECKOUT / name).read_text()
        assert not [word for word in ("://", "file:", "--index", "--find-links", "resolved") if word in text], name


def test_the_registered_image_must_be_there_and_whole(tmp_path: Path) -> None:
    """An older one beside it is no reason to leave a lost one lost."""
    assert IMAGE_FILES == FILES
    stamps = Stamps(tmp_path / "stamps.json")
    image = next(step for step in Plan(Place(tmp_path, {}), _runner(tmp_path), stamps).steps() if step.name == "image")
    for sha256 in ("old", "new"):
        for name in FILES:
            write(tmp_path / "images" / sha256 / name, "x")
    assert not image.holds(), "it is not known which one is registered"
    stamps.set(REGISTERED, "new")
    assert image.holds()
    (tmp_path / "images" / "new" / "vmlinuz").unlink()
    assert not image.holds()
    remove_tree(tmp_path / "images" / "new")
    assert not image.holds()


def test_a_lock_that_fails_leaves_all_lock_files_as_they_were(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", '[project.optional-dependencies]\nbuild = ["babel"]\n')
    for name in (lockfiles.ALL, *lockfiles.SMALL):
        write(tmp_path / name, f"{name} of before\n")
    first_only = '#!/bin/sh\ncase "$*" in *--extra*) echo new==1 ;; *) echo no index >&2; exit 1 ;; esac\n'
    write(tmp_path / ".venv" / "bin" / "uv", first_only, 0o755)
    with pytest.raises(SetupError, match=r"requirements\.txt could not be made") as caught:
        lockfiles.lock(tmp_path)
    assert (caught.value.tail, "index" in caught.value.hint) == ("no index\n", True)
    assert [(tmp_path / name).read_text() for name in (lockfiles.ALL, *lockfiles.SMALL)] == [
        f"{name} of before\n" for name in (lockfiles.ALL, *lockfiles.SMALL)
    ]


def _place(home: Path, **environ: str) -> Place:
    return Place(home, {"GARAGE_LISTEN": "127.0.0.1:0", **environ})


def test_a_folder_of_others_is_refused_and_never_removed(tmp_path: Path) -> None:
    home = tmp_path / "garage"
    write(home / "images" / "holiday.jpg", "x")
    with pytest.raises(SetupError, match="holds other files") as caught:
        check(_place(home))
    assert "of its own" in caught.value.hint
    with pytest.raises(SetupError, match="does not look like a garage"):
        purge(Place(home, {}))
    assert (home / "images" / "holiday.jpg").exists()


@pytest.mark.parametrize("home", ["/garage", "/srv/my garage", "/srv/gärage", "/srv/50%", "/srv/a'b"])
def test_a_folder_that_units_and_scripts_cannot_name_is_refused(home: str) -> None:
    with pytest.raises(SetupError, match="cannot be a garage's folder") as caught:
        check(_place(Path(home)))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("GARAGE_LISTEN", "8080", "is not ADDRESS:PORT"),
        ("GARAGE_LISTEN", "127.0.0.1:0", "is not ADDRESS:PORT"),
        ("GARAGE_LISTEN", "203.0.113.9:8080", "cannot be listened on"),
        ("GARAGE_DEBIAN_MIRROR", "nonsense", "is no mirror's address"),
        ("GARAGE_DATABASE_URL", "mysql://garage:secret@db/garage", "cannot be used"),
        ("GARAGE_DATABASE_URL", "postgresql:garage:secret@db", "cannot be used"),
        ("GARAGE_DATABASE_URL", "sqlite://garage:secret.db", "cannot be used"),
    ],
)
def test_what_the_environment_says_is_checked_first(tmp_path: Path, key: str, value: str, text: str) -> None:
    with pytest.raises(SetupError, match=text) as caught:
        check(_place(tmp_path / "garage", **{key: value}))
    assert caught.value.hint
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["sqlite:////srv/db", "postgresql://garage:secret@db:5433/garage", "postgres:///g?host=/run"]
)
def test_databases_that_can_be_used(tmp_path: Path, url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    check(_place(tmp_path / "garage", GARAGE_DATABASE_URL=url, GARAGE_LISTEN=f"127.0.0.1:{port}"))


def test_an_occupied_port_is_told_with_another_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SetupError, match="already in use") as caught:
        check(_place(tmp_path / "garage", GARAGE_LISTEN=f"127.0.0.1:{other.getsockname()[1]}"))
    assert "GARAGE_LISTEN=" in caught.value.hint


def test_settings_that_cannot_be_read_are_told_with_their_line(tmp_path: Path) -> None:
    write(tmp_path / "garage.toml", 'instance = "abc"\nlisten = = 1\n')
    with pytest.raises(SetupError, match="line 2") as caught:
        check(Place(tmp_path, {}))
    assert caught.value.hint


@pytest.mark.parametrize("said", ["cp: error: No space left on device", "npm error code ENOSPC"])
def test_a_full_disk_is_told_as_such_whoever_met_it(tmp_path: Path, said: str) -> None:
    with pytest.raises(SetupError) as caught:
        _runner(tmp_path).run(["sh", "-c", f"echo {said}; exit 1"], hint="is an index reachable?")
    assert caught.value.hint == DISK_HINT
    with pytest.raises(OSError, match="No space left") as full:
        Path("/dev/full").write_text("x")
    assert of_system(full.value).hint == DISK_HINT


def test_every_failing_command_has_a_hint(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as caught:
        _runner(tmp_path).run(["sh", "-c", "echo nothing useful; exit 1"])
    assert "setup.log" in caught.value.hint


def test_who_is_not_root_and_has_no_sudo_is_told(tmp_path: Path) -> None:
    write(tmp_path / "id", "#!/bin/sh\necho 1000\n", 0o755)
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    words = ["/bin/bash", CHECKOUT / "scripts" / "run", "up"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)})
    assert (done.returncode, done.stderr.count("hint: ")) == (1, 1)
    assert "error: this needs root" in done.stderr


def test_a_daemon_that_will_not_end_is_ended(tmp_path: Path) -> None:
    program = tmp_path / "libvirtd"
    program.symlink_to("/usr/bin/python3")
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([program, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        write(tmp_path / "libvirtd.pid", str(process.pid))
        reaper = threading.Thread(target=process.wait)
        reaper.start()
        end(tmp_path / "libvirtd.pid", patience=0.2)
        reaper.join(5)
        assert process.returncode == -9
