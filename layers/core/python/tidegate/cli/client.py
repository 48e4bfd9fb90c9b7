"""The control and serving APIs as Python calls: signed, over kept connections, with bounded retries.

    client = Client.from_session(boto3.Session(profile_name="ml"), stage="dev")
    run = client.start_run("flight-delay", token="nightly-2026-01-05")["run"]
    client.predict("flight-delay", [{"carrier": "UA", "hour": 7}])

Methods return decoded JSON. Faults come as the errors the API meant (`InvalidInputError` with all faults,
`NotFoundError`, `ConflictError`, `ForbiddenError`, `UnavailableError`) and as `NotAllowedError` and `PlatformError`. A
client may be used by several threads at once.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from botocore.httpsession import get_cert_path
from urllib3.exceptions import (
    HTTPError,
    LocationParseError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from tidegate import __version__
from tidegate.cli.local_file import or_local
from tidegate.domain.evaluation.documents import REPORT
from tidegate.kernel import english, routes
from tidegate.kernel.errors import (
    ConflictError,
    Fault,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    RequestInvalidError,
    TidegateError,
    UnavailableError,
)
from tidegate.kernel.roles import Role
from tidegate.kernel.routes import MOST_ON_A_PAGE, Route

if TYPE_CHECKING:
    from types import TracebackType

    import boto3
    from botocore.credentials import Credentials
    from urllib3.connectionpool import ConnectionPool

SERVICE = "execute-api"
ATTEMPTS = 5
CONNECT_SECONDS = 5.0
READ_SECONDS = 35.0  # API Gateway gives up after 30
UPLOAD_READ_SECONDS = 300.0
LONGEST_PAUSE_SECONDS = 5.0
LONGEST_ASKED_PAUSE_SECONDS = 20  # by Retry-After; a signature is good for five minutes
ROLLOUT_SECONDS = 120.0  # until an accepted version's rollout has begun
LONGEST_FOLLOW_PAUSE_SECONDS = 10.0
OUTAGE_SECONDS = 60.0
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
_UNKNOWN_CALLER = frozenset(
    {"InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch", "UnrecognizedClientException"}
)


class NotAllowedError(TidegateError):
    """No credentials, credentials that AWS does not accept, or no permission for the call."""


class PlatformError(TidegateError):
    """Tidegate itself failed; `next_step` says where to look."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One signed HTTP API; `local` is one of a local cloud, whose users are taken by --as."""

    name: str
    url: str
    region: str
    local: bool = False


class Page(list[dict[str, Any]]):
    """Entries of a list. `next` leads to those behind them: give it as `after`. It is None at the end of the list."""

    next: str | None = None


