"""The CDK app: composes the stacks, nothing else. `python -m infra.app` synthesizes, with or without the CDK's CLI."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_cdk import App, Tags

from infra.constructs.sources import Sources
from infra.layers import LayerError
from infra.settings import DeploymentSettings
from infra.stacks.announcements import AnnouncementsStack
from infra.stacks.batch import BatchStack
from infra.stacks.control import ControlStack
from infra.stacks.data import DataStack
from infra.stacks.monitoring import MonitoringStack
from infra.stacks.observability import ObservabilityStack
from infra.stacks.release import ReleaseStack
from infra.stacks.serving import ServingStack
from tidegate.kernel.errors import InvalidInputError

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Stacks:
    """One deployment."""

    data: DataStack
    release: ReleaseStack
    serving: ServingStack
    batch: BatchStack
    control: ControlStack
    announcements: AnnouncementsStack
    monitoring: MonitoringStack
    observability: ObservabilityStack


def compose(app: App, settings: DeploymentSettings, *, layers_target: str) -> Stacks:
    """Put the stacks of one stage into the app.

    Args:
        app: an empty app.
        settings: the stage's settings.
        layers_target: `lambda-x86_64`, `lambda-arm64` or `local`.

    Raises:
        infra.layers.NotBuiltError: the layers of that target are missing or older than their locks.
    """
    sources = Sources(settings, layers_target)
    name = f"Tidegate-{settings.stage}"
    data = DataStack(app, f"{name}-Data", settings=settings)
    release = ReleaseStack(app, f"{name}-Release", data=data, sources=sources)
    serving = ServingStack(app, f"{name}-Serving", data=data, sources=sources)
    batch = BatchStack(app, f"{name}-Batch", data=data, sources=sources)
    control = ControlStack(
        app, f"{name}-Control", data=data, release=release, serving=serving, batch=batch, sources=sources
    )
    announcements = AnnouncementsStack(
        app, f"{name}-Announcements", data=data, failures_arn=release.failures_arn, sources=sources
    )
    monitoring = MonitoringStack(app, f"{name}-Monitoring", data=data, release=release, sources=sources)
    observability = ObservabilityStack(
        app,
        f"{name}-Observability",
        settings=settings,
        data=data,
        release=release,
        serving=serving,
        batch=batch,
        control=control,
        announcements=announcements,
        monitoring=monitoring,
    )
    # They refer to each other by name; CloudFormation still makes first what others refer to.
    for stack, needed in {
        control: (release, batch),
        announcements: (release,),
        monitoring: (release,),
        observability: (announcements, batch, monitoring),
    }.items():
        for other in needed:
            stack.add_stack_dependency(other)
    for key, value in {
        "project": "tidegate",
        "stage": settings.stage,
        "owner": settings.owner,
        "business-unit": settings.business_unit,
    }.items():
        Tags.of(app).add(key, value)
    return Stacks(data, release, serving, batch, control, announcements, monitoring, observability)


def build(settings: DeploymentSettings, *, outdir: Path, layers_target: str = "") -> Path:
    """Synthesize the templates into `outdir` and return it; for tests and the local cloud.

    Assets are not copied: the assembly's manifests name the source folders themselves, by absolute path.

    Args:
        settings: the stage's settings.
        outdir: where the cloud assembly goes.
        layers_target: whose layers to use; empty: those of the architecture in the settings.

    Raises:
        infra.layers.NotBuiltError: the layers of that target are missing or older than their locks.
    """
    app = new_app(outdir, {"aws:cdk:disable-asset-staging": True})
    compose(app, settings, layers_target=layers_target or f"lambda-{settings.architecture}")
    app.synth()
    return outdir


def new_app(outdir: Path, context: dict[str, Any]) -> App:
    """An empty app as `build` uses it, for tests that look at constructs; the CDK's own template rules are left out,
    since they take longer than everything else together."""
    return App(
        outdir=str(outdir),
        context={**_shared_context(), **context},
        analytics_reporting=False,
        tree_metadata=False,
        builtin_cloud_formation_validation=False,
    )


def main() -> int:
    """Synthesize for the CDK CLI: settings come from the context."""
    app = App(context=_shared_context(), analytics_reporting=False)
    try:
        settings = DeploymentSettings.from_context(app.node.get_all_context())
        compose(app, settings, layers_target=f"lambda-{settings.architecture}")
    except InvalidInputError as error:
        print(f"infra: {error.message}\n{error.next_step}", file=sys.stderr)
        return 1
    except (LayerError, FileNotFoundError) as error:
        print(f"infra: {error}", file=sys.stderr)
        return 1
    app.synth()
    return 0


def _shared_context() -> dict[str, Any]:
    """What the CLI would read from cdk.json."""
    context: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"]
    return context


if __name__ == "__main__":
    sys.exit(main())
