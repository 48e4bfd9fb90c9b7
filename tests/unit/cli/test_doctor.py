"""Each check of the doctor: what it says when the stage is well, and that it can fail."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from tests.builders.command_line import Cli
from tests.builders.loopback import Loopback
from tidegate.cli import exits
from tidegate.cli.client import NotAllowedError
from tidegate.cli.doctor import checks, removal, roles, synthetic, trial, verdicts
from tidegate.cli.doctor.checks import CHECKS, Check, chosen, make
from tidegate.cli.doctor.removal import Removed
from tidegate.cli.doctor.roles import Places
from tidegate.cli.doctor.stage import Stage
from tidegate.cli.doctor.trial import Trial
from tidegate.cli.doctor.verdicts import Expected, Line, Outcome, Verdict
from tidegate.kernel.errors import NotFoundError, UnavailableError
from tidegate.kernel.roles import Role
from tidegate.spec.model import ModelSpec

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
NAME = synthetic.name(AT, "abcd")
PLACES = Places(
    registry="arn:aws:dynamodb:eu-west-1:1:table/registry",
    ledger="arn:aws:dynamodb:eu-west-1:1:table/ledger",
    data="arn:aws:s3:::data",
    artifacts="arn:aws:s3:::artifacts",
    captures="arn:aws:s3:::captures",
    release="arn:aws:states:eu-west-1:1:stateMachine:tidegate-dev-release",
    capture_stream="arn:aws:firehose:eu-west-1:1:deliverystream/tidegate-dev-captures",
    feedback_stream="arn:aws:firehose:eu-west-1:1:deliverystream/tidegate-dev-feedback",
    topic="arn:aws:sns:eu-west-1:1:tidegate-dev-releases",
)
ACTIVE: dict[str, Any] = {"State": "Active", "LastUpdateStatus": "Successful", "TracingConfig": {"Mode": "Active"}}


class Waiting:
    """A clock that only pauses move."""

    now = 0.0

    def pause(self, seconds: float) -> None:
        self.now += seconds


def refusal(code: str, operation: str = "GetItem") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)


def pages(**fields: Any) -> Any:
    """A paginator of one page."""
    return lambda _operation: SimpleNamespace(paginate=lambda **_: iter([fields]))


def at(api: Any = None, **services: Any) -> Trial:
    """A trial on a stage whose API and services answer as given."""
    waiting = Waiting()
    session: Any = SimpleNamespace(region_name="eu-west-1", client=lambda name, **_: services[name.replace("-", "_")])
    stage = Stage(session, "dev", api, pause=waiting.pause, clock=lambda: waiting.now)
    vars(stage)["parameters"] = {
        "captures-bucket": "captures",
        "registry-table": "registry",
        "control-url": "https://abc.execute-api",
        "serving-url": "https://def.execute-api",
        "release-state-machine": PLACES.release,
    }
    return Trial(stage, NAME, say=lambda _: None)


# --- what the doctor asks for -----------------------------------------------------------------------------------------


def test_a_name_is_the_doctors_own_and_says_when_it_was_given() -> None:
    assert NAME == "tidegate-doctor-20260105t120000-abcd"
    assert synthetic.is_owned(NAME)
    assert synthetic.made_at(NAME) == AT
    for name in ("tidegate-doctor", f"{NAME}e", f"x{NAME}", NAME.upper(), "tidegate-doctor-mine", "flight-delay"):
        assert not synthetic.is_owned(name)


def test_the_table_is_the_same_every_time_and_has_both_outcomes() -> None:
    rows = list(csv.DictReader(io.StringIO(synthetic.table().decode())))
    assert synthetic.table() == synthetic.table()
    assert len(rows) == synthetic.ROWS
    fails = sum(row["fails"] == "true" for row in rows)
    assert 0.25 < fails / len(rows) < 0.75


@pytest.mark.parametrize("version", [1, 2])
def test_its_specs_are_valid_and_differ(version: int) -> None:
    spec = ModelSpec.parse(synthetic.spec(NAME, version))
    assert spec.dataset == spec.name == NAME
    assert spec.digest != ModelSpec.parse(synthetic.spec(NAME, 3 - version)).digest


def test_what_is_needed_stands_before_what_needs_it() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= seen, check
        seen.add(check.name)
    assert len(seen) == len(CHECKS)


def test_one_check_comes_with_all_that_it_needs() -> None:
    assert [check.name for check in chosen(["captures"])] == [
        *("identity", "functions", "dataset", "training", "answer", "captures"),
    ]
    assert chosen([]) == list(CHECKS)


# --- verdicts ---------------------------------------------------------------------------------------------------------

EXPECTED = [
    Expected("train", "dynamodb:PutItem", "registry, RUN#m", allowed=True),
    Expected("train", "a:B", "c", False),
]
PROOF: dict[str, Any] = {"intact": True, "break": None}
LEDGER = ["fallback", "promote"]


@pytest.mark.parametrize(
    ("verdict", "outcome", "came"),
    [
        (verdicts.clock(0.4), "ok", "0.4 s ahead"),
        (verdicts.clock(-400), "fail", "400.0 s behind"),
        (verdicts.functions({"train": ACTIVE, "gate": ACTIVE}), "ok", "2 functions"),
        (verdicts.functions({"train": ACTIVE, "gate": None}), "fail", "not deployed: gate"),
        (verdicts.functions({"train": ACTIVE | {"State": "Failed"}}), "fail", "train (Failed"),
        (verdicts.functions({"train": ACTIVE | {"LastUpdateStatus": "Failed"}}), "fail", "update Failed"),
        (verdicts.functions({"train": ACTIVE | {"TracingConfig": {"Mode": "PassThrough"}}}), "warn", "traced: train"),
        (
            verdicts.permissions(EXPECTED, dict(zip(EXPECTED, (True, False), strict=True))),
            "ok",
            "1 role: 1 call allowed, 1 denied",
        ),
        (verdicts.permissions(EXPECTED, dict(zip(EXPECTED, (False, False), strict=True))), "fail", "train may not"),
        (verdicts.permissions(EXPECTED, dict(zip(EXPECTED, (True, True), strict=True))), "fail", "train may a:B on c"),
        (verdicts.people({"viewer": {"GET/models"}}, {"viewer": {"GET/models"}}), "ok", "viewer has 1 call"),
        (verdicts.people({"viewer": set()}, {"viewer": {"GET/models"}}), "fail", "viewer may not GET/models"),
        (verdicts.people({"viewer": {"*"}}, {"viewer": set()}), "fail", "viewer may *"),
        (verdicts.concurrency(1_000, 800, 200), "ok", "200 of them reserved"),
        (verdicts.concurrency(1_000, 1_000, 0), "ok", "1,000 invocations"),
        (verdicts.concurrency(500, 500, 0), "warn", "500 invocations"),
        (verdicts.concurrency(10, 10, 0), "warn", "a new account's 10"),
        (verdicts.requests(10_000, 400), "ok", "lets 400 through"),
        (verdicts.requests(300, 400), "warn", "lets 400 through"),
        (verdicts.requests(300, None), "ok", "takes 300"),
        (verdicts.requests(None, 400), "ok", "was not read"),
        (verdicts.error_log("captures", exists=True, messages=[]), "ok", "is empty"),
        (verdicts.error_log("captures", exists=True, messages=["S3.AccessDenied"]), "warn", "S3.AccessDenied"),
        (verdicts.error_log("captures", exists=False, messages=[]), "fail", "no log stream"),
        (verdicts.served([{"version": 1, "weight_bp": 10_000}], 1), "ok", "version 1"),
        (verdicts.served([{"version": 1, "weight_bp": 9_500}, {"version": 2, "weight_bp": 500}], 1), "fail", "should"),
        (verdicts.ledger(LEDGER, LEDGER, PROOF), "ok", "2 entries"),
        (verdicts.ledger(["fallback"], LEDGER, PROOF), "fail", "not fallback, promote"),
        (verdicts.ledger(LEDGER, LEDGER, {"intact": False, "break": "entry 2"}), "fail", "entry 2"),
        (verdicts.arrived(["a", "b"], ["a", "b", "c"], 61), "ok", "all 2"),
        (verdicts.arrived(["a"], ["a"], 61), "ok", "1 record was in S3"),
        (verdicts.arrived(["a", "b"], ["a"], 300), "fail", "1 of 2"),
        (verdicts.arrived(["a"], [], 300), "fail", "1 of 1 record did not"),
        (verdicts.announced(3, []), "ok", "3 changes"),
        (verdicts.announced(3, ["m/ledger/2"]), "fail", "m/ledger/2"),
        (verdicts.traces({"control": 2, "inference": 1}), "ok", "2 traces of control"),
        (verdicts.traces({"control": 2, "inference": 0}), "warn", "no trace of inference"),
        (verdicts.cold_starts({"train": ["REPORT x\tInit Duration: 3900.00 ms"]}), "ok", "train slowest with 3.9 s"),
        (verdicts.cold_starts({"train": ["REPORT x\tInit Duration: 6000 ms"]}), "warn", "6.0 s"),
        (verdicts.cold_starts({"train": ["INIT_REPORT Init Duration: 10003.1 ms\tPhase: init"]}), "fail", "10.0 s"),
        (verdicts.cold_starts({"train": ["Init Duration: 60000 ms"]}, local=True), "ok", "60.0 s; measured on this"),
        (verdicts.cold_starts({}), "skipped", "no function has started"),
        (verdicts.removed(5, 3, 2, [], verdicts.ok(""), verdicts.ok("")), "ok", "2 entries in the ledger"),
        (verdicts.removed(5, 3, 2, ["RUN#x"], verdicts.ok(""), verdicts.ok("")), "fail", "still there: RUN#x"),
        (verdicts.removed(5, 3, 2, [], verdicts.announced(3, ["x"]), verdicts.ok("")), "warn", "not announced: x"),
        (verdicts.removed(5, 3, 2, [], verdicts.ok(""), verdicts.fail("late", "")), "warn", "what arrives later stays"),
    ],
)
def test_what_came_decides_how_a_check_ends(verdict: Verdict, outcome: str, came: str) -> None:
    assert verdict.outcome == outcome, verdict
    assert came in verdict.came
    if outcome in {"warn", "fail"}:
        assert verdict.next_step


def test_of_several_parts_the_worst_counts_and_all_are_shown() -> None:
    found = verdicts.together(
        [verdicts.ok("a"), verdicts.warn("b", "look"), verdicts.ok("c"), verdicts.warn("d", "look")]
    )
    assert found == Verdict(Outcome.WARN, "a; b; c; d", "look")


# --- what each role must and must not -------------------------------------------------------------------------------


def test_every_function_is_asked_about_the_route_the_ledger_and_deletion() -> None:
    asked = list(roles.of_functions("tidegate-dev", NAME, PLACES))
    for name in roles.WRITES:
        mine = [each for each in asked if each.role == name]
        route = [each.allowed for each in mine if f"ROUTE#{NAME}" in each.keys and "dynamodb:PutItem" in each.actions]
        assert route == [name in roles.APPENDS]
        (entry,) = [each.allowed for each in mine if each.resource == PLACES.ledger and roles.PUT in each.actions]
        assert entry is (name in roles.APPENDS)
        assert all(
            not each.allowed for each in mine if roles.DELETE in each.actions or "s3:DeleteObject" in each.actions
        )
    assert {"control", "register", "rollout", "close_failed"} == roles.APPENDS


def test_the_calls_of_a_policy_are_read_whatever_its_api_is() -> None:
    api = "arn:aws:execute-api:eu-west-1:1:abc"
    statements = [
        {"Effect": "Allow", "Action": ["execute-api:Invoke"], "Resource": [f"{api}/$default/GET/models/*", f"{api}/*"]},
        {"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": "arn:of:a:parameter"},
        {"Effect": "Deny", "Action": "execute-api:Invoke", "Resource": "*"},
    ]
    assert roles.allowed_calls({"Statement": statements}) == {"GET/models/*", f"{api}/*"}
    for wider, named in (({"Action": "*"}, "* on *"), ({"NotAction": "iam:*"}, "everything but some actions on *")):
        assert roles.allowed_calls({"Statement": wider | {"Effect": "Allow", "Resource": "*"}}) == {named}
    assert "GET/models/*" in roles.calls_of(Role.VIEWER)
    assert "POST/models/*/kill" in roles.calls_of(Role.OPERATOR) - roles.calls_of(Role.VIEWER)


def test_an_error_log_is_named_without_the_star_of_its_group() -> None:
    found = [
        each.resource for _, each in roles.of_services("tidegate-dev", PLACES) if each.actions == ("logs:PutLogEvents",)
    ]
    assert found[0] == (
        "arn:aws:logs:eu-west-1:1:log-group:/aws/kinesisfirehose/tidegate-dev-captures:log-stream:S3Delivery"
    )


# --- checks that ask AWS ----------------------------------------------------------------------------------------------


def test_the_clock_is_compared_with_the_date_of_an_answer() -> None:
    def answer(seconds: float) -> Any:
        from email.utils import formatdate
        from time import time

        headers = {"date": formatdate(time() + seconds, usegmt=True)}
        return SimpleNamespace(get_caller_identity=lambda: {"ResponseMetadata": {"HTTPHeaders": headers}})

    assert checks.clock(at(sts=answer(0))).outcome is Outcome.OK
    assert checks.clock(at(sts=answer(-600))).outcome is Outcome.FAIL


def test_quotas_are_read_also_without_the_rights_to_all_of_them() -> None:
    def denied(**_: Any) -> Any:
        raise refusal("AccessDeniedException")

    limits = {"AccountLimit": {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}}
    functions = SimpleNamespace(get_account_settings=lambda: limits, get_function_concurrency=lambda **_: {})
    stage = SimpleNamespace(get_stage=lambda **_: {"DefaultRouteSettings": {"ThrottlingRateLimit": 6_000.0}})
    quota = SimpleNamespace(get_service_quota=lambda **_: {"Quota": {"Value": 10_000.0}})
    found = checks.quotas(at(**{"lambda": functions, "service_quotas": quota, "apigatewayv2": stage}))
    assert found.outcome is Outcome.WARN
    assert "a new account's 10" in found.came
    assert "the stage lets 12,000 through" in found.came
    quota.get_service_quota = stage.get_stage = denied
    found = checks.quotas(at(**{"lambda": functions, "service_quotas": quota, "apigatewayv2": stage}))
    assert "servicequotas:GetServiceQuota is denied" in found.came


def test_a_stream_that_is_not_active_or_has_lost_its_error_log_is_seen() -> None:
    def firehose(status: str) -> Any:
        return SimpleNamespace(
            describe_delivery_stream=lambda **_: {"DeliveryStreamDescription": {"DeliveryStreamStatus": status}}
        )

    def logs(*messages: str, streams: int = 1) -> Any:
        events = [{"message": message} for message in messages]
        return SimpleNamespace(
            describe_log_streams=lambda **_: {"logStreams": [{}] * streams}, get_paginator=pages(events=events)
        )

    assert checks.delivery(at(firehose=firehose("ACTIVE"), logs=logs())).outcome is Outcome.OK
    assert checks.delivery(at(firehose=firehose("DELETING"), logs=logs())).outcome is Outcome.FAIL
    assert checks.delivery(at(firehose=firehose("ACTIVE"), logs=logs(streams=0))).outcome is Outcome.FAIL
    found = checks.delivery(at(firehose=firehose("ACTIVE"), logs=logs('{"errorCode": "S3.AccessDenied"}')))
    assert found.outcome is Outcome.WARN


def test_a_stage_that_is_not_there_is_a_failure_with_a_next_step() -> None:
    stage = at(sts=SimpleNamespace(get_caller_identity=dict), ssm=SimpleNamespace(get_paginator=pages(Parameters=[])))
    del vars(stage.stage)["parameters"]
    (line,) = make(stage, chosen(["identity"]), lambda _: None)
    assert line.verdict.outcome is Outcome.FAIL
    assert "stage 'dev' is not deployed in eu-west-1" in line.verdict.came
    assert "deploy" in line.verdict.next_step


def test_a_stage_without_one_parameter_is_incomplete() -> None:
    there = [{"Name": f"/tidegate/dev/{role}-policy", "Value": "arn"} for role in Role]
    stage = at(ssm=SimpleNamespace(get_paginator=pages(Parameters=there))).stage
    del vars(stage)["parameters"]
    with pytest.raises(NotFoundError, match=r"'dev' is incomplete .* no parameter /tidegate/dev/artifacts-bucket"):
        _ = stage.parameters


def test_a_stream_that_is_gone_is_named_and_the_other_roles_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def describe(DeliveryStreamName: str) -> Any:  # noqa: N803  AWS's name
        if DeliveryStreamName.endswith("captures"):
            raise refusal("ResourceNotFoundException", "DescribeDeliveryStream")
        destination = {"ExtendedS3DestinationDescription": {"RoleARN": "arn:role"}}
        found = {"DeliveryStreamStatus": "ACTIVE", "Destinations": [destination]}
        return {"DeliveryStreamDescription": found}

    def simulate(ActionNames: list[str], **given: Any) -> Any:  # noqa: N803  AWS's name
        asked.append(given["ResourceArns"])
        return {"EvaluationResults": [{"EvalActionName": each, "EvalDecision": "allowed"} for each in ActionNames]}

    stage = at(
        firehose=SimpleNamespace(describe_delivery_stream=describe),
        iam=SimpleNamespace(simulate_principal_policy=simulate),
        logs=SimpleNamespace(describe_log_streams=lambda **_: {"logStreams": [{}]}, get_paginator=pages(events=[])),
    )
    monkeypatch.setattr(Stage, "places", PLACES)
    questions = [each for each in roles.of_services("tidegate-dev", PLACES) if each[0][0] == "stream"]
    monkeypatch.setattr(roles, "of_functions", lambda *_: [])
    monkeypatch.setattr(roles, "of_services", lambda *_: questions)
    for check in (checks.delivery, checks.permissions):
        found = check(stage)
        assert found.outcome is Outcome.FAIL
        assert found.came.startswith("the stream tidegate-dev-captures does not exist; ")
        assert found.next_step.startswith("deploy the Serving stack again")
    assert len(asked) == len(questions) / 2


# --- the trial --------------------------------------------------------------------------------------------------------


def api(**answers: Any) -> Any:
    """An API that answers, or does what is given in place of an answer."""
    return SimpleNamespace(
        **{name: value if callable(value) else (lambda *_, value=value, **__: value) for name, value in answers.items()}
    )


def run_of(status: str, **more: Any) -> dict[str, Any]:
    return {"run_id": "r-1", "status": status, "stage": "gate", "error": None, "rollout": None} | more


@pytest.mark.parametrize(
    ("run", "serves", "outcome", "came"),
    [
        (run_of("accepted", rollout={"phase": "done"}), 1, "ok", "version 1 answers"),
        (run_of("accepted", rollout={"phase": "done"}), 7, "fail", "version 1 should answer"),
        (run_of("accepted"), 1, "fail", "not released"),
        (run_of("rejected"), 1, "fail", "r-1 is rejected"),
        (run_of("failed", error={"message": "out of memory"}), 1, "fail", "out of memory"),
    ],
)
def test_a_training_that_does_not_serve_fails(run: dict[str, Any], serves: int, outcome: str, came: str) -> None:
    client = api(
        apply_model={},
        start_run={"run": run},
        wait_for_run=run,
        model={"serves": [{"version": serves, "weight_bp": 10_000}]},
    )
    found = trial.training(at(client))
    assert found.outcome == outcome, found
    assert came in found.came


def test_a_dataset_that_cannot_be_read_fails() -> None:
    client = api(
        describe_dataset={},
        plan_uploads=[{"url": ""}],
        upload=None,
        add_dataset_version={"version": "v"},
        wait_for_dataset={"status": "failed", "problem": "not a table"},
    )
    stage = at(client, **{"lambda": SimpleNamespace(get_function_configuration=lambda **_: {})})
    assert trial.dataset(stage) == verdicts.fail("the dataset is failed: not a table", "read the log of catalog")
    assert stage.made


@pytest.mark.parametrize(("allowed", "licence"), [("", "CC0-1.0"), ("MIT,Apache-2.0", "MIT")])
def test_its_data_have_a_licence_that_the_stage_trains_on(allowed: str, licence: str) -> None:
    said: list[Any] = []
    client = api(
        describe_dataset=lambda _, description: said.append(description["licence"]),
        plan_uploads=[{"url": ""}],
        upload=None,
        add_dataset_version={"version": "v"},
        wait_for_dataset={"status": "ready", "rows": 400},
    )
    prepare = {"Environment": {"Variables": {"TIDEGATE_ALLOWED_LICENCES": allowed}}}
    stage = at(client, **{"lambda": SimpleNamespace(get_function_configuration=lambda **_: prepare)})
    assert trial.dataset(stage).outcome is Outcome.OK
    assert said == [licence]


def test_a_rollback_that_the_function_does_not_follow_fails() -> None:
    asked = {"version": 2, "predictions": [{"id": "p", "score": 0.5}]}
    client = api(predict=asked, rollback={}, ledger=[{"action": "rollback"}], verify_ledger=PROOF)
    found = trial.rollback(at(client))
    assert found.outcome is Outcome.FAIL
    assert "version 1 did not answer within 60 s" in found.came


def test_a_ledger_that_does_not_say_what_was_done_fails() -> None:
    client = api(
        kill={},
        resume={},
        model={"serves": [{"version": 1, "weight_bp": 10_000}]},
        ledger=[{"action": action} for action in (*LEDGER, "kill")],
        verify_ledger=PROOF,
    )
    stage = at(client)
    stage.entries = list(LEDGER)
    assert "not fallback, promote, kill, resume" in trial.ledger(stage).came


def test_records_that_do_not_arrive_in_s3_fail() -> None:
    body = gzip.compress(b'{"id": "p1"}\n')
    s3 = SimpleNamespace(
        get_paginator=pages(Contents=[{"Key": "k"}]), get_object=lambda **_: {"Body": io.BytesIO(body)}
    )
    stage = at(s3=s3)
    stage.asked = ["p1"]
    assert trial.captures(stage).outcome is Outcome.OK
    stage.asked = ["p1", "p2"]
    assert trial.captures(stage).outcome is Outcome.FAIL


def test_a_change_that_was_not_announced_fails() -> None:
    client = api(
        ledger=[{"seq": 1}, {"seq": 2}],
        runs=[{"run_id": "r-1", "status": "accepted"}, {"run_id": "r-2", "status": "running"}],
        rollouts=[{"run_id": "r-1"}],
    )

    def log(*ids: str) -> Any:
        lines = [{"message": json.dumps({"message": "announced", "id": f"{NAME}/{each}"})} for each in ids]
        return SimpleNamespace(get_paginator=pages(events=lines))

    all_of_it = ("ledger/1", "ledger/2", "run/r-1", "rollout/r-1/3")
    assert trial.announced(at(client, logs=log(*all_of_it))).outcome is Outcome.OK
    for missing in range(len(all_of_it)):
        found = trial.announced(at(client, logs=log(*(all_of_it[:missing] + all_of_it[missing + 1 :]))))
        assert found.outcome is Outcome.FAIL
        assert all_of_it[missing].removesuffix("/3") in found.came


def counting(*, metric: bool = True, went_off: bool = True, started: bool = True, state: str = "OK") -> Trial:
    """The way from a log line to a run, as far as it goes; no run begins."""
    when = datetime.now(UTC) if went_off else datetime(2025, 1, 1, tzinfo=UTC)
    found = {"AlarmName": "tidegate-dev-retraining-wanted", "StateValue": state, "StateUpdatedTimestamp": when}
    cloudwatch = SimpleNamespace(
        describe_alarms=lambda **_: {"MetricAlarms": [found]},
        get_metric_statistics=lambda **_: {"Datapoints": [{"Sum": 1.0}] if metric else []},
    )
    executions = [{"startDate": datetime.now(UTC), "status": "FAILED"}] if started else []
    return at(
        api(apply_model={}, runs=[]),
        cloudwatch=cloudwatch,
        dynamodb=SimpleNamespace(get_item=lambda **_: {}, put_item=lambda **_: {}),
        logs=SimpleNamespace(create_log_stream=lambda **_: {}, put_log_events=lambda **_: {}),
        stepfunctions=SimpleNamespace(list_executions=lambda **_: {"executions": executions}),
    )


@pytest.mark.parametrize(
    ("stage", "came"),
    [
        (counting(metric=False), "CloudWatch made no metric"),
        (counting(went_off=False), "did not go off"),
        (counting(started=False), "retrain did not start"),
        (counting(), "retrain is FAILED, but no run was started"),
    ],
)
def test_the_way_from_a_log_line_to_a_training_says_where_it_stopped(stage: Trial, came: str) -> None:
    found = trial.alarm(stage)
    assert found.outcome is Outcome.FAIL
    assert came in found.came
    assert found.next_step


def test_a_training_that_the_hourly_monitoring_no_longer_wants_is_wanted_again() -> None:
    stage, items, began = counting(), list[dict[str, Any]](), list[dict[str, Any]]()

    def put(Item: dict[str, Any], **_: Any) -> None:  # noqa: N803  AWS's name
        items.append(dict(Item))
        if len(items) == 1:  # monitoring looks at once
            items[0].pop("wanted")
        else:
            began.append({"run_id": "r-2"})

    stage.stage.aws("dynamodb").get_item = lambda **_: {"Item": items[-1]} if items else {}
    stage.stage.aws("dynamodb").put_item = put
    stage.stage.api = api(
        apply_model={},
        runs=lambda *_: began,
        wait_for_run=run_of("accepted", rollout={"phase": "done"}),
        model={"serves": [{"version": 2, "weight_bp": 10_000}]},
    )
    assert trial.alarm(stage).outcome is Outcome.OK
    assert [item["revision"] for item in items] == [{"N": "1"}, {"N": "2"}]


def test_an_alarm_that_is_on_for_others_all_the_time_is_not_tried_and_the_wait_is_announced() -> None:
    said: list[str] = []
    stage = counting(state="ALARM")
    stage.say = said.append
    assert trial.alarm(stage).outcome is Outcome.SKIPPED
    assert said[:2] == [
        "  waiting until the alarm tidegate-dev-retraining-wanted is off, 420 s at most",
        "  waiting until the alarm tidegate-dev-retraining-wanted is off, 405 s at most",
    ]
    assert len(said) == 420 / 15


def test_an_alarm_that_is_not_there_is_named() -> None:
    stage = counting()
    stage.stage.aws("cloudwatch").describe_alarms = lambda **_: {"MetricAlarms": []}
    (line,) = make(stage, [Check("alarm", "", trial.alarm)], lambda _: None)[:1]
    assert line.verdict == verdicts.fail(
        "there is no alarm tidegate-dev-retraining-wanted", "deploy the Monitoring stack again"
    )


# --- the order of things ----------------------------------------------------------------------------------------------


def raising(error: BaseException) -> Callable[[Trial], Verdict]:
    def check(_: Trial) -> Verdict:
        raise error

    return check


@pytest.mark.parametrize(
    ("error", "outcome", "came"),
    [
        (NotAllowedError("no role", next_step="ask"), "skipped", "no role"),
        (refusal("AccessDenied", "SimulatePrincipalPolicy"), "skipped", "may not call SimulatePrincipalPolicy"),
        (refusal("InternalError"), "fail", "GetItem answered InternalError"),
        (UnavailableError("busy", next_step="again"), "fail", "busy"),
        (ConnectTimeoutError(endpoint_url="x"), "fail", "AWS did not answer"),
    ],
)
def test_a_fault_of_a_call_is_a_line_and_what_may_not_be_asked_is_skipped(
    error: Exception, outcome: str, came: str
) -> None:
    (line,) = make(at(), [Check("one", "tried", raising(error))], lambda _: None)
    assert line.verdict.outcome == outcome
    assert came in line.verdict.came


def test_what_needs_a_check_that_did_not_succeed_is_skipped_and_names_it() -> None:
    first = Check("first", "", lambda _: verdicts.fail("x", "y"))
    second = Check("second", "", lambda _: verdicts.ok("z"), needs=("first",))
    third = Check("third", "", lambda _: verdicts.ok("z"), needs=("second",))
    lines = make(at(), [first, second, third], lambda _: None)
    assert [line.verdict.outcome for line in lines] == ["fail", "skipped", "skipped"]
    assert lines[1].verdict.came == "needs the check first, which did not succeed"


@pytest.fixture
def removals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(removal, "remove", lambda _, name: names.append(name) or Removed(entries=2))
    return names


def making(verdict: Callable[[Trial], Verdict]) -> Check:
    def make_then(trial: Trial) -> Verdict:
        trial.made = True
        return verdict(trial)

    return Check("dataset", "", make_then)


def nothing(_name: str) -> Any:
    raise NotFoundError("no such model")


def test_what_was_made_is_removed_also_after_an_interrupt(removals: list[str]) -> None:
    seen: list[Line] = []
    with pytest.raises(KeyboardInterrupt):
        make(at(api(runs=nothing, ledger=nothing)), [making(raising(KeyboardInterrupt()))], seen.append)
    assert removals == [NAME]
    assert [line.name for line in seen] == ["removal"]


def test_what_a_check_does_not_understand_is_a_failure_and_the_others_are_made(removals: list[str]) -> None:
    broken = making(raising(KeyError("Action")))
    fine = Check("another", "", lambda _: verdicts.ok(""))
    said: list[str] = []
    stage = at(api(runs=nothing, ledger=nothing))
    stage.say = said.append
    lines = make(stage, [broken, fine], lambda _: None)
    assert any("Traceback" in each for each in said)
    assert [line.verdict.outcome for line in lines[:2]] == [Outcome.FAIL, Outcome.OK]
    assert lines[0].verdict.came == "the check dataset found what it does not understand (KeyError: 'Action')"
    assert "traceback" in lines[0].verdict.next_step
    assert removals == [NAME]


def test_nothing_is_removed_while_a_run_or_a_rollout_still_writes(
    removals: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "STOPPED_SECONDS", 0.0)
    stop = SimpleNamespace(stop_execution=lambda **_: None)
    log = SimpleNamespace(get_paginator=pages(events=[]))
    for status, rollouts in (("running", []), ("accepted", [{"run_id": "r-1"}])):
        client = api(runs=[run_of(status, execution="arn:of:it")], ledger=[], rollouts=rollouts)
        trial = at(client, stepfunctions=stop, logs=log)
        line = make(trial, [making(lambda _: verdicts.ok(""))], lambda _: None)[-1]
        assert (line.verdict.outcome, removals) == (Outcome.FAIL, [])
        assert "nothing was removed: 1 run is still at work" in line.verdict.came


def test_nothing_is_removed_where_nothing_was_made(removals: list[str]) -> None:
    make(at(), [Check("one", "", lambda _: verdicts.ok(""))], lambda _: None)
    assert removals == []


def test_a_run_that_is_under_way_is_stopped_before_its_records_are_removed(removals: list[str]) -> None:
    stopped: list[str] = []
    running = run_of("running", execution="arn:of:it")
    client = api(runs=lambda *_: [running | {"status": "failed" if stopped else "running"}], ledger=[], rollouts=[])
    stop = SimpleNamespace(stop_execution=lambda **given: stopped.append(given["executionArn"]))
    log = SimpleNamespace(get_paginator=pages(events=[{"message": f'"id":"{NAME}/run/r-1"'}]))
    lines = make(at(client, stepfunctions=stop, logs=log), [making(lambda _: verdicts.ok(""))], lambda _: None)
    assert stopped == ["arn:of:it"]
    assert lines[-1].verdict.outcome is Outcome.OK, lines[-1]


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_checks_are_listed_without_a_stage(run: Cli) -> None:
    assert run("doctor", "--list", "--json") == exits.OK
    assert [each["check"] for each in run.document["checks"]] == [check.name for check in CHECKS]


def test_an_unknown_check_is_refused_and_the_known_ones_are_named(run: Cli) -> None:
    assert run("doctor", "--only", "everything") == exits.INVALID
    assert "there is no check everything" in run.err
    assert "quotas" in run.err


@pytest.mark.parametrize(
    ("verdict", "code"), [(verdicts.ok("fine"), exits.OK), (verdicts.fail("bad", "fix"), exits.FAILED)]
)
def test_a_check_that_failed_is_the_exit_code(
    run: Cli, server: Loopback, monkeypatch: pytest.MonkeyPatch, verdict: Verdict, code: int
) -> None:
    monkeypatch.setattr(checks, "CHECKS", [Check("one", "tried it", lambda _: verdict)])
    assert run("doctor", "--json") == code
    (shown,) = run.document["checks"]
    assert (shown["check"], shown["tried"], shown["came"]) == ("one", "tried it", verdict.came)
    assert run("doctor") == code
    assert verdict.came in run.out
    assert (f"next: {verdict.next_step}" in run.out) is bool(verdict.next_step)


@pytest.mark.parametrize(
    ("denied", "only", "code"),
    [
        ("identity", (), exits.NOT_ALLOWED),
        ("identity", ("two",), exits.NOT_ALLOWED),
        ("one", ("two",), exits.NOT_ALLOWED),  # what it needs was not allowed
        ("one", ("one",), exits.NOT_ALLOWED),
        ("one", (), exits.OK),
        ("", ("two",), exits.OK),
    ],
)
def test_what_was_asked_for_and_may_not_be_checked_is_the_exit_code(  # noqa: PLR0917
    run: Cli, server: Loopback, monkeypatch: pytest.MonkeyPatch, denied: str, only: tuple[str, ...], code: int
) -> None:
    def made(name: str) -> Callable[[Trial], Verdict]:
        return raising(refusal("AccessDenied")) if name == denied else lambda _: verdicts.ok("")

    needed = (("identity", ()), ("one", ("identity",)), ("two", ("one",)))
    monkeypatch.setattr(checks, "CHECKS", [Check(name, "", made(name), needs) for name, needs in needed])
    assert run("doctor", *(word for name in only for word in ("--only", name))) == code


def test_what_may_not_be_removed_is_a_failure_since_it_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any) -> Removed:
        raise refusal("AccessDeniedException", "DeleteItem")

    monkeypatch.setattr(removal, "remove", denied)
    line = checks.removed(at(api(runs=nothing, ledger=nothing)))
    assert line.verdict.outcome is Outcome.FAIL
    assert "may not call DeleteItem" in line.verdict.came
    assert "tidegate doctor --remove" in line.verdict.next_step


def test_what_may_be_another_doctors_is_not_removed(removals: list[str]) -> None:
    young = Trial(at().stage, synthetic.name(datetime.now(UTC), "abcd"), say=lambda _: None)
    line = checks.left_behind(young)
    assert (line.verdict.outcome, removals) == (Outcome.SKIPPED, [])
    assert "another doctor may be at work" in line.verdict.came
    old = at(api(runs=nothing, ledger=nothing))
    assert checks.left_behind(old).verdict.outcome is Outcome.OK
    assert removals == [NAME]
