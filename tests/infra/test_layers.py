"""Layers: what the locks promise, what the builder does, and whether every function starts on what it is given."""

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_cdk import Stack

from infra import layers
from infra.app import new_app
from infra.constructs import sources
from infra.constructs.sources import Sources
from infra.settings import DeploymentSettings
from tests.infra.synthesized import Deployment

ROOT = Path(__file__).resolve().parents[2]
# Imports a handler, then everything that it and our library import only when they are called. Of the wiring that is
# what builds the parts that the function asks for. What is not ours stays imported for the next function of the layer.
START = """
import ast, importlib, json, pathlib, sys, traceback
def look(function):
    for node in ast.walk(function):
        if isinstance(node, ast.Import):
            [importlib.import_module(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            importlib.import_module(node.module)
def tree(name):
    return ast.parse(pathlib.Path(sys.modules[name].__file__).read_text("utf-8"))
def attributes(of):
    return {node.attr for node in ast.walk(of) if isinstance(node, ast.Attribute)}
def start():
    assert callable(importlib.import_module("handler").handler)
    if "tidegate.control.call" in sys.modules:
        from tidegate.kernel.routes import CONTROL
        [sys.modules["tidegate.control.call"].resource(route) for route in CONTROL.values()]
    done, parts = set(), set()
    while left := {name for name in sys.modules if name.partition(".")[0] in {"handler", "tidegate"}} - done:
        for name in left - {"tidegate.wiring"}:
            if name == "handler" or name.startswith("tidegate.control"):
                parts |= attributes(tree(name))
            for function in ast.walk(tree(name)):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    look(function)
        done |= left
        if "tidegate.wiring" in done:
            built = {f.name: f for f in ast.walk(tree("tidegate.wiring")) if isinstance(f, ast.FunctionDef)}
            for name in parts & built.keys():
                parts |= attributes(built[name])
            for name in parts & built.keys():
                look(built[name])
    assert "boto3" in sys.modules
def fault(folder):
    for name in [name for name in sys.modules if name.partition(".")[0] in {"handler", "tidegate", "boto3"}]:
        del sys.modules[name]
    sys.path.insert(0, folder)
    try:
        start()
    except Exception:
        return traceback.format_exc()
    finally:
        sys.path.remove(folder)
print(json.dumps({folder: fault(folder) for folder in folders}))
"""
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))


