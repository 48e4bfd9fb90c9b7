"""docs/deploy.md says what stacks and layers come to: held to the templates, and to the layers that are built here."""

import hashlib
import re
from pathlib import Path

import pytest

from infra import layers
from scripts import sizes
from tests.infra.synthesized import Deployment

PAGE = sizes.PAGE.read_text("utf-8")


def test_the_page_has_the_sizes_of_the_stacks_and_of_the_layers_that_are_built(
    deployments: dict[str, Deployment],
) -> None:
    assert sizes.filled(PAGE, deployments["dev"].templates) == PAGE, "the sizes have changed: run scripts/generate"


def test_the_limits_are_named_and_nothing_is_near_them(deployments: dict[str, Deployment]) -> None:
    rows = [line.split("|") for line in sizes.stacks(deployments["dev"].templates).splitlines()[2:]]
    assert {row[1].strip(" `") for row in rows} == {name.split("-")[2] for name in deployments["dev"].templates}
    assert max(int(row[3]) for row in rows) < 0.8 * sizes.MOST_RESOURCES
    assert max(int(row[4].removesuffix("KB ")) for row in rows) * 1000 < 0.8 * sizes.MOST_TEMPLATE_BYTES


@pytest.fixture
def nothing_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "BUILT", tmp_path)


@pytest.mark.usefixtures("nothing_built")
def test_a_layer_that_is_not_built_keeps_its_size_while_its_lock_is_the_same(
    deployments: dict[str, Deployment],
) -> None:
    assert sizes.third_party_layers(deployments["dev"].templates, PAGE) in PAGE


@pytest.mark.usefixtures("nothing_built")
def test_a_size_that_was_measured_with_another_lock_is_not_kept(deployments: dict[str, Deployment]) -> None:
    lock = hashlib.sha256(layers.lock_file("data").read_bytes()).hexdigest()[:8]
    wanted = "layers/data/requirements.txt has changed: run scripts/build_layers --target lambda-x86_64 and "
    with pytest.raises(sizes.UnknownSizeError, match=re.escape(wanted)):
        sizes.third_party_layers(deployments["dev"].templates, PAGE.replace(lock, "0" * 8))
