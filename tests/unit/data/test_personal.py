"""Personal data is found by pattern, and what only resembles it is not."""

import uuid
from collections.abc import Callable

import numpy as np
import pytest

from tidegate.domain.data.personal import search

CHANCE = np.random.default_rng(11)
CARDS = ["4111111111111111", "5500005555555559", "378282246310005", "6011111111111117", "3530111333300000"]
IBANS = ["DE89370400440532013000", "GB82WEST12345698765432", "NO9386011117947", "FR1420041010050500013M02606"]
MAILS = ["ana.maria+news@example.com", "bo@mail.example.co.uk", "X_1@example.org"]
PHONES = ["+4915112345678", "+1 (212) 555-0100", "+44 20 7946 0958", "+1.212.555.0100", "+49 (0) 170/1234567"]


def kinds(texts: list[str]) -> list[str]:
    return [finding.looks_like for finding in search("x", texts)]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [(MAILS, "e-mail addresses"), (PHONES, "phone numbers"), (CARDS, "payment card numbers"), (IBANS, "IBANs")],
)
@pytest.mark.parametrize("around", ["{}", "please note: {}, thanks", "({})", "x;{};y", "see {}."])
def test_each_form_is_found_alone_and_among_words(texts: list[str], kind: str, around: str) -> None:
    for text in texts:
        # Two cards at least, since one look-alike in ten is right by chance.
        assert kinds([around.format(text), around.format(texts[0])]) == [kind], text


def test_groups_of_digits_are_read_as_one_number() -> None:
    assert kinds(["4111 1111 1111 1111", "5500-0055-5555-5559"]) == ["payment card numbers"]
    assert kinds(["3782 822463 10005", "3714 496353 98431"]) == ["payment card numbers"]
    assert kinds(["pay DE89 3704 0044 0532 0130 00 ASAP", "GB82 WEST 1234 5698 7654 32"]) == ["IBANs"]


@pytest.mark.parametrize(("hits", "found"), [(0, False), (4, False), (5, True), (100, True)])
def test_a_column_is_suspected_from_five_values_on(hits: int, found: bool) -> None:
    texts = [f"note {number}" for number in range(5_000 - hits)] + [f"u{number}@example.com" for number in range(hits)]
    assert bool(search("notes", texts)) is found


def test_of_few_values_one_in_a_hundred_suffices() -> None:
    assert search("desk", [*(f"desk {number}" for number in range(99)), "desk@example.com"])
    assert not search("desk", [*(f"desk {number}" for number in range(100)), "desk@example.com"])


def test_a_finding_shows_column_kind_and_share_and_no_value() -> None:
    (finding,) = search("contact", [*MAILS, "none"])
    assert finding.column == "contact"
    assert str(finding) == "3 of 4 different values (75.00%) look like e-mail addresses"


def test_a_column_may_hold_several_kinds() -> None:
    assert kinds([*MAILS, *PHONES]) == ["e-mail addresses", "phone numbers"]


def digits(count: int, rows: int = 5_000) -> list[str]:
    return ["".join(row) for row in CHANCE.choice(list("0123456789"), (rows, count))]


def issued_like() -> list[str]:
    """Ids that begin like a Visa card."""
    return [f"4{number}" for number in digits(15)]


