"""A PostgreSQL of the run's own: Debian's programs, a cluster in the run's folder, reached by a socket there and by nothing else.

It is one of the run's processes (tests/leftovers.py): killed with it, and its folder removed. The server's own children watch it
and end when it does. Its shared memory is in its folder and in an IPC namespace of its own, so that nothing of that stays either.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

USER = "postgres"
"""Made by Debian's package; the server refuses to be root."""
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "autovacuum": "off",
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
}
PATIENCE = 60.0


@dataclass
class Cluster:
    """A running server; `url(name)` is the address of a database in it."""

    folder: Path
    process: subprocess.Popen[bytes]

    def url(self, name: str) -> str:
        return f"postgresql://{USER}@/{name}?host={self.folder}"

    def connect(self, name: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(dbname=name, user=USER, host=str(self.folder), autocommit=True)

    def create(self, name: str, template: str = "template0") -> str:
        """Make a database and return its address; the template must have no connections."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        return self.url(name)

    def drop(self, name: str) -> None:
        with self.connect() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())

    def stop(self) -> None:
        """At once: nothing in it is worth being written."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)


class Reused:
    """A database that many tests use after one another: `clear()` brings it back to how it was when this was made. (A copy of a template
    per test takes 20 times as long.)"""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.url = cluster.url(name)
        self._connection = cluster.connect(name)
        tables = self._all("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        lines = ["SET session_replication_role = replica"]
        lines += [f'DELETE FROM public."{table}"' for table in tables]
        lines += [
            f"SELECT setval('\"{name}\"', 1, false)" for name in self._all("SELECT sequencename FROM pg_sequences")
        ]
        self._connection.execute("CREATE SCHEMA kept")
        for table in tables:
            if self._all(f'SELECT 1 FROM public."{table}" LIMIT 1'):
                self._connection.execute(f'CREATE TABLE kept."{table}" AS TABLE public."{table}"'.encode())
                lines.append(f'INSERT INTO public."{table}" TABLE kept."{table}"')
        self._lines = "; ".join(lines).encode()

    def clear(self) -> None:
        """Whoever is still connected is thrown out first."""
        self._all(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        self._connection.execute(self._lines)

    def close(self) -> None:
        self._connection.close()

    def _all(self, query: str) -> list[str]:
        return [row[0] for row in self._connection.execute(query.encode()).fetchall()]


def start(settings: dict[str, str] | None = None) -> Cluster:
    """Where `settings` open the socket to others, its folder lets them pass."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o711)
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid)
    data, log = folder / "data", folder / "log"
    making = ["--username", USER, "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C.UTF-8"]
    subprocess.run(as_server("initdb", "--pgdata", data, *making), cwd=folder, capture_output=True, check=True)
    return Cluster(folder, launch(folder, data, log, settings or {}))


def launch(folder: Path, data: Path, log: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the server on its folder, and return when it answers."""
    options = {**SETTINGS, "unix_socket_directories": str(folder), **settings}
    words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
    with log.open("ab") as output:
        process = subprocess.Popen(
            as_server("postgres", "-D", data, *words),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg.connect(dbname="postgres", user=USER, host=str(folder)).close()
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        else:
            return process


def as_server(program: str, *words: str | Path) -> list[str]:
    """The command line by which `program` of the newest version here runs as its own user."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: int(path.parts[-3]))
    assert found, "PostgreSQL is not installed: scripts/packages, role test"
    prefix = ["unshare", "--ipc", "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    return [*(prefix if os.geteuid() == 0 else []), str(found[-1]), *map(str, words)]
