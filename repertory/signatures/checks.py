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
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from repertory.errors import SignatureError

CheckFunction: TypeAlias = Callable[..., bool | str | None]

ALL_OUTPUTS: Final = "outputs"
"""The parameter that gets all outputs, as a mapping; in a signature with an input of this name, that input."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. Calling it calls the function.

    Attributes:
        name: The function's name, of a lambda its message; among the checks of a signature it is unique.
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

    def __call__(self, *arguments: Any, **keywords: Any) -> bool | str | None:
        return self.function(*arguments, **keywords)

    def failure(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> str | None:
        """What is wrong with ``outputs``, the typed answer to ``inputs``; None if they pass.

        Raises:
            SignatureError: The check itself failed, which is not the model's fault.
        """
        given = {ALL_OUTPUTS: MappingProxyType(outputs), **inputs, **outputs}
        absent = [name for name in self.parameters if name not in given]
        if absent:
            raise SignatureError(
                f"check {self.name} looks at `{absent[0]}`, which has no value here",
                hint="Give it all inputs and outputs of the signature.",
            )
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
        if isinstance(verdict, Coroutine):
            verdict.close()  # nobody will await it, and Python would say so later, elsewhere
        raise SignatureError(
            f"check {self.name} returned a {type(verdict).__name__}: {verdict!r}",
            hint="Return True or False, a message, or None for outputs that pass.",
        )

    def renamed(self, name: str) -> "Check":
        """The same check under another name."""
        return self if name == self.name else replace(self, name=name)

    def require_fields(self, owner: str, fields: Collection[str]) -> None:
        """Refuse a check that looks at what ``owner`` does not have.

        Raises:
            SignatureError: Naming the parameter and the fields there are.
        """
        for name in self.parameters:
            if name not in fields and name != ALL_OUTPUTS:
                near = get_close_matches(name, fields, n=1)
                meant = f"Did you mean `{near[0]}`? " if near else ""
                raise SignatureError(
                    f"{owner}: check {self.name} looks at `{name}`, which is no field",
                    hint=f"{meant}Its parameters name fields ({', '.join(fields)}), "
                    f"or `{ALL_OUTPUTS}` for all outputs.",
                )


def check(message: str, *, required: bool = True) -> Callable[[CheckFunction], Check]:
    """Make a function a check: of the signature in whose body it stands, or for ``with_checks``.

    Its parameters name the fields it looks at, there is no ``self``. It returns True, False, or a message that
    says more than ``message``; None passes; ValueError and AssertionError fail, with their text.

    Args:
        message: What is wrong if it fails, in words for the model.
        required: Whether outputs that fail it are refused; if not, the failure is only noted in the trace.

    Raises:
        SignatureError: The message is empty, or the function cannot be a check.
    """
    if not isinstance(message, str) or not message.strip():  # type: ignore[redundant-expr]  # @check without ()
        raise SignatureError(
            "a check has no message", hint='Say what is wrong: @check("the answer must be one word").'
        )

    def decorate(function: CheckFunction) -> Check:
        plain = function.__func__ if isinstance(function, staticmethod) else function
        if not callable(plain):
            raise SignatureError(
                f"check({message!r}) is put on {plain!r}, which is no function", hint="Put it above a `def`."
            )
        own = getattr(plain, "__name__", "")
        name = own if own.isidentifier() else message  # a lambda is told by what it says
        if inspect.iscoroutinefunction(plain):
            raise SignatureError(
                f"check {name} is async", hint="Write a plain function: checks decide, they do not wait."
            )
        if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
            raise SignatureError(f"check {name} yields", hint="Return True or False, or a message.")
        return Check(name, message, plain, _parameters(name, plain), required)

    return decorate


def _parameters(name: str, function: CheckFunction) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise SignatureError(
            f"check {name} does not tell its parameters", hint="Wrap it in a function that names them."
        ) from None
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise SignatureError(f"check {name} takes {parameter}", hint="Name each field it looks at.")
        if parameter.name == "self":
            raise SignatureError(
                f"check {name} takes self", hint="Remove it: a check is a plain function of fields."
            )
    if not parameters:
        raise SignatureError(f"check {name} takes nothing", hint="Name the fields it looks at as parameters.")
    return tuple(parameter.name for parameter in parameters)
