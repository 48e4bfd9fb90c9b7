"""The control API: datasets, models, runs, versions, rollouts and what is served, for people and pipelines.

An HTTP API (payload 2.0) behind IAM: `tidegate.kernel.roles` says who may call what.

Every answer is JSON; every refusal is `application/problem+json` with all faults in `errors` and a `next_step`. Each
call may be repeated: the same wish sent twice is granted once, so a lost answer costs nothing.
"""

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.utilities.typing import LambdaContext

from tidegate.aws.batch import S3BatchObjects, StepFunctionsBatches
from tidegate.aws.batch_ledger import DynamoBatchLedger
from tidegate.aws.captures import S3CaptureReader
from tidegate.aws.clock import SystemClock
from tidegate.aws.dispatch import LambdaDispatcher
from tidegate.aws.lookup import S3CaptureLookup
from tidegate.aws.objects import S3Artifacts, S3DatasetFiles
from tidegate.aws.registry import DynamoCatalog, DynamoRegistry
from tidegate.aws.rollouts import DynamoRollouts
from tidegate.aws.watch import DynamoHealthRecords, S3Hours, S3Verdicts
from tidegate.aws.workflow import StepFunctionsWorkflow
from tidegate.kernel.errors import (
    ArtifactRejectedError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    LedgerBrokenError,
    NewerDocumentError,
    NotFoundError,
    RequestInvalidError,
    TidegateError,
    UnavailableError,
)
from tidegate.kernel.settings import ControlSettings
from tidegate.ports.batch import BatchLedger, BatchObjects, BatchRuns
from tidegate.ports.data import Catalog, DatasetFiles
from tidegate.ports.monitoring import HealthRecords, Hours, Verdicts
from tidegate.ports.platform import Clock, Dispatcher
from tidegate.ports.registry import Artifacts, Models, Routes, Runs, Versions, Workflow
from tidegate.ports.rollout import Rollouts
from tidegate.ports.serving import CaptureLookup, CaptureReader, Scorer, ScorerLoader
from tidegate.steps.batch import batch
from tidegate.steps.data import datasets
from tidegate.steps.evaluation import reproductions
from tidegate.steps.monitoring import health
from tidegate.steps.registry import models, runs
from tidegate.steps.requests import Document
from tidegate.steps.rollout import approvals, routes
from tidegate.steps.serving import captures
from tidegate.telemetry import Meter, logger

