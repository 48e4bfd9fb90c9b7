"""The control API: events in, answers out, on in-memory ports."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from tests.builders.control_api import DESCRIPTION, World, event
from tests.builders.data import described_meanwhile
from tests.builders.reports import ANA
from tests.builders.specs import spec_document, spec_text
from tests.context import CONTEXT
from tidegate.cli.doctor import synthetic
from tidegate.domain.registry.run import RunStatus
from tidegate.kernel.errors import ConflictError, UnavailableError
from tidegate.kernel.routes import CONTROL


@pytest.fixture
def world() -> World:
    return World()


# Bodies


def test_a_name_given_twice_in_a_body_is_a_fault(world: World) -> None:
    request = event("PUT", "/datasets/flights")
    request["body"] = json.dumps(DESCRIPTION)[:-1] + ', "owner": "somebody else"}'
    answer = world.send(request)
    assert (answer.status, world.call("GET", "/datasets/flights").status) == (400, 404)
    assert answer.faults == [": 'owner' is given twice in one object; keep one"]


def test_text_that_acts_on_a_terminal_is_a_fault_beside_the_others(world: World) -> None:
    answer = world.call(
        "PUT", "/datasets/flights", DESCRIPTION | {"owner": "ops\x1b[2J\nroot", "origin": 3, "licens": ""}
    )
    assert answer.status == 422
    assert {fault["path"]: fault["problem"] for fault in answer.body["errors"]} == {
        "owner": r"has the control character \x1b at letter 4; remove it",
        "origin": "3 is not a text",
        "licens": "no such field; did you mean 'licence'?",
    }


def test_a_spec_of_bombs_is_answered_at_once_and_not_stored(world: World) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b]\n"
    for text in (bomb, spec_text() + "seed: 2013-06-31\nname: x", "[" * 250_000):
        request = event("PUT", "/models/flight-delay")
        request["body"] = text
        answer = world.send(request)
        assert (answer.status, bool(answer.body["errors"])) == (422, True)
    assert world.call("GET", "/models/flight-delay").status == 404


# Names of the doctor's

EVE = ANA.replace("ana", "eve")
SICK = synthetic.name(datetime(2026, 1, 5, 12, tzinfo=UTC), "4f9c")
MADE: dict[str, Any] = {
    f"/models/{SICK}": yaml.safe_dump(synthetic.spec(SICK, 1)),
    f"/datasets/{SICK}": {"origin": "tidegate doctor", "licence": "CC0-1.0", "owner": synthetic.OWNER},
}


@pytest.mark.parametrize("path", MADE)
def test_what_a_doctor_makes_is_changed_by_nobody_else(world: World, path: str) -> None:
    assert [world.call("PUT", path, MADE[path]).status in {200, 201} for _ in range(2)] == [True, True]
    answer = world.call("PUT", path, MADE[path], actor=EVE)
    assert answer.status == 403
    assert f"was made by the doctor that {ANA} started" in answer.body["detail"]


@pytest.mark.parametrize("name", [SICK, "tidegate-doctor-mine"])
def test_nobody_can_have_a_model_or_a_dataset_that_a_doctor_would_remove(world: World, name: str) -> None:
    for path, body in (
        (f"/models/{name}", spec_text(name=name)),
        (f"/datasets/{name}", DESCRIPTION),
    ):
        answer = world.call("PUT", path, body)
        assert (answer.status, [fault["path"] for fault in answer.body["errors"]]) == (422, ["name"])
        assert world.call("GET", path).status == 404


# Datasets


def test_a_dataset_is_described_by_who_the_signature_says(world: World) -> None:
    created = world.call("PUT", "/datasets/flights", DESCRIPTION)
    assert created.status == 201
    assert created.body["created"]
    assert world.call("GET", "/datasets/flights").body["dataset"]["registered_by"] == ANA
    assert [each["name"] for each in world.call("GET", "/datasets").body["datasets"]] == ["flights"]


def test_a_name_that_cannot_be_one_is_refused_in_words(world: World) -> None:
    answer = world.call("PUT", "/datasets/Flights", DESCRIPTION)
    form = "names consist of lower-case letters, digits and dashes, and begin with a letter"
    assert answer.body["errors"] == [{"path": "dataset", "problem": f"'Flights' cannot be a name: {form}"}]


def test_the_same_description_again_changes_nothing(world: World) -> None:
    world.call("PUT", "/datasets/flights", DESCRIPTION)
    world.clock.move(hours=1)
    before = world.catalog.dataset("flights")
    again = world.call("PUT", "/datasets/flights", DESCRIPTION, actor="arn:aws:iam::123456789012:user/bo")
    assert (again.status, again.body["changed"]) == (200, False)
    assert world.catalog.dataset("flights") == before


def test_another_description_keeps_the_latest_version_and_names_who_changed_it(world: World) -> None:
    version = world.with_dataset()
    described = DESCRIPTION | {"licence": "MIT", "weaker": ["licence"]}
    world.call("PUT", "/datasets/flights", described, actor="arn:aws:iam::1:user/bo")
    dataset = world.call("GET", "/datasets/flights").body["dataset"]
    assert (dataset["latest"], dataset["licence"], dataset["registered_by"]) == (
        version,
        "MIT",
        "arn:aws:iam::1:user/bo",
    )


def test_a_spec_with_endless_faults_is_answered_with_some_of_them(world: World) -> None:
    unknown = {f"parameter_{place}": 1 for place in range(8_000)}
    candidate = {"estimator": "sklearn.ensemble.RandomForestClassifier", "parameters": unknown}
    answer = world.call("PUT", "/models/flight-delay", spec_text(candidates=[candidate]))
    assert answer.status == 422
    assert answer.body["detail"].startswith("8,000 faults")
    assert len(answer.body["errors"]) == 501
    assert answer.body["errors"][-1] == {"path": "", "problem": "7,500 more faults are not listed"}
    assert len(json.dumps(answer.body)) < 1_000_000


def test_of_two_descriptions_at_once_the_later_one_is_held_against_the_earlier_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.call("PUT", "/datasets/flights", DESCRIPTION)
    described_meanwhile(world.catalog, monkeypatch, outcome=("arr_delay",))
    answer = world.call("PUT", "/datasets/flights", DESCRIPTION | {"description": "another"})
    assert (answer.status, [fault["path"] for fault in answer.body["errors"]]) == (428, ["outcome.arr_delay"])
    assert world.catalog.dataset("flights").outcome == ("arr_delay",)


def test_a_description_that_protects_less_is_refused_until_all_of_it_is_agreed_to(world: World) -> None:
    world.call("PUT", "/datasets/flights", DESCRIPTION | {"outcome": ["a", "b"], "pii": ["c"], "time": "t"})
    before = world.catalog.dataset("flights")
    less = DESCRIPTION | {"outcome": ["b", "d"], "pii": [], "time": None, "licence": "MIT"}
    paths = ["outcome.a", "pii.c", "time", "licence"]
    for agreed in ([], paths[1:], ["outcome.b", *paths[1:]]):
        answer = world.call("PUT", "/datasets/flights", less | {"weaker": agreed})
        assert (answer.status, [fault["path"] for fault in answer.body["errors"]]) == (428, paths)
        assert '"weaker": ["outcome.a", "pii.c", "time", "licence"]' in answer.body["next_step"]
    assert world.catalog.dataset("flights") == before
    assert world.call("PUT", "/datasets/flights", less | {"weaker": paths}).status == 200
    more = DESCRIPTION | {"outcome": ["d", "b", "a"], "pii": ["c"], "time": "t", "licence": "MIT"}
    assert world.call("PUT", "/datasets/flights", more).status == 200


def test_a_misspelt_outcome_column_is_warned_about_with_the_near_name(world: World) -> None:
    world.with_dataset()
    answer = world.call("PUT", "/datasets/flights", DESCRIPTION | {"outcome": ["dep_delay", "late", "dep_dely"]})
    assert len(answer.body["warnings"]) == 1
    assert "'dep_dely'" in answer.body["warnings"][0]
    assert "dep_delay" in answer.body["warnings"][0]


def test_every_fault_of_a_description_is_named_at_once(world: World) -> None:
    answer = world.call("PUT", "/datasets/flights", {"licence": "", "owner": "ops@example.com", "colour": "red"})
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert {fault["path"] for fault in answer.body["errors"]} == {"origin", "licence", "colour"}


def test_a_name_that_cannot_be_used_is_refused(world: World) -> None:
    answer = world.call("PUT", "/datasets/My_Flights", DESCRIPTION)
    assert answer.status == 422
    assert "My_Flights" in answer.faults[0]


def test_an_upload_is_bound_to_its_hash_and_not_wanted_twice(world: World) -> None:
    world.call("PUT", "/datasets/flights", DESCRIPTION)
    here, new = world.file(b"old bytes", "old.csv"), b"new bytes"
    wanted = {"name": "new.csv", "sha256": hashlib.sha256(new).hexdigest(), "size": len(new)}
    plan = world.call("POST", "/datasets/flights/uploads", {"files": [here, wanted]}).body["files"]
    assert [each["present"] for each in plan] == [True, False]
    assert plan[0]["url"] is None
    assert wanted["sha256"] in plan[1]["url"]
    assert base64.b64decode(plan[1]["headers"]["x-amz-checksum-sha256"]).hex() == wanted["sha256"]


def test_a_version_is_recorded_before_it_is_handed_over_and_a_lost_hand_over_heals(world: World) -> None:
    world.call("PUT", "/datasets/flights", DESCRIPTION)
    files = {"files": [world.file(b"a,b\n1,2\n")]}

    def lost(dataset: str, version: str) -> None:
        raise UnavailableError("Lambda did not answer")

    world.dispatcher.on_register = lost
    refused = world.call("POST", "/datasets/flights/versions", files)
    assert refused.status == 503
    assert refused.headers["retry-after"] == "2"
    assert [each["status"] for each in world.call("GET", "/datasets/flights/versions").body["versions"]] == [
        "registering"
    ]

    world.dispatcher.on_register = None
    again = world.call("POST", "/datasets/flights/versions", files)
    assert (again.status, again.body["status"]) == (202, "registering")
    assert world.dispatcher.dispatched[-1] == ("flights", again.body["version"])


def test_the_same_content_again_changes_nothing_and_says_so(world: World) -> None:
    version = world.with_dataset()
    entry = world.file(b"carrier,hour\nUA,7\n", "another-name.csv")
    again = world.call("POST", "/datasets/flights/versions", {"files": [entry]})
    assert again.status == 200
    assert (again.body["version"], again.body["status"], again.body["changed"]) == (version, "ready", False)
    assert len(world.dispatcher.dispatched) == 1


def test_files_that_were_not_uploaded_are_all_named(world: World) -> None:
    world.call("PUT", "/datasets/flights", DESCRIPTION)
    missing = [{"name": f"{n}.csv", "sha256": str(n) * 64, "size": 5} for n in (1, 2)]
    answer = world.call("POST", "/datasets/flights/versions", {"files": [*missing, world.file(b"here")]})
    assert answer.status == 422
    assert answer.faults == ["files[0]: 1.csv has not been uploaded", "files[1]: 2.csv has not been uploaded"]
    assert world.catalog.versions("flights") == []


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ({"sha256": "xyz"}, "files[0].sha256"),
        ({"size": 0}, "files[0].size"),
        ({"size": "12"}, "files[0].size"),
        ({"name": "../up.csv"}, "files[0].name"),
        ({"kind": "csv"}, "files[0].kind"),
    ],
)
def test_a_wrong_file_entry_is_named_by_its_place(world: World, entry: dict[str, Any], path: str) -> None:
    world.call("PUT", "/datasets/flights", DESCRIPTION)
    files = {"files": [{"name": "a.csv", "sha256": "a" * 64, "size": 5} | entry]}
    for where in ("uploads", "versions"):
        answer = world.call("POST", f"/datasets/flights/{where}", files)
        assert (answer.status, [fault["path"] for fault in answer.body["errors"]]) == (422, [path])


@pytest.mark.parametrize("count", [0, 201])
def test_no_files_and_too_many_files_are_refused(world: World, count: int) -> None:
    world.call("PUT", "/datasets/flights", DESCRIPTION)
    entries = [{"name": f"{n}.csv", "sha256": f"{n:064x}", "size": 5} for n in range(count)]
    answer = world.call("POST", "/datasets/flights/uploads", {"files": entries})
    assert (answer.status, len(answer.faults)) == (422, 1)
    assert str(count) in answer.faults[0]


def test_the_same_content_twice_in_one_version_is_refused(world: World) -> None:
    world.call("PUT", "/datasets/flights", DESCRIPTION)
    answer = world.call("POST", "/datasets/flights/versions", {"files": [world.file(b"x"), world.file(b"x", "b.csv")]})
    assert answer.status == 422
    assert "b.csv" in answer.faults[0]


def test_versions_are_listed_without_columns_and_shown_with_them(world: World) -> None:
    version = world.with_dataset()
    listed = world.call("GET", "/datasets/flights/versions").body["versions"][0]
    assert (listed["version"], listed["column_count"], "columns" in listed) == (version, 7, False)
    for name in (version, "latest"):
        shown = world.call("GET", f"/datasets/flights/versions/{name}").body["version"]
        assert shown["columns"][0]["name"] == "carrier"


def test_a_period_is_excluded_once_however_often_it_is_said(world: World) -> None:
    world.with_dataset()
    body = {"from": "2013-02-08", "to": "2013-02-10T12:00:00+01:00", "reason": "blizzard"}
    first, again = (world.call("POST", "/datasets/flights/exclusions", body) for _ in range(2))
    assert (first.status, again.status) == (201, 200)
    assert not again.body["changed"]
    listed = world.call("GET", "/datasets/flights/exclusions").body["exclusions"]
    assert [(each["start"], each["end"], each["author"]) for each in listed] == [
        ("2013-02-08T00:00:00+00:00", "2013-02-10T11:00:00+00:00", ANA)
    ]


def test_a_period_that_ends_before_it_begins_is_refused(world: World) -> None:
    world.with_dataset()
    body = {"from": "2013-02-10", "to": "2013-02-08", "reason": "blizzard"}
    assert world.call("POST", "/datasets/flights/exclusions", body).status == 422


def test_excluding_from_a_dataset_without_time_is_refused(world: World) -> None:
    world.call("PUT", "/datasets/flights", {**DESCRIPTION, "time": None})
    body = {"from": "2013-02-08", "to": "2013-02-10", "reason": "blizzard"}
    answer = world.call("POST", "/datasets/flights/exclusions", body)
    assert answer.status == 422
    assert "--time" in answer.body["next_step"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/datasets/nope"),
        ("GET", "/datasets/nope/versions"),
        ("GET", "/datasets/nope/versions/latest"),
        ("GET", "/datasets/nope/exclusions"),
        ("GET", "/models/nope"),
        ("GET", "/models/nope/spec"),
        ("GET", "/models/nope/runs"),
        ("GET", "/models/nope/runs/20260105t120000000-1"),
        ("GET", "/models/nope/versions"),
        ("GET", "/models/nope/versions/1"),
        ("GET", "/models/nope/versions/1/report"),
        ("GET", "/models/nope/versions/one"),
        ("GET", "/models/nope/versions/99999999999999999999"),
        ("GET", "/models/nope/ledger"),
        ("GET", "/models/nope/rollouts"),
        ("GET", "/models/nope/rollouts/20260105t120000000-1"),
        ("GET", "/models/..%2F/ledger"),
        ("GET", "/models/no%23pe"),
        ("POST", "/models/nope/runs"),
        ("GET", "/nothing/here"),
        ("DELETE", "/models/nope"),
    ],
)
def test_what_does_not_exist_is_a_404_with_a_sentence(world: World, method: str, path: str) -> None:
    answer = world.call(method, path)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["detail"]


# Models


def test_a_spec_is_applied_and_read_back(world: World) -> None:
    version = world.with_dataset()
    applied = world.call("PUT", "/models/flight-delay", spec_text())
    assert applied.status == 200
    assert (applied.body["changed"], applied.body["checked_against"], applied.body["warnings"]) == (True, version, [])
    shown = world.call("GET", "/models/flight-delay").body
    assert (shown["model"]["applied_by"], shown["route"]) == (ANA, None)
    for query in ("", f"?digest={applied.body['digest']}"):
        spec = world.call("GET", f"/models/flight-delay/spec{query}").body
        assert spec["digest"] == applied.body["digest"]
        assert spec["spec"]["features"][0]["name"] == "carrier"
    assert [each["name"] for each in world.call("GET", "/models").body["models"]] == ["flight-delay"]


def test_a_spec_may_come_as_json_or_base64_and_the_same_one_again_changes_nothing(world: World) -> None:
    world.with_model()
    as_json = world.call("PUT", "/models/flight-delay", json.dumps(spec_document()))
    assert (as_json.status, as_json.body["changed"]) == (200, False)
    binary = event("PUT", "/models/flight-delay")
    binary |= {"body": base64.b64encode(spec_text().encode()).decode(), "isBase64Encoded": True}
    assert world.send(binary).body["changed"] is False


def test_every_fault_of_a_spec_is_named_at_once(world: World) -> None:
    text = spec_text(metric="rmse", owner=None, features=[{"name": "hour", "kind": "number"}])
    answer = world.call("PUT", "/models/flight-delay", text)
    assert answer.status == 422
    assert {fault["path"] for fault in answer.body["errors"]} == {"owner", "features[0].kind", "metric"}
    assert "integer" in next(f["allowed"] for f in answer.body["errors"] if f["path"] == "features[0].kind")


def test_an_outcome_column_as_a_feature_is_refused_as_leakage(world: World) -> None:
    world.with_dataset()
    features = [*spec_document()["features"], {"name": "dep_delay", "kind": "numeric"}]
    answer = world.call("PUT", "/models/flight-delay", spec_text(features=features))
    assert answer.status == 422
    assert len(answer.faults) == 1
    assert answer.faults[0].startswith("features[3].name: 'dep_delay'")
    assert "leakage" in answer.faults[0]
    assert world.call("GET", "/models/flight-delay").status == 404


def test_columns_that_the_dataset_lacks_are_named_with_near_ones_and_wrong_kinds_too(world: World) -> None:
    world.with_dataset()
    features = [
        {"name": "carier", "kind": "categorical"},
        {"name": "carrier", "kind": "numeric"},
        {"name": "departs_at_2", "kind": "numeric"},
    ]
    text = spec_text(features=features, group="planet", ids=["flight_id"])
    answer = world.call("PUT", "/models/flight-delay", text)
    assert [fault["path"] for fault in answer.body["errors"]] == [
        "group", "ids[0]", "features[0].name", "features[2].name", "features[1].kind",
    ]  # fmt: skip
    assert "did you mean 'carrier'?" in answer.faults[2]
    assert "latest" in answer.body["next_step"]


def test_a_spec_before_its_dataset_is_accepted_with_a_warning(world: World) -> None:
    answer = world.call("PUT", "/models/flight-delay", spec_text())
    assert (answer.status, answer.body["checked_against"]) == (200, None)
    assert "flights" in answer.body["warnings"][0]


def test_categories_of_personal_data_are_not_listed_in_a_spec_that_everybody_sees(world: World) -> None:
    world.with_dataset()
    world.call("PUT", "/datasets/flights", DESCRIPTION | {"pii": ["tailnum", "carrier"]})
    features = [{"name": "carrier", "kind": "categorical", "categories": ["UA"]}, *spec_document()["features"][1:]]
    answer = world.call("PUT", "/models/flight-delay", spec_text(features=features))
    assert answer.status == 422
    assert [fault["path"] for fault in answer.body["errors"]] == ["features[0].categories"]
    del features[0]["categories"]
    assert world.call("PUT", "/models/flight-delay", spec_text(features=features)).status == 200


def test_leakage_is_refused_even_before_the_first_version_is_ready(world: World) -> None:
    world.call("PUT", "/datasets/flights", DESCRIPTION)
    features = [{"name": "carrier", "kind": "categorical"}, {"name": "dep_delay", "kind": "numeric"}]
    assert "leakage" in world.call("PUT", "/models/flight-delay", spec_text(features=features)).faults[0]
    assert "no ready version" in world.call("PUT", "/models/flight-delay", spec_text()).body["warnings"][0]


def test_slices_by_personal_data_are_refused_unless_its_groups_are_to_be_compared(world: World) -> None:
    world.with_dataset()
    world.call("PUT", "/datasets/flights", DESCRIPTION | {"pii": ["tailnum", "carrier"]})
    gate = {"slices": ["carrier"]}
    answer = world.call("PUT", "/models/flight-delay", spec_text(gate=gate))
    assert (answer.status, [fault["path"] for fault in answer.body["errors"]]) == (422, ["gate.slices[0]"])
    assert world.call("PUT", "/models/flight-delay", spec_text(gate=gate, sensitive=["carrier"])).status == 200


def test_personal_data_as_a_feature_is_warned_about(world: World) -> None:
    world.with_dataset()
    features = [*spec_document()["features"], {"name": "tailnum", "kind": "categorical"}]
    answer = world.call("PUT", "/models/flight-delay", spec_text(features=features))
    assert answer.body["warnings"] == ["feature 'tailnum' is personal data (PII)"]


def test_a_spec_for_another_model_is_refused(world: World) -> None:
    answer = world.call("PUT", "/models/other", spec_text())
    assert (answer.status, answer.body["errors"][0]["path"]) == (422, "name")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: [1, 2",
        "just a sentence",
        "[" * 600,
        "&a [*a]",
        spec_text() + "description: &d {a: *d}\n",
        spec_text(candidates=[{"estimator": "sklearn.linear_model.LogisticRegression"}]).replace(
            "LogisticRegression", "LogisticRegression\n  parameters: {x: &x [*x]}"
        ),
        "\x00",
        "!!python/object/apply:os.system ['true']",
    ],
)
def test_text_that_is_no_spec_is_refused_in_words(world: World, text: str) -> None:
    answer = world.call("PUT", "/models/flight-delay", text)
    assert answer.status == 422
    assert answer.body["errors"]


def test_a_huge_spec_is_refused_before_it_is_read(world: World) -> None:
    assert world.call("PUT", "/models/flight-delay", "#" * 300_000).status == 413


# Runs


def test_a_run_is_recorded_and_started(world: World) -> None:
    world.with_model()
    answer = world.call("POST", "/models/flight-delay/runs", {"token": "nightly", "reason": "schedule"})
    run = answer.body["run"]
    assert (answer.status, answer.body["repeated"]) == (202, False)
    assert (run["status"], run["requested_by"], run["reason"]) == ("requested", ANA, "schedule")
    assert run["makers"] == [{"who": ANA, "did": "applied its spec"}]
    assert world.workflow.started == [("flight-delay", run["run_id"])]
    assert world.call("GET", f"/models/flight-delay/runs/{run['run_id']}").body["run"] == run
    assert world.call("GET", "/models/flight-delay/runs?limit=5").body["runs"] == [run]


def test_the_same_token_twice_runs_once(world: World) -> None:
    world.with_model()
    first, second = (world.call("POST", "/models/flight-delay/runs", {"token": "nightly"}) for _ in range(2))
    assert second.status == 200
    assert second.body["repeated"]
    assert first.body["run"]["run_id"] == second.body["run"]["run_id"]
    assert len(world.workflow.started) == 1


def test_two_requests_without_a_token_are_two_runs_one_after_the_other(world: World) -> None:
    world.with_model()
    first = world.call("POST", "/models/flight-delay/runs").body["run"]["run_id"]
    refused = world.call("POST", "/models/flight-delay/runs")
    assert (refused.status, first in refused.body["detail"], bool(refused.body["next_step"])) == (409, True, True)
    world.run_to_the_end(first)
    assert world.call("POST", "/models/flight-delay/runs").body["run"]["run_id"] != first


def test_a_crash_between_record_and_start_heals_when_the_token_comes_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.with_model()

    def down(model: str, run_id: str) -> str:
        raise UnavailableError("Step Functions is busy")

    with monkeypatch.context() as patch:
        patch.setattr(world.workflow, "start", down)
        failed = world.call("POST", "/models/flight-delay/runs", {"token": "nightly"})
    assert failed.status == 503
    assert "--token nightly" in failed.body["next_step"]
    assert world.workflow.started == []
    healed = world.call("POST", "/models/flight-delay/runs", {"token": "nightly"})
    assert world.workflow.started == [("flight-delay", healed.body["run"]["run_id"])]
    assert len(world.registry.runs("flight-delay")) == 1


def test_a_start_that_fails_without_a_token_shows_the_one_that_was_made_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.with_model()
    with monkeypatch.context() as patch:
        patch.setattr(world.workflow, "start", lambda *_: (_ for _ in ()).throw(UnavailableError("busy")))
        failed = world.call("POST", "/models/flight-delay/runs")
    token = failed.body["next_step"].rsplit(" ", 1)[-1]
    world.call("POST", "/models/flight-delay/runs", {"token": token})
    assert len(world.registry.runs("flight-delay")) == len(world.workflow.started) == 1


def test_a_finished_run_is_not_started_again_by_its_token(world: World) -> None:
    world.with_model()
    run_id = world.call("POST", "/models/flight-delay/runs", {"token": "nightly"}).body["run"]["run_id"]
    world.run_to_the_end(run_id)
    world.workflow.started.clear()
    again = world.call("POST", "/models/flight-delay/runs", {"token": "nightly"}).body["run"]
    assert (again["run_id"], again["status"], world.workflow.started) == (run_id, RunStatus.ACCEPTED, [])


def test_a_model_whose_dataset_is_not_ready_is_not_trained(world: World) -> None:
    world.call("PUT", "/models/flight-delay", spec_text())
    answer = world.call("POST", "/models/flight-delay/runs")
    assert (answer.status, answer.body["errors"][0]["path"]) == (422, "dataset")
    assert "tidegate data add flights" in answer.body["next_step"]
    assert world.registry.runs("flight-delay") == []


@pytest.mark.parametrize("body", [{"token": "no spaces"}, {"token": ""}, {"tokn": "x"}, [], "x", {"token": "x" * 65}])
def test_a_wrong_start_is_refused(world: World, body: Any) -> None:
    world.with_model()
    assert world.call("POST", "/models/flight-delay/runs", json.dumps(body)).status == 422


@pytest.mark.parametrize("limit", ["0", "501", "-1", "ten", "", "9" * 5000, "٣"])
def test_a_wrong_limit_is_refused(world: World, limit: str) -> None:
    world.with_model()
    assert world.call("GET", f"/models/flight-delay/runs?limit={limit}").status == 422


# Versions


def test_a_version_its_report_and_the_ledger_are_shown(world: World) -> None:
    world.with_model()
    run_id = world.call("POST", "/models/flight-delay/runs").body["run"]["run_id"]
    world.run_to_the_end(run_id)
    version = world.call("GET", "/models/flight-delay/versions/1").body["version"]
    assert (version["status"], version["run_id"], version["created_by"]) == ("champion", run_id, ANA)
    assert version.pop("forecast") is None
    assert world.call("GET", "/models/flight-delay/versions").body["versions"] == [version]
    assert world.call("GET", "/models/flight-delay").body["route"]["champion"]["version"] == 1
    ledger = world.call("GET", "/models/flight-delay/ledger").body["entries"]
    assert [(entry["version"], entry["action"]) for entry in ledger] == [(1, "promote")]
    report = world.call("GET", "/models/flight-delay/versions/1/report")
    assert report.raw["body"].encode() == world.artifacts.objects[version["report_key"]]


def test_a_tampered_report_is_refused_and_logged(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.with_model()
    run_id = world.call("POST", "/models/flight-delay/runs").body["run"]["run_id"]
    key = world.run_to_the_end(run_id).report_key
    world.artifacts.objects[key] = b'{"verdict": {"accepted": true}}'
    answer = world.call("GET", "/models/flight-delay/versions/1/report")
    assert answer.status == 500
    assert "SHA-256" in answer.body["detail"]
    assert '"ServerErrors":[1.0]' in capsys.readouterr().out.replace(" ", "")


# Faults


def test_a_conflict_is_a_409_with_a_next_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def raced(exclusion: object) -> None:
        raise ConflictError("somebody else changed flights")

    world.with_dataset()
    monkeypatch.setattr(world.catalog, "exclude", raced)
    body = {"from": "2013-02-08", "to": "2013-02-10", "reason": "blizzard"}
    answer = world.call("POST", "/datasets/flights/exclusions", body)
    assert (answer.status, answer.body["detail"]) == (409, "somebody else changed flights")
    assert answer.body["next_step"]


def test_an_unexpected_fault_is_a_500_that_does_not_show_its_inside(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(**_: object) -> list[object]:
        raise KeyError("table secret-name")

    monkeypatch.setattr(world.catalog, "datasets", broken)
    answer = world.call("GET", "/datasets")
    assert answer.status == 500
    assert "secret-name" not in answer.raw["body"]
    assert answer.body["instance"] == f"urn:uuid:{CONTEXT.aws_request_id}"
    assert "secret-name" in caplog.text
    assert '"ServerErrors"' in capsys.readouterr().out


@pytest.mark.parametrize("body", ["", "{", "[" * 100_000, "[" * 65 + "]" * 65, "\x00", "nul", "NaN"])
def test_a_body_that_is_not_json_is_a_400(world: World, body: str) -> None:
    assert world.call("PUT", "/datasets/flights", body).status == 400


@pytest.mark.parametrize("body", ["null", "[]", "3", '"x"', "[" * 64 + "]" * 64])
def test_a_body_that_is_no_object_is_a_422(world: World, body: str) -> None:
    assert world.call("PUT", "/datasets/flights", body).status == 422


@pytest.mark.parametrize("body", [base64.b64encode(b"\xff\xfe").decode(), "a"])
def test_a_body_that_is_not_text_is_a_400(world: World, body: str) -> None:
    request = event("PUT", "/datasets/flights") | {"body": body, "isBase64Encoded": True}
    assert world.send(request).status == 400


def test_a_request_without_an_identity_is_refused(world: World) -> None:
    anonymous = event("GET", "/datasets")
    authorizers: list[dict[str, Any]] = [{}, {"iam": None}, {"iam": {}}]
    for authorizer in authorizers:
        anonymous["requestContext"]["authorizer"] = authorizer
        assert world.send(anonymous).status == 401
    del anonymous["requestContext"]["authorizer"]
    assert world.send(anonymous).status == 401


def test_every_route_answers_and_none_is_missing(world: World) -> None:
    world.with_model()
    names = {"dataset": "flights", "model": "flight-delay", "version": "1", "run": "x", "prediction": "x"}
    for key in (route.key for route in CONTROL.values()):
        method, path = key.split(" ")
        answer = world.call(method, path.format(**names), {} if method != "GET" else None)
        assert answer.body.get("detail") != "no such route", key
        assert answer.status != 500, key


def test_a_spec_that_is_only_checked_is_not_applied(world: World) -> None:
    checked = world.call("PUT", "/models/flight-delay?check=true", spec_text())
    assert (checked.status, checked.body["changed"]) == (200, False)
    assert world.registry.models() == []
    refused = world.call("PUT", "/models/flight-delay?check=yes", spec_text())
    assert refused.faults == ["check: 'yes' is neither true nor false"]
    assert world.call("PUT", "/models/flight-delay?check=false", spec_text()).body["changed"]
