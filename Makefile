# Thin: everything is in scripts/. `make up` and `make test` are all that one needs.
.PHONY: up down purge test test-overlay test-burn-in test-pools test-api test-images bench lock lint fmt

up down purge test test-overlay test-burn-in test-pools test-api test-images bench lock:
	@scripts/run $@

lint:
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports

fmt:
	@.venv/bin/ruff check --fix . ; .venv/bin/ruff format .
