"""The domain of a network that is joined: names under it become other sites', so it may be nobody's whom machines might mean."""

from __future__ import annotations

import pytest

from netd.core.link_checks import check_domain
from netd.wire import SpecError

OWN = "home.garage.internal"


@pytest.mark.parametrize("domain", ["garage.internal", "internal", "lab.home.arpa", "net.test", "garage.lan"])
def test_under_a_private_suffix_all_is_well(domain: str) -> None:
    check_domain(domain, own=OWN, confirmed="")


@pytest.mark.parametrize("domain", ["com", "example.com", "co.jp", "arpa", "notinternal", "internal.com", "test.org"])
def test_elsewhere_it_must_be_named(domain: str) -> None:
    """Site google in com would be asked for google.com."""
    for confirmed in ("", "org"):
        with pytest.raises(SpecError, match=f"the network's domain is {domain}"):
            check_domain(domain, own=OWN, confirmed=confirmed)
    check_domain(domain, own=OWN, confirmed=domain)


def test_what_this_servers_own_names_are_in_is_known() -> None:
    check_domain("net.example.org", own="home.net.example.org", confirmed="")
    check_domain("net.example.org", own="net.example.org", confirmed="")
    for other in ("example.org", "org"):
        with pytest.raises(SpecError):
            check_domain(other, own="home.net.example.org", confirmed="")
    with pytest.raises(SpecError):
        check_domain("com", own="home.com", confirmed="")
