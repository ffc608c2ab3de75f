"""Starts a process that outlives the current command and notes its own pid."""

from __future__ import annotations

import os

from ..errors import StoreError
from ..system import files, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
# The process notes its pid and start time before it becomes the program, so that it never runs without the note.
_SCRIPT = f"""cd / && umask 077 || exit
if [ -r /proc/$$/stat ]; then read -r stat </proc/$$/stat; else stat=$({processes.START_BY_PS}); fi
boot=; [ ! -r "$2" ] || read -r boot <"$2"
printf '{{"pid": %s, "stat": "%s", "boot": "%s"}}\\n' $$ "$stat" "$boot" >"$1.$$.tmp" && mv -f "$1.$$.tmp" "$1" || exit
shift 2
exec "$@"
"""


def start(argv: Sequence[str], environ: Mapping[str, str], log: str, note: str | None = None) -> int:
    """Start a program in its own process session, without input; its output is appended to the file `log`.

    Returns its pid.

    Args:
        note: the file in which the process notes itself; its working folder is then /.

    Raises:
        StoreError: the system cannot start a process.
    """
    words = [*argv] if note is None else ["/bin/sh", "-c", _SCRIPT, "sh", note, _BOOT_ID, *argv]
    try:
        return os.posix_spawn(
            words[0],
            words,
            environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    except OSError as error:
        raise StoreError(f"cannot start a process: {error.strerror}", next="try again") from error


def noted(path: str) -> tuple[int, str] | None:
    """Pid and start time of the process noted in that file; it may have ended."""
    value = files.read_json(path)
    if not isinstance(value, dict) or type(value.get("pid")) is not int:
        return None
    started = processes.start_time_in(f"{value.get('stat')}\n{value.get('boot') or ''}")
    return (value["pid"], started) if started else None


def note_process(path: str, pid: int) -> None:
    """Note another process in that file."""
    stat, _, boot = (processes.words_of(pid) or "").partition("\n")
    if stat:
        files.write_json(path, {"pid": pid, "stat": stat, "boot": boot})
