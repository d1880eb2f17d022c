"""Supervisors: actors whose work is to keep other actors alive."""

from repertory.supervisors.child import ChildSpec
from repertory.supervisors.intensity import RestartIntensity
from repertory.supervisors.pool import Pool, PoolRef
from repertory.supervisors.supervisor import ChildInfo, StartChild, StopChild, Supervisor, WhichChildren

__all__ = [
    "ChildInfo",
    "ChildSpec",
    "Pool",
    "PoolRef",
    "RestartIntensity",
    "StartChild",
    "StopChild",
    "Supervisor",
    "WhichChildren",
]
