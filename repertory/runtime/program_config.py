"""How a program is run that a configuration names: ``[programs.NAME]``, and what holds for its modules."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from repertory.errors import ConfigError
from repertory.modules import Module
from repertory.modules.module import module_paths
from repertory.modules.options import ModuleOptions
from repertory.runtime.failure_policy import parse_failure_policy
from repertory.runtime.lm_config import Table
from repertory.runtime.rollout_plan import RolloutConfig


class ModuleConfig(Table):
    """How one module of a program is run, over what the code says; what is not said leaves that as it is.

    Attributes:
        replicas: Actors that make a predictor's predictions.
        concurrency: Predictions each of them works on at a time.
        timeout: Seconds one attempt at an answer may take.
        retries: Further attempts after one that failed with an error that repeating may mend.
        fallback: Path of another module of the program, which answers where this one has failed for good.
        restart: Which ends of an actor's life its supervisor follows with another one.
    """

    replicas: int | None = Field(default=None, ge=1)
    concurrency: int | None = Field(default=None, ge=1)
    timeout: float | None = Field(default=None, gt=0)
    retries: int | None = Field(default=None, ge=0)
    fallback: str | None = None
    restart: Literal["permanent", "transient", "temporary"] | None = None


class ProgramConfig(Table):
    """One program the daemon serves.

    Attributes:
        source: ``path.py:name``, ``package.module:name``, or a file that defines a graph.
        replicas: Actors for each of its predictors.
        concurrency: Predictions each of these works on at a time.
        on_failure: What a failed step means for the others of its run: ``strict``, ``tolerant``, ``threshold(n)``
            or ``fallback``; None leaves it to the code.
        uncertain: What becomes of a run whose process died while it was calling a model.
        changed: What becomes of an interrupted run whose program's code has changed since.
        modules: How its modules are run, by their paths.
        rollout: How new versions of it take over.
    """

    source: str
    replicas: int = Field(default=1, ge=1)
    concurrency: int = Field(default=64, ge=1)
    on_failure: str | None = None
    uncertain: Literal["rebuy", "hold", "fail"] = "rebuy"
    changed: Literal["refuse", "continue", "restart"] = "refuse"
    modules: dict[str, ModuleConfig] = Field(default_factory=dict)
    rollout: RolloutConfig = RolloutConfig()

    @field_validator("on_failure")
    @classmethod
    def _is_policy(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_failure_policy(value)
            except ConfigError as error:
                raise ValueError(error.hint) from None
        return value


def options_of_modules(name: str, config: ProgramConfig, program: Module) -> dict[str, ModuleOptions]:
    """What ``[programs.NAME.modules]`` says of the modules of ``program``, by their paths.

    Raises ConfigError for a path that leads to no module.
    """
    paths = module_paths(program)
    options = {}
    for path, said in config.modules.items():
        field = f'programs.{name}.modules."{path}"'
        _check_path(field, path, paths)
        if said.fallback is not None:
            _check_path(f"{field}.fallback = {said.fallback!r}", said.fallback, paths)
        options[path] = ModuleOptions(
            replicas=said.replicas,
            concurrency=said.concurrency,
            timeout=said.timeout,
            retries=said.retries,
            fallback=paths[said.fallback] if said.fallback is not None else None,
            restart=said.restart,
        )
    return options


def _check_path(field: str, path: str, paths: Mapping[str, Module]) -> None:
    if path not in paths:
        raise ConfigError(f"{field}: the program has no module at this path", hint=f"It has: {', '.join(paths)}.")
