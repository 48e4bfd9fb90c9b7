"""Deployment settings: what a person types, and what they read when it cannot be."""

import pytest

from infra.settings import DeploymentSettings
from tidegate.kernel.errors import InvalidInputError
from tidegate.kernel.settings import PrepareSettings


def faults_of(context: dict[str, object]) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as caught:
        DeploymentSettings.from_context(context)
    return {fault.path: str(fault) for fault in caught.value.faults}


def test_nothing_said_means_dev() -> None:
    settings = DeploymentSettings.from_context({})
    assert (settings.stage, settings.prefix, settings.keeps_data) == ("dev", "tidegate-dev", False)


def test_the_command_lines_strings_become_what_they_mean() -> None:
    settings = DeploymentSettings.from_context(
        {"stage": "prod", "throttle_rate": "50", "alarm_emails": "a@example.com, b@example.com"}
    )
    assert settings.keeps_data
    assert settings.throttle_rate == 50
    assert settings.alarm_emails == ("a@example.com", "b@example.com")


@pytest.mark.parametrize("given", ["batch_place", "Batch_Places", "batchplaces"])
def test_a_misspelt_setting_is_named_with_the_one_that_may_be_meant(given: str) -> None:
    assert "is not a deployment setting; did you mean 'batch_places'?" in faults_of({given: "x"})[given]


def test_every_wrong_value_is_named_at_once_with_what_is_possible() -> None:
    found = faults_of(
        {
            "stage": "production",
            "architecture": "sparc",
            "python": "2.7",
            "throttle_rate": "many",
            "log_retention_days": 31,
            "inference_timeout_seconds": 30,
            "alarm_emails": "nobody",
            "owner": "team;rm",
            "provisioned_concurrency": True,
        }
    )
    assert found["stage"] == "stage: 'production' is not allowed (allowed: dev, staging, prod)"
    assert found["inference_timeout_seconds"] == "inference_timeout_seconds: 30 is not between 1 and 29"
    assert set(found) == {
        "stage",
        "architecture",
        "python",
        "throttle_rate",
        "log_retention_days",
        "inference_timeout_seconds",
        "alarm_emails",
        "owner",
        "provisioned_concurrency",
    }


@pytest.mark.parametrize(
    ("given", "meant"), [("true", True), ("True ", True), ("false", False), (True, True), (False, False)]
)
def test_snap_start_is_true_or_false(given: object, meant: bool) -> None:
    assert DeploymentSettings.from_context({"snap_start": given}).snap_start is meant


@pytest.mark.parametrize("given", ["yes", "1", "", 1, None])
def test_what_is_neither_true_nor_false_is_refused(given: object) -> None:
    assert faults_of({"snap_start": given})["snap_start"].endswith("is not allowed (allowed: true, false)")


def test_snap_start_and_provisioned_concurrency_exclude_each_other() -> None:
    assert faults_of({"snap_start": "true", "provisioned_concurrency": "2"}) == {
        "snap_start": "snap_start: cannot be combined with provisioned_concurrency; set only one of them"
    }
    assert DeploymentSettings(snap_start=True, provisioned_concurrency=0).snap_start
    assert DeploymentSettings(provisioned_concurrency=2).snap_start is False


def test_a_mistyped_name_is_not_ignored() -> None:
    assert "stage" in faults_of({"stge": "prod"})["stge"]


def test_the_cdks_own_context_is_left_alone() -> None:
    DeploymentSettings.from_context(
        {"aws:cdk:enable-path-metadata": True, "@aws-cdk/core:x": True, "availability-zones:account=1": ["a"]}
    )


def test_licences_are_a_list_of_names_without_commas() -> None:
    assert DeploymentSettings.from_context({"allowed_licences": "CC0-1.0, MIT"}).allowed_licences == ("CC0-1.0", "MIT")
    assert "holds a comma" in faults_of({"allowed_licences": ["CC0-1.0, MIT"]})["allowed_licences"]


@pytest.mark.parametrize("allowed", [(), ("MIT",), ("CC0-1.0", "MIT")])
def test_the_licences_of_the_deployment_reach_the_function(allowed: tuple[str, ...]) -> None:
    about = dict.fromkeys(("registry_table", "data_bucket", "artifacts_bucket", "code_version", "lock_hash"), "x")
    given = PrepareSettings(
        **about, allowed_licences=",".join(DeploymentSettings(allowed_licences=allowed).allowed_licences)
    )
    assert PrepareSettings.from_env(given.to_env()).licences == allowed


def test_places_of_batches_name_who_and_a_folder_outside_of_tidegates_own_buckets() -> None:
    good = "*=batch/,role/AWSReservedSSO_Sales_*=s3://lake/sales/,user/eve=batch/hr/2026/,role/Etl=s3://lake/"
    assert DeploymentSettings.from_context({"batch_places": good}).batch_places == tuple(good.split(","))
    wrong = (
        "lake",
        "*=lake/",
        "eve=batch/",
        "*=batch",
        "*=s3://lake/sales",
        "*=s3://lake/*/",
        "*=datasets/",
        "*=batch//",
    )
    for each in (*wrong, ""):
        assert "does not have the form WHO=" in faults_of({"batch_places": each})["batch_places"]
    own = "*=s3://tidegate-prod-data-captures1234-x/captures/"
    assert "a bucket of Tidegate itself" in faults_of({"batch_places": own})["batch_places"]
