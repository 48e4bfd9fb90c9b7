"""Builds the third-party layers from their locks: no Docker, only wheels, pruned, with bytecode where it fits.

A layer is built for a target: `lambda-x86_64` and `lambda-arm64` are what gets deployed; `local` is this machine's
platform, for the local cloud and the tests, and the Lambda runtime's Python where this machine has one, else the Python
that builds. The target `local` has one folder more, `runtime`: what the Lambda runtime itself brings, and the
interpreter (`bin/python3`) under which the local cloud runs functions.

Results lie in `.build/layers/<target>/<layer>/python`. A second run with the same locks does nothing; a broken run
leaves nothing behind. This module needs only the standard library and uv or pip, so it also runs before anything else
is set up.
"""

import argparse
import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / ".build" / "layers"
LAYERS = ("serving", "training", "plots", "data")
RUNTIME = "runtime"
TARGETS = ("lambda-x86_64", "lambda-arm64", "local")
LAMBDA_PYTHON = "3.13"
LOCAL_PYTHON = "TIDEGATE_FUNCTION_PYTHON"  # environment variable: another interpreter for the functions of `local`
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: 250 MB unzipped, function and all layers.
LIMIT_BYTES = 262_144_000

_MACHINES = {"lambda-x86_64": "x86_64", "lambda-arm64": "aarch64"}
_NEWEST_GLIBC_MINOR, _OLDEST_GLIBC_MINOR = 34, 17  # Amazon Linux 2023 has glibc 2.34; manylinux2014 is 2.17
_DROPPED_FOLDERS = {"tests", "test", "include", "bin", "__pycache__"}
_DROPPED_SUFFIXES = {".pyi", ".pyx", ".pxd", ".pxi", ".h", ".hpp", ".c", ".cc", ".cpp", ".proto", ".pyc", ".tp"}
_KEPT_METADATA = {"METADATA", "entry_points.txt"}
# Whole subpackages that no function reaches; the smoke test below keeps this list honest.
_DROPPED_PARTS = (
    "onnxruntime/capi/libonnxruntime.so*",  # the Python module carries its own copy
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "aws_lambda_powertools/event_handler/openapi/swagger_ui",
    "numpy/_core/lib",
    "numpy/random/lib",
    "onnx/backend/test",
    "onnx/bin",
    "sklearn/datasets/data",
    "sklearn/datasets/descr",
    "sklearn/datasets/images",
    "matplotlib/mpl-data/fonts/afm",
    "matplotlib/mpl-data/fonts/pdfcorefonts",
    "matplotlib/mpl-data/fonts/ttf/cm*",  # DejaVu Sans measures all text; browsers draw it
    "matplotlib/mpl-data/fonts/ttf/STIX*.ttf",
    "matplotlib/mpl-data/fonts/ttf/DejaVuSans?*.ttf",
    "matplotlib/mpl-data/fonts/ttf/DejaVuSerif*",
    "matplotlib/mpl-data/images",
    "matplotlib/mpl-data/plot_directive",
    "matplotlib/mpl-data/sample_data",
    "matplotlib/mpl-data/stylelib",
    "matplotlib/backends/web_backend",
    "matplotlib/backends/qt_editor",
    "pylab.py",
    "PIL/_avif*",
    "PIL/_imagingtk*",
    "PIL/_webp*",
    "pillow.libs/libavif*",
    "fontTools/varLib",
    "fontTools/ufoLib",
    "fontTools/voltLib",
    "fontTools/designspaceLib",
    "fontTools/feaLib",
    "fontTools/mtiLib",
    "fontTools/cu2qu",
    "fontTools/qu2cu",
    "pyarrow/libarrow_flight*",
    "pyarrow/libarrow_python*.so",  # the same as those with a version
    "pyarrow/libarrow_python*.so.*.*.*",
    "pyarrow/libarrow_s3*",
    "pyarrow/_flight*",
    "pyarrow/_orc*",
    "pyarrow/_s3fs*",
    "pyarrow/_substrait*",
    "pyarrow/src",
    "share",
)
# Run with nothing else on the path, so that a pruned layer which cannot do its work is never handed on.
_SMOKE = {
    "serving": """
import base64, numpy, onnxruntime, pydantic, yaml, aws_lambda_powertools.metrics, aws_lambda_powertools.logging
relu = base64.b64decode("CAgSADozCgwKAXgSAXkiBFJlbHUSAWdaDwoBeBIKCggIARIECgIIAmIPCgF5EgoKCAgBEgQKAggCQgQKABAR")
session = onnxruntime.InferenceSession(relu, providers=["CPUExecutionProvider"])
assert session.run(None, {"x": numpy.array([-1, 2], "float32")})[0].tolist() == [0, 2]
""",
    "training": """
import numpy, pandas, onnx, pydantic, yaml, aws_lambda_powertools.metrics, skl2onnx
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
x = numpy.random.default_rng(0).normal(size=(80, 2)).astype("float32")
y = (x[:, 0] > 0).astype(int)
for model in (HistGradientBoostingClassifier(max_iter=2), make_pipeline(StandardScaler(), LogisticRegression())):
    onnx.checker.check_model(skl2onnx.to_onnx(model.fit(x, y), x[:1]))
""",
    "plots": """
import io, jinja2, numpy, pydantic, yaml, aws_lambda_powertools.metrics, aws_lambda_powertools.logging
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
figure, out = Figure(layout="constrained"), io.BytesIO()
axes = figure.add_subplot(title="a", xlabel="b")
axes.plot([1, 2], [3, 4], label="c")
axes.fill_between([1, 2], [2, 3], [4, 5])
axes.legend()
FigureCanvasSVG(figure).print_svg(out)
assert b"</svg>" in out.getvalue()
assert jinja2.Environment(autoescape=True).from_string("{{ a }}").render(a="<") == "&lt;"
""",
    "data": """
import io, numpy, onnxruntime, orjson, pandas, pyarrow, pyarrow.parquet, pydantic, yaml
import aws_lambda_powertools.metrics, aws_lambda_powertools.logging
table = pyarrow.table({"a": [1, 2], "b": ["x", "y"]})
for codec in ("snappy", "gzip", "brotli", "zstd", "lz4"):
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file, compression=codec)
    found = pyarrow.parquet.ParquetFile(file, page_checksum_verification=True).read().to_pandas()
    assert found.to_numpy().tolist() == [[1, "x"], [2, "y"]]
assert pandas.read_csv(io.BytesIO(b"a,b\\n1,x\\n"))["a"].tolist() == [1]
""",
    RUNTIME: "import awslambdaric, boto3; boto3.client('s3', region_name='us-east-1')",
}


