"""Predict: one question to a language model, asked again where the reply cannot be used."""

import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from repertory.errors import ConfigError, ProgramError
from repertory.modules.adapters import Adapter, TwoStepAdapter, adapter_for, adapter_named, correction
from repertory.modules.dispatch import current_dispatcher
from repertory.modules.judging import Accepted, judge, require_whole
from repertory.modules.module import Module
from repertory.modules.parameters import Parameters
from repertory.modules.pending import Pending, arrived
from repertory.modules.prediction import Prediction
from repertory.modules.trace import AskedAgain, TraceEntry
from repertory.providers.lm import LM
from repertory.providers.messages import NO_USAGE, TERMS, LMRequest, Message, SchemaDialect, Terms
from repertory.providers.witness import Witness
from repertory.signatures import CompiledSignature, Signature, compile_signature
from repertory.signatures.schemas import JsonSchema


@dataclass(frozen=True, slots=True)
class _Preamble:
    """What comes before the question, for one snapshot of parameters, and what constrains the reply."""

    parameters: Parameters
    adapter: Adapter
    dialect: SchemaDialect | None
    messages: tuple[Message, ...]
    schema: JsonSchema | None
    two_step: TwoStepAdapter | None  # the adapter, if it is one


class Predict(Module):
    """Asks a language model for a signature's outputs.

    ```python
    answer = await Predict("question -> answer", lm=lm)(question="Why?")
    ```

    Args:
        signature: The string form or a `Signature` class.
        instructions: The task in words, instead of the signature's own.
        demos: Examples to show in every call.
        lm: A language model to ask, or the name of one of the runtime's.
        temperature: Sampling temperature; None leaves it to the endpoint.
        max_tokens: Most tokens a reply may have; None leaves it to the endpoint.
        corrections: Most times a reply that cannot be used is sent back with what is wrong with it.
        adapter: How the question is worded and the reply read: ``"auto"`` (JSON where the endpoint constrains
            replies to a schema, else chat), ``"chat"``, ``"json"``, ``"xml"``, ``"baml"``, ``"two_step"``, or
            an `Adapter`.

    Raises SignatureError if the signature cannot be compiled, ConfigError if another argument cannot be used.
    """

    def __init__(
        self,
        signature: str | type[Signature],
        *,
        instructions: str | None = None,
        demos: Iterable[Mapping[str, Any]] = (),
        lm: LM | str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        corrections: int = 1,
        adapter: Adapter | str = "auto",
    ) -> None:
        self._signature = self._asked(Signature.parse(signature) if isinstance(signature, str) else signature)
        self.compiled: CompiledSignature = compile_signature(self._signature)
        self.adapter = None if adapter == "auto" else adapter_named(adapter)
        self.lm = lm if not isinstance(lm, str) else None
        try:
            self.parameters = Parameters(
                instructions=instructions,
                demos=tuple(self._checked(number, demo) for number, demo in enumerate(demos)),
                lm=lm if isinstance(lm, str) else "default",
                temperature=temperature,
                max_tokens=max_tokens,
                corrections=corrections,
            )
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(map(str, fault["loc"]))
            raise ConfigError(f"Predict: {where} = {fault['input']!r}", hint=f"{fault['msg']}.") from None
        self._made: _Preamble | None = None

    @staticmethod
    def _asked(signature: type[Signature]) -> type[Signature]:
        """What the model is really asked, where that is more than the caller wants to know."""
        return signature

    @property
    def signature(self) -> type[Signature]:
        """What goes in and comes out."""
        return self._signature

    def redefine(self, signature: type[Signature]) -> None:
        """Ask for ``signature`` from now on, as it is; the parameters stay. Before the program is started.

        Raises:
            SignatureError: It cannot be compiled.
        """
        if signature is not self._signature:
            self.compiled = compile_signature(signature)
            self._signature = signature
            self._made = None

    def __call__(self, *, demos: Sequence[Mapping[str, Any]] | None = None, **inputs: Any) -> Pending:
        """Ask for the outputs that belong to ``inputs``, which may hold references to what is still to come.

        Args:
            demos: Examples to show in this call, instead of the predictor's own.

        Raises, when it is awaited:
            InputError: An input is missing, unknown or of the wrong type.
            ReplyError: The reply does not hold the outputs; it carries the reply.
            LMError, DeadlineExceeded: The model could not be asked.
        """
        if (dispatcher := current_dispatcher.get()) is not None:
            return dispatcher.dispatch(self, inputs, demos)
        return Pending(self.label, partial(self._ask, inputs, demos), fields=self.output_names)

    @property
    def label(self) -> str:
        """What errors call it where it has no path."""
        return f"{type(self).__name__}({self.compiled.name})"

    @property
    def output_names(self) -> tuple[str, ...]:
        """The fields of its predictions."""
        return tuple(field.name for field in self.compiled.outputs)

    async def _ask(self, inputs: Mapping[str, Any], demos: Sequence[Mapping[str, Any]] | None) -> Prediction:
        values, demos = self.compiled.validate_inputs(await arrived(inputs)), await arrived(demos)
        if self.lm is None:
            raise ProgramError(
                f"no language model to ask: {self.label} runs outside a Runtime",
                hint="Start the program on a Runtime, or pass lm= to the module.",
            )
        return await self.complete(self.lm, self.parameters, values, demos)

    async def forward(self, **inputs: Any) -> Prediction:
        """As calling it."""
        return await self(**inputs)

    async def complete(
        self,
        lm: LM,
        parameters: Parameters,
        inputs: Mapping[str, Any],
        demos: Sequence[Mapping[str, Any]] | None = None,
        *,
        deadline: float | None = None,
        terms: Terms = TERMS,
        witness: Witness | None = None,
        recorded: Callable[[LM], LM] = lambda lm: lm,
    ) -> Prediction:
        """Ask ``lm``: validated ``inputs`` to a prediction. Raises as ``__call__``.

        Args:
            deadline: Point on the clock's ``monotonic()`` after which nobody waits for the answer.
            terms: On whose behalf it is asked, who pays, and whether an old answer will do.
            witness: Who is told of every attempt before it is sent; None: nobody.
            recorded: Makes of a model that is asked, ``lm`` or another one, one whose answers are recorded.
        """
        dialect = lm.schema_dialect
        adapter = self.adapter or adapter_for(dialect)
        preamble = self._preamble(adapter, parameters, dialect)
        messages = self._messages(preamble, inputs, demos)
        asked, usage = 0, NO_USAGE
        trace: tuple[TraceEntry, ...] = ()

        def ask(messages: tuple[Message, ...], schema: JsonSchema | None = None) -> LMRequest:
            return LMRequest(
                messages,
                response_schema=schema,
                temperature=parameters.temperature,
                max_tokens=parameters.max_tokens,
                deadline=deadline,
                terms=terms,
                witness=witness,
            )

        reader = lm = recorded(lm)
        if (two_step := preamble.two_step) is not None:
            answer = await lm.complete(ask(messages))
            asked, usage = 1, answer.usage
            require_whole(answer)
            reader = recorded(two_step.reader) if two_step.reader is not None else lm
            messages = two_step.extraction(self.compiled, answer.text)
        first = asked
        while True:
            response = await reader.complete(ask(messages, preamble.schema))
            asked, usage = asked + 1, usage + response.usage if asked else response.usage
            verdict = judge(adapter, self.compiled, inputs, response)
            trace += verdict.trace
            if isinstance(verdict, Accepted):
                return Prediction(verdict.outputs, usage=usage, lm_calls=asked, trace=trace)
            if verdict.feedback is None or asked - first > parameters.corrections:
                verdict.error.trace = trace
                raise verdict.error
            trace += (AskedAgain(verdict.error.field, verdict.feedback, response.text),)
            messages += (Message("assistant", response.text), correction(verdict.feedback))

    def _checked(self, number: int, demo: object) -> dict[str, Any]:
        """A demonstration that shows something: at least one input and one output."""
        for side in (self.compiled.inputs, self.compiled.outputs):
            names = [field.name for field in side]
            if not isinstance(demo, Mapping) or not any(name in demo for name in names):
                raise ConfigError(
                    f"Predict: demos[{number}] = {reprlib.repr(demo)} has none of the fields {', '.join(names)}",
                    hint="A demonstration has inputs and the outputs that are right for them.",
                )
        assert isinstance(demo, Mapping)
        return dict(demo)

    def messages(
        self,
        inputs: Mapping[str, Any],
        *,
        demos: Sequence[Mapping[str, Any]] | None = None,
        dialect: SchemaDialect | None = None,
    ) -> tuple[Message, ...]:
        """What a model would be asked.

        Args:
            inputs: Validated inputs.
            demos: Examples to show, instead of the predictor's own.
            dialect: How the model's endpoint constrains replies, by which ``auto`` picks the adapter.
        """
        preamble = self._preamble(self.adapter or adapter_for(dialect), self.parameters, dialect)
        return self._messages(preamble, inputs, demos)

    def _preamble(self, adapter: Adapter, parameters: Parameters, dialect: SchemaDialect | None) -> _Preamble:
        made = self._made
        if (
            made is None
            or made.parameters is not parameters
            or made.adapter is not adapter
            or made.dialect != dialect
        ):
            messages = adapter.preamble(self.compiled, parameters.demos, instructions=parameters.instructions)
            schema = adapter.response_schema(self.compiled, dialect)
            two_step = adapter if isinstance(adapter, TwoStepAdapter) else None
            made = self._made = _Preamble(parameters, adapter, dialect, messages, schema, two_step)
        return made

    def _messages(
        self, preamble: _Preamble, inputs: Mapping[str, Any], demos: Sequence[Mapping[str, Any]] | None
    ) -> tuple[Message, ...]:
        adapter = preamble.adapter
        if demos is not None:
            instructions = preamble.parameters.instructions
            return adapter.format(self.compiled, demos, inputs, instructions=instructions)
        return preamble.messages + adapter.question(self.compiled, inputs)
