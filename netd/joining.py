"""`netd join`: use an invitation, check the answer, write down the membership. Nothing is left behind by one that fails."""

from __future__ import annotations

import time
from dataclasses import dataclass

from netd.config import Config
from netd.core.link_checks import check_domain
from netd.core.token import Token, parse_token
from netd.errors import NetdError
from netd.membership import Home, Membership, home
from netd.node import Node
from netd.shell import kernel, keys, registry, tunnels
from netd.wire import JoinAnswer, JoinRequest, LinkSpec, NodeSpec, SpecError, Table, open_sealed

DEFAULT_PORT, DEFAULT_PORTS = 51_820, 100
"""WireGuard's customary port and those after it."""
MAX_ENDPOINTS = 8


@dataclass(frozen=True, slots=True)
class Joined:
    """What the operator is told."""

    site: str
    domain: str
    asn: int
    ipv4: str
    ipv6: str
    renumber: bool
    """The registry gave other prefixes than the site has: it keeps its own network but is not reached until it renumbers."""


def join(
    config: Config, url: str, token_text: str, *, port: int = DEFAULT_PORT, ports: int = DEFAULT_PORTS, domain: str = ""
) -> Joined:
    """`domain`: the network's, as the operator has it from somebody else than the registry. Raises NetdError("token"), ("registry") or
    ("config")."""
    token, place = parse_token(token_text), home(config.state_dir)
    _check_not_joined(place)
    node = Node(config)
    node.adopt()
    if node.spec is None:
        raise NetdError("config", "this node has no network of its own yet", hint="make up first, then join")
    place.make()
    request = _request(config, node.spec, token, keys.public(place.path, 1), port, ports)
    answer, key = registry.join(url, token, request)
    try:
        spec, table = open_sealed(answer.spec, key, LinkSpec), open_sealed(answer.table, key, Table)
    except SpecError as error:
        raise NetdError("registry", f"the registry's answer is not its own: {error.text}") from None
    own = node.spec.domain
    _check_domain(table.domain, own, domain or (own.partition(".")[2] if url == config.controller_url else ""))
    place.save(
        _membership(url, token, answer, table, config, port, ports), answer.credential, answer.spec, answer.table
    )
    return _joined(spec, table, node.spec)


def _check_domain(found: str, own: str, confirmed: str) -> None:
    """The domain of this server's own controller, when it is the registry, is right by itself."""
    if confirmed not in ("", found):
        raise NetdError("registry", f"the network's domain is {found}, not {confirmed}", hint="ask its operator")
    try:
        check_domain(found, own=own, confirmed=confirmed)
    except SpecError as error:
        again = f"if it is right, the same line works again with --domain {found}; else tell the registry's operator"
        raise NetdError("registry", error.text, hint=again) from None


def _check_not_joined(place: Home) -> None:
    if (member := place.membership()) is not None:
        raise NetdError(
            "config",
            f"this node is site {member.site} of {member.url} already",
            hint="netd leave, before it joins another",
        )


def _request(config: Config, spec: NodeSpec, token: Token, key: str, port: int, ports: int) -> JoinRequest:
    bridge = spec.bridge
    addresses = kernel.own_addresses(bridge=bridge.name, links=f"gl{config.instance}")[:MAX_ENDPOINTS]
    return JoinRequest(
        token=token.secret,
        node=config.node,
        ipv4=bridge.site_ipv4,
        ipv6=bridge.site_ipv6,
        key=key,
        port=port,
        ports=ports,
        endpoints=tuple(f"[{a}]:{port}" if ":" in a else f"{a}:{port}" for a in addresses),
        kernel=tunnels.has_module(),
        time=time.time(),
    )


def _membership(
    url: str, token: Token, answer: JoinAnswer, table: Table, config: Config, port: int, ports: int
) -> Membership:
    return Membership(
        url=url,
        certificate=token.certificate.hex(),
        registry_key=answer.registry_key,
        site=answer.site,
        domain=table.domain,
        node=config.node,
        port=port,
        ports=ports,
        joined_at=time.time(),
    )


def _joined(spec: LinkSpec, table: Table, own: NodeSpec) -> Joined:
    mine = next((site for site in table.sites if site.site == spec.site), None)
    if mine is None:
        raise NetdError("registry", "the registry's table does not have this site in it")
    renumber = (mine.ipv4, mine.ipv6) != (own.bridge.site_ipv4, own.bridge.site_ipv6)
    return Joined(spec.site, table.domain, spec.asn, mine.ipv4, mine.ipv6, renumber)
