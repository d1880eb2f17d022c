"""What becomes of a schema in a provider's dialect."""

from dataclasses import dataclass

from repertory.signatures.schemas import JsonSchema


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that a dialect cannot say.

    Attributes:
        path: Where in a reply: ``people[].scores``; "" for the reply as a whole.
        reason: What cannot be said.
        remedy: What to do about it.
    """

    path: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"`{self.path}`: {self.reason}; {self.remedy}" if self.path else f"{self.reason}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class ProviderSchema:
    """A schema of outputs as one dialect says it.

    Invariant: ``schema`` is None exactly when there are obstacles.

    Attributes:
        dialect: Its name.
        schema: What to send; admits whatever the original admits.
        obstacles: Types that the dialect has no word for.
        dropped: Constraints it has no word for. Those are told in descriptions and checked in the reply.
    """

    dialect: str
    schema: JsonSchema | None
    obstacles: tuple[Obstacle, ...]
    dropped: tuple[Obstacle, ...]
