"""Under `make test` nothing is passed over in silence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITE = """
import pytest
from tests.completeness import lacks
def test_runs(): pass
@pytest.mark.skipif(True, reason="needs libvirt")
def test_by_a_mark(): pass
def test_by_itself(): pytest.skip("needs sshd")
@pytest.fixture
def store(): pytest.skip("needs mmdebstrap")
def test_by_its_fixture(store): pass
@pytest.mark.xfail
def test_known(): assert False
def test_what_no_package_brings(): lacks("KVM")
"""
MODULE = 'import pytest; pytest.importorskip("not_installed_here")'


@pytest.mark.parametrize(
    ("complete", "summary", "code"),
    [("1", "1 failed, 1 passed, 1 skipped, 1 xfailed, 3 errors", 1), ("", "1 passed, 5 skipped, 1 xfailed", 0)],
)
def test_a_skip_is_a_failure_where_all_is_installed(tmp_path: Path, complete: str, summary: str, code: int) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "test_module.py").write_text(MODULE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    words = ["-p", "no:cacheprovider", "-p", "tests.completeness", "-q", "--continue-on-collection-errors"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, tmp_path],
        env={**os.environ, "GARAGE_TEST_COMPLETE": complete, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert summary in done.stdout, done.stdout
    assert done.returncode == code
    assert "test_suite.py::test_what_no_package_brings: Skipped: this server has no KVM" in done.stdout
