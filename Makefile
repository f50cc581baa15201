# Everything runs in .venv, which the first target that needs it makes from python3 and this folder.
#   make test PYTHON=python3.12      choose the Python .venv is made with (3.10 or newer)

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
PIP    := $(RUN) -m pip install --quiet --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo lessons site test quick golden oldest bench gpu lint setup clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.minise  ## train a small network with and without SE: a few minutes, and a report
	$(RUN) -m minise demo

lessons: $(VENV)/.lessons  ## open the lessons in JupyterLab
	$(RUN) -m jupyterlab lessons

site: $(VENV)/.site  ## write the lessons as a web site, to be read without a network: site/index.html
	$(RUN) lessons/site/build.py

test: $(VENV)/.test  ## run the tests (compares with PyTorch too where .venv has it)
	$(RUN) -m pytest -n 2 --dist loadfile

# Each room once. What takes long, a browser or a compiler, and training are left to `make test`.
QUICK := tests/test_autograd.py tests/test_creation.py tests/test_gradcheck.py tests/test_structure.py \
	tests/backend/test_registry.py tests/data/test_loader.py tests/data/test_transforms.py \
	tests/examples tests/gates tests/models/test_fold.py tests/nn tests/ops \
	tests/optim/test_lr_scheduler.py tests/teach tests/tracing/test_layout.py \
	tests/tracing/test_trace.py tests/train/test_config.py

quick: $(VENV)/.test  ## run a part of the tests, from every room, in well under a minute
	$(RUN) -m pytest -n 2 --dist loadfile --quick -m 'not gpu and not slow and not browser' $(QUICK)

golden: $(VENV)/.test  ## record what PyTorch gives for the ops, for tests where it is not installed
	@$(RUN) -c 'import torch' 2>/dev/null || \
	{ echo 'make golden asks PyTorch, which .venv lacks: $(RUN) -m pip install torch==2.13.0' >&2; exit 1; }
	$(RUN) tests/golden/make_ops.py

oldest:  ## run the lessons with the oldest NumPy that minise supports, in .venv-oldest
	PIP_CONSTRAINT=tests/oldest.txt $(MAKE) --no-print-directory setup VENV=.venv-oldest
	.venv-oldest/bin/python -m pytest tests/lessons/test_lessons.py

bench: $(VENV)/.bench  ## time minise beside PyTorch and other engines (ten minutes)
	@$(RUN) -c 'import torch' 2>/dev/null || \
	{ echo 'make bench compares with PyTorch, which .venv lacks: $(RUN) -m pip install torch==2.13.0' >&2; exit 1; }
	$(RUN) benchmarks/run.py

gpu: $(VENV)/.test  ## on an NVIDIA GPU: the tests that need one, then minise beside PyTorch
	@$(RUN) -c 'import cupy, torch' 2>/dev/null || \
	{ echo 'make gpu needs CuPy and a PyTorch for CUDA in .venv: see "On a GPU" in README.md' >&2; exit 1; }
	$(RUN) -m pytest -m gpu; tests=$$?; $(RUN) benchmarks/gpu.py && exit $$tests

lint: $(VENV)/.test  ## check style, types, the direction of imports and spelling
	$(RUN) -m ruff check
	$(RUN) -m mypy
	@for lesson in lessons/[0-9]*; do $(RUN) -m mypy --exclude solutions.py $$lesson || exit 1; done
	$(VENV)/bin/lint-imports
	$(VENV)/bin/codespell *.md benchmarks docs examples lessons minise

setup: $(VENV)/.test  ## only make .venv, ready for test and lint

clean:  ## remove .venv, what was built and the caches of the tools
	rm -rf $(VENV) .venv-oldest build dist site site.part .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# One stamp file per set of packages. Each is renewed when the lists of packages change.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
	{ echo 'minise needs Python 3.10 or newer, which $(PYTHON) is not. Name another: PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo '$(PYTHON) has no venv module. On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.minise: $(VENV)/.made pyproject.toml
	@echo 'Installing minise into $(VENV) ...'
	@$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.made pyproject.toml
	@echo 'Installing minise and the tools for its tests into $(VENV) ...'
	@$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.minise

$(VENV)/.site: $(VENV)/.made pyproject.toml
	@echo 'Installing minise and nbconvert into $(VENV) ...'
	@$(PIP) --editable '.[site]'
	@touch $@ $(VENV)/.minise

$(VENV)/.bench: $(VENV)/.made pyproject.toml
	@echo 'Installing minise and the engines it is compared with into $(VENV) ...'
	@$(PIP) --editable '.[bench]'
	@touch $@ $(VENV)/.minise

$(VENV)/.lessons: $(VENV)/.made pyproject.toml requirements.txt
	@echo 'Installing minise and JupyterLab into $(VENV) (the first time takes a while) ...'
	@$(PIP) --requirement requirements.txt
	@touch $@ $(VENV)/.minise $(VENV)/.test
