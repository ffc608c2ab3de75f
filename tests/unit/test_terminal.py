"""Real tmux: a private server with a shell script as the program."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soak import size

from dev_sessions.terminal.screen import Screen, ScreenGone, quoted
from dev_sessions.terminal.server import unreachable
from dev_sessions.terminal.tmux import Tmux, TmuxError

# Shows what it is given, byte by byte, with bracketed paste on; ends at a "q".
ECHO = """
import os, sys, termios, tty
saved = termios.tcgetattr(0)
tty.setraw(0)
os.write(1, b"\\x1b[?2004hready\\r\\n")
while True:
    given = os.read(0, 65536)
    with open(sys.argv[1], "ab") as file:
        file.write(given)
    if given == b"q":
        break
    os.write(1, given.replace(b"\\x1b", b"^").replace(b"\\r", b"\\r\\n"))
"""


@pytest.fixture(scope="module")
def environ():
    """The environment of a caller whose tmux server is a private one."""
    with tempfile.TemporaryDirectory(prefix="ds-tmux-") as folder:
        env = {"PATH": os.environ["PATH"], "HOME": folder, "TMUX_TMPDIR": folder, "LANG": "C.UTF-8"}
        yield env
        subprocess.run(["tmux", "kill-server"], env=env, capture_output=True, timeout=20)


@pytest.fixture(scope="module")
def tmux(environ):
    server = Tmux(environ)
    server.new_session("keeper", ["/bin/sh", "-c", "exec cat"], "k")
    return server


@pytest.fixture
def echo(tmux, tmp_path):
    """A session that shows and stores its input: (tmux session's name, file with the input)."""
    (tmp_path / "echo.py").write_text(ECHO)
    taken = tmp_path / "taken"
    name = f"echo-{tmp_path.name.replace('_', '-')[-40:]}"
    tmux.new_session(name, [sys.executable, "-I", "-S", str(tmp_path / "echo.py"), str(taken)], "key")
    yield name, taken
    tmux.kill_session(name, "key")


def until(condition, what):
    end = time.monotonic() + 20
    while not (value := condition()):
        assert time.monotonic() < end, what
        select.select([], [], [], 0.01)
    return value


def sees(screen, text):
    """Wait, on the screen's own events, until it shows a text."""
    end = time.monotonic() + 20
    while text not in (shown := screen.capture()):
        assert time.monotonic() < end, shown
        select.select([screen.descriptor], [], [], 1.0)
        screen.drain()
    return shown


# tmux's command language


def test_quoted_words_are_read_back_as_they_are(tmux, tmp_path):
    nasty = [
        "",
        " ",
        "\\",
        ";",
        "a;",
        "\\;",
        '"',
        "'",
        "$HOME ${HOME} $(id)",
        "~",
        "~/x",
        "#{pane_id} #(id) #",
        "%1",
        "{a}",
    ]
    nasty += [
        "\n",
        "a\nb\n",
        "\\n",
        "\\\n",
        "-b",
        "--",
        "a\tb",
        "ünï 漢字 🙂",
        "\\u0041 \\101 \\x41 \\e",
        "@",
        "x" * 5_000,
    ]
    assert stored(tmux, tmp_path, nasty) == nasty


SIGNS = st.sampled_from(list("ab01xu \n\\;\"'$~`#{}()@%-=é漢🙂\xa0\t"))


@settings(max_examples=5)
@given(st.lists(st.text(SIGNS, max_size=30), min_size=20, max_size=100))
def test_any_quoted_words_are_read_back_as_they_are(tmux, tmp_path_factory, texts):
    assert stored(tmux, tmp_path_factory.getbasetemp(), texts) == texts


def stored(tmux, folder, texts):
    """Put texts into a tmux buffer by a file of commands, and read them from there."""
    script, out = Path(folder) / "set.tmux", Path(folder) / "out"
    out.write_bytes(b"")
    # A character that no text contains separates the rows of the file; an empty buffer is impossible.
    script.write_text(
        "".join(
            f"set-buffer -b t -- {quoted(text + chr(1))}\nsave-buffer -a -b t {quoted(str(out))}\n" for text in texts
        ),
        newline="",
    )
    tmux.run("source-file", str(script))
    return out.read_bytes().decode().split(chr(1))[:-1]


# The funnel


def test_a_new_session_runs_the_program_itself(tmux, environ, echo):
    name, _ = echo
    assert tmux.has_session(name) is True
    assert tmux.run("display-message", "-p", "-t", f"={name}:", "#{pane_start_command}").count("echo.py") == 1
    shown = tmux.run("display-message", "-p", "-t", f"={name}:", "#{window_width}x#{socket_path}").strip()
    assert shown == f"200x{tmux.socket}"
    assert os.path.samefile(Tmux(environ).expected_socket(), tmux.socket)


def test_it_returns_the_path_of_the_program(tmux, environ):
    other = Tmux(environ)
    socket, pane = other.new_session("where", ["/bin/sh", "-c", "exec cat"], "k")
    assert os.path.samefile(socket, tmux.socket)
    assert tmux.run("display-message", "-p", "-t", pane, "#{session_name}").strip() == "where"
    other.kill_session("where", "k")


def test_session_names_match_exactly(tmux, echo):
    name, _ = echo
    assert tmux.has_session(name[:-1]) is False
    tmux.kill_session(name[:-1], "another key")
    assert tmux.has_session(name) is True


def test_only_our_session_is_killed(tmux, echo):
    name, _ = echo
    tmux.kill_session(name, "another key")
    assert tmux.has_session(name) is True
    tmux.kill_session(name, "key")
    assert tmux.has_session(name) is False
    tmux.kill_session(name, "key")


def test_a_name_that_is_taken_is_an_error(tmux, echo):
    with pytest.raises(TmuxError, match="duplicate session"):
        tmux.new_session(echo[0], ["/bin/true"], "k")
    assert tmux.has_session(echo[0]) is True


def test_refused_commands(tmux):
    with pytest.raises(TmuxError, match="no-such-command") as caught:
        tmux.run("no-such-command")
    assert caught.value.data["next"]
    assert tmux.run("no-such-command", check=False) == ""


def test_no_server(environ, tmp_path):
    other = Tmux({**environ, "TMUX_TMPDIR": str(tmp_path)})
    assert other.has_session("x") is False
    other.kill_session("x", "k")
    assert os.listdir(tmp_path) in ([], [f"tmux-{os.getuid()}"])


def test_no_tmux(tmp_path):
    with pytest.raises(TmuxError, match="not installed") as caught:
        Tmux({"PATH": str(tmp_path)})
    assert "install tmux" in caught.value.data["next"]
    with pytest.raises(TmuxError) as caught:
        Tmux({"PATH": str(tmp_path), "IS_SANDBOX": "1"})
    assert "DEV_SESSIONS_GATEWAY_URL" in caught.value.data["next"]


def test_tmux_cannot_be_asked(environ, tmp_path):
    program = tmp_path / "tmux"
    program.write_text("#!/nowhere/sh\n")
    program.chmod(0o755)
    broken = Tmux({**environ, "PATH": str(tmp_path)})
    assert broken.has_session("x") is None
    with pytest.raises(TmuxError, match="cannot run"):
        broken.run("list-sessions")


@pytest.mark.parametrize(
    ("env", "socket"),
    [
        ({"TMUX": "/dev/null,123,0"}, "/dev/null"),
        ({"TMUX": "/dev/null,123,0", "TMUX_TMPDIR": "/"}, "/dev/null"),
        ({"TMUX": "/nowhere/gone,123,0", "TMUX_TMPDIR": "/"}, f"/tmux-{os.getuid()}/default"),
        ({"TMUX_TMPDIR": "/"}, f"/tmux-{os.getuid()}/default"),
        ({"TMUX": "/dev/null,1,0", "TMUX_TMPDIR": "/", "DEV_SESSIONS_TMUX": "ours"}, f"/tmux-{os.getuid()}/ours"),
        ({}, os.path.realpath(f"/tmp/tmux-{os.getuid()}") + "/default"),
    ],
)
def test_the_expected_socket(env, socket):
    assert Tmux({"PATH": os.environ["PATH"], **env}).expected_socket() == socket


def test_a_named_socket_is_used(tmux, environ):
    elsewhere = Tmux({"PATH": environ["PATH"]}, tmux.socket)
    assert elsewhere.has_session("keeper") is True
    assert elsewhere.expected_socket() == tmux.socket


HOSTILE = {
    "many options": (
        "set -g destroy-unattached on\nset -g base-index 1\nset -g pane-base-index 1\nset -g prefix C-a\n"
        "set -g mouse on\nset -g remain-on-exit off\nset -g exit-empty off\nset -g status off"
    ),
    "exit-unattached": "set -g exit-unattached on",
    "a hook that renames": "set-hook -g session-created 'rename-session hooked'",
    "a hook that renames at once": "set-hook -g after-new-session 'rename-session hooked'",
}


@pytest.fixture
def configured(environ, tmp_path, request):
    """A server that has a configuration of the user's, ended with the test."""
    home, folder = tmp_path / "home", Path(tempfile.mkdtemp(prefix="ds-tmux-"))
    home.mkdir()
    (home / ".tmux.conf").write_text(f"{getattr(request, 'param', '')}\n")
    server = Tmux({**environ, "HOME": str(home), "TMUX_TMPDIR": str(folder)})
    yield server
    server.run("kill-server", check=False)
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.parametrize("configured", HOSTILE.values(), ids=HOSTILE, indirect=True)
def test_a_session_survives_a_hostile_configuration(configured, tmp_path):
    # tmux 3.3a loses, once in a hundred times, what a program says that ends in the same moment.
    wait = f"until [ -e '{tmp_path}/gate' ]; do sleep 0.01; done"
    _, pane = configured.new_session("s", ["/bin/sh", "-c", f"echo last words; {wait}; exit 3"], "k")
    for _ in range(2):  # with no client between them
        with Screen(configured, "s", pane, "k") as screen:
            sees(screen, "last words")
    with Screen(configured, "s", pane, "k") as screen:
        (tmp_path / "gate").touch()
        until(screen.dead, "the program has ended")
        assert screen.last_words().strip() == "last words"
    configured.kill_session("s", "k")
    assert configured.session_of(pane, "k") is None


def attached(tmux, name, columns, rows):
    """A person's terminal of that size on a session."""
    argv = tmux.command("attach-session", "-t", f"={name}")
    client = pexpect.spawn(argv[0], argv[1:], env={**tmux.environ, "TERM": "xterm"}, dimensions=(rows, columns))
    until(lambda: f"{columns}x{rows}" in tmux.run("list-clients", "-F", "#{client_width}x#{client_height}"), "attached")
    return client


def test_a_small_terminal_elsewhere_does_not_shrink_a_new_session(configured):
    configured.new_session("mine", ["/bin/cat"], "m")
    client = attached(configured, "mine", 60, 10)
    try:
        _, pane = configured.new_session("s", ["/bin/cat"], "k")
        size = "#{window_width}x#{window_height} #{window-size}"
        assert configured.run("display-message", "-p", "-t", pane, size).strip() == "200x50 latest"
    finally:
        client.close(force=True)


def test_a_session_that_is_renamed_and_its_pane_moved_is_found_by_its_key(configured, tmp_path):
    """Another session has the name by then, and is never meant."""
    _, pane = configured.new_session("s", ["/bin/sh", "-c", "echo ours; exec cat"], "k")
    configured.run("rename-session", "-t", "=s", "by hand")
    configured.new_session("s", ["/bin/sh", "-c", "echo theirs; exec cat"], "another")
    assert configured.session_of(pane, "k")[1] == "by hand"
    assert configured.free_name("s") == "s-2"
    with Screen(configured, "s", pane, "k") as screen:
        sees(screen, "ours")
    configured.run("join-pane", "-d", "-s", pane, "-t", "=s:")
    assert configured.session_of(pane, "k")[1] == "s"
    with Screen(configured, "by hand", pane, "k") as screen:
        assert "theirs" not in sees(screen, "ours")
    configured.run("break-pane", "-d", "-s", pane)
    with pytest.raises(ScreenGone):
        Screen(configured, "by hand", pane, "another key")
    configured.kill_session("by hand", "k")  # it ended as its last pane left it
    assert configured.has_session("s") is True


def test_the_error_for_a_removed_socket_names_the_signal(configured):
    configured.new_session("s", ["/bin/cat"], "k")
    path, configured.socket = configured.socket, None
    assert unreachable(configured) is None
    os.unlink(path)
    with pytest.raises(TmuxError) as caught:
        configured.new_session("second", ["/bin/cat"], "k2")
    assert str(path) in caught.value.message
    remedy = caught.value.data["next"].partition(" creates")[0]
    subprocess.run(remedy, shell=True, check=True)
    until(lambda: os.path.exists(path), "the socket is there")
    assert configured.has_session("s") is True
    assert unreachable(configured) is None
    shutil.rmtree(os.path.dirname(path))
    why = unreachable(configured)
    assert why.data["next"].startswith("mkdir -m 700 -p ")
    subprocess.run(why.data["next"].partition(" creates")[0], shell=True, check=True)
    until(lambda: configured.has_session("s"), "the socket is there again")


def test_a_server_started_in_between_is_not_reported_as_one_whose_socket_was_removed(configured):
    """Another command starts it after we have looked for a listener and found none."""

    class Late(Tmux):
        looks = 0

        @contextmanager
        def alone(self):
            with super().alone():
                yield
            self.looks += 1
            if self.looks == 1:
                Tmux(self.environ).new_session("s", ["/bin/cat"], "k")

    late = Late(configured.environ)
    assert unreachable(late) is None
    assert late.looks > 1
    assert configured.has_session("s") is True


def test_the_error_for_another_version_names_both(configured, tmp_path):
    """A program that says what tmux 3.6 says to a server of 3.5."""
    configured.new_session("s", ["/bin/cat"], "k")
    newer = tmp_path / "tmux"
    refusal = 'echo "open terminal failed: not a terminal" >&2; exit 1'
    newer.write_text(f'#!/bin/sh\n[ "$1" = -V ] && {{ echo tmux 9.9z; exit; }}\n{refusal}\n')
    newer.chmod(0o755)
    other = Tmux({**configured.environ, "PATH": f"{tmp_path}:{configured.environ['PATH']}"})
    with pytest.raises(TmuxError) as caught:
        other.new_session("second", ["/bin/cat"], "k2")
    own = configured.run("-V").strip()
    assert f"is {own}" in caught.value.message
    assert "is tmux 9.9z" in caught.value.message
    assert "/exe -S" in caught.value.data["next"]
    assert unreachable(configured) is None


def test_a_released_session_ends_with_its_program(tmux, echo):
    name, _ = echo
    with Screen(tmux, name) as screen:
        sees(screen, "ready")
    tmux.release(name)
    tmux.run("send-keys", "-t", f"={name}:", "q")
    until(lambda: tmux.has_session(name) is False, "the session is gone")


# The screen


def test_capture_keys_and_paste(tmux, echo, tmp_path):
    name, taken = echo
    with Screen(tmux, name) as screen:
        sees(screen, "ready")
        screen.keys("h", "i", "Enter")
        sees(screen, "hi")
        screen.paste("b1", ["one \\;$HOME\n", "two 漢字 ~ "], str(tmp_path / "paste.tmux"))
        sees(screen, "~")
        screen.keys("C-a")
        until(lambda: taken.read_bytes().endswith(b"\x01"), "all has arrived")
    begin, end = b"\x1b[200~", b"\x1b[201~"
    pasted = begin + b"one \\;$HOME\r" + end + begin + "two 漢字 ~ ".encode() + end
    assert taken.read_bytes() == b"hi\r" + pasted + b"\x01"


@pytest.mark.parametrize("name", ["a b", "it's", 'q"q', "g*l?o[b]", "{a,b}", "$HOME~", "back\\slash", "#{x}", "ü 漢"])
def test_the_folder_of_the_pastes_script_may_have_any_name(tmux, echo, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    with Screen(tmux, echo[0]) as screen:
        sees(screen, "ready")
        screen.paste("b3", ["it came"], str(folder / "paste.tmux"))
        sees(screen, "it came")


def test_a_long_paste_is_whole(tmux, echo, tmp_path):
    name, taken = echo
    pieces = [f"line {number} " + "x" * 500 + "\n" for number in range(200)]
    with Screen(tmux, name) as screen:
        sees(screen, "ready")
        screen.paste("b2", pieces, str(tmp_path / "paste.tmux"))
        screen.keys("C-a")
        # tmux waits for a client that does not take in what the screen shows.
        until(lambda: screen.drain() or taken.read_bytes().endswith(b"\x01"), "all has arrived")
    bare = taken.read_bytes().replace(b"\x1b[200~", b"").replace(b"\x1b[201~", b"")
    assert bare == "".join(pieces).replace("\n", "\r").encode() + b"\x01"


def test_two_pastes_at_once_do_not_mix(tmux, tmp_path):
    running = []
    (tmp_path / "echo.py").write_text(ECHO)
    for number in (1, 2):
        argv = [sys.executable, "-I", "-S", str(tmp_path / "echo.py"), str(tmp_path / f"taken{number}")]
        tmux.new_session(f"pair-{number}", argv, "k")
        screen = Screen(tmux, f"pair-{number}")
        sees(screen, "ready")
        running.append(screen)
    try:
        for round_ in range(20):
            for number, screen in enumerate(running, 1):
                screen.paste(f"pair{number}", [f"for {number}, {round_};"], str(tmp_path / f"paste{number}"))
        for number, screen in enumerate(running, 1):
            screen.keys("C-a")
            taken = tmp_path / f"taken{number}"
            until(lambda: taken.read_bytes().endswith(b"\x01"), "all has arrived")  # noqa: B023 (called at once)
            bare = taken.read_bytes().replace(b"\x1b[200~", b"").replace(b"\x1b[201~", b"").decode()
            assert bare == "".join(f"for {number}, {round_};" for round_ in range(20)) + "\x01"
    finally:
        for number, screen in enumerate(running, 1):
            screen.close()
            tmux.kill_session(f"pair-{number}", "k")


# What a person, or a key binding, may have left a pane in.
MODES = {
    "copy mode": [("copy-mode",)],
    "clock": [("clock-mode",)],
    "tree": [("choose-tree",)],
    "client list": [("choose-client",)],
    "buffer list": [("set-buffer", "x"), ("choose-buffer",)],
    "options": [("customize-mode",)],
    "search in copy mode": [("copy-mode",), ("send-keys", "-X", "search-backward", "ready")],
    "one over the other": [("copy-mode",), ("clock-mode",), ("choose-tree",)],
    "input off": [("select-pane", "-d")],
    "input off, in a mode": [("clock-mode",), ("select-pane", "-d")],
}


def test_keys_reach_the_program_whatever_mode_its_pane_was_left_in(tmux, echo, tmp_path):
    name, taken = echo
    pressed = b""
    with Screen(tmux, name) as screen:
        sees(screen, "ready")
        for letter, (mode, commands) in zip("abcdefghijk", MODES.items(), strict=False):
            for words in commands:
                tmux.run(*words, *(() if words[0] == "set-buffer" else ("-t", f"={name}:")))
            screen.paste("b4", [f"{mode};"], str(tmp_path / "paste.tmux"))
            screen.keys(letter)
            pressed += b"\x1b[200~" + f"{mode};".encode() + b"\x1b[201~" + letter.encode()
            until(lambda: taken.exists() and taken.read_bytes() == pressed, f"a key in: {mode}")  # noqa: B023 (called at once)


def test_the_pane_is_found_beside_one_that_a_person_opened(tmux, tmp_path):
    _, pane = tmux.new_session("panes", ["/bin/sh", "-c", "echo ours; exec cat"], "k")
    tmux.run("split-window", "-t", "=panes:", "/bin/sh", "-c", "echo theirs; exec cat")
    tmux.run("new-window", "-t", "=panes:", "/bin/sh", "-c", "echo theirs; exec cat")
    tmux.run("set-option", "-w", "-t", pane, "synchronize-panes", "on")
    with Screen(tmux, "panes", pane) as screen:
        assert "theirs" not in sees(screen, "ours")
        screen.keys("for-us", "Enter")
        sees(screen, "for-us")
    panes = tmux.run("list-panes", "-s", "-t", "=panes:", "-F", "#{pane_id}").split()
    assert sum("for-us" in tmux.run("capture-pane", "-p", "-t", one) for one in panes) == 1
    tmux.kill_session("panes", "k")
    with pytest.raises(ScreenGone):
        Screen(tmux, "keeper", pane)


def test_a_drained_descriptor_is_quiet_until_the_next_change(tmux, echo):
    name, _ = echo
    with Screen(tmux, name) as screen:
        sees(screen, "ready")
        until(lambda: screen.drain() or not select.select([screen.descriptor], [], [], 0.2)[0], "it rests")
        tmux.run("send-keys", "-t", f"={name}:", "m")
        assert select.select([screen.descriptor], [], [], 20)[0]
        sees(screen, "m")


def test_a_refused_command_leaves_the_screen_usable(tmux, echo):
    with Screen(tmux, echo[0]) as screen:
        with pytest.raises(TmuxError, match="no-such-command"):
            screen.command("no-such-command")
        sees(screen, "ready")
        assert screen.dead() is False


def test_an_agents_window_keeps_its_size(tmux, echo):
    with Screen(tmux, echo[0]) as screen:
        assert (
            screen.command(f"display-message -p -t ={echo[0]}: '#{{window_width}}x#{{window_height}}'").strip()
            == "200x50"
        )


def test_no_such_session(tmux):
    with pytest.raises(ScreenGone), Screen(tmux, "nobody") as screen:
        screen.capture()


@pytest.mark.parametrize("use", ["capture", "dead", "drain"])
def test_a_session_that_ends_is_gone(tmux, echo, use):
    with Screen(tmux, echo[0]) as screen:
        sees(screen, "ready")
        tmux.kill_session(echo[0], "key")
        select.select([screen.descriptor], [], [], 20)
        with pytest.raises(ScreenGone):
            until(lambda: getattr(screen, use)() and None, "it notices")
        with pytest.raises(ScreenGone):
            screen.capture()


def test_the_last_output_of_a_dead_program_is_kept(tmux, echo):
    with Screen(tmux, echo[0]) as screen:
        sees(screen, "ready")
        screen.keys("q")
        until(screen.dead, "the program has ended")
        assert screen.last_words().strip() == "ready"


def test_closing_leaves_the_session_and_no_client(tmux, echo):
    with Screen(tmux, echo[0]) as screen:
        sees(screen, "ready")
        assert tmux.run("list-clients", "-t", f"={echo[0]}") != ""
    assert tmux.run("list-clients", "-t", f"={echo[0]}") == ""
    assert tmux.has_session(echo[0]) is True


COMING_AND_GOING = """
import os, sys
from dev_sessions.terminal.screen import Screen
from dev_sessions.terminal.server import unreachable
from dev_sessions.terminal.tmux import Tmux
tmux = Tmux(os.environ)
for number in range(int(sys.argv[1])):
    with Screen(tmux, "keeper") as screen:
        screen.capture()
    if number % 4 == 0:
        tmux.new_session(f"guest-{os.getpid()}", ["/bin/cat"], "key")
        tmux.kill_session(f"guest-{os.getpid()}", "key")
"""


@pytest.mark.soak
def test_many_clients_at_once_do_not_kill_the_server(tmux, environ):
    """tmux before 3.7 dies if a client connects while another one leaves; here that took it less than a second."""
    environ = {**environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", COMING_AND_GOING, str(size(3, 100))]
    guests = [subprocess.Popen(argv, env=environ) for _ in range(10)]
    busy = [subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"]) for _ in range(2)]
    try:
        assert [guest.wait(timeout=120) for guest in guests] == [0] * 10
    finally:
        for process in (*busy, *guests):
            process.kill()
            process.wait()
    assert tmux.run("list-sessions", "-F", "#{session_name}").split().count("keeper") == 1
    assert tmux.run("list-clients") == ""


def test_a_screen_starts_no_server(environ, tmp_path):
    alone = Tmux({**environ, "TMUX_TMPDIR": str(tmp_path)})
    with pytest.raises(ScreenGone):
        Screen(alone, "nobody")
    assert alone.has_session("nobody") is False
    assert list(tmp_path.rglob("default")) == []
