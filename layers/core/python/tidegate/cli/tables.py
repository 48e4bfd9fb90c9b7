"""The tables of docs/ that say what a registry holds, written from the registries themselves.

    python -m tidegate.cli.tables docs

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`, on whichever page. The same command writes
the JSON Schemas of stored documents to `docs/schemas/`. A test holds both equal to this.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tidegate.domain.evaluation.evaluation import Evaluation
from tidegate.domain.serving.computed import MAX_GROUPS
from tidegate.kernel import english
from tidegate.kernel.drift.registry import DISTANCES, RISES
from tidegate.kernel.drift.volume import VOLUME
from tidegate.kernel.expressions import language
from tidegate.kernel.metrics.metric import FromLosses, FromProbabilities, Metric
from tidegate.kernel.metrics.registry import METRICS
from tidegate.kernel.typed import json_schema
from tidegate.spec.estimators.estimator import Inner, Probabilities
from tidegate.spec.estimators.registry import ESTIMATORS, LEFT_OUT
from tidegate.spec.model import json_schema as spec_schema
from tidegate.spec.part import MAX_NAME, Task
from tidegate.spec.rules.registry import RULES, kind_of
from tidegate.spec.rules.rule import Place
from tidegate.spec.strict_yaml import MAX_DEPTH, MAX_NODES
from tidegate.spec.training import MAX_CANDIDATES
from tidegate.steps.registry.models import MAX_SPEC_BYTES

_BETWEEN = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_PROBABILITIES = {
    Probabilities.NONE: "–",
    Probabilities.SOUND: "sound",
    Probabilities.DISTORTED: "distorted",
}


def table(*columns: str, rows: Iterable[Iterable[str]]) -> str:
    """Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _estimators() -> str:
    return table(
        "estimator",
        "for",
        "numbers",
        "categories",
        "missing numbers",
        "probabilities",
        "what it is",
        rows=(
            (
                f"`{each.name}`",
                "regression" if Task.REGRESSION in each.tasks else "classes",
                "standardised" if each.scaled else "as they are",
                "one-hot" if each.encoding == "onehot" else "ordinal",
                "as they are" if each.keeps_gaps else "median",
                "none: only inside others" if each.only_inside else _PROBABILITIES[each.probabilities],
                each.words + "".join(f" `{inner.parameter}` {_takes(inner)}." for inner in each.inner),
            )
            for each in ESTIMATORS.values()
        ),
    )


def _takes(inner: Inner) -> str:
    what = "a list of estimators" if inner.many else "an estimator"
    return f"{'is required and ' if inner.required else ''}takes {what}"


def _left_out() -> str:
    rows = ((f"`{each.name}`", each.sentence) for each in LEFT_OUT.values())
    return table("estimator", "why it cannot be used", rows=rows)


def _rules() -> str:
    return table(
        "kind",
        "answer",
        "as the baseline of",
        "as the fallback of",
        "for example",
        rows=(
            (
                f"`{kind_of(each)}`",
                " ".join((each.__doc__ or "").split()) + (" Needs `time`." if each.needs_time else ""),
                ", ".join(each.tasks.get(Place.BASELINE, ())) or "–",
                ", ".join(each.tasks.get(Place.FALLBACK, ())) or "–",
                f"`{_yaml(each.example)}`",
            )
            for each in RULES
        ),
    )


