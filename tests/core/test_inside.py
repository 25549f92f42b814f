"""Who is a node of this very site: the server's root says so, and no registry alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from netd.config import load
from netd.core.desired import Desired
from netd.core.floor import Floor
from netd.core.link_checks import check_asns, without_strangers
from netd.core.nft_text import skeleton
from netd.core.overlay import interface, make_overlay
from netd.errors import NetdError
from netd.wire import LinkSpec, SpecError, Table
from netd.wire.link import Order
from tests.core.test_table import LINK, NODE, OWN, SPEC, TSUKUBA, site

TABLE = Table(version=1, domain="garage.internal", sites=(site("home1", 0, *OWN), TSUKUBA))
INSIDE = msgspec.structs.replace(LINK, number=20, peer_site="home1", peer_node="node2", peer_asn=SPEC.asn)


def changed(**values: Any) -> LinkSpec:
    return msgspec.structs.replace(SPEC, links=(msgspec.structs.replace(LINK, **values),))


def test_numbers_as_allotted_pass() -> None:
    check_asns(SPEC, TABLE)
    check_asns(msgspec.structs.replace(SPEC, links=(LINK, INSIDE)), TABLE)
    check_asns(changed(peer_site="newcomer", peer_asn=SPEC.asn + 9), TABLE)  # the Table that knows it is on its way


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (changed(peer_asn=SPEC.asn), "tsukuba is not this very site, and yet AS 4200000000"),
        (changed(peer_site="newcomer", peer_asn=SPEC.asn), "newcomer is not this very site, and yet AS 4200000000"),
        (changed(peer_site="home1"), "home1 is this very site, and yet not AS 4200000000"),
        (changed(peer_asn=SPEC.asn + 5), "tsukuba is AS 4200000005, the table says 4200000001"),
        (changed(peer_site="newcomer"), "newcomer is AS 4200000001, which is another site's"),
        (msgspec.structs.replace(changed(peer_asn=SPEC.asn + 5), asn=SPEC.asn + 5), "the table says 4200000000"),
    ],
)
def test_a_number_that_is_not_its_sites_is_refused(spec: LinkSpec, said: str) -> None:
    with pytest.raises(SpecError) as error:
        check_asns(spec, TABLE)
    assert error.value.code == "content"
    assert said in error.value.text


@pytest.mark.parametrize("paused", [False, True])
def test_a_node_that_the_servers_root_has_not_named_gets_no_link(paused: bool) -> None:
    """It would speak with this site's addresses, and go on while all other sites are stopped."""
    order = Order(id="a", link=20, role="server", seconds=1, mbit=1, not_after=1e10)
    spec = msgspec.structs.replace(SPEC, links=(LINK, INSIDE), order=order)
    kept, said = without_strangers(spec, ())
    assert (kept.links, kept.order) == ((LINK,), None)
    assert said == ("node node2 of this very site: neither its controller nor “peers” in netd.toml names it",)
    view = make_overlay("tst", kept, TABLE, Floor(), OWN, paused=paused)
    assert [peer.inside for peer in view.peers] == [False]
    text = skeleton(Desired(NODE, Floor(), view))
    assert interface("tst", 20) not in text
    assert "set inside { type ifname; }" in " ".join(text.split())


def test_a_node_that_it_has_named_is_inside_also_while_paused() -> None:
    spec = msgspec.structs.replace(SPEC, links=(LINK, INSIDE))
    assert without_strangers(spec, ("node2",)) == (spec, ())
    view = make_overlay("tst", spec, TABLE, Floor(), OWN, paused=True)
    assert {peer.interface: peer.inside for peer in view.peers} == {
        interface("tst", 17): False,
        interface("tst", 20): True,
    }


def test_the_names_are_read_from_netds_settings(tmp_path: Path) -> None:
    file = tmp_path / "netd.toml"
    needed = ("node", "instance", "controller_url", "token_file", "controller_key", "state_dir", "office_file")
    text = "".join(f'{key} = "x"\n' for key in (*needed, "allow_file"))
    for line, found in (("", ()), ('peers = ["node2", "node-3"]\n', ("node2", "node-3"))):
        file.write_text(text + line)
        assert load(file).peers == found
    for bad in ('"node2"', "[2]", '["Node 2"]', '[""]'):
        file.write_text(f"{text}peers = {bad}\n")
        with pytest.raises(NetdError, match="peers is a list"):
            load(file)
