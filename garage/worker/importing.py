"""Brings, builds and saves images that people want, some at a time; looks at stored ones now and then; removes what nobody uses."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from garage import tracing
from garage.config import Config
from garage.core.recipe import recipe_of
from garage.errors import N_, GarageError
from garage.services import disk_copies, image_tasks, images, saving
from garage.services.context import Context
from garage.services.image_tasks import Task
from garage.services.saving import Place
from garage.shell.disk_export import ExportOrder, disk_at, export_disk, forget_others
from garage.shell.disk_sources import Source, on_node, on_this_server, path_of
from garage.shell.image_import import Order, make_image, upload_path
from garage.shell.image_save import SaveOrder, save_image
from garage.shell.images import build, user_data_schema, verify
from garage.shell.mirrors import server_mirror
from garage.shell.node_images import LocalImages
from garage.shell.outward_fetch import server_guard
from garage.shell.ways import Ways
from garage.worker.signs import saying

log = logging.getLogger(__name__)
LANES = 2
"""Tasks at a time, of different people: one whose disk is slow to read, or means to be, holds up nobody else."""
LOOK = 1.0
TELL = 1.0
"""Seconds between two words about a step: each is a write."""
TIDY = 600.0
PER_MILLE = 1000
PLACES = ("import", "save", "disk")
"""Begin the names of tasks' folders below `work`."""
MOST_KEPT = 256 << 30
"""Bytes of machines' disks that wait to be fetched; beyond that the oldest goes."""


