"""Making a garage on a server: settings, keys, tables, the admin, netd's files. Repeating it changes nothing that exists."""

from __future__ import annotations

import ipaddress
import json
import os
import random
import re
import secrets
import shutil
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from garage import config as configuration
from garage.config import Config
from garage.core import ipam, names
from garage.db.migrate import migrate
from garage.db.session import Database, sqlite_path
from garage.errors import N_, GarageError
from garage.services import api_tokens, images, setup
from garage.services.adding import SSH_KEY
from garage.services.context import Caller, Context
from garage.shell.authority import FOLDER, Authority, make_ssh_key
from garage.shell.run import run
from garage.shell.tls import fingerprint, make_certificate

USER = "garage"
"""The unprivileged user of the web process; where it does not exist (tests) everything stays the caller's."""
WEB_KEYS = ("secret.key", "controller.key", "tls.key", "tls.crt")
"""What the web process reads of `keys/`; the worker's keys to other servers are root's alone."""
BARE = re.compile(r"[A-Za-z0-9_-]+")
"""Keys that TOML takes without quotes."""
INSTANCE_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def initialise(environ: Mapping[str, str], *, admin: str, listen: str | None) -> dict[str, Any]:
    """Make what is missing; returns what `make up` shows: url, home, instance, admin, token file, fingerprint."""
    home = Path(environ.get("GARAGE_HOME", configuration.DEFAULT_HOME))
    for name, mode in (
        ("keys", 0o750),
        ("netd", 0o711),
        ("images", 0o755),
        ("machines", 0o711),
        ("console", 0o750),
        ("uploads", 0o700),
        ("downloads", 0o750),
        ("wheels", 0o755),
    ):
        (home / name).mkdir(parents=True, exist_ok=True, mode=mode)
    _settings(home, listen)
    config = configuration.load(environ)
    fingerprint = _keys(home, config)
    _own(home)
    migrate(Database(config.sqlalchemy_url))
    _seed(config, admin)
    _own(home)
    return {
        **{
            "url": config.url,
            "home": str(home),
            "instance": config.instance,
            "admin": admin,
            "fingerprint": fingerprint,
        },
        **{"token_file": str(home / "admin.token"), "site_ipv4": config.site_ipv4, "site_ipv6": config.site_ipv6},
    }


def _settings(home: Path, listen: str | None) -> None:
    """Write garage.toml once; `listen` may be changed later."""
    path = home / "garage.toml"
    values = tomllib.loads(path.read_text()) if path.exists() else _draw()
    if listen:
        values["listen"] = listen
    text = _toml(values)
    if not path.exists() or path.read_text() != text:
        _write(path, text.encode(), 0o644)


def _toml(values: Mapping[str, Any], table: str = "") -> str:
    """What stands in no table, or in this one, before those below it."""
    named = {key if BARE.fullmatch(key) else json.dumps(key): value for key, value in values.items()}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in named.items() if not isinstance(value, dict))
    for key, entries in named.items():
        if isinstance(entries, dict):
            name = f"{table}.{key}" if table else key
            text += f"\n[{name}]\n" + _toml(entries, name)
    return text


def _draw() -> dict[str, Any]:
    """What a new garage draws at random: its instance id and the site's prefixes, clear of what this server can see."""
    rng = random.SystemRandom()
    used = {entry.name for entry in Path("/sys/class/net").iterdir()} if Path("/sys/class/net").is_dir() else set()
    while names.bridge(instance := "".join(rng.choice(INSTANCE_ALPHABET) for _ in range(3))) in used:
        continue
    return {"instance": instance, "site_ipv4": ipam.draw_ipv4(rng, _seen_networks()), "site_ipv6": ipam.draw_ipv6(rng)}


def _seen_networks() -> list[str]:
    """Every IPv4 network and resolver that this server knows of."""
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"], timeout=10).stdout or "[]")
    seen = [
        route["dst"]
        for route in routes
        if route.get("dst", "default") != "default" and route.get("type", "unicast") == "unicast"
    ]
    resolvers = [line.split()[1] for line in _lines("/etc/resolv.conf") if line.startswith("nameserver ")]
    return [text for text in seen + resolvers if _is_ipv4(text)]


def _is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_network(text, strict=False).version == 4
    except ValueError:
        return False


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _keys(home: Path, config: Config) -> str:
    """The controller's keys, made once; returns the TLS certificate's fingerprint where TLS is used."""
    keys = home / "keys"
    if not (keys / "secret.key").exists():
        _write(keys / "secret.key", Fernet.generate_key(), 0o600)
    if not (keys / "controller.key").exists():
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(keys / "controller.key", pem, 0o600)
    make_ssh_key(home / SSH_KEY)
    Authority(home / FOLDER, config.instance)
    signer = load_pem_private_key((keys / "controller.key").read_bytes(), password=None)
    public = signer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write_if_new(home / "netd" / "controller.pub", public, 0o644)
    return _tls(keys, config) if config.tls else ""


