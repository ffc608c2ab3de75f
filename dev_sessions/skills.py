"""Installs, compares and removes the skills that teach agents to use dev-sessions.

A folder that we installed holds a stamp: the version, and a digest of each file as we wrote it. A file with another
digest was edited, and is kept. A skill of the same name without a stamp is not ours. The stamp has a file's new digest
before the file is written, so that the next install, of any version, finishes one that was killed.

The skills of a project, stamps included, may come from anybody, with links in them. Nothing is read, written or removed
there whose real path is outside the project. A stamp is never a link, and nothing behind a link is removed.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import json
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

    from .backends.programs import Program

STAMP = ".dev-sessions.json"
_MOST = 1_000_000  # bytes; our files have a few thousand


class Change(NamedTuple):
    """A change to one file, made or planned.

    Attributes:
        agent, skill: the agent and the skill that the file belongs to.
        act: "installed", "updated", "unchanged", "kept" (edited), "foreign" (kept, since it is not ours), "replaced"
            (edited; `backup` has the edit), "removed", or "absent".
        diff: from the file to this version's copy.
        backup: the path of the backup of the edited file.
    """

    agent: str
    skill: str
    path: str
    act: str
    diff: str = ""
    backup: str | None = None


# Acts for which there is nothing to do.
AT_REST = ("unchanged", "absent")
_KEPT = ("kept", "foreign")


class Wishes(NamedTuple):
    """How to install: `uninstall` removes instead, `force` replaces edited files too, `dry` writes nothing."""

    uninstall: bool = False
    force: bool = False
    dry: bool = False


def programs_here(environ: Mapping[str, str]) -> list[Program]:
    """The agents of this machine."""
    return [program for program in own_programs() if program.path(environ)]


def chosen(names: Iterable[str], environ: Mapping[str, str]) -> tuple[list[Program], bool]:
    """The named agents, or else those on this machine, or else Claude; and True if none was named or found."""
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
    raise DevSessionsError("this installation contains no skills", next="install dev-sessions again")


def names(agent: str) -> list[str]:
    return sorted(os.listdir(os.path.join(pack(), agent)))


def show(name: str, agent: str) -> str:
    """The text of a skill in this version.

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
    """The YAML between the first two lines of ---; empty if that is not a mapping."""
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
    """The version in an installed skill's front matter; None if there is no such skill.

    Raises:
        OSError: it cannot be read, or is not a regular file of a sensible size.
    """
    content = files.read_limited(os.path.join(folder, "SKILL.md"), _MOST)
    if content is None:
        return None
    metadata = front_matter(_text(content)).get("metadata")
    version = metadata.get("version") if isinstance(metadata, dict) else None
    return version if isinstance(version, str) else "unknown"


def apply(program: Program, into: str, version: str, wishes: Wishes, project: str | None = None) -> Iterator[Change]:
    """Update the skills below the folder `into` to this version, or remove them; other skills are not touched.

    Only one process at a time does this.

    Args:
        project: the folder that must hold everything that is read and written; None: links may lead anywhere.

    Raises:
        DevSessionsError: a file cannot be read or written (the changes before it were made), or a link leads out of
            the project (no changes were made).
    """
    release = None
    try:
        _refuse_outside(into, project)
        if not wishes.dry and not wishes.uninstall:
            os.makedirs(into, exist_ok=True)
        if not wishes.dry and os.path.isdir(into):
            release = locks.take_folder(into)
        known = [_Skill(program.name, name, os.path.join(into, name)) for name in names(program.name)]
        for skill in known:
            for path in ("", STAMP, *skill.wanted):
                _refuse_outside(os.path.join(skill.folder, path) if path else skill.folder, project)
        for skill in known:
            yield from skill.apply(wishes, version)
    except OSError as error:
        path = str(error.filename2 or error.filename or into)
        raise DevSessionsError(f"cannot write {path}: {error.strerror}", next=_remedy(error, path)) from error
    finally:
        if release:
            release()


def _refuse_outside(path: str, project: str | None) -> None:
    """Raise an error if a path leads out of the project, through a link in any part of it."""
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
    return f"make it writable for you (ls -ld {shlex.quote(path)}), {again}; in a sandbox, run it outside"


