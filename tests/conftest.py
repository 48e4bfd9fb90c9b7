"""How the tests are spread over processes, what the fast part leaves out, and how Hypothesis runs."""

import gc
from pathlib import PurePosixPath
from typing import Any

import pytest

TOGETHER = {"tests/infra", "tests/local"}
"""Folders whose tests share a synthesis, which takes longer than most of them: one process each."""

APART = {"tests/flows/test_release_flow.py"}
"""Files of long tests that share nothing: one by one, to whichever process has room."""

REPETITIONS = ("second_emulator", "simulation")
"""Marks of tests that do again, elsewhere or thousands of times, what other tests do once."""

FAST_EXAMPLES = 10
"""Of a property, with `--fast`, at most; a third of those that it asks for, if that is fewer."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `scripts/test --fast` asks for."""
    parser.addoption("--fast", action="store_true", help="no simulations, and fewer examples of each property")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--fast`, leave repetitions out and try properties with fewer examples."""
    if not config.getoption("--fast"):
        return
    repetitions = [item for item in items if any(map(item.get_closest_marker, REPETITIONS))]
    config.hook.pytest_deselected(items=repetitions)
    items[:] = [item for item in items if item not in set(repetitions)]
    for test in {item.function for item in items if isinstance(item, pytest.Function)}:
        if asked := getattr(test, "_hypothesis_internal_use_settings", None):
            from hypothesis import settings

            fewer = settings(asked, max_examples=min(asked.max_examples // 3, FAST_EXAMPLES))
            test._hypothesis_internal_use_settings = fewer


def pytest_collection_finish() -> None:
    """Thousands of tests and modules stay to the end: the collector need not look at them after every test."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Imports and collection only make objects that stay. A busy machine is no fault of what is tested."""
    gc.set_threshold(50_000, 20, 50)
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
