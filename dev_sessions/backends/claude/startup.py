"""Starts Claude Code, and answers its dialogs until it shows its input box."""

from __future__ import annotations

import time
import uuid

from ...errors import LaunchFailed, ScreenGone, WaitingForInput
from ...system.waiting import Watcher
from ...terminal.screen import Screen
from ...terminal.server import unreachable
from ...terminal.tmux import Tmux
from .. import projects
from . import container, dialogs, hooks, keys, observe, paths, transcript, version
from . import launch as starting
from .stop import stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..base import Launch

# A screen with an unknown choice that has not changed for this long will not close without help. Seconds.
_STILL = 2.0
# Claude redraws a dialog within about 0.2 s, with the selection back on the default ("No, exit"), and ignores Enter
# until then. So a dialog is answered once it has not changed for this long. Seconds (2.1.330).
_SETTLED = 0.3
# The file system's times may lag behind the clock. Seconds.
_CLOCK_TICK = 0.05
# How long Claude may take to follow a key in a dialog. Seconds.
_KEY = 1.5
_REMEDY = "fix what it reports, or run claude by hand in that folder to see more"
# tmux gives the pane its own environment; the agent gets only the part that describes the terminal.
_CLEAN = 'exec env -i TERM="$TERM" TMUX="$TMUX" TMUX_PANE="$TMUX_PANE" /bin/sh "$0"'


def start(launch: Launch) -> None:
    """Start the agent and return when it is ready for input; see `base.Backend.launch`."""
    session, id = launch.session, str(uuid.uuid4())
    program = starting.program(session.environ, session.contained)
    begin(launch, program, Tmux(session.environ), id, ("--session-id", id))


def begin(launch: Launch, program: str, tmux: Tmux, uuid: str, conversation: Sequence[str]) -> None:
    """Start `program` with a new or an old conversation, and return when it is ready for input.

    If Claude does not trust the folder, it is started again without the project's own files.

    Args:
        uuid: Claude's own id of the conversation.
        conversation: the options that name it.
    """
    wanted = f"dev-{launch.session.id}"
    name = tmux.free_name(wanted)
    if name != wanted:
        launch.say(f"there is another tmux session called {wanted}; that of {launch.session.id} is {name}")
    if launch.session.contained:
        launch = container.prepared(launch)
    folder = starting.config_folder(launch.environment, launch.path)
    keys.refuse_unusable(folder)
    launch = _keep(
        launch,
        uuid=uuid,
        config=folder,
        socket=tmux.expected_socket(),
        terminal=name,
        version=version.known(program, launch.environment),
        program=program,
    )
    if not launch.session.bare:
        try:
            tmux.release(_attempt(launch, program, tmux, name, conversation, bare=False))
            return
        except _Untrusted:
            stop(launch.session, tmux)
    top = launch.path if launch.session.contained else "/"  # a container gets nothing above the project
    launch.leave_out(projects.found(launch.path, starting.PROJECT, top, folder))
    tmux.release(_attempt(launch, program, tmux, name, conversation, bare=True))


def _attempt(launch: Launch, program: str, tmux: Tmux, name: str, conversation: Sequence[str], bare: bool) -> str:
    """Start Claude in a tmux session called `name`, and return its pane once it shows its input box."""
    script = starting.write_script(launch, program, conversation, bare)
    begun = time.time()
    socket, pane = tmux.new_session(name, ["/bin/sh", "-c", _CLEAN, script], launch.session.record["key"])
    launch = _keep(launch, socket=socket, pane=pane)
    session = launch.session
    try:
        with Screen(tmux, name, pane, session.record["key"]) as screen, Watcher() as watcher:
            _Start(launch, screen, watcher, begun).run()
        # A wrapper or the user's settings may have chosen another version or another configuration folder.
        process = session.folder.process()
        found = {
            "version": observe.status_file(session, process).get("version") if process else None,
            "config": transcript.config_of(transcript.find(session, hooks.reports(session))),
        }
        news = {key: one for key, one in found.items() if isinstance(one, str) and one != session.private[key]}
        if news and not session.contained:
            _keep(launch, **news)
    except ScreenGone as error:
        raise unreachable(tmux) or LaunchFailed(
            "the agent's tmux session ended while Claude was starting", next="run claude by hand in that folder"
        ) from error
    return pane


def _keep(launch: Launch, **private: str | None) -> Launch:
    """Store more of our private state, and return the launch with it."""
    session = launch.session
    known = {**session.private, **private}
    launch.keep(known)
    return launch._replace(session=session.replace(record={**session.record, "backend": known}))


class _Untrusted(LaunchFailed):
    """Claude asks whether the folder is trusted, and we must not answer yes."""


