"""dnsmasq's files, for two processes of it.

One answers names and reads them again on SIGHUP without missing a query. The other gives addresses and is restarted when machines
change: dnsmasq 2.86 to 2.90 dies of SIGHUP once a host with a tag ("set:") has had its address, since it then frees a list that
the answer had linked to its own stack. A DHCP client simply asks again.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

from netd.core.desired import Desired
from netd.wire import MachineName, MachineNet

LEASE4 = "2h"
"""A freed address rests far longer before it is given again (garage.core.ipam)."""
LEASE6 = "5m"
"""dnsmasq refuses a fixed /128 to another DUID while a lease is held, and a machine's DUID changes when its disk is made anew."""
NAMES_TTL = 5
"""Seconds that a machine's name may be remembered: machines come and go."""
FORWARDS = 1000
"""Questions under way at a time: those to a site that is away wait for their time to be over and leave room for others'."""


def dns_config(wanted: Desired, state: Path) -> str:
    """Names of the site's machines, authoritative; everything else is forwarded to this server's own resolvers. The first line
    lets a change of the bridge's addresses, to which dnsmasq binds when it starts, change the text."""
    domain = wanted.spec.domain
    lines = [
        f"# on {wanted.spec.bridge.ipv4} and {wanted.spec.bridge.ipv6}",
        *(
            "bind-interfaces",
            f"interface={wanted.spec.bridge.name}",
            "except-interface=lo",
            "no-hosts",
            "log-facility=-",
        ),
        *(
            f"pid-file={state / 'dns.pid'}",
            f"addn-hosts={state / 'names'}",
            f"servers-file={state / 'sites'}",
            f"domain={domain}",
            f"local=/{domain}/",
        ),
        *("bogus-priv", "domain-needed", "cache-size=2000", f"dns-forward-max={FORWARDS}", f"local-ttl={NAMES_TTL}"),
    ]
    return "\n".join(lines) + "\n"


def dhcp_config(wanted: Desired, state: Path) -> str:
    """A machine gets /32 with the gateway by option 121 (RFC 3442), and a /128; router advertisements say "managed", their prefix
    is neither on-link (machines talk through the node) nor autonomous. The router is always announced, since the site's own
    prefix lies behind it; without an IPv6 uplink the internet answers "no route" at once, and RFC 6724 prefers IPv4 over a ULA
    source anyway."""
    bridge = wanted.spec.bridge
    site4 = ipaddress.IPv4Network(bridge.site_ipv4)
    first64 = ipaddress.IPv6Network((int(ipaddress.IPv6Network(bridge.site_ipv6).network_address), 64))
    lines = [
        *("port=0", "bind-interfaces", f"interface={bridge.name}", "except-interface=lo", "no-ping", "log-facility=-"),
        *(
            f"pid-file={state / 'dhcp.pid'}",
            f"dhcp-leasefile={state / 'dhcp.leases'}",
            "quiet-dhcp",
            "quiet-dhcp6",
            "quiet-ra",
        ),
        *(f"dhcp-hostsfile={state / 'hosts'}", f"dhcp-optsfile={state / 'options'}", f"domain={wanted.spec.domain}"),
        f"dhcp-range={site4.network_address},static,{site4.netmask},{LEASE4}",
        f"dhcp-range={first64.network_address},static,off-link,64,{LEASE6}",
        *(
            "dhcp-authoritative",
            "enable-ra",
            f"ra-param={bridge.name},60,1800",
            f"dhcp-lease-max={site4.num_addresses}",
        ),
        "dhcp-option=option:netmask,255.255.255.255",
        f"dhcp-option=option:router,{bridge.ipv4}",
        f"dhcp-option=option:classless-static-route,{bridge.ipv4}/32,0.0.0.0,0.0.0.0/0,{bridge.ipv4}",
        f"dhcp-option=option:dns-server,{bridge.ipv4}",
        f"dhcp-option=option:ntp-server,{bridge.ipv4}",
        f"dhcp-option=option6:dns-server,[{bridge.ipv6}]",
        f"dhcp-option=option6:ntp-server,[{bridge.ipv6}]",
        f"dhcp-option=option6:sntp-server,[{bridge.ipv6}]",
    ]
    return "\n".join(lines) + "\n"


def hosts_text(wanted: Desired) -> str:
    """dhcp-hostsfile: MAC → both addresses, with a tag for the project's search domain."""
    rows = [f"{m.mac},set:p-{m.project},{m.ipv4},[{m.ipv6}]" for m in wanted.spec.machines]
    return "".join(f"{row}\n" for row in sorted(rows))


def options_text(wanted: Desired) -> str:
    """dhcp-optsfile: a machine finds its project's other machines by their short names."""
    domain = wanted.spec.domain
    rows = []
    for project in sorted({m.project for m in wanted.spec.machines}):
        search = f"{project}.{domain},{domain}"
        rows += [f"tag:p-{project},option:domain-search,{search}", f"tag:p-{project},option6:domain-search,{search}"]
    return "".join(f"{row}\n" for row in rows)


def names_text(wanted: Desired) -> str:
    """addn-hosts: forward and reverse names of both families, other nodes' machines included; the gateway is gateway.SITE.DOMAIN."""
    bridge, domain = wanted.spec.bridge, wanted.spec.domain
    rows = [f"{bridge.ipv4} gateway.{domain}", f"{bridge.ipv6} gateway.{domain}"]
    named: list[MachineNet | MachineName] = [*wanted.spec.machines, *wanted.spec.elsewhere]
    for m in named:
        rows += [f"{m.ipv4} {m.name}.{m.project}.{domain}", f"{m.ipv6} {m.name}.{m.project}.{domain}"]
    return "".join(f"{row}\n" for row in sorted(rows))


def sites_text(wanted: Desired) -> str:
    """servers-file, read again on SIGHUP: who answers for other sites' names, forward and reverse, asked from the gateway's address,
    which alone they know a way back to."""
    bridge, rows = wanted.spec.bridge, []
    for zone in wanted.overlay.zones:
        for server in zone.servers:
            to = f"{server}@{bridge.ipv6 if ':' in server else bridge.ipv4}"
            rows += [f"server=/{zone.domain}/{to}", *(f"rev-server={net},{to}" for net in zone.networks)]
    return "".join(f"{row}\n" for row in rows)


def chrony_text(wanted: Desired, state: Path) -> str:
    """chronyd that serves this server's clock to its machines and never sets it (`-x`)."""
    bridge = wanted.spec.bridge
    lines = [
        *(
            f"bindaddress {bridge.ipv4}",
            f"bindaddress {bridge.ipv6}",
            f"allow {bridge.site_ipv4}",
            f"allow {bridge.site_ipv6}",
        ),
        *(
            "local stratum 8",
            "cmdport 0",
            "bindcmdaddress /",  # no socket for commands
            f"pidfile {state / 'ntp.pid'}",
        ),
    ]
    return "\n".join(lines) + "\n"
