"""The year goes on: clean weeks, June, July, a training that monitoring starts by itself, and a broken feed.

Flights are replayed as requests of a hundred, their outcomes are reported as feedback, and the local cloud's clock is
moved to the next hourly look. What it finds is reported as it is found.
"""

import csv
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from examples.flights.build_dataset import DATASET
from examples.flights.rollouts import Course, tried
from examples.flights.scene import HERE, MODEL, ROOT, WORK, Scene
from tidegate.domain.evaluation.bootstrap import CANDIDATE, Arm, paired_bootstrap
from tidegate.domain.evaluation.estimate import Estimate

LEARNED_UNTIL = pd.Timestamp("2013-06-01")  # what has happened when the demo begins
CLEAN = 2_000  # flights of the months that are trained on, kept out of the dataset
JULY = 6_000  # of 28,000, as the budget of the demo allows
BROKEN = 2_000
LATER = 4_000  # flights of each later period by which both versions are compared
SPLIT = pd.Timestamp("2013-07-25")  # the replay of July ends here; later flights are unseen by every version
KNOTS_PER_MPH = 0.868976
BATCH = 100  # instances in a request
CONNECTIONS = 2
ENOUGH = 330  # answers by which a version is shown to be no worse, with the wider margins of the fourth spec
LOOK_MINUTE = 10  # of each hour, in which monitoring looks
LOOK_SECONDS = 60.0  # of real time
TRAINING_SECONDS = 120.0
SEED = 7

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Year:
    """The flights, parted by what they are for. Nothing but `learned` gets into the catalog."""

    learned: pd.DataFrame
    clean: pd.DataFrame
    july: pd.DataFrame
    late_july: pd.DataFrame
    august: pd.DataFrame

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Year":
        """The same parts on each run; flights are in the order of their schedule."""
        table = table.sort_values(["scheduled", "flight_id"], kind="stable")
        clean = table[table["month"] <= 4].sample(CLEAN, random_state=SEED).sort_index()
        learned = table[(table["scheduled"] < LEARNED_UNTIL) & ~table.index.isin(clean.index)]
        july = table[(table["month"] == 7) & (table["scheduled"] < SPLIT)]
        late = table[(table["month"] == 7) & (table["scheduled"] >= SPLIT)]
        august = table[table["month"] == 8]
        july = july.sample(JULY, random_state=SEED).sort_values(["scheduled", "flight_id"], kind="stable")
        return cls(learned, clean, july, late, august)


