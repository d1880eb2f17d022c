"""The runtime: a store, language models and programs under one supervision tree."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Literal, Self

from repertory.actors import ActorInfo, ActorRef, ActorSystem, Exit
from repertory.clock import Clock, SystemClock
from repertory.errors import ActorDown, ConfigError, NameTaken, ProgramError, RepertoryError, RuntimeClosed
from repertory.events import Hook, Hooks
from repertory.modules import Module, Predict
from repertory.providers.cache import CacheSettings, ReplyCache
from repertory.providers.endpoint import Endpoint, EndpointSnapshot
from repertory.providers.lm import LM
from repertory.providers.messages import Terms
from repertory.runtime.compatibility import check_inputs
from repertory.runtime.config import RuntimeConfig, load_config, make_config
from repertory.runtime.deployment import Deployment
from repertory.runtime.endpoint_keeper import EndpointKeeper
from repertory.runtime.journal import Journal
from repertory.runtime.lm_config import LMConfig
from repertory.runtime.models import Surroundings, make_endpoint, make_route
from repertory.runtime.predictor import ParameterKeeper, Predictor
from repertory.runtime.releases import Metric, Release, Releases
from repertory.runtime.rollout_keeper import RolloutKeeper, Watch
from repertory.runtime.rollout_plan import RolloutPlan
from repertory.runtime.run import Station
from repertory.signatures import Signature, compile_signature
from repertory.store import (
    AccountLimit,
    Ledger,
    LedgerTable,
    MemoryLedger,
    ReminderTable,
    ReplyTable,
    StateTable,
    Store,
)
from repertory.supervisors import ChildSpec, Pool, PoolRef, StartChild, StopChild, Supervisor, tree

KEEPER = "parameters"  # child id of the actor that keeps a predictor's parameters
EVERYBODYS = "global"  # the account that pays for every call, beside those a run names
POOL = "pool"  # child id of the pool that makes its predictions


class _Root(Supervisor):
    """The root of the tree: tells of its end before its children end, so that their askers can be told why."""

    def __init__(self, children: Sequence[ChildSpec], ending: Callable[[Exit], None]) -> None:
        super().__init__(children)
        self._ending = ending

    async def stopping(self, exit: Exit) -> None:
        self._ending(exit)
        await super().stopping(exit)


class Runtime:
    """Runs programs as supervised actors.

    ```python
    async with Runtime(lm="local") as runtime:
        classify = await runtime.start(Predict("text -> label: Literal['spam', 'ham']"))
        print((await classify(text="Win a prize!")).label)
    ```

    Args:
        config: All settings; the arguments below override its fields.
        lm: The language model, or several by name (one of them ``default``): an address such as ``local`` or
            ``openai/gpt-4.1-mini``, or an LM object, which stays the caller's to close.
        store: Path of the SQLite file; None keeps nothing: no journal, no parameters.
        hooks: Listeners for events.
        timeout: Seconds a run may take if its caller does not say.
        seed: Makes retry jitter repeatable.

    Raises ConfigError.
    """

    def __init__(
        self,
        config: RuntimeConfig | str | Path | None = None,
        *,
        lm: str | LM | Mapping[str, str | LM] | None = None,
        store: str | Path | None = "",
        hooks: Iterable[Hook] = (),
        timeout: float = 120.0,
        clock: Clock | None = None,
        seed: int | None = None,
    ) -> None:
        if isinstance(config, str | Path):
            config = load_config(config)
        self.config = config if config is not None else make_config("the environment", {})
        self.clock: Clock = clock or SystemClock()
        self.hooks = Hooks(hooks)
        self.timeout = timeout
        self.journal: Journal | None = None
        self.ledger: Ledger = MemoryLedger()
        self.deployments: dict[str, Deployment] = {}
        self._store_path = self._where(store)
        self._rng = Random(seed)
        self._lms: dict[str, LM] = {}
        self._lm_configs = dict(self.config.lm)
        self._take_lms(lm)
        self._local: list[str] = []  # names of the models whose server is a child of ours
        self._programs: dict[str, ChildSpec] = {}  # by version
        self._releases: dict[str, Releases[Deployment]] = {}  # by the program's name
        self._system: ActorSystem
        self.closing = False
        self._open = False
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._working = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._exit_stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the store and start the language models. Raises ConfigError, StoreTooNew, StartFailed."""
        if self._open or self.closing:
            raise RuntimeClosed("a runtime is entered once", hint="Make another Runtime(...).")
        async with AsyncExitStack() as stack:
            store = None
            if self._store_path is not None:
                store = await Store.open(self._store_path)
                stack.push_async_callback(store.close)
            self.journal = Journal(store, self.clock) if store is not None else None
            self._system = ActorSystem(
                clock=self.clock,
                hooks=self.hooks,
                states=StateTable(store) if store is not None else None,
                reminders=ReminderTable(store) if store is not None else None,
            )
            await self._system.reminders.load()
            models = self._make_models(stack, await self._make_surroundings(store, stack))
            stack.push_async_callback(self._system.stop, None)
            await self._system.spawn(
                lambda: _Root(
                    [
                        ChildSpec(id="models", start=lambda: Supervisor(models), start_timeout=600),
                        ChildSpec(id="endpoints", start=lambda: EndpointKeeper(self._endpoints())),
                        ChildSpec(id="programs", start=self._programs_supervisor),
                        ChildSpec(id="rollouts", start=lambda: RolloutKeeper(self._releases)),
                    ],
                    self._root_ended,
                ),
                name="root",
                start_timeout=600,
                on_exit=self._root_ended,
            )
            self._open = True
            self._exit_stack = stack.pop_all()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Refuse new work, stop all actors and processes, close the store."""
        self._open = False
        self.closing = True
        await self._exit_stack.aclose()

    async def start(
        self, program: Module, *, name: str | None = None, replicas: int = 1, concurrency: int = 64
    ) -> Deployment:
        """Start a program: each of its predictors becomes a pool of supervised actors.

        Args:
            name: The program's name in the journal and in paths; by default that of its class or signature.
            replicas: Actors per predictor.
            concurrency: Predictions each of them works on at a time.

        Raises ProgramError (no predictor, unknown LM), NameTaken, RuntimeClosed.
        """
        self._check_open()
        name = name or _name_of(program)
        if name in self.deployments:
            raise NameTaken(f"a program {name!r} is running already", hint="Pass another name=.")
        deployment = await self._start_version(program, name, name, replicas, concurrency, None)
        self.deployments[name] = deployment
        self._releases[name] = deployment.releases
        return deployment

    async def release(
        self,
        program: Module,
        *,
        name: str,
        plan: RolloutPlan | None = None,
        metric: Metric | None = None,
        replicas: int = 1,
        concurrency: int = 64,
    ) -> Release:
        """Start a new version of a running program beside it, and have it take over as ``plan`` says.

        Nothing changes for callers: runs end on the version they began with, and a run key stays with the version
        that accepted it while that lives. The new version begins with the parameters its code declares.

        Args:
            name: The running program's.
            plan: None: that of ``[programs.NAME.rollout]``, if there is one, else `RolloutPlan()`.
            metric: What is compared as the plan's ``min_metric_ratio`` says.

        Raises ProgramError (no such program, a release under way, other inputs), and what `start` raises.
        """
        self._check_open()
        first = self.deployments.get(name)
        if first is None:
            raise ProgramError(f"no program {name!r} is running", hint="Start it first: runtime.start(program).")
        releases = first.releases
        check_inputs(name, releases.current.compiled, compile_signature(program.signature))
        if plan is None:
            configured = self.config.programs.get(name)
            plan = configured.rollout.plan() if configured is not None else RolloutPlan()
        with releases.claim() as version:
            candidate = await self._start_version(program, name, version, replicas, concurrency, releases)
            if self.deployments.get(name) is not first:
                await candidate.stop()
                raise ProgramError(f"{name} was stopped while {version} started", hint="Start it as a program.")
            release = releases.begin(candidate, plan, metric)
        self.actor("root/rollouts").tell(Watch())
        return release

    async def _start_version(
        self,
        program: Module,
        name: str,
        version: str,
        replicas: int,
        concurrency: int,
        releases: Releases[Deployment] | None,
    ) -> Deployment:
        """Start the actors of one version of the program ``name`` under a path of their own."""
        if version in self._programs:
            raise NameTaken(f"a program {version!r} is running already", hint="Pass another name=.")
        predictors = program.predictors()
        if not predictors:
            raise ProgramError(f"{name} holds no predictor", hint="Make one in __init__, such as Predict(...).")
        stations: dict[int, Station] = {}
        children: list[ChildSpec] = []
        for path, predict in predictors.items():
            self._check_lm_of(path, predict, predict.parameters.lm)
            station = Station(path, PoolRef(self._system, f"root/programs/{version}/{path}/{POOL}"))
            actors = self._actors_of(predict, station, replicas, concurrency)
            children.append(ChildSpec(id=path, start=partial(Supervisor, actors)))
            stations[id(predict)] = station
        self._programs[version] = spec = ChildSpec(id=version, start=partial(Supervisor, children))
        try:
            await self.actor("root/programs").ask(StartChild(spec), timeout=None)
            for path, predict in predictors.items():
                self._check_lm_of(path, predict, stations[id(predict)].parameters.parameters.lm)
        except BaseException:
            await self.stop_version(version)
            raise
        keepers = {path: self.actor(f"root/programs/{version}/{path}/{KEEPER}") for path in predictors}
        return Deployment(self, name, program, stations, keepers, version=version, releases=releases)

    async def stop(self, deployment: Deployment) -> None:
        """Stop a program, all versions of it; runs under way fail with ActorDown and can be resumed."""
        releases = deployment.releases
        self.deployments.pop(deployment.name, None)
        self._releases.pop(deployment.name, None)
        releases.close()
        for version in (releases.current, *releases.others()):
            await version.stop()

    async def drain(self, timeout: float) -> bool:
        """Take no new runs and wait for those under way; return whether all ended within ``timeout`` seconds."""
        self._open = False
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def failure(self) -> BaseException:
        """Wait until the supervision tree has given up; return why it did."""
        await self._failed.wait()
        assert self._failure is not None
        return self._failure

    def tree(self) -> tuple[ActorInfo, ...]:
        """The supervision tree at this moment, also while the runtime starts or stops; empty before that."""
        return tree(self._system) if hasattr(self, "_system") else ()

    def actor(self, path: str) -> ActorRef:
        """A reference to the actor at ``path``, such as ``root/models/default``."""
        return self._system.ref(path)

    def obstacles(self) -> list[str]:
        """Why runs should not be sent here at present, in words; empty if nothing is in the way."""
        if not self._open or self._failure is not None:
            return ["the runtime takes no new work"]
        down = [f"the local model {name!r} is down" for name in self._local if not self._is_up(name)]
        # A circuit whose interval has passed waits for a call to probe with: it must not be kept away.
        shut = {endpoint.name for endpoint in self.endpoints() if endpoint.circuit.shut}
        # Of an endpoint that stands in a route only the route is asked, and others may stand in for it.
        routed = {name for route in self.config.route.values() for name in route.of}
        closed = [f"the circuit of the language model {name!r} is open" for name in sorted(shut - routed)]
        closed += [
            f"the circuits of all language models of the route {name!r} are open"
            for name, route in self.config.route.items()
            if shut.issuperset(route.of)
        ]
        unwritable = self.journal is not None and self.journal.writes.failure is not None
        # Not why: that may name files and hosts, and anybody may ask whether a daemon is ready.
        journal = ["the journal cannot be written; the log and repertory ps tell why"] if unwritable else []
        return down + closed + journal

    def endpoints(self) -> list[EndpointSnapshot]:
        """The state of each endpoint, as data."""
        return [endpoint.snapshot() for endpoint in self._endpoints()]

    def force_circuit(self, endpoint: str, forced: Literal["open", "closed"] | None) -> None:
        """Keep an endpoint's circuit open or closed, whatever happens, or (None) leave it to itself again.

        Raises ConfigError if there is no endpoint of this name.
        """
        for each in self._endpoints():
            if each.name == endpoint:
                each.force_circuit(forced)
                return
        known = ", ".join(each.name for each in self._endpoints()) or "none"
        raise ConfigError(f"there is no endpoint {endpoint!r}", hint=f"There are: {known}.")

    # --- for deployments ---

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold off `drain` while a run is under way. Raises RuntimeClosed."""
        self._check_open()
        self._working += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._working -= 1
            if not self._working:
                self._idle.set()

    async def stop_version(self, version: str) -> None:
        """End the actors of one version of a program."""
        self._programs.pop(version, None)
        await self._system.ref("root/programs").ask(StopChild(version), timeout=None)

    def charged(self, terms: Terms) -> Terms:
        """``terms`` with the account that pays for every call, if there is one."""
        if EVERYBODYS not in self.config.budgets or EVERYBODYS in terms.accounts:
            return terms
        return replace(terms, accounts=(*terms.accounts, EVERYBODYS))

    def explained(self, error: RepertoryError) -> RepertoryError:
        """``error``, or why there are no actors any more."""
        if isinstance(error, ActorDown):
            if self._failure is not None:
                return self._gave_up()
            if self.closing:
                return RuntimeClosed("the runtime was closed during the run", hint="It can be resumed by its key.")
        return error

    def lm_of(self, predict: Predict) -> str:
        """What tells the model that ``predict`` asks from others: where it is configured, its address."""
        if predict.lm is not None:
            return predict.lm.name
        name = predict.parameters.lm
        config = self._lm_configs.get(name)
        return f"{config.model} {config.base_url}" if config is not None else self._lms[name].name

    def check_lm(self, path: str, name: str) -> None:
        """Raise ProgramError unless there is a language model of this name."""
        if name not in self._lms:
            known = f"There are: {', '.join(self._lms)}." if self._lms else "There is none."
            raise ProgramError(
                f"{path} wants the language model {name!r}",
                hint=f'{known} Add one: Runtime(lm="local"), or [lm.{name}] in the configuration.',
            )

    # --- inside ---

    def _where(self, store: str | Path | None) -> str | Path | None:
        if store == "":
            return self.config.store if self.config.journal else None
        return store

    def _take_lms(self, lm: str | LM | Mapping[str, str | LM] | None) -> None:
        named = lm if isinstance(lm, Mapping) else {"default": lm} if lm is not None else {}
        for name, each in named.items():
            if isinstance(each, str):
                known = self._lm_configs.get(name, LMConfig(model=each))
                self._lm_configs[name] = known.model_copy(update={"model": each})
            elif hasattr(each, "complete"):
                self._lm_configs.pop(name, None)
                self._lms[name] = each
            else:
                raise ConfigError(f"Runtime: lm = {each!r} is no language model", hint='Write: lm="local"')

    async def _make_surroundings(self, store: Store | None, stack: AsyncExitStack) -> Surroundings:
        """What the endpoints share: the accounts that pay, and the cache if there is one."""
        self.ledger = ledger = (
            await LedgerTable.open(store, clock=self.clock) if store is not None else MemoryLedger()
        )
        stack.push_async_callback(ledger.close)
        for name, budget in self.config.budgets.items():
            await ledger.limit(name, AccountLimit.of(budget.dollars, budget.tokens))
        cache = None
        if (kept := self.config.cache).enabled:
            settings = CacheSettings(int(kept.megabytes * 2**20), kept.ttl, kept.stale_for)
            replies = ReplyTable(store) if store is not None and kept.stored else None
            cache = ReplyCache(settings, self.clock, replies=replies, endpoint="cache", hooks=self.hooks)
            stack.push_async_callback(cache.close)
        return Surroundings(self.clock, self.hooks, self._rng, cache, ledger)

    def _make_models(self, stack: AsyncExitStack, around: Surroundings) -> list[ChildSpec]:
        """Make the configured endpoints and routes; return the children that must run for them."""
        children = []
        endpoints: dict[str, Endpoint] = {}
        for name, config in self._lm_configs.items():
            endpoints[name], child = make_endpoint(name, config, around)
            stack.push_async_callback(endpoints[name].close)
            if child is not None:
                children.append(child)
                self._local.append(name)
        self._lms |= endpoints
        for name, route in self.config.route.items():
            if name in self._lms:
                raise ConfigError(
                    f"route.{name}: there is a language model of this name", hint="Rename one of them."
                )
            self._lms[name] = make_route(name, route, endpoints, around)
        return children

    def _endpoints(self) -> list[Endpoint]:
        return [lm for lm in self._lms.values() if isinstance(lm, Endpoint)]

    def _programs_supervisor(self) -> Supervisor:
        """The supervisor of programs; one that is started anew brings back those that were running."""
        return Supervisor(tuple(self._programs.values()))

    def _is_up(self, model: str) -> bool:
        return self.actor(f"root/models/{model}").running

    def _check_lm_of(self, path: str, predict: Predict, lm: str) -> None:
        if predict.lm is None:
            self.check_lm(path, lm)

    def _actors_of(self, predict: Predict, station: Station, replicas: int, concurrency: int) -> list[ChildSpec]:
        """The actors of one predictor: the keeper of its parameters, and the pool that makes its predictions."""
        predictor = partial(Predictor, predict, self._lms)
        pool = partial(Pool, predictor, replicas=replicas, concurrency=concurrency)
        return [
            ChildSpec(id=KEEPER, start=partial(ParameterKeeper, predict.parameters, station.take)),
            ChildSpec(id=POOL, start=pool),
        ]

    def _root_ended(self, exit: Exit) -> None:
        for releases in self._releases.values():
            releases.close()
        if not self.closing and self._failure is None:
            self._failure = exit.error or ActorDown("the root supervisor ended")
            self._failed.set()

    def _check_open(self) -> None:
        if self._failure is not None:
            raise self._gave_up()
        if not self._open:
            raise RuntimeClosed("the runtime takes no new work", hint="Use it inside `async with Runtime(...)`.")

    def _gave_up(self) -> RepertoryError:
        error = RuntimeClosed(
            f"the supervision tree has given up: {self._failure}",
            hint="What restarts cannot mend has to be mended by hand; then start again.",
        )
        error.__cause__ = self._failure
        return error


def _name_of(program: Module) -> str:
    """A program's name where none was given; one of a string signature gets its content's."""
    signature = program.signature
    if signature.__name__ != Signature.__name__:
        return signature.__name__
    return f"program-{compile_signature(signature).fingerprint[:8]}"
