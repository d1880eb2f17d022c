"""Examples of a field's values: checked when the signature is compiled, and shown to the model."""

from datetime import date

import pytest

from repertory.errors import SignatureError
from repertory.modules import ChatAdapter, JSONAdapter
from repertory.modules.adapters import Adapter
from repertory.signatures import OutputField, Signature, compile_signature

BARE = Signature.parse("mail -> due: str").with_fields(due=(date, OutputField(desc="when it is due")))
SHOWN = BARE.with_fields(due=OutputField(desc="when it is due", examples=[date(2024, 3, 5), "2024-12-31"]))


@pytest.mark.parametrize("adapter", [ChatAdapter(), JSONAdapter()])
def test_examples_are_shown_as_the_model_is_to_write_them(adapter: Adapter) -> None:
    (system,) = adapter.preamble(compile_signature(SHOWN), ())
    assert 'when it is due; such as "2024-03-05", "2024-12-31"' in system.content


def test_examples_are_part_of_the_question() -> None:
    assert not SHOWN.equals(BARE)
    assert compile_signature(SHOWN).fingerprint != compile_signature(BARE).fingerprint


def test_an_example_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SignatureError, match=r"Signature\.due: the example does not fit date") as caught:
        compile_signature(BARE.with_fields(due=OutputField(examples=["tomorrow"])))
    assert "Change the example" in (caught.value.hint or "")
