# make demo | make test | make lint: each sets up all it needs on a fresh machine, in .venv.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint zoo clean system

PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
LIGHT_BIN := build/light/Scripts
else
BIN := .venv/bin
LIGHT_BIN := build/light/bin
endif
STAMP := .venv/.installed

# What Qt and software OpenGL need under a virtual display (Debian names).
SYSTEM_PACKAGES := xvfb libegl1 libgl1 libgl1-mesa-dri libxkbcommon-x11-0 libdbus-1-3 \
	libfontconfig1 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 \
	libxcb-render-util0 libxcb-shape0 libxcb-xinerama0

help:
	@echo "make demo   simulate a tumour section, predict it, draw the figure (demo/)"
	@echo "make test   run the test suite"
	@echo "make lint   ruff, mypy, import contracts, the plugin manifest"
	@echo "make zoo    give hostile and odd inputs to the commands, under limits of memory and time"
	@echo "make clean  remove everything that the three made"

demo: $(STAMP)
	@rm -rf demo
	@$(BIN)/napari-damm demo --out demo

test: $(STAMP) system
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

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

# The environment: made when missing, renewed when what it is made from changes.
$(STAMP): pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or \
	sys.exit("Python %d.%d is too old: set PYTHON to 3.11 or newer, as in make PYTHON=python3.12" % v[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	$(call apt-install,python3-venv) && rm -rf .venv && $(PYTHON) -m venv .venv; }
	@echo "Installing napari-damm into .venv (about 2.5 GB, some minutes the first time)"
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
