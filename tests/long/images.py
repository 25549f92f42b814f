"""`make test-images`: every recipe is built for real, booted once, and asked for what it promises; then an image that is none of ours.

Debian's mirror and a Python package index are needed for the building; the guests reach nothing but the port by which they are asked
(tests/machine/guest.py). A disk like those that are published goes through a whole garage (tests/long/brought.py). Emulated on two cores
all of it takes about half an hour. What happens is said in lines, what came of it in a line of JSON: seconds and sizes by image, and what
was wrong; the exit code is 1 when anything was.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from garage.core.cloud_schema import look
from garage.core.recipe import base_of, parse_recipe
from garage.errors import GarageError
from garage.shell.images import Manifest, build, user_data_schema
from garage.shell.mirrors import server_mirror
from tests.leftovers import Run
from tests.long import brought
from tests.machine.conftest import IMAGES
from tests.machine.guest import Guest, guest

SETTLE_SECONDS = 900.0
"""Longest wait for what starts after SSH."""
SLOW = 900.0
"""Longest command in an emulated guest."""
HELLO = """#cloud-config
write_files:
  - path: /opt/driver/hello.c
    content: |
      #include <linux/module.h>
      MODULE_LICENSE("GPL");
      static int __init begin(void) { return 0; }
      static void __exit end(void) {}
      module_init(begin);
      module_exit(end);
  - path: /opt/driver/install
    permissions: "0755"
    content: |
      #!/bin/sh -e
      cd /opt/driver
      echo 'obj-m := hello.o' > Makefile
      make -C /lib/modules/$(uname -r)/build M=$PWD modules
      insmod hello.ko
"""
TINY = r"""set -e
mkdir -p tiny/bin && cp /bin/busybox tiny/bin/
printf 'FROM scratch\nCOPY bin /bin\nCMD ["/bin/busybox", "echo", "from inside"]\n' > tiny/Dockerfile
"""
DRAW = """
import mujoco, numpy, zenoh, io
from mcap.writer import Writer
from mcap.reader import make_reader
model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><light pos="0 0 3"/><body pos="0 0 1"><freejoint/>'
    '<geom size=".2" rgba="1 0 0 1"/></body></worldbody></mujoco>')
data = mujoco.MjData(model)
for _ in range(100): mujoco.mj_step(model, data)
assert data.qpos[2] < 1, data.qpos
with mujoco.Renderer(model, 48, 64) as renderer:
    mujoco.mj_resetData(model, data); mujoco.mj_forward(model, data); renderer.update_scene(data)
    assert renderer.render()[..., 0].max() > 50
file = io.BytesIO(); writer = Writer(file); writer.start()
channel = writer.register_channel(topic="height", message_encoding="json", schema_id=0)
writer.add_message(channel, log_time=1, publish_time=1, data=b"[1]"); writer.finish()
file.seek(0); assert [m.data for _, _, m in make_reader(file).iter_messages()] == [b"[1]"]
with zenoh.open(zenoh.Config()) as session:
    heard = session.declare_subscriber("robot/arm"); session.put("robot/arm", b"moved")
    assert heard.recv().payload.to_bytes() == b"moved"
