# The verbs of tox.ini, and what a new machine needs before them.

PYTHON ?= python3
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK = 1

VENV = .venv
TOX_VENV = .venv-tox

# pyenv's shims run only the versions that are selected: tox finds the others here.
EMPTY =
COMMA = ,
MEASURED = oldest newest gateway live
PYENV = $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.1[1-4]*/bin)
TOX = PATH="$$PATH$(subst $(EMPTY) ,,$(addprefix :,$(PYENV)))" $(TOX_VENV)/bin/tox run

# `python3` may be a slow shim: ask it once for the interpreter behind.
MAKE_VENV = "`$(PYTHON) -c 'import sys; print(sys.executable)'`" -m venv --clear

# REAL=1 (or LIVE=1): the demo with your own claude, codex and accounts, so nothing to fetch.
REAL ?= $(LIVE)

# What bootstrap installs is found at once.
HERE = PATH="$$HOME/.local/bin:$$PATH";

SOURCES = $(shell find dev_sessions skills templates -type f ! -name '*.py[co]')

.PHONY: help demo delegate fan-out consult handoff install-skills bootstrap test style types unit live compat soak bench coverage agents venv build clean python

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

demo: python ## a Claude Code and a Codex session side by side, offline; with REAL=1 your own agents and accounts
	@$(PYTHON) scripts/prepare.py tmux $(if $(REAL),,npm)
	@$(MAKE) --no-print-directory $(VENV)/installed
ifneq ($(REAL),)
	@$(VENV)/bin/python scripts/demo.py --real $(ARGS)
else
	@echo "Making sure that the pinned claude and codex are here."
	@claude=`$(VENV)/bin/python scripts/fetch_agents.py --print claude` && \
	    codex=`$(VENV)/bin/python scripts/fetch_agents.py --print codex` && \
	    DEV_SESSIONS_TEST_CLAUDE="$$claude" DEV_SESSIONS_TEST_CODEX="$$codex" $(VENV)/bin/python scripts/demo.py $(ARGS)
endif

test: python ## everything: style, types, tests on the oldest and the newest Python found, the package, live tests
	@$(PYTHON) scripts/prepare.py tmux npm bwrap engine
	@$(MAKE) --no-print-directory agents $(TOX_VENV)/installed
	@$(TOX) $(ARGS)

style: $(TOX_VENV)/installed ## lint and format with ruff
	@$(TOX) -e style -- $(ARGS)

types: $(TOX_VENV)/installed ## mypy --strict
	@$(TOX) -e types -- $(ARGS)

unit: $(TOX_VENV)/installed ## the fast tests on one Python: unit, contract, cli; ARGS="-k names" picks
	@$(TOX) -e py -- tests/unit tests/contract tests/cli $(ARGS)

live: $(TOX_VENV)/installed ## the live tests: real claude, real tmux, no network
	@$(TOX) -e live -- tests/live $(ARGS)

compat: $(TOX_VENV)/installed ## all of the state table and of send, on each older claude that is supported
	@$(PYTHON) scripts/prepare.py tmux npm
	@$(TOX) -e compat -- $(ARGS)

soak: $(TOX_VENV)/installed ## what make test tries in short, for hours: crowds, hundreds of kills, thousands of texts; before a release
	@$(PYTHON) scripts/prepare.py tmux npm bwrap
	@$(TOX) -e soak -- $(ARGS)

bench: $(TOX_VENV)/installed ## measure how fast it is; ARGS="--only status" picks, --page renews the tables
	@$(PYTHON) scripts/prepare.py tmux npm
	@$(TOX) -e bench -- $(ARGS)

coverage: $(TOX_VENV)/installed ## lines and branches covered by all tests, the live ones too
	@rm -rf .tox/measured && mkdir -p $(addprefix .tox/measured/,$(MEASURED))
	@DEV_SESSIONS_MEASURE="python -m coverage run -m" $(TOX) -e $(subst $(EMPTY) ,$(COMMA),$(MEASURED)),coverage

