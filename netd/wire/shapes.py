"""The texts that travel, as closed shapes: each becomes part of a rule set, a configuration or a command line."""

from __future__ import annotations

from typing import Annotated

import msgspec

Label = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")]
"""One DNS label (RFC 1123, lower case)."""
Mac = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")]
IfName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9]{1,14}\Z")]
"""A Linux interface name: at most 15 bytes (IFNAMSIZ - 1)."""
Ipv4 = Annotated[str, msgspec.Meta(pattern=r"^[0-9.]{7,15}\Z")]
Ipv6 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f:.]{2,45}\Z")]
"""Digits and dots or colons alone: these texts reach rule sets and configurations, and a scope ("%…") could hold anything."""
Prefix4 = Annotated[str, msgspec.Meta(pattern=r"^[0-9.]{7,15}/[0-9]{1,2}\Z")]
Prefix6 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f:.]{2,45}/[0-9]{1,3}\Z")]
Text = Annotated[str, msgspec.Meta(max_length=200)]
