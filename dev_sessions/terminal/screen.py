"""A live view of one tmux session: a control-mode client, driven by pexpect.

The client reports that the screen changed (`%output`), and answers `capture-pane` on the same connection within about
a millisecond. It does not resize anybody's window (`ignore-size`), and a person attached to the session does not see
it. The stream of `%output` cannot be matched as text (tmux 3.3a moves the cursor between words and cuts UTF-8 across
lines), so it serves as an event only.
"""

from __future__ import annotations

import re

import pexpect

from ..errors import ScreenGone, TmuxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .tmux import Tmux

_BLOCK = re.compile(rb"%begin (\d+ \d+) 1\r?\n(.*?)%(end|error) \1 1\r?\n", re.DOTALL)
# The client accepts commands before this line, but only after it is it attached and gets `%output`.
_ATTACHED = re.compile(rb"%session-changed (\$\d+) [^\n]*\n")
_ANSWER_SECONDS = 10.0
_NEEDED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "TMPDIR", "TMUX_TMPDIR")


class Screen:
    """Attach to session `name`; use as a context manager.

    Args:
        name: the session's exact name.
        pane: the id of the program's pane; None: the session's active one.
        key: the key given to `Tmux.new_session`; with it, the pane is found even if a person has renamed the session
            or moved the pane to another one.

    Raises:
        ScreenGone: there is no such session, or the pane is not in it.
    """

    def __init__(self, tmux: Tmux, name: str, pane: str | None = None, key: str | None = None) -> None:
        self.name = name
        # The keys to press instead of a key that the program's user has bound to something else.
        self.bound: Mapping[str, tuple[str, ...]] = {}
        self._target = pane or f"={name}:"
        self._tmux = tmux
        with tmux.alone():
            try:
                self._attach(f"={name}")
            except ScreenGone:
                found = tmux.session_of(pane, key) if pane and key else None
                if found is None:
                    raise
                self._attach(found[0])

    def _attach(self, session: str) -> None:
        argv = self._tmux.command("-u", "-N", "-C", "attach-session", "-E", "-t", session, "-f", "ignore-size")
        # Only the variables that the client needs (see `tmux`), without TMUX: otherwise tmux would refuse to nest.
        environ = {name: value for name, value in self._tmux.environ.items() if name in _NEEDED}
        options: dict[str, Any] = {"echo": False, "timeout": _ANSWER_SECONDS, "maxread": 65536}
        self._client = pexpect.spawn(argv[0], argv[1:], env={**environ, "TERM": "dumb"}, **options)
        # By default pexpect waits 50 ms before each send and 100 ms after a close, for slow terminals.
        self._client.delaybeforesend = None
        self._client.delayafterread = None
        self._client.ptyproc.delayafterclose = 0
        self._ended = False
        try:
            self._expect(_ATTACHED)
            attached = self._client.match[1].decode()
            if self._ask("#{session_id}") != attached:
                raise ScreenGone(f"the agent's pane in the tmux session {self.name} is gone")
        except BaseException:
            self._detach()
            raise

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def descriptor(self) -> int:
        """Readable when something changed; call `drain` before waiting on it again."""
        return int(self._client.child_fd)

    def close(self) -> None:
        """Detach; the session goes on."""
        with self._tmux.alone():
            self._detach()

    def _detach(self) -> None:
        if not self._ended:
            # Asked to, the client exits within about a millisecond; to kill it, pexpect waits between signals.
            try:
                self._client.sendline("detach-client")
                self._client.expect(pexpect.EOF, timeout=2.0)
            except (OSError, pexpect.EOF, pexpect.TIMEOUT):
                pass
        self._client.ptyproc.delayafterterminate = 0.1
        try:
            self._client.close(force=True)
        except pexpect.ExceptionPexpect:
            pass  # SIGKILL was sent; on a busy machine the end takes a while

    def command(self, line: str) -> str:
        """Run one tmux command on this connection and return what it printed.

        Raises:
            TmuxError: tmux refused it.
            ScreenGone: the session has ended.
        """
        self._send(line)
        return self._answer(line)

    def capture(self, styled: bool = False) -> str:
        """The screen as text, one line per row without trailing blanks; `styled`: with colour sequences."""
        return self.command(f"capture-pane -p{'e' if styled else ''} -t {quoted(self._target)}")

    def last_words(self) -> str:
        """The last output of the pane's program. (tmux scrolls a line away to write that the pane is dead.)"""
        shown = self.command(f"capture-pane -p -S -100 -t {quoted(self._target)}")
        return "\n".join(line for line in shown.split("\n") if not line.startswith("Pane is dead"))

    def dead(self) -> bool:
        """True if the pane's program has ended and the pane only shows its last output."""
        return self._ask("#{pane_dead}") == "1"

    def cursor(self) -> str:
        """The cursor's position, as "column,row"."""
        return self._ask("#{cursor_x},#{cursor_y}")

    def row(self) -> int:
        """The cursor's row; 0 is the top."""
        return int(self._ask("#{cursor_y}"))

    def height(self) -> int:
        """Rows of the pane."""
        return int(self._ask("#{pane_height}"))

    def _ask(self, variable: str) -> str:
        try:
            return self.command(f"display-message -p -t {quoted(self._target)} {quoted(variable)}").strip()
        except ScreenGone:
            raise
        except TmuxError as error:
            raise self._gone() from error

    def _let_keys_through(self) -> None:
        """Leave modes in which keys do not reach the program: a person may have scrolled, or opened the clock.

        `-q` leaves all modes (tmux 3.2 and newer). If the pane's input was disabled (`select-pane -d`), it is enabled.
        """
        if self._ask("#{pane_in_mode}#{pane_input_off}") == "00":
            return
        self.command(f"copy-mode -q -t {quoted(self._target)}")
        if self._ask("#{pane_input_off}") == "1":
            self.command(f"select-pane -e -t {quoted(self._target)}")

    def keys(self, *names: str, exactly: bool = False) -> None:
        """Press keys, by tmux's names for them (`Enter`, `Escape`, `C-s`).

        Args:
            exactly: ignore `bound`.
        """
        self._let_keys_through()
        pressed = [key for name in names for key in ((name,) if exactly else self.bound.get(name, (name,)))]
        self.command(f"send-keys -t {quoted(self._target)} {' '.join(pressed)}")

    def paste(self, buffer: str, pieces: list[str], script: str) -> None:
        """Paste texts one after the other, each as a bracketed paste.

        Args:
            buffer: name of the tmux buffer; two callers must not share one.
            pieces: the texts; without control characters except line feeds.
            script: path of a file for the tmux commands (one typed on this connection is limited to the terminal's
                line length); the caller removes it.
        """
        self._let_keys_through()
        target = quoted(self._target)
        with open(script, "w", encoding="utf-8", newline="") as file:
            for piece in pieces:
                file.write(f"set-buffer -b {buffer} -- {quoted(piece)}\npaste-buffer -p -d -b {buffer} -t {target}\n")
        # Each command of the file answers with a block, but after a failure the others do not run. So a mark follows,
        # which shows that all blocks have arrived.
        mark = f"{buffer}-{id(pieces)}"
        literal = re.sub(r"([\\*?\[\]{}])", r"\\\1", script)  # source-file takes patterns
        self._send(f"source-file {quoted(literal)}")
        self._send(f"display-message -p {quoted(mark)}")
        while self._answer("source-file").strip() != mark:
            pass

    def _send(self, line: str) -> None:
        if self._ended:
            raise self._gone()
        try:
            self._client.sendline(line)
        except OSError as error:
            self._ended = True
            raise self._gone() from error

    def _gone(self) -> ScreenGone:
        return ScreenGone(f"the tmux session {self.name} has ended")

    def _expect(self, pattern: re.Pattern[bytes]) -> None:
        try:
            self._client.expect(pattern)
        except (pexpect.EOF, OSError) as error:
            self._ended = True
            raise self._gone() from error
        except pexpect.TIMEOUT as error:
            raise TmuxError(f"tmux has not answered for {_ANSWER_SECONDS:g} s", next="check the tmux server") from error

    def _answer(self, line: str) -> str:
        self._expect(_BLOCK)
        _, content, end = self._client.match.groups()
        text: str = content.replace(b"\r\n", b"\n").decode(errors="replace")
        if end == b"error":
            raise TmuxError(f"tmux {line.split()[0]}: {text.strip()}")
        return text

    def drain(self) -> None:
        """Read the pending events; after that, `descriptor` becomes readable only at the next change.

        Raises:
            ScreenGone: the session has ended.
        """
        try:
            while True:
                self._client.read_nonblocking(65536, timeout=0)
        except pexpect.TIMEOUT:
            return
        except (pexpect.EOF, OSError) as error:
            self._ended = True
            raise self._gone() from error


def quoted(text: str) -> str:
    """`text` as one word of tmux's command language (tmux.conf syntax, double quotes)."""
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("~", "\\~").replace("\n", "\\n")
    )
    return f'"{escaped}"'
