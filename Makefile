# `make quine` and `make test` need Python 3.11 or newer and nothing else. PYTHON=... chooses another one.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quine test test-all browser lint bench docs play gallery wheel clean

quine: $(VENV)/.installed
	$(BIN)/neuralquine solve blog --out quines/blog --figures
	@echo "here, without activating anything: $(BIN)/neuralquine verify quines/blog"

# What was compiled is kept whatever the environment says: hundreds of test processes would compile it again.
test: $(VENV)/.installed browser
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: $(VENV)/.installed browser
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m ""

# The tests in a browser use Debian's Chromium; where it is not and cannot be installed they are skipped, with the reason.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	echo "no Chromium, and it cannot be installed here: the tests in a browser will be skipped"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/blog.py

docs: $(VENV)/.installed
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html -c docs -d build/doctrees . build/site
	@echo build/site/index.html

play: $(VENV)/.installed
	$(BIN)/python benchmarks/play.py

gallery: $(VENV)/.installed
	$(BIN)/python benchmarks/gallery.py

wheel: $(VENV)/.installed
	$(BIN)/python -m hatchling build -t wheel
	@ls -l dist

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("neuralquine needs Python 3.11 or newer: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	@echo "installing into $(VENV): torch, and what the tests need; 2 GB, some minutes"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache build dist
