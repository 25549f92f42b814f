"""The tables. Times are UTC seconds since 1970 (float): comparable on both databases, injected by callers, never read here."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

Json = dict[str, Any]


class Base(DeclarativeBase):
    type_annotation_map = {Json: JSON, list[str]: JSON, dict[str, str]: JSON}  # noqa: RUF012  (SQLAlchemy reads it as declared)


Id = String(20)


class Setting(Base):
    """Facts about this garage that must not change under it, e.g. the wanted state of the whole (`parked`)."""

    __tablename__ = "setting"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(1024))


class User(Base):
    __tablename__ = "user"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(32), unique=True)
    password_hash: Mapped[str] = mapped_column(String(200), default="")
    """argon2id; empty until the one-time link was used."""
    role: Mapped[str] = mapped_column(String(16), default="member")
    """ "admin" or "member" of the organisation."""
    locale: Mapped[str] = mapped_column(String(8), default="")
    disabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[float]
    image_turn_at: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """When the last image that they wanted was begun; 0: never."""


class Project(Base):
    __tablename__ = "project"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(32), unique=True)
    personal_of: Mapped[str | None] = mapped_column(ForeignKey("user.id"), unique=True)
    quota_machines: Mapped[int]
    quota_vcpus: Mapped[int]
    quota_memory_mib: Mapped[int]
    quota_disk_gib: Mapped[int]
    quota_image_gib: Mapped[int] = mapped_column(default=50, server_default="50")
    created_at: Mapped[float]
    image_turn_at: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """When the last image that counts in its quota was begun; 0: never."""


class Membership(Base):
    __tablename__ = "membership"
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(16))
    """ "owner" or "member"."""
    project: Mapped[Project] = relationship()
    user: Mapped[User] = relationship()


class Session(Base):
    """A browser's session; only a hash of its cookie is kept."""

    __tablename__ = "session"
    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), index=True)
    created_at: Mapped[float]
    expires_at: Mapped[float]
    address: Mapped[str] = mapped_column(String(64), default="")
    """The browser's, when it signed in."""
    agent: Mapped[str] = mapped_column(String(200), default="")
    """What it calls itself (User-Agent)."""
    method: Mapped[str] = mapped_column(String(16), default="password")
    """How it was opened: "password", or "openid" by the provider."""
    proved_at: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """When whoever holds it last proved who they are (`services.proving`)."""


class ApiToken(Base):
    __tablename__ = "api_token"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    scope: Mapped[str] = mapped_column(String(16), default="all")
    """One of `core.scopes.SCOPES`."""


class Invitation(Base):
    """A one-time link by which somebody sets a password: a new member's first, or a forgotten one."""

    __tablename__ = "invitation"
    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), index=True)
    expires_at: Mapped[float]
    used_at: Mapped[float | None]


class LoginFailure(Base):
    """One wrong password; counted per account and per address within a window."""

    __tablename__ = "login_failure"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(64), index=True)
    address: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[float]


class SshKey(Base):
    __tablename__ = "ssh_key"
    __table_args__ = (UniqueConstraint("user_id", "name"), UniqueConstraint("user_id", "fingerprint"))
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), index=True)
    name: Mapped[str] = mapped_column(String(32))
    public_key: Mapped[str] = mapped_column(String(4096))
    fingerprint: Mapped[str] = mapped_column(String(64))
    """SHA256:… as ssh-keygen -l prints it."""
    created_at: Mapped[float]


class Size(Base):
    __tablename__ = "size"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    vcpus: Mapped[int]
    memory_mib: Mapped[int]
    disk_gib: Mapped[int]


class Image(Base):
    __tablename__ = "image"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), index=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    manifest: Mapped[Json]
    bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Of its stored disk: what it takes of a project's quota."""
    created_at: Mapped[float]
    current: Mapped[bool] = mapped_column(default=True)
    """The one of its name, among those of the same people, that new machines boot."""
    visibility: Mapped[str] = mapped_column(String(8), default="all")
    """Who may use it: "own", "project" or "all"."""
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("user.id", name="fk_image_owner"))
    """Who brought it; None: the garage's own."""
    project_id: Mapped[str | None] = mapped_column(ForeignKey("project.id", name="fk_image_project"))
    """Of "project"."""
    deleted_at: Mapped[float | None]
    """Nobody may use it any more; the row stays for the machines that did, its files go."""
    verified_at: Mapped[float | None]
    """When the stored files were last compared with their sha256."""
    damaged: Mapped[bool] = mapped_column(default=False)
    """They differed: it is not used."""