HARMLESS: dict[str, Callable[[], list[str]]] = {
    "tail numbers": lambda: [f"N{number}{letter}" for number in range(100, 999) for letter in ("", "A", "UA")],
    "flight ids": lambda: [
        f"{carrier}{number}EWR2013{month:02}{day:02}"
        for carrier in ("UA", "DL", "MQ", "B6", "FI", "LT", "SE")
        for number in range(15, 1600, 37)
        for month in (1, 10)
        for day in (1, 28)
    ],
    "clock times": lambda: [f"{hour:02}{minute:02}" for hour in range(24) for minute in range(60)],
    "moments": lambda: [f"2013-01-{day:02} 05:15:00+10:00 at {day}" for day in range(1, 32)],
    "compact moments": lambda: [f"201301{day:02}0530{second:02}" for day in range(1, 32) for second in range(60)],
    "epoch milliseconds": lambda: [str(1_357_000_000_000 + 977 * step) for step in range(5_000)],
    "epoch microseconds": lambda: [str(1_357_000_000_000_000 + 977 * step) for step in range(5_000)],
    "ids of 16 digits": lambda: digits(16),
    "ids of 16 digits in groups": lambda: [f"{d[:4]} {d[4:8]} {d[8:12]} {d[12:]}" for d in digits(16)],
    "ids of 15 digits": lambda: digits(15),
    "ids of 19 digits": lambda: digits(19),
    "ids like cards": issued_like,
    "a few ids like cards": lambda: [f"4{number:015}" for number in range(20)],
    "article numbers": lambda: [f"4{number}" for number in digits(12)],
    "ids like IBANs": lambda: [f"DE{number}" for number in digits(20)],
    "hashes": lambda: [uuid.UUID(int=int(number)).hex.upper() for number in digits(38)],
    "UUIDs": lambda: [str(uuid.UUID(int=int(number))) for number in digits(38)],
    "fractions": lambda: [f"0.{number}" for number in digits(16)],
    "coordinates": lambda: [f"({lat:+.6f}, {lon:+.6f})" for lat, lon in CHANCE.uniform(1, 90, (1_000, 2))],
    "ISO 6709 places": lambda: [f"{lat:+08.4f}{-lon:+09.4f}/" for lat, lon in CHANCE.uniform(10, 90, (1_000, 2))],
    "amounts": lambda: [f"{amount:+.2f} USD" for amount in CHANCE.normal(0, 1e7, 1_000)],
    "pictures": lambda: [f"icon{number}@2x.png" for number in range(100)],
    "handles": lambda: [f"@user{number} at home" for number in range(100)],
    "formulas": lambda: [f"{number}+{number * 10_000_019}" for number in range(1_000)],
    "web addresses": lambda: [f"https://example.com/a/{number}?q=1+2" for number in range(1_000)],
    "nothing": list,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_resembles_it_is_let_pass(name: str) -> None:
    assert kinds(HARMLESS[name]()) == []


@pytest.mark.parametrize("around", ["0.{}", "A{}", "{}A", "7-{}", "{}-1", "{}0"])
def test_a_part_of_a_longer_number_or_word_is_no_card(around: str) -> None:
    assert kinds([around.format(card) for card in CARDS if len(card) == 16]) == []


@pytest.mark.parametrize("around", ["X{}", "{}X", "{}x", "x{}"])
def test_a_part_of_a_longer_word_is_no_iban(around: str) -> None:
    assert kinds([around.format(iban) for iban in IBANS]) == []


def test_an_iban_of_another_length_or_country_is_none() -> None:
    assert kinds(["DE" + _checked("DE", "37040044053201300"), "XX" + _checked("XX", "370400440532013000")]) == []
    assert kinds(["DE" + _checked("DE", "370400440532013000")]) == ["IBANs"]


def _checked(country: str, account: str) -> str:
    number = int("".join(str(int(sign, 36)) for sign in f"{account}{country}00"))
    return f"{98 - number % 97:02}{account}"


def test_one_look_alike_is_no_card_yet() -> None:
    assert kinds(["4111111111111111"]) == []
    assert kinds(["4111111111111111", "5500005555555559"]) == ["payment card numbers"]


def test_cards_among_ids_of_as_many_digits_are_found() -> None:
    def carded(start: str) -> str:
        return next(start + last for last in "0123456789" if _luhn(start + last))

    cards = [carded(f"4{number[:14]}") for number in digits(15, 500)]
    assert kinds([*cards, *digits(16, 1_000)]) == ["payment card numbers"]


def _luhn(number: str) -> bool:
    """As the standard says it, digit by digit from the right."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
