"""Tables of images on their way."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from garage.db.models import Base, Id, Json


class CloudSchema(Base):
    """What a release of cloud-init takes: images whose manifest has its sha256 as `user_data_schema` bring that one along."""

    __tablename__ = "cloud_schema"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    text: Mapped[str] = mapped_column(Text)


class ImageTask(Base):
    """An image that somebody wants: brought from elsewhere, built, or made of a machine; or a machine's disk, to be fetched. A worker
    carries it out; the row stays as the last word about it."""

    __tablename__ = "image_task"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    """ "import", "build", "save" or "disk"."""
    name: Mapped[str] = mapped_column(String(64))
    node: Mapped[str] = mapped_column(String(32))
    """Whose server has the images and takes uploads: a worker of that server does it."""
    url: Mapped[str] = mapped_column(String(2000), default="")
    """Empty: the file is uploaded."""
    machine: Mapped[str] = mapped_column(String(20), default="", index=True)
    """The id of the one that is saved, or whose disk it is."""
    snapshot: Mapped[str] = mapped_column(String(20), default="")
    """The id of its snapshot; empty: the disk itself."""
    recipe: Mapped[str] = mapped_column(Text, default="")
    sha256: Mapped[str] = mapped_column(String(64), default="")
    """Of the file as it comes."""
    format: Mapped[str] = mapped_column(String(8), default="")
    boot: Mapped[str] = mapped_column(String(8), default="")
    visibility: Mapped[str] = mapped_column(String(8))
    """ "own", "project" or "all"."""
    project_id: Mapped[str | None] = mapped_column(ForeignKey("project.id"))
    owner_id: Mapped[str] = mapped_column(ForeignKey("user.id"), index=True)
    state: Mapped[str] = mapped_column(String(16))
    """ "uploading", "waiting", "running", "failed", "done"."""
    step: Mapped[str] = mapped_column(String(16), default="")
    done: Mapped[int] = mapped_column(BigInteger, default=0)
    total: Mapped[int] = mapped_column(BigInteger, default=0)
    """Of the step, in bytes, or in per mille of a build; 0: not known."""
    error: Mapped[Json | None] = mapped_column(JSON)
    reserved: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Bytes of a project's quota that it takes until it has ended."""
    request: Mapped[str] = mapped_column(String(64), default="", server_default="")
    """Id of the request that asked for it: it stands in the worker's log."""
    asked_at: Mapped[float]
    worker: Mapped[str] = mapped_column(String(64), default="")
    changed_at: Mapped[float]
    """Of the last word about it: an upload or a worker that is silent for long has ended."""
