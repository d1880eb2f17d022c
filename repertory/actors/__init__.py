"""Actors: objects with a mailbox and a life of their own."""

from repertory.actors.actor import Actor
from repertory.actors.blocking import blocking, in_process
from repertory.actors.bonds import Down, Exited, Monitor
from repertory.actors.cell import Cell, Keeper
from repertory.actors.exit import NORMAL, SHUTDOWN, Exit
from repertory.actors.info import ActorInfo, MailboxStats
from repertory.actors.message import Message, handles
from repertory.actors.ref import ActorRef
from repertory.actors.registry import Joined, Left, Registry
from repertory.actors.reminders import Reminder
from repertory.actors.spec import ActorSpec
from repertory.actors.system import ActorSystem
from repertory.actors.timers import Timer

__all__ = [
    "NORMAL",
    "SHUTDOWN",
    "Actor",
    "ActorInfo",
    "ActorRef",
    "ActorSpec",
    "ActorSystem",
    "Cell",
    "Down",
    "Exit",
    "Exited",
    "Joined",
    "Keeper",
    "Left",
    "MailboxStats",
    "Message",
    "Monitor",
    "Registry",
    "Reminder",
    "Timer",
    "blocking",
    "handles",
    "in_process",
]
