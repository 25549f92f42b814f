"""A node that waits to be adopted after a restore is only looked at; what was kept without a row is asked to shut down afterwards."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from garage.core.hypervisor_types import Domain, Hypervisor, Power
from garage.core.plan import ASK_AGAIN
from garage.errors import GarageError
from garage.services import adoption, work
from garage.services.context import Context
from garage.services.work import Hold, NodeWork

log = logging.getLogger(__name__)


class Adopter:
    """Used by a node's loop; it asks guests on threads that may wait for them."""

    def __init__(
        self,
        ctx: Context,
        hypervisor: Hypervisor,
        run: Callable[[Callable[[], None]], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ctx, self._hypervisor, self._run, self._monotonic = ctx, hypervisor, run, monotonic
        self._waiting = False
        self._asked: dict[str, float] = {}

    def turn(self, hold: Hold, load: NodeWork, domains: Mapping[str, Domain]) -> bool:
        """After every load; True when `domains` are of before the restore, and all has to be looked at anew."""
        first, self._waiting = load.adopting and not self._waiting, load.adopting
        if load.adopting and not first:
            adoption.record(self._ctx, hold, domains)
        for domain_id in () if load.parked else load.kept:
            self._shut(hold, domain_id, domains.get(domain_id))
        return first

    def _shut(self, hold: Hold, domain_id: str, domain: Domain | None) -> None:
        """Asked again and again while it runs, never forced; once it does not, it is left to whoever looks after it."""
        if domain is None or domain.power is not Power.RUNNING:
            self._asked.pop(domain_id, None)
            work.let_go(self._ctx, hold, domain_id)
        elif self._monotonic() - self._asked.get(domain_id, -ASK_AGAIN) >= ASK_AGAIN:
            self._asked[domain_id] = self._monotonic()
            self._run(lambda: self._ask(domain_id))

    def _ask(self, domain_id: str) -> None:
        try:
            self._hypervisor.shutdown(domain_id)
        except GarageError as error:
            log.warning("%s: %s", domain_id, error)
