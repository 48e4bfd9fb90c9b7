"""The file in which a local cloud says where it is."""

from pathlib import Path

STATE_FILE = ".tidegate/local.json"


def upwards(name: Path) -> Path:
    """The file of this name in this folder or the nearest one above it that has one; else the name as it is."""
    here = Path.cwd()
    return next((folder / name for folder in (here, *here.parents) if (folder / name).is_file()), name)


def or_local() -> str:
    """What to do for the local cloud by who has none on AWS, or did not say that they mean the local one."""
    if upwards(Path(STATE_FILE)).is_file():
        return "add --local for the local cloud of this folder"
    return "start a local cloud with scripts/local up, and add --local"
