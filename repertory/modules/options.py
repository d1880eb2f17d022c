"""How a module is run: what may be said of it in code, or in a configuration."""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from repertory.errors import ConfigError

if TYPE_CHECKING:
    from repertory.modules.module import Module

Restart: TypeAlias = Literal["permanent", "transient", "temporary"]


@dataclass(frozen=True, slots=True)
class ModuleOptions:
    """How a module is run; of what is None nothing is said.

    Attributes:
        replicas: Actors that make a predictor's predictions; otherwise as many as the program's `start` says.
        concurrency: Predictions each of them works on at a time; otherwise likewise.
        timeout: Seconds one attempt at an answer may take; otherwise, or if infinite, as long as the run has.
        retries: Further attempts after one that failed with an error that repeating may mend; otherwise none.
        fallback: A module that takes the same inputs and answers where this one has failed for good.
        restart: Which ends of an actor's life its supervisor follows with another one, as in OTP; otherwise all.
    """

    replicas: int | None = None
    concurrency: int | None = None
    timeout: float | None = None
    retries: int | None = None
    fallback: "Module | None" = None
    restart: Restart | None = None

    def __post_init__(self) -> None:
        for name, least in (("replicas", 1), ("concurrency", 1), ("retries", 0)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ConfigError(
                    f"module options: {name} = {value!r}", hint=f"Write a whole number from {least}."
                )
        if self.timeout is not None and not self.timeout > 0:
            raise ConfigError(f"module options: timeout = {self.timeout!r}", hint="Write seconds, above 0.")
        if self.restart not in (None, "permanent", "transient", "temporary"):
            raise ConfigError(
                f"module options: restart = {self.restart!r}", hint="Write permanent, transient or temporary."
            )
        if self.fallback is not None and not hasattr(self.fallback, "forward"):
            raise ConfigError(f"module options: fallback = {self.fallback!r}", hint="Name a module.")

    def but(self, changed: "ModuleOptions") -> "ModuleOptions":
        """These, but for what ``changed`` says."""
        said = {field.name: getattr(changed, field.name) for field in fields(changed)}
        return replace(self, **{name: value for name, value in said.items() if value is not None})


DEFAULTS: Final = ModuleOptions()
