"""How the page of images tells of them: for whom, how they boot, and what those on their way are at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from garage.core.shipped import Shipped
from garage.errors import N_, GarageError
from garage.services.image_tasks import TaskView
from garage.services.views import ImageView
from web.i18n import Told, told

PEOPLE: dict[str, str] = {"own": N_("you alone"), "project": N_("a project"), "all": N_("everybody")}
BOOTS: dict[str, str] = {"kernel": N_("directly"), "bios": "BIOS", "uefi": "UEFI"}
STEPS: dict[str, str] = {
    "": N_("waiting for a worker"),
    "upload": N_("waiting for its file"),
    "fetch": N_("fetching"),
    "check": N_("comparing its sha256"),
    "unpack": N_("decompressing"),
    "convert": N_("converting"),
    "copy": N_("copying its disk"),
    "strip": N_("taking its identity off"),
    "packages": N_("installing packages"),
    "disk": N_("making the disk"),
    "checksums": N_("comparing checksums"),
}


RECIPES: dict[str, str] = {
    "debian-12": N_("The default: lets one in as early as possible."),
    "debian-12-containers": N_("To run containers: Podman without root, Docker with sudo."),
    "debian-12-desktop": N_("A desktop (Xfce) that one looks at through VNC."),
    "debian-12-gpu": N_("For machines with a GPU: Debian's generic kernel with headers, ready for a driver."),
    "debian-12-plain": N_("The same packages with nothing tuned, to compare with."),
    "debian-12-robotics": N_("MuJoCo, MCAP and Zenoh in a Python environment of one's own."),
    "debian-13": N_("Made as the default is, with the newer release of Debian."),
}
"""What those that ship are for."""
TITLES = (
    N_("Debian 12, Podman and Docker"),
    N_("Debian 12, desktop"),
    N_("Debian 12, for GPUs"),
    N_("Debian 12, not tuned"),
    N_("Debian 12, robotics"),
)
"""Titles of those that ship; a title that somebody else wrote is shown as it is."""


@dataclass(frozen=True, slots=True)
class Buildable:
    """A recipe that ships, with what there is of it."""

    recipe: Shipped
    about: str
    image: ImageView | None
    """The current image of its name that the garage built."""
    busy: bool


def buildable(recipes: Iterable[Shipped], built: Mapping[str, ImageView], tasks: Sequence[TaskView]) -> list[Buildable]:
    busy = {task.name for task in tasks if task.kind == "build" and task.busy}
    return [Buildable(one, RECIPES.get(one.name, ""), built.get(one.name), one.name in busy) for one in recipes]


@dataclass(frozen=True, slots=True)
class Coming:
    """An image on its way, or why one did not come."""

    task: TaskView
    step: str
    percent: int | None
    """Of the step; None where it is not known."""
    error: Told | None


def coming(tasks: Sequence[TaskView]) -> list[Coming]:
    return [_coming(task) for task in tasks if task.state != "done"]


def _coming(task: TaskView) -> Coming:
    step = "upload" if task.state == "uploading" else task.step if task.state == "running" else ""
    percent = min(100, 100 * task.done // task.total) if task.total and task.busy else None
    error = told(GarageError.from_dict(task.error)) if task.error else None
    return Coming(task, STEPS.get(step, ""), percent, error)


def shelves(found: Sequence[ImageView]) -> tuple[list[ImageView], list[ImageView]]:
    """(those that new machines may boot, or should but are damaged; older ones, which only machines that exist still use)."""
    return [image for image in found if image.current], [image for image in found if not image.current]
