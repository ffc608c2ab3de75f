"""Build the sdist and the wheel, check their contents, install them as users do, and run the command.

    python scripts/check_package.py

It installs in three ways at once: with pip in an empty environment (the wheel, built from the sdist), and with
pipx and uv (the checkout). Each must provide a `dev-sessions` that runs outside the checkout. tox calls
this in an environment that has build, pipx and uv.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INIT = (ROOT / "dev_sessions" / "__init__.py").read_text()
(VERSION,) = re.findall(r'^__version__ = "(.+)"$', INIT, re.M)
SCRIPTS = Path(sysconfig.get_path("scripts"))
IN_SDIST = set("LICENSE README.md CHANGELOG.md Makefile tox.ini tests docs scripts skills".split())
NEVER = re.compile(r"(^|/)(__pycache__|\.[^/]+_cache|\.(tox|venv.*|agents|git))(/|$)|\.py[co]$")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="dev-sessions-package-") as folder:
        scratch = Path(folder)
        sdist, wheel = build(scratch / "dist")
        check_sdist(sdist)
        check_wheel(wheel)
        with ThreadPoolExecutor() as pool:
            installs = (with_pip, with_pipx, with_uv)
            for program in pool.map(lambda install: install(wheel, scratch / install.__name__), installs):
                check_command(program, scratch)


def build(folder: Path) -> tuple[Path, Path]:
    step("build the sdist, and the wheel from it")
    run([sys.executable, "-P", "-m", "build", "--outdir", folder, ROOT])
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def check_sdist(sdist: Path) -> None:
    with tarfile.open(sdist) as tar:
        names = [name.partition("/")[2] for name in tar.getnames()]
    expect("the sdist contains", IN_SDIST - {name.partition("/")[0] for name in names})
    expect("the sdist does not contain", [name for name in names if NEVER.search(name)])


def check_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    info = f"dev_sessions-{VERSION}.dist-info"
    expect(
        "the wheel contains only our package",
        {n.partition("/")[0] for n in names} - {"dev_sessions", info},
    )
    expect("the wheel does not contain", [name for name in names if NEVER.search(name)])
    expect("the wheel declares that it is typed", {"dev_sessions/py.typed"} - set(names))
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "dev_sessions").rglob("*.py")}
    expect("the wheel contains every module", sources - set(names))
    skills = {f"dev_sessions/pack/{path.relative_to(ROOT / 'skills')}" for path in (ROOT / "skills").rglob("*.md")}
    expect("the wheel contains every skill", skills - set(names))


def with_pip(wheel: Path, home: Path) -> Path:
    step("pip install the wheel")
    venv.create(home, with_pip=True)
    run([home / "bin" / "python", "-m", "pip", "install", "--quiet", wheel])
    return home / "bin" / "dev-sessions"


def with_pipx(wheel: Path, home: Path) -> Path:
    step("pipx install the checkout")
    own = {"PIPX_HOME": home, "PIPX_BIN_DIR": home / "bin", "PIPX_MAN_DIR": home / "man"}
    run([SCRIPTS / "pipx", "install", "--python", sys.executable, ROOT], **own)
    return home / "bin" / "dev-sessions"


def with_uv(wheel: Path, home: Path) -> Path:
    step("uv tool install the checkout")
    own = {"UV_TOOL_DIR": home, "UV_TOOL_BIN_DIR": home / "bin", "UV_CACHE_DIR": home / "cache"}
    python = ["--python", sys.executable]
    run([SCRIPTS / "uv", "tool", "install", *python, ROOT], UV_PYTHON_DOWNLOADS="never", **own)
    return home / "bin" / "dev-sessions"


def check_command(program: Path, elsewhere: Path) -> None:
    version = run([program, "--version"], cwd=elsewhere)
    expect("--version prints the version", [] if VERSION in version.split() else [version])
    usage = run([program, "--help"], cwd=elsewhere)
    expect("--help lists", {"create", "send", "wait", "last-message", "kill"} - set(usage.split()))
    for agent in ("claude", "codex"):
        shown = run([program, "skill", "show", "delegate", f"--{agent}"], cwd=elsewhere)
        shipped = (ROOT / "skills" / agent / "delegate" / "SKILL.md").read_text()
        expect("skill show prints the skill", [] if shown == shipped else [shown])


def run(command: Sequence[str | Path], cwd: Path | None = None, **own: str | Path) -> str:
    """Run a command and return its standard output; on failure print all its output and exit."""
    env = {
        **os.environ,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **{k: str(v) for k, v in own.items()},
    }
    env["NO_COLOR"] = "1"
    done = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr)
        sys.exit(f"failed (exit {done.returncode}): {' '.join(map(str, command))}")
    return done.stdout


def expect(what: str, offenders: Collection[str]) -> None:
    if offenders:
        sys.exit(f"check failed: {what}: {', '.join(sorted(offenders))}")


def step(what: str) -> None:
    print(what, flush=True)


if __name__ == "__main__":
    main()
