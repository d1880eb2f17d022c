"""`Terms` as the journal keeps them."""

from dataclasses import asdict, fields

from repertory.providers.messages import TERMS, Terms
from repertory.signatures.json_text import dump_json, load_json


def terms_as_json(terms: Terms) -> str | None:
    """``terms`` as JSON; None where they say nothing."""
    return None if terms is TERMS or terms == TERMS else dump_json(asdict(terms)).decode()


def terms_from_json(text: str | None) -> Terms:
    """What `terms_as_json` gave. What another version says that this one does not know is left out."""
    if text is None:
        return TERMS
    said = load_json(text)
    known = {field.name: said[field.name] for field in fields(Terms) if field.name in said}
    if "accounts" in known:
        known["accounts"] = tuple(known["accounts"])
    return Terms(**known)
