"""The default image on plain QEMU: real build, real boots."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from garage.core.cloud_schema import Found, look
from garage.core.mirror import Mirror
from garage.core.recipe import parse_recipe
from garage.db.models import Machine
from garage.errors import GarageError
from garage.services import image_tasks, images, machines, saving
from garage.services.machines import NewMachine
from garage.services.saving import NewSave
from garage.shell.images import Manifest, build, load, user_data_schema, verify
from garage.worker.importing import Importer
from tests.machine.conftest import IMAGES
from tests.machine.guest import Guest, guest
from tests.realms import open_garage

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900)]

USER_DATA = """#cloud-config
hostname: chosen
users:
  - default
  - name: carol
    shell: /bin/sh
write_files:
  - path: /etc/motd
    content: こんにちは
ssh_authorized_keys:
  - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmKSvnJgmSWEX7zVr/vRUgqAkpqKF0pCN0xzEuLBS1b of-the-user
runcmd:
  - [sh, -c, "id -un > /var/tmp/ran"]
"""
KEYS = "/etc/ssh/authorized_keys.d/debian"


@pytest.fixture(scope="module")
def plain(image_store: tuple[Path, Manifest]) -> Iterator[Guest]:
    """A guest without user-data, its banner seen."""
    with guest(*image_store) as made:
        made.wait_for_banner()
        yield made


@pytest.fixture(scope="module")
def told(image_store: tuple[Path, Manifest]) -> Iterator[Guest]:
    """A guest with user-data, at the end of cloud-init."""
    with guest(*image_store, user_data=USER_DATA) as made:
        made.wait_for_banner()
        assert made.says("cloud-init status --wait | tail -1", seconds=400) == "status: done"
        yield made


def test_the_image_holds_no_identity(image_files: Path) -> None:
    """What is in an image is everybody's."""
    etc = image_files / "etc"
    assert not list((etc / "ssh").glob("ssh_host_*"))
    assert not (etc / "machine-id").exists()
    assert not (etc / "apt/apt.conf.d/99mmdebstrap").exists()
    passwords = [line.split(":")[1] for line in (etc / "shadow").read_text().splitlines()]
    assert all(password.startswith(("*", "!")) for password in passwords)


def test_stored_files_are_what_the_manifest_says(image_store: tuple[Path, Manifest]) -> None:
    store, manifest = image_store
    verify(store, manifest.sha256)
    folder = store / manifest.sha256
    assert Manifest(**json.loads((folder / "manifest.json").read_text())) == manifest
    assert all(path.stat().st_mode & 0o004 for path in (folder, *folder.iterdir())), "QEMU's user must read them"


def test_the_image_says_what_its_cloud_init_takes(image_store: tuple[Path, Manifest]) -> None:
    store, manifest = image_store
    schema = user_data_schema(store, manifest.sha256)
    assert hashlib.sha256(schema.encode()).hexdigest() == manifest.user_data_schema
    assert look(USER_DATA, schema) == Found()
    (wrong,) = look("#cloud-config\nusers: [{name: x, sudoo: y}]\n", schema).wrong
    assert wrong.pointer == "/user_data/users/0/sudoo"
    (old,) = look("#cloud-config\napt_update: true\n", schema).doubtful
    assert old.pointer == "/user_data/apt_update"


def test_vpns_and_containers_find_their_devices(plain: Guest) -> None:
    """The unit that would make them is masked; opening one loads its module."""
    assert plain.says("test -c /dev/fuse && exec 3<>/dev/net/tun && grep -o ^tun /proc/modules") == "tun"


def test_who_it_is(plain: Guest) -> None:
    """The login itself proved the host key: only the seed's is known to ssh here."""
    assert plain.says("hostname; hostname -f").split() == ["vm7", "vm7.alice.home.garage.internal"]
    assert len(plain.says("cat /etc/machine-id")) == 32
    assert plain.says("sudo id -un") == "root"
    assert plain.says("ls /etc/ssh/ssh_host_*").split() == [
        "/etc/ssh/ssh_host_ed25519_key",
        "/etc/ssh/ssh_host_ed25519_key.pub",
    ]


