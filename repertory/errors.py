"""The error tree: every failure Repertory raises on purpose.

Each class has a stable ``code`` (what APIs, logs and result files carry), says whether repeating the same
call may succeed (``retryable``), and each instance may carry a ``hint``: the remedy, in one sentence.
"""

from typing import ClassVar


class RepertoryError(Exception):
    """Root of the tree.

    Args:
        message: What failed, naming the field and the value where there is one.
        hint: What to do about it.
        retry_after: Seconds before repeating makes sense, if the failing side said so.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


# --- what the user wrote -------------------------------------------------------------------------------------


class ConfigError(RepertoryError):
    """A configuration file, argument or environment variable cannot be used."""

    code = "config_invalid"


class SignatureError(RepertoryError):
    """A signature cannot be compiled."""

    code = "signature_invalid"


class ProgramError(RepertoryError):
    """A program cannot be found, loaded or run as written."""

    code = "program_invalid"


class InputError(RepertoryError):
    """Inputs do not fit the signature.

    Args:
        field: Name of the offending field, dotted where nested; "" for the whole row.
        reason: What is wrong with it.
    """

    code = "input_invalid"

    def __init__(self, field: str, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{field}: {reason}" if field else reason, hint=hint)
        self.field = field
        self.reason = reason


# --- actors and supervisors ----------------------------------------------------------------------------------


class ActorError(RepertoryError):
    """A message was not handled."""

    code = "actor_error"


class ActorDown(ActorError):
    """The life that held the message ended before it replied, or the actor no longer exists.

    ``__cause__`` is what ended it, where something did.
    """

    code = "actor_down"
    retryable = True


class DeadlineExceeded(RepertoryError):
    """The caller's deadline passed first."""

    code = "deadline_exceeded"


class AskCycle(ActorError):
    """The ask would wait for itself: the asked actor is waiting, through others, for the one that asks."""

    code = "ask_cycle"


class LinkedActorDown(ActorError):
    """An actor that this one is linked to crashed. ``__cause__`` is why."""

    code = "linked_actor_down"


class MailboxFull(ActorError):
    """The mailbox is at its bound and its policy rejects."""

    code = "mailbox_full"
    retryable = True


class UnhandledMessage(ActorError):
    """The actor has no handler for a message of this type."""

    code = "message_unhandled"


class NameTaken(ActorError):
    """Another living actor has this path."""

    code = "name_taken"


class StartFailed(ActorError):
    """An actor's ``started`` raised or took longer than its start timeout. ``__cause__`` is why."""

    code = "start_failed"


class RestartLimitReached(ActorError):
    """A supervisor saw more restarts than its intensity allows and gave up. ``__cause__`` is the last failure."""

    code = "restart_limit_reached"


class InjectedCrash(RepertoryError):
    """A fault put in on purpose, to watch the supervisor mend it."""

    code = "injected_crash"


class ChildNotFound(ActorError):
    """The supervisor has no child of this id."""

    code = "child_not_found"


class ChildRunning(ActorError):
    """What was asked of the supervisor can only be done to a child that is stopped, and this one runs."""

    code = "child_running"


class ChildRestarting(ActorError):
    """The child is between two lives: its supervisor is about to start it again."""

    code = "child_restarting"
    retryable = True


class ChildLimitReached(ActorError):
    """The supervisor has as many children as it may have."""

    code = "child_limit_reached"
    retryable = True


# --- store ---------------------------------------------------------------------------------------------------


class StoreError(RepertoryError):
    """The store could not do what it was asked."""

    code = "store_error"


class StaleState(StoreError):
    """Another life committed a newer revision of this state; this life must not overwrite it."""

    code = "state_stale"


class RunTakenOver(StoreError):
    """Another process executes this run now; this one must not go on with it."""

    code = "run_taken_over"


class StoreTooNew(StoreError):
    """The store was written by a newer version of Repertory, or of the state's schema."""

    code = "store_too_new"


# --- budgets -------------------------------------------------------------------------------------------------


class AmountUnknown(RepertoryError):
    """A budget is limited in what nobody can say of a call: it was not paid for.

    Args:
        account: The budget.
        kind: What it is limited in: ``money`` or ``tokens``.
    """

    code = "amount_unknown"

    def __init__(self, message: str, *, account: str, kind: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.account = account
        self.kind = kind


# --- language models -----------------------------------------------------------------------------------------


class LMError(RepertoryError):
    """A call to a language model failed. ``endpoint`` names which one."""

    code = "lm_error"

    def __init__(
        self, message: str, *, endpoint: str = "", hint: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint, retry_after=retry_after)
        self.endpoint = endpoint


class LMConnectionError(LMError):
    """The endpoint could not be reached, or the connection broke.

    Args:
        unsent: Whether nothing of the request can have reached the endpoint, so that nobody will bill it.
    """

    code = "lm_unreachable"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        endpoint: str = "",
        hint: str | None = None,
        retry_after: float | None = None,
        unsent: bool = False,
    ) -> None:
        super().__init__(message, endpoint=endpoint, hint=hint, retry_after=retry_after)
        self.unsent = unsent


class LMTimeout(LMError):
    """The endpoint did not answer in time."""

    code = "lm_timeout"
    retryable = True


class LMServerError(LMError):
    """The endpoint answered with a 5xx status or an error in a 200 body."""

    code = "lm_server_error"
    retryable = True


class LMRateLimited(LMError):
    """The endpoint asked for fewer requests (429). ``retry_after`` is its wish in seconds, if it said."""

    code = "lm_rate_limited"
    retryable = True


