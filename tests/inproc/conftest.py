"""Both databases pass the same tests: those that need a context run once on each, where the database matters."""

from __future__ import annotations

import pytest

SQLITE_ONLY = frozenset(
    {
        "test_api_doc",  # as test_cli
        "test_access_shown",  # as test_cli and test_pages; test_access runs on both
        "test_audit_shown",  # as test_cli and test_pages; test_audit runs on both
        "test_backup_api",  # as test_cli and test_pages; test_backup runs on both
        "test_cli",  # the client alone: what it asks is asked of both by test_api and test_every_route
        "test_drain_cli",  # as test_cli
        "test_drain_deaths",  # of workers; what they write is what test_drain has written to both
        "test_every_page",  # as test_pages; test_every_route runs on both
        "test_explaining_shown",  # as test_cli and test_pages
        "test_image_pages",  # as test_pages
        "test_image_uploads",  # streams; what they leave is what test_image_tasks has on both
        "test_gateway_events",  # streams; the watch behind them is that of test_gateway and test_database
        "test_gateway_ssh",  # as test_gateway_events
        "test_limits_shown",  # as test_cli and test_pages; test_limits runs on both
        "test_kept",  # plain conditions on times; what is kept is written on both by its own tests
        "test_machine_cli",  # as test_cli
        "test_machine_pages",  # as test_pages
        "test_news_shown",  # as test_cli and test_pages; test_news and test_channels run on both
        "test_node_pages",  # as test_pages
        "test_openid_refused",  # what providers say; test_openid runs on both
        "test_overlay_gateway",  # streams of what test_registry has on both
        "test_offboarding_shown",  # as test_cli and test_pages; test_offboarding runs on both
        "test_pages",  # renders what the services say; those run on both
        "test_passkeys_shown",  # as test_pages; test_passkeys runs on both
        "test_pool_pages",  # as test_pages
        "test_roles_shown",  # as test_cli and test_pages
        "test_roles_of_routes",  # as test_every_route; test_roles runs on both
        "test_registry_hubs",  # what core.topology decides; test_registry has its rows on both
        "test_registry_load",  # measures, and over TLS
        "test_second_factor_shown",  # as test_cli and test_pages; test_second_factor runs on both
        "test_site_pages",  # as test_pages
        "test_snapshots_shown",  # as test_cli and test_pages; test_snapshots runs on both
        "test_site_volumes",  # netd's
        "test_sites_api",  # JSON of what test_registry has on both
        "test_signing_in",  # as test_pages; test_accounts and test_second_factor run on both
        "test_silent",  # of workers that judge; the rows are few
        "test_user_data_shown",  # as test_cli and test_pages; test_user_data runs on both
        "test_ssh_through_gateway",  # OpenSSH's
        "test_volume_snapshots_shown",  # as test_cli and test_pages; test_volume_snapshots runs on both
        "test_volumes_shown",  # as test_cli and test_pages; test_volumes runs on both
    }
)
"""Left out on PostgreSQL, since the whole twice would take minutes; a test of these that needs both moves to another file."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "ctx" in metafunc.fixturenames and metafunc.module.__name__.rpartition(".")[2] not in SQLITE_ONLY:
        metafunc.parametrize("engine", ["sqlite", "postgres"], indirect=True)
