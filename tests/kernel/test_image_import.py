"""From a stranger's file to a stored image, with the real tools: what is taken, what is refused, and what a tool may do meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import lzma
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from garage.core.outward import make_guard
from garage.errors import GarageError
from garage.shell.image_import import Order, make_image, upload_path
from garage.shell.images import Manifest, verify
from garage.shell.node_images import LocalImages
from garage.shell.sandbox import Limits, run_confined
from tests.hostileimages import HOSTILE, image
from tests.inproc.served import wait_until

pytestmark = pytest.mark.kernel
GUARD = make_guard([], [], [])
TASK = "0123456789abcdef0123"
MOST = 64 << 20


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    for path in (tmp_path, *tmp_path.parents[:-1]):
        if path.owner() == "root" and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o011)
    (tmp_path / "uploads").mkdir()
    return tmp_path


@pytest.fixture
def disk(home: Path) -> bytes:
    """A raw disk of 6 MiB with something on it."""
    return b"something" + os.urandom(100_000) + bytes((6 << 20) - 100_009)


def qcow2(home: Path, raw: bytes, *options: str) -> bytes:
    (home / "given.raw").write_bytes(raw)
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, home / "given.raw", home / "given.qcow2"]
    subprocess.run(argv, check=True)
    return (home / "given.qcow2").read_bytes()


def brought(
    home: Path,
    file: bytes,
    kind: str = "qcow2",
    *,
    sha256: str = "",
    told: Callable[[str, int, int], None] = lambda _step, _done, _total: None,
    reserve: int = 0,
) -> Manifest:
    upload_path(home, TASK).write_bytes(file)
    order = Order(TASK, "mine", "", sha256 or hashlib.sha256(file).hexdigest(), kind, "bios")
    return make_image(order, home=home, guard=GUARD, told=told, reserve=reserve, most=MOST)


def refused(home: Path, file: bytes, kind: str = "qcow2", **more: str) -> str:
    """Why; nothing is left of it."""
    with pytest.raises(GarageError) as error:
        brought(home, file, kind, **more)  # type: ignore[arg-type]
    assert not list((home / "work").iterdir())
    assert not (home / "images").exists()
    return str(error.value.params.get("why") or error.value.code)


FORMS: dict[str, tuple[str, Callable[[Path, bytes], bytes]]] = {
    "raw": ("raw", lambda _, raw: raw),
    "raw.gz": ("raw", lambda _, raw: gzip.compress(raw)),
    "raw.xz": ("raw", lambda _, raw: lzma.compress(raw)),
    "raw.zst": ("raw", lambda _, raw: subprocess.run(["zstd", "-c"], input=raw, capture_output=True, check=True).stdout),
    "qcow2": ("qcow2", qcow2),
    "qcow2, compressed": ("qcow2", lambda home, raw: qcow2(home, raw, "-c")),
    "qcow2, zstd": ("qcow2", lambda home, raw: qcow2(home, raw, "-c", "-o", "compression_type=zstd")),
    "qcow2 of old": ("qcow2", lambda home, raw: qcow2(home, raw, "-o", "compat=0.10")),
    "qcow2.xz": ("qcow2", lambda home, raw: lzma.compress(qcow2(home, raw))),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_an_image_comes_whole_in_any_form(form: str, home: Path, disk: bytes) -> None:
    kind, make = FORMS[form]
    steps: list[str] = []
    made = brought(home, make(home, disk), kind, told=lambda step, _done, _total: steps.append(step))
    folder = home / "images" / made.sha256
    verify(home / "images", made.sha256)
    assert (made.boot, made.initrd, made.virtual_bytes, made.bytes) == (
        "bios",
        "own",
        len(disk),
        (folder / "disk.qcow2").stat().st_size,
    )
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "disk.qcow2": 0o444,
        "manifest.json": 0o444,
    }
    (home / "again.raw").write_bytes(disk)
    subprocess.run(
        ["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", home / "again.raw", folder / "disk.qcow2"], check=True
    )
    subprocess.run(["qemu-img", "check", "-q", folder / "disk.qcow2"], check=True)
    assert steps[0] == "check"
    assert not list((home / "work").iterdir())
    store = LocalImages(home)
    assert store.present() == {made.sha256}
    store.remove(made.sha256)
    assert not list((home / "images").iterdir())


def test_the_same_file_of_two_people_is_two_images(home: Path, disk: bytes) -> None:
    file = qcow2(home, disk)
    first = brought(home, file)
    upload_path(home, "f" * 20).write_bytes(file)
    order = Order("f" * 20, "theirs", "", hashlib.sha256(file).hexdigest(), "qcow2", "uefi")
    second = make_image(order, home=home, guard=GUARD, told=lambda *_: None, reserve=0, most=MOST)
    assert first.sha256 != second.sha256
    assert first.source_sha256 == second.source_sha256


@pytest.mark.parametrize("name", HOSTILE)
def test_no_tool_opens_a_hostile_image(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the whole way of a file that comes: no program runs before it is refused."""
    started: list[object] = []

    def start(argv: object, *_: object, **__: object) -> None:
        started.append(argv)
        raise AssertionError(f"{argv} was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    why, make = HOSTILE[name]
    assert refused(home, make()) == why
    assert not started


def test_what_is_not_what_it_should_be_is_refused_and_nothing_is_left(home: Path, disk: bytes) -> None:
    assert refused(home, disk, "raw", sha256="0" * 64) == "sha256"
    assert refused(home, disk, "qcow2") == "not_qcow2"
    assert refused(home, qcow2(home, disk), "raw") == "not_raw"
    assert refused(home, gzip.compress(image(crypt=2))) == "encrypted"
    assert refused(home, lzma.compress(HOSTILE["another file beneath"][1]())) == "backing_file"
    assert refused(home, gzip.compress(gzip.compress(disk)), "raw") == "size"
    assert refused(home, disk[:-1], "raw") == "size"
    assert refused(home, b"", "raw") == "size"
    for other in (b"KDMV", b"vhdxfile", b'# Disk DescriptorFile\nRW 2 FLAT "/etc/shadow" 0\n'):
        assert refused(home, other + bytes(1024 - len(other)), "raw") == "not_raw"


def test_a_bomb_is_defused(home: Path) -> None:
    """Compressed to a thousandth, it would fill the disk."""
    assert refused(home, gzip.compress(bytes(2 * MOST)), "raw") == "too_large"
    assert refused(home, lzma.compress(bytes(2 * MOST)), "raw") == "too_large"
    zstd = subprocess.run(["zstd", "-c"], input=bytes(2 * MOST), capture_output=True, check=True).stdout
    assert refused(home, zstd, "raw") == "too_large"
    broken = bytearray(gzip.compress(os.urandom(5000)))
    broken[2000:2010] = bytes(10)
    assert refused(home, bytes(broken), "raw") == "tool_failed"


def test_tables_that_lead_nowhere_end_in_an_error(home: Path) -> None:
    """The header is sound, what it points to is not: that is QEMU's to find out, in its sandbox."""
    file = bytearray(image())
    file[3 << 16 : (3 << 16) + 8] = (1 << 63 | 1 << 40 | 512).to_bytes(8, "big")
    assert refused(home, bytes(file)) == "tool_failed"


def test_an_upload_is_a_plain_file_or_nothing(home: Path, disk: bytes) -> None:
    (home / "secret").write_bytes(disk)
    order = Order(TASK, "mine", "", hashlib.sha256(disk).hexdigest(), "raw", "bios")
    path = upload_path(home, TASK)
    for make in (
        lambda: path.symlink_to(home / "secret"),
        lambda: path.hardlink_to(home / "secret"),
        lambda: os.mkfifo(path),
        lambda: None,
    ):
        make()
        with pytest.raises(GarageError, match="uploaded file"):
            make_image(order, home=home, guard=GUARD, told=lambda *_: None, reserve=0)
        path.unlink(missing_ok=True)


def test_what_is_called_off_ends_and_leaves_nothing(home: Path, disk: bytes) -> None:
    def told(step: str, _done: int, _total: int) -> None:
        if step == "check":
            raise GarageError("version_conflict", "called off")

    with pytest.raises(GarageError, match="called off"):
        brought(home, disk, "raw", told=told)
    assert not list((home / "work").iterdir())


def test_machines_keep_the_room_that_is_theirs(home: Path, disk: bytes) -> None:
    """However small the file is that comes."""
    free = os.statvfs(home).f_bavail * os.statvfs(home).f_frsize
    with pytest.raises(GarageError) as error:
        brought(home, gzip.compress(disk), "raw", reserve=free + (1 << 40))
    assert error.value.code == "disk_full"
    assert not list((home / "work").iterdir())


# --- the sandbox -----------------------------------------------------------------------------------------------------


def confined(folder: Path, script: str, **limits: int) -> GarageError | None:
    folder.chmod(0o777)
    try:
        run_confined(["python3", "-I", "-c", script], folder, Limits(**limits), lambda: None)  # type: ignore[arg-type]
    except GarageError as error:
        return error
    return None


def test_a_tool_reaches_nobody_and_may_do_nothing(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        said = confined(home, f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)")
    assert said is not None
    assert "unreachable" in said.message or "refused" in said.message.lower()
    status = "import os; s = open('/proc/self/status').read(); assert os.getuid() == 65534, os.getuid(); assert not os.getgroups(); "
    assert confined(home, status + "assert 'CapEff:\\t0000000000000000' in s; assert 'NoNewPrivs:\\t1' in s") is None
    assert confined(home, "import os; os.setuid(0)") is not None
    assert confined(home, "open('/etc/shadow')") is not None


def test_a_tool_that_takes_too_much_is_ended(home: Path) -> None:
    memory = confined(home, "x = bytearray(400 << 20)", memory=200 << 20)
    assert memory is not None
    assert memory.code == "tool_failed"
    file = confined(home, "f = open('big', 'wb')\nfor _ in range(4): f.write(bytes(1 << 20)); f.flush()", file=1 << 20)
    assert file is not None
    assert file.params["why"] == "too_large"
    busy = confined(home, "while True: pass", processor=1)
    assert busy is not None
    assert busy.code == "timeout"


def test_what_a_tool_started_ends_with_it(home: Path) -> None:
    """Also one that has left its process group."""
    writes = "import time\nwhile True: time.sleep(0.05); open('alive', 'a').write('x')"
    starts = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-I', '-c', {writes!r}], start_new_session=True)"
    script = f"{starts}; time.sleep(0.3)"
    assert confined(home, script) is None
    size = (home / "alive").stat().st_size if (home / "alive").exists() else 0
    subprocess.run(["sleep", "0.5"], check=True)
    assert ((home / "alive").stat().st_size if (home / "alive").exists() else 0) == size


HOLDS = "import fcntl, time; file = open('held', 'w'); fcntl.flock(file, fcntl.LOCK_EX); open('begun', 'w'); time.sleep(600)"
WORKER = """
import pathlib, sys
from garage.shell.sandbox import Limits, run_confined
run_confined(["python3", "-I", "-c", sys.argv[1]], pathlib.Path.cwd(), Limits(), lambda: None)
"""


def test_a_tool_ends_with_the_worker_that_is_killed(home: Path) -> None:
    home.chmod(0o777)
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, HOLDS], cwd=home, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    wait_until((home / "begun").exists, 60)
    worker.kill()
    worker.wait()
    with (home / "held").open() as file:
        wait_until(lambda: free(file), 60)


def free(file: IO[str]) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
