"""Both kinds of deployment, synthesized once: dev, whose data goes with its stacks, and prod, whose data stays."""

import json

import pytest

from infra import layers
from infra.app import compose, new_app
from infra.settings import DeploymentSettings
from tests.infra.synthesized import Deployment

STAGES = {
    "dev": DeploymentSettings(code_version="test"),
    "prod": DeploymentSettings(
        stage="prod",
        owner="ml-platform",
        business_unit="retail",
        code_version="test",
        alarm_emails=("oncall@example.com",),
        inference_reserve=50,
        provisioned_concurrency=2,
        batch_places=("*=batch/", "role/sales-*=s3://lake-of-tests/sales/"),
    ),
}


@pytest.fixture(scope="session")
def deployments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Deployment]:
    from cdk_nag import AwsSolutionsChecks

    for layer in layers.layers_of("local"):
        layers.build("local", layer)
    made = {}
    for stage, settings in STAGES.items():
        folder = tmp_path_factory.mktemp(f"assembly-{stage}")
        app = new_app(folder, {"aws:cdk:disable-asset-staging": True})
        compose(app, settings, layers_target="local")
        # Before the synthesis, which turns references between stacks into imports with names of their own.
        report = AwsSolutionsChecks(app).validate_scope(app)
        app.synth()
        templates = {
            file.name.removesuffix(".template.json"): json.loads(file.read_text("utf-8"))
            for file in sorted(folder.glob("*.template.json"))
        }
        made[stage] = Deployment(
            stage, folder, templates, {found.rule_name: found.description for found in report.violations}
        )
    return made


@pytest.fixture(params=sorted(STAGES))
def deployment(request: pytest.FixtureRequest, deployments: dict[str, Deployment]) -> Deployment:
    """Each stage in turn."""
    return deployments[request.param]
