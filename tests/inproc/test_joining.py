"""`netd join` where the network's domain may be others': nothing is joined until it was named, and then the same line works."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from garage.services import invitations
from garage.services.context import Caller, Context
from netd.config import Config
from netd.errors import NetdError
from netd.joining import join
from netd.lab.sites import Network
from netd.membership import home
from netd.wire import seal
from tests.inproc.served import serving


@pytest.fixture
def node(tmp_path: Path) -> Config:
    """A site's server with a network of its own, as its controller has said."""
    key = Ed25519PrivateKey.generate()
    state = tmp_path / "netd"
    state.mkdir()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (state / "controller.pub").write_bytes(public)
    (state / "last-good.json").write_bytes(seal(Network("tjd", "10.44.0.0/20", "fd44::/48").spec("node1"), key))
    for name in ("token", "office", "allow"):
        (state / name).touch()
    files = (state / "token", state / "controller.pub", state, state / "office", state / "allow")
    return Config("node1", "tjd", "http://127.0.0.1:9", *files)


def test_a_public_domain_is_confirmed_before_anything_is_joined(ctx: Context, admin: Caller, node: Config) -> None:
    public = replace(ctx, clock=time.time, config=replace(ctx.config, domain="com"))
    with serving(public) as running:
        token = invitations.invite(public, admin, "google", own_name="origin")[1]
        for named, said in (("", "domain is com, in which names may be others'"), ("org", "domain is com, not org")):
            with pytest.raises(NetdError, match=said) as caught:
                join(node, running.url, token, domain=named)
            assert caught.value.hint
            assert home(node.state_dir).membership() is None
        joined = join(node, running.url, token, domain="com")
        member = home(node.state_dir).membership()
    assert (joined.site, joined.domain) == ("google", "com")
    assert member is not None
    assert member.domain == "com"


def test_a_private_domain_needs_no_word(ctx: Context, admin: Caller, node: Config) -> None:
    now = replace(ctx, clock=time.time)
    with serving(now) as running:
        token = invitations.invite(now, admin, "tsukuba", own_name="origin")[1]
        assert join(node, running.url, token).domain == "garage.internal"
