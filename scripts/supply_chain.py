"""What the project is made of, by its locks: licences, bills of materials, known vulnerabilities. And secrets in files.

    python -m scripts.supply_chain licences            scripts/licences.toml allows the licence of every locked package
    python -m scripts.supply_chain licences --write    read the licences of installed packages again; scripts/lock does
    python -m scripts.supply_chain sbom FOLDER         bills of materials (CycloneDX 1.6, JSON), of Python and of npm
    python -m scripts.supply_chain secrets             no file has what looks like a key, a token or a password in a URL
    python -m scripts.supply_chain audit [--required]  known vulnerabilities of locked packages; needs a network

The same locks give the same bills, byte for byte.
"""

import argparse
import base64
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from infra.layers import LAYERS

ROOT = Path(__file__).resolve().parents[1]
LICENCES = ROOT / "scripts" / "licences.toml"
PYTHON_LOCKS = (
    "requirements.txt", *(f"layers/{layer}/requirements.txt" for layer in (*LAYERS, "runtime")),
    "scripts/uv.txt", "tests/tools/ministack.txt",
)  # fmt: skip
NPM_LOCKS = ("package-lock.json", "tests/tools/package-lock.json")
_LOCKED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_VULNERABLE = re.compile(r"found \d|\d+ (\w+ severity )?vulnerabilit", re.IGNORECASE)
_GUESSES = ("Base64HighEntropyString", "HexHighEntropyString", "IPPublicDetector", "KeywordDetector")


@dataclass(frozen=True)
class Package:
    """A locked package: its hashes (SHA-256 of PyPI's files, SHA-512 of npm's), and the locks that have it."""

    name: str
    version: str
    kind: str  # pypi, npm
    hashes: frozenset[str]
    locks: tuple[str, ...] = field(compare=False)

    @property
    def deployed(self) -> bool:
        """Whether a layer has it."""
        return any(f"layers/{layer}/requirements.txt" in self.locks for layer in LAYERS)


def packages(*locks: str) -> list[Package]:
    """What the locks pin, by kind, name and version. Raises ValueError for a package without a hash."""
    found: dict[tuple[str, str, str], tuple[set[str], list[str]]] = {}
    for lock in locks:
        read = _npm if lock.endswith(".json") else _python
        for key, hashes in read((ROOT / lock).read_text("utf-8")):
            if not hashes:
                raise ValueError(f"{lock}: {key[1]} {key[2]} has no hash; run scripts/lock")
            known = found.setdefault(key, (set(), []))
            known[0].update(hashes)
            known[1].append(lock)
    return [
        Package(name, version, kind, frozenset(hashes), tuple(where))
        for (kind, name, version), (hashes, where) in sorted(found.items())
    ]


def _python(text: str) -> Iterator[tuple[tuple[str, str, str], set[str]]]:
    for entry in re.split(r"\n(?=\S)", text):
        if pinned := _LOCKED.match(entry):
            yield ("pypi", pinned[1], pinned[2]), set(_HASH.findall(entry))


def _npm(text: str) -> Iterator[tuple[tuple[str, str, str], set[str]]]:
    for place, entry in json.loads(text)["packages"].items():
        if place:
            integrity = [each for each in entry.get("integrity", "").split() if each.startswith("sha512-")]
            hashes = {base64.b64decode(each.partition("-")[2]).hex() for each in integrity}
            yield ("npm", place.rpartition("node_modules/")[2], entry["version"]), hashes


# Licences


def licences() -> dict[str, str]:
    """SPDX expressions by package: those of npm from their lock, the others from the table."""
    table: dict[str, str] = tomllib.loads(LICENCES.read_text("utf-8"))["packages"]
    for lock in NPM_LOCKS:
        entries = json.loads((ROOT / lock).read_text("utf-8"))["packages"]
        table |= {
            place.rpartition("node_modules/")[2]: each.get("license", "") for place, each in entries.items() if place
        }
    return table


def licence_faults(known: Mapping[str, str], found: Iterable[Package], policy: Mapping[str, Any]) -> Iterator[str]:
    """Packages whose licence is not allowed, by name. An exception holds for what is never deployed."""
    allowed, exceptions = set(policy["allowed"]), policy["exceptions"]
    for package in found:
        said = known.get(package.name, "")
        if not said:
            yield f"{package.name} {package.version}: no licence is known; add it to {LICENCES.name}"
        elif package.name in exceptions:
            if package.deployed:
                yield f"{package.name} {package.version}: an exception must not be in a layer"
        elif not allows(said, allowed):
            yield f"{package.name} {package.version}: {said} is not allowed; replace it, or list an exception and why"
    for name in exceptions.keys() - {package.name for package in found}:
        yield f"{name}: is not locked any more; remove the exception"


