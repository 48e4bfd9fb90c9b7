"""Load on a served model while its route changes, a canary runs, services fail and processes die; every answer is held
against what onnxruntime gives for that version's artifact.

The model distinguishes breast tumours by six numbers. What is promised: no wrong score, no 5xx but the one request that
a killed process was at work on, no lost capture but what a killed process had not sent yet, and memory that stays flat.
"""

import gzip
import json
import os
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime

from infra.local.cloud import LocalCloud
from infra.local.environment import Environment
from scripts.benchmarks import tumours
from scripts.benchmarks.reliability_checks import Memory, Truth, timetable, unexplained
from scripts.benchmarks.reliability_load import MOST_ROWS, Stage, Tally, Target, load
from scripts.benchmarks.tumours import MODEL
from tidegate.aws.signed import Credentials
from tidegate.cli.client import Client

SUMMARY = "ten minutes of load with faults: wrong answers, 5xx, lost captures, memory"
FUNCTION = "tidegate-dev-inference"
SECONDS, QUICK_SECONDS = 600, 90
CONNECTIONS = 8
PAUSE_SECONDS = 0.06  # of a connection after an answer: with less, the machine is swamped, not the function
SAMPLED_SECONDS = 2.0
GROWTH_MIB = 8.0  # of a process in the second half, at most; only of a full run
REFUSED_SECONDS, STALE_SECONDS = 60, 10  # how long a process remembers a fault
WARMING_SECONDS = 4.0
SPARE_SECONDS = 6  # for requests under way, and for routes to be followed
ANOTHER_STANDS_BY = "champion's artifact corrupt, another stands by"
NONE_STANDS_BY = "champion's artifact corrupt, none stands by"
_FEATURES = ("mean_radius", "mean_texture", "mean_smoothness", "mean_compactness", "mean_symmetry", "worst_area")
_FALLBACK = "0.02 * mean_texture"
_FOREST = "sklearn.ensemble.RandomForestClassifier"
_FIRST = {"estimator": _FOREST, "parameters": {"n_estimators": 20, "max_depth": 4}}
_SECOND = {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "parameters": {"max_iter": 30}}
_THIRD = {"estimator": "sklearn.ensemble.ExtraTreesClassifier", "parameters": {"n_estimators": 30, "max_depth": 5}}
_RATE = {"margin": 0.15, "target": 0.15}
_CANARY: dict[str, Any] = {
    "steps": [20, 50],
    "bake_minutes": 1,
    "look_seconds": 60,
    "deadline_hours": 2,
    "probation_hours": 0,
    "demands": dict.fromkeys(("errors", "timeouts", "fallbacks", "violations"), _RATE)
    | {"slow": {"margin": 0.3, "target": 0.3}, "scores": {"margin": 0.5}},
}
_SPEC = tumours.SPEC | {
    "features": [{"name": name, "kind": "numeric"} for name in _FEATURES],
    "fallback": {"kind": "arithmetic", "expression": _FALLBACK},
    "gate": tumours.SPEC["gate"] | {"margin": 0.05},
    "monitoring": {"retrain_on": []},  # the instances asked for are few, and come again and again: that is drift
}


def run(*, quick: bool) -> dict[str, Any]:
    """Counts, latency by phase, memory by process, and the verdict."""
    with _house() as house:
        conductor = _Conductor(house, quick)
        with _sampled(house) as memory, load(
            house.target, conductor.stage, connections=CONNECTIONS, pause_seconds=PAUSE_SECONDS
        ) as tally:  # fmt: skip
            began, began_at = time.monotonic(), time.time()
            conductor.conduct(tally)
            ended = time.monotonic()
        house.learn()
        tally.judge_the_rest(house.target.truth)
        _say("the load is over; waiting for the captures")
        settled = house.cloud.settle(300)
        figures = _figures(conductor, tally, ended - began) | {
            "quick": quick,
            "captures": _captures(house, tally, len(conductor.kills), began_at) | {"settled": settled},
            "memory": _memory(memory, began, ended),
        }
    return figures | {"verdict": _verdict(figures)}


