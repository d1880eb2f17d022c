"""The supervision tree as text: what stands where, at any width, whatever the names are."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from repertory.actors.info import ActorInfo, MailboxStats
from repertory.cli.daemon_client import Circuit, DaemonTree, ProgramRuns, StepCounts
from repertory.cli.tree_view import human_age, tree_lines

IDLE = MailboxStats(depth=0, high_water=1, waits=0, drops=0)


def actor(
    path: str,
    *children: ActorInfo,
    kind: str = "Supervisor",
    state: str = "running",
    lives: tuple[int, int] = (1, 0),
    age: float | None = 11_520.0,
    mailbox: MailboxStats = IDLE,
    handling: tuple[str, ...] = (),
    error: str | None = None,
) -> ActorInfo:
    return ActorInfo(path, kind, state, *lives, age, mailbox, handling, error, children)


POOL = "root/programs/news/assign/pool"

TREE = actor(
    "root",
    actor("root/models", actor("root/models/default", kind="LocalModel", age=192.4, lives=(2, 1))),
    actor(
        "root/programs",
        actor(
            "root/programs/news",
            actor(
                "root/programs/news/assign",
                actor("root/programs/news/assign/parameters", kind="ParameterKeeper"),
                actor(
                    POOL,
                    actor(
                        f"{POOL}/replica-1",
                        kind="Predictor",
                        mailbox=MailboxStats(12, 40, 0, 3),
                        handling=("Predict",) * 3 + ("Reload",),
                    ),
                    actor(
                        f"{POOL}/replica-2",
                        kind="Predictor",
                        state="restarting",
                        lives=(6, 5),
                        age=None,
                        error="LMTimeout: the endpoint gave no answer in 60 s, and the attempts are used up",
                    ),
                    kind="Pool",
                ),
            ),
        ),
    ),
    kind="_Root",
)

WIDE = """\
repertory 0.1.0, pid 4242: 10 actors (9 running, 1 restarting), 6 restarts, 3 messages dropped

ACTOR                KIND             STATE          AGE  LIFE  RESTARTS  MAILBOX      HANDLING
root                 _Root            running     3h 12m     1         0  0 (max 1)
├ models             Supervisor       running     3h 12m     1         0  0 (max 1)
│ └ default          LocalModel       running     3m 12s     2         1  0 (max 1)
└ programs           Supervisor       running     3h 12m     1         0  0 (max 1)
  └ news             Supervisor       running     3h 12m     1         0  0 (max 1)
    └ assign         Supervisor       running     3h 12m     1         0  0 (max 1)
      ├ parameters   ParameterKeeper  running     3h 12m     1         0  0 (max 1)
      └ pool         Pool             running     3h 12m     1         0  0 (max 1)
        ├ replica-1  Predictor        running     3h 12m     1         0  12 (max 40)  Predict ×3, Reload
        │   ! the mailbox was full: 3 messages dropped
        └ replica-2  Predictor        restarting       -     6         5  0 (max 1)
            ✗ LMTimeout: the endpoint gave no answer in 60 s, and the attempts are used up
"""


def text(*actors: ActorInfo, width: int = 80) -> str:
    lines = tree_lines(DaemonTree("0.1.0", 4242, actors), width)
    return "".join(f"{line.plain}\n" for line in lines)


def test_a_tree_where_there_is_room() -> None:
    assert text(TREE, width=120) == WIDE


NARROW = """\
repertory 0.1.0, pid 4242: 10 actors (9 running, 1 restarting), 6 restarts, 3
messages dropped

ACTOR               KIND            STATE         AGE LIFE RESTARTS MAILBOX
root                _Root           running    3h 12m    1        0 0 (max 1)
├ models            Supervisor      running    3h 12m    1        0 0 (max 1)
│ └ default         LocalModel      running    3m 12s    2        1 0 (max 1)
└ programs          Supervisor      running    3h 12m    1        0 0 (max 1)
  └ news            Supervisor      running    3h 12m    1        0 0 (max 1)
    └ assign        Supervisor      running    3h 12m    1        0 0 (max 1)
      ├ parameters  ParameterKeeper running    3h 12m    1        0 0 (max 1)
      └ pool        Pool            running    3h 12m    1        0 0 (max 1)
        ├ replica-1 Predictor       running    3h 12m    1        0 12 (max 40)
        │   ▸ Predict ×3, Reload
        │   ! the mailbox was full: 3 messages dropped
        └ replica-2 Predictor       restarting      -    6        5 0 (max 1)
            ✗ LMTimeout: the endpoint gave no answer in 60 s, and the attempts
              are used up
