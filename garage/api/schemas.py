"""Shapes of `/api/v1`: what comes in is closed (an unknown field is an error), what goes out mirrors `services/views.py`.

Those that all routes share, and of people, projects and images; the others' are in `*_schemas.py`."""

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
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

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


Labels = Annotated[
    dict[str, Any], WithJsonSchema({"type": "object", "additionalProperties": {"type": "string", "maxLength": 48}})
]
"""Checked by `core.labels`, which points at the whole."""


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


class MeOut(BaseModel):
    name: str
    role: str
    project: str
    scope: str = Field("all", description="Of the token that you came with.")
    auditor: bool = False
    sites: list[str] = Field([], description="Of which you are an operator.")


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


class ImageList(BaseModel):
    items: list[ImageOut]
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