class LMAuthError(LMError):
    """The endpoint refused the credentials or the account (401, 402, 403)."""

    code = "lm_auth"


class LMRequestRejected(LMError):
    """The endpoint refused this request (400, 404, 413, 422 and other 4xx); repeating it cannot help."""

    code = "lm_request_rejected"


class LMModelUnknown(LMRequestRejected):
    """The endpoint has no such model, or there is no endpoint at this address (404): others may have it."""

    code = "lm_model_unknown"


class LMReplyMalformed(LMError):
    """The endpoint's answer does not follow its protocol."""

    code = "lm_reply_malformed"
    retryable = True


class CircuitOpen(LMError):
    """The endpoint's breaker is open: the call was not made. ``retry_after`` is when it will probe again."""

    code = "circuit_open"
    retryable = True


class EndpointOverloaded(LMError):
    """As many calls wait for the endpoint as may: the call was not made. ``retry_after`` is an estimate."""

    code = "endpoint_overloaded"
    retryable = True


class BudgetExceeded(LMError):
    """A budget has not enough left to be sure that the call is paid for: it was not made.

    Args:
        account: The budget.
    """

    code = "budget_exceeded"

    def __init__(self, message: str, *, account: str, endpoint: str = "", hint: str | None = None) -> None:
        super().__init__(message, endpoint=endpoint, hint=hint)
        self.account = account


class PriceUnknown(LMError):
    """A budget in money was to pay for a call whose price nobody knows: it was not made."""

    code = "price_unknown"


class OutputsInvalid(RepertoryError):
    """Outputs do not fit the signature.

    Args:
        field: Name of the offending output, dotted where nested; "" for the outputs as a whole.
        reason: What is wrong with it.
    """

    code = "outputs_invalid"

    def __init__(self, field: str, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{field}: {reason}" if field else reason, hint=hint)
        self.field = field
        self.reason = reason


class ReplyError(RepertoryError):
    """A model's reply does not contain the outputs the signature asks for.

    Args:
        field: The output field that is missing or wrong; "" if the reply could not be read at all.
        reply: The raw reply, whole.
        trace: What was found in it and in the replies before it, as in a prediction's ``trace``.
    """

    code = "reply_unparsable"

    def __init__(
        self, message: str, *, field: str, reply: str, hint: str | None = None, trace: tuple[object, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.field = field
        self.reply = reply
        self.trace = trace


# --- runs ----------------------------------------------------------------------------------------------------


class Overloaded(RepertoryError):
    """There is too much to do already, and this was not begun. ``retry_after`` is the soonest that it may be."""

    code = "overloaded"
    retryable = True


class WorkerCrashed(RepertoryError):
    """The process that ran a function ended before it replied; what the function had done until then is done."""

    # What takes a process down is the function's own doing, mostly, and would take down the next one too.
    code = "worker_crashed"


class RuntimeClosed(RepertoryError):
    """The runtime is stopping or stopped; it takes no new work."""

    code = "runtime_closed"
    retryable = True


class KeyReused(InputError):
    """The key stands for another run already: one with other inputs, or any run where a new one is asked for."""

    code = "key_reused"


class StepCancelled(RepertoryError):
    """A step of a run was given up because another one failed, or by the program itself.

    Args:
        step: Its number within the run.
        failed: The number of the step that failed; its own, where none did.
        name, failed_name: What these two are called in the program, where that is known.
    """

    code = "step_cancelled"

    def __init__(self, step: int, failed: int, *, name: str = "", failed_name: str = "") -> None:
        if step == failed:
            super().__init__(f"{_step(step, name)} was given up by the program")
        else:
            super().__init__(
                f"{_step(step, name)} was cancelled because {_step(failed, failed_name)} of the same run failed",
                hint=f"Look at the error of step {failed}. To let others go on, use the failure policy tolerant.",
            )
        self.step = step
        self.failed = failed


class StepSkipped(RepertoryError):
    """A step of a run was never begun because it depends, directly or not, on one that did not finish.

    Args:
        step: Its number within the run.
        failed: The number of the step that failed or was cancelled.
        name, failed_name: What these two are called in the program, where that is known.
    """

    code = "step_skipped"

    def __init__(self, step: int, failed: int, *, name: str = "", failed_name: str = "") -> None:
        super().__init__(
            f"{_step(step, name)} was skipped: it depends on {_step(failed, failed_name)}, which did not finish",
            hint=f"Look at the error of step {failed}; retry the run from there.",
        )
        self.step = step
        self.failed = failed


class RunReplayIncomplete(RepertoryError):
    """A dry replay came to a step that has no recorded outcome."""

    code = "replay_incomplete"


class RunCancelled(RepertoryError):
    """The run was cancelled by somebody who may."""

    code = "run_cancelled"


class RunUnknown(RepertoryError):
    """There is no run with this id."""

    code = "run_unknown"


class WrongRunState(ProgramError):
    """What was asked of a run cannot be done in the state it is in: it has ended, say, or has not."""

    code = "run_state"


class ProgramChanged(ProgramError):
    """A run cannot go on, as its program is another one now than when it was accepted."""

    code = "program_changed"


class CallUncertain(RepertoryError):
    """A process died while a call of a model was under way, and nobody knows whether it was billed.

    Args:
        held: Whether the run waits for somebody to decide; else it has failed.
    """

    code = "call_uncertain"

    def __init__(self, message: str, *, held: bool, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.held = held


def _step(number: int, name: str) -> str:
    return f"step {number} ({name})" if name else f"step {number}"
