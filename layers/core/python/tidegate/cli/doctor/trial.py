"""The doctor's model on its way through the stage, from a dataset to a rollback. Each function is one check's try."""

import hashlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from tidegate.aws.clients import code_of
from tidegate.aws.items import decode
from tidegate.aws.registry import revised
from tidegate.aws.unpacking import lines
from tidegate.cli.doctor import synthetic, verdicts
from tidegate.cli.doctor.stage import Stage, present
from tidegate.cli.doctor.verdicts import Verdict
from tidegate.domain.monitoring.health import Health, HealthRecord, Trigger
from tidegate.kernel import english
from tidegate.kernel.errors import NotFoundError
from tidegate.kernel.partitions import Partition
from tidegate.kernel.prefixes import CAPTURES

REASON = "tidegate doctor"
TRAINING_SECONDS = 1_800.0
ALARM_SECONDS = 420.0  # metrics out of logs, evaluation of the alarm, and the event each take up to a minute or two
CAPTURE_SECONDS = 300.0  # Firehose keeps records for a minute before it writes them
ROUTE_SECONDS = 60.0
ANNOUNCED_SECONDS = 120.0
DAY_SECONDS = 86_400.0
ATTEMPTS = 3
ENDED = frozenset({"accepted", "rejected", "failed"})
WANTED = "RetrainingWanted"
_THERE = "ResourceAlreadyExistsException"


@dataclass(slots=True)
class Trial:
    """What was done so far with the model `name`."""

    stage: Stage
    name: str
    say: Callable[[str], None]
    made: bool = False  # something must be removed
    runs: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # ids of predictions
    entries: list[str] = field(default_factory=list)  # actions that the ledger must have

    @property
    def began(self) -> float:
        """Seconds since the epoch."""
        return synthetic.made_at(self.name).timestamp()

    def run_ended(self, run_id: str) -> dict[str, Any]:
        """A run once it is over; says where it is meanwhile."""
        began, reached = time.monotonic(), ""

        def look(run: dict[str, Any]) -> None:
            nonlocal reached
            where = run["stage"] if run["status"] == "running" else run["status"]
            if where != reached:
                reached = where
                self.say(f"  run {run_id}: {where} after {time.monotonic() - began:.0f} s")

        return self.stage.api.wait_for_run(self.name, run_id, on_look=look, timeout_seconds=TRAINING_SECONDS)


