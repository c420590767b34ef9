# make setup   the virtual environment .venv with everything pinned
# make demo    the main job on embedded data: search, training, export, benchmark, report
# make test    formatting, lint, types and all tests
# make lint    formatting, lint and types only
# make lock    writes requirements.lock anew from requirements.txt
# make clean   removes what these made

PYTHON := .venv/bin/python
REQUIREMENTS := requirements.txt requirements-no-deps.txt requirements.lock
# Written when an installation is complete: an interrupted one starts afresh.
INSTALLED := .venv/installed

.PHONY: setup demo test lint lock clean
.DELETE_ON_ERROR:

setup: $(INSTALLED)

demo: $(INSTALLED)
	@$(PYTHON) -m tools.demo

# A process for each core, but few: each has TensorFlow in memory.
test: lint
	@$(PYTHON) -m pytest -n auto --maxprocesses=4 --dist=loadfile

lint: $(INSTALLED)
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m pyright --pythonpath $(PYTHON)

$(INSTALLED): $(REQUIREMENTS)
	@$(call make_environment,.venv)
	@echo "Installing the pinned packages into .venv: a few minutes, about 3 GB"
	@$(PYTHON) -m pip install -r requirements.txt -c requirements.lock
	@$(PYTHON) -m pip install -r requirements-no-deps.txt --no-deps
	@touch $@

lock:
	@$(call make_environment,.venv-lock)
	@.venv-lock/bin/python -m pip install -r requirements.txt
	@.venv-lock/bin/python -m pip install -r requirements-no-deps.txt --no-deps
	@echo "# Written by make lock" > requirements.lock
	@.venv-lock/bin/python -m pip freeze --all --exclude pip >> requirements.lock
	@rm -rf .venv-lock

clean:
	@rm -rf .venv .venv-lock .pytest_cache .hypothesis .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Makes an empty virtual environment with the first Python 3.11 that works: a version
# manager's stand-in for python3.11 may exist and refuse to run.
define make_environment
for python in python3.11 python3; do \
	if $$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; \
	then \
		$$python -m venv --clear $(1) && exit 0; \
		echo "error: $$python -m venv failed; install Python 3.11's venv module" >&2; \
		exit 1; \
	fi; \
done; \
echo "error: Python 3.11 is needed; install it as python3.11 or python3" >&2; \
exit 1
endef
