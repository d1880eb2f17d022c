"""The programs of a runtime: each version of each under a supervisor of its own."""

from functools import partial
from typing import TYPE_CHECKING

from repertory.errors import NameTaken, ProgramError
from repertory.modules import Module, Predict
from repertory.modules.options import DEFAULTS
from repertory.runtime.compatibility import check_inputs
from repertory.runtime.deployment import Deployment
from repertory.runtime.failure_policy import FailurePolicy, Tolerant, parse_failure_policy
from repertory.runtime.predictor import ParameterKeeper, Predictor
from repertory.runtime.program_check import check_program, options_of, predictors_of
from repertory.runtime.program_options import ProgramOptions
from repertory.runtime.releases import Metric, Release, Releases
from repertory.runtime.rollout_keeper import Watch
from repertory.runtime.rollout_plan import RolloutPlan
from repertory.runtime.surroundings import Station, Surroundings
from repertory.signatures import Signature, compile_signature
from repertory.supervisors import ChildSpec, Pool, PoolRef, StartChild, StopChild, Supervisor

if TYPE_CHECKING:
    from repertory.runtime.runtime import Runtime

KEEPER = "parameters"  # child id of the actor that keeps a predictor's parameters
POOL = "pool"  # child id of the pool that makes its predictions


class Programs:
    """Invariant: ``_specs`` has the supervisor of each version that runs, or is to run again after a crash.

    Attributes:
        deployments: The programs that are started, by name.
        releases: Their versions, by name.
    """

    def __init__(self, runtime: "Runtime") -> None:
        self.deployments: dict[str, Deployment] = {}
        self.releases: dict[str, Releases[Deployment]] = {}
        self._runtime = runtime
        self._specs: dict[str, ChildSpec] = {}

    async def start(self, program: Module, name: str | None, options: ProgramOptions) -> Deployment:
        """See `Runtime.start`."""
        name = name or _name_of(program)
        if name in self.deployments:
            raise NameTaken(f"a program {name!r} is running already", hint="Pass another name=.")
        deployment = await self._start_version(program, name, name, options, None)
        self.deployments[name] = deployment
        self.releases[name] = deployment.releases
        return deployment

    async def release(
        self,
        program: Module,
        name: str,
        plan: RolloutPlan | None,
        metric: Metric | None,
        options: ProgramOptions,
    ) -> Release:
        """See `Runtime.release`."""
        first = self.find(name)
        releases = first.releases
        check_inputs(name, releases.current.compiled, compile_signature(program.signature))
        if plan is None:
            configured = self._runtime.config.programs.get(name)
            plan = configured.rollout.plan() if configured is not None else RolloutPlan()
        with releases.claim() as version:
            candidate = await self._start_version(program, name, version, options, releases)
            if self.deployments.get(name) is not first:
                await candidate.stop()
                raise ProgramError(f"{name} was stopped while {version} started", hint="Start it as a program.")
            release = releases.begin(candidate, plan, metric)
        self._runtime.actor("root/rollouts").tell(Watch())
        return release

    async def stop(self, deployment: Deployment) -> None:
        """See `Runtime.stop`."""
        releases = deployment.releases
        self.deployments.pop(deployment.name, None)
        self.releases.pop(deployment.name, None)
        releases.close()
        for version in (releases.current, *releases.others()):
            await version.stop()

    async def stop_version(self, version: str) -> None:
        """End the actors of one version of a program."""
        self._specs.pop(version, None)
        await self._runtime.actor("root/programs").ask(StopChild(version), timeout=None)

    def find(self, name: str) -> Deployment:
        """The program that was started under this name. Raises ProgramError."""
        deployment = self.deployments.get(name)
        if deployment is None:
            known = ", ".join(self.deployments) or "none"
            raise ProgramError(f"no program {name!r} is running", hint=f"Running are: {known}.")
        return deployment

    def supervisor(self) -> Supervisor:
        """The supervisor of programs; one that is started anew brings back those that were running."""
        return Supervisor(tuple(self._specs.values()))

    def close(self) -> None:
        """Nobody decides about releases any more."""
        for releases in self.releases.values():
            releases.close()

    async def _start_version(
        self,
        program: Module,
        name: str,
        version: str,
        options: ProgramOptions,
        releases: Releases[Deployment] | None,
    ) -> Deployment:
        """Start the actors of one version of the program ``name`` under a path of their own."""
        if version in self._specs:
            raise NameTaken(f"a program {version!r} is running already", hint="Pass another name=.")
        runtime = self._runtime
        predictors = predictors_of(program, options.modules)
        check_program(name, program, predictors)
        of_modules = options_of(program, options.modules)
        stations: dict[int, Station] = {}
        children: list[ChildSpec] = []
        for path, predict in predictors.items():
            runtime.models.check(path, predict, predict.parameters.lm)
            pool = PoolRef(runtime.system, f"root/programs/{version}/{path}/{POOL}")
            station = stations[id(predict)] = Station(path, pool, of_modules.get(id(predict), DEFAULTS))
            actors = self._actors_of(predict, station, options)
            children.append(ChildSpec(id=path, start=partial(Supervisor, actors)))
        self._specs[version] = spec = ChildSpec(id=version, start=partial(Supervisor, children))
        try:
            await runtime.actor("root/programs").ask(StartChild(spec), timeout=None)
            for path, predict in predictors.items():
                runtime.models.check(path, predict, stations[id(predict)].parameters.parameters.lm)
        except BaseException:
            await self.stop_version(version)
            raise
        keepers = {path: runtime.actor(f"root/programs/{version}/{path}/{KEEPER}") for path in predictors}
        around = Surroundings(
            *(stations, of_modules, runtime.stage, runtime.clock, _policy_of(program, options)),
            options.uncertain,
            runtime.under_way,
            runtime.at_work,
            lambda: runtime.closing,
        )
        return Deployment(
            *(runtime, name, program, predictors, around, keepers, options),
            version=version,
            releases=releases,
        )

    def _actors_of(self, predict: Predict, station: Station, options: ProgramOptions) -> list[ChildSpec]:
        """The actors of one predictor: the keeper of its parameters, and the pool that makes its predictions."""
        predictor = partial(Predictor, predict, self._runtime.models.by_name)
        said = station.options
        pool = partial(
            Pool,
            predictor,
            replicas=said.replicas or options.replicas,
            concurrency=said.concurrency or options.concurrency,
            restart=said.restart or "permanent",
        )
        return [
            ChildSpec(id=KEEPER, start=partial(ParameterKeeper, predict.parameters, station.take)),
            ChildSpec(id=POOL, start=pool),
        ]


def _policy_of(program: Module, options: ProgramOptions) -> FailurePolicy:
    policy = options.on_failure if options.on_failure is not None else getattr(program, "on_failure", None)
    if policy is None:
        return Tolerant()
    return parse_failure_policy(policy, "on_failure") if isinstance(policy, str) else policy


def _name_of(program: Module) -> str:
    """A program's name where none was given; one of a string signature gets its content's."""
    signature = program.signature
    if signature.__name__ != Signature.__name__:
        return signature.__name__
    return f"program-{compile_signature(signature).fingerprint[:8]}"
