"""Documents as deep as they are long: refused with a word, whoever reads them."""

from __future__ import annotations

import msgspec
import pytest

from netd.overlay import refused_version
from netd.wire import LinkReport, News, SpecError, Table, decode
from netd.wire.envelope import Envelope

DEEP = b"[" * 900_000


@pytest.mark.parametrize("shape", [LinkReport, News, Table, Envelope])
@pytest.mark.parametrize("body", [DEEP, b'{"a":' + DEEP, b'{"version":' + DEEP, b'{"a":' * 200_000])
def test_depth_is_a_refusal(shape: type[LinkReport], body: bytes) -> None:
    with pytest.raises(SpecError):
        decode(body, shape)


def test_the_version_of_a_refused_document_may_hide_in_any_depth() -> None:
    sealed = msgspec.json.encode(Envelope(payload=b'{"a":' + DEEP + b"]" * len(DEEP) + b',"version":7}', signature=b""))
    assert refused_version(sealed) == 0
