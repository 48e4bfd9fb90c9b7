"""Freezes the templates of a release, over which the tests deploy those of later code.

    .venv/bin/python -m scripts.freeze_templates

Writes tests/flows/released/VERSION.json.gz, VERSION being that of pyproject.toml. Run it when a release is made, and
commit the file. It has templates and no code: where it is unpacked, functions and layers are those of today.
"""

import gzip
import json
import re
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "flows" / "released"
_HERE = "${repository}"


def frozen(version: str) -> bytes:
    """The compressed assembly of a development stage; what it names of this repository becomes relative to it."""
    from infra.app import build  # the CDK starts a process of its own
    from infra.settings import DeploymentSettings

    with tempfile.TemporaryDirectory() as folder:
        settings = DeploymentSettings(owner="tests", business_unit="quality", code_version=version)
        assembly = build(settings, outdir=Path(folder) / "cdk.out", layers_target="local")
        files = [assembly / "manifest.json", *assembly.glob("*.template.json"), *assembly.glob("*.assets.json")]
        texts = {file.name: file.read_text("utf-8").replace(str(ROOT), _HERE) for file in sorted(files)}
    packed = {name: json.loads(text) for name, text in texts.items()}
    return gzip.compress(json.dumps(packed, separators=(",", ":"), sort_keys=True).encode(), mtime=0)


def unpack(version: str, folder: Path) -> Path:
    """Makes an assembly of a release's templates, with the functions and layers of this repository; returns it.

    Where a template refers to code, it never has the hashes of today's, as if that code were older: an update changes
    every function, replaces every layer, and publishes new versions.
    """
    for name, content in json.loads(gzip.decompress((FOLDER / f"{version}.json.gz").read_bytes())).items():
        text = re.sub(r"\b([0-9a-f]{64})\.zip", r"released-\1.zip", json.dumps(content).replace(_HERE, str(ROOT)))
        text = re.sub(r"(CurrentVersion[0-9A-F]{8})[0-9a-f]{32}", r"\1" + "0" * 32, text)
        (folder / name).write_text(text, "utf-8")
    return folder


def current_version() -> str:
    """The version in pyproject.toml."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def main() -> None:
    """Writes the file of the current version."""
    if sys.argv[1:]:
        sys.exit(__doc__)
    version = current_version()
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{version}.json.gz"
    file.write_bytes(frozen(version))
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