RETRY_AFTER_SECONDS = 2
_NAMES = {  # what a name in a path can be; anything else names nothing
    "dataset": re.compile(r"[a-z][a-z0-9-]{0,62}"),
    "model": re.compile(r"[a-z][a-z0-9-]{0,62}"),
    "prediction": re.compile(r".+"),  # its step says what is wrong with one
    "run": re.compile(r"[A-Za-z0-9-]{1,80}"),
    "version": re.compile(r"[A-Za-z0-9]{1,64}"),
}


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as this function sees it."""

    catalog: Catalog
    files: DatasetFiles
    models: Models
    runs: Runs
    versions: Versions
    routes: Routes
    rollouts: Rollouts
    artifacts: Artifacts
    captures: CaptureReader
    lookup: CaptureLookup
    hours: Hours
    load: ScorerLoader
    health_records: HealthRecords
    verdicts: Verdicts
    workflow: Workflow
    dispatcher: Dispatcher
    batch_objects: BatchObjects
    batch_runs: BatchRuns
    batch_ledger: BatchLedger
    batch_places: tuple[str, ...]
    clock: Clock
    chance: Callable[[], str]
    meter: Meter


def _load(onnx: bytes) -> Scorer:
    """The runtime is imported by the first call that needs it: no other has to wait for it."""
    from tidegate.ml.scoring import load

    return load(onnx)


@cache
def wire() -> Ports:
    """Adapters on AWS, made at the first request and kept."""
    settings = ControlSettings.from_env()
    registry = DynamoRegistry(settings.registry_table)
    return Ports(
        catalog=DynamoCatalog(settings.registry_table),
        files=S3DatasetFiles(settings.data_bucket),
        models=registry,
        runs=registry,
        versions=registry,
        routes=registry,
        rollouts=DynamoRollouts(settings.registry_table),
        artifacts=S3Artifacts(settings.artifacts_bucket),
        captures=S3CaptureReader(settings.captures_bucket),
        lookup=S3CaptureLookup(settings.captures_bucket),
        hours=S3Hours(settings.captures_bucket),
        load=_load,
        health_records=DynamoHealthRecords(settings.registry_table),
        verdicts=S3Verdicts(settings.captures_bucket),
        workflow=StepFunctionsWorkflow(settings.release_state_machine),
        dispatcher=LambdaDispatcher(settings.catalog_function),
        batch_objects=S3BatchObjects(),
        batch_runs=StepFunctionsBatches(settings.batch_state_machine),
        batch_ledger=DynamoBatchLedger(settings.registry_table),
        batch_places=settings.places,
        clock=SystemClock(),
        chance=lambda: secrets.token_hex(6),
        meter=Meter("control", stage=settings.stage),
    )


@dataclass(frozen=True, slots=True)
class Call:
    """One request: who asks, the names in its path, its query and its body as text."""

    actor: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    text: str

    @property
    def body(self) -> object:
        """The decoded JSON body; raises RequestInvalidError (400)."""
        try:
            return json.loads(self.text or "null")
        except (ValueError, RecursionError) as error:
            raise RequestInvalidError(f"the body is not valid JSON: {error}", status=HTTPStatus.BAD_REQUEST) from None


Answer = tuple[HTTPStatus, dict[str, Any] | bytes]


def _list_datasets(call: Call, at: Ports) -> Answer:
    return HTTPStatus.OK, datasets.list_datasets(call.query.get("after"), catalog=at.catalog)


def _show_dataset(call: Call, at: Ports) -> Answer:
    return HTTPStatus.OK, datasets.show_dataset(call.path["dataset"], catalog=at.catalog)


def _describe_dataset(call: Call, at: Ports) -> Answer:
    wish = datasets.DescribeDataset.read(call.body)
    answer = datasets.describe_dataset(call.path["dataset"], wish, actor=call.actor, catalog=at.catalog, clock=at.clock)
    return HTTPStatus.CREATED if answer["created"] else HTTPStatus.OK, answer


def _plan_uploads(call: Call, at: Ports) -> Answer:
    wish = datasets.FileList.read(call.body)
    return HTTPStatus.OK, datasets.plan_uploads(call.path["dataset"], wish, catalog=at.catalog, files=at.files)


def _add_dataset_version(call: Call, at: Ports) -> Answer:
    answer = datasets.add_version(
        call.path["dataset"],
        datasets.FileList.read(call.body),
        actor=call.actor,
        catalog=at.catalog,
        files=at.files,
        dispatcher=at.dispatcher,
        clock=at.clock,
    )
    return HTTPStatus.ACCEPTED if answer["changed"] else HTTPStatus.OK, answer


def _list_dataset_versions(call: Call, at: Ports) -> Answer:
    return HTTPStatus.OK, datasets.list_versions(call.path["dataset"], catalog=at.catalog)


def _show_dataset_version(call: Call, at: Ports) -> Answer:
    return HTTPStatus.OK, datasets.show_version(call.path["dataset"], call.path["version"], catalog=at.catalog)


def _list_exclusions(call: Call, at: Ports) -> Answer:
    return HTTPStatus.OK, datasets.list_exclusions(call.path["dataset"], catalog=at.catalog)


def _exclude_period(call: Call, at: Ports) -> Answer:
    wish = datasets.ExcludePeriod.read(call.body)
    answer = datasets.exclude_period(call.path["dataset"], wish, actor=call.actor, catalog=at.catalog, clock=at.clock)
    return HTTPStatus.CREATED if answer["changed"] else HTTPStatus.OK, answer


def _list_models(call: Call, at: Ports) -> Answer:
    return HTTPStatus.OK, models.list_models(call.query.get("after"), models=at.models)


def _show_model(call: Call, at: Ports) -> Answer:
    answer = models.show_model(
        call.path["model"], models=at.models, routes=at.routes, rollouts=at.rollouts, clock=at.clock
    )
    return HTTPStatus.OK, answer


def _apply_model(call: Call, at: Ports) -> Answer:
    return HTTPStatus.OK, models.apply_model(
        call.path["model"], call.text, actor=call.actor, models=at.models, catalog=at.catalog, clock=at.clock
    )


def _show_spec(call: Call, at: Ports) -> Answer:
    return HTTPStatus.OK, models.show_spec(call.path["model"], call.query.get("digest"), models=at.models)


def _list_runs(call: Call, at: Ports) -> Answer:
    answer = runs.list_runs(call.path["model"], call.query.get("limit"), models=at.models, runs=at.runs)
    return HTTPStatus.OK, answer


def _start_run(call: Call, at: Ports) -> Answer:
    answer = runs.start_run(
        call.path["model"],
        runs.StartRun.read(call.body if call.text else {}),
        actor=call.actor,
        models=at.models,
        catalog=at.catalog,
        runs=at.runs,
        workflow=at.workflow,
        clock=at.clock,
        chance=at.chance,
    )
    return HTTPStatus.OK if answer["repeated"] else HTTPStatus.ACCEPTED, answer


def _show_run(call: Call, at: Ports) -> Answer:
    return HTTPStatus.OK, runs.show_run(call.path["model"], call.path["run"], runs=at.runs)


def _start_reproduction(call: Call, at: Ports) -> Answer:
    answer = reproductions.start_reproduction(
        call.path["model"],
        call.path["version"],
        reproductions.StartReproduction.read(call.body if call.text else {}),
        actor=call.actor,
        versions=at.versions,
        runs=at.runs,
        workflow=at.workflow,
        clock=at.clock,
        chance=at.chance,
    )
    return HTTPStatus.OK if answer["repeated"] else HTTPStatus.ACCEPTED, answer


def _show_reproduction(call: Call, at: Ports) -> Answer:
    model, run = call.path["model"], call.path["run"]
    return HTTPStatus.OK, reproductions.show_reproduction(model, run, runs=at.runs, artifacts=at.artifacts)


def _list_versions(call: Call, at: Ports) -> Answer:
    return HTTPStatus.OK, models.list_versions(call.path["model"], models=at.models, versions=at.versions)


def _show_version(call: Call, at: Ports) -> Answer:
    return HTTPStatus.OK, models.show_version(call.path["model"], call.path["version"], versions=at.versions)


def _read_report(call: Call, at: Ports) -> Answer:
    model, version = call.path["model"], call.path["version"]
    return HTTPStatus.OK, models.read_report(model, version, versions=at.versions, artifacts=at.artifacts)


def _read_page(call: Call, at: Ports) -> Answer:
    model, version = call.path["model"], call.path["version"]
    return HTTPStatus.OK, models.read_page(model, version, versions=at.versions, artifacts=at.artifacts)


def _decide(call: Call, at: Ports) -> Answer:
    answer = approvals.decide(
        call.path["model"],
        call.path["version"],
        approvals.Decide.read(call.body),
        actor=call.actor,
        versions=at.versions,
        rollouts=at.rollouts,
        routes=at.routes,
        artifacts=at.artifacts,
        workflow=at.workflow,
        clock=at.clock,
    )
    return HTTPStatus.OK, answer


def _list_rollouts(call: Call, at: Ports) -> Answer:
    model = call.path["model"]
    answer = approvals.list_rollouts(model, models=at.models, rollouts=at.rollouts, routes=at.routes)
    return HTTPStatus.OK, answer


def _show_rollout(call: Call, at: Ports) -> Answer:
    model, run = call.path["model"], call.path["run"]
    return HTTPStatus.OK, approvals.show_rollout(model, run, rollouts=at.rollouts, routes=at.routes)


def _list_captures(call: Call, at: Ports) -> Answer:
    answer = captures.list_captures(
        call.path["model"],
        call.query.get("hour"),
        call.query.get("limit"),
        models=at.models,
        captures=at.captures,
        clock=at.clock,
    )
    return HTTPStatus.OK, answer


def _explain(call: Call, at: Ports) -> Answer:
    from tidegate.steps.evaluation.explain import (
        Explain,  # with the arithmetic behind it, which no other call waits for
    )

    explained = Explain(
        models=at.models,
        catalog=at.catalog,
        runs=at.runs,
        versions=at.versions,
        routes=at.routes,
        rollouts=at.rollouts,
        artifacts=at.artifacts,
        captures=at.lookup,
        hours=at.hours,
        load=at.load,
        clock=at.clock,
    )
    return HTTPStatus.OK, explained.prediction(call.path["prediction"], call.query.get("model"))


def _show_ledger(call: Call, at: Ports) -> Answer:
    model, moment = call.path["model"], call.query.get("at")
    shown = routes.show_ledger(model, moment, models=at.models, routes=at.routes)
    return HTTPStatus.OK, shown if moment else shown | {"batches": batch.show_acts(model, ledger=at.batch_ledger)}


def _verify_ledger(call: Call, at: Ports) -> Answer:
    model = call.path["model"]
    found = routes.verify_ledger(model, models=at.models, routes=at.routes)
    return HTTPStatus.OK, found | {"batches": batch.verify_acts(model, ledger=at.batch_ledger)}


def _roll_back(call: Call, at: Ports) -> Answer:
    return _acted(call, at, routes.RollBack, routes.roll_back, versions=at.versions)


def _kill(call: Call, at: Ports) -> Answer:
    return _acted(call, at, routes.Because, routes.kill)


def _resume(call: Call, at: Ports) -> Answer:
    return _acted(call, at, routes.Because, routes.resume)


def _split(call: Call, at: Ports) -> Answer:
    return _acted(call, at, routes.Split, routes.split, versions=at.versions)


def _end_rollout(call: Call, at: Ports) -> Answer:
    more = {"versions": at.versions, "rollouts": at.rollouts, "workflow": at.workflow}
    return _acted(call, at, approvals.EndRollout, approvals.end, **more)


def _list_health(call: Call, at: Ports) -> Answer:
    answer = health.list_health(
        call.query.get("after"),
        models=at.models,
        routes=at.routes,
        rollouts=at.rollouts,
        health_records=at.health_records,
        clock=at.clock,
    )
    return HTTPStatus.OK, answer


def _show_health(call: Call, at: Ports) -> Answer:
    answer = health.show_health(
        call.path["model"], models=at.models, routes=at.routes, health_records=at.health_records, verdicts=at.verdicts
    )
    return HTTPStatus.OK, answer


def _acknowledge(call: Call, at: Ports) -> Answer:
    wish = health.Acknowledge.read(call.body)
    answer = health.acknowledge(
        call.path["model"], wish, actor=call.actor, models=at.models, health_records=at.health_records, clock=at.clock
    )
    return HTTPStatus.OK, answer


def _start_batch(call: Call, at: Ports) -> Answer:
    answer = batch.start_batch(
        call.path["model"],
        batch.StartBatch.read(call.body),
        actor=call.actor,
        places=at.batch_places,
        models=at.models,
        routes=at.routes,
        objects=at.batch_objects,
        batches=at.batch_runs,
        ledger=at.batch_ledger,
        clock=at.clock,
    )
    about = answer["batch"]
    logger("control").info("batch asked for", extra={"batch": about["batch_id"], "actor": call.actor})
    return HTTPStatus.OK if about["status"] == "succeeded" else HTTPStatus.ACCEPTED, answer


def _show_batch(call: Call, at: Ports) -> Answer:
    model, output = call.path["model"], call.query.get("output")
    answer = batch.show_batch(model, output, places=at.batch_places, objects=at.batch_objects, batches=at.batch_runs)
    return HTTPStatus.OK, answer


def _acted(call: Call, at: Ports, body: type[Document], act: Callable[..., dict[str, Any]], **more: object) -> Answer:
    """What people do to what is served. It is logged with its ledger entry: a copy that this function cannot change."""
    wish, model = body.read(call.body), call.path["model"]
    answer = act(model, wish, actor=call.actor, models=at.models, routes=at.routes, clock=at.clock, **more)
    if answer["entry"]:
        logger("control").info("route changed", extra={"ledger_entry": answer["entry"]})
    return HTTPStatus.OK, answer


# Route keys as API Gateway writes them. The stack deploys those of `tidegate.kernel.roles`: a test holds the two equal.
ROUTES: Mapping[str, Callable[[Call, Ports], Answer]] = {
    "GET /datasets": _list_datasets,
    "GET /datasets/{dataset}": _show_dataset,
    "PUT /datasets/{dataset}": _describe_dataset,
    "POST /datasets/{dataset}/uploads": _plan_uploads,
    "GET /datasets/{dataset}/versions": _list_dataset_versions,
    "POST /datasets/{dataset}/versions": _add_dataset_version,
    "GET /datasets/{dataset}/versions/{version}": _show_dataset_version,
    "GET /datasets/{dataset}/exclusions": _list_exclusions,
    "POST /datasets/{dataset}/exclusions": _exclude_period,
    "GET /models": _list_models,
    "GET /models/{model}": _show_model,
    "PUT /models/{model}": _apply_model,
    "GET /models/{model}/spec": _show_spec,
    "GET /models/{model}/runs": _list_runs,
    "POST /models/{model}/runs": _start_run,
    "GET /models/{model}/runs/{run}": _show_run,
    "GET /models/{model}/runs/{run}/reproduction": _show_reproduction,
    "GET /models/{model}/versions": _list_versions,
    "GET /models/{model}/versions/{version}": _show_version,
    "GET /models/{model}/versions/{version}/report": _read_report,
    "GET /models/{model}/versions/{version}/page": _read_page,
    "POST /models/{model}/versions/{version}/approval": _decide,
    "POST /models/{model}/versions/{version}/reproduction": _start_reproduction,
    "GET /models/{model}/rollouts": _list_rollouts,
    "GET /models/{model}/rollouts/{run}": _show_rollout,
    "POST /models/{model}/rollout/end": _end_rollout,
    "GET /captures/{model}": _list_captures,
    "GET /predictions/{prediction}": _explain,
    "GET /models/{model}/ledger": _show_ledger,
    "GET /models/{model}/ledger/verification": _verify_ledger,
    "POST /models/{model}/rollback": _roll_back,
    "POST /models/{model}/kill": _kill,
    "POST /models/{model}/resume": _resume,
    "POST /models/{model}/split": _split,
    "GET /watch": _list_health,
    "GET /models/{model}/watch": _show_health,
    "POST /models/{model}/acknowledge": _acknowledge,
    "POST /batches/{model}": _start_batch,
    "GET /batches/{model}": _show_batch,
}

app = APIGatewayHttpResolver()


def _serve(action: Callable[[Call, Ports], Answer]) -> Callable[..., Response[str]]:
    def served(**path: str) -> Response[str]:
        status, body = action(_call(path), wire())
        text = body.decode() if isinstance(body, bytes) else json.dumps(body, allow_nan=False, separators=(",", ":"))
        return Response(status.value, "application/json", text)

    return served


def _call(path: Mapping[str, str]) -> Call:
    event = app.current_event
    iam = event.raw_event.get("requestContext", {}).get("authorizer", {}).get("iam") or {}
    if not iam.get("userArn"):
        raise RequestInvalidError(
            "the request carries no IAM identity", status=401, next_step="sign it with SigV4 for service execute-api"
        )
    try:
        text = event.decoded_body or ""
    except ValueError:
        raise RequestInvalidError("the body is not UTF-8 text", status=HTTPStatus.BAD_REQUEST) from None
    for kind, name in path.items():  # a PUT makes a name, and its step says what is wrong with it
        if event.http_method != "PUT" and not _NAMES[kind].fullmatch(name):
            raise NotFoundError(
                f"there is no {kind} {name!r}",
                next_step="names have lower-case letters, digits and dashes, and begin with a letter",
            )
    return Call(iam["userArn"], path, event.query_string_parameters or {}, text)


for _key, _action in ROUTES.items():
    _method, _path = _key.split(" ")
    app.route(_path.replace("{", "<").replace("}", ">"), method=_method)(_serve(_action))


@app.not_found
def _no_such_route(_: Exception) -> Response[str]:
    return _problem(HTTPStatus.NOT_FOUND, "no such route", next_step="the command line may be newer than the stack")


def _refused(error: TidegateError) -> Response[str]:  # noqa: PLR0911  one for each kind of error
    match error:
        case InvalidInputError():
            status = HTTPStatus(error.status) if isinstance(error, RequestInvalidError) else None
            listed = [fault.to_json() for fault in error.faults]
            status = status or HTTPStatus.UNPROCESSABLE_ENTITY
            return _problem(status, error.summary, errors=listed, next_step=error.next_step)
        case NotFoundError():
            return _problem(HTTPStatus.NOT_FOUND, error.message, next_step=error.next_step)
        case ForbiddenError():
            return _problem(HTTPStatus.FORBIDDEN, error.message, next_step=error.next_step)
        case ConflictError():
            next_step = error.next_step or "read it again, then decide again"
            return _problem(HTTPStatus.CONFLICT, error.message, next_step=next_step)
        case UnavailableError():
            logger("control").warning("unavailable", exc_info=error)
            next_step = error.next_step or "try again in a moment"
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, error.message, next_step=next_step, headers=headers)
        case ArtifactRejectedError() | LedgerBrokenError() | NewerDocumentError():
            changed = "somebody changed it after it was stored; train the model again"
            return _broken(error, error.message, error.next_step or changed)
        case _:
            return _broken(error, "something failed on our side")


def _broken(error: Exception, detail: str, next_step: str = "") -> Response[str]:
    """A fault of ours: logged and counted, told to the caller without its inside."""
    logger("control").error("request failed", exc_info=error)
    meter = wire().meter
    meter.count("ServerErrors")
    meter.flush()
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, next_step=next_step)


def _problem(
    status: HTTPStatus,
    detail: str,
    *,
    errors: list[dict[str, object]] | None = None,
    next_step: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response[str]:
    body: dict[str, object] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "instance": f"urn:uuid:{app.lambda_context.aws_request_id}",
        "detail": detail,
        "errors": errors or [],
        "next_step": next_step,
    }
    return Response(status.value, "application/problem+json", json.dumps(body), headers=dict(headers or {}))


app.exception_handler(TidegateError)(_refused)
app.exception_handler(Exception)(lambda error: _broken(error, "something failed on our side"))


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Parse, route, one step, serialise."""
    return app.resolve(event, context)
