"""Supervisors: actors whose work is to keep other actors alive."""

from repertory.supervisors.backoff import Backoff
from repertory.supervisors.child import ChildSpec
from repertory.supervisors.decision import Plan, Restarts
from repertory.supervisors.dynamic import DynamicSupervisor
from repertory.supervisors.intensity import RestartIntensity
from repertory.supervisors.messages import (
    ChildCounts,
    ChildInfo,
    CountChildren,
    DeleteChild,
    GetChildSpec,
    RestartChild,
    StartChild,
    StopChild,
    TerminateChild,
    WhichChildren,
)
from repertory.supervisors.partition import PartitionRef, PartitionSupervisor
from repertory.supervisors.pool import Pool, PoolRef
from repertory.supervisors.scaling import Autoscaler, Scaling
from repertory.supervisors.supervisor import Supervisor
from repertory.supervisors.tree import tree

__all__ = [
    "Autoscaler",
    "Backoff",
    "ChildCounts",
    "ChildInfo",
    "ChildSpec",
    "CountChildren",
    "DeleteChild",
    "DynamicSupervisor",
    "GetChildSpec",
    "PartitionRef",
    "PartitionSupervisor",
    "Plan",
    "Pool",
    "PoolRef",
    "RestartChild",
    "RestartIntensity",
    "Restarts",
    "Scaling",
    "StartChild",
    "StopChild",
    "Supervisor",
    "TerminateChild",
    "WhichChildren",
    "tree",
]
