"""The README's own commands, typed as they stand there against the deployed local cloud."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.flows.conftest import ROOT, House, to_parquet
from tidegate.cli import exits
from tidegate.cli.main import main

DATASET = ".build/demo/flights.parquet"  # the demo builds it


def commands_under(heading: str) -> list[list[str]]:
    """The `tidegate` commands of a section's blocks, as words."""
    _, _, section = (ROOT / "README.md").read_text("utf-8").partition(f"\n## {heading}\n")
    block = "".join(re.findall(r"(?:^    .*\n)+", section.partition("\n## ")[0], re.MULTILINE))
    lines = block.replace("\\\n", " ").splitlines()
    return [words[1:] for line in lines if (words := shlex.split(line))[0] == "tidegate"]


def test_the_commands_of_your_model_do_what_they_say(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With fewer flights than the demo has; nothing else is put in the place of what stands there."""
    keys = house.cloud.env()
    state = {"endpoint_url": house.cloud.endpoint_url, "region": keys["AWS_DEFAULT_REGION"], "stage": "dev"}
    file = tmp_path / "local.json"
    file.write_text(json.dumps(state | {"credentials": {name: keys[name] for name in keys if "ACCESS_KEY" in name}}))
    flights = tmp_path / "flights.parquet"
    flights.write_bytes(to_parquet(house.flights[house.flights["month"] <= 5].sample(8_000, random_state=3)))
    monkeypatch.chdir(ROOT)
    said = {}
    for words in commands_under("Your model"):
        assert words[-1] == "--local"
        typed = [str(flights) if word == DATASET else word for word in words[:-1]]
        assert main([f"--local={file}", *typed]) == exits.OK, capsys.readouterr()
        said[words[0]] = capsys.readouterr().out
    assert list(said) == ["data", "model", "train", "report"]
    assert "8,000" in said["data"]
    assert "accepted" in said["report"]
    assert house.client.served("flight-delay")["version"] == 1
