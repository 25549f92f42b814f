"""A node's membership in an overlay: the folder `overlay/` of its state, made by `netd join` and removed by `netd leave`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from netd.errors import NetdError
from netd.shell import files

FILE = "membership.json"
"""Written last by a join: where it is, all else is."""


class Membership(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom the node follows; not secret."""

    url: str
    certificate: str = ""
    """SHA-256 of the registry's certificate (DER), hexadecimal; "" for one that the server's authorities vouch for."""
    registry_key: str
    """PEM of the Ed25519 key that signs LinkSpec and Table."""
    site: str
    domain: str = ""
    """The network's, as it was at the join; "" for a join by an older netd."""
    node: str
    port: int
    ports: int
    joined_at: float = 0.0
    """Seconds since 1970; tells a membership from the next one at the same registry."""

    @property
    def pin(self) -> bytes:
        return bytes.fromhex(self.certificate)

    def key(self) -> Ed25519PublicKey:
        key = load_pem_public_key(self.registry_key.encode())
        if not isinstance(key, Ed25519PublicKey):
            raise NetdError("config", "the registry's key is no Ed25519 key")
        return key


@dataclass(frozen=True, slots=True)
class Home:
    """The folder and what is in it."""

    path: Path

    @property
    def spec(self) -> Path:
        return self.path / "link.json"

    @property
    def table(self) -> Path:
        return self.path / "table.json"

    @property
    def paused(self) -> Path:
        """Its presence is the pause, so that it outlasts every restart."""
        return self.path / "paused"

    @property
    def capped(self) -> Path:
        """Its presence is a pause, too: of a line whose volume is used up, and ended by netd alone."""
        return self.path / "capped"

    def make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def membership(self) -> Membership | None:
        """None where no join has come to its end; raises NetdError("config") for a damaged file."""
        if (text := files.read(self.path / FILE)) is None:
            return None
        try:
            return msgspec.json.decode(text, type=Membership)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise NetdError("config", f"{self.path / FILE}: {error}", hint="netd leave, then join again") from None

    def credential(self) -> str:
        return (files.read(self.path / "credential") or "").strip()

    def save(self, membership: Membership, credential: str, spec: bytes, table: bytes) -> None:
        """All that a join brought; the file that says so last."""
        files.write(self.path / "credential", credential, 0o600)
        files.write(self.spec, spec.decode(), 0o600)
        files.write(self.table, table.decode(), 0o600)
        files.write(self.path / FILE, msgspec.json.encode(membership).decode(), 0o600)

    def forget(self) -> None:
        """The file that says so first."""
        (self.path / FILE).unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)


def home(state: Path) -> Home:
    return Home(state / "overlay")
