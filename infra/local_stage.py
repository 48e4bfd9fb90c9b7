"""A stage of Tidegate on the local cloud, with a user for each role: what scripts/local and scripts/demo start."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.layers import local_python
from tidegate.kernel.roles import Role

if TYPE_CHECKING:
    from infra.local.cloud import LocalCloud

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / ".tidegate"
STAGE = "dev"

_SYNTHESIZE = f"""
import sys
from pathlib import Path
from infra.app import build
from infra.settings import DeploymentSettings
settings = DeploymentSettings(stage={STAGE!r}, owner=sys.argv[2], business_unit=sys.argv[3])
print(build(settings, outdir=Path(sys.argv[1]), layers_target="local"))
"""


def synthesized(outdir: Path, *, owner: str, business_unit: str) -> Path:
    """The cloud assembly. Made in a process of its own, since the CDK keeps a Node process until its Python ends.

    Raises:
        RuntimeError: the templates cannot be synthesized.
    """
    command = [sys.executable, "-c", _SYNTHESIZE, str(outdir), owner, business_unit]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}")
    return Path(done.stdout.strip().rpartition("\n")[2])


def started(
    assembly: Path,
    *,
    state_dir: Path = STATE,
    keep: Path | None = None,
    on_progress: Callable[[str], None] = lambda _line: None,
) -> "LocalCloud":
    """The local cloud of an assembly, which `tidegate --local` finds; `--as` takes the roles as users.

    Raises:
        infra.local.cloud.ProvisioningError: a template cannot be provisioned.
        infra.local.kept.KeptStateError: what `keep` has cannot be put back.
    """
    from infra.local.cloud import LocalCloud  # two seconds, which only who starts one needs

    runtime = ROOT / ".build/layers/local/runtime"
    library = ROOT / "layers" / "core"  # compiled once, not by each environment
    subprocess.run([local_python().path, "-m", "compileall", "-q", library], check=False)  # noqa: S603
    cloud = LocalCloud.start(assembly, runtime_dir=runtime, state_dir=state_dir, keep=keep, on_progress=on_progress)
    for role in Role:
        policy = cloud.client("ssm").get_parameter(Name=f"/tidegate/{STAGE}/{role}-policy")["Parameter"]["Value"]
        cloud.add_user(role, [policy])
    cloud.announce_ready()
    return cloud


def fingerprint() -> str:
    """Of all that the assembly is made of: paths, sizes and times of the sources and of the layers' locks."""
    patterns = ("cdk.json", "infra/**/*.py", "functions/**/*", "layers/**/*", ".build/layers/local/*.json")
    listed = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    found = [path for path in listed if path.is_file() and "__pycache__" not in path.parts]
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in found]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def running(state_dir: Path = STATE) -> dict[str, Any] | None:
    """What a cloud that is up wrote down about itself; None when none is."""
    try:
        state: dict[str, Any] = json.loads((state_dir / "local.json").read_text("utf-8"))
        os.kill(int(state["pid"]), 0)
    except (OSError, ValueError, KeyError):
        return None
    return state
