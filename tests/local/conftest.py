from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.cloud import LocalCloud

SAMPLE = Path(__file__).parent / "sample" / "app.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These first: they close their clouds, the flows keep one open to the end, and a process can have only one."""
    here = Path(__file__).parent
    items.sort(key=lambda item: here not in item.path.parents)


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = importlib.util.spec_from_file_location("sample_app", SAMPLE)
    assert spec is not None
    assert spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    return Path(app.synthesize(tmp_path_factory.mktemp("assembly")))


@pytest.fixture(scope="module")
def cloud(assembly: Path) -> Iterator[LocalCloud]:
    with LocalCloud.start(assembly, tick=False, event_retry_waits_s=(0.05, 0.05)) as started:
        yield started


@pytest.fixture
def clean(cloud: LocalCloud) -> LocalCloud:
    """The cloud with its queues emptied, for tests that look at what arrives in them."""
    cloud.settle()
    sqs = cloud.client("sqs")
    for url in sqs.list_queues()["QueueUrls"]:
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return cloud
