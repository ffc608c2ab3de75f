"""The settings of a run, read from the environment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dev_sessions import config
from dev_sessions.errors import UsageError

HOME = {"HOME": "/home/user"}


def test_defaults():
    found = config.load(HOME)
    assert found.home == "/home/user/.dev-sessions"
    assert (found.parent, found.depth, found.max_depth) == (None, 0, 4)
    assert (found.ready_timeout, found.receipt_timeout, found.debug) == (60.0, 30.0, False)
    assert found.cwd == os.getcwd()
    assert found.environ == HOME


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("DEV_SESSIONS_HOME", "/state", "home", "/state"),
        ("DEV_SESSIONS_HOME", "/state/../other/", "home", "/other"),
        ("DEV_SESSIONS_HOME", "", "home", "/home/user/.dev-sessions"),
        ("DEV_SESSIONS_ID", "fizz-top", "parent", "fizz-top"),
        ("DEV_SESSIONS_ID", "", "parent", None),
        ("DEV_SESSIONS_DEPTH", "3", "depth", 3),
        ("DEV_SESSIONS_DEPTH", "", "depth", 0),
        ("DEV_SESSIONS_MAX_DEPTH", "0", "max_depth", 0),
        ("DEV_SESSIONS_READY_TIMEOUT", "2.5", "ready_timeout", 2.5),
        ("DEV_SESSIONS_RECEIPT_TIMEOUT", "5", "receipt_timeout", 5.0),
        ("DEV_SESSIONS_DEBUG", "1", "debug", True),
        ("DEV_SESSIONS_DEBUG", "yes", "debug", True),
        ("DEV_SESSIONS_DEBUG", "0", "debug", False),
        ("IS_SANDBOX", "1", "sandboxed", True),
        ("IS_SANDBOX", "", "sandboxed", False),
    ],
)
def test_each_variable(name, value, field, expected):
    assert getattr(config.load({**HOME, name: value}), field) == expected


def test_a_relative_state_folder_is_below_the_working_folder():
    assert config.load({"DEV_SESSIONS_HOME": "state"}).home == os.path.join(os.getcwd(), "state")


def test_the_tilde_of_a_state_folder_is_the_home():
    done = in_a_child({"HOME": "/home/user", "DEV_SESSIONS_HOME": "~/state"}, "print(config.load().home)")
    assert done.stdout == "/home/user/state\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("DEV_SESSIONS_DEPTH", value) for value in ("-1", "x", "1.5", " 1")),
        *(("DEV_SESSIONS_MAX_DEPTH", value) for value in ("-1", "many")),
        *(("DEV_SESSIONS_READY_TIMEOUT", value) for value in ("0", "-1", "nan", "inf", "soon", "86400")),
        *(("DEV_SESSIONS_RECEIPT_TIMEOUT", value) for value in ("0", "x")),
    ],
)
def test_an_invalid_value_is_refused_by_name(name, value):
    with pytest.raises(UsageError, match=name) as caught:
        config.load({**HOME, name: value})
    assert repr(value) in caught.value.message
    assert name in caught.value.data["next"]


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, False),
        ({"IS_SANDBOX": "1"}, False),
        ({"HOST_PATH": "/x"}, False),
        ({"DEV_SESSIONS_GATEWAY_URL": "http://h"}, False),
        ({"IS_SANDBOX": "1", "HOST_PATH": "/x"}, True),
        ({"IS_SANDBOX": "1", "DEV_SESSIONS_GATEWAY_URL": "http://h"}, True),
        ({"IS_SANDBOX": "0", "HOST_PATH": "/x"}, False),
        ({"IS_SANDBOX": "1", "HOST_PATH": ""}, False),
        ({"DEV_SESSIONS_SANDBOX": "1"}, True),
        ({"DEV_SESSIONS_SANDBOX": "true"}, True),
        ({"DEV_SESSIONS_SANDBOX": "0"}, False),
        ({"DEV_SESSIONS_SANDBOX": "0", "IS_SANDBOX": "1", "HOST_PATH": "/x"}, False),
        ({"DEV_SESSIONS_SANDBOX": "", "IS_SANDBOX": "1", "HOST_PATH": "/x"}, True),
        ({"DEV_SESSIONS_SANDBOX": "", "IS_SANDBOX": "1"}, False),
    ],
)
def test_when_a_gateway_is_wanted(env, wanted):
    assert config.gateway_wanted(env) == wanted
    assert (config.gateway(env) is not None) == wanted
    assert config.load({**HOME, **env}).home


@pytest.mark.parametrize(
    ("url", "address", "host"),
    [
        ("", ("host.docker.internal", 6767), "host.docker.internal:6767"),
        ("http://localhost:1", ("localhost", 1), "localhost:1"),
        ("http://localhost:1/", ("localhost", 1), "localhost:1"),
        ("http://[::1]:7", ("::1", 7), "[::1]:7"),
        ("http://box", ("box", 80), "box:80"),
        ("unix:///run/a b/s", "/run/a b/s", "localhost"),
    ],
)
def test_the_address_of_a_gateway(url, address, host):
    far = config.gateway({"DEV_SESSIONS_SANDBOX": "1", "DEV_SESSIONS_GATEWAY_URL": url})
    assert (far.address, far.host, far.workspace, far.host_path, far.token) == (address, host, "/workspace", None, None)


@pytest.mark.parametrize(
    "url", ["x", "https://h:1", "http://", "http://h:0", "http://h:99999", "http://a@b:1", "http://h:1/x", "unix://x"]
)
def test_an_invalid_address_is_refused(url):
    with pytest.raises(UsageError, match="DEV_SESSIONS_GATEWAY_URL") as caught:
        config.gateway({"DEV_SESSIONS_SANDBOX": "1", "DEV_SESSIONS_GATEWAY_URL": url})
    assert "export DEV_SESSIONS_GATEWAY_URL=" in caught.value.data["next"]


def test_the_token_and_its_file(tmp_path):
    far = {"DEV_SESSIONS_SANDBOX": "1", "DEV_SESSIONS_GATEWAY_TOKEN_FILE": str(tmp_path / "token")}
    with pytest.raises(UsageError, match="token"):
        config.gateway(far)
    (tmp_path / "token").write_text("abc\n")
    assert config.gateway(far).token == "abc"
    assert config.gateway({**far, "DEV_SESSIONS_GATEWAY_TOKEN": "mine"}).token == "mine"
    for odd in ("a\nb", "\u00e9"):
        with pytest.raises(UsageError, match="plain text"):
            config.gateway({**far, "DEV_SESSIONS_GATEWAY_TOKEN": odd})


def test_the_workspace_of_a_container():
    far = config.gateway({"DEV_SESSIONS_SANDBOX": "1", "CONTAINER_WORKSPACE": "/w", "HOST_PATH": "/srv/w"})
    assert (far.workspace, far.host_path) == ("/w", "/srv/w")
    with pytest.raises(UsageError, match="HOST_PATH must be absolute"):
        config.gateway({"DEV_SESSIONS_SANDBOX": "1", "HOST_PATH": "w"})


def test_an_agent_gets_the_callers_environment_without_its_own_variables():
    caller = {
        "PATH": "/bin",
        "HOME": "/home/user",
        "LANG": "C.UTF-8",
        "MY_KEY": "a b\n'c'",
        "IS_SANDBOX": "1",
        "_x1": "y",
        "CLAUDECODE": "1",
        "CLAUDE_CODE_SESSION_ID": "u",
        "CLAUDE_CODE_ENTRYPOINT": "cli",
        "CLAUDE_PROJECT_DIR": "/p",
        "CODEX_SANDBOX": "seatbelt",
        "CODEX_THREAD_ID": "t",
        "TMUX": "/s,1,0",
        "TMUX_PANE": "%1",
        "PWD": "/p",
        "COLUMNS": "80",
        "LINES": "24",
        "SHLVL": "3",
        "_": "/bin/env",
        "OLDPWD": "/",
        "BASH_FUNC_f%%": "() { :; }",
        "with-dash": "1",
        "1st": "1",
        "ünï": "1",
        "": "x",
    }
    kept = config.agent_environment(caller)
    assert set(kept) == {"PATH", "HOME", "LANG", "MY_KEY", "IS_SANDBOX", "_x1"}
    assert kept["MY_KEY"] == "a b\n'c'"
    assert caller["CLAUDECODE"] == "1"


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_MAX_RETRIES", "CODEX_HOME"])
def test_an_agent_gets_variables_that_a_user_sets_for_it(name):
    caller = {name: "x", "LC_CTYPE": "C.UTF-8"}
    assert config.agent_environment(caller) == caller


@pytest.mark.parametrize(
    ("caller", "agent"),
    [
        ({"LC_ALL": "C", "LC_TIME": "de_DE.UTF-8"}, {"LANG": "C", "LC_CTYPE": "C.UTF-8"}),
        ({"LANG": "POSIX"}, {"LANG": "POSIX", "LC_CTYPE": "C.UTF-8"}),
        ({}, {"LC_CTYPE": "C.UTF-8"}),
        (
            {"LANG": "de_DE.ISO-8859-1", "LC_TIME": "C"},
            {"LANG": "de_DE.ISO-8859-1", "LC_TIME": "C", "LC_CTYPE": "C.UTF-8"},
        ),
        ({"LC_ALL": "", "LANG": "de_DE.utf8"}, {"LC_ALL": "", "LANG": "de_DE.utf8"}),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, {"LC_ALL": "C.UTF-8", "LANG": "C"}),
    ],
)
def test_an_agent_gets_utf_8_whatever_the_callers_locale(caller, agent):
    assert config.agent_environment(caller) == agent


def test_no_repository_of_the_callers_reaches_an_agent():
    git = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True)
    named = {*git.stdout.split(), "GIT_QUARANTINE_PATH", "GIT_NAMESPACE", "GIT_AUTHOR_DATE", "GIT_REFLOG_ACTION"}
    for_any_repository = {
        *("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0", "GIT_CONFIG_GLOBAL", "GIT_CEILING_DIRECTORIES"),
        *("GIT_AUTHOR_NAME", "GIT_COMMITTER_EMAIL", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_EDITOR"),
    }
    caller = {**dict.fromkeys(named | for_any_repository, "x"), "LANG": "C.UTF-8"}
    assert set(config.agent_environment(caller)) == {"LANG", *for_any_repository}
    shown = in_a_child(caller, "print(*config.git_environment())").stdout
    assert {name for name in shown.split() if name.startswith("GIT_")} == for_any_repository


def in_a_child(env, code, cwd=None):
    program = f"import sys, os; sys.path[:] = {sys.path!r}\nfrom dev_sessions import config\n{code}"
    return subprocess.run(
        [sys.executable, "-S", "-c", program], env=env, cwd=cwd, capture_output=True, text=True, timeout=60
    )


def test_this_processs_environment_is_the_default():
    assert in_a_child({"HOME": "/h", "DEV_SESSIONS_ID": "x-top"}, "print(config.load().parent)").stdout == "x-top\n"


def test_without_a_home_the_system_is_asked():
    done = in_a_child({}, "print(config.load().home)")
    assert done.stdout.endswith("/.dev-sessions\n")
    assert os.path.isabs(done.stdout)


def test_a_working_folder_that_is_gone(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    code = f"os.rmdir({str(folder)!r})\ntry: config.load()\nexcept Exception as e: print(type(e).__name__, e)"
    shown = in_a_child({"HOME": "/h"}, code, cwd=folder).stdout
    assert shown == "UsageError the current directory does not exist any more\n"
