"""Personal data that nobody declared, found by pattern: e-mail addresses, phone numbers, payment cards, IBANs.

    for finding in search("contact", texts):  # some of the column's different texts
        print(finding)  # 12 of 600 different values (2.00%) look like phone numbers; never a value

A column is suspected when a pattern is in 1 % of its different texts, or in five of them, alone or among other words.

Numbers have a check digit so that a mistyped one is noticed; it does not make a number a card. Of ids that begin like a
card and are as long, one in ten has Luhn's digit (ISO/IEC 7812-1, annex B) by chance, and one in 97 the check of an
IBAN (ISO 13616-1; ISO 7064, MOD 97-10). So more than half of such look-alikes in the column have to pass, and of cards
at least two.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

MOST_TEXTS = 20_000
LEAST_NUMBER = 10**13  # of whole numbers only cards can be recognised, and those have 14 digits or more
LEAST_SHARE = 0.01
LEAST_HITS = 5
_READ = 1_000  # characters of a text

# Each pattern begins with what is rare in texts, and looks back from there: that is what makes it fast.
# A photograph "icon@2x.png" has no address. Of the part before the @ one character is enough to see that it is there.
_EMAIL = re.compile(r"@(?<=[\w%+-]@)(?!\dx\.)(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w@])")
# International form (ITU-T E.164): at most 15 digits, of which the first is not 0. One dot may be that of a fraction.
_PHONE = re.compile(
    r"\+(?<![\w+]\+)[1-9](?:(?:[ ()/-]{0,2}[0-9]){7,14}|(?=[0-9.]{10})[0-9]{0,2}(?:\.[0-9]{2,5}){2,4})"
    r"(?!\w|[.,:-][0-9])"
)
_CARD = re.compile(
    r"[0-9](?<![\w.+-][0-9])[0-9]{3}"
    r"(?:[0-9]{10,15}|([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?|([ -])[0-9]{6}\2[0-9]{4,5})"
    r"(?!\w|[.-][0-9])"
)
# As the schemes publish their issuers' ranges: Visa, Mastercard (two), American Express, Discover, JCB, Diners,
# UnionPay. Visa's old 13 digits are left out: article numbers (GTIN) have as many.
_ISSUED = re.compile(
    r"4\d{15}|4\d{18}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[689]\d)\d{11}|62\d{14}"
)
_IBAN = re.compile(r"[A-Z](?<![A-Za-z0-9][A-Z])[A-Z][0-9]{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])")
# The IBAN registry: characters by country.
_IBAN_LENGTH: Mapping[str, int] = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """A kind of personal data in `hits` of `texts` different texts of a column."""

    column: str
    looks_like: str
    hits: int
    texts: int

    def __str__(self) -> str:
        """What looks like what, without saying any of it."""
        share = self.hits / self.texts
        return f"{self.hits:,} of {self.texts:,} different values ({share:.2%}) look like {self.looks_like}"


@dataclass(frozen=True, slots=True)
class _Pattern:
    """`genuine` says of a match whether its check digit is right; None when it only begins like one."""

    looks_like: str
    pattern: re.Pattern[str]
    genuine: Callable[[str], bool | None] | None = None
    least: int = 1


def search(column: str, texts: Sequence[str]) -> list[Finding]:
    """The kinds of personal data that the different texts of a column are suspected of."""
    texts = [text[:_READ] for text in texts]
    together = "\n".join(texts)
    found = []
    for each in _PATTERNS:
        if each.pattern.search(together) is None:
            continue
        seen = [_passes(each, text) for text in texts]
        hits, alike = seen.count(True), len(seen) - seen.count(None)
        enough = hits >= LEAST_HITS or hits >= LEAST_SHARE * len(texts)
        if enough and hits >= each.least and 2 * hits > alike:
            found.append(Finding(column, each.looks_like, hits, len(texts)))
    return found


def _passes(each: _Pattern, text: str) -> bool | None:
    """Whether any match in the text is genuine; None when nothing in it looks like one."""
    if each.genuine is None:
        return True if each.pattern.search(text) else None
    verdicts = [each.genuine(match.group()) for match in each.pattern.finditer(text)]
    return True if True in verdicts else (False if False in verdicts else None)


def _card(written: str) -> bool | None:
    digits = written.replace(" ", "").replace("-", "")
    if not _ISSUED.fullmatch(digits):
        return None
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _iban(written: str) -> bool | None:
    """Words in capitals may follow, so groups are taken until the country's length is reached."""
    length, account = _IBAN_LENGTH.get(written[:2], 0), ""
    for group in written.split(" "):
        account += group
        if len(account) >= length:
            break
    if len(account) != length:
        return None
    return int("".join(str(int(sign, 36)) for sign in account[4:] + account[:4])) % 97 == 1


_PATTERNS = (
    _Pattern("e-mail addresses", _EMAIL),
    _Pattern("phone numbers", _PHONE),
    _Pattern("payment card numbers", _CARD, _card, least=2),
    _Pattern("IBANs", _IBAN, _iban),
)