class Node(Base):
    __tablename__ = "node"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    hypervisor: Mapped[str] = mapped_column(String(200))
    token_hash: Mapped[str] = mapped_column(String(64), default="")
    facts: Mapped[Json] = mapped_column(default=dict)
    """`core.types.NodeFacts`; empty until observed."""
    spec_version: Mapped[int] = mapped_column(default=1)
    applied_version: Mapped[int] = mapped_column(default=0)
    refusal: Mapped[Json | None]
    reported_at: Mapped[float | None]
    hypervisor_error: Mapped[str] = mapped_column(String(500), default="")
    """Why libvirt does not answer; empty while it does."""
    owner: Mapped[str] = mapped_column(String(64), default="")
    """The id of the worker that works on it. One that has no row (any more) owns nothing."""
    epoch: Mapped[int] = mapped_column(default=0)
    """Raised whenever ownership changes hands; an old owner's late write carries an old epoch and is refused."""
    revision: Mapped[int] = mapped_column(default=0)
    """Raised by every change of its machines' rows, and of what its worker acts on of its own (`db.revisions`)."""
    boot_id: Mapped[str] = mapped_column(String(64), default="")
    address: Mapped[str] = mapped_column(String(255), default="")
    """Where the controller reaches it; empty: it is the controller's own server."""
    ssh_host_key: Mapped[str] = mapped_column(String(800), default="")
    """Pinned when the node was added: "TYPE BASE64"."""
    state: Mapped[str] = mapped_column(String(16), default="active")
    """ "active" takes machines; "draining" gives them away; "maintenance" has none that run and takes none."""
    state_since: Mapped[float] = mapped_column(default=0.0)
    labels: Mapped[dict[str, str]] = mapped_column(default=dict)
    """What an admin says of it, e.g. {"gpu": "rtx3090"}; machines may ask for such a value."""
    silent_since: Mapped[float | None]
    """Since when neither its hypervisor nor its netd has answered; None while one does."""


class Machine(Base):
    __tablename__ = "machine"
    __table_args__ = (
        Index(
            "ux_machine_name",
            "project_id",
            "name",
            unique=True,
            sqlite_where=text("state != 'gone'"),
            postgresql_where=text("state != 'gone'"),
        ),
        Index(
            "ux_machine_ipv4",
            "ipv4",
            unique=True,
            sqlite_where=text("state != 'gone'"),
            postgresql_where=text("state != 'gone'"),
        ),
        *(
            Index(
                f"ix_machine_by_{order}",
                *(column, "id", "name", "ipv4"),
                sqlite_where=text("state != 'gone'"),
                postgresql_where=text("state != 'gone'"),
            )
            for order, column in (("lease", "lease_until"), ("state", "state"))
        ),
        Index(
            "ix_machine_by_name",
            *("name", "id", "ipv4"),
            sqlite_where=text("state != 'gone'"),
            postgresql_where=text("state != 'gone'"),
        ),
        Index("ix_machine_node_state", "node", "state"),
        Index(
            "ix_machine_moving_to",
            "moving_to",
            sqlite_where=text("moving_to IS NOT NULL"),
            postgresql_where=text("moving_to IS NOT NULL"),
        ),
        Index(
            "ix_machine_project_held",
            *("project_id", "state", "vcpus", "memory_mib", "disk_gib", "apart", "node"),
            sqlite_where=text("state != 'gone'"),
            postgresql_where=text("state != 'gone'"),
        ),
        Index(
            "ix_machine_spare",
            *("image_id", "size", "node"),
            sqlite_where=text("state = 'spare'"),
            postgresql_where=text("state = 'spare'"),
        ),
    )
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str | None] = mapped_column(ForeignKey("project.id"))
    """None: a pool machine, nobody's."""
    created_by: Mapped[str | None] = mapped_column(ForeignKey("user.id"))
    name: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    step: Mapped[str] = mapped_column(String(32), default="")
    """Progress inside a state: "network", "image 45" (percent), "disk", "starting", "waiting_ssh"; for people, never for decisions."""
    state_since: Mapped[float]
    wants_running: Mapped[bool] = mapped_column(default=True)
    """What its owner wants; a reboot is a stop that still wants to run."""
    started: Mapped[bool] = mapped_column(default=False)
    """The domain was started for the boot that the machine is in; False again as soon as a start is asked for."""
    warm: Mapped[bool] = mapped_column(default=False)
    """A pool machine that has booted and waits, paused: it may be taken."""
    taken: Mapped[bool] = mapped_column(default=False)
    """It came out of a pool, and gets its identity while it runs."""
    cold_reason: Mapped[str] = mapped_column(String(16), default="")
    """Why its first boot was a cold one: a key of `core.pool.COLD`; empty when it came out of a pool."""
    cold_detail: Mapped[str] = mapped_column(String(200), default="")
    """What of its user-data was the reason, in the user-data's own words."""
    error: Mapped[Json | None]
    """`GarageError.as_dict()` of why it failed."""
    console_tail: Mapped[str] = mapped_column(default="")
    """The last console lines of a failed boot, stripped of escape codes."""
    node: Mapped[str] = mapped_column(ForeignKey("node.name"))
    moving_to: Mapped[str | None] = mapped_column(ForeignKey("node.name", name="fk_machine_moving_to"))
    """Where it migrates to at this moment; it holds room on both."""
    moved_percent: Mapped[int] = mapped_column(default=0)
    apart: Mapped[str] = mapped_column(String(32), default="")
    """Machines of a project with the same word are placed on different nodes."""
    node_labels: Mapped[dict[str, str]] = mapped_column(default=dict)
    """Labels that its node must have."""
    placement: Mapped[Json] = mapped_column(default=dict)
    """Why it was placed where it is (`services.placing.record`); empty where that is not known."""
    number: Mapped[int]
    image_id: Mapped[str] = mapped_column(ForeignKey("image.id"), index=True)
    size: Mapped[str] = mapped_column(String(32))
    vcpus: Mapped[int]
    memory_mib: Mapped[int]
    disk_gib: Mapped[int]
    ipv4: Mapped[str] = mapped_column(String(15))
    ipv6: Mapped[str] = mapped_column(String(39))
    mac: Mapped[str] = mapped_column(String(17))
    tap: Mapped[str] = mapped_column(String(15))
    spec_version: Mapped[int]
    """The node spec from which on this machine has its place in the network."""
    host_key_public: Mapped[str] = mapped_column(String(200))
    host_key_private: Mapped[bytes] = mapped_column(LargeBinary)
    """OpenSSH private key, encrypted at rest."""
    authorized_keys: Mapped[list[str]]
    keys_applied: Mapped[bool] = mapped_column(default=True)
    """False while a running guest has yet to be told of `authorized_keys`."""
    user_data: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Encrypted at rest: people put secrets into it."""
    lease_until: Mapped[float]
    lease_warned: Mapped[bool] = mapped_column(default=False)
    lease_ended_at: Mapped[float | None]
    created_at: Mapped[float]
    ready_at: Mapped[float | None]
    """When its SSH first answered."""
    notes: Mapped[str] = mapped_column(String(2000), default="")
    """What somebody wrote down about it."""
    redo: Mapped[str] = mapped_column(String(8), default="")
    """`core.changes.Redo`: what its worker has to do to its disk before it starts the next time."""
    limits: Mapped[Json] = mapped_column(default=dict)
    """An admin's word on what it may take of what its node shares (`core.machine_limits`): name → figure; empty: as its size has it."""
    disk_limits: Mapped[str] = mapped_column(String(24), default="")
    """`MachineLimits.disk` that its domain has, or will have from its next start on; empty: not known."""
    most_vcpus: Mapped[int] = mapped_column(default=0)
    most_memory_mib: Mapped[int] = mapped_column(default=0)
    """What its domain leaves room for while it runs, or will from its next start on; 0: it was started before there was such room."""
    grown_from: Mapped[Json | None]
    """While a guest that runs has yet to get what its row says: size, vcpus, memory_mib and disk_gib of before."""
    resize_error: Mapped[Json | None]
    """`GarageError.as_dict()` of why it did not grow, or not wholly, the last time that it was asked while it ran."""
    rebuilt_at: Mapped[float | None]
    """When it last got a new disk."""
    revert_to: Mapped[str] = mapped_column(Id, default="")
    """The snapshot to which `redo` returns it; empty otherwise."""
    reverted_at: Mapped[float | None]
    """When it last returned to a snapshot: what is on its disk about who it is and who may log in is older than its row."""
    request: Mapped[str] = mapped_column(String(64), default="")
    """The id of the request that last changed what its owner wants, for logs."""
    project: Mapped[Project] = relationship(lazy="raise")
    image: Mapped[Image] = relationship(lazy="raise")