class Importer:
    """One per worker process, in threads of its own; works on what lies on this server."""

    def __init__(self, ctx: Context, config: Config, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ctx, self._config, self._monotonic = ctx, config, monotonic
        self._server = socket.gethostname()[:40]
        self._worker = f"{self._server}/{os.getpid()}"
        self._tidy_at = monotonic() + TIDY / 10

    def start(self, stop: threading.Event) -> None:
        for lane in range(LANES):
            name = f"importing-{lane}"
            threading.Thread(target=self._for_ever, args=(stop, lane), name=name, daemon=True).start()

    def _for_ever(self, stop: threading.Event, lane: int) -> None:
        while not stop.wait(LOOK):
            try:
                self.turn()
                if lane == 0:
                    self.tidy()
            except Exception as error:  # noqa: BLE001  (a database that is away must not end the thread)
                log.warning("images: %s", error)

    def turn(self) -> bool:
        """Carry out one task; False when there was none."""
        task = image_tasks.claim(self._ctx, self._worker, ended=self._ended)
        if task is None:
            return False
        with tracing.of(task.request):
            self._do(task)
        return True

    def _do(self, task: Task) -> None:
        log.info("%s of image %s", task.kind, task.name)
        try:
            self._carry_out(task)
        except GarageError as error:
            log.warning("image %s: %s", task.name, error)
            self._failed(task, error)
        except Exception as error:
            self._failed(task, GarageError("internal", N_("an error of ours: {reason}"), reason=str(error)[:300]))
            raise
        finally:
            upload_path(self._config.home, task.id).unlink(missing_ok=True)

    def _carry_out(self, task: Task) -> None:
        if task.kind == disk_copies.KIND:
            disk_copies.done(self._ctx, task, *self._export(task))
            return
        manifest = {"import": self._bring, "build": self._build, "save": self._save}[task.kind](task)
        schema = user_data_schema(self._config.home / "images", manifest["sha256"])
        try:
            image_tasks.done(self._ctx, task, manifest, schema)
        except GarageError:
            if task.kind != "build" and image_tasks.is_nobodys(self._ctx, task, manifest["sha256"]):
                LocalImages(self._config.home).remove(manifest["sha256"])
            raise

    def _failed(self, task: Task, error: GarageError) -> None:
        """One that was called off is forgotten already."""
        with contextlib.suppress(GarageError):
            (disk_copies if task.kind == disk_copies.KIND else image_tasks).failed(self._ctx, task, error)

    def _ended(self, worker: str) -> bool:
        """A process of this very server that is no more."""
        server, _, pid = worker.rpartition("/")
        return server == self._server and pid.isdigit() and not Path("/proc", pid).exists()

    def _bring(self, task: Task) -> dict[str, Any]:
        order = Order(task.id, task.name, task.url, task.sha256, task.format, task.boot)
        with self._alive(task):
            guard = server_guard(self._config.home)
            reserve = self._config.disk_reserve_mib << 20
            made = make_image(order, home=self._config.home, guard=guard, told=self._teller(task), reserve=reserve)
            return made.as_dict()

    def _save(self, task: Task) -> dict[str, Any]:
        with self._alive(task), self._ways() as ways:
            place = saving.place_of(self._ctx, task)
            source = self._source(place, ways)
            order = SaveOrder(task.id, task.name, source, place.image, lambda: self._still(task, place))
            reserve = self._config.disk_reserve_mib << 20
            return save_image(order, home=self._config.home, told=self._teller(task), reserve=reserve).as_dict()

    def _export(self, task: Task) -> tuple[int, str]:
        self._forget_disks()  # room for this one
        with self._alive(task), self._ways() as ways:
            place = saving.place_of(self._ctx, task)
            source = self._source(place, ways)
            order = ExportOrder(task.id, source, place.image, lambda: self._still(task, place))
            home, reserve = self._config.home, self._config.disk_reserve_mib << 20
            folder = home / disk_copies.FOLDER
            return export_disk(order, home=home, folder=folder, told=self._teller(task), reserve=reserve)

    def _still(self, task: Task, place: Place) -> None:
        """Raises where the machine has been started meanwhile."""
        if saving.place_of(self._ctx, task) != place:
            raise saving.started_meanwhile()

    def _source(self, place: Place, ways: Ways) -> Source:
        path = path_of(self._config.home, place.machine, place.snapshot)
        return on_node(place.node, ways, path) if place.node.address else on_this_server(path)

    @contextlib.contextmanager
    def _ways(self) -> Iterator[Ways]:
        ways = Ways(self._config.home)
        try:
            yield ways
        finally:
            ways.close()

    def _build(self, task: Task) -> dict[str, Any]:
        tell, home = self._teller(task), self._config.home
        with self._alive(task):
            recipe = recipe_of(json.loads(task.recipe))
            progress = lambda step, share: tell(step, int(share * PER_MILLE), PER_MILLE)  # noqa: E731
            made = build(
                recipe, store=home / "images", mirror=server_mirror(os.environ), work=home / "work", progress=progress
            )
            return made.as_dict()

    def _teller(self, task: Task) -> Callable[[str, int, int], None]:
        last, at = "", 0.0

        def tell(step: str, done: int, total: int) -> None:
            nonlocal last, at
            if step != last or self._monotonic() - at >= TELL:
                last, at = step, self._monotonic()
                image_tasks.progress(self._ctx, task, step[:16], done, total)

        return tell

    def _alive(self, task: Task) -> contextlib.AbstractContextManager[None]:
        return saying(lambda: image_tasks.keep_alive(self._ctx, task), image_tasks.DEAD_AFTER / 4)

    # --- what lies there -------------------------------------------------------------------------------------------------

    def tidy(self) -> None:
        """Cheap when nothing is due."""
        if self._monotonic() < self._tidy_at:
            return
        self._tidy_at = self._monotonic() + TIDY
        image_tasks.prune(self._ctx)
        self._forget_uploads()
        self._forget_disks()
        self._forget_places()
        store = LocalImages(self._config.home)
        for sha256 in images.condemned(self._ctx, store.present()):
            log.info("image %s: removed", sha256[:12])
            store.remove(sha256)
        self.verify_one(store.present())

    def _forget_uploads(self) -> None:
        folder, known = self._config.home / "uploads", image_tasks.known(self._ctx)
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in known:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _forget_disks(self) -> None:
        folder = self._config.home / disk_copies.FOLDER
        there = lambda task: disk_at(folder, task).is_file()  # noqa: E731
        forget_others(folder, lambda: disk_copies.keep(self._ctx, MOST_KEPT, there))

    def _forget_places(self) -> None:
        """What a killed worker has left of a task that nobody wants any more; a wanted one begins by removing its own."""
        folder = self._config.home / "work"
        found = list(folder.iterdir()) if folder.is_dir() else []
        known = image_tasks.known(self._ctx)  # after the look: another worker may begin a new one
        for path in found:
            kind, _, task = path.name.partition("-")
            if kind in PLACES and task not in known:
                shutil.rmtree(path, ignore_errors=True)

    def verify_one(self, present: frozenset[str]) -> None:
        """The one that was looked at longest ago, if that is a week."""
        sha256 = images.to_verify(self._ctx, present)
        if sha256 is None:
            return
        damaged = ""
        try:
            verify(self._config.home / "images", sha256)
        except GarageError as error:
            damaged = str(error.params.get("file", "?"))
            log.warning("image %s: %s", sha256[:12], error)
        except (OSError, ValueError, TypeError) as error:  # unreadable: as bad as different
            damaged = str(error)[:80]
        images.verified(self._ctx, sha256, damaged=damaged)