def failed(figures: dict[str, Any]) -> list[str]:
    """The promises that were not kept."""
    broken: list[str] = figures["verdict"]["broken"]
    return broken


def tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[Any]]]]:
    """Counts, answers, phases, memory."""
    verdict, captures, memory = figures["verdict"], figures["captures"], figures["memory"]
    yield (
        f"{figures['seconds_of_load']} s of load over {CONNECTIONS} connections",
        ["what", "count"],
        [
            ["requests", f"{figures['requests']:,}"],
            ["instances", f"{figures['instances']:,}"],
            ["wrong answers", verdict["wrong"]],
            ["processes killed", figures["kills"]],
            ["5xx", f"{figures['server_errors']} (not a killed process's own: {verdict['unexplained_5xx']})"],
            ["4xx", figures["client_errors"]],
            ["connections that broke", len(figures["broken_connections"])],
            ["calls to the registry and to S3 that were refused", figures["refused_calls"]],
            ["the canary ended", figures["canary"]],
            ["predictions answered, captured", f"{captures['answered']:,}, {captures['captured']:,}"],
            ["captures lost (a killed process may lose its last request's)", captures["lost"]],
        ],
    )
    yield (
        "who answered",
        ["version, reason", "answers"],
        [[name, f"{count:,}"] for name, count in figures["answers"].items()],
    )
    yield (
        "answers not by the chosen version",
        ["phase", "why", "answers"],
        [[each["phase"], each["why"], f"{each['answers']:,}"] for each in figures["instead"]],
    )
    yield (
        "latency by phase (milliseconds)",
        ["phase", "requests", "p50", "p99", "over 1 s"],
        [
            [row["phase"], f"{row['requests']:,}", row["p50_ms"], row["p99_ms"], row["late"]]
            for row in figures["latency"]
        ],
    )
    yield (
        "memory (MiB resident)",
        ["process", "at 25 %", "at 50 %", "at the end", "growth in the second half"],
        [[name, row["quarter"], row["half"], row["end"], row["growth"]] for name, row in _processes(memory)],
    )


