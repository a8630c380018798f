# All of it needs python3 (3.10 or newer) and a package registry; nothing is installed outside this directory,
# except for Chromium, if there is none.

PYTHON ?= python3
# Handed to pytest: make test ARGS="-k sensor -x"
ARGS ?=
# Measured if it is set: make test COVERAGE=1
COVERAGE ?=

# Else each process of the tests, of which Airflow alone has hundreds, compiles all of ours again.
unexport PYTHONDONTWRITEBYTECODE

# Four at a time on two cores, for tests wait as much as they work.
PYTEST := -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder -m 'not clients and not soak' $(ARGS)

# The Airflows that are tested besides 3.3, and the Pythons that each of them runs on: the first that is here
# tests it. The order is such that all together take as many Pythons as there are.
OLDER := 2.11 3.0 3.1 3.2
PYTHONS_2.11 := 3.11 3.12 3.10
PYTHONS_LOWEST := 3.10 3.11 3.12
PYTHONS_3.0 := 3.10 3.12 3.11
PYTHONS_3.1 := 3.13 3.12 3.11 3.10
PYTHONS_3.2 := 3.12 3.13 3.11 3.10

# $(call python,versions): the first of them, on PATH, out of pyenv or out of uv.
# It is asked for a venv, not just for its version: a name on PATH may lead nowhere.
python = $(shell for version in $(1); do \
	for python in $(PYTHON) python$$version ~/.pyenv/versions/$$version.*/bin/python \
		~/.local/share/uv/python/cpython-$$version.*/bin/python; do \
	$$python -c 'import ensurepip, sys; sys.exit("%d.%d" % sys.version_info[:2] != "'$$version'")' 2>/dev/null \
	&& echo $$python && exit; done; done)

# The providers that the example DAGs need besides ours and those that Airflow brings.
EXAMPLES := sqlite slack smtp

# What is run with the lowest versions that pyproject.toml allows: what calls the libraries that talk HTTP.
LOWEST := tests/transports tests/hooks tests/triggers tests/faults/test_hostile_census.py

# The triggers of others, which `make bench-triggerer` measures beside ours.
REFERENCES := airflow-provider-census==2.1.0 apache-airflow-providers-dbt-cloud==4.11.1 \
	airflow-provider-fivetran-async==2.4.0

BROWSERS := chromium chromium-browser google-chrome google-chrome-stable

.PHONY: help check lint format test test-clients test-soak test-lowest test-matrix $(OLDER:%=test-%) browser screenshots chaos chaos-local early-resume bench bench-triggerer demo docs diagrams build \
	constraints clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo         a sync through a real Airflow against a local Census; KEEP=1 leaves the UI up'
	@echo 'make check        lint, and the tests that need no running Airflow; two minutes'
	@echo 'make test         all tests on Airflow 3.3, in a browser, too; COVERAGE=1 measures it'
	@echo 'make test-2.11    the same on Airflow 2.11; also test-3.0, test-3.1 and test-3.2'
	@echo 'make test-clients  clients of Census that others wrote, against the sandbox; a minute'
	@echo 'make test-soak    thousands of waits and polls in one process; a minute'
	@echo 'make test-lowest  some tests with the lowest versions that are allowed, on Airflow 2.11; three minutes'
	@echo 'make test-matrix  the tests on Airflow 2.11, 3.0, 3.1, 3.2 and 3.3, one after the other'
	@echo 'make screenshots  the pictures of the documentation, taken anew'
	@echo 'make chaos        an Airflow on many machines in which everything is killed; four minutes; wants Redis, PostgreSQL'
	@echo 'make chaos-local  the same on one machine; four minutes; wants PostgreSQL'
	@echo 'make early-resume  deferred tasks that resume at once, guarded and not; three minutes; wants PostgreSQL'
	@echo 'make docs         the documentation as a site, in docs/_build/html'
	@echo 'make diagrams     its pictures and tables, made anew; wants node'
	@echo 'make build        sdist and wheel in dist, checked and installed once'
	@echo 'make bench        what waiting, importing and reading pages cost, beside references; three minutes'
	@echo 'make bench-triggerer  a thousand waits in a real triggerer, ours and others; fifteen minutes; wants PostgreSQL'
	@echo 'make lint         ruff and mypy'
	@echo 'make format       what ruff can put right by itself'
	@echo 'make constraints  the newest versions of everything, pinned anew'
	@echo 'make clean        removes the virtual environments'