def _tls(keys: Path, config: Config) -> str:
    host = config.listen.rpartition(":")[0].strip("[]")
    if not (keys / "tls.crt").exists():
        certificate, key = make_certificate(host)
        _write(keys / "tls.key", key, 0o600)
        _write(keys / "tls.crt", certificate, 0o644)
    return fingerprint((keys / "tls.crt").read_bytes())


def _seed(config: Config, admin: str) -> None:
    from garage.app import make_context

    ctx = make_context(config)
    token_file = config.home / "netd" / "token"
    if not token_file.exists():
        _write(token_file, secrets.token_urlsafe(32).encode(), 0o600)
    who = setup.seed(ctx, admin=admin, node_token=token_file.read_text().strip())
    settings = config.home / "netd" / "netd.toml"
    _write_if_new(settings, _netd_toml(config, settings.read_text() if settings.exists() else "").encode(), 0o600)
    _admin_token(ctx, config.home / "admin.token", who)
    ctx.db.close()


def _admin_token(ctx: Context, path: Path, who: Caller) -> None:
    """A token in a file of mode 0600; a file whose token no longer works is renewed."""
    secret = path.read_text().strip() if path.exists() else ""
    if not api_tokens.by_token(ctx, secret):
        _, secret = api_tokens.create(ctx, who, "make up")
        _write(path, secret.encode() + b"\n", 0o600)
    api_tokens.remember_servers_own(ctx, secret)


def _netd_toml(config: Config, present: str) -> str:
    """Ours first; what an admin has added to the `present` file stays: lines, other nodes of the site, an uplink that is no office."""
    home = config.home
    values = {
        **{"node": config.node, "instance": config.instance, "controller_url": config.url},
        **{"token_file": str(home / "netd" / "token"), "controller_key": str(home / "netd" / "controller.pub")},
        **{
            "state_dir": str(home / "netd"),
            "office_file": str(home / "office.networks"),
            "allow_file": str(home / "allow.networks"),
        },
    }
    if config.tls:
        values["ca_file"] = str(home / "keys" / "tls.crt")
    theirs = [line for line in present.splitlines() if line.partition("=")[0].strip() not in {*values, "ca_file"}]
    if not any(line.partition("=")[0].strip() == "uplink_is_office" for line in theirs):
        theirs.insert(0, "uplink_is_office = true")
    ours = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "".join(f"{line}\n" for line in (*ours, *theirs))


def build_image(
    ctx: Context, recipe_path: Path, environ: Mapping[str, str], progress: Callable[[str, float], None]
) -> dict[str, Any]:
    """Build (unless it stands), register as current."""
    from garage.core.recipe import base_of, parse_recipe
    from garage.shell.images import build, user_data_schema
    from garage.shell.mirrors import server_mirror

    text = recipe_path.read_text()
    base = recipe_path.with_name(f"{named}.toml") if (named := base_of(text)) else None
    recipe = parse_recipe(text, base.read_text() if base and base.exists() else "")
    home = ctx.config.home
    work = home / "work"
    work.mkdir(exist_ok=True)
    manifest = build(recipe, store=home / "images", mirror=server_mirror(environ), work=work, progress=progress)
    schema = user_data_schema(home / "images", manifest.sha256)
    view = images.register(ctx, manifest.name, manifest.sha256, manifest.as_dict(), schema)
    return {"name": view.name, "sha256": view.sha256}


def _write_if_new(path: Path, data: bytes, mode: int) -> None:
    if not path.exists() or path.read_bytes() != data:
        _write(path, data, mode)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, never readable by others for a moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _own(home: Path) -> None:
    """Give the web process what it needs and nothing else."""
    if os.geteuid() != 0 or not _user_exists():
        return
    database = sqlite_path(configuration.load({**os.environ, "GARAGE_HOME": str(home)}).sqlalchemy_url)
    if database and database.parent.is_dir():
        database.parent.chmod(0o700)
        for path in (database.parent, *database.parent.iterdir()):
            shutil.chown(path, USER, USER)
    for name in WEB_KEYS:
        if (home / "keys" / name).exists():
            shutil.chown(home / "keys" / name, USER, USER)
    (home / "keys").chmod(0o750)  # whoever may write here could put keys of his own in the place of root's
    shutil.chown(home / "keys", "root", USER)
    shutil.chown(home / "console", "root", USER)
    shutil.chown(home / "downloads", "root", USER)
    shutil.chown(home / "uploads", USER, USER)


def _user_exists() -> bool:
    import pwd

    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return True


def check_home(home: Path) -> None:
    """Raises `config` where there is no garage yet."""
    if not (home / "garage.toml").exists():
        raise GarageError("config", N_("there is no garage in {home}"), hint=N_("run “make up” first"), home=str(home))
