"""The skills that teach agents to use dev-sessions: finding, comparing, installing and removing them.

A folder that we have installed holds a stamp: the version, and a digest of each file as we wrote it. What differs from
its digest was edited by hand, and is kept. A skill of the same name without a stamp is not ours. The stamp knows a
file's new content before it is written: an install that is killed in the middle is finished by the next one, of
whatever version.

The skills of a project, stamps included, may come from a stranger, with links in them. Nothing is read, written or
removed there whose real path is outside of the project. A stamp is never a link, and nothing behind a link is removed.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import os
import shlex

from .backends import own_programs
from .errors import DevSessionsError, UsageError
from .system import files, locks
from .text import NotPlain, plain_yaml
from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from .backends.installed import Program

STAMP = ".dev-sessions.json"
# No file of a skill is longer; ours have a few kilobytes. Bytes.
_MOST = 1_000_000


class Change(NamedTuple):
    """What is to be done to one file, or was.

    Attributes:
        agent: whose copy it is.
        skill: the skill's name.
        path: the file.
        act: "installed", "updated", "unchanged", "kept" (edited by hand), "foreign" (kept, since it is not ours),
            "replaced" (edited; `backup` has the edit), "removed", or "absent".
        diff: from the file to the copy of this version, if they differ.
        backup: where the edited file went.
    """

    agent: str
    skill: str
    path: str
    act: str
    diff: str = ""
    backup: str | None = None


# Nothing is done to these, nor is it asked for.
AT_REST = ("unchanged", "absent")
_KEPT = ("kept", "foreign")


class Wishes(NamedTuple):
    """How to install: `uninstall` removes instead, `force` also what was edited, `dry` only tells."""

    uninstall: bool = False
    force: bool = False
    dry: bool = False


def programs_here(environ: Mapping[str, str]) -> list[Program]:
    """The agents of this machine."""
    return [program for program in own_programs() if program.path(environ)]


def chosen(names: Iterable[str], environ: Mapping[str, str]) -> tuple[list[Program], bool]:
    """The agents named, else those of this machine, else Claude; and whether none was found."""
    wanted = [program for program in own_programs() if program.name in set(names)]
    if wanted:
        return wanted, False
    here = programs_here(environ)
    return here or own_programs()[:1], not here


def pack() -> str:
    """The folder of the skills that belong to this version: in the wheel, else in the checkout."""
    package = os.path.dirname(os.path.abspath(__file__))
    for place in (os.path.join(package, "pack"), os.path.join(os.path.dirname(package), "skills")):
        if os.path.isdir(place):
            return place
    raise DevSessionsError("this installation has no skills in it", next="install dev-sessions again")


def names(agent: str) -> list[str]:
    return sorted(os.listdir(os.path.join(pack(), agent)))


def show(name: str, agent: str) -> str:
    """The skill's text as this version has it.

    Raises:
        UsageError: there is no such skill.
    """
    if name not in names(agent):
        raise UsageError(
            f"no skill called {name!r}; there are: {', '.join(names(agent))}",
            next=f"dev-sessions skill show {names(agent)[0]}",
        )
    return _text(files.read(os.path.join(pack(), agent, name, "SKILL.md")) or b"")


def front_matter(text: str) -> dict[str, Any]:
    """What stands between the first two lines of ---; empty if that is no mapping."""
    head, _, rest = text.partition("\n")
    block, end, _ = rest.partition("\n---\n")
    if head != "---" or not end:
        return {}
    try:
        value = plain_yaml(block)
    except NotPlain:
        return {}
    return value if isinstance(value, dict) else {}


def version_of(folder: str) -> str | None:
    """The version that an installed skill says it is of; None if it is not there.

    Raises:
        OSError: it cannot be read, or is no regular file of a sensible size.
    """
    content = files.read_limited(os.path.join(folder, "SKILL.md"), _MOST)
    if content is None:
        return None
    told = front_matter(_text(content)).get("metadata")
    version = told.get("version") if isinstance(told, dict) else None
    return version if isinstance(version, str) else "unknown"


def apply(program: Program, into: str, version: str, wishes: Wishes, project: str | None = None) -> Iterator[Change]:
    """Bring the skills below the folder `into` to this version, or remove them; other skills are not touched.

    Two who do so at once do it one after the other.

    Args:
        project: the folder that must hold all that is read and written; None: links may lead anywhere.

    Raises:
        DevSessionsError: a file cannot be read or written, and what came before it is done; or, before anything is
            done, a link leads out of the project.
    """
    release = None
    try:
        _refuse_outside(into, project)
        if not wishes.dry and not wishes.uninstall:
            os.makedirs(into, exist_ok=True)
        if not wishes.dry and os.path.isdir(into):
            release = locks.take_folder(into)
        known = [_Skill(program.name, name, os.path.join(into, name), version) for name in names(program.name)]
        for path in (path for skill in known for path in skill.places()):
            _refuse_outside(path, project)
        for skill in known:
            skill.look()
            yield from skill.remove(wishes) if wishes.uninstall else skill.install(wishes)
    except OSError as error:
        path = str(error.filename2 or error.filename or into)
        raise DevSessionsError(f"cannot write {path}: {error.strerror}", next=_remedy(error, path)) from error
    finally:
        if release:
            release()


def _refuse_outside(path: str, project: str | None) -> None:
    """Raise if a path leads out of the project, whichever part of it is a link."""
    if project is None:
        return
    real, root = os.path.realpath(path), os.path.realpath(project)
    if os.path.commonpath([real, root]) != root:
        raise DevSessionsError(
            f"{path} leads out of the project {project}: it is {real}",
            next=f"remove that link (ls -ld {shlex.quote(path)}), or install the skills for yourself: "
            "dev-sessions install-skill --global",
        )


def _remedy(error: OSError, path: str) -> str:
    again = "then run the same command again"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"free some space, {again}"
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.EFBIG):
        return f"move it out of the way, {again}"
    look = f"ls -ld {shlex.quote(path)}"
    return f"see to it that you may write there ({look}), {again}; from a sandbox, run it outside of it"


class _Skill:
    """One skill of this version, and the folder it belongs into."""

    def __init__(self, agent: str, name: str, folder: str, version: str) -> None:
        self.agent, self.name, self.folder, self.version = agent, name, folder, version
        self.wanted = _tree(os.path.join(pack(), agent, name))
        self.ours: dict[str, list[str]] = {}
        self.foreign = False

    def places(self) -> list[str]:
        """Its folder, and where its files are or will be."""
        return [self.folder, *(self._full(path) for path in (STAMP, *self.wanted))]

    def look(self) -> None:
        """Read what is there."""
        stamp = self._read_stamp()
        self.ours = {path: known for path, known in _digests(stamp).items() if path in self.wanted or self._own(path)}
        page = files.read_limited(self._full("SKILL.md"), _MOST)
        # Whoever has written it may have files of any name beside it.
        self.foreign = not isinstance(stamp, dict) and page not in (None, self.wanted["SKILL.md"])

    def install(self, wishes: Wishes) -> list[Change]:
        changes = [self._planned(path, self.wanted.get(path), wishes) for path in self._paths()]
        if wishes.dry or (self.foreign and not wishes.force):
            return changes
        os.makedirs(self.folder, exist_ok=True)
        files.sweep_dead(self.folder, 0)
        if any(change.act not in (*AT_REST, *_KEPT) for change in changes):
            self._stamp({path: [*self.ours.get(path, []), _digest(new)] for path, new in self.wanted.items()})
            for change in changes:
                self._carry_out(change, self.wanted)
        # A file that was edited keeps the digest of what it was made from; it is still an edit next time.
        kept = {change.path for change in changes if change.act == "kept"}
        final = {path: [_digest(new)] for path, new in self.wanted.items()}
        final |= {path: self.ours.get(path, []) for path in self._paths() if self._full(path) in kept}
        if final != self.ours:
            self._stamp(final)
        return changes

    def remove(self, wishes: Wishes) -> list[Change]:
        changes = [self._planned(path, None, wishes) for path in self._paths()]
        changes = [change for change in changes if change.act != "absent"]
        if wishes.dry:
            return changes
        files.sweep_dead(self.folder, 0)
        for change in changes:
            self._carry_out(change, {})
        if all(change.act not in _KEPT for change in changes):
            files.remove(os.path.join(self.folder, STAMP))
            for folder, _, _ in os.walk(self.folder, topdown=False):
                files.remove_empty(folder)
        return changes

    def _read_stamp(self) -> Any:
        """What the stamp says; None if there is none. We write no link, so a link is no stamp."""
        path = self._full(STAMP)
        content = None if os.path.islink(path) else files.read_limited(path, _MOST)
        return None if content is None else files.parse_json(content)

    def _own(self, path: str) -> bool:
        """True if no part of this path, from the skill's folder on, is a link."""
        return os.path.realpath(self._full(path)) == os.path.normpath(os.path.join(os.path.realpath(self.folder), path))

    def _paths(self) -> list[str]:
        return sorted({*self.wanted, *self.ours})

    def _full(self, path: str) -> str:
        return os.path.join(self.folder, path)

    def _planned(self, path: str, new: bytes | None, wishes: Wishes) -> Change:
        if new is None and not self._own(os.path.dirname(path)):
            return Change(self.agent, self.name, self._full(path), "absent")
        old = files.read_limited(self._full(path), _MOST)
        edited = old is not None and old != self.wanted.get(path) and _digest(old) not in self.ours.get(path, [])
        act = self._act(old, new, edited, wishes.force)
        backup = _free(self._full(path) + ".backup") if edited and act in ("updated", "removed") else None
        if backup and new is not None:
            act = "replaced"
        diff = _difference(self._full(path), old, new) if old is not None and act != "unchanged" else ""
        return Change(self.agent, self.name, self._full(path), act, diff, backup)

    def _act(self, old: bytes | None, new: bytes | None, edited: bool, force: bool) -> str:
        if old == new:
            return "absent" if new is None else "unchanged"
        if self.foreign and not force:
            return "absent" if old is None else "foreign"
        if old is None:
            return "installed"
        if edited and not force:
            return "kept"
        return "removed" if new is None else "updated"

    def _carry_out(self, change: Change, wanted: Mapping[str, bytes]) -> None:
        if change.backup:
            os.replace(change.path, change.backup)
        elif change.act == "removed":
            files.remove(change.path)
        if change.act in ("installed", "updated", "replaced"):
            # A link of somebody who keeps such files elsewhere stays one.
            self._write(os.path.realpath(change.path), wanted[os.path.relpath(change.path, self.folder)])

    def _write(self, path: str, content: bytes) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            files.write_whole(path, content, private=False)
        except DevSessionsError as error:
            why = error.__cause__
            raise OSError(why.errno, why.strerror, path) if isinstance(why, OSError) else error from error

    def _stamp(self, known: dict[str, list[str]]) -> None:
        import json

        value = {"version": self.version, "files": known}
        self._write(os.path.join(self.folder, STAMP), json.dumps(value, indent=1).encode() + b"\n")


def _digests(stamp: Any) -> dict[str, list[str]]:
    """What a stamp knows. It may come with a project of others: nothing outside of its folder is meant."""
    known = stamp.get("files") if isinstance(stamp, dict) else None
    return {
        path: digests
        for path, digests in (known if isinstance(known, dict) else {}).items()
        if isinstance(digests, list) and path.isprintable() and os.path.normpath(path) == path and path[:1] not in "./"
    }


def _tree(folder: str) -> dict[str, bytes]:
    """Every file below a folder, by its path in it."""
    found = {}
    for place, _, contents in os.walk(folder):
        for name in contents:
            path = os.path.join(place, name)
            found[os.path.relpath(path, folder)] = files.read(path) or b""
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def _difference(path: str, old: bytes, new: bytes | None) -> str:
    mine, theirs = _text(old).splitlines(), _text(new or b"").splitlines()
    return "\n".join(difflib.unified_diff(mine, theirs, path, "this version", lineterm=""))


def _free(path: str) -> str:
    """The first of such names that is not taken."""
    number = 1
    while os.path.lexists(f"{path}-{number}"):
        number += 1
    return f"{path}-{number}"
