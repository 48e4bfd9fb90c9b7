"""How the tests are spread over processes, and how hypothesis runs."""

from pathlib import PurePosixPath
from typing import Any

import pytest

TOGETHER = {"tests/infra", "tests/local"}
"""Folders whose tests share a synthesis, which takes longer than most of them: one process each."""

APART = {"tests/flows/test_release_flow.py"}
"""Files of long tests that share nothing: one by one, to whichever process has room."""


def pytest_configure(config: pytest.Config) -> None:
    """A busy machine is no fault of what is tested."""
    if not config.pluginmanager.hasplugin("hypothesispytest"):
        return
    from hypothesis import HealthCheck, settings

    settings.register_profile("tidegate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("tidegate")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`--dist loadfile` goes by file but for these."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    class ByCost(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            folder = str(PurePosixPath(file).parent)
            if file in APART:
                return nodeid
            return folder if folder in TOGETHER else file

    return ByCost(config, log)