"""


def test_at_80_columns_everything_is_still_told() -> None:
    assert text(TREE) == NARROW


def test_names_that_are_long_are_cut_the_class_first() -> None:
    long = actor("root", actor("root/" + "n" * 60, kind="K" * 30))
    row = text(long).splitlines()[-1]
    assert cell_len(row) <= 80
    assert "nnnnnn… KKKKKKK… running" in row
    assert row.endswith("0 (max 1)")


def test_an_error_that_is_long_goes_on_below_beside_the_lines_of_the_tree() -> None:
    failing = actor("root", actor("root/a"), error="E: " + "word " * 30)
    lines = text(failing, width=60).splitlines()
    told = [line for line in lines if "word" in line]
    assert len(told) > 1
    assert told[0].startswith("│ ✗ E: word")
    assert all(line.startswith("│   word") for line in told[1:])


def test_siblings_stand_in_start_order_and_several_roots_beside_each_other() -> None:
    shown = text(actor("z"), actor("a", actor("a/2"), actor("a/1")))
    names = [line.split("  ")[0].strip() for line in shown.splitlines()[3:]]
    assert names == ["z", "a", "├ 2", "└ 1"]


def test_no_actors() -> None:
    assert text() == "repertory 0.1.0, pid 4242: no actors; it is about to start or to end\n"


@pytest.mark.parametrize(
    ("mailbox", "depth", "pressure"),
    [
        (MailboxStats(0, 0, 0, 0), "0", ""),
        (MailboxStats(7, 7, 0, 0), "7", ""),
        (MailboxStats(7, 9, 0, 0), "7 (max 9)", ""),
        (MailboxStats(9, 9, 2, 0), "9", "! the mailbox was full: 2 asks waited for room"),
        (
            MailboxStats(1, 9, 2, 3),
            "1 (max 9)",
            "! the mailbox was full: 3 messages dropped, 2 asks waited for room",
        ),
    ],
)
def test_mailboxes(mailbox: MailboxStats, depth: str, pressure: str) -> None:
    row, *below = text(actor("a", mailbox=mailbox), width=200).splitlines()[3:]
    assert row.split("  ")[-1] == depth
    assert [line.strip() for line in below] == ([pressure] if pressure else [])


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "0s"),
        (59.99, "59s"),
        (60, "1m 0s"),
        (192.4, "3m 12s"),
        (3600, "1h 0m"),
        (86_399, "23h 59m"),
        (86_400, "1d 0h"),
        (34_560_000, "400d 0h"),
    ],
)
def test_ages(seconds: float, told: str) -> None:
    assert human_age(seconds) == told


def test_what_no_actor_is_to_blame_for_is_told_below_the_summary() -> None:
    circuits = (
        Circuit("default", "open", 41.6),
        Circuit("idle", "open", 0.0),
        Circuit("probed", "half_open", 0.0),
        Circuit("well", "closed", 0.0),
    )
    tree = DaemonTree("0", 1, (actor("a"),), "a transaction failed:\x1b disk full", circuits)
    lines = [line.plain for line in tree_lines(tree, 80)]
    assert "\x1b" not in lines[1]
    assert lines[1].startswith("the journal cannot be written: a transaction failed:")
    assert lines[2:5] == [
        "circuit of 'default': open for another 42 s",
        "circuit of 'idle': open until a call probes it",
        "",
    ]


def test_what_a_daemon_is_at_is_told_below_the_summary() -> None:
    runs = (ProgramRuns("news", 3, 2, 1), ProgramRuns("idle", 0, 0, 0), ProgramRuns("mail\x1b", 0, 1, 0))
    busy = DaemonTree("0", 1, (actor("a"),), runs=runs, steps=StepCounts(4, 2, 1))
    line = tree_lines(busy, 200)[1].plain
    assert line == (
        "runs: news (3 called, 2 submitted, 1 about to begin), mail\N{REPLACEMENT CHARACTER} (1 submitted); "
        "steps: 4 under way, 2 wait for their turn, 1 for other steps"
    )
    idle = DaemonTree("0", 1, (actor("a"),), runs=runs[1:2])
    assert tree_lines(idle, 200)[1].plain == ""


def test_states_that_want_attention_are_coloured() -> None:
    lines = tree_lines(
        DaemonTree("0", 1, (actor("a"), actor("b", state="restarting"), actor("c", state="new"))), 80
    )
    styles = [{str(span.style) for span in line.spans} for line in lines[-3:]]
    assert ["green" in style for style in styles] == [True, False, False]
    assert ["bold yellow" in style for style in styles] == [False, True, False]


def test_nothing_an_actor_is_called_or_says_steers_the_terminal() -> None:
    evil = "\x1b[2J\x9b0m\u202e\n[red]"
    shown = text(actor(evil, kind=evil, state=evil, handling=(evil,), error=evil))
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)
    assert "[red]" in shown  # and it is no markup


names = st.text(min_size=1, max_size=30)


@st.composite
def actors(draw: st.DrawFn, parent: str = "", depth: int = 0) -> ActorInfo:
    path = parent + draw(names)
    children = draw(st.lists(actors(f"{path}/", depth + 1), max_size=2)) if depth < 4 else []
    return actor(
        path,
        *children,
        kind=draw(names),
        state=draw(st.sampled_from(["running", "passivated"]) | names),
        age=draw(st.none() | st.floats(0, 1e9)),
        handling=tuple(draw(st.lists(names, max_size=3))),
        error=draw(st.none() | st.text(max_size=200)),
    )


def everyone(actor: ActorInfo) -> Iterator[ActorInfo]:
    yield actor
    for child in actor.children:
        yield from everyone(child)


@given(root=actors(), width=st.integers(1, 120))
def test_no_line_is_wider_than_the_terminal_and_no_actor_is_left_out(root: ActorInfo, width: int) -> None:
    lines = tree_lines(DaemonTree("0.1.0", 1, (root,)), width)
    if width >= 24:
        assert max(line.cell_len for line in lines) <= width
    assert len(lines) >= len(list(everyone(root)))
