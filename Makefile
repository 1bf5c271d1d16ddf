# Each command works right after a clone, with nothing here but Python >= 3.11 and make. The rest comes from the
# package registries into this folder: uv into .tools, outspool and what it needs into .venv.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: demo test test-long test-all lint bench bench-smoke chaos picture lock audit clean help FORCE

# The Python that is here, never one from the net.
export UV_PYTHON_DOWNLOADS := never

# Trust whom this machine trusts, where it has a list of them; uv's own list knows no company's proxy.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem),)
export UV_SYSTEM_CERTS ?= 1
endif

UV := .tools/bin/uv
PYTHON := .venv/bin/python
INSTALLED := .venv/.installed

# Sets the shell's $python to a command that starts a Python new enough, or says what is missing.
FIND_PYTHON = \
	for python in python3 python3.11 python3.12 python3.13 python3.14 python none; do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && break; \
	done; \
	if [ "$$python" = none ]; then \
		echo "outspool needs Python 3.11 or newer, and there is none on PATH. Install one, then run make again." >&2; \
		exit 1; \
	fi

demo: $(INSTALLED)  ## Send, schedule and retry real email in a sandbox; no account needed
	@$(PYTHON) -m outspool demo

test: $(INSTALLED)  ## Run every test, on real servers that the tests start themselves
	$(PYTHON) -m pytest

test-long: $(INSTALLED)  ## Run the slow tests too, fuzz longer, and measure coverage
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-200} $(PYTHON) -m pytest -m "" --timeout=600 --cov $(ARGS)

test-all: $(UV)  ## Run every test on each supported Python that is here; ARGS="-k cancel" goes to pytest
	@.ci/test-all $(ARGS)

lint: $(INSTALLED)  ## Check style, types and layers
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports

bench: $(INSTALLED)  ## Measure speed and memory beside rivals and the limit, an hour; PART=accept for a part
	@$(PYTHON) -m bench $(PART) $(if $(ROWS),--rows $(ROWS)) $(if $(EMAILS),--emails $(EMAILS))

bench-smoke: $(INSTALLED)  ## Run every part of the benchmark in miniature, in a minute, to see that it runs
	@$(PYTHON) -m bench --smoke $(PART)

chaos: $(INSTALLED)  ## Break everything in 1,000 ways and count what arrives; 20 minutes, ARGS="--seed 7" replays one
	@PYTHONPATH=tests $(PYTHON) -m chaos --write $(ARGS)

picture: $(INSTALLED)  ## Draw the picture in README anew, from a real run of the demo
	@$(PYTHON) .ci/picture.py

# Every file that is installed is held against a hash, for each platform and Python that outspool runs on.
COMPILE = $(UV) pip compile --universal --python-version 3.11 --quiet --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

lock: $(UV)  ## Renew the lock files after a change of dependencies; what still fits stays
	$(COMPILE) pyproject.toml --group dev --output-file requirements.lock
	$(COMPILE) pyproject.toml --extra s3 --constraints requirements.lock --output-file locks/image.txt
	$(COMPILE) locks/build.in --constraints requirements.lock --output-file locks/build.txt
	$(COMPILE) locks/audit.in --output-file locks/audit.txt

audit: $(UV)  ## Ask PyPI which locked versions have known vulnerabilities
	@$(FIND_PYTHON); \
	$(UV) venv --quiet --clear --python "$$("$$python" -c 'import sys; print(sys.executable)')" .tools/audit
	@$(UV) pip install --quiet --python .tools/audit/bin/python --require-hashes --requirements locks/audit.txt
	@.tools/audit/bin/python .ci/audit.py requirements.lock locks/image.txt locks/build.txt locks/audit.txt

clean:  ## Remove all that make brought or built here
	rm -rf .venv .tools build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## Show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile

HASHED := --require-hashes --requirement

# Some machines have a Python without venv; their pip can still install into a folder.
$(UV): locks/build.txt
	@$(FIND_PYTHON); \
	echo "Bringing uv into .tools ..."; \
	rm -rf .tools; \
	if "$$python" -m venv .tools >/dev/null 2>&1; then \
		.tools/bin/python -m pip install --quiet --disable-pip-version-check $(HASHED) locks/build.txt; \
	else \
		rm -rf .tools; \
		"$$python" -m pip install --quiet --disable-pip-version-check --target .tools $(HASHED) locks/build.txt; \
	fi

$(INSTALLED): pyproject.toml requirements.lock | $(UV)
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
		$(FIND_PYTHON); \
		$(UV) venv --quiet --clear --python "$$("$$python" -c 'import sys; print(sys.executable)')" .venv; \
	fi
	@echo "Installing outspool and what it needs into .venv ..."
	@$(UV) pip install --quiet --python $(PYTHON) --require-hashes --requirements requirements.lock
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation --editable .
	@pwd -P >$@

# A folder that was copied or moved would go on importing the old one.
ifneq ($(shell cat $(INSTALLED) 2>/dev/null),$(CURDIR))
$(INSTALLED): FORCE
endif
