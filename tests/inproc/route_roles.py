"""What an auditor and an operator may ask of each route of `/api/v1` that is not about oneself.

Tables of `test_every_route`, where each route must have a line, and of `test_roles_of_routes`, where it must be so.
"""

from __future__ import annotations

Operation = tuple[str, str]
"""(method, path below /api/v1)."""

SITES_SEEN: set[Operation] = {
    *(("GET", f"/sites{rest}") for rest in ("", "/{ref}", "/{ref}/links", "/{ref}/measurements")),
    *(("GET", path) for path in ("/sites/{ref}/history/{peer}", "/links", "/measurements/{ref}")),
    *(("GET", path) for path in ("/nodes/{ref}", "/nodes/{ref}/drain")),
}
"""An auditor and an operator see these."""

AUDITED: set[Operation] = {
    *(
        ("GET", f"/machines/{{ref}}{rest}")
        for rest in ("", "/disk-copy", "/explain", "/snapshots", "/snapshots/{snapshot}")
    ),
    *(("GET", f"/volumes/{{ref}}{rest}") for rest in ("", "/snapshots", "/snapshots/{snapshot}")),
    *(("GET", path) for path in ("/projects/{ref}", "/projects/{ref}/service-accounts", "/users", "/audit/proof")),
    *(("GET", path) for path in ("/users/{ref}/offboarding", "/images/{ref}", "/image-tasks/{ref}", "/pools")),
    *(("GET", path) for path in ("/site-invitations", "/node-tasks", "/node-tasks/{ref}", "/adoption", "/renumbering")),
    ("POST", "/images/{ref}/user-data"),
}
"""An auditor alone sees these; what is posted there is looked at and kept nowhere."""

OPERATED: set[Operation] = {
    *(("POST", f"/nodes/{{ref}}/{what}") for what in ("drain", "activate", "maintenance")),
    *(("PATCH", "/nodes/{ref}/labels"), ("POST", "/sites/{ref}/measurements"), ("POST", "/sites/{ref}/rotate-keys")),
    *(("PUT", "/sites/{ref}/place"), ("DELETE", "/sites/{ref}/place")),
}
"""An operator of the site does these."""

NEITHER: set[Operation] = {
    *(
        ("GET", path)
        for path in ("/backup", "/node-key", "/machines/{ref}/console", "/machines/{ref}/disk", "/machines/{ref}/ssh")
    ),
    *(("DELETE", path) for path in ("/announcement", "/nodes/{ref}", "/sites/{ref}", "/site-invitations/{ref}")),
    *(("DELETE", f"/{kind}/{{ref}}") for kind in ("channels", "image-tasks", "images", "keys", "machines", "projects")),
    *(("DELETE", path) for path in ("/sessions/{ref}", "/tokens/{ref}", "/users/{ref}/grants/{role}")),
    *(("DELETE", path) for path in ("/machines/{ref}/snapshots/{snapshot}", "/projects/{ref}/members/{user}")),
    ("DELETE", "/projects/{ref}/service-accounts/{account}"),
    ("DELETE", "/projects/{ref}/service-accounts/{account}/tokens/{token}"),
    *(("PATCH", path) for path in ("/channels/{ref}", "/machines/{ref}")),
    *(
        ("POST", f"/machines/{{ref}}/{act}")
        for act in ("disk-copy", "start", "stop", "reboot", "rebuild", "resize", "renew")
    ),
    *(("POST", f"/machines/{{ref}}/{act}") for act in ("transfer", "snapshots", "snapshots/{snapshot}/revert")),
    *(
        ("POST", path)
        for path in ("/adoption", "/image-saves", "/renumbering", "/restore", "/image-builds", "/site-invitations")
    ),
    *(("POST", path) for path in ("/channels/{ref}/confirm", "/channels/{ref}/test", "/news/{ref}/read")),
    *(("POST", path) for path in ("/nodes", "/node-host-keys", "/node-logins", "/users", "/users/{ref}/grants")),
    *(("POST", f"/users/{{ref}}/{act}") for act in ("disable", "enable", "offboard", "reset-link")),
    ("POST", "/users/{ref}/reset-second-factor"),
    *(("POST", f"/projects/{{ref}}/service-accounts{rest}") for rest in ("", "/{account}/tokens")),
    *(("PUT", path) for path in ("/announcement", "/overlay", "/pools/{image}/{size}", "/sites/{ref}/relay")),
    *(("PUT", path) for path in ("/image-tasks/{ref}/file", "/images/{ref}/visibility", "/projects/{ref}/quota")),
    *(("PUT", path) for path in ("/projects/{ref}/members/{user}", "/machines/{ref}/limits")),
    *(("DELETE", path) for path in ("/volumes/{ref}", "/volumes/{ref}/snapshots/{snapshot}")),
    *(("POST", f"/volumes/{{ref}}/{act}") for act in ("attach", "detach", "grow", "snapshots")),
    ("POST", "/volumes/{ref}/snapshots/{snapshot}/revert"),
}
"""Inside machines, of others, of people, of the whole: neither of the two."""

GROUPS = SITES_SEEN, AUDITED, OPERATED, NEITHER
