"""The client as a library: signatures, kept connections, repeats and the meaning of refusals."""

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.credentials import Credentials

from tests.builders.command_line import session
from tests.builders.control_api import DESCRIPTION, World
from tests.builders.loopback import ACCESS_KEY, REGION, SECRET, Loopback, artifact, loopback
from tidegate.cli import client as client_module
from tidegate.cli.client import ATTEMPTS, Client, NotAllowedError, PlatformError, lacks
from tidegate.kernel.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from tidegate.steps import pages

ONE = {"carrier": "UA", "hour": 7, "distance": 1400.5}


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback(World(artifact=artifact())) as running:
        yield running


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def client(server: Loopback, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr("urllib3.util.retry.time", SimpleNamespace(sleep=pauses.append, time=time.time))
    found = session(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET, region_name=REGION)
    made = Client.from_session(found, endpoint_url=server.url)
    made._pause = pauses.append
    yield made
    made.close()


def trained(server: Loopback) -> None:
    server.world.with_model()
    run = server.world.call("POST", "/models/flight-delay/runs").body["run"]
    server.world.run_to_the_end(run["run_id"])


def test_many_predictions_go_over_one_kept_connection(server: Loopback, client: Client) -> None:
    trained(server)
    client.predict("flight-delay", [ONE])
    before = server.connections
    answers = [client.predict("flight-delay", [ONE]) for _ in range(50)]
    assert server.connections == before
    assert {answer["version"] for answer in answers} == {1}
    assert len({answer["predictions"][0]["id"] for answer in answers}) == 50


def test_threads_share_a_client_and_a_bounded_number_of_connections(server: Loopback, client: Client) -> None:
    trained(server)
    client.predict("flight-delay", [ONE])
    before = server.connections
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: client.predict("flight-delay", [ONE]), range(40)))
    assert len(answers) == 40
    assert server.connections - before <= 4


def test_a_list_of_many_pages_is_read_to_its_end(
    server: Loopback, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_BYTES", 700)  # two or three datasets
    for number in range(5):
        server.world.call("PUT", f"/datasets/d-{number}", DESCRIPTION)
    assert server.world.call("GET", "/datasets").body["next"]
    names = [f"d-{number}" for number in range(5)]
    found = client.datasets()
    assert ([each["name"] for each in found], found.next) == (names, None)
    first = client.datasets(4)
    assert ([each["name"] for each in first], bool(first.next)) == (names[:4], True)
    assert [each["name"] for each in client.datasets(after=first.next)] == names[4:]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_api_is_asked_again_after_the_pause_it_wants(
    server: Loopback, client: Client, pauses: list[float], status: int
) -> None:
    server.fail(status, Retry_After="3")
    server.fail(status, Retry_After="12")
    server.fail(status, Retry_After="600")
    assert client.datasets() == []
    assert pauses == [3.0, 12.0, client_module.LONGEST_ASKED_PAUSE_SECONDS]


def test_all_attempts_end_while_the_signature_is_good() -> None:
    longest = ATTEMPTS * client_module.READ_SECONDS + (ATTEMPTS - 1) * client_module.LONGEST_ASKED_PAUSE_SECONDS
    assert longest < 300


def test_who_has_waited_in_vain_reads_how_long_the_server_still_wants(server: Loopback, client: Client) -> None:
    for _ in range(ATTEMPTS):
        server.fail(503, Retry_After="90")
    with pytest.raises(UnavailableError) as caught:
        client.datasets()
    assert caught.value.next_step == "try again in 90 seconds"


def test_patience_ends(server: Loopback, client: Client, pauses: list[float]) -> None:
    for _ in range(ATTEMPTS + 1):
        server.fail(503, {"detail": "DynamoDB is busy", "errors": [], "next_step": "try again in a moment"})
    with pytest.raises(UnavailableError, match="DynamoDB is busy") as caught:
        client.datasets()
    assert caught.value.next_step == "try again in a moment"
    assert (len(server.requests), len(pauses)) == (ATTEMPTS, ATTEMPTS - 2)  # the first time at once
    assert pauses == sorted(pauses)


def test_a_lost_answer_is_asked_for_again_and_a_run_is_still_one(server: Loopback, client: Client) -> None:
    server.world.with_model()
    answer = server.world.answer

    def done_but_dropped(request: dict[str, Any]) -> Any:
        server.world.answer = answer  # type: ignore[method-assign]
        answer(request)
        raise ConnectionError

    server.world.answer = done_but_dropped  # type: ignore[method-assign]
    started = client.start_run("flight-delay")
    assert started["repeated"] is True
    assert len(server.world.registry.runs("flight-delay")) == 1


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(server: Loopback, client: Client) -> None:
    assert client.datasets() == []
    server.dropped = 1
    assert client.datasets() == []


def test_a_server_that_never_answers_right_is_unreachable(server: Loopback, client: Client) -> None:
    server.dropped = ATTEMPTS
    with pytest.raises(UnavailableError, match=r"control API at http://127\.0\.0\.1"):
        client.datasets()


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_fault_that_may_have_done_something_is_not_repeated(server: Loopback, client: Client, status: int) -> None:
    server.fail(status, {"message": "Internal Server Error"})
    with pytest.raises(PlatformError, match="Internal Server Error"):
        client.datasets()
    assert len(server.requests) == 1


def test_a_slow_api_is_a_time_out(server: Loopback, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:

    import urllib3

    monkeypatch.setattr(client_module, "_TIMEOUT", urllib3.Timeout(connect=1, read=0.05))
    monkeypatch.setattr(server.world.catalog, "datasets", lambda **_: time.sleep(0.2) or [])
    with pytest.raises(UnavailableError, match="did not answer in time"):
        client.datasets()


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (400, {"detail": "bad", "errors": [{"path": "a", "problem": "is b"}]}, InvalidInputError, "bad: a: is b"),
        (413, {"message": "Request Entity Too Large"}, InvalidInputError, "Too Large"),
        (401, {"detail": "the request has no IAM identity", "errors": []}, NotAllowedError, "IAM identity"),
        (403, {"message": "Forbidden"}, NotAllowedError, "Forbidden"),
        (403, {"message": "The security token included in the request is expired"}, NotAllowedError, "have expired"),
        (404, {"detail": "no model x", "errors": []}, NotFoundError, "no model x"),
        (404, {"message": "Not Found"}, PlatformError, "does not have this call"),
        (409, {"detail": "changed", "errors": []}, ConflictError, "changed"),
        (302, {"message": "elsewhere"}, PlatformError, "elsewhere"),
    ],
)
def test_a_refusal_comes_as_the_error_it_means(  # noqa: PLR0917
    server: Loopback, client: Client, status: int, body: dict[str, Any], error: type[Exception], said: str
) -> None:
    server.fail(status, body)
    with pytest.raises(error, match=said) as caught:
        client.datasets()
    assert caught.value.next_step or status in {400, 404, 409, 413}  # type: ignore[attr-defined]


