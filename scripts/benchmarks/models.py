"""What a thousand small models take: memory, a hit, a miss, and a cold model that many ask for at once.

The small model is a logistic regression of 30 numbers with its guard, trained here; each of the thousand has its own
name and weights. They go through the inference function's own parts, in a process of their own, which gets them by
signed HTTP from a server in this one; reads are counted there.

`kinds` are the estimators that people use, trained at several sizes: what they take in memory, and what the function
counts them for.
"""

import json
import os
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from functions.inference.handler import SESSIONS_SHARE
from infra.settings import DeploymentSettings
from tidegate.domain.serving import guard
from tidegate.domain.serving.contract import CONTRACT_KEY, Contract, FeatureContract
from tidegate.kernel.table import TARGET, Table
from tidegate.ml.training import OnnxFitter
from tidegate.spec.model import ModelSpec

SUMMARY = "a thousand small models in one function: memory, hits, misses, concurrent requests for one"
ROOT = Path(__file__).resolve().parents[2]
MODELS = 1_000
THREADS = 16
COLD_MODELS = 20  # that all threads ask for, one after the other
TIGHT_SHARE = 4  # of the models have room, one in so many
_LINEAR: tuple[str, dict[str, Any]] = ("sklearn.linear_model.LogisticRegression", {})


@dataclass(frozen=True)
class _Kind:
    """Something people train. `kept` sessions of it are opened to see what one takes."""

    name: str
    estimator: str
    parameters: dict[str, Any]
    numbers: int = 30
    texts: int = 0
    kept: int = 20
    quick: bool = True


_FOREST, _BOOST = "sklearn.ensemble.RandomForestClassifier", "sklearn.ensemble.HistGradientBoostingClassifier"
_KINDS = (
    _Kind("logistic regression", *_LINEAR, kept=200),
    _Kind("the same with 5 texts", *_LINEAR, texts=5, kept=200),
    _Kind("the same with 300 numbers, 30 texts", *_LINEAR, numbers=300, texts=30, quick=False),
    _Kind("boosting, 10 trees", _BOOST, {"max_iter": 10}, kept=200),
    _Kind("boosting, 150 trees", _BOOST, {"max_iter": 150}, kept=60, quick=False),
    _Kind("forest, 100 small trees", _FOREST, {"n_estimators": 100, "min_samples_leaf": 50}),
    _Kind("forest, 100 large trees", _FOREST, {"n_estimators": 100}, kept=8, quick=False),
    _Kind(
        "network, 2 × 600",
        "sklearn.neural_network.MLPClassifier",
        {"hidden_layer_sizes": [600, 600], "max_iter": 1},
        quick=False,
    ),
)


def run(*, quick: bool) -> dict[str, Any]:
    """Microseconds, milliseconds, MiB and counts."""
    memory_mb = DeploymentSettings().inference_memory_mb
    budget = int(memory_mb * 2**20 * SESSIONS_SHARE)
    template = _trained(_KINDS[0], rows=5_000)
    with _store() as store:
        thousand = [store.put(f"small-{number}", data) for number, data in enumerate(_variants(template, MODELS))]
        first = store.put("small", template)
        measuring = {
            "models": thousand,
            "first": first,
            "instance": _instance(_KINDS[0]),
            "calls": 100_000 if quick else 300_000,
        }
        roomy = store.probed({"what": "kept", "budget": budget, "rounds": 1, **measuring})
        room = roomy["counted_bytes"] // TIGHT_SHARE
        tight = store.probed({"what": "kept", "budget": room, "rounds": 2 if quick else 3, **measuring, "calls": 0})
        cold = store.probed(
            {"what": "collapse", "budget": budget, "models": thousand[:COLD_MODELS], "threads": THREADS}
        )
        kinds = [
            _kind(store, first, kind, rows=5_000 if quick else 20_000) for kind in _KINDS if kind.quick or not quick
        ]
    return {
        "models": MODELS,
        "function_mb": memory_mb,
        "artifact_kib": round(len(template) / 1024, 1),
        "hit_us": roomy["hit_us"],
        "answer_us": roomy["answer_us"],
        "miss_ms": roomy["miss_ms"],
        "misses": roomy["misses"],
        "reads_per_miss": round(roomy["reads"] / roomy["misses"], 3),
        "sessions_per_miss": round(roomy["sessions"] / roomy["misses"], 3),
        "start_mib": roomy["start_mib"],
        "resident_mib": roomy["resident_mib"],
        "grown_mib": roomy["grown_mib"],
        "kib_per_model": round(1024 * roomy["grown_mib"] / MODELS, 1),
        "counted_mib": _mib(roomy["counted_bytes"]),
        "budget_mib": _mib(budget),
        "tight": {
            "budget_mib": _mib(room),
            "requests": tight["requests"],
            "kept": tight["kept"],
            "misses": tight["misses"],
            "reads": tight["reads"],
            "evicted": tight["evicted"],
            "counted_mib": _mib(tight["counted_bytes"]),
            "grown_mib": tight["grown_mib"],
        },
        "collapse": {
            "threads": THREADS,
            "models": COLD_MODELS,
            "reads": cold["reads"] / COLD_MODELS,
            "sessions": cold["sessions"] / COLD_MODELS,
        },
        "kinds": kinds,
    }


def tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Times, memory, many at once, and what each kind of model takes."""
    hit, answer, miss, tight, cold = (figures[part] for part in ("hit_us", "answer_us", "miss_ms", "tight", "collapse"))
    yield (
        f"{figures['models']:,} models of {figures['artifact_kib']} KiB in a function of {figures['function_mb']:,} MB",
        ["what", "p50", "p99"],
        [
            ["a session that is kept is found (µs)", f"{hit['p50']:.2f}", f"{hit['p99']:.2f}"],
            [
                "an answer by a model that is kept, one of its first (µs)",
                f"{answer['p50']:.0f}",
                f"{answer['p99']:.0f}",
            ],
            ["the first answer of a model (ms)", f"{miss['p50']:.2f}", f"{miss['p99']:.2f}"],
            ["    of it the read of S3 (ms)", f"{miss['read_p50']:.2f}", ""],
            ["    of it the session (ms)", f"{miss['session_p50']:.2f}", ""],
        ],
    )
    yield (
        f"reads {figures['reads_per_miss']} and sessions {figures['sessions_per_miss']} for each miss; memory (MiB)",
        ["room for", "budget", "counted", "really grown", "kept", "requests", "misses", "reads", "evicted"],
        [
            [
                "all",
                *(f"{figures[name]:,.0f}" for name in ("budget_mib", "counted_mib", "grown_mib", "models", "models")),
                *(f"{figures['misses']:,}", f"{figures['misses'] * figures['reads_per_miss']:,.0f}", "0"),
            ],
            [
                f"one in {TIGHT_SHARE}",
                *(f"{tight[name]:,.0f}" for name in ("budget_mib", "counted_mib", "grown_mib", "kept", "requests")),
                *(f"{tight[name]:,}" for name in ("misses", "reads", "evicted")),
            ],
        ],
    )
    yield (
        f"{cold['threads']} threads ask at once for a model that is cold; {cold['models']} models",
        ["reads for each", "sessions for each"],
        [[f"{cold['reads']:g}", f"{cold['sessions']:g}"]],
    )
    yield (
        "what a session takes (KiB), and what it counts for",
        ["kind", "artifact", "resident", "counted", "counted over resident", "while it is opened"],
        [
            [
                each["kind"],
                *(f"{each[name]:,.0f}" for name in ("artifact_kib", "resident_kib", "counted_kib")),
                f"{each['counted_kib'] / each['resident_kib']:.2f}",
                f"{each['opening_kib']:,.0f}",
            ]
            for each in figures["kinds"]
        ],
    )


def _trained(kind: _Kind, *, rows: int) -> bytes:
    """An artifact with its contract and guard, as a training run writes it."""
    chance = np.random.default_rng(0)
    values = chance.normal(size=(rows, kind.numbers)).astype(np.float32).astype(np.float64)
    columns: dict[str, Any] = {f"x{place}": values[:, place] for place in range(kind.numbers)}
    texts = {f"c{place}": chance.choice([f"text {each}" for each in range(20)], rows) for place in range(kind.texts)}
    target = (values[:, :3].sum(axis=1) + chance.normal(size=rows) > 0).astype(np.int64)
    kinds = dict.fromkeys(columns, "numeric") | dict.fromkeys(texts, "categorical")
    spec = ModelSpec.parse(
        {
            "name": "small",
            "owner": "benchmarks@example.com",
            "business_unit": "benchmarks",
            "description": "What a model takes in memory",
            "task": "binary",
            "dataset": "made-up",
            "target": "late",
            "positive_class": True,
            "time": "at",
            "features": [{"name": name, "kind": each} for name, each in kinds.items()],
            "split": {
                "train": {"from": "2013-01-01", "to": "2013-05-01"},
                "holdout": {"from": "2013-05-01", "to": "2013-06-01"},
            },
            "candidates": [{"estimator": kind.estimator, "parameters": kind.parameters}],
            "metric": "roc_auc",
            "baseline": {"kind": "constant", "value": 0.5},
            "gate": {"margin": 0.005},
        }
    )
    features: Any = [FeatureContract(name, each) for name, each in kinds.items()]  # type: ignore[arg-type]
    contract = Contract("small", "binary", tuple(features), (False, True))
    table = Table(columns | texts | {TARGET: target})
    learned = guard.fit(contract, contract.inputs(table), share=0.001, answer="model")
    (candidate,) = spec.candidates
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a network that has not converged is as large as one that has
        return OnnxFitter().export(spec, replace(contract, guard=learned), candidate, table, []).onnx


def _instance(kind: _Kind) -> dict[str, Any]:
    texts = {f"c{place}": "text 1" for place in range(kind.texts)}
    return {f"x{place}": 0.5 for place in range(kind.numbers)} | texts


def _variants(template: bytes, number: int) -> Iterator[bytes]:
    """So many models of the template's form, each with its own name in the contract and its own weights."""
    model = onnx.load_from_string(template)
    (entry,) = [each for each in model.metadata_props if each.key == CONTRACT_KEY]
    contract = json.loads(entry.value)
    (weights,) = [part for node in model.graph.node for part in node.attribute if part.name == "coefficients"]
    for each in range(number):
        entry.value = json.dumps(contract | {"model": f"small-{each}"}, sort_keys=True, separators=(",", ":"))
        weights.floats[0] = each / number
        yield model.SerializeToString(deterministic=True)