def _processes(memory: dict[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    by_growth = sorted(memory["functions"], key=lambda row: float(row["growth"]))
    if by_growth:
        yield f"the median of {len(by_growth)} of the function", by_growth[len(by_growth) // 2]
        yield "the one that grew most", by_growth[-1]
    if memory["local_cloud"]:
        yield "the local cloud with its gateway, logs, objects and this client", memory["local_cloud"]


# --- the timetable ----------------------------------------------------------------------------------------------------


@dataclass
class _Conductor:
    """Goes through the phases one after the other; a phase lasts at least its share of the time."""

    house: "_House"
    quick: bool
    stage: Stage = field(default_factory=Stage)
    kills: list[float] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    canary: str = "not begun"
    began: dict[str, float] = field(default_factory=dict)  # seconds since the load began

    @property
    def phases(self) -> list[tuple[str, int, Callable[[float], None]]]:
        """Name, share of the time, and what happens in that many seconds. All but the canary comes a second time in
        the full run, so that the memory of its second half is of processes that have met everything."""
        faults = [
            ("S3 throttled", 5, self._throttle_s3),
            ("registry throttled", 8, self._throttle_registry),
        ]
        changes = [
            ("split", 8, self._split),
            ("rolled back, and forth", 8, self._roll_back),
            ("switched off", 6, self._switch_off),
            (NONE_STANDS_BY, 6, self._corrupt),
            ("processes killed", 8, self._kill_some),
        ]
        once = [
            ("the first processes start", 4, time.sleep),
            ("every process is new", 4, self._recycle),
            ("as many again start", 8, self._grow),
            *faults,
            ("a version is trained, then its canary", 10, self._release),
            (ANOTHER_STANDS_BY, 6, self._corrupt),
            *changes,
            ("quiet", 5, time.sleep),
        ]
        # What Firehose did not take waits in its process for the next request.
        last = ("every process is asked once more", 1, lambda _: self._all_warm())
        if self.quick:
            return [*once, last]
        again = [(f"{name}, again", share, act) for name, share, act in [*faults, *changes]]
        return [*once, ("long quiet", 18, time.sleep), *again, ("quiet again", 20, time.sleep), last]

    def conduct(self, tally: Tally) -> None:
        """All phases."""
        seconds = QUICK_SECONDS if self.quick else SECONDS
        lasting = timetable({name: share for name, share, _ in self.phases}, seconds)
        self._settled()
        loaded = time.monotonic()
        for name, _, act in self.phases:
            self.stage.phase = name
            began = time.monotonic()
            self.began[name] = round(began - loaded, 1)
            act(lasting[name])
            time.sleep(max(began + lasting[name] - time.monotonic(), 0))
            with tally.lock:
                counts = f"{tally.requests[name]:,} requests, {tally.wrong} wrong, {len(tally.failures)} 5xx so far"
            with self.house.cloud.host._changed:  # noqa: SLF001
                processes = len(self.house.environments())
            _say(f"{name}: {time.monotonic() - began:.0f} s, {processes} processes, {counts}")

    def _settled(self) -> None:
        """The route changes no more: only what it names serves."""
        shown = self.house.client.model(MODEL)["serves"]
        self.stage.serves(frozenset(share["version"] for share in shown if share["weight_bp"]))

    @contextmanager
    def _changing(self) -> Iterator[Client]:
        self.stage.changes()
        yield self.house.client
        self._settled()

    @property
    def _champion(self) -> dict[str, Any]:
        return next(each for each in self.house.client.versions(MODEL) if each["status"] == "champion")

    def _recycle(self, _seconds: float) -> None:
        self.house.cloud.recycle(FUNCTION)

    def _release(self, seconds: float) -> None:
        until = time.monotonic() + max(4 * seconds, 60)
        with self._changing() as client:
            run_id = self.house.trained(_THIRD, _CANARY)
            self.house.learn()
            rollout = client.rollout(MODEL, run_id)
            while not rollout["ended_at"] and time.monotonic() < until:
                time.sleep(1)
                self.house.cloud.advance(60)
                rollout = client.rollout(MODEL, run_id)
        self.canary = str(rollout["phase"])
        _say(f"the canary: {self.canary} ({rollout['reason']})")

    def _grow(self, seconds: float) -> None:
        with self._scaled_out():
            time.sleep(seconds * 2 / 3)

    def _corrupt(self, seconds: float) -> None:
        """New processes start while the champion's artifact does not match the SHA-256 in the registry."""
        key = self._champion["artifact_key"]
        excused = self.stage.excused("not_loadable", REFUSED_SECONDS + SPARE_SECONDS)
        with excused, self.house.overwritten(key), self._scaled_out():
            time.sleep(seconds * 2 / 3)

    @contextmanager
    def _scaled_out(self) -> Iterator[None]:
        """As if many more requests came: every warm process is set aside for a while, so that others start."""
        host = self.house.cloud.host
        pool = host._pools[FUNCTION]  # noqa: SLF001
        aside: list[Environment] = []
        with host._changed:  # noqa: SLF001
            old = self.house.environments()
        until = time.monotonic() + 3
        while len(aside) < len(old) and time.monotonic() < until:
            with host._changed:  # noqa: SLF001
                aside += [each for each in pool.idle if each in old]
                pool.idle = [each for each in pool.idle if each not in old]
            time.sleep(0.002)
        try:
            yield
        finally:
            with host._changed:  # noqa: SLF001
                pool.idle = [*aside, *pool.idle]  # the last one is used first

    def _split(self, seconds: float) -> None:
        champion = self._champion["number"]
        other = next(number for number in self.house.truth if number != champion and number < 3)
        for weight in (2_000, 5_000):
            with self._changing() as client:
                client.split(MODEL, other, weight, "to compare them")
            time.sleep(max(seconds / 3, SPARE_SECONDS))
        with self._changing() as client:
            client.end_split(MODEL, "they were compared")

    def _roll_back(self, seconds: float) -> None:
        champion = self._champion["number"]
        for version in (1, 2, champion):
            with self._changing() as client:
                client.rollback(MODEL, version, "to see that it can be done")
            time.sleep(max(seconds / 4, SPARE_SECONDS))

    def _switch_off(self, seconds: float) -> None:
        with self.stage.excused("killed", SPARE_SECONDS):
            with self._changing() as client:
                client.kill(MODEL, "to see what the fallback says")
            time.sleep(max(seconds / 2, SPARE_SECONDS))
            with self._changing() as client:
                client.resume(MODEL, "seen")

    def _throttle_registry(self, seconds: float) -> None:
        """A process that was idle for long may follow the route that it knew then, also that of a model switched off.
        One that starts now would know none."""
        self._all_warm()
        with (
            self.stage.excused("killed", STALE_SECONDS + SPARE_SECONDS),
            self._changing(),
            self.house.cloud.throttle("dynamodb", {"GetItem"}, role="Inference") as throttle,
        ):
            time.sleep(seconds / 2)
            self.stage.stale_for(STALE_SECONDS)
        self.refused["registry"] = self.refused.get("registry", 0) + throttle.refused

    def _throttle_s3(self, seconds: float) -> None:
        """Warm processes need nothing of it."""
        self._all_warm()
        with self.house.cloud.throttle("s3", {"GetObject"}, role="Inference") as throttle:
            time.sleep(seconds * 2 / 3)
        self.refused["S3"] = self.refused.get("S3", 0) + throttle.refused

    def _all_warm(self) -> None:
        """Wait until every process has answered, and lately: it knows the route and holds what that names."""
        host = self.house.cloud.host
        pool, chance = host._pools[FUNCTION], random.Random(7)  # noqa: SLF001
        began = time.monotonic()
        while time.monotonic() < began + WARMING_SECONDS:
            time.sleep(0.005)
            with host._changed:  # noqa: SLF001
                chance.shuffle(pool.idle)
                cold = any(each._cold_start for each in self.house.environments())  # noqa: SLF001
            if cold:
                began = max(began, time.monotonic() - WARMING_SECONDS / 2)

    def _kill_some(self, seconds: float) -> None:
        for _ in range(5):
            self._kill()
            time.sleep(seconds / 6)

    def _kill(self) -> None:
        """The youngest process that is at work on a request, so that memory can be followed in the older ones."""
        host = self.house.cloud.host
        patient_until = time.monotonic() + 10
        while time.monotonic() < patient_until:
            with host._changed:  # noqa: SLF001  no process changes hands meanwhile
                for each in reversed(self.house.environments()):
                    if not each.is_waiting and each._api.answer is None:  # noqa: SLF001
                        self.kills.append(time.monotonic())
                        each.kill()
                        return
            time.sleep(0.0005)
        raise RuntimeError("no process was at work within ten seconds")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- what is true -----------------------------------------------------------------------------------------------------


@dataclass
class _House:
    """A local cloud that serves a model, and what its versions give."""

    cloud: LocalCloud
    client: Client
    rows: list[dict[str, float]]
    truth: dict[int, Any] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        keys = self.cloud.env()
        return Target(
            url=f"{self.client.serving_endpoint.url}/models/{MODEL}/predict",
            region=LocalCloud.region,
            credentials=Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]),
            instances=[json.dumps(row).encode() for row in self.rows],
            truth=Truth(self.truth, np.array([min(1.0, max(0.0, 0.02 * row["mean_texture"])) for row in self.rows])),
        )

    def learn(self) -> None:
        """What each registered version gives for each instance, from its bytes in S3."""
        for version in self.client.versions(MODEL):
            if version["number"] not in self.truth:
                self.truth[version["number"]] = _scored(self._bytes(version["artifact_key"]), self.rows)

    def trained(self, candidate: dict[str, Any], release: dict[str, Any]) -> str:
        """A run that the gate has accepted."""
        spec = _SPEC | {"candidates": [candidate], "release": release}
        self.client.apply_model(MODEL, json.dumps(spec))
        run = self.client.wait_for_run(MODEL, self.client.start_run(MODEL)["run"]["run_id"], timeout_seconds=300)
        if run["status"] != "accepted":
            raise RuntimeError(f"{candidate} was not accepted: {run}")
        return str(run["run_id"])

    @contextmanager
    def overwritten(self, key: str) -> Iterator[None]:
        """Other bytes under the key of an artifact, and then its own again."""
        own, s3 = self._bytes(key), self.cloud.client("s3")
        s3.put_object(Bucket=self._bucket("artifacts"), Key=key, Body=own[:-1] + bytes([own[-1] ^ 1]))
        try:
            yield
        finally:
            s3.put_object(Bucket=self._bucket("artifacts"), Key=key, Body=own)

    def captured(self) -> Iterator[str]:
        """Ids of the predictions that were captured."""
        s3, bucket = self.cloud.client("s3"), self._bucket("captures")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"captures/model={MODEL}/"):
            for entry in page.get("Contents", []):
                data = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
                yield from (json.loads(line)["id"] for line in gzip.decompress(data).splitlines())

    def environments(self) -> list[Environment]:
        """The function's processes, the oldest first; the host's lock is the caller's."""
        host = self.cloud.host
        busy = [each for each in host._busy if each.config.name == FUNCTION]  # noqa: SLF001
        return sorted([*busy, *host._pools[FUNCTION].idle], key=lambda each: each._started)  # noqa: SLF001

    def _bucket(self, what: str) -> str:
        parameter = self.cloud.client("ssm").get_parameter(Name=f"/tidegate/dev/{what}-bucket")["Parameter"]
        return str(parameter["Value"])

    def _bytes(self, key: str) -> bytes:
        data: bytes = self.cloud.client("s3").get_object(Bucket=self._bucket("artifacts"), Key=key)["Body"].read()
        return data


