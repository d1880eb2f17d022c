"""Routing policies: in which order a route asks its endpoints."""

from repertory.providers.policies.cheapest import Cheapest
from repertory.providers.policies.fallback import Fallback
from repertory.providers.policies.hedged import Hedged
from repertory.providers.policies.least_latency import LeastLatency
from repertory.providers.policies.policy import Order, Outcome, Policy
from repertory.providers.policies.weighted import Weighted

__all__ = ["Cheapest", "Fallback", "Hedged", "LeastLatency", "Order", "Outcome", "Policy", "Weighted"]
