"""scikit-learn's breast cancer data on a local cloud of its own: what benchmarks of serving ask a model about."""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.datasets import load_breast_cancer

from infra.app import build as synthesize
from infra.local.cloud import LocalCloud
from infra.settings import DeploymentSettings
from tidegate.cli.client import Client

MODEL = "tumours"
SPEC: dict[str, Any] = {
    "name": MODEL,
    "owner": "bench@example.com",
    "business_unit": "bench",
    "task": "binary",
    "dataset": "tumours",
    "target": "target",
    "positive_class": True,
    "metric": "roc_auc",
    "baseline": {"kind": "prior"},
    "gate": {"min_rows": 50, "resamples": 200},
    "targets": {"latency_p99_ms": 500},
    "seed": 7,
}
_RUNTIME = Path(__file__).resolve().parents[2] / ".build" / "layers" / "local" / "runtime"


@contextmanager
def local_cloud() -> Iterator[tuple[LocalCloud, Client, Path]]:
    """A local cloud whose clock does not tick, a client, and a folder that goes with them."""
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        work = Path(folder)
        settings = DeploymentSettings(
            stage="dev", owner="bench", business_unit="bench", throttle_rate=10_000, throttle_burst=5_000
        )
        assembly = synthesize(settings, outdir=work / "cdk.out", layers_target="local")
        os.environ.pop("AWS_PROFILE", None)
        with LocalCloud.start(Path(assembly), runtime_dir=_RUNTIME, state_dir=work, tick=False) as cloud:
            yield cloud, Client.from_session(cloud.session(), "dev", endpoint_url=cloud.endpoint_url), work


def measurements() -> pd.DataFrame:
    """30 numbers [569 rows] with names that a spec may have, and `target` as a truth value."""
    frame: pd.DataFrame = load_breast_cancer(as_frame=True).frame
    frame.columns = [name.replace(" ", "_") for name in frame.columns]
    return frame.astype({"target": bool})


def register(client: Client, frame: pd.DataFrame) -> None:
    """Put the data into the catalog."""
    content = _parquet(frame)
    entry = {"name": "tumours.parquet", "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    client.describe_dataset("tumours", {"origin": "scikit-learn", "licence": "CC-BY-4.0", "owner": "bench@example.com"})
    (plan,) = client.plan_uploads("tumours", [entry])
    client.upload(plan, lambda: io.BytesIO(content), len(content))
    client.wait_for_dataset("tumours", client.add_dataset_version("tumours", [entry])["version"])


def instances(frame: pd.DataFrame) -> list[dict[str, float]]:
    """Rows of features as a request has them."""
    return [{str(name): float(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file, index=False)
    return file.getvalue()