def _yaml(document: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(dict(document), default_flow_style=True, sort_keys=False, width=1000)
    return text.strip()


def _metrics() -> str:
    return table(
        "metric",
        "for",
        "better is",
        "range",
        "undefined when",
        "without labels",
        "what it says",
        rows=(
            (
                f"`{each.name}`",
                ", ".join(each.tasks),
                "more" if each.more_is_better else "less",
                _range(each),
                each.undefined.words,
                _WITHOUT_LABELS[type(each.unlabelled)],
                each.sentence + _parameters(each),
            )
            for each in METRICS.values()
        ),
    )


_WITHOUT_LABELS: Mapping[type, str] = {
    FromProbabilities: "expected from the probabilities",
    FromLosses: "expected from the scores",
    type(None): "unknown",
}


def _range(metric: Metric) -> str:
    worst = "" if metric.worst is None else f"{metric.worst:g}"
    low, high = (worst, f"{metric.perfect:g}") if metric.more_is_better else (f"{metric.perfect:g}", worst)
    return f"{low} to {high}" if low and high else f"from {low}" if low else f"up to {high}"


def _parameters(metric: Metric) -> str:
    return "".join(
        f" `{each.name}`: {each.meaning[0].lower()}{each.meaning[1:-1]}, {each.least:g} to {each.most:g} "
        f"(default {each.default:g})."
        for each in metric.parameters
    )


def _drift_statistics() -> str:
    test = "Fisher's exact test, one-sided"
    return table(
        "statistic",
        "of",
        "significant by",
        "material",
        "what it is",
        rows=(
            *(
                (
                    f"`{each.name}`",
                    "each distribution",
                    "chi-square test",
                    f"beyond `monitoring.{each.name}`, {each.threshold:g} by default",
                    each.sentence,
                )
                for each in DISTANCES.values()
            ),
            *(
                (f"`{each.name}`", "each feature", test, f"{100 * each.threshold:g} % more of the rows", each.sentence)
                for each in RISES.values()
            ),
            (
                f"`{VOLUME.name}`",
                "the traffic",
                f"{VOLUME.deviations:g} robust standard deviations, {VOLUME.least_windows} earlier windows needed",
                f"{100 * VOLUME.threshold:g} % of the median",
                VOLUME.sentence,
            ),
        ),
    )


def _limits() -> str:
    """Those of the JSON Schema, the lists before the texts, then those that it cannot express."""
    lists, texts = dict[str, str](), dict[str, str]()
    for path, node in _nodes(spec_schema(), ""):
        if "maxItems" in node:
            lists[path] = english.count(node["maxItems"], "entry", "entries")
        elif "maxLength" in node and node["maxLength"] != MAX_NAME:
            texts[path] = f"{node['maxLength']:,} characters"
    rows = [
        *((f"`{path}`", most) for path, most in (lists | texts).items()),
        ("name of a column or feature", f"{MAX_NAME} characters"),
        ("candidates, once every grid is expanded", f"{MAX_CANDIDATES}"),
        ("operators within each other in an expression", f"{language.MAX_DEPTH}"),
        ("columns of a `group_rate` in an expression", f"{language.MAX_KEY_COLUMNS}"),
        ("groups that have a rate of their own", f"{MAX_GROUPS:,}"),
        ("a spec file", f"{MAX_SPEC_BYTES // 1024} KiB, {MAX_DEPTH} levels, {MAX_NODES:,} values"),
    ]
    return table("what", "at most", rows=rows)


def _nodes(schema: Mapping[str, Any], path: str, root: Mapping[str, Any] | None = None) -> Iterator[tuple[str, Any]]:
    """Every part of a JSON Schema with its place in a document."""
    root = schema if root is None else root
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from _nodes(part, f"{path}.{name}".lstrip("."), root)
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _nodes(part, path, root)
    if isinstance(schema.get("items"), dict):
        yield from _nodes(schema["items"], f"{path}[]", root)


TABLES: Mapping[str, Callable[[], str]] = {
    "estimators": _estimators,
    "left-out": _left_out,
    "rules": _rules,
    "metrics": _metrics,
    "drift-statistics": _drift_statistics,
    "limits": _limits,
}


def schemas() -> dict[str, str]:
    """JSON Schemas by the name of their file."""
    return {"evaluation.json": json.dumps(json_schema(Evaluation), indent=2) + "\n"}


def filled(page: str) -> str:
    """The page with each of its tables written again. Raises KeyError for one that nobody writes."""
    return _BETWEEN.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", page)


def main(folder: str) -> None:
    """Write the tables of every page in a folder again, and the schemas."""
    for page in sorted(Path(folder).glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if filled(text) != text:
            page.write_text(filled(text), encoding="utf-8")
            print(page)  # noqa: T201
    for name, schema in schemas().items():
        path = Path(folder, "schemas", name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(schema, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
