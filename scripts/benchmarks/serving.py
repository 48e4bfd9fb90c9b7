"""How long a prediction takes beside its model alone: warm, cold, in memory, over HTTP, and beside peers.

The model is a forest of 100 trees on the 30 features of scikit-learn's breast cancer data, released through the local
cloud like any other. `bare` is onnxruntime alone on the same artifact in the same process.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from botocore.credentials import Credentials

from infra.local.cloud import LocalCloud
from scripts.benchmarks import serving_peers, tumours
from scripts.benchmarks.tumours import MODEL
from tidegate.cli.client import Client

SUMMARY = "a prediction compared with its model alone: warm, cold, in memory, over HTTP"
_STARTS = 7
_BARE = """
import sys, time
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {"numeric": numpy.zeros((1, 30), dtype=numpy.float32)})
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""


def run(*, quick: bool) -> dict[str, Any]:
    """Microseconds, seconds, MiB, and their ratios. A full run also writes the plot to docs."""
    with serving_house() as house:
        one, many = house.request(1), house.request(1000)
        calls = 2_000 if quick else 20_000
        warm = house.measured({"request": one, "model": MODEL, "calls": calls, "in_a_row": 500})
        few = 100 if quick else 400
        thousand = house.measured({"request": many, "model": MODEL, "calls": few, "in_a_row": 4})
        cold = _cold(house, one, 3 if quick else _STARTS)
        gateway = _over_http(house, cold, quick=quick)
        peers = [*gateway, *serving_peers.measured(house.artifact, quick=quick)]
    if not quick:
        serving_peers.PLOT.write_text(serving_peers.plot(peers), encoding="utf-8")
    handler, bare = warm["handler"], warm["bare"]
    return {
        "warm": warm,
        "warm_1000": thousand,
        "handler_over_ort": {
            "p50": round(handler["p50_us"] / bare["p50_us"], 1),
            "p99_over_p50": round(handler["p99_us"] / handler["p50_us"], 2),
            "batch1000": round(
                thousand["handler"]["p50_us"] / (thousand["bare"]["p50_us"] + thousand["parsed"]["p50_us"]), 2
            ),
        },
        **cold,
        "peers": peers,
    }


def tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Warm, cold and memory, HTTP, peers."""
    rows = [("one instance", figures["warm"]), ("1,000 instances", figures["warm_1000"])]
    yield (
        "warm, inside the function's process (microseconds)",
        ["request", "handler p50", "p99", "p50 as on Lambda", "p99", "onnxruntime alone p50", "orjson alone p50"],
        [[name, *(f"{each[part][share]:,.1f}" for part, share in _SHOWN)] for name, each in rows],
    )
    yield (
        "start and memory",
        ["what", "function", "onnxruntime alone", "ratio"],
        [
            [
                "seconds from process start to the first answer",
                f"{figures['cold_seconds']:.3f}",
                f"{figures['minimum_seconds']:.3f}",
                f"{figures['cold_over_minimum']:.2f}",
            ],
            [
                "MiB resident after 1,000 requests",
                f"{figures['memory_mib']:.0f}",
                f"{figures['minimum_mib']:.0f}",
                f"{figures['memory_over_minimum']:.2f}",
            ],
        ],
    )
    yield serving_peers.table(figures["peers"])


_SHOWN = (
    ("handler", "p50_us"),
    ("handler", "p99_us"),
    ("followed", "p50_us"),
    ("followed", "p99_us"),
    ("bare", "p50_us"),
    ("parsed", "p50_us"),
)


@dataclass(frozen=True)
class House:
    """The local cloud that serves the forest, and instances to ask with."""

    cloud: LocalCloud
    client: Client
    instances: Sequence[dict[str, float]]
    artifact: Path

    def request(self, rows: int) -> dict[str, Any]:
        """A request of the HTTP API, as the function gets it."""
        some = [self.instances[row % len(self.instances)] for row in range(rows)]
        return {
            "rawPath": f"/models/{MODEL}/predict",
            "headers": {"content-type": "application/json"},
            "requestContext": {"http": {"method": "POST"}, "stage": "$default"},
            "body": json.dumps({"instances": some}),
            "isBase64Encoded": False,
        }

    def host(self) -> Any:
        """What runs the functions, and the inference function as it runs it."""
        host = self.cloud.host
        return host, host.config("tidegate-dev-inference")

    def measured(self, event: dict[str, Any]) -> dict[str, Any]:
        """What the probe finds in a process of the function."""
        with self.probe("serving_probe") as ask:
            return ask(event)

    @contextmanager
    def probe(self, module: str) -> Iterator[Callable[..., dict[str, Any]]]:
        """Asks a module from here that is put beside the function's own: each time in a new process of the function,
        or with `anew=False` in one that is warm."""
        host, config = self.host()
        with tempfile.TemporaryDirectory() as folder:
            code = Path(folder)
            for each in config.code_dir.iterdir():
                (code / each.name).symlink_to(each)
            (code / f"{module}.py").write_text((Path(__file__).parent / f"{module}.py").read_text())
            limits = {"TIDEGATE_MAX_INSTANCES": "1000", "TIDEGATE_MAX_BODY_BYTES": "6000000"}
            probe = replace(
                config,
                name="probe",
                arn=config.arn + "-probe",
                handler=f"{module}.handler",
                code_dir=code,
                timeout_s=300,
                environment=config.environment | limits,
            )

            def ask(event: dict[str, Any], *, anew: bool = True) -> dict[str, Any]:
                if anew:
                    host.add(probe)
                return _answer(host.invoke("probe", json.dumps(event).encode()))

            yield ask


def _answer(invocation: Any) -> dict[str, Any]:
    if not invocation.is_ok:
        raise RuntimeError(f"the function failed: {invocation.payload[:500]!r}")
    answer: dict[str, Any] = json.loads(invocation.payload)
    return answer


def _cold(house: House, event: dict[str, Any], starts: int) -> dict[str, Any]:
    """From process start to the first answer, each time in a new process; then memory after 1,000 requests. Bytecode is
    there for both, and each of ours is followed by one of the bare ones."""
    host, config = house.host()
    fresh = replace(config, name="cold", arn=config.arn + "-cold")
    ours: list[float] = []
    bare: list[float] = []
    memory: list[int] = []
    for start in range(starts + 1):
        host.add(fresh)
        began = time.perf_counter()
        answer = _answer(host.invoke("cold", json.dumps(event).encode()))
        took = time.perf_counter() - began
        if answer["statusCode"] != 200:
            raise RuntimeError(f"the function answered {answer['statusCode']}: {answer['body']}")
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _BARE, str(house.artifact)], check=True, capture_output=True, text=True
        )
        if start:  # the first one writes the bytecode
            ours.append(took)
            bare.append(time.perf_counter() - began)
            memory.append(int(done.stdout))
    for _ in range(1_000):
        host.invoke("cold", json.dumps(event).encode())
    idle = host._pools["cold"].idle  # noqa: SLF001  one, or two when one was still busy after its response
    ours_kib = max(_rss_kib(each._process.pid) for each in idle)  # noqa: SLF001
    return {
        "cold_seconds": round(median(ours), 4),
        "minimum_seconds": round(median(bare), 4),
        "cold_over_minimum": round(median(ours) / median(bare), 2),
        "memory_mib": round(ours_kib / 1024, 1),
        "minimum_mib": round(median(memory) / 1024, 1),
        "memory_over_minimum": round(ours_kib / median(memory), 2),
    }


def _rss_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def _over_http(house: House, cold: dict[str, Any], *, quick: bool) -> list[dict[str, Any]]:
    """Our rows among the peers', by the peers' client; start and memory are the function's without the gateway. The
    second row is the gateway's own share: what it and the function take for an answer without a model."""
    keys = house.cloud.env()
    credentials = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    asks = {
        serving_peers.OURS: ("POST", f"/models/{MODEL}/predict", house.request(1)["body"].encode()),
        serving_peers.GATEWAY: ("GET", "/health", b""),
    }
    url, region = house.client.serving_endpoint.url, LocalCloud.region
    found = [
        {"peer": name} | serving_peers.through_gateway(url, credentials, region, ask, quick=quick)
        for name, ask in asks.items()
    ]
    found[0] |= {"version": metadata.version("tidegate"), **{key: cold[key] for key in ("cold_seconds", "memory_mib")}}
    return found


@contextmanager
def serving_house() -> Iterator[House]:
    """A local cloud that serves the forest."""
    with tumours.local_cloud() as (cloud, client, work):
        instances = _released(client)
        artifact = work / "model.onnx"
        artifact.write_bytes(_artifact(cloud, client))
        yield House(cloud, client, instances, artifact)


def _released(client: Client) -> list[dict[str, float]]:
    """Train and promote the forest; its instances."""
    frame = tumours.measurements()
    tumours.register(client, frame)
    features = [name for name in frame.columns if name != "target"]
    spec = tumours.SPEC | {
        "features": [{"name": name, "kind": "numeric"} for name in features],
        "candidates": [{"estimator": "sklearn.ensemble.RandomForestClassifier", "parameters": {"n_estimators": 100}}],
        "release": {"steps": [], "probation_hours": 0},
    }
    client.apply_model(MODEL, json.dumps(spec))
    run = client.wait_for_run(MODEL, client.start_run(MODEL, None)["run"]["run_id"], timeout_seconds=300)
    if run["status"] != "accepted":
        raise RuntimeError(f"the forest was not accepted: {run}")
    return tumours.instances(frame[features])


def _artifact(cloud: LocalCloud, client: Client) -> bytes:
    """The served bytes."""
    (version,) = client.versions(MODEL)
    s3 = cloud.client("s3")
    (bucket,) = (each["Name"] for each in s3.list_buckets()["Buckets"] if "artifacts" in each["Name"])
    data: bytes = s3.get_object(Bucket=bucket, Key=version["artifact_key"])["Body"].read()
    return data