def versions(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", lock.read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("layer", [*layers.LAYERS, layers.RUNTIME])
def test_a_layer_has_the_very_versions_that_are_developed_with(layer: str) -> None:
    assert versions(layers.lock_file(layer)).items() <= versions(ROOT / "requirements.txt").items()


@pytest.mark.parametrize("layer", [*layers.LAYERS, layers.RUNTIME])
def test_a_lock_has_hashes_and_names_no_index(layer: str) -> None:
    text = layers.lock_file(layer).read_text("utf-8")
    assert text.count("--hash=sha256:") >= len(versions(layers.lock_file(layer)))
    assert "://" not in text


def test_no_deployed_layer_carries_what_the_lambda_runtime_brings() -> None:
    for layer in layers.LAYERS:
        assert not {"boto3", "botocore", "awslambdaric"} & set(versions(layers.lock_file(layer)))


def test_serving_cannot_load_a_pickled_estimator() -> None:
    assert "scikit-learn" not in versions(layers.lock_file("serving"))


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core layer as it is deployed; compiled once for all who start on it."""
    folder = tmp_path_factory.mktemp("assembly")
    app = new_app(folder, {})
    Sources(DeploymentSettings(), "local").core_layer(Stack(app, "Core"))
    app.synth()
    (asset,) = (each for each in folder.glob("asset.*") if each.is_dir())
    subprocess.run([layers.local_python().path, "-m", "compileall", "-q", asset], check=True)
    return asset / "python"


def test_the_core_layer_is_the_library_without_what_no_function_imports(core: Path) -> None:
    library = ROOT / "layers" / "core" / "python"
    deployed, developed = ({file.relative_to(root) for file in root.rglob("*.py")} for root in (core, library))
    left_out = {file.parts[1] for file in developed - deployed}
    assert left_out == {"cli", "testing"}
    assert not {file for file in deployed if file.parts[1] in left_out}


def test_the_version_of_the_code_is_that_of_what_is_deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "core" / "python" / "tidegate"
    for folder in ("cli", "testing", "steps"):
        (library / folder).mkdir(parents=True)
    for name, value in {"ROOT": tmp_path, "CORE": tmp_path / "core", "FUNCTIONS": tmp_path / "functions"}.items():
        monkeypatch.setattr(sources, name, value)
    versions = [Sources(DeploymentSettings(), "local").code_version]
    for folder in ("cli", "testing", "steps"):
        (library / folder / "new.py").write_text("")
        versions.append(Sources(DeploymentSettings(), "local").code_version)
    assert versions[0] == versions[1] == versions[2] != versions[3]


@pytest.fixture(scope="module")
def faults(deployments: dict[str, Deployment], core: Path) -> dict[str, str | None]:
    """Of every function's start: one process for each layer."""
    of_layer: dict[str, list[str]] = {}
    for resource in deployments["dev"].resources("AWS::Lambda::Function"):
        (layer,) = [
            layer
            for layer in layers.LAYERS
            if any(one["Ref"].startswith(f"{layer.capitalize()}Layer") for one in resource.properties["Layers"])
        ]
        of_layer.setdefault(layer, []).append(resource.properties["FunctionName"].rpartition("-")[2])
    found: dict[str, str | None] = {}
    local = layers.BUILT / "local"
    for layer, names in of_layer.items():
        path = [str(place) for place in (core, local / layer / "python", local / layers.RUNTIME)]
        folders = {str(ROOT / "functions" / name): name for name in names}
        code = f"import sys; sys.path[:0] = {path!r}\nfolders = {list(folders)!r}\n{START}"
        command = [layers.local_python().path, "-I", "-S", "-B", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found |= {folders[folder]: fault for folder, fault in json.loads(done.stdout.splitlines()[-1]).items()}
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_handler_starts_on_its_own_folder_its_layers_and_the_runtime_alone(
    name: str, faults: dict[str, str | None]
) -> None:
    assert faults[name] is None, faults[name]


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose serving layer is one small wheel, so that the real builder runs without a network."""
    wheel = tmp_path / "demo-1.0-py3-none-any.whl"
    content = {
        "demo/__init__.py": "ANSWER = 42\n",
        "demo/tests/test_demo.py": "assert False\n",
        "demo/__init__.pyi": "ANSWER: int\n",
        "demo-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        "demo-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "demo-1.0.dist-info/LICENSE": "Apache-2.0\n",
    }
    record = "".join(f"{name},,\n" for name in content) + "demo-1.0.dist-info/RECORD,,\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**content, "demo-1.0.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
    lock = tmp_path / "layers" / "serving" / "requirements.txt"
    lock.parent.mkdir(parents=True)
    lock.write_text(f"demo @ {wheel.as_uri()} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    monkeypatch.setattr(layers, "ROOT", tmp_path)
    monkeypatch.setattr(layers, "BUILT", tmp_path / ".build" / "layers")
    monkeypatch.setattr(layers, "_SMOKE", {"serving": "import demo; assert demo.ANSWER == 42"})
    return tmp_path


def content_of(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_a_layer_is_pruned_and_has_bytecode_that_needs_no_check(workshop: Path) -> None:
    made = layers.build("local", "serving")
    found = set(content_of(made.folder / "python"))
    assert "demo/__init__.py" in found
    assert f"demo/__pycache__/__init__.cpython-{layers.local_python().minor.replace('.', '')}.pyc" in found
    assert {"demo-1.0.dist-info/METADATA", "demo-1.0.dist-info/LICENSE"} <= found
    assert not {name for name in found if "test" in name or name.endswith((".pyi", "RECORD"))}
    (bytecode,) = (made.folder / "python" / "demo" / "__pycache__").iterdir()
    assert bytecode.read_bytes()[4:8] == b"\x01\x00\x00\x00"  # PEP 552: hash-based, unchecked


@pytest.fixture
def fresh_choice() -> Iterator[None]:
    layers.local_python.cache_clear()
    yield
    layers.local_python.cache_clear()


@pytest.mark.usefixtures("fresh_choice")
def test_functions_run_locally_under_lambdas_python_where_there_is_one_else_under_this(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(layers.LOCAL_PYTHON, raising=False)
    found = layers._lambda_interpreter("")
    assert layers.local_python().minor == (layers.LAMBDA_PYTHON if found else "{}.{}".format(*sys.version_info))
    layers.local_python.cache_clear()
    monkeypatch.setattr(layers, "_lambda_interpreter", lambda _asked: "")
    assert layers.local_python().version == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.usefixtures("fresh_choice")
def test_another_python_can_be_named_and_one_that_does_not_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(layers.LOCAL_PYTHON, sys.executable)
    assert layers.local_python() == layers._described(sys.executable)
    layers.local_python.cache_clear()
    monkeypatch.setenv(layers.LOCAL_PYTHON, "/nowhere/python")
    with pytest.raises(layers.LayerError, match="/nowhere/python does not run: set TIDEGATE_FUNCTION_PYTHON"):
        layers.local_python()


def test_another_python_makes_the_layer_out_of_date(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers.build("local", "serving")
    other = layers.Interpreter("/usr/bin/python3.99", "3.99.1")
    monkeypatch.setattr(layers, "local_python", lambda: other)
    with pytest.raises(layers.NotBuiltError, match="out of date"):
        layers.built("local", "serving")


def test_the_runtime_folder_names_the_interpreter_of_functions() -> None:
    made = layers.build("local", layers.RUNTIME)
    assert (made.folder / "bin" / "python3").readlink() == Path(layers.local_python().path)


def test_the_same_lock_gives_the_same_bytes(workshop: Path) -> None:
    first = layers.build("local", "serving")
    before = content_of(first.folder)
    again = layers.build("local", "serving", force=True)
    assert content_of(again.folder) == before
    assert again.stamp == first.stamp


def test_a_second_build_of_the_same_lock_does_nothing(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = layers.build("local", "serving")
    monkeypatch.setattr(layers, "_run", lambda command: pytest.fail(f"ran {command}"))
    assert layers.build("local", "serving") == first


def test_a_changed_lock_makes_the_layer_out_of_date(workshop: Path) -> None:
    layers.build("local", "serving")
    lock = layers.lock_file("serving")
    lock.write_text(lock.read_text() + "# changed\n")
    with pytest.raises(layers.NotBuiltError, match="out of date; run scripts/build_layers --target local"):
        layers.built("local", "serving")


def test_other_bytes_than_the_locks_are_refused(workshop: Path) -> None:
    lock = layers.lock_file("serving")
    lock.write_text(re.sub("sha256:.{8}", "sha256:00000000", lock.read_text()))
    with pytest.raises(layers.LayerError, match="DO NOT MATCH THE HASHES"):
        layers.build("local", "serving")


def test_a_layer_that_does_not_work_leaves_the_last_good_one_in_place(
    workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = layers.build("local", "serving")
    before = content_of(good.folder)
    monkeypatch.setattr(layers, "_SMOKE", {"serving": "import nothing_like_this"})
    with pytest.raises(layers.LayerError, match="does not work"):
        layers.build("local", "serving", force=True)
    assert content_of(good.folder) == before
    assert sorted(path.name for path in good.folder.parent.iterdir()) == [".lock", "serving", "serving.json"]


def test_a_layer_over_lambdas_limit_is_not_built(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "LIMIT_BYTES", 10)
    with pytest.raises(layers.LayerError, match=r"Lambda's limit is 10\. Drop a package"):
        layers.build("lambda-x86_64", "serving")


def test_bytecode_takes_the_place_of_source_where_both_do_not_fit(
    workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "LAMBDA_PYTHON", "{}.{}".format(*sys.version_info))
    both = layers.build("lambda-x86_64", "serving")
    assert both.bytecode is layers.Bytecode.BESIDE_SOURCE
    monkeypatch.setattr(layers, "LIMIT_BYTES", both.size_bytes - 1)
    alone = layers.build("lambda-x86_64", "serving", force=True)
    assert alone.bytecode is layers.Bytecode.ALONE
    assert {name for name in content_of(alone.folder / "python") if name.startswith("demo/")} == {"demo/__init__.pyc"}


def test_a_deployment_without_its_layers_says_how_to_build_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "BUILT", tmp_path)
    with pytest.raises(layers.NotBuiltError, match="not built; run scripts/build_layers --target lambda-arm64"):
        layers.built("lambda-arm64", "training")