class LayerError(Exception):
    """A layer cannot be built; the message says what to do."""


class NotBuiltError(LayerError):
    """A layer is missing or older than its lock."""


class Bytecode(StrEnum):
    """What a layer ships of its Python modules."""

    BESIDE_SOURCE = "beside source"
    ALONE = "in place of source"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Built:
    """A layer that is ready: its folder, the SHA-256 of what it was built from, and its size unzipped."""

    folder: Path
    stamp: str
    size_bytes: int
    bytecode: Bytecode


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python: its real path, and its version, such as 3.13.0."""

    path: str
    version: str

    @property
    def minor(self) -> str:
        """Such as 3.13."""
        return self.version.rpartition(".")[0]

    def __str__(self) -> str:
        return f"Python {self.version}"


def lock_file(layer: str) -> Path:
    """The hash-locked requirements of a layer."""
    return ROOT / "layers" / layer / "requirements.txt"


def layers_of(target: str) -> tuple[str, ...]:
    """What a target consists of; only the local one lacks a real Lambda runtime."""
    return (*LAYERS, RUNTIME) if target == "local" else LAYERS


def built(target: str, layer: str) -> Built:
    """A finished layer.

    Raises:
        NotBuiltError: it is missing, or its lock or the builder changed since.
    """
    record = _record(target, layer)
    folder = BUILT / target / layer
    try:
        found = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):
        found = {}
    if not folder.is_dir() or found.get("inputs") != _inputs(target, layer):
        raise NotBuiltError(
            f"layer {layer} for {target} is {'out of date' if found else 'not built'}; "
            f"run scripts/build_layers --target {target}"
        )
    return Built(folder, found["stamp"], found["size_bytes"], Bytecode(found["bytecode"]))


def build(target: str, layer: str, *, python: str = "", force: bool = False) -> Built:
    """Build one layer, unless it is there already.

    Args:
        target: one of TARGETS.
        layer: one of `layers_of(target)`.
        python: the interpreter that compiles the bytecode of a Lambda target; found by itself when empty.
        force: build although nothing changed.

    Raises:
        LayerError: the installation failed, the pruned layer does not work, or it is over the limit.
    """
    target_folder = BUILT / target
    target_folder.mkdir(parents=True, exist_ok=True)
    with _only_one_builder(target_folder / ".lock"):
        if not force:
            try:
                return built(target, layer)
            except NotBuiltError:
                pass
        scratch = Path(tempfile.mkdtemp(prefix=f".{layer}-", dir=target_folder))
        try:
            packages = scratch if layer == RUNTIME else scratch / "python"
            _install(target, layer, packages)
            _prune(packages)
            interpreter = local_python().path if target == "local" else _lambda_interpreter(python)
            smoked = target == "local" or bool(interpreter and _runs_here(target))
            if smoked:
                _smoke(interpreter, layer, packages)
            bytecode = _add_bytecode(interpreter, target, layer, packages) if interpreter else Bytecode.NONE
            if smoked and bytecode is Bytecode.ALONE:
                _smoke(interpreter, layer, packages)
            if layer == RUNTIME:
                (packages / "bin").mkdir()
                (packages / "bin" / "python3").symlink_to(interpreter)
            size_bytes = _size(scratch)
            if target != "local" and not _fits(size_bytes):
                raise LayerError(
                    f"layer {layer} for {target} has {size_bytes:,} bytes, with our own code "
                    f"{size_bytes + _own_bytes():,}; Lambda's limit is {LIMIT_BYTES:,}. Drop a package from "
                    f"layers/{layer}/requirements.in, run scripts/lock and build again"
                )
            _same_times(scratch)
            scratch.chmod(0o755)
            inputs = _inputs(target, layer)
            stamp = hashlib.sha256(f"{inputs}\n{bytecode}".encode()).hexdigest()
            record = {"inputs": inputs, "stamp": stamp, "size_bytes": size_bytes, "bytecode": bytecode}
            _put_in_place(scratch, target_folder / layer, _record(target, layer), record)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return built(target, layer)


def _record(target: str, layer: str) -> Path:
    return BUILT / target / f"{layer}.json"


def _inputs(target: str, layer: str) -> str:
    """SHA-256 of everything a layer is made from; `local` depends on its interpreter as well."""
    digest = hashlib.sha256(lock_file(layer).read_bytes())
    digest.update(Path(__file__).read_bytes())
    python = local_python() if target == "local" else None
    where = f"{python.path} {python} {platform.machine()} {sys.platform}" if python else LAMBDA_PYTHON
    digest.update(f"{target} {layer} {where}".encode())
    return digest.hexdigest()


@contextmanager
def _only_one_builder(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of our own making. Hash seed 0, so that what it writes is the same each time."""
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603


