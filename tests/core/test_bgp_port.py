"""BGP is spoken at 179 of a link's own addresses and heard at a port that is the garage's own."""

from __future__ import annotations

from netd.core.bgp_port import bgp_port
from netd.core.desired import Desired
from netd.core.floor import Floor
from netd.core.nft_text import skeleton
from netd.core.overlay import Overlay, interface
from tests.core.test_table import LINK, NODE, TSUKUBA, view


def test_garages_on_one_server_have_ports_of_their_own_that_no_connection_is_given() -> None:
    ports = {bgp_port(instance) for instance in ("aaa", "aab", "tst", "tsu", "zzz", "000")}
    assert len(ports) == 6
    assert all(20_000 <= port < 32_768 for port in ports)


def rules(overlay: Overlay, chain: str) -> str:
    text = skeleton(Desired(NODE, Floor(), overlay))
    return text.partition(f"  chain {chain} {{")[2].partition("\n  }")[0]


def test_only_what_the_peer_sends_to_this_end_of_its_link_reaches_it() -> None:
    device, port = interface("tst", 17), bgp_port("tst")
    text = skeleton(Desired(NODE, Floor(), view(TSUKUBA)))
    assert f'add element inet garage_tst here4 {{ "{device}" . {LINK.ipv4} }}\n' in text
    assert f'add element inet garage_tst here6 {{ "{device}" . {LINK.ipv6} }}\n' in text
    led = f"iifname . ip saddr @peers4 iifname . ip daddr @here4 tcp dport 179 dnat to :{port}"
    assert led in rules(view(TSUKUBA), "to_bgpd")
    peer = rules(view(TSUKUBA), "from_peer")
    assert "dport" not in peer
    assert "iifname . ip daddr @here4 jump from_peer_here" in peer
    assert f"tcp dport {port} accept" in rules(view(TSUKUBA), "from_peer_here")
    assert f'iifname != "lo" tcp dport {port} drop' in rules(view(TSUKUBA), "input")
    paused = skeleton(Desired(NODE, Floor(), view(TSUKUBA, paused=True)))
    assert device not in paused
