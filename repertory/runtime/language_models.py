"""The language models of a runtime, by the names that predictors ask for."""

from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Literal

from repertory.errors import ConfigError, ProgramError
from repertory.modules import Predict
from repertory.providers.endpoint import Endpoint, EndpointSnapshot
from repertory.providers.lm import LM
from repertory.runtime.config import RuntimeConfig
from repertory.runtime.lm_config import LMConfig
from repertory.runtime.models import Surroundings, make_endpoint, make_route
from repertory.supervisors import ChildSpec


class LanguageModels:
    """Invariant: once ``open`` has returned, ``by_name`` has every endpoint and route of the configuration.

    Args:
        given: The language model, or several by name: addresses, or objects, which stay the caller's to close.

    Attributes:
        by_name: What predictors are handed.
        local: Names of the models whose server is a child of the runtime.
    """

    def __init__(self, config: RuntimeConfig, given: str | LM | Mapping[str, str | LM] | None) -> None:
        self.by_name: dict[str, LM] = {}
        self.local: list[str] = []
        self._routes = config.route
        self._configs = dict(config.lm)
        named = given if isinstance(given, Mapping) else {"default": given} if given is not None else {}
        for name, each in named.items():
            if isinstance(each, str):
                known = self._configs.get(name, LMConfig(model=each))
                self._configs[name] = known.model_copy(update={"model": each})
            elif hasattr(each, "complete"):
                self._configs.pop(name, None)
                self.by_name[name] = each
            else:
                raise ConfigError(f"Runtime: lm = {each!r} is no language model", hint='Write: lm="local"')

    def open(self, stack: AsyncExitStack, around: Surroundings) -> list[ChildSpec]:
        """Make the configured endpoints and routes; return the children that must run for them."""
        children = []
        endpoints: dict[str, Endpoint] = {}
        for name, config in self._configs.items():
            endpoints[name], child = make_endpoint(name, config, around)
            stack.push_async_callback(endpoints[name].close)
            if child is not None:
                children.append(child)
                self.local.append(name)
        self.by_name |= endpoints
        for name, route in self._routes.items():
            if name in self.by_name:
                raise ConfigError(
                    f"route.{name}: there is a language model of this name", hint="Rename one of them."
                )
            self.by_name[name] = make_route(name, route, endpoints, around)
        return children

    def endpoints(self) -> list[Endpoint]:
        """The endpoints among them."""
        return [lm for lm in self.by_name.values() if isinstance(lm, Endpoint)]

    def snapshots(self) -> list[EndpointSnapshot]:
        """The state of each endpoint, as data."""
        return [endpoint.snapshot() for endpoint in self.endpoints()]

    def force_circuit(self, endpoint: str, forced: Literal["open", "closed"] | None) -> None:
        """See `Runtime.force_circuit`."""
        for each in self.endpoints():
            if each.name == endpoint:
                each.force_circuit(forced)
                return
        known = ", ".join(each.name for each in self.endpoints()) or "none"
        raise ConfigError(f"there is no endpoint {endpoint!r}", hint=f"There are: {known}.")

    def closed_circuits(self) -> Iterable[str]:
        """Which models cannot be asked at present because circuits are open, in words."""
        # A circuit whose interval has passed waits for a call to probe with: it must not be kept away.
        shut = {endpoint.name for endpoint in self.snapshots() if endpoint.circuit.shut}
        # Of an endpoint that stands in a route only the route is asked, and others may stand in for it.
        routed = {name for route in self._routes.values() for name in route.of}
        for name in sorted(shut - routed):
            yield f"the circuit of the language model {name!r} is open"
        for name, route in self._routes.items():
            if shut.issuperset(route.of):
                yield f"the circuits of all language models of the route {name!r} are open"

    def address(self, predict: Predict) -> str:
        """What tells the model that ``predict`` asks from others: where it is configured, its address."""
        if predict.lm is not None:
            return predict.lm.name
        name = predict.parameters.lm
        config = self._configs.get(name)
        return f"{config.model} {config.base_url}" if config is not None else self.by_name[name].name

    def check(self, path: str, predict: Predict, name: str) -> None:
        """Raise ProgramError unless ``predict``, at ``path``, has a model of its own, or there is this one."""
        if predict.lm is None and name not in self.by_name:
            known = f"There are: {', '.join(self.by_name)}." if self.by_name else "There is none."
            raise ProgramError(
                f"{path} wants the language model {name!r}",
                hint=f'{known} Add one: Runtime(lm="local"), or [lm.{name}] in the configuration.',
            )
