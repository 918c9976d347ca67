# Segtron's commands. Each sets the environment .venv up by itself, where that isn't done yet.
#
#   PYTHON=/path/to/python3     the interpreter for .venv (default: python3, or else the newest of
#                               python3.11 to python3.14)
#   DETECTRON2=SOURCE           where Detectron2 comes from: a checkout's folder, a git URL, or
#                               "wheel", the pinned build (the default). It stays until changed.

PYTHON ?=
DETECTRON2 ?=
VENV_PYTHON := .venv/bin/python

# The set-up script runs on any Python 3.7+ and finds the interpreter that suits .venv itself.
ANY_PYTHON = $(shell for python in $(PYTHON) python3 python python3.14 python3.13 python3.12 \
	python3.11; do $$python -c 'import sys; sys.version_info < (3, 7) and sys.exit(1); \
	print(sys.executable)' 2>/dev/null && break; done)

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak bench lint environment

help:  ## show this list
	@sed -n 's/^\([a-z]*\): *[a-z]* *## /  make \1\t/p' $(MAKEFILE_LIST)

setup: environment  ## set .venv up (6 GB, a few minutes the first time)
	@echo "Ready: $(VENV_PYTHON). Next: make demo, make test."

demo: environment  ## train, evaluate and visualize Mask R-CNN on embedded data (5 minutes, more on a slow machine)
	$(VENV_PYTHON) tools/train_net.py --config-file configs/toytown/mask_rcnn_lite0_FPN.yaml
	$(VENV_PYTHON) tools/visualize_results.py output/toytown/mask_rcnn_lite0_FPN --number 12

# A process a core, for most of what a test does takes one; all tests of a file in one process.
test: environment  ## run the tests
	OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -q -n auto --maxprocesses 8 --dist loadfile

soak: environment  ## kill a training 20 times, resume it, and compare to the last bit (8 minutes)
	$(VENV_PYTHON) tests/soak.py

bench: environment  ## time all work against the programs that do the same (15 minutes)
	$(VENV_PYTHON) tools/benchmark.py inference
	$(VENV_PYTHON) tools/benchmark.py train
	$(VENV_PYTHON) tools/benchmark.py data
	$(VENV_PYTHON) tools/benchmark.py evaluate

lint: environment  ## check the code's style
	$(VENV_PYTHON) -m ruff check
	$(VENV_PYTHON) -m ruff format --check

environment:
	@python='$(ANY_PYTHON)'; test -n "$$python" || { echo 'error: no usable Python on the PATH:' \
	'install Python 3.11 or later, or name one with make PYTHON=/path/to/python3' >&2; exit 2; }; \
	"$$python" requirements/set_up.py --python '$(PYTHON)' --detectron2 '$(DETECTRON2)'