print("all of it")
"""


@dataclass(frozen=True)
class Promise:
    """What one recipe is for: `ask` raises AssertionError where a guest does not keep it."""

    ask: Callable[[Guest], None]
    user_data: str | None = None
    memory_mib: int = 1024


def says_until(made: Guest, command: str, wanted: str) -> None:
    """Ask again until the answer has it."""
    deadline, answer = time.monotonic() + SETTLE_SECONDS, ""
    while time.monotonic() < deadline:
        done = made.ssh(command, seconds=SLOW)
        answer = done.stdout + done.stderr
        if wanted in answer:
            return
        time.sleep(3)
    raise AssertionError(f"{command}: {answer[-800:]}")


def plain(made: Guest) -> None:
    assert made.says("sudo id -un", seconds=SLOW) == "root"
    assert "degraded" not in made.says("systemctl is-system-running --wait || systemctl --failed --plain", seconds=SLOW)


def containers(made: Guest) -> None:
    """Without a registry: an image of one file, built and run by both."""
    made.says(TINY, seconds=SLOW)
    for command in ("podman", "sudo docker"):
        made.says(f"{command} build -q -t tiny tiny", seconds=SLOW)
        assert "from inside" in made.says(f"{command} run --rm tiny", seconds=SLOW), command
    assert made.says("podman run --rm tiny /bin/busybox id -u", seconds=SLOW) == "0"
    assert made.says("podman info --format '{{.Host.Security.Rootless}}'", seconds=SLOW) == "true"


def desktop(made: Guest) -> None:
    banner = "python3 -c 'import socket; print(socket.create_connection((\"localhost\", 5901), 60).recv(12))'"
    says_until(made, banner, "RFB 003.")
    for program in ("xfce4-session", "xfwm4", "xfce4-panel", "xfdesktop"):
        says_until(made, f"pgrep -u debian -x {program} && echo runs", "runs")
    assert "127.0.0.1:5901" in made.says("ss -tlnH", seconds=SLOW)
    assert "0.0.0.0:5901" not in made.says("ss -tlnH", seconds=SLOW)


def gpu(made: Guest) -> None:
    """The slot's script builds a module for the kernel that runs, as a driver's would."""
    release = made.says("uname -r", seconds=SLOW)
    assert "cloud" not in release, release
    says_until(made, "ls /opt/driver", "installed")
    assert "hello" in made.says("lsmod", seconds=SLOW)
    assert made.says("systemctl is-failed garage-driver.service || true", seconds=SLOW) != "failed"


def robotics(made: Guest) -> None:
    made.says(f"cat > draw.py <<'END'\n{DRAW}\nEND", seconds=SLOW)
    assert made.says("bash -lc '/opt/robotics/bin/python draw.py'", seconds=SLOW).endswith("all of it")
    assert made.says("stat -c %U /opt/robotics/lib", seconds=SLOW) == "debian"
    assert "mcap" in made.says("/opt/robotics/bin/pip list", seconds=SLOW)


PROMISES = {
    "debian-12": Promise(plain),
    "debian-13": Promise(plain),
    "debian-12-containers": Promise(containers),
    "debian-12-desktop": Promise(desktop, memory_mib=2048),
    "debian-12-gpu": Promise(gpu, user_data=HELLO),
    "debian-12-robotics": Promise(robotics, memory_mib=2048),
}
"""By the recipe's name. `debian-12-plain` is what `make bench` boots."""
PUBLISHED = "published"
"""What members bring."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def made_of(name: str, store: Path, work: Path) -> Manifest:
    path = IMAGES / f"{name}.toml"
    base = base_of(path.read_text())
    recipe = parse_recipe(path.read_text(), path.with_name(f"{base}.toml").read_text() if base else "")
    mirror = server_mirror(os.environ)
    return build(recipe, store=store, mirror=mirror, work=work, progress=lambda step, _share: say(f"  {step}"))


def trial(name: str, store: Path, work: Path) -> dict[str, Any]:
    """One image, from its recipe to what it promises."""
    promise, began = PROMISES[name], time.monotonic()
    manifest = made_of(name, store, work)
    figures = {
        "build_s": round(time.monotonic() - began),
        "mib": manifest.bytes >> 20,
        "kernel": manifest.kernel_release,
    }
    say(f"{name}: {figures}")
    schema = user_data_schema(store, manifest.sha256)
    assert schema, "its cloud-init says nothing of user-data"
    assert not look(promise.user_data or "#cloud-config\npackages: [git]\n", schema).wrong
    with guest(store, manifest, user_data=promise.user_data, options=["-m", str(promise.memory_mib)]) as made:
        figures["banner_s"] = round(made.wait_for_banner())
        promise.ask(made)
        figures["kept_s"] = round(time.monotonic() - made.started)
    say(f"{name}: {figures}")
    return figures


def trial_of_published(store: Path, work: Path) -> dict[str, Any]:
    made_of("debian-12", store, work)  # costs nothing where it stands already
    return brought.trial(store, work, say)


def campaign(names: list[str], store: Path, work: Path) -> dict[str, Any]:
    found, wrong = dict[str, Any](), dict[str, str]()
    for name in names:
        say(name)
        try:
            found[name] = trial_of_published(store, work) if name == PUBLISHED else trial(name, store, work)
        except (AssertionError, GarageError) as error:
            wrong[name] = str(error)[-1500:]
            say(f"{name}: {wrong[name]}")
    return {"images": found, "wrong": wrong}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-images")
    parser.add_argument("names", nargs="*", choices=[[], *PROMISES, PUBLISHED])
    parser.add_argument("--store", type=Path, help="where images stay (default: a folder that goes with the run)")
    words = parser.parse_args()
    run = Run()
    try:
        place = words.store or run.folder
        told = campaign(words.names or [*PROMISES, PUBLISHED], place / "images", place / "work")
    finally:
        run.end()
    print(json.dumps(told, ensure_ascii=False), flush=True)
    return 0 if told["images"] and not told["wrong"] else 1


if __name__ == "__main__":
    sys.exit(main())
