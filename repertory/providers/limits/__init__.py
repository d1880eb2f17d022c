"""How many attempts an endpoint is sent, and whose comes next."""

from repertory.providers.limits.admission import Limits, Turn
from repertory.providers.limits.settings import LimitSettings, LimitsSnapshot

__all__ = ["LimitSettings", "Limits", "LimitsSnapshot", "Turn"]
