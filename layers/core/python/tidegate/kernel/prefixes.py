"""Where objects lie in S3: the beginnings of their keys, by which `infra` bounds what a role may read and write, and
the files of a run, of which each step may write its own and no others."""

from enum import StrEnum

DATASETS = "datasets/"  # in the data bucket
BATCHES = "batch/"  # in the data bucket
# In the artifacts bucket.
RUNS = "runs/"
TABLES = "tables/"  # rows of datasets that runs work on: they expire
# In the captures bucket.
CAPTURES = "captures/"
FEEDBACK = "feedback/"
PROFILES = "profiles/"
VERDICTS = "verdicts/"
# In the output of a batch: the ends of keys.
BATCH_RECORD = "_tidegate/batch.json"
BATCH_PARTS = "_tidegate/parts.json"
BATCH_SUCCESS = "_SUCCESS.json"


class RunFile(StrEnum):
    """A file of a run, in the artifacts bucket."""

    FIT = "fit.npz"  # Table: training rows less validation
    VALIDATION = "validation.npz"  # Table: rows that choose the candidate
    HOLDOUT = "holdout.npz"  # Table: rows that judge the version; features of candidate and champion, target, cluster
    GUARD = "guard.npz"  # Table: rows without captures that nothing was fitted on, where others are captured
    PLAN = "plan.json"  # what `prepare` learned of the data: the contract, the splits, counts of dropped rows
    BASELINE = "baseline.json"  # the fitted baseline rule
    STAND_IN = "stand_in.json"  # the fitted fallback, before the model's threshold is known
    ARTIFACT = "model.onnx"  # the served model with its contract inside
    FALLBACK = "fallback.json"  # the fitted fallback with the contract of its requests
    REFERENCE_SCORES = "reference_scores.npz"  # Table: scikit-learn's scores on the holdout, for the parity check
    ENVIRONMENT = "environment.json"  # what the model was fitted with: Python, machine, packages
    HOLDOUT_SCORES = "holdout_scores.npz"  # Table: the model's scores on the holdout, and the champion's, by row
    EVALUATION = "evaluation.json"  # every number of the evaluation
    REFERENCE = "reference.json"  # what live traffic is compared with: `domain.monitoring.reference.Reference`
    BACKGROUND = "background.npz"  # Table: training rows for explanations, without features that captures hide
    SLICES_AND_GROUPS = "slices_and_groups.json"  # what slices and groups of the holdout show
    REPORT = "report.json"  # evaluation, verdict and lineage, kept with the version
    PAGE = "report.html"  # the report as people read it
    REPRODUCTION = "reproduction.json"  # what is equal and what differs, of a run that made a version again

    @property
    def prefix(self) -> str:
        """Where it lies."""
        return TABLES if self in {RunFile.FIT, RunFile.VALIDATION, RunFile.HOLDOUT, RunFile.GUARD} else RUNS


# By the function whose role may write them, and nobody else's.
WRITTEN_BY = {
    "prepare": (
        RunFile.FIT,
        RunFile.VALIDATION,
        RunFile.HOLDOUT,
        RunFile.GUARD,
        RunFile.PLAN,
        RunFile.BASELINE,
        RunFile.STAND_IN,
    ),
    "train": (RunFile.ARTIFACT, RunFile.FALLBACK, RunFile.REFERENCE_SCORES, RunFile.ENVIRONMENT),
    "evaluate": (RunFile.HOLDOUT_SCORES, RunFile.EVALUATION, RunFile.REFERENCE, RunFile.BACKGROUND),
    "slices_and_groups": (RunFile.SLICES_AND_GROUPS,),
    "gate": (RunFile.REPORT,),
    "report": (RunFile.PAGE,),
    "reproduce": (RunFile.REPRODUCTION,),
}