check: lint
	.venv/bin/python $(PYTEST) -m 'not airflow and not clients and not soak'

lint: .venv/ready
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

format: .venv/ready
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

# COVERAGE=1 measures it, subprocesses included, and takes a quarter as long again.
test: .venv/ready browser
	@rm -f .coverage*
	.venv/bin/python $(if $(COVERAGE),-m coverage run) $(PYTEST)
ifdef COVERAGE
	@.venv/bin/coverage combine --quiet
	.venv/bin/coverage report
endif

$(OLDER:%=test-%): test-%: browser
	@if [ -n '$(call python,$(PYTHONS_$*))' ]; then \
		$(MAKE) --no-print-directory .venv-$*/ready && .venv-$*/bin/python $(PYTEST); \
	else \
		echo '*** NOT TESTED on Airflow $*: it needs one of Python $(PYTHONS_$*), and none is here. ***' >&2; \
	fi

# Clients that others wrote for Census, driven against the sandbox; each is installed anew.
test-clients: .venv/ready
	.venv/bin/python -m pytest -m clients $(ARGS)

test-soak: .venv/ready
	.venv/bin/python -m pytest -m soak $(ARGS)

test-lowest:
	@if [ -n '$(call python,$(PYTHONS_LOWEST))' ]; then \
		$(MAKE) --no-print-directory .venv-lowest/ready && .venv-lowest/bin/python $(PYTEST) $(LOWEST); \
	else \
		echo '*** NOT TESTED with the lowest versions: that needs one of Python $(PYTHONS_LOWEST), and none is here. ***' >&2; \
	fi

test-matrix:
	@table= failed=0; for airflow in $(OLDER) 3.3; do \
		echo "Testing on Airflow $$airflow"; \
		suffix=$$([ $$airflow = 3.3 ] || echo -$$airflow); venv=.venv$$suffix; \
		$(MAKE) --no-print-directory test$$suffix && result=passed || { result='*** FAILED ***'; failed=1; }; \
		used=$$($$venv/bin/python -c 'import airflow, platform as python; \
			print(f"Airflow {airflow.__version__:8} Python {python.python_version():8}")' 2>/dev/null) \
		|| { used="Airflow $$airflow"; result='*** NOT TESTED ***'; }; \
		table="$$table$$used $$result\n"; \
	done; printf "\n$$table"; exit $$failed

# What tests/e2e looks through; without it, these tests are skipped.
browser:
	@for name in $(BROWSERS); do $$name --version >/dev/null 2>&1 && exit; done; \
	echo 'Installing Chromium'; as_root=$$([ "$$(id -u)" = 0 ] || echo sudo -n); \
	{ $$as_root apt-get -qq update && $$as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -qq install --yes --no-install-recommends chromium fonts-liberation; } >/dev/null 2>&1 \
	|| echo '*** NOT TESTED in a browser: there is no Chromium, and apt-get cannot install it. ***' >&2

screenshots: .venv/ready browser
	SCREENSHOTS=$(CURDIR)/docs/images .venv/bin/python -m pytest tests/e2e

chaos: .venv/ready
	@.venv/bin/python scripts/chaos_celery.py

chaos-local: .venv/ready
	@.venv/bin/python scripts/chaos.py

early-resume: .venv/ready
	@.venv/bin/python scripts/early_resume.py

bench: .venv/ready
	@.venv/bin/python scripts/bench.py

# WAITS=5000 shares them between two triggerers.
bench-triggerer: .venv/ready .venv-bench/ready
	@.venv/bin/python scripts/bench_triggerer.py .venv-bench/bin/python $(or $(WAITS),1000)

demo: .venv-demo/ready
	@.venv-demo/bin/python scripts/demo.py $(if $(KEEP),--keep)

docs: .venv/ready
	.venv/bin/sphinx-build --fail-on-warning --keep-going docs docs/_build/html
	.venv/bin/python scripts/check_site.py docs/_build/html

