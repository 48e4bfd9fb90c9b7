"""The code that is deployed: functions, our own library as a layer, and the built third-party layers."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import AssetHashType, IgnoreMode
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra import layers
from infra.settings import DeploymentSettings

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ROOT / "functions"
CORE = ROOT / "layers" / "core"
NOT_DEPLOYED = ("cli", "testing")  # folders of our library that no function imports
EXCLUDED = ("**/__pycache__", "**/*.egg-info", *(f"python/tidegate/{name}" for name in NOT_DEPLOYED))


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the deployed code lies, for one layer target (`lambda-x86_64`, `lambda-arm64`, `local`)."""

    settings: DeploymentSettings
    target: str

    def function(self, name: str) -> lambda_.Code:
        """The folder of a function.

        Raises:
            FileNotFoundError: it has no handler.
        """
        folder = FUNCTIONS / name
        if not (folder / "handler.py").is_file():
            raise FileNotFoundError(f"functions/{name}/handler.py does not exist, but a stack deploys it")
        return lambda_.Code.from_asset(str(folder), exclude=list(EXCLUDED), ignore_mode=IgnoreMode.GLOB)

    def core_layer(self, scope: Construct) -> lambda_.LayerVersion:
        """Our own library, as it stands in the repository: without bytecode, which each cold start makes for itself.

        That costs an inference about 50 ms. Bytecode would need a build step, and a copy of the library beside it.
        """
        code = lambda_.Code.from_asset(str(CORE), exclude=list(EXCLUDED), ignore_mode=IgnoreMode.GLOB)
        return self._layer(scope, "Core", code, "The tidegate library")

    def third_party_layer(self, scope: Construct, name: str) -> lambda_.LayerVersion:
        """A built layer; its hash is that of its lock, its builder and its target, so that no one reads 170 MB.

        Raises:
            layers.NotBuiltError: it has not been built from the present lock.
        """
        built = layers.built(self.target, name)
        code = lambda_.Code.from_asset(str(built.folder), asset_hash=built.stamp, asset_hash_type=AssetHashType.CUSTOM)
        return self._layer(scope, name.capitalize(), code, f"Locked third-party packages for {name}")

    def _layer(self, scope: Construct, construct_id: str, code: lambda_.Code, description: str) -> lambda_.LayerVersion:
        return lambda_.LayerVersion(
            scope,
            f"{construct_id}Layer",
            code=code,
            description=description,
            compatible_runtimes=[runtime(self.settings)],
            compatible_architectures=[architecture(self.settings)],
        )

    @property
    def code_version(self) -> str:
        """What runs call the code that made them: the setting, or the hash of every deployed source file."""
        if self.settings.code_version:
            return self.settings.code_version
        digest = hashlib.sha256()
        for folder in (CORE / "python" / "tidegate", FUNCTIONS):
            for file in sorted(folder.rglob("*.py")):
                if file.relative_to(folder).parts[0] not in NOT_DEPLOYED:
                    digest.update(f"{file.relative_to(ROOT).as_posix()}\0".encode() + file.read_bytes() + b"\0")
        return f"src-{digest.hexdigest()[:12]}"


def lock_hash() -> str:
    """SHA-256 of the locks by which a version's data is read, and it is trained and served."""
    locks = {name: layers.lock_file(name).read_text("utf-8") for name in ("data", "serving", "training")}
    return hashlib.sha256(json.dumps(locks, sort_keys=True).encode()).hexdigest()


def runtime(settings: DeploymentSettings) -> lambda_.Runtime:
    """The Lambda runtime of every function."""
    return lambda_.Runtime(f"python{settings.python}", lambda_.RuntimeFamily.PYTHON, supports_snap_start=True)


def architecture(settings: DeploymentSettings) -> lambda_.Architecture:
    """The processor of every function."""
    return lambda_.Architecture.ARM_64 if settings.architecture == "arm64" else lambda_.Architecture.X86_64