def _scored(artifact: bytes, rows: list[dict[str, float]]) -> Any:
    """The positive class's float32 for each row, each scored by itself."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])
    numbers = np.array([[row[name] for name in _FEATURES] for row in rows], dtype=np.float32)
    return np.array([session.run(["scores"], {"numeric": one[None]})[0][0, 1] for one in numbers], dtype=np.float32)


@contextmanager
def _house() -> Iterator[_House]:
    """Two versions of the model are released; the second one serves."""
    with tumours.local_cloud() as (cloud, client, _):
        frame = tumours.measurements()[[*_FEATURES, "target"]]
        tumours.register(client, frame)
        house = _House(cloud, client, tumours.instances(frame[list(_FEATURES)].sample(200, random_state=1)))
        for candidate in (_FIRST, _SECOND):
            house.trained(candidate, {"steps": [], "probation_hours": 0})
        house.learn()
        _say(f"versions {sorted(house.truth)} are released")
        yield house


# --- what was found ---------------------------------------------------------------------------------------------------


def _figures(conductor: _Conductor, tally: Tally, seconds: float) -> dict[str, Any]:
    not_own = unexplained(tally.failures, conductor.kills)
    return {
        "seconds_of_load": round(seconds),
        "connections": CONNECTIONS,
        "requests": sum(tally.requests.values()),
        "instances": tally.instances,
        "statuses": dict(tally.statuses),
        "answers": dict(sorted(tally.answers.items())),
        "instead": [{"phase": phase, "why": why, "answers": count} for (phase, why), count in tally.instead.items()],
        "wrong": tally.wrong,
        "wrong_shown": tally.wrong_shown,
        "server_errors": len(tally.failures),
        "unexplained": len(not_own),
        "unexplained_shown": [asdict(each) for each in not_own[:20]],
        "client_errors": sum(count for status, count in tally.statuses.items() if status.startswith("4")),
        "client_errors_shown": tally.refused_shown,
        "broken_connections": tally.broken,
        "kills": len(conductor.kills),
        "refused_calls": conductor.refused,
        "canary": conductor.canary,
        "phases": conductor.began,
        "latency": tally.latency(),
    }


def _captures(house: _House, tally: Tally, kills: int, began_at: float) -> dict[str, Any]:
    """Predictions answered against predictions captured, by their ids. Those say when: `lost_at` is seconds since the
    load began."""
    answered = {bytes(tally.ids[at : at + 16]) for at in range(0, len(tally.ids), 16)}
    captured = {bytes.fromhex(each.replace("-", "")) for each in house.captured()}
    return {
        "answered": len(answered),
        "captured": len(captured),
        "lost": len(answered - captured),
        "lost_at": sorted({round(int.from_bytes(each[:6]) / 1e3 - began_at, 1) for each in answered - captured})[:100],
        "counted_as_dropped": int(house.cloud.metric_sum("Tidegate", "CapturesDropped")),
        "killed_may_lose": kills * MOST_ROWS,
    }


@contextmanager
def _sampled(house: _House) -> Iterator[dict[int, list[tuple[float, float]]]]:
    """(time, MiB) by process, measured again and again while the block lasts."""
    found: dict[int, list[tuple[float, float]]] = defaultdict(list)
    stopping = threading.Event()

    def sample() -> None:
        while not stopping.wait(SAMPLED_SECONDS):
            with house.cloud.host._changed:  # noqa: SLF001
                pids = [each._process.pid for each in house.environments()]  # noqa: SLF001
            for pid in [os.getpid(), *pids]:
                size = _resident_mib(pid)
                if size:
                    found[pid].append((time.monotonic(), size))

    thread = threading.Thread(target=sample, name="memory")
    thread.start()
    try:
        yield found
    finally:
        stopping.set()
        thread.join()


def _resident_mib(pid: int) -> float | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):  # it has ended
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _memory(samples: Mapping[int, list[tuple[float, float]]], began: float, ended: float) -> dict[str, Any]:
    """Of the functions' processes that lived from the first quarter to the end, and of this one."""
    own = Memory.of(samples[os.getpid()], began, ended)
    lived = [Memory.of(each, began, ended) for pid, each in samples.items() if pid != os.getpid()]
    followed = [asdict(each) for each in lived if each]
    return {
        "processes": len(lived),
        "functions": followed,
        "growth_median": median(each["growth"] for each in followed) if followed else None,
        "local_cloud": asdict(own) if own else None,
    }