def _install(target: str, layer: str, packages: Path) -> None:
    """With uv where scripts/setup put it beside this interpreter, which takes a tenth of the time; else with pip."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    for command in ([_uv(uv, target)] if uv else []) + [_pip(target)]:
        command += ["--quiet", "--no-deps", "--require-hashes", "--target", str(packages)]
        done = _run([*command, "--requirement", str(lock_file(layer))])
        if done.returncode == 0:
            (packages / ".lock").unlink(missing_ok=True)  # uv's own
            return
        shutil.rmtree(packages, ignore_errors=True)
    raise LayerError(f"layers/{layer}/requirements.txt could not be installed for {target}:\n{done.stderr.strip()}")


def _uv(uv: str, target: str) -> list[str]:
    # Copies: links would hand our changes on to uv's cache.
    python = local_python().path if target == "local" else sys.executable
    command = [uv, "pip", "install", "--python", python, "--link-mode", "copy"]
    if target == "local":
        return command
    platform = f"{_MACHINES[target]}-manylinux_2_{_NEWEST_GLIBC_MINOR}"
    return [*command, "--python-platform", platform, "--python-version", LAMBDA_PYTHON, "--only-binary=:all:"]


def _pip(target: str) -> list[str]:
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--no-compile", "--no-warn-conflicts"]
    other = ["--implementation", "cp", "--only-binary=:all:", "--python-version"]
    if target == "local":
        return command + ([*other, local_python().minor] if local_python() != _described(sys.executable) else [])
    machine = _MACHINES[target]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(_NEWEST_GLIBC_MINOR, _OLDEST_GLIBC_MINOR - 1, -1)]
    for name in (*platforms, f"manylinux2014_{machine}", *_oldest_platforms(machine)):
        command += ["--platform", name]
    return [*command, *other, LAMBDA_PYTHON]


def _oldest_platforms(machine: str) -> tuple[str, ...]:
    return ("manylinux_2_12_x86_64", "manylinux2010_x86_64", "manylinux_2_5_x86_64", "manylinux1_x86_64")[
        : 4 if machine == "x86_64" else 0
    ]


def _prune(packages: Path) -> None:
    for pattern in _DROPPED_PARTS:
        for found in packages.glob(pattern):
            _remove(found)
    for folder, folders, files in os.walk(packages, topdown=True):
        here = Path(folder)
        for name in [name for name in folders if name in _DROPPED_FOLDERS]:
            folders.remove(name)
            shutil.rmtree(here / name)
        metadata = here.suffix == ".dist-info"
        for name in files:
            file = here / name
            licence = name.upper().startswith(("LICEN", "NOTICE", "COPYING"))
            if file.suffix in _DROPPED_SUFFIXES or (metadata and name not in _KEPT_METADATA and not licence):
                file.unlink()
    for folder, _, _ in os.walk(packages, topdown=False):
        if not any(Path(folder).iterdir()):
            Path(folder).rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _lambda_interpreter(asked_for: str) -> str:
    """An interpreter with the Lambda runtime's bytecode format, or nothing."""
    candidates: list[str | Path | None] = (
        [asked_for] if asked_for else [sys.executable, shutil.which(f"python{LAMBDA_PYTHON}")]
    )
    if not asked_for:
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
        uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
        candidates += sorted(pyenv.glob(f"{LAMBDA_PYTHON}.*/bin/python"), reverse=True)
        candidates += sorted(uv.glob(f"cpython-{LAMBDA_PYTHON}.*/bin/python{LAMBDA_PYTHON}"), reverse=True)
    for candidate in filter(None, candidates):
        found = _described(str(candidate))
        if found and found.minor == LAMBDA_PYTHON:
            return found.path
    if asked_for:
        raise LayerError(f"{asked_for} is not Python {LAMBDA_PYTHON}; give another --python, or leave the option out")
    return ""


