"""A live view of one tmux session: a control-mode client, driven by pexpect.

The client tells *that* the screen moved (`%output`) and answers `capture-pane` on the same connection in about a
millisecond, which tells *what* stands there. It does not resize anybody's window (`ignore-size`) and a person attached
to the session sees nothing of it. tmux 3.3a: the raw `%output` stream is no text to match on (cursor moves stand
between words, UTF-8 is cut across lines), so it serves as an event only.
"""

from __future__ import annotations

import re

import pexpect

from ..errors import ScreenGone, TmuxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .tmux import Tmux

_BLOCK = re.compile(rb"%begin (\d+ \d+) 1\r?\n(.*?)%(end|error) \1 1\r?\n", re.DOTALL)
# Only then the client is attached, and told what moves; it carries out commands before.
_ATTACHED = re.compile(rb"%session-changed (\$\d+) [^\n]*\n")
_ANSWER_SECONDS = 10.0
_NEEDED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "TMPDIR", "TMUX_TMPDIR")


class Screen:
    """Attach to session `name`; use as a context manager.

    Args:
        tmux: the server.
        name: the session's exact name.
        pane: the id of the program's pane; None: the session's active one.
        key: the key that `Tmux.new_session` was given; with it, a pane is found that is elsewhere by now, as after a
            person has renamed the session or moved the pane.

    Raises:
        ScreenGone: there is no such session, or the pane is not one of it.
    """

    def __init__(self, tmux: Tmux, name: str, pane: str | None = None, key: str | None = None) -> None:
        self.name = name
        # What to press in the place of a key, where the program's user has bound it to something else.
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
        # Little to introduce itself with (see `tmux`), and no TMUX, inside of which tmux would refuse to nest.
        environ = {name: value for name, value in self._tmux.environ.items() if name in _NEEDED}
        self._client = pexpect.spawn(
            *(argv[0], argv[1:]),
            env={**environ, "TERM": "dumb"},
            echo=False,
            timeout=_ANSWER_SECONDS,
            maxread=65536,
        )
        # pexpect's defaults wait 50 ms before each send and 100 ms after a close, for the sake of slow terminals.
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
        """Readable when something moved; call `drain` before waiting on it again."""
        return int(self._client.child_fd)

    def close(self) -> None:
        """Detach; the session goes on."""
        with self._tmux.alone():
            self._detach()

    def _detach(self) -> None:
        if not self._ended:
            # Asked to, the client leaves in about a millisecond; killed, it would take pexpect's waits between signals.
            try:
                self._client.sendline("detach-client")
                self._client.expect(pexpect.EOF, timeout=2.0)
            except (OSError, pexpect.EOF, pexpect.TIMEOUT):
                pass
        self._client.ptyproc.delayafterterminate = 0.1
        try:
            self._client.close(force=True)
        except pexpect.ExceptionPexpect:
            pass  # it was sent SIGKILL; a busy machine may take its time

    def command(self, line: str) -> str:
        """Run one tmux command on this connection and return what it printed.

        Raises:
            TmuxError: tmux refused it.
            ScreenGone: the session has ended.
        """
        self._send(line)
        return self._answer(line)

    def capture(self, styled: bool = False) -> str:
        """The screen as text, trailing blanks kept out, one line per row; `styled`, with its colour sequences."""
        return self.command(f"capture-pane -p{'e' if styled else ''} -t {quoted(self._target)}")

    def last_words(self) -> str:
        """What the pane's program wrote before it ended: tmux scrolls a line away to write that the pane is dead."""
        shown = self.command(f"capture-pane -p -S -100 -t {quoted(self._target)}")
        return "\n".join(line for line in shown.split("\n") if not line.startswith("Pane is dead"))

    def dead(self) -> bool:
        """True if the pane's program has ended and the pane only shows its last words."""
        return self._ask("#{pane_dead}") == "1"

    def cursor(self) -> str:
        """Where the cursor stands, as "column,row"."""
        return self._ask("#{cursor_x},#{cursor_y}")

    def row(self) -> int:
        """The cursor's row, counted from 0 at the top."""
        return int(self._ask("#{cursor_y}"))

    def height(self) -> int:
        """Rows of the pane."""
        return int(self._ask("#{pane_height}"))

    def _ask(self, variable: str) -> str:
        try:
            return self.command(f"display-message -p -t {quoted(self._target)} {quoted(variable)}").strip()
        except TmuxError as error:
            if isinstance(error, ScreenGone):
                raise
            raise ScreenGone(f"the tmux session {self.name} has ended") from error

    def _let_keys_through(self) -> None:
        """Leave a mode in which keys do not reach the program: a person may have scrolled, or opened the clock.

        `-q` leaves every mode, one over the other too (tmux 3.2 and newer). A pane that takes no keys at all
        (`select-pane -d`) takes them again.
        """
        if self._ask("#{pane_in_mode}#{pane_input_off}") == "00":
            return
        self.command(f"copy-mode -q -t {quoted(self._target)}")
        if self._ask("#{pane_input_off}") == "1":
            self.command(f"select-pane -e -t {quoted(self._target)}")

    def keys(self, *names: str, exactly: bool = False) -> None:
        """Press keys, by tmux's names for them (`Enter`, `Escape`, `C-s`).

        Args:
            exactly: these, whatever `bound` says.
        """
        self._let_keys_through()
        pressed = [key for name in names for key in ((name,) if exactly else self.bound.get(name, (name,)))]
        self.command(f"send-keys -t {quoted(self._target)} {' '.join(pressed)}")

    def paste(self, buffer: str, pieces: list[str], script: str) -> None:
        """Paste texts one after the other, each in brackets of its own, as a terminal's user would.

        Args:
            buffer: name of the tmux buffer; no two callers may share one (an unnamed buffer gets swapped).
            pieces: the texts; none may hold a control character other than a line feed.
            script: path of a file to write the tmux commands to (a command typed on this connection is limited to the
                terminal's line length); the caller removes it.
        """
        self._let_keys_through()
        target = quoted(self._target)
        with open(script, "w", encoding="utf-8", newline="") as file:
            for piece in pieces:
                file.write(f"set-buffer -b {buffer} -- {quoted(piece)}\npaste-buffer -p -d -b {buffer} -t {target}\n")
        # Each command of the file answers with a block of its own, of which there is no knowing the number if one of
        # them fails: a mark behind them tells that all have run.
        mark = f"{buffer}-{id(pieces)}"
        self._send(f"source-file {quoted(_literal(script))}")
        self._send(f"display-message -p {quoted(mark)}")
        while self._answer("source-file").strip() != mark:
            pass

    def _send(self, line: str) -> None:
        if self._ended:
            raise ScreenGone(f"the tmux session {self.name} has ended")
        try:
            self._client.sendline(line)
        except OSError as error:
            raise self._gone() from error

    def _gone(self) -> ScreenGone:
        self._ended = True
        return ScreenGone(f"the tmux session {self.name} has ended")

    def _expect(self, pattern: re.Pattern[bytes]) -> None:
        try:
            self._client.expect(pattern)
        except (pexpect.EOF, OSError) as error:
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
        """Take in what the session has said; afterwards `descriptor` is readable only when something new moved.

        Raises:
            ScreenGone: the session has ended.
        """
        try:
            while True:
                self._client.read_nonblocking(65536, timeout=0)
        except pexpect.TIMEOUT:
            return
        except (pexpect.EOF, OSError) as error:
            raise self._gone() from error


def _literal(path: str) -> str:
    """A path for a command of tmux that takes patterns."""
    return re.sub(r"([\\*?\[\]{}])", r"\\\1", path)


def quoted(text: str) -> str:
    """`text` as one word of tmux's command language (tmux.conf syntax, double quotes)."""
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("~", "\\~").replace("\n", "\\n")
    )
    return f'"{escaped}"'
