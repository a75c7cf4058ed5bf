# Each target works on a fresh machine with make and Python 3.11 or newer: it makes .venv if there is none.
#   make demo ONCE=1    make test ARGS="-k journeys"    make bench PYTHON=python3.12

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs pot screenshots bench hostile faults clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 13

demo: $(VENV)/.package  ## Two blogs tell each other what they link to; ONCE=1 ends when all was shown
	@$(BIN)/python -m example.demo $(if $(ONCE),--once)

test: $(VENV)/.dev  ## The tests
	@$(BIN)/python -m pytest -n 3 --dist loadgroup $(ARGS)

lint: $(VENV)/.dev  ## Style, types and import contracts
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "Run $(BIN)/ruff format"; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/mypy --no-error-summary example
	@$(BIN)/lint-imports --no-logo > $(VENV)/.imports || { cat $(VENV)/.imports; exit 1; }

docs: $(VENV)/.dev  ## The documentation, in docs/_build/html
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

pot: $(VENV)/.dev  ## The messages of the admin, for translators
	@$(BIN)/pybabel --quiet extract --mapping-file pyproject.toml --no-default-keywords \
	  --keyword _ --keyword gettext --keyword N_ --keyword ngettext:1,2 \
	  --add-location file --sort-by-file --width 110 --project Flask-Linkback \
	  --header-comment "# What the admin of Flask-Linkback says, for translators: made by make pot." \
	  --output-file flask_linkback/translations/flask_linkback.pot flask_linkback

screenshots: $(VENV)/.dev  ## Pictures of each screen of the admin, in docs/_build/screenshots and docs/images
	@$(BIN)/python -m tests.browser.screenshots

bench: $(VENV)/.dev  ## The figures that the design promises
	@$(BIN)/python -m benchmarks $(ARGS)

hostile: $(VENV)/.dev  ## Every example and document of strangers, in full; the tests try a part
	@LINKBACK_TEST_FULL=1 $(BIN)/python -m pytest -n 2 --dist loadgroup $(or $(ARGS),tests/hostile tests/protocols tests/feeds tests/test_fetch_hostile.py tests/test_migrations.py tests/journeys tests/browser)

faults: $(VENV)/.dev  ## Kills, floods and poison in full: the promise, seen
	@$(BIN)/python -m tests.faults $(ARGS)

clean:  ## Remove .venv and what was built
	rm -rf $(VENV) docs/_build

# What is installed is installed again when pyproject.toml changes. A demo needs no tools, but has an
# admin and reads the microformats of likes: .package is without tools, and .dev, which has them, counts as both.

$(VENV)/.package: pyproject.toml | $(BIN)/python
	@$(PIP) --editable '.[admin,mf2]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.package

# the first that runs and is new enough: a name alone says little where pyenv is in use
$(BIN)/python:
	@for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
	    echo "Making $(VENV) with $$($$python --version)"; \
	    exec $$python -m venv --clear $(VENV); \
	  fi; \
	done; \
	echo "There is no Python 3.11 or newer$(if $(PYTHON), at $(PYTHON)). Name one: make PYTHON=/path/to/python3" >&2; \
	exit 1
