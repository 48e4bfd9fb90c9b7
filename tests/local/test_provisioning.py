"""What happens when a cloud starts, ends, or cannot start."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.local.assembly import AssemblyError, read_assembly
from infra.local.cloud import LocalCloud, ProvisioningError


def test_another_process_finds_the_cloud_by_its_state_file(assembly: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.local", str(assembly), "--state-dir", str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        shown = []
        for line in lines:
            shown.append(line)
            if "Ctrl-C" in line:
                break
        state = json.loads((tmp_path / "local.json").read_text())
        sts = boto3.client(
            "sts",
            endpoint_url=state["endpoint_url"],
            region_name=state["region"],
            aws_access_key_id=state["credentials"]["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=state["credentials"]["AWS_SECRET_ACCESS_KEY"],
        )
        assert sts.get_caller_identity()["Arn"].endswith(":user/developer")
        sts.close()
        assert state["pid"] == process.pid
        process.terminate()
        assert process.wait(20) == 0
    assert not (tmp_path / "local.json").exists()
    assert any(line.startswith("export AWS_ENDPOINT_URL=http://127.0.0.1:") for line in shown)
    assert any(line.startswith("# functions run under Python 3.") for line in shown)


def test_an_unknown_type_is_named_with_its_stack_and_logical_id(assembly: Path, tmp_path: Path) -> None:
    broken = broken_assembly(assembly, tmp_path, {"Fish": {"Type": "AWS::GameLift::Fleet"}})
    with pytest.raises(ProvisioningError, match="Storage/Fish is a AWS::GameLift::Fleet"):
        LocalCloud.start(broken, tick=False)


def test_a_resource_that_cannot_be_made_is_named_and_nothing_is_left_running(assembly: Path, tmp_path: Path) -> None:
    properties = {"Bucket": "nobody", "PolicyDocument": {"Statement": []}}
    broken = broken_assembly(assembly, tmp_path, {"Fish": {"Type": "AWS::S3::BucketPolicy", "Properties": properties}})
    before = set(threading.enumerate())
    with pytest.raises(ProvisioningError, match=r"Storage/Fish \(AWS::S3::BucketPolicy\).*NoSuchBucket"):
        LocalCloud.start(broken, tick=False)
    assert set(threading.enumerate()) <= before


def test_stacks_come_after_those_they_depend_on(assembly: Path) -> None:
    read = read_assembly(assembly, account="123456789012", region="us-east-1")
    assert [stack.name for stack in read.stacks] == ["Storage", "Work"]


def test_a_stack_for_another_account_is_refused(assembly: Path, tmp_path: Path) -> None:
    elsewhere = broken_assembly(assembly, tmp_path, {})
    manifest = (elsewhere / "manifest.json").read_text()
    there = manifest.replace("aws://unknown-account/unknown-region", "aws://111111111111/eu-west-1")
    (elsewhere / "manifest.json").write_text(there)
    with pytest.raises(AssemblyError, match="synthesized for aws://111111111111/eu-west-1"):
        read_assembly(elsewhere, account="123456789012", region="us-east-1")


def test_a_folder_that_is_no_assembly_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AssemblyError, match="synthesize the app first"):
        read_assembly(tmp_path, account="123456789012", region="us-east-1")


def broken_assembly(assembly: Path, folder: Path, resources: dict[str, Any]) -> Path:
    """A copy of the assembly with more resources in its first stack."""
    copy = folder / "broken"
    shutil.copytree(assembly, copy)
    template = json.loads((copy / "Storage.template.json").read_text())
    template["Resources"] |= resources
    (copy / "Storage.template.json").write_text(json.dumps(template))
    return copy


def test_closing_leaves_no_thread_and_the_next_cloud_starts_empty(assembly: Path) -> None:
    before = set(threading.enumerate())
    with LocalCloud.start(assembly) as first:
        first.client("sns").create_topic(Name="mine")
    assert set(threading.enumerate()) <= before
    with LocalCloud.start(assembly, tick=False) as second:
        assert not any("mine" in topic["TopicArn"] for topic in second.client("sns").list_topics()["Topics"])


def test_closing_ends_an_execution_in_the_middle_of_its_task(assembly: Path) -> None:
    before = set(threading.enumerate())
    with LocalCloud.start(assembly, tick=False) as cloud:
        states = cloud.client("stepfunctions")
        machine = cloud.outputs["MachineArn"]
        for given in ('{"do": "sleep", "seconds": 1.5}', '{"wait": 9999}'):
            states.start_execution(stateMachineArn=machine, input=given)
        hold = '{"do": "hold", "limit": 9999}'
        states.start_execution(stateMachineArn=cloud.outputs["WaitingArn"], input=hold)
        time.sleep(0.5)
        started = time.monotonic()
    assert time.monotonic() - started < 8
    assert set(threading.enumerate()) <= before


def test_closing_ends_a_listener_in_the_middle_of_its_retries(assembly: Path) -> None:
    before = set(threading.enumerate())
    with LocalCloud.start(assembly, tick=False, event_retry_waits_s=(60.0,)) as cloud:
        client = cloud.client("dynamodb")
        (table,) = client.list_tables()["TableNames"]
        item = {"pk": {"S": "reporter#a"}, "sk": {"S": "stuck"}, "listener": {"S": "raises"}}
        client.put_item(TableName=table, Item=item)
        assert not cloud.settle(1.0)
        started = time.monotonic()
    assert time.monotonic() - started < 8
    assert set(threading.enumerate()) <= before
