"""What a node's netd is given: its settings, its token, whom it believes."""

from __future__ import annotations

import json

from garage.config import Config


def netd_files(config: Config, node: str, url: str, token: str) -> list[tuple[str, bytes, int]]:
    """(path on the node, content, mode). `url`: the controller's, by which the node reaches it."""
    home = str(config.home)
    values = {
        "node": node,
        "instance": config.instance,
        "controller_url": url,
        "token_file": f"{home}/netd/token",
        "controller_key": f"{home}/netd/controller.pub",
        "state_dir": f"{home}/netd",
        "office_file": f"{home}/office.networks",
        "allow_file": f"{home}/allow.networks",
    }
    if config.tls:  # otherwise a proxy stands before it, whose certificate the node's own authorities vouch for
        values["ca_file"] = f"{home}/netd/controller.crt"
    settings = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()) + "uplink_is_office = true\n"
    certificate = config.home / "keys" / "tls.crt"
    return [
        *([(f"{home}/netd/controller.crt", certificate.read_bytes(), 0o644)] if config.tls else []),
        (f"{home}/netd/controller.pub", (config.home / "netd" / "controller.pub").read_bytes(), 0o644),
        (f"{home}/netd/token", token.encode(), 0o600),
        (f"{home}/netd/netd.toml", settings.encode(), 0o600),
    ]