def test_the_disk_is_grown_and_nothing_failed(plain: Guest) -> None:
    assert plain.says("systemctl is-system-running --wait || systemctl --failed --no-legend", seconds=400) == "running"
    assert int(plain.says("df --output=size -BG / | tail -1").rstrip("G")) >= 9
    assert (
        plain.says("systemctl is-active qemu-guest-agent systemd-networkd systemd-timesyncd").split() == ["active"] * 3
    )


def test_its_user_may_ping(plain: Guest) -> None:
    """By a file capability, which an image loses easily."""
    assert " 0% packet loss" in plain.says("ping -c 1 127.0.0.1")


def test_nothing_calls_out_by_itself(plain: Guest) -> None:
    timers = plain.says(
        "systemctl list-units --type=timer --all --no-legend --plain --state=loaded | cut -d' ' -f1"
    ).split()
    assert timers == ["systemd-tmpfiles-clean.timer"]
    servers = plain.says("timedatectl show-timesync -p FallbackNTPServers -p SystemNTPServers --value").split()
    assert servers == ["127.0.0.1"], "QEMU's DHCP names none, so nobody may be asked"


def test_none_of_its_packets_leaves_qemu(plain: Guest) -> None:
    """Unrestricted, QEMU's network answers at 10.0.2.2 for the server's own loopback, and takes the rest to the world."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        listener.accept()[0].close()
        listener.settimeout(0.1)
        knock = f"timeout 3 bash -c 'echo > /dev/tcp/10.0.2.2/{port}'"
        assert plain.says(f"{knock} && echo open || echo closed") == "closed"
        with pytest.raises(TimeoutError):
            listener.accept()


def test_the_agent_changes_the_garages_keys_only(plain: Guest) -> None:
    """As the worker does: guest-file-write of one file; the user's own stays."""
    plain.says("mkdir -p ~/.ssh && echo '# mine' > ~/.ssh/authorized_keys")
    plain.says(f"sudo cp {KEYS} /tmp/keys && (cat /tmp/keys; echo '# later') | sudo tee {KEYS} >/dev/null")
    assert plain.says(f"tail -1 {KEYS}; cat ~/.ssh/authorized_keys").splitlines() == ["# later", "# mine"]
    agent = _agent(plain, "guest-info")
    allowed = {entry["name"] for entry in agent["supported_commands"] if entry["enabled"]}
    assert {"guest-file-open", "guest-file-write", "guest-file-close", "guest-shutdown"} <= allowed


def test_user_data_has_its_way(told: Guest) -> None:
    assert told.says("hostname") == "chosen"
    assert told.says("cat /etc/motd; echo; cat /var/tmp/ran; id -un carol").split() == ["こんにちは", "root", "carol"]
    assert told.says("grep -c of-the-user ~/.ssh/authorized_keys") == "1"


def test_user_data_leaves_the_garages_part_alone(told: Guest) -> None:
    """Each call logs in with the key that only the garage's file holds, and against the host key of the seed."""
    own = told.says(f"cat {KEYS}").split()[1]
    assert own not in told.says("cat ~/.ssh/authorized_keys"), "a key there could not be taken back"
    assert told.says("systemctl show ssh -p NRestarts --value") == "0"


def test_identity_stays_over_a_reboot_and_so_do_changed_keys(image_store: tuple[Path, Manifest]) -> None:
    with guest(*image_store) as made:
        made.wait_for_banner()
        made.says(f"echo '# later' | sudo tee -a {KEYS} >/dev/null; sync")
        before = made.says("cat /etc/machine-id")
        made.process.kill()
        made.process.wait()
        again = made.again(image_store)
        try:
            again.wait_for_banner()
            assert again.says("cat /etc/machine-id") == before
            assert again.says(f"tail -1 {KEYS}") == "# later"
        finally:
            again.process.kill()
            again.process.wait()


def test_without_a_seed_the_port_stays_closed(image_store: tuple[Path, Manifest]) -> None:
    with guest(*image_store, seeded=False) as made:
        deadline = time.monotonic() + 120
        while "stays closed" not in made.console() and time.monotonic() < deadline:
            time.sleep(0.5)
        assert "no seed disk" in made.console()
        with pytest.raises(AssertionError, match="no banner"):
            made.wait_for_banner(time.monotonic() - made.started + 20)


