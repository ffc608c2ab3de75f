"""The text of a message on the command line: an argument, a file or standard input."""

from __future__ import annotations

import os
import sys

from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    # A message, a file with one, the name of a template, and the values of its variables.
    TextSource = tuple[str | None, str | None, str | None, dict[str, str]]


def message(text: str | None, file: str | None) -> str | None:
    """A text from the command line: the argument, or the content of a file (`-`: standard input).

    Raises:
        UsageError: both are given, or the file cannot be read as UTF-8.
    """
    if text is not None and file is not None:
        raise UsageError("give the message as an argument or with --file, not both", next="omit one of the two")
    if file is None:
        return text
    try:
        if file == "-":
            return sys.stdin.buffer.read().decode()
        with open(os.path.expanduser(file), "rb") as opened:
            return opened.read().decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text", next="send the path of the file instead") from error
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", next="check the path") from error