class Client:
    """Both APIs of one stage. The addresses are looked up in SSM when they are first needed."""

    def __init__(
        self,
        credentials: "Credentials",
        region: str,
        find_url: Callable[[str], str],
        *,
        local: bool = False,
        connections: int = 16,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Use `from_session` unless the addresses are known; `find_url` gives one for "control" and "serving"."""
        self._credentials = credentials
        self._region = region
        self._find_url = find_url
        self._local = local
        self._connections = connections
        self._pause = pause

    @classmethod
    def from_session(
        cls,
        session: "boto3.Session",
        stage: str = "dev",
        *,
        endpoint_url: str | None = None,
        connections: int = 16,
    ) -> Self:
        """A client for the stage deployed in the session's account and region; `endpoint_url` is a local cloud's.

        Raises:
            NotAllowedError: the session has no credentials.
            InvalidInputError: the session has no region.
        """
        with aws_faults():
            credentials = session.get_credentials()
            if credentials is None:
                raise NoCredentialsError
            region = session.region_name
            if not region:
                raise NoRegionError

        def find_url(api: str) -> str:
            return _parameter(session, stage, f"{api}-url", endpoint_url)

        return cls(credentials, region, find_url, local=endpoint_url is not None, connections=connections)

    def _listed(
        self,
        route: str,
        kinds: Sequence[str],
        *names: str,
        limit: int | None,
        after: str | None = None,
        **more: str | None,
    ) -> list["Page"]:
        """What a route lists, page by page: all, or the first `limit`. `kinds` are its answers' lists, which share
        their pages; `more` are filters."""
        found = [Page() for _ in kinds]
        filters = {name: value for name, value in more.items() if value is not None}
        while True:
            left = MOST_ON_A_PAGE if limit is None else limit - sum(map(len, found))
            query = filters | {"limit": str(min(left, MOST_ON_A_PAGE))} | ({"after": after} if after else {})
            answer = self._control(route, *names, **query)
            after = answer.get("next")
            for kind, entries in zip(kinds, found, strict=True):
                entries.extend(answer[kind])
                entries.next = after
            if after is None or (limit is not None and sum(map(len, found)) >= limit):
                return found

    # Datasets

    def datasets(self, limit: int | None = None, after: str | None = None) -> Page:
        """By name: all, or the first `limit` (behind the token `after`)."""
        return self._listed("datasets.list_datasets", ["datasets"], limit=limit, after=after)[0]

    def dataset(self, name: str) -> dict[str, Any]:
        """What is said of one."""
        return dict(self._control("datasets.show_dataset", name)["dataset"])

    def describe_dataset(self, name: str, description: Mapping[str, Any]) -> dict[str, Any]:
        """Create or replace: origin, licence, owner, pii, outcome, time, missing, text, description.

        Raises:
            RequestInvalidError: with status 428, it protects the dataset less; `weaker` takes the paths of its faults.
        """
        return self._control("datasets.describe_dataset", name, body=description)

    def plan_uploads(self, name: str, files: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Where each file ({name, sha256, size}) goes: {url, headers, present}."""
        return list(self._control("datasets.plan_uploads", name, body={"files": list(files)})["files"])

    def upload(self, plan: Mapping[str, Any], open_file: Callable[[], IO[bytes]], size: int) -> None:
        """Send one file where `plan_uploads` said; `open_file` opens it."""
        headers = {**plan["headers"], "Content-Length": str(size)}
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=UPLOAD_READ_SECONDS)
        with open_file() as file:
            answer = self._ask("the bucket", "PUT", plan["url"], body=file, headers=headers, timeout=timeout)
        if answer.status not in {200, 204}:
            raise PlatformError(
                f"{plan['name']} was rejected by the bucket: HTTP {answer.status} {_s3_code(answer.data)}".rstrip(),
                next_step="check whether the file changed during the upload, then add it again",
            )

    def add_dataset_version(self, name: str, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Register uploaded files as a version: {version, status, changed, warnings}."""
        return self._control("datasets.add_version", name, body={"files": list(files)})

    def dataset_versions(self, name: str, limit: int | None = None, after: str | None = None) -> Page:
        """Newest first, without columns: all, or the first `limit`."""
        return self._listed("datasets.list_versions", ["versions"], name, limit=limit, after=after)[0]

    def dataset_version(self, name: str, version: str = "latest") -> dict[str, Any]:
        """One version with its schema and profile."""
        return dict(self._control("datasets.show_version", name, version)["version"])

    def exclusions(self, name: str, limit: int | None = None, after: str | None = None) -> Page:
        """Excluded periods, by start: all, or the first `limit`."""
        return self._listed("datasets.list_exclusions", ["exclusions"], name, limit=limit, after=after)[0]

    def exclude(self, name: str, start: str, end: str, reason: str) -> dict[str, Any]:
        """Exclude [start, end) from training and judging: {exclusion, changed}."""
        body = {"from": start, "to": end, "reason": reason}
        return self._control("datasets.exclude_period", name, body=body)

    # Models

    def models(self, limit: int | None = None, after: str | None = None) -> Page:
        """By name: all, or the first `limit`."""
        return self._listed("models.list_models", ["models"], limit=limit, after=after)[0]

    def model(self, name: str) -> dict[str, Any]:
        """{model, route, serves, rollback_to, under_way: {rollout, lease}}."""
        return self._control("models.show_model", name)

    def apply_model(self, name: str, text: str, *, only_checked: bool = False) -> dict[str, Any]:
        """Make a spec (YAML or JSON text) current: {digest, changed, checked_against, warnings}. One that is
        `only_checked` changes nothing; its faults are raised all the same."""
        return self._control("models.apply_model", name, body=text, **({"check": "true"} if only_checked else {}))

    def spec(self, name: str, digest: str | None = None) -> dict[str, Any]:
        """{digest, spec}: the current one, or that of the digest."""
        query = {"digest": digest} if digest else {}
        return self._control("models.show_spec", name, **query)

    def start_run(self, model: str, token: str | None = None, reason: str | None = None) -> dict[str, Any]:
        """Start a run once for each token: {run, repeated}. Without a token one is made up for this call."""
        token = token or f"once-{os.urandom(12).hex()}"
        body = {"token": token} | ({"reason": reason} if reason else {})
        with _once(token, f"tidegate train {model}"):
            return self._control("runs.start_run", model, body=body)

    def runs(
        self, model: str, limit: int | None = None, after: str | None = None, *, status: str | None = None
    ) -> Page:
        """Newest first: all, or the first `limit`; with a status those that have it."""
        return self._listed("runs.list_runs", ["runs"], model, limit=limit, after=after, status=status)[0]

    def run(self, model: str, run_id: str) -> dict[str, Any]:
        """One run."""
        return dict(self._control("runs.show_run", model, run_id)["run"])

    def reproduce(self, model: str, number: int, token: str) -> dict[str, Any]:
        """Start making a version again, once for each token: {run, repeated}."""
        with _once(token, f"tidegate reproduce {model} {number}"):
            return self._control("runs.start_reproduction", model, str(number), body={"token": token})

    def reproduction(self, model: str, run_id: str) -> dict[str, Any]:
        """What came of a run that made a version again: {run, reproduction}."""
        return self._control("runs.show_reproduction", model, run_id)

    def versions(
        self, model: str, limit: int | None = None, after: str | None = None, *, status: str | None = None
    ) -> Page:
        """Newest first: all, or the first `limit`; with a status those that have it."""
        return self._listed("versions.list_versions", ["versions"], model, limit=limit, after=after, status=status)[0]

    def version(self, model: str, number: int) -> dict[str, Any]:
        """One version."""
        return dict(self._control("versions.show_version", model, str(number))["version"])

    def report(self, model: str, number: int) -> dict[str, Any]:
        """The gate's report of a version."""
        return dict(REPORT.current(self._control("versions.read_report", model, str(number))))

    def page(self, model: str, number: int) -> str:
        """The page of a version, as HTML."""
        return str(self._control("versions.read_page", model, str(number))["html"])

    # On the way in

    def rollouts(
        self, model: str, limit: int | None = None, after: str | None = None, *, status: str | None = None
    ) -> Page:
        """In short, newest first: all, or the first `limit`; with a status (open, ended) those that have it."""
        return self._listed("rollouts.list_rollouts", ["rollouts"], model, limit=limit, after=after, status=status)[0]

    def rollout(self, model: str, run_id: str) -> dict[str, Any]:
        """Where the version of a run is on its way in."""
        return dict(self._control("rollouts.show_rollout", model, run_id)["rollout"])

    def decide(self, version: Mapping[str, Any], decision: str, reason: str) -> dict[str, Any]:
        """Approve or reject (`decision`: approve, reject) a version as it was shown: {changed, rollout}."""
        body = {name: version[name] for name in ("artifact_sha256", "report_sha256")}
        return self._control(
            "versions.decide",
            version["model"],
            str(version["number"]),
            body={"decision": decision, "reason": reason, **body},
        )

    def end_rollout(self, model: str, reason: str) -> dict[str, Any]:
        """End the rollout that is under way, or the run that has none yet: {changed, route, serves, entry, rollout,
        run}."""
        return self._control("rollouts.end_rollout", model, body={"reason": reason})

    # What is served

    def acts(
        self, model: str, limit: int | None = None, after: str | None = None, **query: str | None
    ) -> dict[str, Page]:
        """{entries: changes of what is served, batches: what was scored in files}, oldest first: all, or the first
        `limit` of both together. The query may have order (oldest, newest), since and until (ISO 8601)."""
        kinds = ("entries", "batches")
        found = self._listed("served.show_ledger", kinds, model, limit=limit, after=after, **query)
        return dict(zip(kinds, found, strict=True))

    def ledger(self, model: str) -> Page:
        """Every change of what is served, oldest first."""
        return self.acts(model)["entries"]

    def captures(self, model: str, hour: str, limit: int | None = None, after: str | None = None) -> Page:
        """Captured predictions of an hour such as 2026-01-05-12 (UTC), newest first: all, or the first `limit`."""
        return self._listed("captures.list_captures", ["captures"], model, limit=limit, after=after, hour=hour)[0]

    def explain(self, model: str, prediction_id: str) -> dict[str, Any]:
        """Why one prediction of a model came out as it did."""
        return self._control("predictions.explain", model, prediction_id)

    def served_at(self, model: str, at: str) -> dict[str, Any]:
        """What served at a moment (ISO 8601): {at, served, entry}."""
        return self._control("served.show_ledger", model, at=at)

    def verify_ledger(
        self, model: str, *, on_look: Callable[[dict[str, Any]], None] = lambda _: None
    ) -> dict[str, Any]:
        """Whether the ledger's chain holds: {intact, entries, head, break, acknowledged}, and under `batches` the same
        of theirs. The server verifies section by section; `on_look` sees how far it is."""
        found = self._control("served.verify_ledger", model)
        acknowledged = found["acknowledged"]
        while found.get("next"):
            on_look(found)
            found = self._control("served.verify_ledger", model, after=found["next"])
            acknowledged += found["acknowledged"]
        return found | {"acknowledged": acknowledged}

    def acknowledge_ledger(self, model: str, reason: str) -> dict[str, Any]:
        """Record that you looked into what breaks the ledger: {changed, route, serves, entry}."""
        return self._control("served.acknowledge_ledger", model, body={"reason": reason})

    def rollback(self, model: str, to: int, reason: str) -> dict[str, Any]:
        """Let a version that has served answer everything again: {changed, route, serves, entry}."""
        return self._control("served.roll_back", model, body={"to": to, "reason": reason})

    def kill(self, model: str, reason: str) -> dict[str, Any]:
        """Let the fallback answer everything: {changed, route, serves, entry}."""
        return self._control("served.kill", model, body={"reason": reason})

    def resume(self, model: str, reason: str) -> dict[str, Any]:
        """Let the champion of a killed model answer again: {changed, route, serves, entry}."""
        return self._control("served.resume", model, body={"reason": reason})

    def split(self, model: str, to: int, weight_bp: int, reason: str) -> dict[str, Any]:
        """Give a version a fixed share, in basis points: {changed, route, serves, entry}."""
        body = {"to": to, "weight_bp": weight_bp, "reason": reason}
        return self._control("served.split", model, body=body)

    def end_split(self, model: str, reason: str) -> dict[str, Any]:
        """Let the champion answer alone again: {changed, route, serves, entry}."""
        return self._control("served.split", model, body={"end": True, "reason": reason})

    def read_split(self, model: str) -> dict[str, Any]:
        """Which version of a split is better, by metric and by value: {better, sentence, findings, ...}."""
        readout: dict[str, Any] = self._control("served.read_split", model)["readout"]
        return readout

    # Monitoring

    def models_health(
        self,
        limit: int | None = None,
        after: str | None = None,
        *,
        owner: str | None = None,
        health: str | None = None,
    ) -> Page:
        """How models stand, in short, by name: all, or the first `limit`; of one owner, or with one health."""
        return self._listed("health.list_health", ["health"], limit=limit, after=after, owner=owner, health=health)[0]

    def model_health(self, model: str) -> dict[str, Any]:
        """{model, health, verdicts, next_step}: how one stands, and all that was found."""
        return self._control("health.show_health", model)

    def acknowledge(self, model: str, reason: str) -> dict[str, Any]:
        """Say that somebody has seen to a model that needs redesign: {changed, health}."""
        return self._control("health.acknowledge", model, body={"reason": reason})

    # Serving

    def predict(self, model: str, instances: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Score instances; nothing changes by it, so a lost answer is asked for again."""
        return self._serving("predict", model, body={"instances": list(instances)})

    def feedback(self, model: str, items: Sequence[Mapping[str, Any]], *, correct: bool = False) -> dict[str, Any]:
        """Report what became of predictions (id, outcome, and time unless it is now): {accepted}, and how many of them
        are `of_no_class` of the model, if any. At most 500 items; all of them are kept or a fault is raised, and then
        reporting all of them again does no harm. To `correct` what others reported is the right of operators."""
        return self._serving("corrections" if correct else "feedback", model, body={"feedback": list(items)})

    def served(self, model: str) -> dict[str, Any]:
        """What the serving API says of a model: version and contract."""
        return self._serving("describe", model)

    def health(self) -> dict[str, Any]:
        """The serving API's health."""
        return self._serving("health")

    # Batches

    def start_batch(self, model: str, input_: str, output: str, *, ids: Sequence[str] | None = None) -> dict[str, Any]:
        """Score all rows of an object or a folder in S3 by the version that serves, or go on with it: {batch, resumed}.
        The same request may be sent any number of times."""
        body = {"input": input_, "output": output} | ({} if ids is None else {"ids": list(ids)})
        return self._control("batches.start_batch", model, body=body)

    def batch(self, model: str, output: str) -> dict[str, Any]:
        """The batch that owns an output: its status, what is planned and done, and its totals at the end."""
        return dict(self._control("batches.show_batch", model, output=output)["batch"])

    def wait_for_batch(
        self,
        model: str,
        output: str,
        *,
        on_look: Callable[[dict[str, Any]], None] = lambda _: None,
        timeout_seconds: float = 86_400,
    ) -> dict[str, Any]:
        """Look at a batch until it is over; `on_look` sees each look.

        Raises:
            UnavailableError: it is not over after `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds
        for pause in _pauses(LONGEST_FOLLOW_PAUSE_SECONDS):
            batch = self._steadily(partial(self.batch, model, output))
            on_look(batch)
            if batch["status"] not in {"requested", "running"}:
                return batch
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"batch {batch['batch_id']} of {model} is still running after {timeout_seconds:.0f} s",
                    next_step="it continues; run the same command to follow it again",
                )
            self._pause(pause)
        raise AssertionError("pauses never end")

    # Waiting

    def wait_for_dataset(self, name: str, version: str, *, timeout_seconds: float = 900) -> dict[str, Any]:
        """Wait until a dataset version is ready or failed.

        Raises:
            UnavailableError: it is still being registered after `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds
        for pause in _pauses():
            found = self._steadily(partial(self.dataset_version, name, version))
            if found["status"] != "registering":
                return found
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{name} {version} is still being registered after {timeout_seconds:.0f} s",
                    next_step=f"it continues; to look again: tidegate data show {name} {version}",
                )
            self._pause(pause)
        raise AssertionError("pauses never end")

    def wait_for_run(
        self,
        model: str,
        run_id: str,
        *,
        on_look: Callable[[dict[str, Any]], None] = lambda _: None,
        timeout_seconds: float = 3_600,
    ) -> dict[str, Any]:
        """Look at a run until it is over; `on_look` sees each look.

        An accepted run is over when the rollout of its version has begun: it comes with it as `rollout`, which is None
        when it has not begun within `ROLLOUT_SECONDS`.

        Raises:
            UnavailableError: it is not over after `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds
        begun_by: float | None = None
        for pause in _pauses():
            run = self._steadily(partial(self.run, model, run_id))
            on_look(run)
            now = time.monotonic()
            if run["status"] in {"rejected", "failed", "reproduced", "differs"}:
                return run
            if run["status"] == "accepted":
                begun_by = begun_by or now + ROLLOUT_SECONDS
                run["rollout"] = self._begun(model, run_id)
                if run["rollout"] or now > begun_by:
                    on_look(run)
                    return run
            elif now > deadline:
                raise UnavailableError(
                    f"run {run_id} of {model} is {run['status']} ({run['stage']}) after {timeout_seconds:.0f} s",
                    next_step=f"it continues; to look again: tidegate runs {model} {run_id}",
                )
            self._pause(pause)
        raise AssertionError("pauses never end")

    def follow_rollout(
        self, model: str, run_id: str, *, until_promoted: bool = False, on_look: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Look at a rollout until it is over, or until its version is promoted; `on_look` sees each look."""
        for pause in _pauses(LONGEST_FOLLOW_PAUSE_SECONDS):
            rollout = self._steadily(partial(self.rollout, model, run_id))
            on_look(rollout)
            if rollout["ended_at"] or (until_promoted and rollout["promoted_at"]):
                return rollout
            self._pause(pause)
        raise AssertionError("pauses never end")

    def _begun(self, model: str, run_id: str) -> dict[str, Any] | None:
        try:
            return self._steadily(partial(self.rollout, model, run_id))
        except NotFoundError:
            return None

    def _steadily(self, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Ask, also through an outage: who waits for an hour should not fail by a minute without a network."""
        began = time.monotonic()
        while True:
            try:
                return ask()
            except UnavailableError:
                if time.monotonic() - began > OUTAGE_SECONDS:
                    raise
                self._pause(1.0)

    # The wire

    def close(self) -> None:
        """Let go of the kept connections; the next call opens new ones."""
        self._direct.clear()
        if "_proxied" in self.__dict__:
            self._proxied.clear()

    @cached_property
    def control_endpoint(self) -> Endpoint:
        """Where the control API is."""
        return Endpoint("control API", self._find_url("control").rstrip("/"), self._region, self._local)

    @cached_property
    def serving_endpoint(self) -> Endpoint:
        """Where the serving API is."""
        return Endpoint("serving API", self._find_url("serving").rstrip("/"), self._region, self._local)

    def _control(self, route: str, *names: str, body: object = None, **query: str) -> dict[str, Any]:
        return self._call(self.control_endpoint, routes.CONTROL[route], names, query, body)

    def _serving(self, route: str, *names: str, body: object = None) -> dict[str, Any]:
        try:
            return self._call(self.serving_endpoint, routes.SERVING[route], names, {}, body)
        except NotFoundError:
            for model in names:  # the control API knows what there is
                with suppress(NotAllowedError, ForbiddenError, UnavailableError, PlatformError):
                    self.model(model)
            raise

    def _call(
        self, endpoint: Endpoint, route: Route, names: Sequence[str], query: Mapping[str, str], body: object
    ) -> dict[str, Any]:
        """One signed call; text is sent as YAML, anything else as JSON. Every call of Tidegate may be repeated."""
        method, url = route.method, endpoint.url + route.address(*names, **query)
        headers = {"Accept": "application/json", "User-Agent": f"tidegate/{__version__}"}
        data: bytes | None = None
        if isinstance(body, str):
            data, headers["Content-Type"] = body.encode(), "text/yaml; charset=utf-8"
        elif body is not None:
            data, headers["Content-Type"] = _json(body), "application/json"

        with aws_faults():
            request = AWSRequest(method, url, headers=headers, data=data)
            # All attempts together last less than the five minutes that a signature is good for.
            SigV4Auth(self._credentials.get_frozen_credentials(), SERVICE, endpoint.region).add_auth(request)
        answer = self._ask(f"the {endpoint.name}", method, url, body=data, headers=dict(request.headers.items()))
        return _decoded(answer, endpoint, [role for role in Role if role in route.roles])

    def _ask(self, who: str, method: str, url: str, **request: Any) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool(url).request(method, url, retries=_RETRIES, redirect=False, **request)
        except (HTTPError, LocationParseError) as error:
            match error.reason if isinstance(error, MaxRetryError) else error:
                case SSLError() as reason:
                    why = f"TLS failed: {reason}"
                case HTTPTimeoutError():
                    why = "it did not answer in time"
                case NewConnectionError() | ProtocolError():
                    why = "it does not accept connections"
                case reason:
                    why = str(reason)
            parts = urlsplit(url)
            raise UnavailableError(
                f"{who} at {parts.scheme}://{parts.netloc} cannot be reached: {why}",
                next_step="check the network and the region; start a local cloud with scripts/local up",
            ) from error

    def _pool(self, url: str) -> urllib3.PoolManager:
        return self._proxied if _proxy_of(url) else self._direct

    @cached_property
    def _direct(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(maxsize=self._connections, timeout=_TIMEOUT, ca_certs=_ca_certs())

    @cached_property
    def _proxied(self) -> urllib3.PoolManager:
        proxy = getproxies()["https"]
        return urllib3.ProxyManager(proxy, maxsize=self._connections, timeout=_TIMEOUT, ca_certs=_ca_certs())


class _Retry(urllib3.Retry):
    """Asks again while the connection fails or the answer is 429 or 503. A call that got no answer in time is not
    repeated: whoever waited for half a minute gets an answer."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: "ConnectionPool | None" = None,
        _stacktrace: "TracebackType | None" = None,
    ) -> Self:
        if isinstance(error, HTTPTimeoutError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


_RETRIES = _Retry(
    total=ATTEMPTS - 1,
    other=0,  # TLS
    redirect=0,
    allowed_methods=None,  # every call of Tidegate may be repeated
    status_forcelist={429, 503},
    raise_on_redirect=False,
    raise_on_status=False,
    backoff_factor=0.5,
    backoff_jitter=0.2,
    backoff_max=LONGEST_PAUSE_SECONDS,
    retry_after_max=LONGEST_ASKED_PAUSE_SECONDS,
)
_TIMEOUT = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)


@contextmanager
def _once(token: str, command: str) -> Iterator[None]:
    """Where nobody knows whether a request took effect, the next step names the command that repeats it."""
    try:
        yield
    except (UnavailableError, PlatformError) as error:
        if token not in error.next_step:
            again = f"send it again with its idempotency token, and one run starts: {command} --token {token}"
            error.next_step = f"{error.next_step}; {again}" if error.next_step else again
        raise


def _ca_certs() -> str:
    return os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE") or str(get_cert_path(verify=True))


def _proxy_of(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" and "https" in getproxies() and not proxy_bypass(parts.hostname or "")


def _json(body: object) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except ValueError as error:
        raise InvalidInputError(
            f"this cannot be sent as JSON: {error}", next_step="use null for a missing value"
        ) from None


def _pauses(longest: float = 2.0) -> Iterator[float]:
    pause = 0.3
    while True:
        yield pause
        pause = min(pause * 1.15, longest)


def _decoded(answer: urllib3.BaseHTTPResponse, endpoint: Endpoint, wanted: Sequence[Role]) -> dict[str, Any]:
    try:
        document = json.loads(answer.data)
    except ValueError:
        document = None
    if 200 <= answer.status < 300 and isinstance(document, dict):
        return document
    wait = answer.headers.get("Retry-After", "")
    raise _fault(answer.status, document if isinstance(document, dict) else {}, endpoint, wanted, wait)


def _fault(  # noqa: PLR0911  one for each status
    status: int, problem: Mapping[str, Any], endpoint: Endpoint, wanted: Sequence[Role], wait: str
) -> TidegateError:
    """The error that an answer means. API Gateway's own refusals say `message`, ours say `detail`; `wait` is the pause
    that the server asks for."""
    ours = "detail" in problem
    said = str(problem.get("detail") or problem.get("message") or problem.get("Message") or f"HTTP {status}")
    next_step = str(problem.get("next_step") or "")
    match status:
        case 403 if ours:
            return ForbiddenError(said, next_step=next_step)
        case 401 | 403:
            return _not_allowed(said, endpoint, wanted)
        case 404 if not ours:
            return PlatformError(
                f"the {endpoint.name} at {endpoint.url} does not have this call",
                next_step="the deployed stack is older than this command; deploy it again",
            )
        case 404:
            return NotFoundError(said, next_step=next_step)
        case 409:
            return ConflictError(said, next_step=next_step)
        case 429 | 503:
            again = f"try again in {english.count(int(wait), 'second')}" if wait.isdigit() else "try again later"
            return UnavailableError(f"the {endpoint.name} is busy: {said}", next_step=next_step or again)
        case _ if 400 <= status < 500:
            faults = [_read_fault(entry) for entry in problem.get("errors", [])]
            return RequestInvalidError(said, faults, status=status, next_step=next_step)
        case _:
            request = str(problem.get("instance", "")).removeprefix("urn:uuid:")
            where = f"the log of the {endpoint.name}'s function"
            advice = next_step or (f"look for request {request} in {where}" if request else f"look at {where}")
            return PlatformError(f"the {endpoint.name} failed: {said}", next_step=advice)


def _read_fault(entry: Mapping[str, Any]) -> Fault:
    problem = str(entry.get("problem") or entry.get("message") or entry)
    return Fault(str(entry.get("path", "")), problem, tuple(str(choice) for choice in entry.get("allowed", ())))


def _not_allowed(said: str, endpoint: Endpoint, wanted: Sequence[Role]) -> NotAllowedError:
    lower = said.lower()
    if "expired" in lower:
        return NotAllowedError(f"the credentials have expired: {said}", next_step="renew them (aws sso login)")
    if "token" in lower or "signature" in lower or "credential" in lower:
        return NotAllowedError(
            f"the {endpoint.name} does not accept the signature: {said}",
            next_step="check the profile, the region and the clock of this machine",
        )
    if not wanted:
        next_step = f"ask for execute-api:Invoke on {endpoint.url}, or use another --profile"
        return NotAllowedError(f"access denied by the {endpoint.name}: {said}", next_step=next_step)
    parameters = " or ".join(f"/tidegate/<stage>/{role}-policy" for role in wanted)
    ask = f"ask for its policy (ARN in SSM parameter {parameters}), or use another --profile"
    other = f"be somebody who may: {', '.join(f'--as {role}' for role in wanted)}, or no --as, which is developer"
    return NotAllowedError(
        f"access denied by the {endpoint.name}: {said}; this needs the role {' or '.join(wanted)}",
        next_step=other if endpoint.local else ask,
    )


def _s3_code(body: bytes) -> str:
    start, end = body.find(b"<Code>"), body.find(b"</Code>")
    return body[start + 6 : end].decode(errors="replace") if 0 <= start < end else ""


def _parameter(session: "boto3.Session", stage: str, name: str, endpoint_url: str | None) -> str:
    config = Config(
        connect_timeout=CONNECT_SECONDS, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3}
    )
    full = f"/tidegate/{stage}/{name}"
    local = endpoint_url is not None
    with aws_faults(local=local), closing(session.client("ssm", config=config, endpoint_url=endpoint_url)) as ssm:
        try:
            return str(ssm.get_parameter(Name=full)["Parameter"]["Value"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "ParameterNotFound":
                raise
            other = "serving-url" if name == "control-url" else "control-url"
            others = _exists(ssm, f"/tidegate/{stage}/{other}")
            raise lacks(stage, session.region_name, full, local=local, others=others) from None


def _exists(ssm: Any, parameter: str) -> bool:
    """Whether a parameter is there; False also where the caller may not ask."""
    try:
        ssm.get_parameter(Name=parameter)
    except ClientError:
        return False
    return True


def lacks(stage: str, region: str, parameter: str, *, local: bool, others: bool) -> NotFoundError:
    """The fault that a parameter of a stage is not there; `others`: other parameters of the stage are."""
    state = "incomplete" if others else "not deployed"
    advice = f"deploy it {'again ' if others else ''}(npx cdk deploy --all -c stage={stage})"
    elsewhere = f"{or_local()}; on AWS give another --stage, --region or --profile"
    if local:
        advice = "start the local cloud again: scripts/local down, then scripts/local up"
        elsewhere = "give another --stage"
    return NotFoundError(
        f"stage {stage!r} is {state} in {region}: there is no parameter {parameter}",
        next_step=advice if others else f"{elsewhere}, or {advice}",
    )


@contextmanager
def aws_faults(*, local: bool = False) -> Iterator[None]:
    """Turn botocore's faults into ours, each with a next step."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise NotAllowedError(
            "there are no AWS credentials" if isinstance(error, NoCredentialsError) else f"{error}".rstrip("."),
            next_step=f"{or_local()}; for AWS give a --profile, set AWS_PROFILE, or run `aws configure`",
        ) from None
    except NoRegionError:
        raise InvalidInputError(
            "there is no AWS region",
            next_step=f"{or_local()}; for AWS give --region, set AWS_REGION, or add one to the profile",
        ) from None
    except ClientError as error:
        raise _aws_refusal(error) from None
    except BotoCoreError as error:
        kind = type(error).__name__
        if "SSO" in kind or "Token" in kind or "Credential" in kind:
            raise NotAllowedError(f"{error}".rstrip("."), next_step="renew the credentials (aws sso login)") from None
        if kind == "ProfileNotFound":
            raise InvalidInputError(f"{error}".rstrip("."), next_step="see `aws configure list-profiles`") from None
        if kind in {"InvalidRegionError", "InvalidEndpointConfigurationError"}:
            raise InvalidInputError(f"{error}".rstrip("."), next_step="give another --region") from None
        next_step = "start it: scripts/local up" if local else "check the network and the --region"
        what = "the local cloud" if local else "AWS"
        raise UnavailableError(f"{what} cannot be reached: {error}".rstrip("."), next_step=next_step) from None


def _aws_refusal(error: ClientError) -> TidegateError:
    code = error.response.get("Error", {}).get("Code", "")
    said = error.response.get("Error", {}).get("Message", "") or code
    if code in _EXPIRED:
        return NotAllowedError("the AWS credentials have expired", next_step="renew them (aws sso login)")
    if code in _UNKNOWN_CALLER:
        return NotAllowedError(f"AWS does not accept the credentials: {said}", next_step="check the --profile")
    if "AccessDenied" in code or code == "UnauthorizedOperation":
        return NotAllowedError(
            f"access denied to the SSM parameters with the APIs' addresses: {said}",
            next_step="ask for ssm:GetParameter on /tidegate/*, or use another --profile",
        )
    return UnavailableError(f"AWS answered {code}: {said}", next_step="try again later")
