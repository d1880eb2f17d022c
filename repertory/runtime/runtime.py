"""The runtime: a store, language models and programs under one supervision tree."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, Literal, Self, TypeVar, TypeVarTuple

from repertory.actors import ActorInfo, ActorRef, ActorSystem, Exit
from repertory.clock import Clock, SystemClock
from repertory.errors import ActorDown, Overloaded, ProgramError, RepertoryError, RuntimeClosed
from repertory.events import Hook, Hooks
from repertory.modules import Module
from repertory.modules.options import ModuleOptions
from repertory.providers.cache import CacheSettings, ReplyCache
from repertory.providers.endpoint import EndpointSnapshot
from repertory.providers.lm import LM
from repertory.providers.messages import TERMS, Priority, Terms
from repertory.runtime.config import RuntimeConfig, load_config, make_config
from repertory.runtime.deployment import Deployment
from repertory.runtime.endpoint_keeper import EndpointKeeper
from repertory.runtime.failure_policy import FailurePolicy
from repertory.runtime.journal import Journal
from repertory.runtime.language_models import LanguageModels
from repertory.runtime.memory_guard import MemoryGuard, Shrink
from repertory.runtime.memory_levels import PRIORITIES
from repertory.runtime.memory_reading import MemoryReader
from repertory.runtime.models import Surroundings
from repertory.runtime.old_runs import OldRuns
from repertory.runtime.processes import Processes
from repertory.runtime.program_options import ChangedPolicy, ProgramOptions
from repertory.runtime.programs import Programs
from repertory.runtime.releases import Metric, Release
from repertory.runtime.retention import Retention, RetentionKeeper
from repertory.runtime.rollout_keeper import RolloutKeeper
from repertory.runtime.rollout_plan import RolloutPlan
from repertory.runtime.run import RunContext
from repertory.runtime.run_budget import RunBudget
from repertory.runtime.run_handle import RunHandle
from repertory.runtime.run_ids import RunKeys
from repertory.runtime.run_keeper import RunKeeper
from repertory.runtime.runs import Runs
from repertory.runtime.stage import Stage
from repertory.runtime.step_witness import UncertainPolicy
from repertory.runtime.working import Working
from repertory.signatures.compiled import shrink_compile_cache
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
from repertory.store.owners import Owners
from repertory.supervisors import ChildSpec, Supervisor, tree

ResultT = TypeVar("ResultT")
Args = TypeVarTuple("Args")

BETWEEN_STEPS = 0.05  # seconds that the code of a program is given to go from one step to its end
EVERYBODYS = "global"  # the account that pays for every call, beside those a run names
NO_OPTIONS: Mapping[str, ModuleOptions] = MappingProxyType({})
NO_TAGS: Mapping[str, str] = MappingProxyType({})


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
        self.models = LanguageModels(self.config, lm)
        self.keys = RunKeys(self.clock)
        self.programs = Programs(self)
        self.runs = Runs(self)
        self.stage = Stage(self.config.scheduler.steps)
        self.under_way: set[RunContext] = set()
        self.memory = self.config.memory.levels(self.clock)
        self.system: ActorSystem
        self.closing = False
        self._processes = Processes()
        self._caches: list[Shrink] = [shrink_compile_cache, self._processes.shrink]
        self._store_path = self._where(store)
        self._rng = Random(seed)
        self._open = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self.at_work = Working()
        self._exit_stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the store and start the language models. Raises ConfigError, StoreTooNew, StartFailed."""
        if self._open or self.closing:
            raise RuntimeClosed("a runtime is entered once", hint="Make another Runtime(...).")
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            store = None
            if self._store_path is not None:
                store = await Store.open(self._store_path)
                stack.push_async_callback(store.close)
                owners = await Owners.open(store, self.clock)
                stack.push_async_callback(owners.close)
                self.journal = Journal(store, self.clock, owners)
            self.system = ActorSystem(
                clock=self.clock,
                hooks=self.hooks,
                states=StateTable(store) if store is not None else None,
                reminders=ReminderTable(store) if store is not None else None,
            )
            await self.system.reminders.load()
            stack.push_async_callback(self._processes.close)
            models = self.models.open(stack, await self._make_surroundings(store, stack))
            stack.push_async_callback(self.system.stop, None)
            await self.system.spawn(
                lambda: _Root(self._children(models, store), self._root_ended),
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
        self,
        program: Module,
        *,
        name: str | None = None,
        replicas: int = 1,
        concurrency: int = 64,
        modules: Mapping[str, ModuleOptions] = NO_OPTIONS,
        on_failure: FailurePolicy | str | None = None,
        uncertain: UncertainPolicy = "rebuy",
        changed: ChangedPolicy = "refuse",
    ) -> Deployment:
        """Start a program: each of its predictors becomes a pool of supervised actors.

        Submitted runs of it that were interrupted go on.

        Args:
            name: The program's name in the journal and in paths; by default that of its class or signature.
            replicas: Actors per predictor.
            concurrency: Predictions each of them works on at a time.
            modules: How its modules are run, by their paths, over what the code says (`Module.supervised`).
            on_failure: What a failed step means for the others of its run: ``strict``, ``tolerant``,
                ``threshold(n)`` or ``fallback``. None: its error is raised where the program asks for the outcome,
                and the run fails if the program lets it pass.
            uncertain: What becomes of a run whose process died while it was calling a model.
            changed: What becomes of an interrupted run whose program's code has changed since.

        Raises ProgramError (no predictor, unknown LM, unknown path), NameTaken, RuntimeClosed.
        """
        self._check_open()
        options = ProgramOptions(replicas, concurrency, modules, on_failure, uncertain, changed)
        deployment = await self.programs.start(program, name, options)
        await self.runs.recover(deployment.name)
        return deployment

    async def release(
        self,
        program: Module,
        *,
        name: str,
        plan: RolloutPlan | None = None,
        metric: Metric | None = None,
        replicas: int | None = None,
        concurrency: int | None = None,
        modules: Mapping[str, ModuleOptions] = NO_OPTIONS,
        on_failure: FailurePolicy | str | None = None,
        uncertain: UncertainPolicy | None = None,
        changed: ChangedPolicy | None = None,
    ) -> Release:
        """Start a new version of a running program beside it, and have it take over as ``plan`` says.

        Nothing changes for callers: runs end on the version they began with, and a run key stays with the version
        that accepted it while that lives. The new version begins with the parameters its code declares.

        Args:
            name: The running program's.
            plan: None: that of ``[programs.NAME.rollout]``, if there is one, else `RolloutPlan()`.
            metric: What is compared as the plan's ``min_metric_ratio`` says.
            replicas, concurrency, on_failure, uncertain, changed: As for `start`; None: as of the present version.
            modules: As for `start`; nothing is taken over from the present version.

        Raises ProgramError (no such program, a release under way, other inputs), and what `start` raises.
        """
        self._check_open()
        present = self.programs.find(name).current.options
        options = ProgramOptions(
            replicas if replicas is not None else present.replicas,
            concurrency if concurrency is not None else present.concurrency,
            modules,
            on_failure if on_failure is not None else present.on_failure,
            uncertain or present.uncertain,
            changed or present.changed,
        )
        return await self.programs.release(program, name, plan, metric, options)

    async def submit(
        self,
        program: str | Deployment,
        inputs: Mapping[str, Any],
        *,
        key: str | None = None,
        timeout: float | None = None,
        terms: Terms = TERMS,
        trace: str = "",
        tags: Mapping[str, str] = NO_TAGS,
        budget: RunBudget | None = None,
        stream: bool = False,
        durable: bool = True,
    ) -> RunHandle:
        """Have a run of a started program done, whoever waits for it; return when it is on disk.

        It outlives the caller, and with a store the process: another one that starts the program goes on with it.

        Args:
            key: The same key is the same run, however often it is submitted; None: a new one.
            timeout: Seconds it may take in all, also across processes; None: no limit.
            terms: On whose behalf models are asked, who pays, and whether an old answer will do.
            trace: The caller's trace context (W3C ``traceparent``).
            tags: What to find the run by.
            budget: What it may spend, across processes.
            stream: Whether pieces of answers are among its events.
            durable: False lets it be lost with the process, where there is no store.

        Raises InputError, ProgramError (unknown program), ConfigError (no store, and ``durable``), StoreError,
        Overloaded, RuntimeClosed.
        """
        self._check_open()
        deployment = self.programs.find(program) if isinstance(program, str) else program
        return await self.runs.submit(
            deployment,
            inputs,
            key=key,
            timeout=timeout,
            terms=terms,
            trace=trace,
            tags=tags,
            budget=budget,
            streams=stream,
            durable=durable,
        )

    async def find_run(self, id: str) -> RunHandle:
        """A handle on the run with this id. Raises RunUnknown."""
        return self.runs.handle(await self.runs.status(id))

    async def compute(
        self, function: Callable[[*Args], ResultT], *args: *Args, timeout: float | None = None
    ) -> ResultT:
        """What ``function`` returns, computed in a worker process, so that the event loop goes on meanwhile.

        Args:
            function: Importable by its name, like what it is given and returns.
            timeout: Seconds after which the worker is killed; None: the runtime's default.

        Raises what it raises, and DeadlineExceeded, WorkerCrashed.
        """
        self._check_open()
        return await self._processes.run(function, *args, timeout=self.timeout if timeout is None else timeout)

    async def stop(self, deployment: Deployment) -> None:
        """Stop a program, all versions of it; runs under way fail with ActorDown and can be resumed."""
        await self.programs.stop(deployment)

    @property
    def deployments(self) -> Mapping[str, Deployment]:
        """The programs that are started, by name."""
        return self.programs.deployments

    async def drain(self, timeout: float) -> bool:
        """Take no new runs, and wait until the runtime can be closed with nothing lost that was paid for.

        Runs that somebody waits for here, or that no store keeps, are brought to their end. Those that were
        submitted finish the steps they are at and begin no others: they go on when their program is started again.

        Returns:
            Whether that was done within ``timeout`` seconds.
        """
        self._open = False
        self.at_work.winds_up = True
        try:
            async with asyncio.timeout(timeout):
                while self.at_work.count:
                    await self.at_work.idle.wait()
                    await self.clock.sleep(BETWEEN_STEPS)  # a run whose last step this was is about to end
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
        return tree(self.system) if hasattr(self, "system") else ()

    def actor(self, path: str) -> ActorRef:
        """A reference to the actor at ``path``, such as ``root/models/default``."""
        return self.system.ref(path)

    def obstacles(self) -> list[str]:
        """Why runs should not be sent here at present, in words; empty if nothing is in the way."""
        if not self._open or self._failure is not None:
            return ["the runtime takes no new work"]
        down = [f"the local model {name!r} is down" for name in self.models.local if not self._is_up(name)]
        closed = self.models.closed_circuits()
        unwritable = self.journal is not None and self.journal.writes.failure is not None
        # Not why: that may name files and hosts, and anybody may ask whether a daemon is ready.
        journal = ["the journal cannot be written; the log and repertory ps tell why"] if unwritable else []
        return [*down, *closed, *journal]

    def endpoints(self) -> list[EndpointSnapshot]:
        """The state of each endpoint, as data."""
        return self.models.snapshots()

    def force_circuit(self, endpoint: str, forced: Literal["open", "closed"] | None) -> None:
        """Keep an endpoint's circuit open or closed, whatever happens, or (None) leave it to itself again.

        Raises ConfigError if there is no endpoint of this name.
        """
        self.models.force_circuit(endpoint, forced)

    # --- for deployments ---

    def working(self) -> Working:
        """What holds off `drain` for as long as one is within it.

        Raises RuntimeClosed, and ProgramError in another event loop than the runtime's.
        """
        self._check_open()
        if asyncio.get_running_loop() is not self._loop:
            raise ProgramError(
                "the runtime lives in another event loop than its caller",
                hint="Call it there, from other threads with asyncio.run_coroutine_threadsafe.",
            )
        return self.at_work

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

    # --- inside ---

    def _where(self, store: str | Path | None) -> str | Path | None:
        if store == "":
            return self.config.store if self.config.journal else None
        return store

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
            self._caches.append(cache.shrink)
        return Surroundings(self.clock, self.hooks, self._rng, cache, ledger)

    def _is_up(self, model: str) -> bool:
        return self.actor(f"root/models/{model}").running

    def _children(self, models: Sequence[ChildSpec], store: Store | None) -> list[ChildSpec]:
        """The children of the root, in the order in which they are started."""
        children = [
            ChildSpec(id="models", start=lambda: Supervisor(models), start_timeout=600),
            ChildSpec(id="endpoints", start=lambda: EndpointKeeper(self.models.endpoints())),
            ChildSpec(id="programs", start=self.programs.supervisor),
            ChildSpec(
                id="runs",
                start=lambda: RunKeeper(self.runs.executed, lambda: self.closing or self._failure is not None),
            ),
            ChildSpec(id="rollouts", start=lambda: RolloutKeeper(self.programs.releases)),
        ]
        if self.config.memory.guard:
            children.insert(0, ChildSpec(id="memory", start=self._memory_guard))
        retention = Retention.configured(self.config.retention)
        if store is not None and not retention.keeps_all:
            keeper = ChildSpec(id="retention", start=lambda: RetentionKeeper(OldRuns(store), retention, self._rng))
            children.append(keeper)
        return children

    def _memory_guard(self) -> MemoryGuard:
        read = MemoryReader(self.config.memory.limit).read
        return MemoryGuard(self.memory, read, caches=self._caches, end=self._end_work)

    def _end_work(self, priority: Priority) -> int:
        """End the runs of this priority and of those below it; return how many."""
        ending = PRIORITIES[: PRIORITIES.index(priority) + 1]
        runs = [run for run in self.under_way if run.info.terms.priority in ending]
        for run in runs:
            run.stop(Overloaded("the run was ended, as memory is short", retry_after=30.0))
        return len(runs)

    def _root_ended(self, exit: Exit) -> None:
        if not self.closing and self._failure is None:
            self._failure = exit.error or ActorDown("the root supervisor ended")
            self._failed.set()
        self.programs.close()

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
