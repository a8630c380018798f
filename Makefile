# All of it needs python3 (3.10 or newer) and a package registry; nothing is installed outside this directory.

PYTHON ?= python3
# Handed to pytest: make test ARGS="-k sensor -x"
ARGS ?=

# Airflow 2.11 ends at Python 3.12. Asked for a venv, not just a version: a name on PATH may lead nowhere.
PYTHON_2_11 := $(shell for python in $(PYTHON) python3.12 python3.11 python3.10; do \
	$$python -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] > (3, 12))' 2>/dev/null \
	&& echo $$python && break; done)

.PHONY: help lint format test test-3.3 test-2.11 chaos demo docs build constraints clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo         a sync through a real Airflow against a local Census; KEEP=1 leaves the UI up'
	@echo 'make test         the tests on Airflow 3.3 and 2.11 (alone: test-3.3, test-2.11)'
	@echo 'make chaos        a real Airflow in which everything is killed, four minutes; wants PostgreSQL'
	@echo 'make docs         the documentation as a site, in docs/_build/html'
	@echo 'make build        sdist and wheel in dist, checked and installed once'
	@echo 'make lint         ruff and mypy'
	@echo 'make format       what ruff can put right by itself'
	@echo 'make constraints  the newest versions of everything, pinned anew'
	@echo 'make clean        removes the virtual environments'

lint: .venv/ready
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

format: .venv/ready
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

# Side by side, for both wait more than they work; each prints when it is done.
test:
	@echo 'Testing on Airflow 3.3 and 2.11 at the same time, some eight minutes on two cores.'
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target test-3.3 test-2.11

test-3.3: .venv/ready
	.venv/bin/python -m pytest $(ARGS)

ifneq ($(PYTHON_2_11),)
test-2.11: .venv-2.11/ready
	.venv-2.11/bin/python -m pytest $(ARGS)
else
test-2.11:
	@echo '*** NOT TESTED on Airflow 2.11: it needs Python 3.10, 3.11 or 3.12, and none is on PATH. ***' >&2
endif

chaos: .venv/ready
	@.venv/bin/python scripts/chaos.py

demo: .venv-demo/ready
	@.venv-demo/bin/python scripts/demo.py $(if $(KEEP),--keep)

docs: .venv/ready
	.venv/bin/sphinx-build --fail-on-warning --keep-going docs docs/_build/html

build: .venv/ready
	rm -rf dist
	.venv/bin/python -m build
	.venv/bin/twine check --strict dist/*
	.venv/bin/python scripts/check_build.py

# $(call install,python,constraints,what): a new virtual environment.
# uv takes seconds where pip takes minutes, but reads no pip.conf; where it fails, pip has the last word.
define install
	@echo 'Making $(@D): $(3)'
	@rm -rf $(@D)
	@$(1) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
		--constraint $(2) uv \
		&& $(@D)/bin/uv pip install --quiet --python $(@D)/bin/python --constraint $(2) --editable $(3) \
		|| $(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(2) --editable $(3)
	@touch $@
endef

comma := ,
.venv/ready: pyproject.toml constraints.txt
	$(call install,$(PYTHON),constraints.txt,'.[dev$(comma)docs]')

.venv-2.11/ready: pyproject.toml constraints-2.11.txt
	$(call install,$(PYTHON_2_11),constraints-2.11.txt,'.[dev]')

.venv-demo/ready: pyproject.toml constraints.txt
	$(call install,$(PYTHON),constraints.txt,'.[sandbox]' apache-airflow-providers-sqlite)

# $(call pin,file,airflow,pythons): the newest of everything that goes with this Airflow, on each of its Pythons.
define pin
	@{ echo '# Airflow $(2) on Python $(3) with everything the tests and the demo need; `make constraints` pins it anew.'; \
		echo 'apache-airflow==$(2)' | .venv/bin/uv pip compile --quiet --universal --python-version 3.10 --all-extras \
			--no-emit-package airflow-provider-census --no-header --no-annotate pyproject.toml -; } > $(1).new
	@mv $(1).new $(1)
endef

constraints: .venv/ready
	$(call pin,constraints.txt,3.3.2,3.10 to 3.14)
	$(call pin,constraints-2.11.txt,2.11.2,3.10 to 3.12)

clean:
	rm -rf .venv .venv-2.11 .venv-demo docs/_build