@functools.cache
def local_python() -> Interpreter:
    """Under which the local cloud runs functions: what the environment variable TIDEGATE_FUNCTION_PYTHON names, else
    one of the Lambda runtime's version, else the one that runs this.

    Raises:
        LayerError: the environment variable names no interpreter.
    """
    asked_for = os.environ.get(LOCAL_PYTHON, "")
    found = _described(asked_for or _lambda_interpreter("") or sys.executable)
    if found is None:
        raise LayerError(f"{asked_for} does not run: set {LOCAL_PYTHON} to a Python, or to nothing")
    return found


@functools.cache
def _described(interpreter: str) -> Interpreter | None:
    """None when it does not run. Of a virtual environment, or a command that chooses, what stands behind it."""
    code = "import platform, sys; print(sys._base_executable); print(platform.python_version())"
    try:
        done = _run([interpreter, "-I", "-c", code])
    except OSError:
        return None
    return Interpreter(*done.stdout.splitlines()) if done.returncode == 0 else None


def _runs_here(target: str) -> bool:
    return sys.platform == "linux" and _MACHINES[target] == platform.machine()


def _smoke(interpreter: str, layer: str, packages: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(packages)!r}); sys.dont_write_bytecode = True\n{_SMOKE[layer]}"
    # -I -S: no environment, no user packages, no site-packages.
    done = _run([interpreter, "-I", "-S", "-c", code])
    if done.returncode:
        raise LayerError(f"the pruned layer {layer} does not work:\n{done.stderr.strip()}")


def _add_bytecode(interpreter: str, target: str, layer: str, packages: Path) -> Bytecode:
    """Ship bytecode: /opt is read-only, so the runtime could never keep what it compiles.

    Where source and bytecode together do not fit, bytecode takes the place of the source: imports are as fast, and
    only the source lines of third-party frames are missing from a traceback.
    """
    _compile(interpreter, target, layer, packages, beside_source=False)
    if target == "local" or _fits(_size(packages)):
        return Bytecode.BESIDE_SOURCE
    for folder in list(packages.rglob("__pycache__")):
        shutil.rmtree(folder)
    _compile(interpreter, target, layer, packages, beside_source=True)
    for bytecode in packages.rglob("*.pyc"):
        bytecode.with_suffix(".py").unlink()
    return Bytecode.ALONE


