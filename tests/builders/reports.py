"""The gate's report on a run."""

from typing import Any

ANA = "arn:aws:sts::123456789012:assumed-role/DataScientist/ana"


def report_document(*, accepted: bool = True) -> dict[str, Any]:
    """A gate report in the shape of `Evaluation.to_json` and `GateVerdict.to_json`."""

    def estimate(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.01, "high": value + 0.01}

    checks = [
        {"name": "enough_rows", "outcome": "pass", "statement": "the holdout has 28,243 rows in 31 days"},
        {
            "name": "beats_baseline",
            "outcome": "pass" if accepted else "fail",
            "statement": "roc_auc 0.751 is 0.075 [0.066, 0.084] above the baseline (group_rate by carrier)",
        },
        {"name": "not_worse_than_champion", "outcome": "not_applicable", "statement": "no version serves yet"},
    ]
    return {
        "format": 1,
        "model": "flight-delay",
        "run_id": "run-1",
        "task": "binary",
        "target_changes": [],
        "evaluation": {
            "metric": "roc_auc",
            "higher_is_better": True,
            "confidence": 0.95,
            "resamples": 2000,
            "undefined_resamples": 0,
            "resample_by": "day",
            "rows": 28243,
            "clusters": 31,
            "candidate": estimate(0.7512),
            "baseline": {"rule": "group_rate by carrier", **estimate(0.6764)},
            "champion": None,
            "differences": {"baseline": {"estimate": 0.0748, "low": 0.066, "high": 0.084}, "champion": None},
            "metrics": {"roc_auc": estimate(0.7512), "brier": estimate(0.15), "log_loss": None},
            "parity": {"rows": 28243, "max_difference": 2.1e-7, "tolerance": 1e-4, "flips": 0},
            "latency_ms": {"p50": 0.012, "p99": 0.021, "rows": 1000},
            "load_ms": 3.2,
            "artifact_bytes": 48213,
            "peak_memory_mib": 181.0,
            "sections": {},
        },
        "verdict": {"accepted": accepted, "checks": checks, "reasons": []},
        "lineage": {
            "spec_digest": "a" * 64,
            "dataset": "flights",
            "dataset_version": "0123456789abcdef",
            "exclusions": ["fe12ab34cd56"],
            "seed": 0,
            "code_version": "1" * 12,
            "lock_hash": "c" * 64,
            "candidates": [
                {
                    "index": 0,
                    "estimator": "sklearn.linear_model.LogisticRegression",
                    "parameters": {"C": 0.1},
                    "metric": "roc_auc",
                    "value": 0.71,
                    "fit_seconds": 0.5,
                    "rows": 100,
                }
            ],
            "selected": 0,
            "artifact_sha256": "b" * 64,
            "artifact_key": "runs/flight-delay/run-1/model.onnx",
            "training_rows": 107000,
            "plan": {"train_rows": 85600, "split": {"kind": "periods"}},
            "requested_by": ANA,
            "requested_at": "2026-01-05T12:00:00+00:00",
        },
    }
