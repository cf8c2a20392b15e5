"""Whether an attested fact is surely what was attested, as SQL that compares texts and derives nothing."""

from __future__ import annotations


def surely_same(*, source_doc: str, extracted_at: str, own: str, linked: str, created_at: str) -> str:
    """True only if it is; false or NULL where it has to be derived again."""
    return (
        f"{source_doc} IS coalesce({own}, {linked}) "
        f"AND ({created_at} IS NULL OR {extracted_at} = {_usual_time(created_at)})"
    )


def _usual_time(created_at: str) -> str:
    """What is attested of a time in one of the usual spellings; anything, or NULL, for another text.

    Equal to a time that was attested only if it is that time: each length admits one spelling of it.
    """
    spaced = f"replace({created_at}, ' ', 'T')"
    return (
        f"CASE octet_length({created_at}) WHEN 19 THEN {spaced} || '.000Z' "
        f"WHEN 20 THEN replace({spaced}, 'Z', '.000Z') WHEN 24 THEN {spaced} END"
    )