# What the docs show that is made of something: pictures and tables. The first needs node and npm.
diagrams: .venv/ready
	.venv/bin/python scripts/diagrams.py
	.venv/bin/python scripts/plots.py
	.venv/bin/python scripts/parameters.py

build: .venv/ready
	rm -rf dist
	.venv/bin/python -m build
	.venv/bin/twine check --strict dist/*
	.venv/bin/python scripts/check_build.py

# $(call install,python,constraints,what): a new virtual environment.
# uv takes seconds where pip takes minutes, but reads no pip.conf; where it fails, pip has the last word.
# Compiled once, for nothing is where PYTHONDONTWRITEBYTECODE is set, and a process of Airflow then takes twice
# the time to begin.
define install
	@echo 'Making $(@D): $(3)'
	@rm -rf $(@D)
	@$(1) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
		--constraint $(2) uv \
		&& $(@D)/bin/uv pip install --quiet --compile-bytecode --python $(@D)/bin/python --constraint $(2) --editable $(3) \
		|| $(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(2) --editable $(3)
	@touch $@
endef

comma := ,
.venv/ready: pyproject.toml constraints.txt
	$(call install,$(PYTHON),constraints.txt,'.[dev$(comma)docs]')

.venv-%/ready: pyproject.toml constraints-%.txt
	$(call install,$(call python,$(PYTHONS_$*)),constraints-$*.txt,'.[dev]')

# The lowest of what pyproject.toml names, and then what runs the tests. Only uv can look for the lowest.
.venv-lowest/ready: pyproject.toml constraints-2.11.txt
	@echo 'Making $(@D): the lowest versions'
	@rm -rf $(@D)
	@$(call python,$(PYTHONS_LOWEST)) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-2.11.txt uv
	@$(@D)/bin/uv pip install --quiet --compile-bytecode --python $(@D)/bin/python --resolution lowest-direct \
		--editable '.[sandbox]' 'apache-airflow<2.12'
	@$(@D)/bin/uv pip install --quiet --compile-bytecode --python $(@D)/bin/python pytest pytest-xdist requests-mock
	@touch $@

# The vendor's release has the name of ours, so they cannot share an environment.
.venv-bench/ready: constraints.txt
	@echo 'Making $(@D): the triggers of others'
	@rm -rf $(@D)
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		apache-airflow asyncpg psycopg2-binary $(REFERENCES)
	@touch $@

.venv-demo/ready: pyproject.toml constraints.txt
	$(call install,$(PYTHON),constraints.txt,'.[sandbox]' $(EXAMPLES:%=apache-airflow-providers-%))

# $(call pin,file,airflow,pythons,date,more): the newest of everything that goes with this Airflow, on each of
# its Pythons. An Airflow that is no longer cared for does not go with all that is newer than it: the newest of
# a day on which there was all that we need, then, and within more limits where that is still too new. Later
# than that day only what has a vulnerability less.
define pin
	@{ echo '# Airflow $(2) on Python $(3) with everything the tests and the demo need; `make constraints` pins it anew.'; \
		printf '%s\n' 'apache-airflow==$(2)' $(5) | .venv/bin/uv pip compile --quiet --universal --python-version 3.10 --all-extras \
			$(if $(4),--exclude-newer $(4) --exclude-newer-package aiohttp=2026-09-01) \
			--no-emit-package airflow-provider-census --no-header --no-annotate pyproject.toml -; } > $(1).new
	@mv $(1).new $(1)
endef

constraints: .venv/ready
	$(call pin,constraints.txt,3.3.2,3.10 to 3.13)
	$(call pin,constraints-3.2.txt,3.2.2,3.10 to 3.13,2026-06-20)
	$(call pin,constraints-3.1.txt,3.1.8,3.10 to 3.13,2026-06-20)
	$(call pin,constraints-3.0.txt,3.0.6,3.10 to 3.12,2026-06-20,'fastapi<0.129' 'pyjwt<2.11' 'universal-pathlib<0.3')
	$(call pin,constraints-2.11.txt,2.11.2,3.10 to 3.12)

clean:
	rm -rf .venv .venv-* .coverage* docs/_build
