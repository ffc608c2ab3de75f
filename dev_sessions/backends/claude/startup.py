"""Starting Claude Code and seeing it through to its input box."""

from __future__ import annotations

import time
import uuid

from ...errors import LaunchFailed, ScreenGone, WaitingForInput
from ...system.waiting import Watcher
from ...terminal.screen import Screen
from ...terminal.server import unreachable
from ...terminal.tmux import Tmux
from .. import projects
from . import container, dialogs, hooks, keys, observe, version
from . import launch as starting
from .stop import stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..base import Launch

# A screen that shows a choice we do not know, and has not moved for this long, will not go away by itself. Seconds.
_STILL = 2.0
# A dialog that has just come is drawn anew within some 0.2 s, with its mark back on the default ("No, exit"), and
# ignores Enter until then: it is answered once it has stood still for this long. Seconds (2.1.330).
_SETTLED = 0.3
# Stamps of files may lag behind the clock. Seconds.
_CLOCK_TICK = 0.05
# How long Claude may take to follow a key in a dialog. Seconds.
_KEY = 1.5
# How long a Claude that stands at its first dialog may take to end by itself. Seconds.
_GRACE = 3.0
# tmux gives the pane its own environment; of that, only what describes the terminal goes on to the agent.
_CLEAN = 'exec env -i TERM="$TERM" TMUX="$TMUX" TMUX_PANE="$TMUX_PANE" /bin/sh "$0"'


def start(launch: Launch) -> None:
    """Start the agent and return when it is ready for input; see `base.Backend.launch`."""
    environ = launch.session.environ
    id = str(uuid.uuid4())
    begin(launch, starting.binary_for(launch.session), Tmux(environ), id, ("--session-id", id))


def begin(launch: Launch, program: str, tmux: Tmux, uuid: str, conversation: Sequence[str]) -> None:
    """Start `program` on a conversation, new or old, and return when it is ready for input.

    Args:
        uuid: Claude's own id of the conversation.
        conversation: what its command line says of it.
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
    tmux.release(_run(launch, program, tmux, name, conversation))


def _run(launch: Launch, program: str, tmux: Tmux, name: str, conversation: Sequence[str]) -> str:
    """Start Claude, and once more without what the project brings along if the folder is not trusted.

    Returns the pane.
    """
    if not launch.session.bare:
        try:
            return _attempt(launch, program, tmux, name, conversation, bare=False)
        except _Untrusted:
            stop(launch.session, tmux, _GRACE)
    top = launch.path if launch.session.contained else "/"  # what is above it is not mounted there
    launch.leave_out(projects.found(launch.path, starting.PROJECT, top, launch.session.private["config"]))
    return _attempt(launch, program, tmux, name, conversation, bare=True)


def _attempt(launch: Launch, program: str, tmux: Tmux, name: str, conversation: Sequence[str], bare: bool) -> str:
    """Start Claude in a tmux session called `name`, and see it through to its input box; returns the pane."""
    script = starting.write_script(launch, program, conversation, bare)
    begun = time.time()
    socket, pane = tmux.new_session(name, ["/bin/sh", "-c", _CLEAN, script], launch.session.record["key"])
    launch = _keep(launch, socket=socket, pane=pane)
    try:
        with Screen(tmux, name, pane, launch.session.record["key"]) as screen, Watcher() as watcher:
            _Start(launch, screen, watcher, begun).run()
        _keep_what_it_is(launch)
    except ScreenGone as error:
        raise unreachable(tmux) or LaunchFailed(
            "the agent's tmux session ended while Claude was starting", next="run claude by hand in that folder"
        ) from error
    return pane


def _keep_what_it_is(launch: Launch) -> None:
    """A wrapper, or the user's settings, may have made of it another version, in another configuration folder."""
    session = launch.session
    process = session.folder.process()
    reports = [fields for _, fields in observe.reports(session)]
    told = {
        "version": observe.status_file(session, process).get("version") if process else None,
        "config": observe.config_of(observe.transcript_path(session, reports)),
    }
    news = {name: value for name, value in told.items() if isinstance(value, str) and value != session.private[name]}
    if news and not session.contained:
        _keep(launch, **news)


def _keep(launch: Launch, **private: str | None) -> Launch:
    """Put down more of our private state, and give back the launch of a session that knows it."""
    session = launch.session
    known = {**session.private, **private}
    launch.keep(known)
    return launch._replace(session=session.replace(record={**session.record, "backend": known}))


