"""`python -m infra.local ASSEMBLY_DIR`: the local cloud of an assembly, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from infra.local.assembly import AssemblyError
from infra.local.cloud import LocalCloud, ProvisioningError
from infra.local.limits import most

_RUNTIME = Path(__file__).resolve().parents[2] / ".build" / "layers" / "local" / "runtime"


def main() -> int:
    """Starts, prints how to use it, and waits."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.local", description="Run the local cloud of a CDK assembly until Ctrl-C."
    )
    parser.add_argument("assembly", type=Path, help="a cdk.out folder, as `npx cdk synth` writes it")
    parser.add_argument(
        "--state-dir", type=Path, default=Path(".tidegate"), help="folder for local.json (default: .tidegate)"
    )
    parser.add_argument(
        "--runtime-dir",
        type=Path,
        default=_RUNTIME if _RUNTIME.exists() else None,
        help="the packages that Lambda's Python runtime has (default: .build/layers/local/runtime, if it is built)",
    )
    parser.add_argument(
        "--concurrency",
        type=int,
        default=most("concurrency"),
        help="the account's concurrent invocations; a new account may have 10 (default: %(default)s)",
    )
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        cloud = LocalCloud.start(
            arguments.assembly,
            runtime_dir=arguments.runtime_dir,
            state_dir=arguments.state_dir,
            concurrency=arguments.concurrency,
            on_progress=lambda line: print(line, file=sys.stderr, flush=True),
        )
    except (AssemblyError, ProvisioningError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with cloud:
        print("\n# the AWS APIs, for this shell:")
        for name, value in cloud.env().items():
            print(f"export {name}={value}")
        for name, gateway in cloud.gateways.items():
            print(f"# API {name}: {gateway.url}")
        print(f"# {cloud.python_notice}")
        print(f"# dashboards: {cloud.dashboards_url}")
        for key, value in sorted(cloud.outputs.items()):
            print(f"# output {key}: {value}")
        for name in cloud.declared_only:
            print(f"# declared, but not emulated: {name}")
        print("# Ctrl-C stops the local cloud", flush=True)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
