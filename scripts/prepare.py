"""Check that this machine has what the project needs, and install what it may.

    python scripts/prepare.py python tmux npm

Called by make. Says one plain line for each thing that it installs or that a person must install,
and nothing when all is there. It starts on any Python 3.6 or newer, to say that one is too old.
"""

import os
import re
import shutil
import subprocess
import sys

PYTHON = (3, 11)
TMUX = (3, 2)

# How a person installs a package, by the package manager that is there.
REMEDIES = {
    "apt-get": "sudo apt-get install -y {}",
    "brew": "brew install {}",
    "dnf": "sudo dnf install {}",
    "apk": "sudo apk add {}",
    "pacman": "sudo pacman -S {}",
    "zypper": "sudo zypper install {}",
}


def main(wanted):
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
    """The one line that tells a person what to do."""


def has_python():
    """Tell whether this Python can make virtual environments; an old one ends the matter."""
    if sys.version_info < PYTHON:
        raise Stop(
            "Python 3.11 or newer is needed, and {} is {}.{}: install one and name it, "
            "as in `make PYTHON=python3.12 ...`.".format(sys.executable, *sys.version_info)
        )
    probe = [sys.executable, "-c", "import ensurepip, venv"]
    return subprocess.call(probe, stderr=subprocess.DEVNULL) == 0


def has_tmux():
    """Tell whether tmux is there; one that is too old ends the matter."""
    if not shutil.which("tmux"):
        return False
    said = subprocess.check_output(["tmux", "-V"], text=True).strip()
    version = re.search(r"(\d+)\.(\d+)", said)  # "tmux master" has none, and is new enough
    if version and tuple(map(int, version.groups())) < TMUX:
        raise Stop(f"tmux 3.2 or newer is needed, and this is {said}: install a newer tmux.")
    return True


def has_npm():
    return shutil.which("npm") is not None


def has_bwrap():
    """Tell whether there are boxes to play containers with; only Linux has them, and only its tests want them."""
    return not sys.platform.startswith("linux") or shutil.which("bwrap") is not None


ENGINE = ("podman", "runc", "catatonit")


def has_engine():
    """Tell whether there is a container engine. Where we may not install one, its tests are skipped and say so."""
    installable = sys.platform.startswith("linux") and manager() == "apt-get" and os.geteuid() == 0
    return not installable or all(map(shutil.which, ENGINE))


CHECKS = {"python": has_python, "tmux": has_tmux, "npm": has_npm, "bwrap": has_bwrap, "engine": has_engine}


def packages(what):
    """Return the names by which the system's package manager knows it."""
    if what == "engine":
        return list(ENGINE)
    if what == "python":
        return ["python3-venv"]
    if what == "bwrap":
        return ["bubblewrap"]
    return ["node"] if what == "npm" and manager() == "brew" else [what]


def manager():
    return next((name for name in REMEDIES if shutil.which(name)), None)


def remedy(names):
    names = " ".join(names)
    if manager() is None:
        return f"Needed and not found: {names}. Install them with your system's package manager."
    return f"Needed and not found: {names}. Install with: {REMEDIES[manager()].format(names)}"


def install(names):
    """Install where that asks nobody for a password: apt-get as root, or Homebrew."""
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


def run(command):
    """Run quietly; on failure show what was printed."""
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
