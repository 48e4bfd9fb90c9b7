"""The documentation: the picture of the house, the prose linter, and the links of the site."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from scripts import house, prose, site_pages
from tidegate.cli.main import cli

ROOT = Path(__file__).resolve().parents[3]


def test_the_picture_of_the_house_shows_the_contracts_that_are_enforced() -> None:
    drawn = (ROOT / "docs/house.svg").read_text("utf-8")
    assert drawn == house.picture(), "draw it again: python scripts/house.py > docs/house.svg"


def test_the_picture_has_every_folder_of_the_domain() -> None:
    folders = {path.name for path in (ROOT / "layers/core/python/tidegate/domain").iterdir() if path.is_dir()}
    titles = set(re.findall(r'class="title"[^>]*>([^<]+)<', house.picture()))
    assert folders - {"__pycache__"} <= titles


@pytest.mark.parametrize(
    ("link", "source", "page", "rewritten"),
    [
        ("[a](docs/cost.md#here)", "README.md", "index.md", "[a](cost.md#here)"),
        ("![a](docs/report.png)", "README.md", "index.md", "![a](report.png)"),
        ("[a](examples/mortgage)", "README.md", "index.md", "[a](examples/mortgage.md)"),
        ("[a](../../docs/fairness.md#b)", "examples/digits/README.md", "examples/digits.md", "[a](../fairness.md#b)"),
        ("[a](../deploy.md)", "docs/adr/x.md", "adr/x.md", "[a](../deploy.md)"),
        ("[the tables](../infra/cost.py)", "docs/cost.md", "cost.md", "the tables"),
        ("[a](https://example.com/x.md)", "docs/cost.md", "cost.md", "[a](https://example.com/x.md)"),
        ("[a](nowhere.md)", "docs/cost.md", "cost.md", "[a](nowhere.md)"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(link: str, source: str, page: str, rewritten: str) -> None:
    match = site_pages.LINK.fullmatch(link)
    assert match
    assert site_pages.rewritten(match, source, page) == rewritten


def test_the_prose_linter_finds_old_words_long_sentences_and_weak_words_and_reads_no_code() -> None:
    long = " ".join(f"word{chr(97 + at % 26)}{at}" for at in range(prose.MOST_WORDS + 1))
    page = (
        f"# A page\n\nThe release was withdrawn.\n\nWe told\nthem that it does\nnot let you in.\n\n{long}.\n\n"
        "Very good.\n\n`harvest` and [a link](harvest.md) are not read:\n\n    tidegate watch\n\n```\nsurvey\n```\n"
    )
    found = [re.sub(r"^page.md:(\d+):\d+ .*\[(.*)\]$", r"\1 \2", line) for line in prose.findings("page.md", page)]
    assert found == [
        "3 tidegate.decided",
        "5 tidegate.decided",
        "6 tidegate.decided",
        "9 tidegate.length",
        "11 weasel_words.very",
    ]


def test_the_changelog_may_name_old_words_but_not_weak_ones() -> None:
    text = "We say `roll back`, not withdraw, and mend it.\n"
    assert [line.rsplit(" ", 1)[1] for line in prose.findings("CHANGELOG.md", text)] == ["[tidegate.plain]"]


def test_the_linter_reads_the_texts_of_code_and_the_help_of_commands() -> None:
    code = (
        '"""Nobody told us."""\n\ndef show(name: str) -> None:\n    """We told you."""\n'
        '    told = "told"\n    raise ValueError(f"{name} is no metric", "`harvest` is a key", "there is no model")\n'
    )
    assert list(prose.findings_in_code("a/page.py", code)) == [
        "a/page.py:6 Say: is not a; not 'is no metric'. [tidegate.plain]"
    ]
    in_help = [line.rsplit(" ", 1)[1] for line in prose.findings_in_code("a/cli/commands/show.py", code)]
    assert in_help == ["[tidegate.decided]", "[tidegate.decided]", "[tidegate.plain]"]


def test_every_action_is_pinned_by_a_commit() -> None:
    for workflow in (ROOT / ".github/workflows").glob("*.yml"):
        used = re.findall(r"uses: (.+)", workflow.read_text("utf-8"))
        assert used
        assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", action)] == []


def typed() -> Iterator[tuple[str, str]]:
    """Every command line of `tidegate` in the pages: where it stands, and what is typed."""
    for path in prose.pages():
        text = re.sub(r"\\\n\s*", " ", path.read_text("utf-8"))
        for line in re.findall(r"^(?: {4}|\$ |  )?(tidegate [a-z-].*)$", text, flags=re.MULTILINE):
            yield path.name, line


def test_every_command_in_the_pages_exists_with_its_options() -> None:
    wrong = []
    for name, line in typed():
        words = [{"--local": "--local=file"}.get(word, word) for word in shlex.split(line, comments=True)[1:]]
        command: click.Command = cli
        context = click.Context(cli, info_name="tidegate", **cli.context_settings)
        try:
            while isinstance(command, click.Group):
                if command.name == "ledger" and not set(command.commands) & set(words):
                    words = ["show", *words]  # the one word that may be left out
                rest = command.make_parser(context).parse_args(words)[1]
                called, found, words = command.resolve_command(context, rest)
                assert found
                command = found
                context = click.Context(command, info_name=called, parent=context)
            command.make_parser(context).parse_args(words)
        except click.UsageError as error:
            wrong.append(f"{name}: {line}: {error.format_message()}")
    assert wrong == []


def test_the_pages_hold_many_commands() -> None:
    assert len(list(typed())) > 60


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 200
