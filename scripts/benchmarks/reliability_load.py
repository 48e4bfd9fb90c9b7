"""Connections that ask again and again, hold every answer against the truth, and count."""

import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import urllib3

from scripts.benchmarks.reliability_checks import Allowed, Failure, Truth, faults
from tidegate.aws.signed import Credentials, signed

LATE_SECONDS = 1.0
FOLLOWS_SECONDS = 5.0  # functions read a route again after three; requests under way and slow machines have two
MOST_ROWS = 20
_KEYS = 64
_ANY = Allowed(None, frozenset())
_SHOWN = 20  # wrong answers that are shown in full


class Stage:
    """What is going on: the phase, which versions serve, and which faults excuse another answer. Written by one thread,
    read by all connections."""

    def __init__(self) -> None:
        self.phase = "the first processes start"
        self._lock = threading.Lock()
        self._epoch = 0
        self._versions: frozenset[int | None] | None = None
        self._settled_at = 0.0
        self._late_until = 0.0
        self._excused_until: dict[str, float] = {}

    def changes(self) -> None:
        """From now on any version that is known may answer, until `serves`."""
        with self._lock:
            self._epoch += 1
            self._versions = None

    def serves(self, versions: frozenset[int | None]) -> None:
        """From now on and until it changes, only these serve; who follows late is given time to."""
        with self._lock:
            self._epoch += 1
            self._versions = versions
            self._settled_at = max(time.monotonic() + FOLLOWS_SECONDS, self._late_until)

    def stale_for(self, seconds: float) -> None:
        """Routes that changed are followed that late."""
        with self._lock:
            self._late_until = time.monotonic() + seconds + FOLLOWS_SECONDS

    @contextmanager
    def excused(self, why: str, after_seconds: float) -> Iterator[None]:
        """While the block lasts, and for some seconds after it, answers may be given for this reason."""
        with self._lock:
            self._excused_until[why] = float("inf")
        try:
            yield
        finally:
            with self._lock:
                self._excused_until[why] = time.monotonic() + after_seconds

    def look(self) -> tuple[int, Allowed]:
        """The epoch, and what may answer a request that begins now."""
        now = time.monotonic()
        with self._lock:
            why = frozenset(each for each, until in self._excused_until.items() if now <= until)
            return self._epoch, Allowed(self._versions if now >= self._settled_at else None, why)

    def allowed(self, before: tuple[int, Allowed]) -> Allowed:
        """What may have answered a request, by `look` when it began and by now."""
        (first, then), (last, now) = before, self.look()
        return Allowed(then.versions if first == last else None, then.why | now.why)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request: its instances, its routing key if any, and what was going on."""

    rows: tuple[int, ...]
    key: str
    phase: str
    epoch: int = 0
    allowed: Allowed = _ANY

    def body(self, instances: Sequence[bytes]) -> bytes:
        return b'{"instances": [' + b", ".join(instances[row] for row in self.rows) + b"]}"


@dataclass
class Tally:
    """All that was counted. Guarded by its lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    requests: Counter[str] = field(default_factory=Counter)  # by phase
    instances: int = 0
    answers: Counter[str] = field(default_factory=Counter)  # by version and reason
    instead: Counter[tuple[str, str]] = field(default_factory=Counter)  # phase, why
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    wrong_shown: list[str] = field(default_factory=list)
    refused_shown: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # connections
    late: Counter[str] = field(default_factory=Counter)
    took_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    ids: bytearray = field(default_factory=bytearray)  # 16 bytes each
    arms: dict[tuple[int, str], int | None] = field(default_factory=dict)  # which version a key got in an epoch
    unjudged: list[tuple[_Asked, dict[str, Any]]] = field(default_factory=list)  # of a version not known by then

    def judge_the_rest(self, truth: Truth) -> None:
        """Answers of versions that were only looked at later."""
        for asked, answer in self.unjudged:
            _judge(self, truth, asked, answer)

    def latency(self) -> list[dict[str, Any]]:
        """By phase, in the order they came."""
        return [
            {
                "phase": phase,
                "requests": len(took),
                "p50_ms": round(float(np.percentile(took, 50)), 1),
                "p99_ms": round(float(np.percentile(took, 99)), 1),
                "late": self.late[phase],
            }
            for phase, took in self.took_ms.items()
        ]


