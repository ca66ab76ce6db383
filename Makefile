# Shorthands for developers, in an environment with `pip install -e '.[test,dev]'`. Nothing in the README needs them.
.PHONY: fmt lint types imports test unit
fmt:
	ruff format . && ruff check --fix .
lint:
	ruff format --check . && ruff check .
types:
	mypy
imports:
	lint-imports
unit:
	python -m pytest tests/unit
test:
	python -m pytest
