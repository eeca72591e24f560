"""A Debian arm64 system in a folder, to run under QEMU's user emulation; nothing is installed.

APT is given a state of its own, so the machine's own packages are neither read nor changed.
"""

import re
import sys
from pathlib import Path
from subprocess import TimeoutExpired

from tests import processes

SUITE = "trixie"  # its QEMU knows neoverse-v1
SYSTEM = ("python3-minimal", "libpython3-stdlib", "libstdc++6", "libgomp1")
WHEELS = ("numpy", "numba", "scipy", "ml_dtypes", "tqdm", "llvmlite", "safetensors", "pytest")


class UnavailableError(Exception):
    """The packages cannot be had here."""


def run(*command: str | Path) -> str:
    """Return what a command prints; its failure is an `UnavailableError`."""
    try:
        done = processes.run(command, check=False, timeout=600)
    except TimeoutExpired as error:
        raise UnavailableError(str(error)) from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise UnavailableError(f"{command[0]}: {last}")
    return done.stdout


def mirror() -> str:
    """Return the address of the Debian archive that this machine uses."""
    found = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN)").splitlines()
    for line in found:
        address, _, origin = line.partition(" ")
        if origin == "Debian" and address.rstrip("/").endswith("/debian"):
            return address
    raise UnavailableError("no Debian archive is set up for APT")


def packages(folder: Path, architecture: str, names: tuple[str, ...]) -> Path:
    """Return a folder into which packages and all that they need are unpacked."""
    root = folder / architecture
    if (root / "complete").exists():
        return root
    apt = folder / f"apt-{architecture}"
    for part in ("state/lists/partial", "cache/archives/partial", "etc"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (apt / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror()} {SUITE} main\n")
    (apt / "status").touch()
    options = [
        f"APT::Architecture={architecture}",
        f"APT::Architectures={architecture}",
        f"Dir::State={apt}/state",
        f"Dir::State::status={apt}/status",
        f"Dir::Cache={apt}/cache",
        f"Dir::Etc::sourcelist={apt}/sources.list",
        f"Dir::Etc::sourceparts={apt}/etc",
        f"Dir::Etc::preferencesparts={apt}/etc",
        "Binary::apt-get::APT::Keep-Downloaded-Packages=true",
        "APT::Install-Recommends=false",
        "APT::Sandbox::User=root",
        "Acquire::Languages=none",
    ]
    given = [word for option in options for word in ("-o", option)]
    run("apt-get", *given, "-q", "update")
    run("apt-get", *given, "-q", "-y", "--download-only", "install", *names)
    root.mkdir(exist_ok=True)
    for package in sorted((apt / "cache/archives").glob("*.deb")):
        run("dpkg-deb", "-x", package, root)
    for name in ("lib", "lib64"):  # which base-files would link
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    (root / "complete").touch()
    return root


def python_of(root: Path) -> tuple[Path, str]:
    """Return the interpreter of an unpacked system and its version, such as ``3.13``."""
    for path in sorted((root / "usr/bin").iterdir()):
        found = re.fullmatch(r"python(3\.\d+)", path.name)
        if found:
            return path, found[1]
    raise UnavailableError("the system has no Python")


def wheels(folder: Path, version: str) -> Path:
    """Return a folder of Python packages for 64-bit Arm."""
    target = folder / "wheels"
    if not (target / "complete").exists():
        platforms = [f"manylinux_2_{minor}_aarch64" for minor in (17, 27, 28)]
        given = [word for name in (*platforms, "manylinux2014_aarch64")
                 for word in ("--platform", name)]  # fmt: skip
        run(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check",
            "--target", target, "--only-binary", ":all:", "--python-version", version,
            "--implementation", "cp", *given, *WHEELS)  # fmt: skip
        (target / "complete").touch()
    return target


def emulated(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the start of a command that runs Python for Arm, and its environment.

    Parameters
    ----------
    folder : Path
        Where everything is, or is put: some 700 MB.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    emulator = packages(folder, "amd64", ("qemu-user",)) / "usr/bin/qemu-aarch64"
    system = packages(folder, "arm64", SYSTEM)
    python, version = python_of(system)
    environment = {
        "PATH": "/usr/bin:/bin",
        "QEMU_LD_PREFIX": str(system),
        "PYTHONHOME": str(system / "usr"),
        "PYTHONPATH": str(wheels(folder, version)),
    }
    return [str(emulator), str(python)], environment
