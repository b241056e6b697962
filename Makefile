# make demo | make test | make lint: each sets up all it needs on a fresh machine, in .venv.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint zoo docs docs-run settings dist lowest lock pyside clean system

PYTHON ?= python3
ifeq ($(OS),Windows_NT)
SCRIPTS := Scripts
else
SCRIPTS := bin
endif
BIN := .venv/$(SCRIPTS)
LIGHT_BIN := build/light/$(SCRIPTS)
STAMP := .venv/.installed

# What Qt and software OpenGL need under a virtual display (Debian names).
SYSTEM_PACKAGES := xvfb libegl1 libgl1 libgl1-mesa-dri libxkbcommon-x11-0 libdbus-1-3 \
	libfontconfig1 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 \
	libxcb-render-util0 libxcb-shape0 libxcb-xinerama0

help:
	@echo "make demo   simulate a tumour section, predict it, draw the figure (demo/)"
	@echo "make test   run the test suite"
	@echo "make test-slow  run the tests that it leaves out because they take long"
	@echo "make lint   ruff, mypy, import contracts, the plugin manifest"
	@echo "make zoo    give hostile and odd inputs to the commands, under limits of memory and time"
	@echo "make docs      build the documentation as a site (build/docs/site), strictly"
	@echo "make docs-run  run the commands of README, quickstart and analysis as a reader would, compare (minutes)"
	@echo "make settings  write docs/settings.md anew from the settings in the code"
	@echo "make dist      build wheel and sdist (dist/), check them, try the wheel in an environment of its own"
	@echo "make lowest    run tests with the oldest dependencies that pyproject.toml admits"
	@echo "make pyside  run the widget tests with PySide6, file by file"
	@echo "make lock   write uv.lock anew: exact versions for developers"
	@echo "make clean  remove everything that these made"

demo: $(STAMP)
	@rm -rf demo
	@$(BIN)/napari-damm demo --out demo

test: $(STAMP) system
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

test-slow: $(STAMP) system
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow -n auto --maxprocesses 4 --dist loadfile

lint: $(STAMP) system
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@echo "Checking the manifest of the built wheel"
	@rm -rf build/wheel build/light
	@$(BIN)/python -m hatchling build -t wheel -d build/wheel
	@$(BIN)/python tests/light_venv.py build/light build/wheel/*.whl
	@$(LIGHT_BIN)/python -W ignore -m npe2 validate napari-damm --imports

zoo: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/zoo.py

# The site is built from a copy, since it must lie below its configuration.
docs: build/env-docs
	@rm -rf build/docs && mkdir -p build/docs && cp -R docs .ci/zensical.toml build/docs
	@cd build/docs && ../env-docs/$(SCRIPTS)/zensical build --strict --clean
	@echo "The site is in build/docs/site"

docs-run: $(STAMP)
	@$(BIN)/python tests/benchmarks/docs_commands.py

settings: $(STAMP)
	@$(BIN)/python .ci/settings_page.py

# Built once: what is checked here is what a release uploads.
dist: $(STAMP) build/env-release
	@rm -rf dist build/light
	@build/env-release/$(SCRIPTS)/python -m build --outdir dist
	@build/env-release/$(SCRIPTS)/twine check --strict dist/*
	@build/env-release/$(SCRIPTS)/check-wheel-contents dist/*.whl
	@build/env-release/$(SCRIPTS)/validate-pyproject pyproject.toml
	@build/env-release/$(SCRIPTS)/cffconvert --validate
	@$(BIN)/python tests/light_venv.py build/light dist/*.whl
	@$(LIGHT_BIN)/python -W ignore -m npe2 validate napari-damm --imports
	@cd build && light/$(SCRIPTS)/napari-damm demo --out light/demo --size 300

lowest: system build/env-lowest
	@PATH="$(CURDIR)/build/env-lowest/$(SCRIPTS):$$PATH" .ci/lowest

lock: build/env-lowest
	@build/env-lowest/$(SCRIPTS)/uv lock --quiet

pyside: system build/env-pyside
	@PATH="$(CURDIR)/build/env-pyside/$(SCRIPTS):$$PATH" .ci/pyside

build/env-pyside: pyproject.toml .ci/constraints.txt
	@rm -rf $@ && $(PYTHON) -m venv $@
	@$@/$(SCRIPTS)/python -m pip install -qq --disable-pip-version-check \
	-c .ci/constraints.txt -e ".[test]" "napari[optional,pyside6]"
	@touch $@

# One environment per group of pyproject.toml; groups need a newer pip than Python may bring.
build/env-%: pyproject.toml
	@rm -rf $@ && $(PYTHON) -m venv $@
	@$@/$(SCRIPTS)/python -m pip install -qq --disable-pip-version-check --upgrade "pip>=25.1"
	@$@/$(SCRIPTS)/python -m pip install -qq --disable-pip-version-check --group $*
	@touch $@

# The environment: made when missing, renewed when what it is made from changes.
$(STAMP): pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or \
	sys.exit("Python %d.%d is too old: set PYTHON to 3.11 or newer, as in make PYTHON=python3.12" % v[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	$(call apt-install,python3-venv) && rm -rf .venv && $(PYTHON) -m venv .venv; }
	@echo "Installing napari-damm into .venv (2.5 GB, 6 with PyTorch for NVIDIA cards; some minutes the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check \
	-c .ci/constraints.txt -e ".[all,test,lint]"
	@touch $@

# A display for the GUI tests. Only Linux needs one.
system:
ifeq ($(shell uname -s),Linux)
	@{ command -v Xvfb && /sbin/ldconfig -p | grep libxcb-cursor.so.0 \
	&& /sbin/ldconfig -p | grep libEGL.so.1; } > /dev/null \
	|| { $(call apt-install,$(SYSTEM_PACKAGES)); }
endif

clean:
	rm -rf .venv build dist demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# $(call apt-install,packages): install system packages, or say in one line what is missing.
define apt-install
	as_root=""; [ "$$(id -u)" = 0 ] || as_root="sudo -n"; \
	if command -v apt-get > /dev/null && $$as_root true 2> /dev/null; then \
	echo "Installing system packages: $(1)"; \
	$$as_root apt-get update -qq > /dev/null && \
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) > /dev/null; \
	else echo "Please install these system packages (Debian names), then run make again: $(1)" >&2; exit 1; fi
endef