agents: python ## fetch the pinned agents of the tests, once for all clones of this user
	@$(PYTHON) scripts/fetch_agents.py

# Words of yours go through the environment: no sign in them means anything to make's shell.
export TASK PLAN Q
CLI ?= claude

delegate: $(VENV)/installed ## one task to a session, its reply printed: TASK="..." [CLI=codex] [ARGS=...]
	@$(VENV)/bin/dev-sessions sync-delegate $(if $(TASK),"$$TASK") --cli $(CLI) $(ARGS)

fan-out: $(VENV)/installed ## several tasks at once: PLAN=plan.yaml, or PLAN="a.md b.md" [ARGS=...]
	@$(VENV)/bin/dev-sessions fan-out $$PLAN $(ARGS)

consult: $(VENV)/installed ## the same question to Claude Code and Codex: Q="..." [ARGS=...]
	@$(VENV)/bin/dev-sessions consult $(if $(Q),"$$Q") $(ARGS)

handoff: $(VENV)/installed ## running work to a new session: TASK="..." [CLI=codex] [ARGS=...]
	@$(VENV)/bin/dev-sessions handoff $(if $(TASK),"$$TASK") --cli $(CLI) $(ARGS)

install-skills: $(VENV)/installed ## teach your agents to use dev-sessions; ARGS=--check, --diff, --uninstall and more
	@$(VENV)/bin/dev-sessions install-skill $(ARGS)

bootstrap: python ## set up a new machine: tmux, an agent, the command, skills, completion; ends with doctor
	@$(PYTHON) scripts/prepare.py tmux
	@$(HERE) command -v claude >/dev/null || command -v codex >/dev/null || { $(PYTHON) scripts/prepare.py npm && \
	    echo "Installing Claude Code into ~/.local." && npm install -g --prefix "$$HOME/.local" @anthropic-ai/claude-code; }
	@$(MAKE) --no-print-directory $(VENV)/installed
	@mkdir -p "$$HOME/.local/bin" && ln -sf "$(abspath $(VENV))/bin/dev-sessions" "$$HOME/.local/bin/dev-sessions"
	@case ":$$PATH:" in *":$$HOME/.local/bin:"*) ;; *) echo "Put ~/.local/bin on your PATH." ;; esac
	@$(HERE) dev-sessions install-skill
	@# It is installed for the shell that runs it, and make's own is not yours.
	@$(HERE) "$${SHELL:-sh}" -c 'dev-sessions --install-completion && true' || \
	    echo "No completion: run dev-sessions --install-completion in a shell that has it (bash, zsh, fish)."
	@$(HERE) dev-sessions doctor

venv: $(VENV)/installed ## make .venv with dev-sessions installed

build: $(TOX_VENV)/installed ## build the sdist and the wheel into dist
	@$(TOX_VENV)/bin/pyproject-build

clean: ## remove what the other targets made, except .agents
	rm -rf $(VENV) $(TOX_VENV) .tox dist build .mypy_cache .pytest_cache .ruff_cache
	find dev_sessions scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed, and there is no" \
	    "$(PYTHON): install one, or name it, as in make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) scripts/prepare.py python

$(VENV)/bin/python: | python
	@echo "Making the virtual environment $(VENV)."
	@$(MAKE_VENV) $(VENV)

$(VENV)/installed: pyproject.toml README.md $(SOURCES) | $(VENV)/bin/python
	@echo "Installing dev-sessions into $(VENV)."
	@$(VENV)/bin/python -m pip install --quiet .
	@touch $@

$(TOX_VENV)/installed: | python
	@echo "Making the virtual environment $(TOX_VENV) with tox."
	@$(MAKE_VENV) $(TOX_VENV)
	@$(TOX_VENV)/bin/python -m pip install --quiet 'tox>=4.24' build
	@touch $@
