"""Checks: what outputs must pass beside their types, with what the model is told if they do not.

```python
class Headline(Signature):
    article: str = InputField()
    headline: str = OutputField()

    @check("the headline must be shorter than the article")
    def is_shorter(headline: str, article: str) -> bool:
        return len(headline) < len(article)
```
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from repertory.errors import SignatureError

CheckFunction: TypeAlias = Callable[..., bool | str | None]

ALL_OUTPUTS: Final = "outputs"
"""The parameter that gets all outputs, as a mapping."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: The function's name; among the checks of a signature it is unique.
        message: What is wrong if the check fails, in words for the model.
        function: Says whether the outputs pass.
        parameters: The fields it looks at, and ``outputs`` for all outputs.
        required: Whether outputs that fail it are refused; if not, the failure is only noted.
    """

    name: str
    message: str
    function: CheckFunction
    parameters: tuple[str, ...]
    required: bool = True

    def failure(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> str | None:
        """What is wrong with ``outputs``, the typed answer to ``inputs``; None if they pass.

        Raises:
            SignatureError: The check itself failed, which is not the model's fault.
        """
        given = {ALL_OUTPUTS: outputs, **inputs, **outputs}
        try:
            verdict = self.function(**{name: given[name] for name in self.parameters})
        except (ValueError, AssertionError) as error:
            return f"{self.message}: {error}" if str(error) else self.message
        except Exception as error:
            raise SignatureError(
                f"check {self.name} failed itself: {type(error).__name__}: {error}",
                hint="Correct the check: it must take every value that fits the types.",
            ) from error
        if isinstance(verdict, str):
            return verdict or self.message
        if verdict is None or isinstance(verdict, bool):
            return self.message if verdict is False else None
        raise SignatureError(
            f"check {self.name} returned {verdict!r}",
            hint="Return True or False, a message, or None for outputs that pass.",
        )

    def require_fields(self, owner: str, fields: Collection[str]) -> None:
        """Refuse a check that looks at what ``owner`` does not have.

        Raises:
            SignatureError: Naming the parameter and the fields there are.
        """
        for name in self.parameters:
            if name not in fields and name != ALL_OUTPUTS:
                raise SignatureError(
                    f"{owner}: check {self.name} looks at `{name}`, which is no field",
                    hint=f"Its parameters name fields ({', '.join(fields)}), or `{ALL_OUTPUTS}` for all outputs.",
                )


def check(message: str, *, required: bool = True) -> Callable[[CheckFunction], Check]:
    """Make a function a check of the signature in whose body it stands.

    Its parameters name the fields it looks at; it returns True, False, or a message that says more than
    ``message``, and may raise ValueError instead.

    Args:
        message: What is wrong if it fails, in words for the model.
        required: Whether outputs that fail it are refused; if not, the failure is only noted in the trace.

    Raises:
        SignatureError: The message is empty, or the function cannot be a check.
    """
    if not message.strip():
        raise SignatureError(
            f"check({message!r}) has no message", hint='Say what is wrong: @check("the answer must be one word").'
        )

    def decorate(function: CheckFunction) -> Check:
        name = getattr(function, "__name__", repr(function))
        if inspect.iscoroutinefunction(function):
            raise SignatureError(
                f"check {name} is async", hint="Write a plain function: checks decide, they do not wait."
            )
        parameters = []
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise SignatureError(f"check {name} takes {parameter}", hint="Name each field it looks at.")
            parameters.append(parameter.name)
        if not parameters:
            raise SignatureError(f"check {name} takes nothing", hint="Name the fields it looks at as parameters.")
        return Check(name, message, function, tuple(parameters), required)

    return decorate
