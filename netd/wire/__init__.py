"""What travels between netd and its two authorities: the controller's NodeSpec, the registry's LinkSpec and Table, the reports.

This package and `netd.core` are all that the controller imports of netd. Shapes are closed: a field that is not listed here is
refused, so that an authority can never say more than its schema lets it.
"""

from netd.wire.envelope import MAX_SPEC_BYTES, Envelope, SpecError, decode, open_sealed, prepare, seal, unseal
from netd.wire.link import (
    Allotment,
    JoinAnswer,
    JoinRequest,
    Link,
    LinkReport,
    LinkSpec,
    LinkState,
    News,
    Order,
    Outcome,
    Outside,
    PublicKey,
    Table,
)
from netd.wire.node import LIMITS, SCHEMA, Bridge, MachineName, MachineNet, NodeSpec, Refusal, Report
from netd.wire.shapes import IfName, Ipv4, Ipv6, Label, Mac, Prefix4, Prefix6, Text

__all__ = [
    "LIMITS",
    "MAX_SPEC_BYTES",
    "SCHEMA",
    "Allotment",
    "Bridge",
    "Envelope",
    "IfName",
    "Ipv4",
    "Ipv6",
    "JoinAnswer",
    "JoinRequest",
    "Label",
    "Link",
    "LinkReport",
    "LinkSpec",
    "LinkState",
    "Mac",
    "MachineName",
    "MachineNet",
    "News",
    "NodeSpec",
    "Order",
    "Outcome",
    "Outside",
    "Prefix4",
    "Prefix6",
    "PublicKey",
    "Refusal",
    "Report",
    "SpecError",
    "Table",
    "Text",
    "decode",
    "open_sealed",
    "prepare",
    "seal",
    "unseal",
]

prepare(*list(globals().values()))