def test_who_lacks_a_role_reads_how_to_get_it_where_they_are(server: Loopback, client: Client) -> None:
    credentials = Credentials(ACCESS_KEY, SECRET)
    on_aws = Client(credentials, REGION, lambda api: f"{server.url}/{api}")
    for asked, said in ((client, "--as approver"), (on_aws, "/tidegate/<stage>/approver-policy")):
        server.fail(403, {"message": "Forbidden"})
        with pytest.raises(NotAllowedError, match="needs the role") as caught:
            asked.datasets()
        assert said in str(caught.value.next_step)
    on_aws.close()


def test_an_answer_that_is_not_json_is_a_fault_of_the_platform(server: Loopback, client: Client) -> None:
    server.faults.append((200, ["no object"], {}))  # type: ignore[arg-type]
    with pytest.raises(PlatformError, match="HTTP 200"):
        client.datasets()


def test_names_with_odd_characters_stay_one_part_of_the_path(server: Loopback, client: Client) -> None:
    with pytest.raises(NotFoundError):
        client.dataset("a/b?c#d e%")
    assert server.requests == [("GET", "/control/datasets/a%2Fb%3Fc%23d%20e%25")]


def test_the_addresses_are_looked_up_once(server: Loopback, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.datasets()
    server.deployed = False
    assert client.models() == []
    with pytest.raises(NotFoundError, match="stage 'dev' is not deployed"):
        client.health()


def test_a_stage_that_lacks_one_address_is_incomplete(server: Loopback, client: Client) -> None:
    server.lacks = "control"
    with pytest.raises(NotFoundError, match=r"'dev' is incomplete .* no parameter .*control-url") as raised:
        client.models()
    assert raised.value.next_step == "start the local cloud again: scripts/local down, then scripts/local up"
    assert lacks("test", "x", "p", local=False, others=True).next_step == (
        "deploy it again (npx cdk deploy --all -c stage=test)"
    )


def test_a_run_is_followed_until_its_version_serves(server: Loopback, client: Client, pauses: list[float]) -> None:
    server.world.with_model()
    run = client.start_run("flight-delay")["run"]
    looks = itertools.count()
    seen: list[str] = []

    def look(found: dict[str, Any]) -> None:
        seen.append(found["status"])
        if next(looks) == 1:
            server.world.run_to_the_end(run["run_id"])

    ended = client.wait_for_run("flight-delay", run["run_id"], on_look=look)
    assert seen == ["requested", "requested", "accepted", "accepted"]
    assert ended["version"] == 1
    assert len(pauses) == 2


def test_following_outlasts_an_outage(server: Loopback, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    server.world.with_model()
    run = client.start_run("flight-delay")["run"]
    server.world.run_to_the_end(run["run_id"], accepted=False)
    for _ in range(2 * ATTEMPTS):
        server.fail(503)
    assert client.wait_for_run("flight-delay", run["run_id"])["status"] == "rejected"
    monkeypatch.setattr(client_module, "OUTAGE_SECONDS", -1.0)
    for _ in range(ATTEMPTS):
        server.fail(503)
    with pytest.raises(UnavailableError):
        client.wait_for_run("flight-delay", run["run_id"])


def test_a_proxy_is_used_for_https_only_and_not_where_it_is_set_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert not client_module._proxy_of("https://abc.execute-api.eu-west-1.amazonaws.com")
    monkeypatch.setenv("https_proxy", "http://proxy.example.com:3128")
    monkeypatch.setenv("no_proxy", "internal.example.com")
    assert client_module._proxy_of("https://abc.execute-api.eu-west-1.amazonaws.com")
    assert not client_module._proxy_of("http://127.0.0.1:4566")
    assert not client_module._proxy_of("https://internal.example.com")


def test_numbers_that_json_lacks_are_refused_before_they_are_sent(server: Loopback, client: Client) -> None:
    trained(server)
    server.requests.clear()
    with pytest.raises(InvalidInputError, match="JSON"):
        client.predict("flight-delay", [ONE | {"distance": float("nan")}])
    assert server.requests == []
