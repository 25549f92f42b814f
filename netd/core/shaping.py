"""Which of a slow line's packets go first; pure."""

from __future__ import annotations

MAJOR, CONTROL_MINOR = 0x6C61, 0x16
CONTROL = MAJOR << 16 | CONTROL_MINOR
"""A packet's priority that names the class of control traffic (tc-htb(8)). A handle that nobody else has, as other HTBs would take it for
a class of theirs; its last four bits are TC_PRIO_INTERACTIVE, which goes first in queues that know no classes."""
