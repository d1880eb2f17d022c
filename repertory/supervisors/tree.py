"""The whole supervision tree at one moment, as data."""

from repertory.actors import ActorInfo, ActorSystem
from repertory.supervisors.parent import children_of


def tree(system: ActorSystem) -> tuple[ActorInfo, ...]:
    """The actors without supervisor, in start order, each with those below it.

    It asks nobody: an operator wants it exactly when a supervisor is busy.
    """
    return tuple(cell.info(children=children_of(cell)) for cell in system.roots())
