"""What an unspoilt sample looks like: entities, their sources and their facts. No clock, no chance.

Every value follows from the fact's or the entity's ordinal alone, so that the same number of facts
always gives the same rows, on every machine and every Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tasks.core.errors import NOTHING_WRITTEN, SampleError
from tasks.stores.protocols.new_store import StoredFact, StoredSource

Profile = Literal["clustered", "scattered"]

_FIRST_MOMENT = datetime(2025, 6, 1)
_SECONDS_PER_FACT = 3
_SECONDS_BETWEEN = (0, 0, 1, 2, 3, 4, 5, 9)  # mean: _SECONDS_PER_FACT
_MASK = 0xFFFF_FFFF_FFFF_FFFF

_WHO = (
    "中小企業者及び小規模事業者が行う",
    "県内に主たる事業所を有する法人が実施する",
    "認定支援機関の助言を受けて取り組む",
    "農林漁業者の組織する団体が共同して行う",
    "Small and medium-sized enterprises that carry out ",
    "商工会又は商工会議所の区域内における",
    "創業後五年以内の事業者が新たに着手する",
    "Applicants with a registered office in the prefecture for ",
)
_WHAT = (
    "省エネルギー設備の導入及び更新に要する経費",
    "販路開拓のための展示会への出展",
    "IT導入による業務効率化の取組",
    "人材育成に係る研修の実施及び受講",
    "research and development of prototypes",
    "事業承継に伴う設備投資及び専門家の活用",
    "地域資源を活用した新商品の開発",
    "energy audits and replacement of equipment",
)
_HOW = (
    "について、その一部を補助する。",
    "を対象とし、審査の上で交付を決定する。",
    "(補助率は対象経費の三分の二以内)",
    " is eligible up to the ceiling in the notice.",
    "に対し、予算の範囲内で助成金を交付する。",
    "のうち、交付決定日以後に契約したものに限る。",
    "; costs before the decision are excluded.",
    "とし、消費税及び地方消費税相当額を除く。",
)
_FIELDS = (
    ("program.overview", "text"),
    ("program.target", "text"),
    ("program.amount_max_yen", "number"),
    ("program.application_deadline", "date"),
    ("program.eligible_expenses", "text"),
    ("program.conditions", "text"),
    ("corp.address", "text"),
    ("corp.certifications", "json"),
    ("adoption.project_title", "text"),
    ("adoption.summary", "text"),
    ("case.background", "text"),
    ("case.result", "text"),
    ("loan.purpose", "text"),
    ("loan.amount_max_yen", "number"),
    ("tax.measure", "text"),
    ("enforcement.reason", "text"),
)
_DOMAINS = (
    "www.meti.example.jp",
    "www.pref.example.jp",
    "portal.subsidy.example.jp",
    "data.houjin.example.jp",
)
_LICENSES = ("pdl_v1.0", "gov_standard_v2.0", "cc_by_4.0", "proprietary")


@dataclass(frozen=True)
class Entity:
    """An entity and what it holds: so many facts from one id on, and so many sources from one id on."""

    ordinal: int
    first_fact: int
    facts: int
    first_source: int
    sources: int
    id_gap: int


class FactMaker:
    """Makes the facts of a sample, entity by entity.

    "clustered": an entity has 20 to 60 facts, which share its 1 to 3 sources; ids, sources and
    `created_at` grow together. "scattered": the same rows, but each fact's source and `created_at` are
    anywhere in the whole range. About 84 % of the facts have a source by id, 5 % by their own URL, 3 %
    both, 8 % none. Raises SampleError for another profile or for fewer facts than one.
    """

    def __init__(self, facts: int, profile: str) -> None:
        if profile not in ("clustered", "scattered"):
            raise SampleError(
                f'profile "{profile}" is not known', seen="expected clustered or scattered", written=NOTHING_WRITTEN
            )
        if facts < 1:
            raise SampleError(
                f"a sample of {facts} facts was asked for", seen="expected 1 or more", written=NOTHING_WRITTEN
            )
        self._facts = facts
        self._scattered = profile == "scattered"
        self.sources = sum(entity.sources for entity in entities(facts))
        self._id = 0
        self._seconds = 0

    def rows(self, entity: Entity) -> Iterator[StoredFact]:
        """The entity's facts. Ids and times go on from the entity before."""
        entity_id = f"houjin:{8010001000000 + entity.ordinal * 7}"
        self._id += entity.id_gap
        for ordinal in range(entity.first_fact, entity.first_fact + entity.facts):
            bits = mix(ordinal)
            self._id += 1
            self._seconds += _SECONDS_BETWEEN[bits & 7]
            field, kind = _FIELDS[bits >> 3 & 15]
            text, json_text, number = _value(kind, bits, ordinal)
            source_id, source_url = self._source(entity, bits)
            yield StoredFact(
                self._id, entity_id, field, text, json_text, number, kind, source_id, source_url,
                (5000 + (bits >> 40) % 5000) / 10_000, 1 + (bits >> 36 & 3), self._created_at(bits),
            )  # fmt: skip

    def _source(self, entity: Entity, bits: int) -> tuple[int | None, str | None]:
        """The fact's source_id and its own source_url."""
        if self._scattered:
            linked = 1 + (bits >> 24) % self.sources
        else:
            linked = entity.first_source + (bits >> 24) % entity.sources
        share = (bits >> 16) % 100
        if share < 84:
            return linked, None
        if share >= 92:
            return None, None
        own_url = f"https://{_DOMAINS[bits >> 8 & 3]}/notice/{bits >> 32}.html"
        return (linked if share < 87 else None), own_url

    def _created_at(self, bits: int) -> str:
        seconds = (bits >> 12) % (_SECONDS_PER_FACT * self._facts) if self._scattered else self._seconds
        return moment(seconds)


