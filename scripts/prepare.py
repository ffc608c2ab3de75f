"""Check that this machine has what the project needs, and install what it can.

    python scripts/prepare.py python tmux npm

make calls this. It prints one line for each thing that it installs or that a person must install, and
nothing if everything is present. It runs on Python 3.6 and newer, so that it can report an old Python.
"""

import os
import re
import shutil
import subprocess
import sys

PYTHON = (3, 11)
TMUX = (3, 2)

# The install command of each package manager.
REMEDIES = {
    "apt-get": "sudo apt-get install -y {}",
    "brew": "brew install {}",
    "dnf": "sudo dnf install {}",
    "apk": "sudo apk add {}",
    "pacman": "sudo pacman -S {}",
    "zypper": "sudo zypper install {}",
}


def main(wanted: "list[str]") -> int:
    try:
        missing = [what for what in wanted if not CHECKS[what]()]
        if missing:
            install([name for what in missing for name in packages(what)])
            for what in missing:
                if not CHECKS[what]():
                    raise Stop(remedy(packages(what)))
    except Stop as stop:
        print(stop)
        return 1
    return 0


class Stop(Exception):
    """An error message that says what to do."""


def has_python() -> bool:
    """Return whether this Python can create virtual environments; stop if it is too old."""
    if sys.version_info < PYTHON:
        raise Stop(
            "Python 3.11 or newer is required, and {} is {}.{}. Install a newer one and name it, "
            "as in `make PYTHON=python3.12 ...`.".format(sys.executable, *sys.version_info)
        )
    probe = [sys.executable, "-c", "import ensurepip, venv"]
    return subprocess.call(probe, stderr=subprocess.DEVNULL) == 0


def has_tmux() -> bool:
    """Return whether tmux is installed; stop if it is too old."""
    if not shutil.which("tmux"):
        return False
    said = subprocess.check_output(["tmux", "-V"], text=True).strip()
    version = re.search(r"(\d+)\.(\d+)", said)  # "tmux master" has no number, and is new enough
    if version and tuple(map(int, version.groups())) < TMUX:
        raise Stop(f"tmux 3.2 or newer is required, and this is {said}. Install a newer tmux.")
    return True


def has_npm() -> bool:
    return shutil.which("npm") is not None


def has_bwrap() -> bool:
    """Return whether bubblewrap, which the tests use as a container, is installed. Only Linux has and needs it."""
    return not sys.platform.startswith("linux") or shutil.which("bwrap") is not None


ENGINE = ("podman", "runc", "catatonit")


def has_engine() -> bool:
    """Return whether a container engine is installed. Where we cannot install one, its tests are skipped and say so."""
    installable = sys.platform.startswith("linux") and manager() == "apt-get" and os.geteuid() == 0
    return not installable or all(map(shutil.which, ENGINE))


CHECKS = {"python": has_python, "tmux": has_tmux, "npm": has_npm, "bwrap": has_bwrap, "engine": has_engine}


def packages(what: str) -> "list[str]":
    """Return its package names in the system's package manager."""
    if what == "engine":
        return list(ENGINE)
    if what == "python":
        return ["python3-venv"]
    if what == "bwrap":
        return ["bubblewrap"]
    return ["node"] if what == "npm" and manager() == "brew" else [what]


def manager() -> "str | None":
    return next((name for name in REMEDIES if shutil.which(name)), None)


def remedy(names: "list[str]") -> str:
    missing, installer = " ".join(names), manager()
    if installer is None:
        return f"Not found: {missing}. Install with your system's package manager."
    return f"Not found: {missing}. Install with: {REMEDIES[installer].format(missing)}"


def install(names: "list[str]") -> None:
    """Install the packages if that needs no password: apt-get as root, or Homebrew."""
    if manager() == "apt-get" and os.geteuid() == 0:
        commands = [
            ["apt-get", "update"],
            ["apt-get", "install", "-y", "--no-install-recommends", *names],
        ]
    elif manager() == "brew" and "python3-venv" not in names:
        commands = [["brew", "install", *names]]
    else:
        raise Stop(remedy(names))
    print("Installing {} with {}.".format(" ".join(names), manager()), flush=True)
    for command in commands:
        run(command)


def run(command: "list[str]") -> None:
    """Run a command quietly; on failure print its output."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise Stop("`{}` failed: see above; run it by hand.".format(" ".join(command)))


if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(CHECKS)
    if unknown or not sys.argv[1:]:
        sys.exit("usage: prepare.py {python,tmux,npm,bwrap,engine}...")
    sys.exit(main(sys.argv[1:]))
