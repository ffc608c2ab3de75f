r"""A fake of the program `codex` 0.171.0, with a script instead of a model.

    python -m dev_sessions_fake.codex --version
    python -m dev_sessions_fake.codex app-server --listen unix://[PATH]

serves JSON-RPC over WebSocket as the real one does, and writes the same rollout files; `test_codex_fake.py` compares it
with recordings.  A prompt holds directives, `[[verb: argument]]`, carried out in order.  One without any is echoed.

    reply: TEXT      a message                        stream: TEXT   the same
    delay: SECONDS   wait                             hold: NAME     wait until NAME is released
    deaf: NAME       the same, and heed no interrupt
    bash: COMMAND    exec_command                     bash_bg: CMD   exec_command that is left running
    tool: NAME JSON  exec_command, request_user_input or update_goal
    ask: Q|A|B       request_user_input               replytool      the last tool result as text
    error: STATUS    the model's server refuses       error: TEXT    the same, with words of one's own
    unreachable      the model's server is not there: complain of it and try again, until somebody interrupts
    late: NAME       nothing of the turn is written down or told until NAME is released
    die              the server is gone at once, as if it were killed

`<CODEX_HOME>/fake/<thread>/release/NAME` releases a name.  `FAKE_START` scripts the start (`die: TEXT`, `logged out`,
`mute`), `FAKE_UNLOAD` is after how many seconds a thread at rest that nobody follows is unloaded (60),
`FAKE_SOCKETS` the folder for sockets, and `FAKE_VERSION` the version that it says it is.
"""

import os

VERSION = os.environ.get("FAKE_VERSION", "0.171.0")