@dataclass(frozen=True)
class Target:
    """Where to ask, for what, as whom, and what is true."""

    url: str
    region: str
    credentials: Credentials
    instances: Sequence[bytes]  # each as JSON
    truth: Truth


def _drawn(chance: random.Random, instances: int, phase: str) -> _Asked:
    """Mostly one instance, sometimes many; every second request has a routing key."""
    count = 1 if chance.random() < 0.8 else chance.randint(2, MOST_ROWS)
    key = f"customer-{chance.randrange(_KEYS)}" if chance.random() < 0.5 else ""
    return _Asked(tuple(chance.randrange(instances) for _ in range(count)), key, phase)


@contextmanager
def load(target: Target, stage: Stage, *, connections: int, pause_seconds: float) -> Iterator[Tally]:
    """Asks over so many connections while the block lasts; each waits a moment between two requests."""
    tally, stopping = Tally(), threading.Event()

    def ask(number: int) -> None:
        chance = random.Random(number)
        pool = urllib3.PoolManager(maxsize=1)
        while not stopping.wait(pause_seconds * chance.uniform(0.5, 1.5)):
            _ask(pool, target, stage, tally, _drawn(chance, len(target.instances), stage.phase))
        pool.clear()

    threads = [
        threading.Thread(target=ask, args=(number,), name=f"connection-{number}") for number in range(connections)
    ]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def _ask(pool: urllib3.PoolManager, target: Target, stage: Stage, tally: Tally, asked: _Asked) -> None:
    body, before = asked.body(target.instances), stage.look()
    headers = {"content-type": "application/json"} | ({"x-tidegate-routing-key": asked.key} if asked.key else {})
    sent = signed(
        "POST", target.url, headers, body,
        service="execute-api", region=target.region, by=target.credentials, at=time.time(),
    )  # fmt: skip
    began = time.monotonic()
    try:
        answer = pool.request("POST", target.url, body=body, headers=sent, retries=False, timeout=30)
    except urllib3.exceptions.HTTPError as error:
        with tally.lock:
            tally.requests[asked.phase] += 1
            tally.broken.append(f"{asked.phase}: {error!r}")
        return
    ended = time.monotonic()
    asked = replace(asked, epoch=before[0], allowed=stage.allowed(before))
    with tally.lock:
        _count(tally, asked, answer.status, ended - began)
        if answer.status == 200:
            found = json.loads(answer.data)
            if found["version"] is None or found["version"] in target.truth.versions:
                _judge(tally, target.truth, asked, found)
            else:
                tally.unjudged.append((asked, found))
        elif answer.status >= 500:
            said = answer.data.decode(errors="replace")
            tally.failures.append(Failure(answer.status, began, ended, said[:500], asked.phase))
        elif len(tally.refused_shown) < _SHOWN:
            tally.refused_shown.append(f"{asked.phase}: {answer.status} {answer.data[:300]!r}")


def _count(tally: Tally, asked: _Asked, status: int, seconds: float) -> None:
    tally.requests[asked.phase] += 1
    tally.instances += len(asked.rows)
    tally.statuses[str(status)] += 1
    tally.took_ms[asked.phase].append(1e3 * seconds)
    tally.late[asked.phase] += seconds > LATE_SECONDS


def _judge(tally: Tally, truth: Truth, asked: _Asked, answer: dict[str, Any]) -> None:
    version, reason, why = answer["version"], answer["reason"], answer.get("why")
    found = faults(answer, asked.rows, truth, asked.allowed)
    if asked.key and asked.allowed.versions is not None and why is None:
        first = tally.arms.setdefault((asked.epoch, asked.key), version)
        if first != version:
            found.append(f"{asked.key} had version {first}, and now {version}, while the route did not change")
    tally.wrong += bool(found)
    if found and len(tally.wrong_shown) < _SHOWN:
        tally.wrong_shown.append(f"{asked.phase}: {'; '.join(found[:3])}")
    tally.answers[f"{'fallback' if version is None else f'version {version}'}, {reason}"] += 1
    if why is not None:
        tally.instead[asked.phase, why] += 1
    for each in answer["predictions"]:
        tally.ids += bytes.fromhex(each["id"].replace("-", ""))
