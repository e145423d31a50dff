# Every target makes the environment it needs. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
CHECKED := src tests benchmarks tools docs
# An index with a different build of torch, for example its CPU build: make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# The Pythons with which the README and the tutorial are run: make release-check PYTHONS='python3.11 python3.13'
PYTHONS ?= $(BIN)/python

.PHONY: help setup demo test test-slow fuzz check package docs hooks release-check bench bench-gpu clean

help:            ## these lines
	@grep -E '^[a-z-]+: .*##' Makefile | sed 's/:.*##/\t/'

INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "encash needs Python 3.11 or newer; call make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX),$(INSTALL) --index-url $(TORCH_INDEX) torch)
	$(INSTALL) -e '.[torch,report,clusters]'
	$(INSTALL) --no-deps skfolio  # the demo's prices; its code is not used
	$(BIN)/python -m compileall -q src  # once, instead of at every start
	touch .venv/ready

.venv/dev: .venv/ready
	$(INSTALL) -e '.[torch,report,clusters,onnx,chronos,transformers,boosted,clusterers,ray,stats,xarray,docs,dev]'
	touch .venv/dev

setup: .venv/dev              ## the environment alone, in .venv; TORCH_INDEX=URL takes torch from there

demo: .venv/ready             ## the whole story on real prices, in demo/
	$(BIN)/encash demo --out demo

test: .venv/dev               ## all tests and their coverage, under 10 minutes on 2 cores
	$(BIN)/pytest -n 2 -m "not slow" --cov --cov-fail-under=90

test-slow: .venv/dev          ## survival tests: kill -9, many writers, torn files, 10 minutes of mutations, replay in other engines
	$(BIN)/pytest -m slow -s

fuzz: .venv/dev               ## mutated files of every kind through the commands; MINUTES=10 SEED=0 ARGS=…
	$(BIN)/python -m tools.fuzz --minutes $(or $(MINUTES),10) --seed $(or $(SEED),0) $(ARGS)

check: .venv/dev package      ## what a commit needs: format, lint, types, layers, phrases, links, sdist and wheel
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_links.py
	$(BIN)/python tools/check_phrases.py

package: .venv/dev            ## sdist, and the wheel made from it, in dist/; both are sound
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist > /dev/null
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/pyroma --min=10 --skip-tests="AuthorEmail Url" .  # pyproject.toml says why there are none

docs: .venv/dev               ## the site, without a network → build/site; a warning or a dead link fails
	$(BIN)/python tools/write_command_reference.py
	rm -rf build/site build/doctrees
	$(BIN)/python -m sphinx --builder html --doctree-dir build/doctrees --fail-on-warning --keep-going --quiet docs build/site
	$(BIN)/python tools/check_site.py build/site

hooks: .venv/dev              ## run these checks before each commit of this clone
	$(BIN)/pre-commit install --hook-type pre-commit --hook-type commit-msg

release-check: package        ## version, tag and changelog agree; sdist and wheel are sound; README and tutorial run from the wheel
	$(BIN)/python tools/check_release.py
	set -e; for python in $(PYTHONS); do $$python tools/check_newcomer.py dist/*.whl $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)); done

bench: .venv/dev              ## all benchmarks → benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks

bench-gpu: .venv/dev          ## measure and check everything on the accelerator of this machine, in a few minutes
	mkdir -p build
	$(BIN)/python -m benchmarks.first_gpu_day --out build/first_gpu_day.json

clean:                        ## remove what the targets made
	rm -rf .venv demo build dist src/*.egg-info
