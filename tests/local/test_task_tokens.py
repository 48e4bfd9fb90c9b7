"""Tasks that wait for their token's answer, and the time state machines go by."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.cloud import LocalCloud
from tests.builders.waiting import eventually
from tests.local.calls import finished, reached, run


def begin(cloud: LocalCloud, machine: str = "WaitingArn", limit: int = 3600) -> str:
    given = json.dumps({"do": "hold", "limit": limit})
    started = cloud.client("stepfunctions").start_execution(stateMachineArn=cloud.outputs[machine], input=given)
    return str(started["executionArn"])


def held(cloud: LocalCloud, execution: str, attempt: int = 0) -> dict[str, Any]:
    """What the function was given in an attempt; by then the task waits, or is about to."""

    def look() -> dict[str, Any] | None:
        lines = [line for line in cloud.log_lines("/sample/work") if line.startswith('{"held"')]
        given = [json.loads(line)["held"] for line in lines]
        own = [each for each in given if each["name"] == execution.rpartition(":")[2]]
        return own[attempt] if len(own) > attempt else None

    found = eventually(look)
    assert found, "the function was not called"
    return dict(found)


def refused(cloud: LocalCloud, token: str, operation: str = "send_task_success", **given: str) -> str:
    given = {"output": "{}"} | given if operation == "send_task_success" else given
    with pytest.raises(ClientError) as refusal:
        getattr(cloud.client("stepfunctions"), operation)(taskToken=token, **given)
    return str(refusal.value.response["Error"]["Code"])


def status(cloud: LocalCloud, execution: str) -> str:
    return str(cloud.client("stepfunctions").describe_execution(executionArn=execution)["status"])


def test_an_answer_ends_the_task_with_its_output(cloud: LocalCloud) -> None:
    execution = begin(cloud)
    token = held(cloud, execution)["token"]
    assert status(cloud, execution) == "RUNNING"
    cloud.client("stepfunctions").send_task_success(taskToken=token, output='{"go": 1}')
    done = finished(cloud, execution)
    assert (done["status"], json.loads(done["output"])["answer"]) == ("SUCCEEDED", {"go": 1})


def test_a_failure_fails_the_task_under_its_name(cloud: LocalCloud) -> None:
    execution = begin(cloud)
    token = held(cloud, execution)["token"]
    cloud.client("stepfunctions").send_task_failure(taskToken=token, error="NoError", cause="said so")
    done = finished(cloud, execution)
    assert (done["status"], done["error"], done["cause"]) == ("FAILED", "NoError", "said so")


def test_a_function_that_fails_fails_the_task_at_once(cloud: LocalCloud) -> None:
    done = run(cloud, {"do": "raise", "limit": 3600}, "WaitingArn")
    assert (done["status"], done["error"]) == ("FAILED", "SampleError")


def test_each_attempt_has_a_token_and_waits_before_it_by_the_clouds_clock(cloud: LocalCloud) -> None:
    execution = begin(cloud)
    first = held(cloud, execution)["token"]
    states = cloud.client("stepfunctions")
    states.send_task_failure(taskToken=first, error="AgainError")
    assert reached(cloud, execution, "TaskFailed")
    time.sleep(0.2)  # it has failed; now the wait before the next attempt begins
    cloud.advance(3600)
    second = held(cloud, execution, attempt=1)["token"]
    assert first != second
    assert refused(cloud, first) == "TaskTimedOut"
    states.send_task_success(taskToken=second, output="{}")
    assert finished(cloud, execution)["status"] == "SUCCEEDED"


def test_a_token_is_good_once_and_a_made_up_one_never(cloud: LocalCloud) -> None:
    execution = begin(cloud)
    token = held(cloud, execution)["token"]
    assert refused(cloud, token, output="no json") == "InvalidOutput"
    cloud.client("stepfunctions").send_task_success(taskToken=token, output="{}")
    for operation in ("send_task_success", "send_task_failure", "send_task_heartbeat"):
        assert refused(cloud, token, operation) == "TaskTimedOut"
        assert refused(cloud, "made up", operation) == "InvalidToken"


def test_a_task_times_out_when_the_clock_passes_its_limit(cloud: LocalCloud) -> None:
    execution = begin(cloud, limit=3600)
    token = held(cloud, execution)["token"]
    cloud.advance(3000)
    assert status(cloud, execution) == "RUNNING"
    cloud.advance(600)
    assert refused(cloud, token) == "TaskTimedOut"
    done = json.loads(finished(cloud, execution)["output"])
    assert (done["late"], done["failure"]["Error"]) == ({"yes": True}, "States.Timeout")


def test_heartbeats_keep_a_task_alive_by_the_clouds_clock(cloud: LocalCloud) -> None:
    execution = begin(cloud, "BeatingArn")
    token = held(cloud, execution)["token"]
    for _ in range(2):
        cloud.advance(590)
        cloud.client("stepfunctions").send_task_heartbeat(taskToken=token)
    assert status(cloud, execution) == "RUNNING"
    cloud.advance(600)
    done = finished(cloud, execution)
    assert (done["status"], done["error"]) == ("FAILED", "States.Timeout")


def test_the_token_of_a_stopped_execution_is_worth_nothing_and_its_threads_end(cloud: LocalCloud) -> None:
    before = set(threading.enumerate())
    execution = begin(cloud)
    token = held(cloud, execution)["token"]
    cloud.client("stepfunctions").stop_execution(executionArn=execution)
    assert refused(cloud, token) == "TaskTimedOut"
    assert finished(cloud, execution)["status"] == "ABORTED"

    def interpreting() -> list[str]:
        return [one.name for one in set(threading.enumerate()) - before if one.name.startswith("Thread-")]

    assert eventually(lambda: not interpreting()), interpreting()


def test_only_who_may_answers_a_task_of_that_state_machine(cloud: LocalCloud) -> None:
    execution = begin(cloud)
    token = held(cloud, execution)["token"]
    arns = {"anyone": "*", "owner": cloud.outputs["WaitingArn"], "stranger": cloud.outputs["TimedArn"]}
    for name, arn in arns.items():
        statement = {"Effect": "Allow", "Action": "states:SendTask*", "Resource": arn}
        cloud.add_user(name, {"Version": "2012-10-17", "Statement": [statement]})
    with pytest.raises(ClientError, match="not authorized to perform: states:SendTaskSuccess"):
        cloud.client("stepfunctions", "stranger").send_task_success(taskToken=token, output="{}")
    cloud.client("stepfunctions", "anyone").send_task_heartbeat(taskToken=token)
    cloud.client("stepfunctions", "owner").send_task_success(taskToken=token, output="{}")
    assert finished(cloud, execution)["status"] == "SUCCEEDED"


def test_the_times_a_state_machine_says_are_the_clouds(cloud: LocalCloud) -> None:
    cloud.advance(86400)
    now = cloud.clock.time()
    execution = begin(cloud)
    given = held(cloud, execution)
    for name in ("entered", "started"):
        assert given[name].endswith("Z")
        assert abs(datetime.fromisoformat(given[name]).timestamp() - now) < 30
    states = cloud.client("stepfunctions")
    states.send_task_success(taskToken=given["token"], output="{}")
    done = finished(cloud, execution)
    assert abs(done["startDate"].timestamp() - now) < 30
    assert abs(done["stopDate"].timestamp() - now) < 30
    for event in states.get_execution_history(executionArn=execution)["events"]:
        assert abs(event["timestamp"].timestamp() - now) < 30


def test_the_limit_of_a_task_that_is_a_functions_arn_is_in_real_time(cloud: LocalCloud) -> None:
    run(cloud, {}, "TimedArn")
    assert run(cloud, {}, "TimedArn")["status"] == "SUCCEEDED"
    late = run(cloud, {"do": "sleep", "seconds": 1.5}, "TimedArn")
    assert (late["status"], late["error"]) == ("FAILED", "States.Timeout")
