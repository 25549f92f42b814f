"""Tables of people beyond their names: accounts of programs, second factors, what proves the audit log."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from garage.db.models import Base, Id


class AuditSeal(Base):
    """One link of the chain over the audit log. The first row may be an anchor: its entry was old and has been removed."""

    __tablename__ = "audit_seal"
    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    """1, 2, 3, … without a gap."""
    entry: Mapped[int] = mapped_column(unique=True)
    """The entry's id. No foreign key: that an entry has vanished is what a seal is to show."""
    hash: Mapped[str] = mapped_column(String(64))
    """`core.chain.digest` of the seal before and of the entry, in hexadecimal."""
    signature: Mapped[str] = mapped_column(String(128))
    """The controller's Ed25519 signature of the hash, in hexadecimal."""
    sealed_at: Mapped[float]


class ServiceAccount(Base):
    """Makes a user an account of a program: it has API tokens alone, and belongs to one project."""

    __tablename__ = "service_account"
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("user.id"), primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("project.id"), index=True)


class SecondFactor(Base):
    """A user's authenticator app."""

    __tablename__ = "second_factor"
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("user.id"), primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """Encrypted."""
    last_step: Mapped[int] = mapped_column(BigInteger)
    """Of the last code that was taken (RFC 6238's T): it and those before are good no more."""
    created_at: Mapped[float]


class Passkey(Base):
    """A user's security key or passkey (WebAuthn)."""

    __tablename__ = "passkey"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("user.id"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    """What the user calls it."""
    credential: Mapped[str] = mapped_column(String(2046), unique=True)
    """Its id, in hexadecimal; at most 1,023 bytes (WebAuthn level 2, section 4)."""
    place: Mapped[str] = mapped_column(String(253))
    """The relying party's id: the name of this garage when it was made."""
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    """As COSE has it."""
    sign_count: Mapped[int] = mapped_column(BigInteger)
    """Of its last answer; one that is not higher comes from a copy. Always 0 of a key that does not count."""
    asked_at: Mapped[float]
    """When the last question that it answered was asked: it answers no older one, nor that one again."""
    created_at: Mapped[float]
    used_at: Mapped[float | None]


class RecoveryCode(Base):
    """One that was not used yet; only its hash is kept."""

    __tablename__ = "recovery_code"
    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("user.id"), index=True)


class Identity(Base):
    """Somebody at an OpenID Connect provider, and whose account here is theirs. Bound once, never by an equal name or address."""

    __tablename__ = "identity"
    __table_args__ = (Index("ux_identity_user", "user_id", "issuer", unique=True),)
    issuer: Mapped[str] = mapped_column(String(500), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    """The ID token's `sub`: the one name that a provider gives to nobody else, ever."""
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("user.id"))
    created_at: Mapped[float]


class RoleGrant(Base):
    """A role of the organisation that somebody has beside being a member."""

    __tablename__ = "role_grant"
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("user.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(16), primary_key=True)
    """"auditor" or "operator"."""
    site: Mapped[str] = mapped_column(String(63), primary_key=True)
    """Of an operator; empty for an auditor, who looks at all of them."""
    created_at: Mapped[float]
