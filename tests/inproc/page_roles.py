"""Who may use each page and form, by its rule: the tables of `test_every_page`, where each must have a line.

A rule with a reference in its path is about what is alice's (or about all): to another member it does not exist.
"""

from __future__ import annotations

Page = tuple[str, str]
"""(method, rule)."""


def gets(*rules: str) -> set[Page]:
    return {("GET", rule) for rule in rules}


def posts(*rules: str) -> set[Page]:
    return {("POST", rule) for rule in rules}


ANYBODY: set[Page] = {
    *gets("/", "/assets/<path:filename>", "/help", "/sign-in", "/sign-in/openid", "/sign-in/openid/back"),
    *gets("/welcome/<token>"),
    *posts("/announcement/<ref>/read", "/preferences", "/sign-in", "/sign-in/code", "/sign-out", "/welcome/<token>"),
}
"""Also who is not signed in."""

MEMBERS: set[Page] = {
    *gets("/account", "/account/proof", "/account/second-factor", "/audit", "/find", "/images", "/keys", "/machines"),
    *gets("/news", "/news/ways", "/nodes", "/projects", "/volumes"),
    *posts("/account/openid", "/account/openid/remove", "/account/passkeys", "/account/passkeys/remove"),
    *posts("/account/password", "/account/proof", "/account/second-factor", "/account/second-factor/codes"),
    *posts("/account/second-factor/remove", "/account/sessions/end", "/account/tokens", "/images", "/keys"),
    *posts("/machines", "/machines/many", "/news/read", "/news/ways", "/projects", "/volumes"),
}
"""About the one who asks, or about the whole."""

HERS: set[Page] = {
    *posts("/account/sessions/<session_id>/end", "/account/tokens/<token_id>/delete"),
    *posts("/images/<ref>/delete", "/images/<ref>/people", "/images/tasks/<ref>/cancel", "/keys/<ref>/delete"),
    *gets("/machines/<ref>", "/machines/<ref>/change", "/machines/<ref>/delete", "/machines/<ref>/row"),
    *gets("/machines/<ref>/snapshots/<name>", "/machines/<ref>/why"),
    *posts("/machines/<ref>/<any(start, stop, reboot, delete):action>"),
    *posts(*(f"/machines/<ref>/{act}" for act in ("describe", "disk-copy", "image", "limits", "rebuild", "renew"))),
    *posts(*(f"/machines/<ref>/{act}" for act in ("resize", "snapshots", "transfer", "volumes"))),
    *posts("/machines/<ref>/snapshots/<name>/delete", "/machines/<ref>/snapshots/<name>/revert"),
    *posts("/news/<ref>/read", "/news/ways/<ref>", "/news/ways/<ref>/<any(test, delete):what>"),
    *posts("/news/ways/<ref>/confirm"),
    *gets("/projects/<ref>", "/projects/<ref>/ways", "/projects/<ref>/delete", "/projects/<ref>/members/<user>/remove"),
    *gets("/projects/<ref>/services/<name>/remove"),
    *posts("/projects/<ref>/delete", "/projects/<ref>/members", "/projects/<ref>/members/<user>/remove"),
    *posts("/projects/<ref>/quota", "/projects/<ref>/services", "/projects/<ref>/services/<name>/remove"),
    *posts("/projects/<ref>/services/<name>/tokens", "/projects/<ref>/services/<name>/tokens/<token_id>/delete"),
    *gets("/volumes/<ref>", "/volumes/<ref>/snapshots/<name>"),
    *posts("/volumes/<ref>/<action>", "/volumes/<ref>/snapshots", "/volumes/<ref>/snapshots/<name>/delete"),
    *posts("/volumes/<ref>/snapshots/<name>/revert"),
}
"""Of one person or project."""

ADMINS: set[Page] = {
    *gets("/announcement", "/nodes/<name>", "/site-invitations/<ref>", "/sites", "/sites/<ref>", "/sites/<ref>/remove"),
    *gets("/sites/<ref>/to/<peer>", "/users", "/users/<name>/offboard", "/users/<name>/offboarded"),
    *gets("/users/<name>/disable", "/users/<name>/reset-factor"),
    *posts("/images/recipes/<name>/build"),
    *posts("/announcement", "/announcement/clear", "/nodes/<name>/<any(drain, activate, maintenance):what>"),
    *posts("/nodes/adopt", "/pools/<image>/<size>", "/site-invitations/<ref>/withdraw", "/sites"),
    *posts("/sites/<ref>/place", "/sites/<ref>/remove", "/sites/<ref>/rotate", "/sites/<ref>/to/<peer>/measure"),
    *posts("/users", "/users/<name>/<any(disable, enable):action>", "/users/<name>/link", "/users/<name>/offboard"),
    *posts("/users/<name>/reset-factor", "/users/<name>/revoke", "/users/grants"),
}
"""For who sees or keeps the whole: admins, some for auditors and operators, too."""

GROUPS = ANYBODY, MEMBERS, HERS, ADMINS