def entities(facts: int) -> Iterator[Entity]:
    """The entities that hold `facts` facts together; the last one takes what is left."""
    ordinal, first_fact, first_source = 0, 0, 1
    while first_fact < facts:
        bits = mix(ordinal + 1 << 32)
        held = min(20 + bits % 41, facts - first_fact)
        sources = 1 + (bits >> 16) % 3
        gap = (bits >> 24) % 200 if bits >> 60 == 0 else 0
        yield Entity(ordinal, first_fact, held, first_source, sources, gap)
        ordinal, first_fact, first_source = ordinal + 1, first_fact + held, first_source + sources


def sources_of(entity: Entity) -> Iterator[StoredSource]:
    """The rows of am_source that the entity brings with it."""
    for source_id in range(entity.first_source, entity.first_source + entity.sources):
        bits = mix(source_id + 2 << 32)
        seen = moment(_SECONDS_PER_FACT * entity.first_fact)
        yield StoredSource(
            source_id, source_url(source_id), "primary" if bits & 7 else "secondary", _DOMAINS[bits >> 3 & 3],
            f"{bits:016x}{mix(bits):016x}", seen, seen, _LICENSES[bits >> 5 & 3],
        )  # fmt: skip


def source_url(source_id: int) -> str:
    """The URL of a source; one per id."""
    return f"https://{_DOMAINS[mix(source_id + 2 << 32) >> 3 & 3]}/program/{source_id}/index.html"


def moment(seconds: int) -> str:
    """`YYYY-MM-DD HH:MM:SS`, so many seconds after the sample's first moment."""
    return (_FIRST_MOMENT + timedelta(seconds=seconds)).isoformat(" ")


def mix(number: int) -> int:
    """64 well-spread bits: the SplitMix64 generator's output (Steele, Lea, Flood 2014) at `number`."""
    bits = (number + 1) * 0x9E37_79B9_7F4A_7C15 & _MASK
    bits = (bits ^ bits >> 30) * 0xBF58_476D_1CE4_E5B9 & _MASK
    bits = (bits ^ bits >> 27) * 0x94D0_49BB_1331_11EB & _MASK
    return bits ^ bits >> 31


def _value(kind: str, bits: int, ordinal: int) -> tuple[str | None, str | None, float | None]:
    """The fact's value as text, JSON and number."""
    if kind == "text":
        phrase = f"{_WHO[bits >> 32 & 7]}{_WHAT[bits >> 35 & 7]}{_HOW[bits >> 38 & 7]}"
        return f"第{ordinal % 9973}号 {phrase}", None, None
    if kind == "number":
        amount = (bits >> 32) % 100_000
        return f"{amount:,}千円", None, float(amount)
    if kind == "date":
        return f"令和{5 + (bits >> 32) % 5}年{1 + (bits >> 36) % 12}月末日", None, None
    return None, f'{{"certified": true, "number": "{bits >> 32}", "区分": "{_WHAT[bits >> 35 & 7]}"}}', None