def replay(scene: Scene, flights: pd.DataFrame, **scaled: float) -> list[str]:
    """Ask about flights, the oldest first; the ids of the predictions. Named features are multiplied."""
    changed = flights.assign(**{name: flights[name] * factor for name, factor in scaled.items()})
    instances = scene.instances_of(changed)
    batches = [instances[start : start + BATCH] for start in range(0, len(instances), BATCH)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        answers = pool.map(lambda batch: scene.client.predict(MODEL, batch), batches)
        return [prediction["id"] for answer in answers for prediction in answer["predictions"]]


def report_outcomes(scene: Scene, name: str, ids: Sequence[str], late: Sequence[bool]) -> None:
    """Report what became of predictions, by the command that a person has for it."""
    path = WORK / f"{name}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "outcome"])
        writer.writerows((each, str(bool(what)).lower()) for each, what in zip(ids, late, strict=True))
    scene.cloud.settle()
    scene.tidegate("feedback", str(path.relative_to(ROOT)), "--model", MODEL)


def looked(scene: Scene) -> Document:
    """What the next hourly look finds: `tidegate drift`.

    Raises:
        RuntimeError: no look was taken in `LOOK_SECONDS`.
    """
    scene.cloud.settle()
    before = _looked_at(scene)
    scene.cloud.clock.move_to(next_look(scene.cloud.clock.time()))
    scene.cloud.advance(0)
    _wait(lambda: _looked_at(scene) > before, LOOK_SECONDS, "no look was taken")
    return scene.tidegate("drift", MODEL, exits=(0, 3))


def next_look(now: float) -> float:
    """Just after the next moment (seconds since 1970) in which monitoring looks."""
    minute = 60.0 * LOOK_MINUTE
    return ((now - minute) // 3_600 + 1) * 3_600 + minute + 1


def found(document: Document) -> Document:
    """What the summary says of a look."""
    window = document["verdicts"]["windows"][0]
    report, record = window["drift"], document["health"]
    drifted = [each for each in report["features"]["findings"] if each["outcome"] == "drifted"]
    faults = [each for each in report["quality"]["findings"] if each["outcome"] == "drifted"]
    shown = window["live"]
    return {
        "version": document["verdicts"]["version"],
        "health": record["health"],
        "rows": window["rows"],
        "outcomes": shown["rows"],
        "features": {
            "verdict": report["features"]["outcome"],
            "judged": sum(each["outcome"] != "insufficient_data" for each in report["features"]["findings"]),
            "drifted": [
                {key: each[key] for key in ("name", "psi", "jensen_shannon", "importance", "cell", "cell_share")}
                | {"cell_reference_share": each["cell_reference_share"]}
                for each in sorted(drifted, key=lambda each: -each["importance"] * each["jensen_shannon"])
            ],
        },
        "predictions": report["predictions"]["outcome"],
        "labels": report["target"]["outcome"],
        "data_quality": [
            {key: each[key] for key in ("name", "fault", "share", "reference_share", "statement")} for each in faults
        ],
        "quality": {
            "verdict": shown["outcome"],
            "metric": shown["metric"],
            "live": shown["live"],
            "design": shown["design"],
        },
        "reasons": record["reasons"],
        "held_back": record["held_back"],
    }


def trained_by_itself(scene: Scene) -> Document:
    """Let the alarm go off and the training that it starts end: the run.

    Raises:
        RuntimeError: no training began or ended in time.
    """
    cloud = scene.cloud

    def attempts() -> Any:
        cloud.advance(20)
        return scene.client.model_health(MODEL)["health"]["attempts"]

    _wait(attempts, TRAINING_SECONDS, "no training began")
    run_id = attempts()[-1]["run_id"]
    scene.story.at("monitoring has started a training ...")
    return scene.client.wait_for_run(MODEL, run_id, timeout_seconds=TRAINING_SECONDS)


def on_the_same(scene: Scene, versions: tuple[int, int], flights: pd.DataFrame) -> dict[str, Any]:
    """Both versions' quality on the same flights, with 95 % intervals by days: the older one's, the newer one's and
    what the newer one gains."""
    drawn = flights.sample(LATER, random_state=SEED)
    instances = scene.instances_of(drawn)
    older, newer = (_arm(scene.scores(version, instances)) for version in versions)
    compared = paired_bootstrap(
        "roc_auc",
        drawn["late"].to_numpy(dtype=np.int64),
        {CANDIDATE: newer, "older": older},
        cluster=drawn["scheduled"].dt.dayofyear.to_numpy(),
    )
    values = {"before": compared.arms["older"], "after": compared.arms[CANDIDATE], "gain": compared.gains["older"]}
    return {"flights": len(drawn), "days": compared.clusters, **{key: _plain(each) for key, each in values.items()}}


def clean_weeks(scene: Scene, year: Year) -> Document:
    """Flights of the months that were trained on, which no version has seen: nothing should be raised."""
    with scene.story.step("clean") as say:
        report_outcomes(scene, "clean", replay(scene, year.clean), year.clean["late"].tolist())
        shown = found(looked(scene))
        say(f"{CLEAN:,} unseen flights of January to April, with outcomes: {_in_short(shown)}")
    return shown


def june(scene: Scene, ids: Sequence[str], late: Sequence[bool]) -> Document:
    """What became of the flights of June that users asked about."""
    with scene.story.step("June") as say:
        report_outcomes(scene, "june", ids, late)
        shown = found(looked(scene))
        if scene.client.model_health(MODEL)["health"]["wanted"]:
            shown["held_back"] = _held_back(scene)
        say(f"outcomes of {len(ids):,} flights: {_in_short(shown)}")
    return shown


def july(scene: Scene, year: Year) -> Document:
    """The season changes; what monitoring says of it."""
    with scene.story.step("July") as say:
        scene.tidegate("model", "apply", str((HERE / "flight-delay-v4.yaml").relative_to(ROOT)))
        report_outcomes(scene, "july", replay(scene, year.july), year.july["late"].tolist())
        shown = found(looked(scene))
        say(f"{JULY:,} flights of 1 to 24 July, with outcomes: {_in_short(shown)}")
    return shown


def retraining(scene: Scene) -> Document:
    """The alarm starts a training on what the users asked and what became of it."""
    with scene.story.step("retrain") as say:
        run = trained_by_itself(scene)
        if run["status"] != "accepted":
            raise RuntimeError(f"the run is {run['status']}: {run.get('reason')}")
        version = scene.client.dataset_version(DATASET, run["dataset_version"])
        base = scene.client.dataset_version(DATASET, version["base"])
        number = run["rollout"]["version"]
        report = scene.tidegate("report", MODEL, str(number))
        added = version["rows"] - base["rows"]
        say(
            f"the alarm started a training on {base['rows']:,} rows and {added:,} labelled captures: version {number} "
            f"passes the gate, roc_auc {report['evaluation']['candidate']['value']:.4f}"
        )
    return report | {"version": number, "run_id": run["run_id"], "reason": run["reason"], "captures": added}


def canary(scene: Scene, year: Year, report: Document) -> tuple[Course, dict[str, Any]]:
    """Users ask about the last week of July; half of them get the new version until there is a verdict. What became of
    these flights is reported too, so both versions' live quality is known."""
    number = report["version"]
    with scene.story.step(f"canary {number}") as say:
        asked = year.late_july.sample(min(4_000, len(year.late_july)), random_state=SEED)
        users = scene.users(asked)
        course = tried(scene.cloud, scene.client, users, MODEL, report["run_id"], on_look=scene.story.at, enough=ENOUGH)
        if course.rollout["phase"] != "done":
            raise RuntimeError(f"it is {course.rollout['phase']}: {course.rollout['reason']}")
        more = 500 - sum(answer.document["version"] == number for answer in users.answers)
        users.send(max(more, 0) + 200)
        late = asked["late"].to_numpy(dtype=bool)
        answers = [(each.document["predictions"][0], each.document["version"]) for each in users.answers]
        given = [(*said, bool(late[each.instance])) for said, each in zip(answers, users.answers, strict=True)]
        report_outcomes(scene, "late-july", [each["id"] for each, _, _ in given], [what for *_, what in given])
        say(f"{course.path}; all got a 200")
    return course, {
        str(version): {"answers": sum(by == version for _, by, _ in given), "roc_auc": _served(given, version)}
        for version in sorted({by for _, by, _ in given})
    }


def afterwards(scene: Scene, year: Year, versions: tuple[int, int]) -> Document:
    """Live quality of the version that was trained, and both versions on the same later flights."""
    with scene.story.step("after") as say:
        shown = found(looked(scene))
        same = {
            "25 to 31 July": on_the_same(scene, versions, year.late_july),
            "August": on_the_same(scene, versions, year.august),
        }
        say(_in_short(shown))
    return shown | {"same_flights": same}


def knots(scene: Scene, year: Year) -> Document:
    """The feed is broken on purpose: wind in knots, where the model was made for miles per hour."""
    with scene.story.step("knots") as say:
        flights = year.late_july.sample(BROKEN, random_state=SEED + 1).sort_values("scheduled")
        topic = scene.cloud.outputs["ReleasesTopic"]
        before = len(scene.cloud.notifications(topic))
        runs = len(scene.client.runs(MODEL))
        replay(scene, flights, wind_speed=KNOTS_PER_MPH)
        shown = found(looked(scene))
        scene.cloud.settle()
        shown["notified"] = [each["subject"] for each in scene.cloud.notifications(topic)[before:]]
        shown["trainings_started"] = len(scene.client.runs(MODEL)) - runs
        say(f"{BROKEN:,} flights with wind in knots: {_in_short(shown)}")
        if shown["health"] == "needs_redesign":
            answer = scene.tidegate("acknowledge", MODEL, "--reason", "the wind feed sends mph again")
            shown["acknowledged"] = answer["health"]["health"]
    return shown


def _looked_at(scene: Scene) -> str:
    record = scene.client.model_health(MODEL)["health"]
    return str(record["looked_at"]) if record else ""


def _held_back(scene: Scene) -> str:
    """Why a training that is wanted does not start, once its alarm has gone off and is back."""

    def why() -> str:
        scene.cloud.advance(20)
        return str(scene.client.model_health(MODEL)["health"]["held_back"])

    _wait(why, TRAINING_SECONDS, "the training was not held back")
    scene.cloud.advance(180)
    return why()


def _wait(condition: Callable[[], Any], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{otherwise} in {seconds:.0f} s")
        time.sleep(0.2)


def _served(given: Sequence[tuple[Document, int, bool]], version: int) -> dict[str, float] | None:
    those = [(each["score"], late) for each, by, late in given if by == version]
    late = np.asarray([what for _, what in those], dtype=np.int64)
    if len(set(late.tolist())) < 2:
        return None
    score = np.asarray([score for score, _ in those])
    return _plain(paired_bootstrap("roc_auc", late, {CANDIDATE: _arm(score)}).arms[CANDIDATE])


def _arm(score: npt.NDArray[np.float64]) -> Arm:
    return Arm(np.stack([1 - score, score], axis=1))


def _plain(estimate: Estimate) -> dict[str, float]:
    return {key: round(getattr(estimate, key), 4) for key in ("value", "low", "high")}


def _in_short(shown: Document) -> str:
    """Health, features that moved, live quality beside the gate's, and what data quality names."""
    names = ", ".join(each["name"] for each in shown["features"]["drifted"]) or "none"
    quality = shown["quality"]
    parts = [shown["health"].replace("_", " "), f"features that moved: {names}"]
    if quality["live"]:
        parts.append(
            f"{quality['metric']} {quality['live']['value']:.3f}, {quality['design']['value']:.3f} at the gate"
        )
    return "; ".join([*parts, *(each["statement"] for each in shown["data_quality"])])
