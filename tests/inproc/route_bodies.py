"""What every route of `/api/v1` with a body takes, and what of hostile values its fields and queries take all the same: tables of
`test_every_route`, where each such route must have a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from garage.services import adoption, renumbering
from garage.services.context import Caller
from tests.inproc.route_roles import Operation
from tests.inproc.route_world import HOST_KEY, World

BOBS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ bob@laptop"
HOSTILE_TEXT = ("", "x" * 5000, "a/../b", "\x00", "ä" * 30, "\u202e", "'; drop table user;--", "7", "True")

RECIPE = """name = "built"
title = "Built"
suite = "bookworm"
packages = ["dash"]
sources = ""
"""

PRINTABLE = ("a/../b", "ä" * 30, "'; drop table user;--", "7", "True")

BODIES: dict[Operation, Callable[[World], dict[str, Any]]] = {
    ("POST", "/adoption"): lambda world: {"digest": adoption.plan(world.ctx, Caller("", "x", admin=True)).digest},
    ("POST", "/renumbering"): lambda world: {"digest": renumbering.plan(world.ctx, Caller("", "x", admin=True)).digest},
    ("POST", "/machines"): lambda world: {
        "name": "two",
        "size": "tiny",
        "project": world.refs["projects"],
        "lease_days": 2,
    },
    ("POST", "/volumes"): lambda _: {"name": "data", "size_gib": 2},
    ("POST", "/volumes/{ref}/attach"): lambda world: {"machine": world.refs["/machines/{ref}/resize"]},
    ("POST", "/volumes/{ref}/grow"): lambda _: {"size_gib": 3},
    ("POST", "/volumes/{ref}/snapshots"): lambda _: {"name": "later"},
    ("POST", "/machines/{ref}/renew"): lambda _: {"days": 9},
    ("PATCH", "/machines/{ref}"): lambda _: {"name": "uno", "tags": ["course"], "notes": "mine"},
    ("POST", "/machines/{ref}/resize"): lambda _: {"size": "small"},
    ("POST", "/machines/{ref}/rebuild"): lambda _: {"image": "debian-12"},
    ("POST", "/machines/{ref}/transfer"): lambda world: {"project": world.refs["projects"]},
    ("POST", "/machines/{ref}/snapshots"): lambda _: {"name": "later"},
    ("PUT", "/machines/{ref}/limits"): lambda _: {"net_mbit": 100, "disk_mb": None},
    ("POST", "/login"): lambda _: {"name": "alice", "password": "password of alice"},
    ("POST", "/keys"): lambda _: {"name": "desk", "public_key": BOBS_KEY},
    ("POST", "/tokens"): lambda _: {"name": "ci", "days": 3},
    ("POST", "/users"): lambda _: {"name": "dave", "role": "member"},
    ("POST", "/projects"): lambda _: {"name": "legs"},
    ("POST", "/projects/{ref}/service-accounts"): lambda _: {"name": "robot2"},
    ("POST", "/projects/{ref}/service-accounts/{account}/tokens"): lambda _: {"name": "ci", "scope": "read"},
    ("PUT", "/projects/{ref}/members/{user}"): lambda _: {"role": "member"},
    ("PUT", "/projects/{ref}/quota"): lambda _: {"machines": 3},
    ("POST", "/site-invitations"): lambda _: {"name": "kyoto", "ttl_seconds": 3600},
    ("PUT", "/sites/{ref}/place"): lambda _: {"latitude": 36.08, "longitude": 140.11},
    ("PUT", "/sites/{ref}/relay"): lambda _: {"may": True},
    ("PUT", "/overlay"): lambda _: {"bfd_ms": 300},
    ("POST", "/node-host-keys"): lambda _: {"target": "root@192.0.2.7"},
    ("POST", "/node-logins"): lambda _: {"target": "root@192.0.2.7", "host_key": HOST_KEY, "password": "secret"},
    ("POST", "/nodes"): lambda _: {"target": "root@192.0.2.7", "host_key": HOST_KEY, "name": "node7"},
    ("PUT", "/pools/{image}/{size}"): lambda _: {"fixed": 2},
    ("PUT", "/images/{ref}/visibility"): lambda _: {"visibility": "all"},
    ("POST", "/images/{ref}/user-data"): lambda _: {"user_data": "#cloud-config\n{}\n"},
    ("POST", "/image-imports"): lambda _: {"name": "fresh", "sha256": "56" * 32, "bytes": 1000},
    ("POST", "/image-builds"): lambda _: {"recipe": RECIPE},
    ("POST", "/image-saves"): lambda world: {
        "machine": world.refs["/machines/{ref}/resize"],
        "name": "kept",
        "snapshot": "before",
    },
    ("POST", "/sites/{ref}/measurements"): lambda _: {"peer": "two", "seconds": 2},
    ("PATCH", "/nodes/{ref}/labels"): lambda _: {"labels": {"gpu": "rtx3090", "room": ""}},
    ("POST", "/channels"): lambda _: {"kind": "slack", "name": "team", "url": "https://hooks.example.org/T1"},
    ("PATCH", "/channels/{ref}"): lambda _: {"wanted": ["machine.failed"]},
    ("POST", "/channels/{ref}/confirm"): lambda _: {"code": "12345678"},
    ("PUT", "/announcement"): lambda _: {"text_en": "Down at noon", "text_ja": "正午に停止", "until": "2100-01-01"},
    ("POST", "/users/{ref}/grants"): lambda _: {"role": "auditor"},
    ("POST", "/users/{ref}/offboard"): lambda _: {"to": "bob"},
}
"""A body that is taken, for every route that has one; in this order: no machine is made before nodes are adopted, and
renumbering waits for machines that are on their way."""

FINE: dict[Operation, dict[str, tuple[Any, ...]]] = {
    ("POST", "/machines"): {
        **{"name": ("",), "project": (None,), "lease_days": (None, 1.5), "user_data": (None, "")},
        **{"apart": ("",), "node_labels": ({},), "count": (None,), "tags": ([], ["a"]), "notes": ("", *PRINTABLE)},
        "volumes": ([],),
    },
    ("PATCH", "/machines/{ref}"): {"name": (None,), "tags": (None, [], ["a"]), "notes": (None, "", *PRINTABLE)},
    ("POST", "/machines/{ref}/rebuild"): {"image": (None,)},
    ("POST", "/machines/{ref}/snapshots"): {"name": ("",), "crash_consistent": (True, False)},
    ("POST", "/volumes"): {"project": (None,), "machine": (None, "")},
    ("POST", "/volumes/{ref}/snapshots"): {"name": ("",), "crash_consistent": (True, False)},
    ("PATCH", "/nodes/{ref}/labels"): {"labels": ({},)},
    ("PUT", "/machines/{ref}/limits"): dict.fromkeys(("disk_iops", "disk_mb", "net_mbit", "connections"), (None, 0)),
    ("POST", "/machines/{ref}/renew"): {"days": (None, 1.5)},
    ("POST", "/login"): {"token_name": PRINTABLE, "code": ("", "7", "True")},
    ("POST", "/users/{ref}/grants"): {"site": (None, "")},
    ("POST", "/users/{ref}/offboard"): {"to": ("",)},
    ("POST", "/channels"): {
        **dict.fromkeys(("room", "token", "address", "locale"), ("",)),
        **{"name": PRINTABLE, "wanted": (None, []), "project": (None,)},
    },
    ("PATCH", "/channels/{ref}"): {"wanted": ([],), "locale": (None, "")},
    ("PUT", "/announcement"): {**dict.fromkeys(("text_en", "text_ja"), PRINTABLE), "since": (None,), "until": (None,)},
    ("POST", "/tokens"): {"name": PRINTABLE, "days": (None, 1.5)},
    ("POST", "/projects/{ref}/service-accounts/{account}/tokens"): {"name": PRINTABLE, "days": (None, 1.5)},
    ("PUT", "/projects/{ref}/quota"): dict.fromkeys(
        ("machines", "vcpus", "memory_mib", "disk_gib", "image_gib"), (None, 0)
    ),
    ("POST", "/site-invitations"): {"own_name": (None,), "node": (False,)},
    ("PUT", "/sites/{ref}/place"): dict.fromkeys(("latitude", "longitude"), (0, -1, 1.5)),
    ("PUT", "/sites/{ref}/relay"): {"may": (True, False)},
    ("PUT", "/pools/{image}/{size}"): {"fixed": (None, 0)},
    ("POST", "/node-host-keys"): {"target": ("True",)},
    ("PUT", "/images/{ref}/visibility"): {"project": (None,)},
    ("POST", "/image-builds"): {"base": (None, *HOSTILE_TEXT), "name": (None,)},
    ("POST", "/image-imports"): {"name": ("7",), "url": (None, ""), "project": (None,)},
    ("POST", "/image-saves"): {"name": ("7",), "snapshot": (None, ""), "project": (None,)},
    ("POST", "/node-logins"): {"target": ("True",), "password": (*PRINTABLE, "\u202e")},
    ("POST", "/nodes"): {"target": ("True",), "name": (None,), "own_name": (None,)},
    ("PUT", "/overlay"): {
        **dict.fromkeys(("bfd_ms", "mesh_sites", "measure_mbit", "measure_seconds"), (None,)),
        "measure_days": (None, 0),
    },
    ("POST", "/sites/{ref}/measurements"): {"seconds": (None,), "mbit": (None,)},
}
"""What of `HOSTILE` a field takes all the same."""

FINE_QUERIES = {
    "search": HOSTILE_TEXT,
    "subject": HOSTILE_TEXT,
    "actor": ("7", "True"),
    **dict.fromkeys(
        ("limit", "cursor", "hours", "kib", "offset", "number", "node", "image", "size", "tag", "owner"), ("7",)
    ),
}
"""Any text may be looked for; only its length is bounded. An empty parameter counts as none."""


def body_of(world: World, operation: Operation) -> dict[str, Any] | None:
    return BODIES[operation](world) if operation in BODIES else None
