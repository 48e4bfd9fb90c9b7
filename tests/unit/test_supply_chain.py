"""What the project is built with is pinned by hash, known by licence, and listed."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra import layer_checksums
from scripts import supply_chain
from scripts.supply_chain import NPM_LOCKS, PYTHON_LOCKS, Package

ROOT = Path(__file__).resolve().parents[2]
POLICY: dict[str, Any] = {"allowed": ["MIT", "Apache-2.0"], "exceptions": {"odd": "tests only"}}
LAYER = "layers/serving/requirements.txt"


# Pinned


@pytest.mark.attack("supply chain", "move the tag of an action")
def test_every_action_is_pinned_by_a_commit() -> None:
    uses = [
        (file.name, line.strip())
        for file in (ROOT / ".github" / "workflows").glob("*.yml")
        for line in file.read_text().splitlines()
        if "uses:" in line
    ]
    assert {file for file, _ in uses} == {"ci.yml", "release.yml"}
    loose = [each for each in uses if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", each[1])]
    assert loose == []


@pytest.mark.attack("supply chain", "put another package behind a pinned version")
@pytest.mark.parametrize("lock", [*PYTHON_LOCKS, *NPM_LOCKS])
def test_every_lock_has_hashes_and_names_no_host(lock: str) -> None:
    found = supply_chain.packages(lock)
    assert found
    assert all(package.hashes for package in found)
    text = (ROOT / lock).read_text()
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|\"resolved\"", text)


def test_a_package_without_a_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supply_chain, "ROOT", tmp_path)
    (tmp_path / "lock.txt").write_text("numpy==2.4.6\nscipy==1.17 \\\n    --hash=sha256:" + "a" * 64 + "\n")
    with pytest.raises(ValueError, match=r"lock.txt: numpy 2.4.6 has no hash; run scripts/lock"):
        supply_chain.packages("lock.txt")


def test_uv_and_the_command_line_of_the_cdk_come_by_their_locks() -> None:
    assert "--require-hashes -r scripts/uv.txt" in (ROOT / "scripts" / "setup").read_text()
    assert [package.name for package in supply_chain.packages("package-lock.json")] == ["aws-cdk"]
    files = [file for file in supply_chain.own_files() if file.suffix in {".md", ".py", ".yml"} and file.exists()]
    assert [file.name for file in files if re.search("npx (aws-)?cdk" + "@", file.read_text())] == []


# Licences


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("MIT AND (GPL-2.0-only OR Apache-2.0)", True),
        ("Apache-2.0 WITH LLVM-exception", False),
        ("made up", False),
    ],
)
def test_an_expression_is_kept_by_all_of_an_and_and_by_one_of_an_or(expression: str, *, kept: bool) -> None:
    assert supply_chain.allows(expression, set(POLICY["allowed"])) is kept


def package(name: str, *locks: str) -> Package:
    return Package(name, "1.0", "pypi", frozenset({"a" * 64}), locks or ("requirements.txt",))


def test_faults_name_the_package_and_what_to_do() -> None:
    found = [package("good"), package("strict"), package("new"), package("odd", LAYER)]
    known = {"good": "MIT", "strict": "AGPL-3.0-only", "odd": "GPL-3.0-only"}
    stale: dict[str, Any] = POLICY | {"exceptions": {"odd": "tests only", "gone": "once"}}
    assert list(supply_chain.licence_faults(known, found, stale)) == [
        "strict 1.0: AGPL-3.0-only is not allowed; replace it, or list an exception and why",
        "new 1.0: no licence is known; add it to licences.toml",
        "odd 1.0: an exception must not be in a layer",
        "gone: is not locked any more; remove the exception",
    ]


def test_the_licence_of_every_locked_package_is_allowed_and_the_one_that_it_states() -> None:
    assert supply_chain.main(["licences"]) == 0
    assert supply_chain.table() == supply_chain.LICENCES.read_text()


# The bill of materials


@pytest.mark.parametrize(("kind", "locks"), [("pypi", PYTHON_LOCKS), ("npm", NPM_LOCKS)])
def test_the_bill_is_valid_complete_and_always_the_same(kind: str, locks: tuple[str, ...]) -> None:
    text = supply_chain.bill(kind, locks)
    assert text == supply_chain.bill(kind, locks)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = {each["purl"]: each for each in json.loads(text)["components"]}
    locked = supply_chain.packages(*locks)
    assert len(listed) == len(locked)
    shipped = {f"pkg:pypi/{each.name}@{each.version}" for each in locked if each.deployed}
    assert {purl for purl, each in listed.items() if each["scope"] == "required"} == shipped
    (files,) = next(iter(listed.values()))["externalReferences"]
    assert {each["alg"] for each in files["hashes"]} == {"SHA-256" if kind == "pypi" else "SHA-512"}
    assert "timestamp" not in json.loads(text)["metadata"]


def test_the_bill_has_what_the_layers_have() -> None:
    listed = json.loads(supply_chain.bill("pypi", PYTHON_LOCKS))["components"]
    onnxruntime = next(each for each in listed if each["name"] == "onnxruntime")
    assert (onnxruntime["scope"], onnxruntime["licenses"]) == ("required", [{"expression": "MIT"}])
    locks = [each["value"] for each in onnxruntime["properties"]]
    assert locks == ["layers/data/requirements.txt", LAYER, "requirements.txt"]


# Secrets

KEY = "AKIA" + "IOSFODNN7EXAMPLE"
PLANTED = {
    "key.py": f'KEY = "{KEY}"\n',
    "pem.txt": "-----BEGIN RSA " + "PRIVATE KEY-----\n",
    "index.toml": 'url = "https://me:' + 'word@example.com/simple"\n',
    "github.yml": "token: ghp_" + "a1B2" * 9 + "\n",
}


@pytest.mark.attack("supply chain", "commit a key")
@pytest.mark.parametrize("name", PLANTED)
def test_a_secret_is_found_by_file_and_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("first\n" + PLANTED[name])
    (found,) = supply_chain.secrets([tmp_path / name])
    assert f"{name}:2: " in found
    assert KEY not in found


def test_what_is_marked_as_no_secret_or_is_no_text_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "marked.py").write_text(f'KEY = "{KEY}"  # pragma: allowlist' + " secret\n")
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff" + KEY.encode())
    files = [tmp_path / "marked.py", tmp_path / "picture", tmp_path / "gone"]
    assert list(supply_chain.secrets(files)) == []


def test_own_files_are_those_that_git_has_without_locks() -> None:
    names = {str(file.relative_to(ROOT)) for file in supply_chain.own_files()}
    assert {"README.md", "scripts/supply_chain.py", ".github/workflows/ci.yml"} < names
    assert not names & {*PYTHON_LOCKS, *NPM_LOCKS}


# Vulnerabilities


def answering(monkeypatch: pytest.MonkeyPatch, code: int, said: str) -> list[list[str]]:
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, code, said, "")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


@pytest.mark.parametrize(
    ("code", "said", "arguments", "ends", "message"),
    [
        (0, "No known vulnerabilities found", [], 0, "requirements.txt: nothing known"),
        (1, "Found 2 known vulnerabilities in 1 package", [], 1, "requirements.txt: vulnerable"),
        (1, "3 high severity vulnerabilities", [], 1, "package-lock.json: vulnerable"),
        (1, "ConnectionError: no route", [], 0, "the database cannot be asked from here"),
        (1, "ConnectionError: no route", ["--required"], 1, "the database cannot be asked from here"),
    ],
)
def test_every_lock_is_looked_up_and_a_missing_network_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *,
    code: int, said: str, arguments: list[str], ends: int, message: str,
) -> None:  # fmt: skip
    asked = answering(monkeypatch, code, said)
    assert supply_chain.main(["audit", *arguments]) == ends
    printed = capsys.readouterr()
    assert message in printed.out + printed.err
    assert len(asked) == len(PYTHON_LOCKS) + len(NPM_LOCKS)


# Layers


@pytest.mark.attack("supply chain", "change a file of a layer after it was built")
def test_checksums_say_what_changed_was_added_or_is_gone(tmp_path: Path) -> None:
    for name in ("serving/python/a.py", "serving/python/b.py", "batch/python/c.so"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    layers = ("serving", "batch")
    text = layer_checksums.written(layer_checksums.sums(tmp_path, layers))
    assert text == layer_checksums.written(layer_checksums.sums(tmp_path, layers[::-1]))
    assert layer_checksums.differences(text, layer_checksums.sums(tmp_path, layers)) == []
    (tmp_path / layer_checksums.SUMS).write_text(text)
    subprocess.run(["sha256sum", "--check", "--quiet", layer_checksums.SUMS], cwd=tmp_path, check=True)
    (tmp_path / "serving/python/a.py").write_text("other")
    (tmp_path / "serving/python/b.py").unlink()
    (tmp_path / "batch/python/d.so").touch()
    assert layer_checksums.differences(text, layer_checksums.sums(tmp_path, layers)) == [
        "batch/python/d.so was added",
        "serving/python/a.py does not match",
        "serving/python/b.py is gone",
    ]


def test_layers_that_are_not_built_have_no_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("infra.layers.BUILT", tmp_path)
    assert layer_checksums.main(["--verify", "--target", "lambda-arm64"]) == 1
    assert "run scripts/build_layers --target lambda-arm64" in capsys.readouterr().err
