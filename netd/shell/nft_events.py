"""The kernel's word that a table of nftables was deleted, by whomever: `nft flush ruleset` does it to all of them."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator

NETLINK_NETFILTER, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES = 12, 270, 1, 7
"""linux/netlink.h, linux/netfilter/nfnetlink.h; Python's socket module does not name them."""
DELTABLE = 10 << 8 | 2
"""NFNL_SUBSYS_NFTABLES and NFT_MSG_DELTABLE (linux/netfilter/nf_tables.h)."""
HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""


class Deletions:
    """Opened in this process's network namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)

    def wait(self) -> None:
        """Until a table was deleted, or until so much happened that the kernel could not tell all of it."""
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return
                raise
            if DELTABLE in types(data):
                return

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()


def types(data: bytes) -> Iterator[int]:
    """Of the netlink messages in one datagram (RFC 3549, section 2.2): each is padded to four bytes."""
    while len(data) >= HEADER.size:
        length, kind, *_ = HEADER.unpack_from(data)
        yield kind
        data = data[max(HEADER.size, length + 3 & ~3) :]
