"""Actors: objects with a mailbox and a life of their own."""

from repertory.actors.actor import Actor
from repertory.actors.cell import Cell
from repertory.actors.exit import Exit
from repertory.actors.message import Message, handles
from repertory.actors.ref import ActorRef
from repertory.actors.system import ActorSystem

__all__ = ["Actor", "ActorRef", "ActorSystem", "Cell", "Exit", "Message", "handles"]