class _Start:
    """Waits for the input box, and answers the dialogs that come before it."""

    def __init__(self, launch: Launch, screen: Screen, watcher: Watcher, begun: float) -> None:
        self._launch, self._screen, self._watcher, self._begun = launch, screen, watcher, begun
        self._session = launch.session
        self._deadline = time.monotonic() + launch.timeout
        self._confirmed: dialogs.Known | None = None
        watcher.watch_descriptor(screen.descriptor)
        watcher.watch_path(self._session.folder.facts_path)

    def run(self) -> None:
        shown, moved = "", time.monotonic()
        while True:
            screen = self._screen.capture()
            if screen != shown:
                shown, moved = screen, time.monotonic()
            if self._confirmed is not None and dialogs.known(screen) != self._confirmed:
                self._launch.say(self._confirmed.said.format(path=self._launch.path))
                self._confirmed = None
            if self._screen.dead():
                raise LaunchFailed(
                    f"Claude ended while it was starting; its last words:\n{dialogs.shown(self._screen.last_words())}",
                    next=container.REMEDY if self._session.contained else _REMEDY,
                )
            if dialogs.input_box(screen) is not None and self._at_rest():
                return
            dialog = dialogs.known(screen)
            if dialog is not None and time.monotonic() - moved >= _SETTLED:
                self._answer(dialog)
            elif dialogs.is_dialog(screen) and time.monotonic() - moved >= _STILL:
                raise self._waiting("Claude asks something that dev-sessions does not answer", screen)
            elif time.monotonic() >= self._deadline:
                raise self._late(screen)
            else:
                self._wait(_SETTLED)

    def _at_rest(self) -> bool:
        """True if Claude shows that it is idle; a version without a status file must have reported its start."""
        activity = observe.look(self._session).activity
        if activity is None:
            reports = self._session.folder.facts(self._begun - _CLOCK_TICK)
            return any(hooks.parse(payload).get("source") in ("startup", "resume") for payload in reports)
        return activity == "idle"

    def _answer(self, dialog: dialogs.Known) -> None:
        """Select the answer, check that it is selected, confirm it, and wait until the dialog is closed."""
        launch = self._launch
        if dialog.trust and not launch.accepts:
            raise _Untrusted(
                f"Claude asks whether {launch.path} is trusted",
                next="create --trust, or run claude in that folder once and answer by hand",
            )
        shown = dialogs.options(self._screen.capture())
        while not any(option.selected and option.text.startswith(dialog.answer) for option in shown):
            marked = next((index for index, option in enumerate(shown) if option.selected), None)
            wanted = next((index for index, option in enumerate(shown) if option.text.startswith(dialog.answer)), None)
            if marked is None or wanted is None:
                return
            self._screen.keys("Down" if wanted > marked else "Up")
            if not self._await_change(dialogs.options, shown):
                return
            shown = dialogs.options(self._screen.capture())
        self._screen.keys("Enter")
        self._confirmed = dialog
        self._await_change(dialogs.known, dialog)

    def _await_change(self, read: Callable[[str], object], before: object) -> bool:
        """Wait until the screen has followed a key; if the next key came too early, it could reach the next dialog."""
        until = min(time.monotonic() + _KEY, self._deadline)
        while read(self._screen.capture()) == before:
            if time.monotonic() >= until:
                return False
            self._wait(until - time.monotonic())
        return True

    def _wait(self, seconds: float) -> None:
        folder = paths.config_folder(self._session)
        self._watcher.watch_path(folder)
        self._watcher.watch_path(f"{folder}/sessions")
        self._watcher.wait(min(seconds, max(0.0, self._deadline - time.monotonic())))
        self._screen.drain()

    def _late(self, screen: str) -> LaunchFailed | WaitingForInput:
        """The error after the deadline; it names what was missing, because Claude may be newer than this program."""
        session = self._session
        if session.contained and not session.folder.facts(self._begun - _CLOCK_TICK):
            missing = f"{session.folder.facts_path} is not mounted there at that path"
            return LaunchFailed(f"Claude's reports do not come out of its container: {missing}", next=container.REMEDY)
        missed = []
        if dialogs.input_box(screen) is None:
            missed.append("no input box was recognised on its screen")
        if not self._at_rest():
            missed.append("it has not reported that it is at rest (by its status file, or by the hook SessionStart)")
        what = f"was not ready for input within {self._launch.timeout:g} s: {' and '.join(missed)}"
        return self._waiting(f"{version.name(session)} {what}", screen)

    def _waiting(self, what: str, screen: str) -> WaitingForInput:
        id, shown = self._session.id, dialogs.shown(screen)
        self._session.folder.set_notice(shown, time.time())
        press = f"dev-sessions respond {id} --key K, or " if dialogs.is_dialog(screen) else ""
        return WaitingForInput(
            f"{what}. The session {id} stays; its screen shows:\n{shown}",
            next=f"{press}dev-sessions attach {id}, to answer; or dev-sessions kill {id}",
            session=id,
        )