def allows(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be kept by licences that are allowed: all of an AND, one of an OR."""
    from license_expression import ExpressionError

    spdx = _spdx()
    try:
        parsed = spdx.parse(expression, validate=True)
    except ExpressionError:
        return False

    def holds(part: Any) -> bool:
        if isinstance(part, spdx.AND):
            return all(map(holds, part.args))
        if isinstance(part, spdx.OR):
            return any(map(holds, part.args))
        return str(part) in allowed

    return holds(parsed)


@cache
def _spdx() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


def stated(name: str) -> str:
    """The licence that an installed package states so that a program can read it; empty otherwise."""
    try:
        about = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
    for header in ("License-Expression", "License"):
        text = str(about[header] or "")
        if text and len(text) < 100 and not _spdx().validate(text).errors:
            return text
    approved = [each for each in about.get_all("Classifier") or [] if each.startswith("License :: OSI")]
    return _CLASSIFIERS.get(str(approved[0].rpartition(" :: ")[2]), "") if len(approved) == 1 else ""


def table() -> str:
    """The table of licences: what installed packages state, else what it had before."""
    text = LICENCES.read_text("utf-8")
    before = tomllib.loads(text)["packages"]
    names = sorted({package.name for package in packages(*PYTHON_LOCKS)})
    lines = (f'{json.dumps(name)} = "{stated(name) or before.get(name, "")}"' for name in names)
    return text.partition("[packages]")[0] + "[packages]\n" + "\n".join(lines) + "\n"


# The bill of materials


def bill(kind: str, locks: Sequence[str]) -> str:
    """A CycloneDX document (JSON) of the packages of a kind, as the locks have them."""
    from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentScope, ComponentType
    from cyclonedx.model.license import LicenseExpression
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    known, algorithm = licences(), HashAlgorithm.SHA_256 if kind == "pypi" else HashAlgorithm.SHA_512
    product = Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.APPLICATION,
        bom_ref=project["name"],
        licenses=[LicenseExpression(project["license"])],
    )
    made = Bom()
    made.metadata.component = product
    listed = []
    for package in packages(*locks):
        namespace, _, name = package.name.rpartition("/")
        url = PackageURL(kind, namespace or None, name, package.version)
        files = ExternalReference(
            type=ExternalReferenceType.DISTRIBUTION,
            url=XsUri(str(url)),
            hashes=[HashType(alg=algorithm, content=each) for each in package.hashes],
        )
        listed.append(
            Component(
                name=package.name,
                version=package.version,
                type=ComponentType.LIBRARY,
                purl=url,
                bom_ref=str(url),
                scope=ComponentScope.REQUIRED if package.deployed else ComponentScope.EXCLUDED,
                licenses=[LicenseExpression(known[package.name])],
                external_references=[files],
                properties=[Property(name="tidegate:lock", value=lock) for lock in package.locks],
            )
        )
    made.components.update(listed)
    made.register_dependency(product, listed)
    document = json.loads(JsonV1Dot6(made).output_as_string())
    del document["metadata"]["timestamp"], document["serialNumber"]  # of this moment
    text = json.dumps(document, sort_keys=True)
    return json.dumps({**document, "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, text)}"}, indent=1) + "\n"


# Secrets


def secrets(files: Iterable[Path]) -> Iterator[str]:
    """Places of what looks like a secret by its form; guesses by entropy and by names are left out."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.core.scan import scan_file
    from detect_secrets.plugins.base import RegexBasedDetector
    from detect_secrets.settings import transient_settings

    known: list[Any] = list(get_mapping_from_secret_type_to_class().values())
    kinds = [each for each in known if each.__name__ not in _GUESSES]
    patterns = [form for each in kinds if issubclass(each, RegexBasedDetector) for form in each().denylist]
    with transient_settings({"plugins_used": [{"name": each.__name__} for each in kinds]}):
        for file in files:
            try:
                text = file.read_text("utf-8")
            except (UnicodeDecodeError, FileNotFoundError):  # pictures, archives; removed and not committed
                continue
            if any(form.search(text) for form in patterns):  # a hundred times as fast as line by line
                for found in scan_file(str(file)):
                    yield f"{os.path.relpath(file, ROOT)}:{found.line_number}: {found.type}"


def own_files() -> list[Path]:
    """What is or may be committed, without locks, which are full of hashes."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    locks = {*PYTHON_LOCKS, *NPM_LOCKS}
    names = [each for each in listed.split("\0") if each and each not in locks and "/peers/" not in each]
    return [ROOT / name for name in dict.fromkeys(names)]


# Vulnerabilities


def audit(*, required: bool) -> int:
    """Ask the databases of PyPI and npm about every locked package. One that does not answer is a message, unless it is
    `required`."""
    commands = [
        [".venv/bin/pip-audit", "--requirement", lock, "--require-hashes", "--disable-pip", "--progress-spinner=off"]
        for lock in PYTHON_LOCKS
    ]
    commands += [["npm", "audit", "--package-lock-only", "--prefix", str((ROOT / lock).parent)] for lock in NPM_LOCKS]
    worst = 0
    for command, lock in zip(commands, [*PYTHON_LOCKS, *NPM_LOCKS], strict=True):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        said = (done.stdout + done.stderr).strip()
        unanswered = done.returncode and not _VULNERABLE.search(said)
        if unanswered:
            print(f"audit: {lock}: the database cannot be asked from here\n{said[-300:]}", file=sys.stderr)
        else:
            print(f"audit: {lock}: {'vulnerable' if done.returncode else 'nothing known'}\n{said}")
        worst = max(worst, int(bool(done.returncode) and (required or not unanswered)))
    return worst


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Licences, bills of materials, secrets and vulnerabilities.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("licences").add_argument("--write", action="store_true")
    commands.add_parser("sbom").add_argument("folder", type=Path)
    commands.add_parser("secrets")
    commands.add_parser("audit").add_argument("--required", action="store_true")
    chosen = parser.parse_args(arguments)
    match chosen.command:
        case "licences" if chosen.write:
            LICENCES.write_text(table(), "utf-8")
            return 0
        case "licences":
            policy = tomllib.loads(LICENCES.read_text("utf-8"))
            faults = list(licence_faults(licences(), packages(*PYTHON_LOCKS, *NPM_LOCKS), policy))
        case "sbom":
            chosen.folder.mkdir(parents=True, exist_ok=True)
            for name, kind, locks in (("python", "pypi", PYTHON_LOCKS), ("npm", "npm", NPM_LOCKS)):
                (chosen.folder / f"sbom-{name}.cdx.json").write_text(bill(kind, locks), "utf-8")
            return 0
        case "secrets":
            faults = list(secrets(own_files()))
        case _:
            return audit(required=chosen.required)
    print("\n".join(faults), end="\n" if faults else "", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
