"""Shapes of `/api/v1`: what comes in is closed (an unknown field is an error), what goes out mirrors `services/views.py`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from garage.core.node_states import NodeState
from garage.core.silence import Silence
from garage.core.states import State
from garage.core.tags import MAX_NOTES, MOST
from garage.services.idempotency import MAX_KEY


def rfc3339(seconds: float) -> str:
    """UTC seconds since 1970 as RFC 3339 with milliseconds and Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[
    float,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def _storable(text: str) -> str:
    """PostgreSQL keeps no NUL; what holds one names nothing."""
    if "\0" in text:
        raise PydanticCustomError("nul", "NUL")
    return text


Text = Annotated[str, AfterValidator(_storable)]
NameIn = Annotated[Text, Field(max_length=64, examples=["arm-test"])]


def _digits(given: Any) -> Any:
    """A query is text; pydantic alone would take " 5_0.0 " for a number too."""
    if isinstance(given, str) and not (given.isascii() and given.isdigit()):
        raise PydanticKnownError("int_parsing")
    return given


NameOf = Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Order = Literal["newest", "name", "state", "lease"]
"""`services.sorting.ORDERS`."""
Digits = Annotated[int, BeforeValidator(_digits)]


class In(BaseModel):
    """Strict and closed: no unknown fields, no coercion from other types. What is a `float` here takes whole numbers too, but no text,
    no truth value, no NaN and no infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True, extra="ignore")


class Ref(BaseModel):
    """An id, NAME or NAME.PROJECT."""

    model_config = ConfigDict(extra="forbid")
    ref: str = Field(max_length=80)


class MemberRef(Ref):
    user: str = Field(max_length=64)


class Read(BaseModel):
    """What is read out of an address or a header. flask-openapi3 asks for its JSON schema with each request, which took a quarter of a
    list's time: it is made once."""

    @classmethod
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
        if args or options:
            return super().model_json_schema(*args, **options)
        if cls not in _SCHEMAS:
            _SCHEMAS[cls] = super().model_json_schema()
        return _SCHEMAS[cls]


_SCHEMAS: dict[type[BaseModel], dict[str, Any]] = {}


class NoQuery(Read):
    model_config = ConfigDict(extra="forbid")


class NameQuery(NoQuery):
    """Of lists by name."""

    limit: Digits = Field(200, ge=1, le=500)
    cursor: NameOf | None = Field(None, description="What the page before gave.")
    search: str = Field("", max_length=64, description="Part of a name.")


class MachineQuery(NoQuery):
    limit: Digits = Field(50, ge=1, le=200)
    cursor: str | None = Field(
        None, max_length=80, pattern=r"^[0-9a-zA-Z.~+-]+$", description="What the page before gave."
    )
    sort: Order = Field(
        "newest", description="By name, by state, or the lease that ends first; the newest first otherwise."
    )
    project: str | None = Field(None, max_length=64)
    state: State | None = None
    node: NameOf | None = None
    image: NameOf | None = None
    size: NameOf | None = None
    tag: NameOf | None = None
    owner: NameOf | None = Field(None, description="Who made it.")
    search: str = Field("", max_length=64, description="Part of a name, or the beginning of an address.")


class MutationHeader(Read):
    idempotency_key: str | None = Field(
        None,
        alias="Idempotency-Key",
        max_length=MAX_KEY,
        description="Repeating a request with the same key gives the first answer again.",
    )
    if_match: str | None = Field(
        None,
        alias="If-Match",
        max_length=400,
        description="The ETag of what is changed, as a GET gave it: 412 `version_conflict` where it is another one by now.",
    )


Tags = Annotated[list[NameIn], Field(max_length=MOST)]
Notes = Annotated[Text, Field(max_length=MAX_NOTES, description="Plain text.")]
Labels = Annotated[
    dict[str, Any], WithJsonSchema({"type": "object", "additionalProperties": {"type": "string", "maxLength": 48}})
]
"""Checked by `core.labels`, which points at the whole."""


class MachineIn(In):
    name: NameIn = Field("", description="A DNS label; made up when empty.")
    project: NameIn | None = Field(None, description="Default: your personal project.")
    image: NameIn = "debian-12"
    size: NameIn = "small"
    lease_days: float | None = Field(None, gt=0, le=3650, description="Default: the garage's lease.")
    user_data: str | None = Field(None, max_length=65_536, description="cloud-init user-data.")
    apart: NameIn = Field("", description="Machines of the project with the same word go to different nodes.")
    node_labels: Labels = Field({}, description="Labels that its node must have.", examples=[{"gpu": "rtx3090"}])
    tags: Tags = Field([], description="Words by which it is found again.", examples=[["course-2026"]])
    notes: Notes = ""
    volumes: list[NameIn] = Field([], max_length=8, description="Volumes that it gets: it is made on their node.")
    count: int | None = Field(
        None,
        ge=1,
        le=100,
        description="So many at once, all or none, named NAME-1, NAME-2, …; the answer is a list then.",
    )


class MachinePatch(In):
    """What is left out, or null, stays as it is."""

    name: NameIn | None = Field(None, description="Its DNS name from now on; free in its project.")
    tags: Tags | None = Field(None, description="All that it shall have.")
    notes: Notes | None = None


class RebuildIn(In):
    image: NameIn | None = Field(None, description="Default: the newest of the image that it was made of.")


class ResizeIn(In):
    size: NameIn


class TransferIn(In):
    project: NameIn = Field(description="Where it goes, by name or id; one of yours.")


class LabelsIn(In):
    labels: Labels = Field(description="An empty value removes a label; others stay.", examples=[{"gpu": "rtx3090"}])


class RenewIn(In):
    days: float | None = Field(None, gt=0, le=3650)


class KeyIn(In):
    name: NameIn
    public_key: str = Field(max_length=8192, examples=["ssh-ed25519 AAAA… me@laptop"])


class LoginIn(In):
    name: Text = Field(max_length=64)
    password: str = Field(max_length=1024)
    token_name: str = Field("cli", max_length=64)
    code: str = Field(
        "",
        max_length=40,
        pattern="^[0-9A-Za-z -]*$",
        description="Of the authenticator app, or a recovery code; where the account has a second factor.",
    )


class TokenIn(In):
    name: str = Field(min_length=1, max_length=64)
    days: float | None = Field(None, gt=0, le=3650)
    scope: Literal["all", "project", "machines", "read"] = Field("all", description="What it may do, see docs/api.md.")


class ProjectIn(In):
    name: NameIn


class MemberIn(In):
    role: Literal["owner", "member"] = "member"


class QuotaIn(In):
    machines: int | None = Field(None, ge=0, le=10_000)
    vcpus: int | None = Field(None, ge=0, le=100_000)
    memory_mib: int | None = Field(None, ge=0, le=1 << 30)
    disk_gib: int | None = Field(None, ge=0, le=1 << 20)
    image_gib: int | None = Field(None, ge=0, le=1 << 20, description="Stored images that its people brought or saved.")


class UserIn(In):
    name: NameIn
    role: Literal["admin", "member"] = "member"


class FailureOut(BaseModel):
    """Why a machine failed."""

    code: str
    detail: str
    hint: str = ""


class WarningOut(BaseModel):
    """What will not go well although it is taken."""

    pointer: str = Field(description="The field that it is about, a JSON pointer into the request.")
    detail: str
    hint: str = ""


class LimitsOut(Out):
    """0: no limit."""

    disk_iops: int = Field(description="Reads and writes per second.")
    disk_mb: int = Field(description="10⁶ bytes per second.")
    net_mbit: int = Field(description="10⁶ bits per second, each way.")
    connections: int = Field(description="Open at the same time.")


class MachineOut(Out):
    id: str
    name: str
    project: str
    owner: str
    state: State
    step: str = Field(description="Progress within the state, for people.")
    state_since: Time
    wants_running: bool
    node: str
    node_error: str = Field(description="Why the node cannot be asked now; the state is then the last one known.")
    node_state: NodeState = Field(description="While its node is draining the machine moves to another one.")
    moving_to: str = Field(description="The node to which it is on its way; empty otherwise.")
    moved_percent: int
    virtualisation: str
    apart: str
    node_labels: dict[str, str]
    image: str
    size: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    ipv4: str
    ipv6: str
    fqdn: str
    host_key: str = Field(description="The machine's SSH host key, one line.")
    created_at: Time
    ready_at: Time | None
    cold_reason: Literal["", "off", "empty", "user_data", "image", "pool_failed"] = Field(
        description="Why it had to boot; empty when it came out of a pool."
    )
    cold_detail: str = Field(description="What of its user-data was the reason, in the user-data's own words.")
    lease_until: Time
    lease_warned: bool
    deletes_at: Time
    error: FailureOut | None = None
    console_tail: str
    actions: list[str]
    tags: list[str]
    notes: str
    rebuilt_at: Time | None = Field(description="When it last got a new disk.")
    warnings: list[WarningOut] = Field(
        [], description="In the answer to its creation: what its image's cloud-init will not take as it was meant."
    )
    limits: LimitsOut = Field(description="What it may take of what its node shares.")
    growing: bool = Field(description="While it runs: its guest has yet to get the vCPUs, memory or disk said here.")
    resize_error: FailureOut | None = Field(
        None, description="Why it did not grow, or not wholly, the last time that it was asked while it ran."
    )
    limits_own: list[str] = Field(
        description="Those that an admin set for this machine alone; the others are as its size has them."
    )


class MachineList(BaseModel):
    items: list[MachineOut]
    cursor: str | None = None


class MachineMade(RootModel[MachineOut | MachineList]):
    """One machine, or a list where `count` was given."""


class KeyOut(Out):
    id: str
    name: str
    public_key: str
    fingerprint: str
    created_at: Time


class TokenOut(Out):
    id: str
    name: str
    created_at: Time
    expires_at: Time | None
    scope: str


class TokenCreated(TokenOut):
    token: str = Field(description="Shown this once.")


class LoginOut(BaseModel):
    token: str


class GrantOut(Out):
    role: Literal["auditor", "operator"]
    site: str = Field("", description="An operator's.")


class UserOut(Out):
    id: str
    name: str
    role: str
    disabled: bool
    has_password: bool
    created_at: Time
    second_factor: bool = False
    service_of: str = Field("", description="The project whose service account it is; empty for a person.")
    openid: bool = Field(False, description="Signs in by the OpenID Connect provider.")
    grants: list[GrantOut] = Field([], description="Roles beside `role`, as lists tell them.")


class UserCreated(BaseModel):
    user: UserOut
    link: str = Field(description="One-time link by which the user sets a password.")


class LinkOut(BaseModel):
    link: str


class UsageOut(Out):
    used: dict[str, int]
    quota: dict[str, int]


class ProjectOut(Out):
    id: str
    name: str
    personal: bool
    role: str
    usage: UsageOut
    members: list[dict[str, str]]


class SizeOut(Out):
    name: str
    vcpus: int
    memory_mib: int
    disk_gib: int


class ImageOut(Out):
    id: str
    name: str
    sha256: str
    current: bool
    created_at: Time
    manifest: dict[str, Any]
    visibility: str = Field(description="Who may use it: own, project, all.")
    owner: str = Field(description="Who brought it; empty: the garage's own.")
    project: str
    machines: int = Field(description="That are made of it.")
    verified_at: Time | None = Field(description="When its files were last compared with their sha256.")
    damaged: bool = Field(description="They differed: no new machine is made of it.")
    bytes: int = Field(description="Of its file; 0: not known.")
    virtual_bytes: int = Field(description="Of the disk that a machine has at least.")
    boot: str = Field(description="kernel: directly; bios, uefi: by its own loader.")
    mine: bool = Field(description="You may change it.")


class CopyOut(Out):
    image: str
    source: str = Field(description="The node it comes from; empty when it is tried again.")
    percent: int
    error: str = Field(description="The code of what went wrong; empty while it is under way.")


class DemandOut(Out):
    vcpus: int
    memory_mib: int
    disk_gib: int


class NodeOut(Out):
    name: str
    labels: dict[str, str]
    virtualisation: str
    vcpus: int
    memory_mib: int
    free_vcpus: int
    free_memory_mib: int
    disk_free_gib: float
    disk_total_gib: float
    machines: int
    hypervisor_error: str
    netd_error: str
    spec_version: int
    applied_version: int
    reported_at: Time | None
    state: NodeState
    state_since: Time
    silent_since: Time | None = Field(description="Since when neither libvirt nor netd has answered.")
    silence: Silence = Field(description="Which of the two is silent now.")
    copies: list[CopyOut] = Field(description="Images on their way to it, and those that did not come.")
    promised: DemandOut = Field(description="To its machines: vCPUs and memory of those that run, disk of all.")
    most: DemandOut = Field(description="That may be promised in all, with overcommit and reserves.")


class MeOut(BaseModel):
    name: str
    role: str
    project: str
    scope: str = Field("all", description="Of the token that you came with.")
    auditor: bool = False
    sites: list[str] = Field([], description="Of which you are an operator.")


class ForecastOut(Out):
    seconds: float | None
    reason: Literal["pool", "recent", "unknown"]
    waiting: int = Field(description="Machines of the default kind that are booted already.")


class StatusOut(BaseModel):
    version: str
    organisation: str
    site: str
    ready: bool
    parts: dict[str, bool]
    forecast: ForecastOut
    machines: int
    fault_ours: bool = Field(description="So many nodes are silent at once that nothing is moved or declared lost.")


class PoolOut(Out):
    image: str
    size: str
    waiting: int
    starting: int
    wanted: int
    fixed: int | None
    memory_mib: int = Field(description="What those that wait hold.")
    taken: int = Field(description="Requests of the last week that found one.")
    missed: int = Field(description="Requests of the last week that had to boot because none waited.")


class PoolList(BaseModel):
    items: list[PoolOut]


class PoolIn(In):
    fixed: int | None = Field(ge=0, le=20, description="How many wait per node; null: as many as demand says.")


class PoolPath(BaseModel):
    model_config = ConfigDict(extra="forbid")
    image: str = Field(max_length=64)
    size: str = Field(max_length=32)


class KeyList(BaseModel):
    items: list[KeyOut]


class TokenList(BaseModel):
    items: list[TokenOut]


class UserList(BaseModel):
    items: list[UserOut]
    cursor: str | None = None


class ProjectList(BaseModel):
    items: list[ProjectOut]
    cursor: str | None = None


class SizeList(BaseModel):
    items: list[SizeOut]


class ImageList(BaseModel):
    items: list[ImageOut]


class NodeList(BaseModel):
    items: list[NodeOut]
    cursor: str | None = None


class FieldError(BaseModel):
    pointer: str
    detail: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    status: int
    code: str
    title: str
    detail: str
    hint: str = ""
    errors: list[FieldError] = []