def _verdict(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Whether each promise was kept, and whether each fault was really met."""
    captures, memory = figures["captures"], figures["memory"]
    growth = max((each["growth"] for each in memory["functions"]), default=None)
    instead = {(each["phase"], each["why"]) for each in figures["instead"]}
    kept = {
        "wrong answers": figures["wrong"] == 0,
        "5xx that no killed process explains": figures["unexplained"] == 0,
        "4xx": figures["client_errors"] == 0,
        "broken connections": not figures["broken_connections"],
        "captures lost": captures["lost"] <= captures["counted_as_dropped"] + captures["killed_may_lose"],
        f"a process grew by more than {GROWTH_MIB:g} MiB": figures["quick"] or (growth or 0) <= GROWTH_MIB,
        "no process could be followed": growth is not None,
        "a canary that did not end": figures["canary"] in {"done", "rolled_back"},
        "no call to the registry was refused": figures["refused_calls"].get("registry", 0) > 0,
        "no artifact was refused": (ANOTHER_STANDS_BY, "not_loadable") in instead
        and (NONE_STANDS_BY, "not_loadable") in instead,
        "nobody met the model switched off": ("switched off", "killed") in instead,
    }
    broken = [name for name, is_kept in kept.items() if not is_kept]
    return {
        "wrong": figures["wrong"],
        "unexplained_5xx": figures["unexplained"],
        "memory_growth_mib": growth,
        "broken": broken,
        "ok": not broken,
    }