def dataset(trial: Trial) -> Verdict:
    """Upload the table, and have it read."""
    api, data = trial.stage.api, synthetic.table()
    trial.made = True
    api.describe_dataset(trial.name, {"origin": REASON, "licence": _licence(trial.stage), "owner": synthetic.OWNER})
    entry = {"name": "parts.csv", "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (plan,) = api.plan_uploads(trial.name, [entry])
    api.upload(plan, lambda: io.BytesIO(data), len(data))
    version = api.add_dataset_version(trial.name, [entry])["version"]
    found = api.wait_for_dataset(trial.name, version)
    if found["status"] == "ready":
        return verdicts.ok(f"{found['rows']} rows are ready")
    return verdicts.fail(f"the dataset is {found['status']}: {found['problem']}", "read the log of catalog")


def training(trial: Trial) -> Verdict:
    """Apply the first spec, train it, and see its version promoted."""
    apply(trial, 1)
    run = trial.stage.api.start_run(trial.name, reason=REASON)["run"]
    return _promoted(trial, run["run_id"], 1)


def answer(trial: Trial) -> Verdict:
    """Ask the served version."""
    return _answered(trial, 1)


def ledger(trial: Trial) -> Verdict:
    """Kill the model and let it resume: two transactions over route and ledger by the role of `control`, after those by
    the role of `rollout`."""
    api = trial.stage.api
    for act, action in ((api.kill, "kill"), (api.resume, "resume")):
        act(trial.name, REASON)
        trial.entries.append(action)
    return verdicts.together([verdicts.served(api.model(trial.name)["serves"], 1), _proved(trial)])


def alarm(trial: Trial) -> Verdict:
    """Want a training in the model's health record, and count it as monitoring does: as a line of log."""
    stage, name = trial.stage, f"{trial.stage.prefix}-retraining-wanted"
    apply(trial, 2)

    def state() -> dict[str, Any]:
        found: list[dict[str, Any]] = stage.aws("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
        if not found:
            raise NotFoundError(f"there is no alarm {name}", next_step="deploy the Monitoring stack again")
        return found[0]

    def waiting(seconds: float) -> None:
        trial.say(f"  waiting until the alarm {name} is off, {seconds:.0f} s at most")

    before = {run["run_id"] for run in trial.runs}

    def begun() -> list[str]:
        """The new run; an empty name if none began and none is wanted any more."""
        found = [run["run_id"] for run in stage.api.runs(trial.name) if run["run_id"] not in before]
        return found or ([] if _wanted(trial) else [""])

    began: list[str] = [""]
    for _ in range(ATTEMPTS):
        # Only a change of its state is an event.
        if not stage.until(lambda: state()["StateValue"] != "ALARM", ALARM_SECONDS, every=5, waiting=waiting):
            return verdicts.skipped(f"the alarm {name} is on for other models all the time", "tidegate status")
        _want_training(trial)
        _count(trial)
        trial.say(f"  waiting for the alarm {name}, the state machine {stage.prefix}-retrain and a run")
        began = stage.until(begun, ALARM_SECONDS)
        if began != [""]:  # else the hourly monitoring looked at the model meanwhile, and wants nothing
            break
    if began and began[0]:
        trial.say(f"  run {began[0]} was started")
        return _promoted(trial, began[0], 2)
    return _where_it_stopped(trial, state())


def rollback(trial: Trial) -> Verdict:
    """Ask the second version, roll back to the first, and ask until it answers."""
    second = _answered(trial, 2)
    trial.stage.api.rollback(trial.name, 1, REASON)
    trial.entries.append("rollback")
    return verdicts.together([second, _answered(trial, 1), _proved(trial)])


def captures(trial: Trial) -> Verdict:
    """Wait for the records of all predictions in S3."""
    began = time.monotonic()
    trial.say(f"  waiting for {english.count(len(trial.asked), 'record')}")
    trial.stage.until(lambda: set(trial.asked) <= _captured(trial), CAPTURE_SECONDS)
    return verdicts.arrived(trial.asked, _captured(trial), time.monotonic() - began)


def announced(trial: Trial) -> Verdict:
    """Read in the log of `announce` that it has announced the model's runs, its rollouts, and its ledger's entries."""
    api, group = trial.stage.api, f"/aws/lambda/{trial.stage.prefix}-announce"
    wanted = [f'{trial.name}/ledger/{each["seq"]}"' for each in api.ledger(trial.name)]
    wanted += [f'{trial.name}/run/{each["run_id"]}"' for each in api.runs(trial.name) if each["status"] in ENDED]
    wanted += [f"{trial.name}/rollout/{each['run_id']}/" for each in api.rollouts(trial.name)]

    def missing() -> list[str]:
        log = trial.stage.log_lines(group, trial.name, trial.began - verdicts.LARGEST_SKEW_SECONDS)
        return [each.strip('/"') for each in wanted if not any(f'"{each}' in line for line in log)]

    trial.stage.until(lambda: not missing(), ANNOUNCED_SECONDS)
    return verdicts.announced(len(wanted), missing())


def apply(trial: Trial, version: int) -> None:
    """Make the spec of a version the model's."""
    trial.made = True
    trial.stage.api.apply_model(trial.name, json.dumps(synthetic.spec(trial.name, version)))


def _licence(stage: Stage) -> str:
    """One that the stage trains on: the setting `allowed_licences` may name a few."""
    variables = (stage.function("prepare") or {}).get("Environment", {}).get("Variables", {})
    return variables.get("TIDEGATE_ALLOWED_LICENCES", "").partition(",")[0] or "CC0-1.0"


def _promoted(trial: Trial, run_id: str, version: int) -> Verdict:
    run = trial.run_ended(run_id)
    trial.runs.append(run)
    if run["status"] != "accepted" or not run.get("rollout"):
        why = (run["error"] or {}).get("message", "") if run["status"] == "failed" else ""
        came = f"run {run_id} is {run['status']} {run['stage'] or ''}: {why or 'its version was not released'}"
        return verdicts.fail(came, f"look at the execution {run_id} of {trial.stage.prefix}-release")
    trial.entries += ["promote"] if trial.entries else ["fallback", "promote"]

    def serves() -> bool:
        shares: list[dict[str, Any]] = trial.stage.api.model(trial.name)["serves"]
        return [each["version"] for each in shares] == [version]

    trial.stage.until(serves, ROUTE_SECONDS)
    return verdicts.served(trial.stage.api.model(trial.name)["serves"], version)


def _answered(trial: Trial, version: int) -> Verdict:
    """Ask until a version answers: a function keeps a route for a few seconds."""

    def asked() -> dict[str, Any] | None:
        said = trial.stage.api.predict(trial.name, [synthetic.QUESTION])
        trial.asked += [each["id"] for each in said["predictions"]]
        return said if said["version"] == version else None

    said = trial.stage.until(asked, ROUTE_SECONDS, every=1)
    if said is None:
        return verdicts.fail(
            f"version {version} did not answer within {ROUTE_SECONDS:.0f} s", "read the log of the function inference"
        )
    return verdicts.ok(f"version {version} answered {said['predictions'][0]['score']:.3f}")


def _proved(trial: Trial) -> Verdict:
    api = trial.stage.api
    actions = [each["action"] for each in api.ledger(trial.name)]
    return verdicts.ledger(actions, trial.entries, api.verify_ledger(trial.name))


def _health(trial: Trial) -> HealthRecord | None:
    key = {"pk": {"S": Partition.HEALTH.of(trial.name)}, "sk": {"S": "HEALTH"}}
    table = trial.stage.parameters["registry-table"]
    item = trial.stage.aws("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
    return decode(HealthRecord, item) if item else None


def _wanted(trial: Trial) -> bool:
    record = _health(trial)
    return record is None or record.wanted is not None


def _want_training(trial: Trial) -> None:
    """Write what monitoring would have found; the model is the doctor's own."""
    client, table = trial.stage.aws("dynamodb"), trial.stage.parameters["registry-table"]
    pk, now = Partition.HEALTH.of(trial.name), trial.stage.now()
    for _ in range(ATTEMPTS):
        known = _health(trial)
        record = HealthRecord(
            model=trial.name,
            revision=known.revision + 1 if known else 1,
            health=Health.UNKNOWN,
            since=now,
            looked_at=now,
            version=1,
            reasons=(REASON,),
            wanted=Trigger.DRIFT,
        )
        try:
            client.put_item(TableName=table, **revised(pk, "HEALTH", record)["Put"])
        except ClientError as error:  # the hourly monitoring looked at it at this moment
            if code_of(error) != "ConditionalCheckFailedException":
                raise
        else:
            return


def _count(trial: Trial) -> None:
    """One line of embedded metrics in the log of `monitor`, in a stream of the doctor's own."""
    logs, group = trial.stage.aws("logs"), f"/aws/lambda/{trial.stage.prefix}-monitor"
    now = int(trial.stage.now().timestamp() * 1000)
    directive = {
        "Namespace": "Tidegate",
        "Dimensions": [["service", "stage"]],
        "Metrics": [{"Name": WANTED, "Unit": "Count"}],
    }
    line = {
        "_aws": {"Timestamp": now, "CloudWatchMetrics": [directive]},
        "service": "monitor",
        "stage": trial.stage.name,
        WANTED: 1,
    }
    present(lambda: logs.create_log_stream(logGroupName=group, logStreamName=trial.name), _THERE)
    events = [{"timestamp": now, "message": json.dumps(line)}]
    logs.put_log_events(logGroupName=group, logStreamName=trial.name, logEvents=events)


def _where_it_stopped(trial: Trial, alarm: dict[str, Any]) -> Verdict:
    """From the metric to the run: the first thing that is not there."""
    stage = trial.stage
    dimensions = [{"Name": "service", "Value": "monitor"}, {"Name": "stage", "Value": stage.name}]
    counted = stage.aws("cloudwatch").get_metric_statistics(
        Namespace="Tidegate",
        MetricName=WANTED,
        Dimensions=dimensions,
        StartTime=datetime.fromtimestamp(trial.began - 60, UTC),
        EndTime=stage.now(),
        Period=60,
        Statistics=["Sum"],
    )["Datapoints"]
    if not any(point["Sum"] for point in counted):
        return verdicts.fail(
            f"CloudWatch made no metric {WANTED} of the line in the log of monitor",
            "look at the log group's class: metrics are taken out of Standard ones only",
        )
    if alarm["StateUpdatedTimestamp"].timestamp() < trial.began:
        return verdicts.fail(
            f"the metric {WANTED} is there, but the alarm {alarm['AlarmName']} did not go off",
            "look at the alarm in CloudWatch; deploy the monitoring stack again",
        )
    machine = stage.machine("retrain")
    executions = stage.aws("stepfunctions").list_executions(stateMachineArn=machine, maxResults=10)["executions"]
    latest = [each for each in executions if each["startDate"].timestamp() >= trial.began]
    if not latest:
        return verdicts.fail(
            f"the alarm {alarm['AlarmName']} went off, but {stage.prefix}-retrain did not start",
            f"look at the rule {stage.prefix}-retraining-wanted, and at the queue {stage.prefix}-failures",
        )
    return verdicts.fail(
        f"{stage.prefix}-retrain is {latest[0]['status']}, but no run was started",
        "read the log of retrain; docs/monitoring.md, section A training could not be started",
    )


def _captured(trial: Trial) -> set[str]:
    """Ids of the predictions in S3."""
    s3, bucket = trial.stage.aws("s3"), trial.stage.parameters["captures-bucket"]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{CAPTURES}model={trial.name}/")
    found = set()
    for each in (each for page in pages for each in page.get("Contents", [])):
        data = s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
        found |= {json.loads(line)["id"] for line in lines(data)}
    return found
