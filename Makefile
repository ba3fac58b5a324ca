# Every target makes .venv from requirements.lock by itself, with uv where it is on
# the PATH and with venv and pip otherwise.
#
#   make train ARGS="--config configs/multi30k.py --workdir runs/m30k"
#   make test ARGS="-k masks"        make train PYTHON=/path/to/python3.12

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
PYTHON ?=
ARGS ?=
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)

# Not empty where .venv is absent, its Python has gone, or it is too old.
BROKEN := $(shell $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  >/dev/null 2>&1 || echo broken)

PEERS := benchmarks/.venv-peers

.PHONY: help train test slow check bench bench-train bench-decode bench-input \
  bench-serve peers format lock hooks clean broken

help:
	@echo "make train    train configs/dates.py into runs/dates (ARGS= for train.py)"
	@echo "make test     the tests, without the slow ones (ARGS= for pytest)"
	@echo "make slow     the tests that train for longer"
	@echo "make check    formatting, lint and types"
	@echo "make bench    training and decoding beside PyTorch, Hugging Face and CTranslate2;"
	@echo "              bench-train and bench-decode do one of the two"
	@echo "make bench-input    planning a large corpus, and batches beside training"
	@echo "make bench-serve    the server at 1, 8 and 64 clients beside one at a time"
	@echo "make peers    install PyTorch, Hugging Face and CTranslate2, to compare with"
	@echo "make format   put formatting and lint right where that can be done by itself"
	@echo "make hooks    run make check before every commit"
	@echo "make lock     remake requirements.lock from pyproject.toml (needs uv)"
	@echo "make clean    remove caches and builds; .venv and runs/ stay"

train: $(STAMP)
	@$(BIN)/python train.py $(ARGS)

# A process for each core, four at most, for each takes up to 4 GB: most of the time goes
# into compiling, which uses one core. Each begins with a part of the files; whoever is
# done first takes tests from another.
PARALLEL := -n auto --maxprocesses 4 --dist worksteal

test: $(STAMP)
	@$(BIN)/python -m pytest -q -m "not slow" $(PARALLEL) $(ARGS)

# pytest exits with 5 where there is no test to run.
slow: $(STAMP)
	@$(BIN)/python -m pytest -q -m slow $(PARALLEL) $(ARGS) || [ $$? -eq 5 ]

check: $(STAMP)
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m mypy

bench: bench-train bench-decode

bench-train: $(STAMP) $(PEERS)/installed
	@$(BIN)/python benchmarks/train.py $(ARGS)

bench-decode: $(STAMP) $(PEERS)/installed
	@$(BIN)/python benchmarks/decode.py $(ARGS)

bench-input: $(STAMP)
	@$(BIN)/python benchmarks/input.py $(ARGS)

bench-serve: $(STAMP)
	@$(BIN)/python benchmarks/serve.py $(ARGS)

# Tests and benchmarks run them in processes of their own; the project never does.
peers: $(PEERS)/installed

$(PEERS)/installed: benchmarks/requirements.txt | $(STAMP)
	@echo "Installing benchmarks/requirements.txt into $(PEERS)"
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --clear --python $(BIN)/python $(PEERS) && \
	  uv pip install --quiet --python $(PEERS)/bin/python -r $<; \
	else \
	  $(BIN)/python -m venv --clear $(PEERS) && \
	  $(PEERS)/bin/python -m pip install --quiet -r $<; \
	fi && touch $@

format: $(STAMP)
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

hooks: $(STAMP)
	@$(BIN)/python -m pre_commit install

lock:
	@command -v uv >/dev/null || { echo "make lock: uv is not on the PATH;" \
	  "install it to remake the lock" >&2; exit 1; }
	uv pip compile pyproject.toml --extra dev --output-file requirements.lock \
	  --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	  --no-emit-index-url --custom-compile-command "make lock" --quiet $(ARGS)
	@if grep -nE '://|--(find-links|index-url|extra-index-url)' requirements.lock; then \
	  echo "requirements.lock: names a host or an index; it must not" >&2; exit 1; fi

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

broken:

# While the file `unfinished` is there, the environment is half made. The lock's
# setuptools goes in first: what has no wheel, and the project itself, are then built
# by the locked version and not by whichever is newest.
$(STAMP): requirements.lock pyproject.toml $(BROKEN)
	@if command -v uv >/dev/null; then \
	  make="uv venv --quiet --allow-existing --python $(or $(PYTHON),>=3.11)"; \
	  install="uv pip install --python $(BIN)/python"; with=uv; \
	  usable=true; \
	else \
	  found=; \
	  for name in $(CANDIDATES); do \
	    $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	      || continue; \
	    found=$$name; \
	    $$name -c 'import ensurepip, venv' 2>/dev/null || continue; \
	    make="$$name -m venv"; break; \
	  done; \
	  install="$(BIN)/python -m pip install --disable-pip-version-check --use-pep517"; \
	  with=pip; usable="$(BIN)/python -m pip --version"; \
	fi; \
	if [ -n "$(BROKEN)" ] || [ -e $(VENV)/unfinished ] || ! $$usable >/dev/null 2>&1; \
	then \
	  if [ -z "$$make" ] && [ -n "$$found" ]; then \
	    echo "make: $$found has no venv or ensurepip; install them" \
	      "(Debian, Ubuntu: apt install $$found-venv), or install uv" >&2; exit 1; \
	  elif [ -z "$$make" ]; then \
	    echo "make: Python 3.11 or newer is needed, and none of '$(CANDIDATES)' is;" \
	      "install one or uv, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; \
	  fi; \
	  rm -rf $(VENV); mkdir $(VENV); touch $(VENV)/unfinished; \
	  $$make $(VENV) || exit 1; \
	fi; \
	echo "Installing requirements.lock into $(VENV) with $$with"; \
	sed -n '/^setuptools==/,/[^\\]$$/p' requirements.lock >$(VENV)/setuptools.lock && \
	$$install --require-hashes -r $(VENV)/setuptools.lock && \
	$$install --require-hashes --no-build-isolation -r requirements.lock && \
	$$install --no-deps --no-build-isolation -e . && \
	rm -f $(VENV)/unfinished && touch $(STAMP)