class _Untrusted(LaunchFailed):
    """Claude asks whether the folder is trusted, and is not to hear yes."""


class _Start:
    """Waits for the input box; deals with what stands in the way."""

    def __init__(self, launch: Launch, screen: Screen, watcher: Watcher, begun: float) -> None:
        self._launch, self._screen, self._watcher, self._begun = launch, screen, watcher, begun
        self._deadline = time.monotonic() + launch.timeout
        self._confirmed: dialogs.Known | None = None
        watcher.watch_descriptor(screen.descriptor)
        watcher.watch_path(launch.session.folder.facts_path)

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
                raise self._died()
            if dialogs.input_box(screen) is not None and self._at_rest():
                return
            dialog = dialogs.known(screen)
            if dialog is not None and time.monotonic() - moved >= _SETTLED:
                self._answer(dialog)
            elif dialogs.is_dialog(screen) and time.monotonic() - moved >= _STILL:
                raise self._unknown("Claude asks something that dev-sessions does not answer", screen)
            elif time.monotonic() >= self._deadline:
                raise self._cut_off() or self._unknown(self._late(screen), screen)
            else:
                self._wait(_SETTLED)

    def _at_rest(self) -> bool:
        """Claude says that it is idle; a version that does not say has at least reported its start."""
        session = self._launch.session
        activity = observe.look(session).activity
        if activity is None:
            told = session.folder.facts(self._begun - _CLOCK_TICK)
            return any(hooks.parse(payload).get("source") in ("startup", "resume") for payload in told)
        return activity == "idle"

    def _answer(self, dialog: dialogs.Known) -> None:
        """Move the mark to the answer, see that it is there, confirm it, and see the dialog go."""
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
            if not self._await(_moved_from(shown)):
                return
            shown = dialogs.options(self._screen.capture())
        self._screen.keys("Enter")
        self._confirmed = dialog
        self._await(lambda screen: dialogs.known(screen) != dialog)

    def _await(self, there: Callable[[str], bool]) -> bool:
        """Wait until the screen has followed a key; a second one on top of it might hit what comes next."""
        until = min(time.monotonic() + _KEY, self._deadline)
        while not there(self._screen.capture()):
            if time.monotonic() >= until:
                return False
            self._wait(until - time.monotonic())
        return True

    def _wait(self, seconds: float) -> None:
        self._watcher.watch_path(observe.config_folder(self._launch.session))
        self._watcher.watch_path(observe.config_folder(self._launch.session) + "/sessions")
        self._watcher.wait(min(seconds, max(0.0, self._deadline - time.monotonic())))
        self._screen.drain()

    def _died(self) -> LaunchFailed:
        last_words = dialogs.shown(self._screen.last_words())
        remedy = "fix what it reports, or run claude by hand in that folder to see more"
        return LaunchFailed(
            f"Claude ended while it was starting; its last words:\n{last_words}",
            next=container.REMEDY if self._launch.session.contained else remedy,
        )

    def _cut_off(self) -> LaunchFailed | None:
        """It runs in a container, and not a word of it has come out."""
        session = self._launch.session
        if not session.contained or session.folder.facts(self._begun - _CLOCK_TICK):
            return None
        missing = f"{session.folder.facts_path} is not mounted there at that path"
        return LaunchFailed(f"Claude's reports do not come out of its container: {missing}", next=container.REMEDY)

    def _late(self, screen: str) -> str:
        """What was missed, by name: it may be a Claude that is newer than this program."""
        missed = []
        if dialogs.input_box(screen) is None:
            missed.append("no input box was recognised on its screen")
        if not self._at_rest():
            missed.append("it has not told that it is at rest (by its status file, or by the hook SessionStart)")
        name = version.name(self._launch.session)
        return f"{name} was not ready for input within {self._launch.timeout:g} s: {' and '.join(missed)}"

    def _unknown(self, what: str, screen: str) -> WaitingForInput:
        id = self._launch.session.id
        self._launch.session.folder.set_notice(dialogs.shown(screen), time.time())
        press = f"dev-sessions respond {id} --key K, or " if dialogs.is_dialog(screen) else ""
        return WaitingForInput(
            f"{what}. The session {id} stays; its screen shows:\n{dialogs.shown(screen)}",
            next=f"{press}dev-sessions attach {id}, to answer; or dev-sessions kill {id}",
            session=id,
        )


def _moved_from(before: list[dialogs.Option]) -> Callable[[str], bool]:
    return lambda screen: dialogs.options(screen) != before