def _compile(interpreter: str, target: str, layer: str, packages: Path, *, beside_source: bool) -> None:
    shown = BUILT / target / layer if target == "local" else Path("/opt/python")
    # Unchecked: the files will have other times in Lambda than here.
    command = [interpreter, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    command += ["-b"] if beside_source else []
    command += ["-s", str(packages), "-p", str(shown), str(packages)]
    # Some packages carry files for other Python versions: those cannot be compiled and are never imported.
    _run(command)


def _fits(size_bytes: int) -> bool:
    return size_bytes + _own_bytes() <= LIMIT_BYTES


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def _own_bytes() -> int:
    """Our own library plus the largest function: they share the limit with a third-party layer."""
    core = _size(ROOT / "layers" / "core")
    return core + max((_size(folder) for folder in (ROOT / "functions").glob("*") if folder.is_dir()), default=0)


def _same_times(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (315_532_800, 315_532_800), follow_symlinks=False)  # 1980-01-01, the oldest a zip can hold


def _put_in_place(scratch: Path, folder: Path, record: Path, content: dict[str, object]) -> None:
    record.unlink(missing_ok=True)
    if folder.exists():
        old = folder.with_name(f".old-{folder.name}")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        scratch.rename(folder)
        shutil.rmtree(old)
    else:
        scratch.rename(folder)
    half = record.with_suffix(".tmp")
    half.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    half.replace(record)


def _default_target() -> str:
    """The architecture that cdk.json asks for, since the CDK builds before it synthesizes."""
    context = json.loads((ROOT / "cdk.json").read_text("utf-8")).get("context", {})
    return f"lambda-{context.get('architecture', 'x86_64')}"


def _table(target: str, rows: Iterable[tuple[str, Built]]) -> Iterator[str]:
    yield f"{'layer':<10}{'bytes':>14}{'MiB':>8}{'with our code':>16}{'of the limit':>14}  bytecode"
    for layer, made in rows:
        total = made.size_bytes + _own_bytes()
        limited = ("-", "-") if target == "local" else (f"{total:,}", f"{total / LIMIT_BYTES:.0%}")
        size = f"{layer:<10}{made.size_bytes:>14,}{made.size_bytes / 2**20:>8.1f}"
        yield f"{size}{limited[0]:>16}{limited[1]:>14}  {made.bytecode}"
    if target != "local":
        yield f"limit: {LIMIT_BYTES:,} bytes for a function with all its layers, unzipped"


def _made(target: str, layer: str, *, python: str, force: bool) -> Built:
    """The layer, built if need be; an interpreter that is named is also used on a layer that lacks bytecode."""
    try:
        made = built(target, layer)
        if not force and not (python and made.bytecode is Bytecode.NONE):
            return made
    except NotBuiltError:
        pass
    print(f"build_layers: {layer} for {target} ...", file=sys.stderr, flush=True)
    return build(target, layer, python=python, force=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `scripts/build_layers`."""
    parser = argparse.ArgumentParser(
        prog="scripts/build_layers", description="Build the third-party layers from their locks."
    )
    parser.add_argument("--target", choices=TARGETS, default=_default_target(), help="default: what cdk.json deploys")
    parser.add_argument(
        "--layer", choices=(*LAYERS, RUNTIME), action="append", help="build only this layer (can be repeated)"
    )
    parser.add_argument(
        "--python", default="", metavar="PATH", help=f"a Python {LAMBDA_PYTHON} to compile bytecode with"
    )
    parser.add_argument("--force", action="store_true", help="rebuild even if nothing changed")
    chosen = parser.parse_args(arguments)
    wanted = chosen.layer or layers_of(chosen.target)
    if RUNTIME in wanted and chosen.target != "local":
        parser.error(f"the {RUNTIME} layer exists for --target local only: on AWS the Lambda service brings it")
    try:
        rows = [(layer, _made(chosen.target, layer, python=chosen.python, force=chosen.force)) for layer in wanted]
    except LayerError as error:
        print(f"build_layers: {error}", file=sys.stderr)
        if chosen.target == "local":
            print(f"build_layers: {LOCAL_PYTHON} names another Python for functions", file=sys.stderr)
        return 1
    print(f"target: {chosen.target}" + (f", for {local_python()}" if chosen.target == "local" else ""))
    print("\n".join(_table(chosen.target, rows)))
    if any(made.bytecode is Bytecode.NONE for _, made in rows):
        print(
            f"no bytecode, since Python {LAMBDA_PYTHON} was not found: give it with --python, or cold starts take two "
            "to three times as long"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
