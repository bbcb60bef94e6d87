"""The two distributions as wheels, and empty environments to install them in.

Guarantees: no network; what a wheel asks for is what runs here, copied file by file, and nothing beside it.
Does not know: what is in the wheels.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
CLIENT = ROOT / "client"
STEP_S = 120.0


def build(project: Path, folder: Path) -> Path:
    """The wheel of the project whose pyproject.toml lies in this folder."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=STEP_S)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def names_in(wheel: Path) -> list[str]:
    """The files of a wheel."""
    return zipfile.ZipFile(wheel).namelist()


def metadata_of(wheel: Path) -> Message:
    (name,) = [name for name in names_in(wheel) if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(zipfile.ZipFile(wheel).read(name).decode())


def requirements_of(wheel: Path) -> list[Requirement]:
    """What a wheel always asks for, without its extras."""
    asked = [Requirement(line) for line in metadata_of(wheel).get_all("Requires-Dist", [])]
    return [each for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]


def environment(folder: Path, *, sees: tuple[str, ...] = ()) -> Path:
    """The Python of a new virtual environment, which besides its own packages sees those in the folders `sees`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=STEP_S)
    if sees:
        (packages_of(folder) / "seen.pth").write_text("".join(f"{path}\n" for path in sees))
    return folder / "bin" / "python"


def packages_of(folder: Path) -> Path:
    """The site-packages of an environment."""
    return folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def install(python: Path, *wheels: Path) -> None:
    """These wheels alone."""
    pip = (sys.executable, "-m", "pip", "--python", str(python))
    command = (*pip, "install", "--quiet", "--no-deps", "--no-index", *map(str, wheels))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=STEP_S)
    assert done.returncode == 0, done.stderr


def lend(name: str, folder: Path) -> None:
    """Copies a distribution that is installed here into an environment: the version that is locked."""
    found = distribution(re.sub(r"[-_.]+", "-", name))
    assert not [line for line in found.requires or () if "extra ==" not in line], f"{name} asks for more"
    for file in found.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            target = packages_of(folder) / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(file.locate()), target)