def test_a_full_disk_says_how_much_is_needed(tmp_path: Path) -> None:
    recipe = parse_recipe((IMAGES / "debian-12.toml").read_text())
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], check=True)
    try:
        with pytest.raises(GarageError) as caught:
            build(
                recipe,
                store=small / "s",
                mirror=Mirror("http://127.0.0.1:9"),
                work=small / "w",
                progress=lambda *_: None,
            )
        assert caught.value.code == "disk_full"
        assert caught.value.params["needed"] > 1
        assert not list(small.glob("s/*"))
        assert not list(small.glob("w/build-*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def _agent(one: Guest, command: str) -> dict[str, list[dict[str, object]]]:
    """One guest-agent call."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(60)
        channel.connect(os.fspath(one.folder / "agent"))
        channel.sendall(json.dumps({"execute": command}).encode() + b"\n")
        with channel.makefile() as lines:
            answer: dict[str, list[dict[str, object]]] = json.loads(lines.readline())["return"]
            return answer


LEFT = """set -e
echo mine >/home/debian/work; echo "ssh-ed25519 AAAA of-a-colleague" >>/home/debian/.ssh/authorized_keys
echo secret >/home/debian/.bash_history; sudo sh -c 'echo "ssh-ed25519 AAAA of-root" >/root/.ssh/authorized_keys'
test -n "$(ls /var/lib/cloud/instances)"; cat /etc/machine-id; sudo systemd-run --on-active=2 --no-block -q poweroff
"""
LOOKED = """cat /home/debian/work /etc/machine-id; hostname; ls -A /var/lib/cloud/instances 2>/dev/null
sudo sh -c 'cat /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys /home/debian/.bash_history 2>/dev/null; true'
sudo grep -rl -e of-a-[c]olleague -e 'vm[7]' /var/log /etc /var/lib
true
"""


def test_a_machine_saved_as_an_image_leaves_what_was_done_and_takes_who_it_was(
    told: Guest, image_store: tuple[Path, Manifest], tmp_path: Path
) -> None:
    """The last test of `told`, which goes off for it. The image stands alone: where it boots the one below is not."""
    store, base = image_store
    old = told.says(LEFT).splitlines()[-1]
    told.process.wait(timeout=120)
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        folder.chmod(folder.stat().st_mode | 0o011)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / base.sha256).symlink_to(store / base.sha256)
    sha256 = saved(tmp_path, base, told.folder / "disk.qcow2")
    (tmp_path / "images" / base.sha256).unlink()
    verify(tmp_path / "images", sha256)
    made = load(tmp_path / "images" / sha256)
    assert (made.initrd, made.boot, made.kernel_sha256, made.name) == ("garage", "kernel", base.kernel_sha256, "mine")
    with guest(tmp_path / "images", made, name="vm8") as again:
        again.wait_for_banner()
        said = again.says(LOOKED).splitlines()
    assert said[:1] + said[2:] == ["mine", "vm8"], "the file, and nothing of who it was"
    assert len(said[1]) == 32
    assert said[1] != old


def saved(home: Path, base: Manifest, disk: Path) -> str:
    """As a member asks for it and a worker does it, of a machine with this disk; the image's sha256."""
    ctx, who = open_garage(home, "tsav")
    images.register(ctx, "debian-12", base.sha256, base.as_dict())
    made = machines.create(ctx, who, NewMachine(name="one", size="small"))
    (home / "machines" / made.id).mkdir(parents=True)
    disk.rename(home / "machines" / made.id / "disk.qcow2")
    with ctx.db.write() as session:
        row = session.get_one(Machine, made.id)
        row.state, row.wants_running = "stopped", False
    task = saving.save(ctx, who, "one", NewSave("mine"))
    assert Importer(ctx, ctx.config).turn()
    assert image_tasks.get(ctx, who, task.id).error is None
    assert list((home / "work").iterdir()) == []
    sha256 = images.get(ctx, who, "mine").sha256
    ctx.db.close()
    return sha256
