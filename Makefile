# make setup   .venv with the program and its test tools
# make test    the tests          make lint   ruff
# make demo    the main job, with a simulated switch, in under a minute
# make faults  200 kills under 20 calls a second, and every other fault: a table, and exit 1 where a recording is broken;
#              on SQLite, then on PostgreSQL, where there is one
# make bench   the figures of bench/README.md that need no switch

PYTHON ?= python3
BIN = .venv/bin

.PHONY: setup lint test test-parts test-whole test-faults test-postgres test-postgres-api test-postgres-store demo \
	faults faults-sqlite faults-postgres bench clean

setup: .venv/.ready

.venv/.ready: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %s" % sys.version) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

lint: setup
	$(BIN)/ruff check .

# Three at once: most of it waits for calls to pass, not for the processor. Calls take their time: what a busy machine
# made fail is tried a second time.
AGAIN = --last-failed --last-failed-no-failures none
WHOLE = $(wildcard tests/test_*.py) tests/roles tests/security

test: setup
	$(MAKE) --no-print-directory --jobs=3 --output-sync=target test-parts test-whole test-faults
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-postgres-api test-postgres-store

test-parts:
	$(BIN)/pytest $(addprefix --ignore=,$(WHOLE) tests/faults)

test-whole:
	$(BIN)/pytest -o cache_dir=.pytest_cache/whole $(WHOLE) || $(BIN)/pytest -o cache_dir=.pytest_cache/whole $(AGAIN) $(WHOLE)

test-faults:
	$(BIN)/pytest -o cache_dir=.pytest_cache/faults tests/faults \
		|| $(BIN)/pytest -o cache_dir=.pytest_cache/faults $(AGAIN) tests/faults

# On a PostgreSQL of its own, where there is one on this host: two at once, of what has most to do with a database.
ON_POSTGRES = $(BIN)/python -m tests.postgres $(BIN)/pytest
test-postgres-api: setup
	$(ON_POSTGRES) -o cache_dir=.pytest_cache/api --ignore=tests/api/test_schemathesis.py tests/api tests/doctor

test-postgres-store: setup
	$(ON_POSTGRES) -o cache_dir=.pytest_cache/store tests/delivery tests/store tests/faults/test_server.py \
		|| $(ON_POSTGRES) -o cache_dir=.pytest_cache/store $(AGAIN) tests/delivery tests/store tests/faults/test_server.py

# All of it: make test-postgres WITH="tests/test_*.py tests/roles tests/security tests/faults tests/cli tests/control"
WITH =
test-postgres: test-postgres-api test-postgres-store
	$(if $(WITH),$(ON_POSTGRES) $(WITH))

demo: setup
	$(BIN)/kazoo-rec demo

faults: setup
	$(MAKE) --no-print-directory --keep-going faults-sqlite faults-postgres

faults-sqlite:
	KAZOO_REC_FAULTS=long $(BIN)/pytest tests/faults

faults-postgres:
	KAZOO_REC_FAULTS=long $(BIN)/python -m tests.postgres $(BIN)/pytest tests/faults

bench: setup
	$(BIN)/python bench/events.py
	$(BIN)/python bench/decide.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