class _Skill:
    """One skill of this version, and its folder where it is installed."""

    def __init__(self, agent: str, name: str, folder: str) -> None:
        self.agent, self.name, self.folder = agent, name, folder
        self.wanted = _tree(os.path.join(pack(), agent, name))
        self.ours: dict[str, list[str]] = {}  # the digests of files as we wrote them
        self.foreign = False

    def apply(self, wishes: Wishes, version: str) -> list[Change]:
        """Install or remove it."""
        stamp = self._read_stamp()
        self.ours = {path: known for path, known in _digests(stamp).items() if path in self.wanted or self._own(path)}
        page = files.read_limited(self._full("SKILL.md"), _MOST)
        # The author of a foreign skill may have files of any name beside it.
        self.foreign = not isinstance(stamp, dict) and page not in (None, self.wanted["SKILL.md"])
        wanted = {} if wishes.uninstall else self.wanted
        paths = sorted({*self.wanted, *self.ours})
        changes = [self._change(path, wanted.get(path), wishes.force) for path in paths]
        if wishes.uninstall:
            changes = [change for change in changes if change.act != "absent"]
        elif self.foreign and not wishes.force:
            return changes
        if wishes.dry:
            return changes
        if not wishes.uninstall:
            os.makedirs(self.folder, exist_ok=True)
        files.sweep_dead(self.folder, 0)
        if wanted and any(change.act not in (*AT_REST, *_KEPT) for change in changes):
            self._stamp(version, {path: [*self.ours.get(path, []), _digest(new)] for path, new in wanted.items()})
        for change in changes:
            self._carry_out(change)
        if not wishes.uninstall:
            # An edited file keeps its original digest, so it still counts as edited next time.
            kept = {change.path for change in changes if change.act == "kept"}
            final = {path: [_digest(new)] for path, new in wanted.items()}
            final |= {path: self.ours.get(path, []) for path in paths if self._full(path) in kept}
            if final != self.ours:
                self._stamp(version, final)
        elif all(change.act not in _KEPT for change in changes):
            files.remove(self._full(STAMP))
            for folder, _, _ in os.walk(self.folder, topdown=False):
                files.remove_empty(folder)
        return changes

    def _read_stamp(self) -> Any:
        """The stamp; None if there is none. We write no link, so a link is not a stamp."""
        path = self._full(STAMP)
        content = None if os.path.islink(path) else files.read_limited(path, _MOST)
        return None if content is None else files.parse_json(content)

    def _own(self, path: str) -> bool:
        """True if no part of this path, from the skill's folder on, is a link."""
        return os.path.realpath(self._full(path)) == os.path.normpath(os.path.join(os.path.realpath(self.folder), path))

    def _full(self, path: str) -> str:
        return os.path.join(self.folder, path)

    def _change(self, path: str, new: bytes | None, force: bool) -> Change:
        """The change that gives the file at `path` the content `new`; None: that removes it."""
        full, diff, backup = self._full(path), "", None
        if new is None and not self._own(os.path.dirname(path)):
            return Change(self.agent, self.name, full, "absent")
        old = files.read_limited(full, _MOST)
        edited = old is not None and old != self.wanted.get(path) and _digest(old) not in self.ours.get(path, [])
        if old == new:
            act = "absent" if new is None else "unchanged"
        elif self.foreign and not force:
            act = "absent" if old is None else "foreign"
        elif old is None:
            act = "installed"
        elif edited and not force:
            act = "kept"
        else:
            act = "removed" if new is None else "replaced" if edited else "updated"
            backup = _free(f"{full}.backup") if edited else None
        if old is not None and old != new:
            before, after = _text(old).splitlines(), _text(new or b"").splitlines()
            diff = "\n".join(difflib.unified_diff(before, after, full, "this version", lineterm=""))
        return Change(self.agent, self.name, full, act, diff, backup)

    def _carry_out(self, change: Change) -> None:
        if change.backup:
            os.replace(change.path, change.backup)
        elif change.act == "removed":
            files.remove(change.path)
        if change.act in ("installed", "updated", "replaced"):
            # If the file is a user's link to another place, it stays a link.
            _write(os.path.realpath(change.path), self.wanted[os.path.relpath(change.path, self.folder)])

    def _stamp(self, version: str, known: dict[str, list[str]]) -> None:
        value = {"version": version, "files": known}
        _write(self._full(STAMP), json.dumps(value, indent=1).encode() + b"\n")


def _write(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        files.write_whole(path, content, private=False)
    except DevSessionsError as error:
        why = error.__cause__
        raise OSError(why.errno, why.strerror, path) if isinstance(why, OSError) else error from error


def _digests(stamp: Any) -> dict[str, list[str]]:
    """The digests in a stamp, by path. A project's stamp is not trusted: paths outside its folder are omitted."""
    known = stamp.get("files") if isinstance(stamp, dict) else None
    return {
        path: digests
        for path, digests in (known if isinstance(known, dict) else {}).items()
        if isinstance(digests, list) and path.isprintable() and os.path.normpath(path) == path and path[:1] not in "./"
    }


def _tree(folder: str) -> dict[str, bytes]:
    """Every file below a folder, by its path in it."""
    paths = [os.path.join(place, name) for place, _, contents in os.walk(folder) for name in contents]
    return {os.path.relpath(path, folder): files.read(path) or b"" for path in paths}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def _free(path: str) -> str:
    """The first free name of `path-1`, `path-2` and so on."""
    number = 1
    while os.path.lexists(f"{path}-{number}"):
        number += 1
    return f"{path}-{number}"
