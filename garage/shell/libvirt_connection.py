"""One connection to a node's libvirt: made when first needed and again after a loss, with a deadline for each call."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import libvirt

from garage.core import names
from garage.core.hypervisor_types import Listener
from garage.core.types import NodeAccess
from garage.errors import N_, GarageError
from garage.shell.deadline import Deadline
from garage.shell.ways import Ways

T = TypeVar("T")
DEADLINE = 15.0
"""Seconds that a call may take."""
CONNECT_DEADLINE = 10.0
"""Of connecting to another server."""
KEEPALIVE = (2, 3)
"""Seconds between keepalive messages, and how many may stay unanswered: libvirt gives the connection up 2 * (3 + 1) = 8 s after the last
word (virConnectSetKeepAlive). A node that still sends and no longer hears says one word more, its own keepalive after 5 s (libvirtd.conf,
keepalive_interval): 13 s, so that either is noticed within 15."""
LOST_CODES = (libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_ERR_RPC)


class LibvirtConnection:
    """Of one instance: of other domains nothing is heard."""

    def __init__(
        self,
        node: str | NodeAccess,
        *,
        instance: str,
        home: Path,
        deadline: float = DEADLINE,
        ways: Ways | None = None,
    ) -> None:
        """`node`: a URI alone where libvirt runs on this server. `home`: GARAGE_HOME on the node. `ways`: to it and to others."""
        self._node = node if isinstance(node, NodeAccess) else NodeAccess("", node)
        self._uri, self._instance, self._console = self._node.hypervisor, instance, home / "console"
        self._ways = ways or Ways(home)
        self._host = self._ways.host(self._node)
        self._prefix = names.domain(instance, "")
        self._deadline, self._seconds = Deadline(), deadline
        self._lock = threading.Lock()
        self._connection: Any = None
        self._silent = False
        """Its keepalive stayed unanswered: whoever asks next is told so, before it is tried again."""
        self._listener: Listener = lambda _id: None
        _start_events()

    def listen(self, listener: Listener) -> None:
        self._listener = listener

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            self._hang_up(connection)
        self._ways.close()

    def _hang_up(self, connection: Any) -> None:
        with contextlib.suppress(TimeoutError, libvirt.libvirtError):
            self._deadline.run(connection.close, 2.0)

    def _find(self, connection: Any, machine_id: str) -> Any:
        """The domain object, None when it is not defined."""
        try:
            return connection.lookupByName(names.domain(self._instance, machine_id))
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise

    def _on(self, machine_id: str, work: Callable[[Any], None], *, seconds: float | None = None) -> None:
        name = names.domain(self._instance, machine_id)
        self._call(lambda connection: work(connection.lookupByName(name)), seconds=seconds)

    def _ask(self, machine_id: str, work: Callable[[Any], T]) -> T:
        name = names.domain(self._instance, machine_id)
        return self._call(lambda connection: work(connection.lookupByName(name)))

    def _where_on(self, machine_id: str, work: Callable[[Any], None]) -> None:
        """Nothing where it is not on."""

        def look(connection: Any) -> None:
            domain = self._find(connection, machine_id)
            with contextlib.suppress(Missing), missing_is_gone():
                if domain and domain.isActive():
                    work(domain)

        self._call(look)

    def _call(self, work: Callable[[Any], T], *, ignore: tuple[int, ...] = (), seconds: float | None = None) -> T:
        connection, seconds = self._connected(), seconds or self._seconds
        try:
            return self._deadline.run(lambda: work(connection), seconds)
        except TimeoutError:
            self._lose(connection)
            raise away(f"no answer within {seconds:g} s") from None
        except libvirt.libvirtError as error:
            if error.get_error_code() in ignore:
                return None  # type: ignore[return-value]
            if self._is_lost(connection, error):
                self._lose(connection)
                raise away(str(error)) from None
            raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason=str(error)[:400]) from None

    def _is_lost(self, connection: Any, error: libvirt.libvirtError) -> bool:
        if error.get_error_code() in LOST_CODES or error.get_error_domain() == libvirt.VIR_FROM_RPC:
            return True
        try:
            return not connection.isAlive()
        except libvirt.libvirtError:
            return True

    def _connected(self) -> Any:
        with self._lock:
            if self._connection is not None:
                return self._connection
            silent, self._silent = self._silent, False
        if silent:
            raise away(f"no answer within {KEEPALIVE[0] * (KEEPALIVE[1] + 1)} s")
        connection = self._dial(
            self._node, min(self._seconds, CONNECT_DEADLINE) if self._node.address else self._seconds
        )
        with self._lock:
            if self._connection is None:
                self._connection = connection
            return self._connection

    def _dial(self, node: NodeAccess, seconds: float) -> Any:
        """A new connection to a node; events are heard of our own alone."""
        try:
            return self._deadline.run(lambda: self._open(node), seconds)
        except TimeoutError:
            raise away(f"no connection within {seconds:g} s") from None
        except libvirt.libvirtError as error:
            raise away(str(error)) from None

    def _open(self, node: NodeAccess) -> Any:
        connection = libvirt.open(self._ways.uri(node))
        with contextlib.suppress(libvirt.libvirtError):  # drivers without a daemon have no keepalive
            connection.setKeepAlive(*KEEPALIVE)
        if node is self._node:
            self._subscribe(connection)
        return connection

    def _subscribe(self, connection: Any) -> None:
        connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle, None)
        with contextlib.suppress(libvirt.libvirtError):  # not every driver has guest agents
            agent = libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE
            connection.domainEventRegisterAny(None, agent, self._on_lifecycle, None)
        with contextlib.suppress(libvirt.libvirtError):
            connection.registerCloseCallback(self._on_close, None)

    def _lose(self, connection: Any) -> None:
        """Forget a connection that failed; it is not closed here, because closing may hang as well."""
        with self._lock:
            if self._connection is connection:
                self._connection = None

    def _on_lifecycle(self, _connection: Any, domain: Any, _event: int, _detail: int, _opaque: Any) -> None:
        name = domain.name()
        if name.startswith(self._prefix):
            self._listener(name.removeprefix(self._prefix))

    def _on_close(self, connection: Any, reason: int, _opaque: Any) -> None:
        self._lose(connection)
        self._silent = reason == libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE
        self._listener("")


class Missing(Exception):
    """The domain went away while it was looked at."""


@contextlib.contextmanager
def missing_is_gone() -> Any:
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            raise Missing from None
        raise


def away(reason: str) -> GarageError:
    return GarageError(
        "hypervisor_away",
        N_("libvirt does not answer: {reason}"),
        hint=N_("nothing is lost; machines go on, and so does the work when it is back"),
        reason=reason[:300],
    )


log = logging.getLogger(__name__)
EVENTS_AGAIN = 0.5
"""Seconds after which libvirt's event loop goes on that ended with an error."""
_events_lock = threading.Lock()
_events_running = False


def _start_events() -> None:
    """libvirt's event loop, once per process and before the first connection: it carries events and keepalive."""
    global _events_running
    with _events_lock:
        if _events_running:
            return
        libvirt.registerErrorHandler(lambda *_: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run_events, name="libvirt-events", daemon=True).start()
        _events_running = True


def _run_events() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:  # without this thread no connection would be kept alive
            log.warning("libvirt's events: %s", error)
            time.sleep(EVENTS_AGAIN)