def _kind(store: "_Store", first: dict[str, str], kind: _Kind, *, rows: int) -> dict[str, Any]:
    data = _trained(kind, rows=rows)
    trial = {"what": "kind", "first": first, "instances": [_instance(_KINDS[0]), _instance(kind)]}
    found = store.probed(trial | {"models": [store.put("small", data)], "kept": kind.kept})
    del found["reads"]
    return {"kind": kind.name, "artifact_kib": round(len(data) / 1024, 1), **found}


@dataclass
class _Store:
    """Objects over HTTP as S3 gives them, and how often each was read."""

    url: str
    objects: dict[str, bytes] = field(default_factory=dict)
    reads: Counter[str] = field(default_factory=Counter)

    def put(self, model: str, data: bytes) -> dict[str, str]:
        """Name, key and hash."""
        digest = sha256(data).hexdigest()
        key = f"runs/{model}/{digest}/model.onnx"
        self.objects[key] = data
        return {"model": model, "key": key, "sha256": digest}

    def probed(self, trial: dict[str, Any]) -> dict[str, Any]:
        """What a fresh process with the function's parts finds, and how often it read."""
        self.reads.clear()
        paths = os.pathsep.join([str(ROOT), str(ROOT / "layers" / "core" / "python")])
        env = os.environ | {
            "PYTHONPATH": paths,
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
        }
        command = [sys.executable, "-m", "scripts.benchmarks.models_probe"]
        done = subprocess.run(command, input=json.dumps(trial), env=env, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found | {"reads": sum(self.reads[each["key"]] for each in trial["models"])}


@contextmanager
def _store() -> Iterator[_Store]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            key = self.path.split("/", 2)[2]
            signed = self.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256")
            store.reads[key] += 1
            body = store.objects[key] if signed else b""
            self.send_response(200 if signed else 403)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    store = _Store(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _mib(number: int) -> float:
    return round(number / 2**20, 1)
