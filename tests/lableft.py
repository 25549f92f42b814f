"""What a laboratory leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netd.lab import instances, processes
from netd.lab.removal import namespaces_of
from netd.lab.state import ROOT, LabState, started


class Traces:
    """What a lab has, noted while it is there; made again whenever processes may have come."""

    def __init__(self, name: str) -> None:
        self.name, self.mine = name, LabState(name).read()["instances"]
        self.pids: dict[int, int] = {}
        self.look()

    def look(self) -> None:
        """Note the processes that are there now, too."""
        self.pids |= {pid: started(pid) for pid in processes.inside(namespaces_of(self.name))}

    def left(self) -> dict[str, Any]:
        """All of it that is still there; {} after `down`."""
        patterns = [Path("/").glob(pattern.format(self.mine)) for pattern in instances.FILES]
        patterns.append(instances.ETC_NETNS.glob(f"gl.{self.name}.*"))
        found = {
            "namespaces": namespaces_of(self.name),
            "files": [str(path) for pattern in patterns for path in pattern],
            "folder": [str(ROOT / self.name)] if (ROOT / self.name).exists() else [],
            "processes": [pid for pid, since in self.pids.items() if since and started(pid) == since],
            "forwarders": processes.forwarders(ROOT / self.name),
            "crashes": [str(path) for path in instances.crash_folders(self.pids)],
        }
        return {what: rows for what, rows in found.items() if rows}