class PoolSize(Base):
    """How many machines an admin wants to wait per node, whatever the demand."""

    __tablename__ = "pool"
    image: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Its name: a newer image of the name takes the pool over."""
    size: Mapped[str] = mapped_column(String(32), primary_key=True)
    fixed: Mapped[int]


class EventRow(Base):
    """What happened, for pages and CLIs that watch; pruned after a day."""

    __tablename__ = "event"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    at: Mapped[float]
    kind: Mapped[str] = mapped_column(String(32))
    """ "machine", "node", "image"."""
    project_id: Mapped[str | None] = mapped_column(Id, index=True)
    """None: for everybody."""
    subject: Mapped[str] = mapped_column(String(64))
    data: Mapped[Json]


class Audit(Base):
    """Who did what to what; appended, never changed (`db.append_only`), sealed (`people_models.AuditSeal`)."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[float] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(64), index=True)
    """A user's name, or "garage" for what it does by itself."""
    action: Mapped[str] = mapped_column(String(64), index=True)
    project_id: Mapped[str | None] = mapped_column(Id, index=True)
    subject: Mapped[str] = mapped_column(String(128))
    detail: Mapped[Json]


class Idempotency(Base):
    """The first answer to a key, given again to whoever repeats it within a day."""

    __tablename__ = "idempotency"
    user_id: Mapped[str] = mapped_column(ForeignKey("user.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    """Encrypted JSON: an answer may hold a secret that is shown once."""
    created_at: Mapped[float]


import garage.db.image_models  # noqa: E402
import garage.db.machine_models  # noqa: E402
import garage.db.news_models  # noqa: E402
import garage.db.node_models  # noqa: E402
import garage.db.overlay_models  # noqa: E402
import garage.db.people_models  # noqa: E402
import garage.db.snapshot_models  # noqa: E402
import garage.db.volume_models  # noqa: E402, F401  (its tables belong to the same metadata)
