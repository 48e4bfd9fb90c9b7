"""Deployment settings of one stage, typed and checked before anything is synthesized.

They come from the CDK context: `cdk.json` holds what is shared, `-c name=value` on the command line wins over it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Self

from tidegate.kernel.errors import Fault, InvalidInputError
from tidegate.kernel.fault_words import did_you_mean

STAGES = ("dev", "staging", "prod")
ARCHITECTURES = ("x86_64", "arm64")
PYTHONS = ("3.13",)  # SnapStart needs 3.12 or later
_TRUTHS = MappingProxyType({"true": True, "false": False})
# Lambda takes an event of 6 MB, in which a body that is no text is a third longer, and API Gateway adds the request.
MOST_BODY_BYTES = 4_400_000
CODE_RELEASES = ("canary", "at-once")
_PLACE = re.compile(
    r"(\*|(user|role)/[\w+.@*?-]+)=(batch|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([^*?$=,\s/]+/)*", re.ASCII
)
_OWN_BUCKET = re.compile(rf"=s3://tidegate-({'|'.join(STAGES)})-")
LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653)


@dataclass(frozen=True, slots=True)
class DeploymentSettings:
    """Everything that may differ between two deployments of Tidegate.

    `stage` decides the removal policy too: prod and staging keep their data when a stack is deleted, dev does not.
    """

    stage: str = "dev"
    owner: str = "platform"  # tag: who answers for the deployment
    business_unit: str = "shared"  # tag: who pays for it
    architecture: str = "x86_64"
    python: str = "3.13"
    code_version: str = ""  # recorded with every run; empty: the hash of the deployed sources
    alarm_emails: tuple[str, ...] = ()
    allowed_licences: tuple[str, ...] = ()  # SPDX ids that may be trained on; none named: every licence that is named
    log_retention_days: int = 30
    capture_retention_days: int = 365  # captured predictions, with their inputs
    feedback_retention_days: int = 365  # reported outcomes
    profile_retention_days: int = 365  # hourly profiles and verdicts of monitoring
    table_retention_days: int = 365  # rows of datasets that training runs work on
    dataset_retention_days: int = 0  # uploaded files, also those of versions in use; 0: for ever
    batch_retention_days: int = 0  # batch predictions in the data bucket; 0: for ever
    access_log_retention_days: int = 365  # who read and wrote which object
    throttle_rate: int = 200  # requests a second, each API
    throttle_burst: int = 400  # requests at once, each API
    inference_memory_mb: int = 1769  # one whole vCPU
    inference_timeout_seconds: int = 10
    inference_p99_ms: int = 1_000  # above it, an alarm
    inference_reserve: int = 0  # of the account's concurrency, for inference alone; AWS wants 100 left for the others
    provisioned_concurrency: int = 0
    snap_start: bool = False  # new environments of inference resume a snapshot of its start
    code_release: str = "canary"  # at-once: no tenth first and no alarms, for a fix that its alarms would stop
    control_memory_mb: int = 1024
    step_memory_mb: int = 1769
    training_memory_mb: int = 3008  # what a new account may use without asking
    training_timeout_seconds: int = 900
    training_concurrency: int = 5  # candidates fitted at once; half of what a new account has for all functions
    monitoring_concurrency: int = 5  # batches of models looked at at once
    batch_places: tuple[str, ...] = ("*=batch/",)  # whose batch predictions may read and write where
    batch_concurrency: int = 5  # parts of a batch scored at once
    route_ttl_seconds: int = 3  # how stale a served route may be
    scoring_timeout_ms: int = 2_000  # a model that takes longer is answered for by the fallback
    max_instances: int = 100
    max_body_bytes: int = 1_000_000

    @property
    def keeps_data(self) -> bool:
        """Buckets, tables, keys and logs outlive their stack."""
        return self.stage != "dev"

    @property
    def prefix(self) -> str:
        """First part of every name a person sees: `tidegate-dev`."""
        return f"tidegate-{self.stage}"

    def __post_init__(self) -> None:
        """Refuse what cannot be deployed; every fault at once.

        Raises:
            InvalidInputError: with one fault for each wrong setting.
        """
        faults = [fault for name, check in _CHECKS.items() for fault in check(name, getattr(self, name))]
        if self.snap_start and self.provisioned_concurrency:
            faults.append(Fault("snap_start", "cannot be combined with provisioned_concurrency; set only one of them"))
        if 0 < self.inference_reserve < self.provisioned_concurrency:
            faults.append(Fault("inference_reserve", "is less than provisioned_concurrency; raise it, or set it to 0"))
        if faults:
            raise InvalidInputError(
                "the deployment settings have faults",
                faults,
                next_step="correct cdk.json or the -c options (docs/deploy.md lists them)",
            )

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> Self:
        """Read the CDK context, where the command line gives only strings.

        Raises:
            InvalidInputError: an unknown name, a value of the wrong kind or out of range; names every one.
        """
        known = {setting.name: setting for setting in fields(cls)}
        faults = [
            Fault(name, f"is not a deployment setting{did_you_mean(name, known)}", tuple(known))
            for name in context
            if name.isidentifier() and (name.islower() or name.lower() in known) and name not in known
        ]
        values: dict[str, Any] = {}
        for name, given in context.items():
            if name not in known:
                continue
            default = known[name].default
            if isinstance(default, bool):
                if str(given).strip().lower() not in _TRUTHS:
                    faults.append(Fault(name, f"{given!r} is not allowed", tuple(_TRUTHS)))
                    continue
                values[name] = _TRUTHS[str(given).strip().lower()]
            elif isinstance(default, int):
                if isinstance(given, bool) or not str(given).strip().lstrip("-").isdigit():
                    faults.append(Fault(name, f"{given!r} is not a whole number"))
                    continue
                values[name] = int(given)
            elif isinstance(default, tuple):
                listed = given.split(",") if isinstance(given, str) else given
                values[name] = tuple(item.strip() for item in listed if item.strip())
            else:
                values[name] = str(given)
        try:
            settings = cls(**values)
        except InvalidInputError as error:
            faults.extend(error.faults)
        if faults:
            raise InvalidInputError(
                "the deployment settings have faults",
                faults,
                next_step="correct cdk.json or the -c options (docs/deploy.md lists them)",
            )
        return settings


_Check = Callable[[str, Any], list[Fault]]


def _one_of(*allowed: object) -> _Check:
    def check(name: str, value: Any) -> list[Fault]:
        if value in allowed:
            return []
        return [Fault(name, f"{value!r} is not allowed", tuple(str(choice) for choice in allowed))]

    return check


def _between(low: int, high: int) -> _Check:
    def check(name: str, value: Any) -> list[Fault]:
        return [] if low <= value <= high else [Fault(name, f"{value} is not between {low} and {high}")]

    return check


def _tag(name: str, value: str) -> list[Fault]:
    if value and len(value) <= 256 and all(letter.isalnum() or letter in " _.:/=+-@" for letter in value):
        return []
    return [Fault(name, f"{value!r} is not a tag value; use 1 to 256 letters, digits, spaces and _ . : / = + - @")]


def _emails(name: str, value: tuple[str, ...]) -> list[Fault]:
    return [Fault(name, f"{mail!r} is not an e-mail address") for mail in value if "@" not in mail.strip("@")]


def _licences(name: str, value: tuple[str, ...]) -> list[Fault]:
    return [Fault(name, f"{licence!r} holds a comma; give a list of SPDX ids") for licence in value if "," in licence]


def _places(name: str, value: tuple[str, ...]) -> list[Fault]:
    form = "does not have the form WHO=batch/FOLDER/ or WHO=s3://BUCKET/FOLDER/, WHO being *, user/NAME or role/NAME"
    faults = [Fault(name, f"{each!r} {form}") for each in value or ("",) if not _PLACE.fullmatch(each)]
    own = "is in a bucket of Tidegate itself; of these, batches use batch/ of the data bucket only"
    return faults + [Fault(name, f"{each!r} {own}") for each in value if _OWN_BUCKET.search(each)]


_CHECKS: Mapping[str, _Check] = MappingProxyType(
    {
        "stage": _one_of(*STAGES),
        "owner": _tag,
        "business_unit": _tag,
        "architecture": _one_of(*ARCHITECTURES),
        "python": _one_of(*PYTHONS),
        "alarm_emails": _emails,
        "allowed_licences": _licences,
        "log_retention_days": _one_of(*LOG_RETENTION_DAYS),
        "capture_retention_days": _between(1, 3_650),
        "feedback_retention_days": _between(1, 3_650),
        "profile_retention_days": _between(9, 3_650),
        "table_retention_days": _between(1, 3_650),
        "dataset_retention_days": _between(0, 3_650),
        "batch_retention_days": _between(0, 3_650),
        "access_log_retention_days": _between(1, 3_650),
        "throttle_rate": _between(1, 10_000),
        "throttle_burst": _between(1, 5_000),
        "inference_memory_mb": _between(512, 10_240),
        "inference_timeout_seconds": _between(1, 29),
        "inference_p99_ms": _between(1, 29_000),
        "inference_reserve": _between(0, 100_000),
        "provisioned_concurrency": _between(0, 1_000),
        "code_release": _one_of(*CODE_RELEASES),
        "control_memory_mb": _between(256, 10_240),
        "step_memory_mb": _between(512, 10_240),
        "training_memory_mb": _between(1_024, 10_240),
        "training_timeout_seconds": _between(60, 900),
        "training_concurrency": _between(1, 40),
        "monitoring_concurrency": _between(1, 40),
        "batch_places": _places,
        "batch_concurrency": _between(1, 1_000),
        "route_ttl_seconds": _between(0, 3_600),
        "scoring_timeout_ms": _between(10, 29_000),
        "max_instances": _between(1, 10_000),
        "max_body_bytes": _between(1_000, MOST_BODY_BYTES),
    }
)
