"""What serving a model used in an hour, what that costs, what its answers were worth, and whether an hour stands out.

Cost is in US dollars: billed time x memory, requests, and bytes kept for a month. Value is what the spec declares for a
right and for a wrong decision, over the decisions whose outcome is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from statistics import median
from typing import Any, Self

from tidegate.domain.serving.capture import HOUR, hour_of

FALLBACK = "fallback"
DOLLARS = "USD"
GIB = 2**30  # bytes; S3's GB
MIB_OF_GB = 1024.0  # Lambda's GB
SETTLED = timedelta(minutes=30)  # after its end an hour's captures are in S3
SPIKE_FACTOR = 3.0
SPIKE_FLOOR_USD = 0.01
USUAL_DAYS = 7
LEAST_HOURS = 3  # of which a median says what is usual


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a version, or of the fallback, over any time. Usages of different times add up.

    Attributes:
        requests: HTTP requests; one of n rows counts once, as do its 1/n of each row.
        predictions: rows.
        billed_ms: of the function, for those requests and the work after their responses.
        right: labelled decisions that were right; of a regression, within the declared tolerance of the outcome.
        wrong: labelled decisions that were not.
    """

    requests: float = 0.0
    predictions: float = 0.0
    billed_ms: float = 0.0
    right: int = 0
    wrong: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.requests + other.requests,
            self.predictions + other.predictions,
            self.billed_ms + other.billed_ms,
            self.right + other.right,
            self.wrong + other.wrong,
        )

    def to_json(self) -> list[float | int]:
        """Five numbers, in the order of the attributes; to a thousandth, and milliseconds to a tenth."""
        return [round(self.requests, 3), round(self.predictions, 3), round(self.billed_ms, 1), self.right, self.wrong]

    @classmethod
    def from_json(cls, numbers: Sequence[Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(*numbers)


@dataclass(frozen=True, slots=True)
class Prices:
    """In US dollars, and the memory of the function that serves."""

    gb_second: float
    request: float
    gb_month: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Value:
    """What the spec declares: the worth of a right decision and the cost of a wrong one, in `currency`."""

    correct: float = 0.0
    wrong: float = 0.0
    currency: str = DOLLARS
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """In US dollars; storage is for a month."""

    compute: float
    requests: float
    storage: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.compute + self.requests + self.storage


def cost(usage: Usage, stored_bytes: float, prices: Prices) -> Cost:
    """What a usage costs, with what was stored of it."""
    return Cost(
        compute=usage.billed_ms / 1e3 * prices.memory_mb / MIB_OF_GB * prices.gb_second,
        requests=usage.requests * prices.request,
        storage=stored_bytes / GIB * prices.gb_month,
    )


def per_1000(milliseconds: float, prices: Prices) -> float:
    """What 1,000 requests cost that take so long each, in US dollars, without anything that is stored."""
    return cost(Usage(requests=1e3, predictions=1e3, billed_ms=1e3 * milliseconds), 0, prices).total


def value(usage: Usage, declared: Value) -> float:
    """Of the labelled decisions, in the declared currency."""
    return usage.right * declared.correct - usage.wrong * declared.wrong


@dataclass(frozen=True, slots=True)
class Spent:
    """What a model used in some time: by version or fallback, and the bytes of captures and feedback."""

    usage: Mapping[str, Usage]
    stored_bytes: float = 0

    @property
    def total(self) -> Usage:
        """Of all versions and the fallback."""
        return sum(self.usage.values(), Usage())

    @property
    def parts(self) -> "dict[str, Spent]":
        """Each alone; bytes are shared by predictions."""
        predictions = self.total.predictions or 1.0
        return {
            name: Spent({name: used}, self.stored_bytes * used.predictions / predictions)
            for name, used in self.usage.items()
        }

    def __add__(self, other: "Spent") -> "Spent":
        names = {*self.usage, *other.usage}
        usage = {name: self.usage.get(name, Usage()) + other.usage.get(name, Usage()) for name in names}
        return Spent(usage, self.stored_bytes + other.stored_bytes)

    def usd(self, prices: Prices) -> float:
        """What it costs."""
        return cost(self.total, self.stored_bytes, prices).total

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, as short as it can be."""
        usage = {name: used.to_json() for name, used in sorted(self.usage.items())}
        return {"usage": usage, "bytes": round(self.stored_bytes)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        usage = {name: Usage.from_json(numbers) for name, numbers in document["usage"].items()}
        return cls(usage, document["bytes"])


def summed(hours: Sequence[Spent]) -> Spent:
    """All of them together."""
    return reduce(Spent.__add__, hours, Spent({}))


def net_per_1000(spent: Spent, prices: Prices, declared: Value | None) -> float | None:
    """Value less cost of 1,000 decisions, in US dollars.

    Value is as of the labelled decisions. Where versions and fallback differ in how many of theirs are labelled, each
    counts by its share of all decisions (post-stratification; Holt and Smith 1979, JRSS A 142:33-46). None where no
    value in US dollars is declared, or no outcome is known.
    """
    if declared is None or declared.currency != DOLLARS:
        return None
    labelled = [used for used in spent.usage.values() if used.predictions and used.right + used.wrong]
    if not labelled:
        return None
    worth = sum(used.predictions * value(used, declared) / (used.right + used.wrong) for used in labelled)
    of_one = worth / sum(used.predictions for used in labelled)
    return 1e3 * (of_one - spent.usd(prices) / spent.total.predictions)


def last_complete(at: datetime) -> str:
    """The latest hour that ended at least `SETTLED` before a moment."""
    return hour_of(at - SETTLED - timedelta(hours=1))


@dataclass(frozen=True, slots=True)
class Spike:
    """An hour that costs far more than usual. `version` is whose cost grew most; `grew` what did."""

    hour: str
    usd: float
    usual_usd: float
    version: str
    grew: str

    @property
    def sentence(self) -> str:
        """For people."""
        who = "the fallback" if self.version == FALLBACK else f"version {self.version}"
        times = (
            f"{self.usd / self.usual_usd:.1f} times the usual {self.usual_usd:.4f}" if self.usual_usd else "usually 0"
        )
        return f"hour {self.hour} cost {self.usd:.4f} USD, {times}; {who} grew most: {self.grew}"


def spike(
    hours: Mapping[str, Spent],
    hour: str,
    prices: Prices,
    *,
    factor: float = SPIKE_FACTOR,
    floor_usd: float = SPIKE_FLOOR_USD,
) -> Spike | None:
    """Whether an hour costs more than `floor_usd`, and than `factor` times the median of the same hour of the day in
    the last week; where fewer than three of those saw traffic, of all hours of that week. None without three of them.
    """
    now = hours.get(hour)
    usual = _usual(hours, hour)
    if now is None or len(usual) < LEAST_HOURS:
        return None
    usd, usual_usd = now.usd(prices), median(each.usd(prices) for each in usual)
    if usd <= floor_usd or usd <= factor * usual_usd:
        return None
    alone = [each.parts for each in usual]
    rises = {
        name: part.usd(prices) - median(each[name].usd(prices) if name in each else 0.0 for each in alone)
        for name, part in now.parts.items()
    }
    version = max(sorted(rises), key=lambda name: rises[name])
    return Spike(hour, usd, usual_usd, version, _grew(now, usual))


@dataclass(frozen=True, slots=True)
class Bill:
    """What a model used, hour by hour, with what it takes to report its cost and value.

    Attributes:
        hours: those with traffic, as far back as is kept.
        until: the hour in which it was made.
        complete: the last hour of which everything is known but late labels.
        prices: at which cost is reported.
        declared: the spec's `value`; None when there is none.
    """

    hours: Mapping[str, Spent]
    until: str
    complete: str
    prices: Prices
    declared: Value | None = None

    @property
    def spike(self) -> Spike | None:
        """Whether the last complete hour stands out."""
        return spike(self.hours, self.complete, self.prices)

    @property
    def last(self) -> Spent:
        """The last complete hour."""
        return self.hours.get(self.complete, Spent({}))

    def since(self, first: str) -> Spent:
        """All from an hour on."""
        return summed([spent for hour, spent in self.hours.items() if hour >= first])

    def between(self, first: str, last: str) -> Spent:
        """All from an hour to another one, both with it."""
        return summed([spent for hour, spent in self.hours.items() if first <= hour <= last])

    def net_per_1000(self, first: str) -> float | None:
        """See `net_per_1000`; of all from an hour on."""
        return net_per_1000(self.since(first), self.prices, self.declared)

    def metrics(self, spent: Spent) -> dict[str, float]:
        """The numbers of it, with their units in their names; value where it is declared in US dollars."""
        total = spent.total
        valued = self.declared is not None and self.declared.currency == DOLLARS
        return {
            "Requests": total.requests,
            "BilledMs": total.billed_ms,
            "StoredBytes": spent.stored_bytes,
            "CostUSD": spent.usd(self.prices),
            **({"ValueUSD": value(total, self.declared)} if self.declared and valued else {}),
        }

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        found = self.spike
        return {
            "until": self.until,
            "complete": self.complete,
            "prices": asdict(self.prices),
            "value": asdict(self.declared) if self.declared else None,
            "spike": found.sentence if found else "",
            "hours": {hour: spent.to_json() for hour, spent in sorted(self.hours.items())},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            hours={hour: Spent.from_json(spent) for hour, spent in document["hours"].items()},
            until=document["until"],
            complete=document["complete"],
            prices=Prices(**document["prices"]),
            declared=Value(**document["value"]) if document["value"] else None,
        )


def days_before(hour: str, days: int) -> str:
    """The first of so many days of hours that end with this one."""
    return hour_of(_moment(hour) - timedelta(hours=24 * days - 1))


def _usual(hours: Mapping[str, Spent], hour: str) -> list[Spent]:
    """The hours that one is compared with."""
    first = hour_of(_moment(hour) - timedelta(days=USUAL_DAYS))
    week = {name: spent for name, spent in hours.items() if first <= name < hour}
    same = [spent for name, spent in week.items() if name[-2:] == hour[-2:]]
    return same if len(same) >= LEAST_HOURS else list(week.values())


def _grew(now: Spent, usual: Sequence[Spent]) -> str:
    """Requests, time of a request, or bytes: what is the most times the usual."""

    def measured(spent: Spent) -> dict[str, float]:
        total = spent.total
        return {
            "requests": total.requests,
            "ms a request": total.billed_ms / total.requests if total.requests else 0.0,
            "bytes stored": spent.stored_bytes,
        }

    before = [measured(each) for each in usual]
    known = {name: median(each[name] for each in before) for name in before[0]}
    grown = {name: (known[name], amount) for name, amount in measured(now).items() if known[name]}
    if not grown:
        return "traffic, of which there was none before"
    name = max(grown, key=lambda each: grown[each][1] / grown[each][0])
    usually, amount = grown[name]
    return f"{name}, {_number(amount)} instead of {_number(usually)}"


def _number(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"


def _moment(hour: str) -> datetime:
    return datetime.strptime(hour, HOUR).replace(tzinfo=UTC)
