"""How the definitions of a schema refer to each other: in which order, and which of them in a circle.

Source: strongly connected components by Kosaraju's two passes, in time linear in the references.
"""

from collections.abc import Mapping

from repertory.signatures.schemas import JsonSchema, references


def circles(definitions: Mapping[str, JsonSchema]) -> dict[str, str]:
    """For each definition the name of its circle; those of one circle refer to each other, directly or not."""
    onward = _onward(definitions)
    backward: dict[str, list[str]] = {name: [] for name in onward}
    for name, targets in onward.items():
        for target in targets:
            if target in backward:
                backward[target].append(name)
    circle: dict[str, str] = {}
    for start in reversed(_in_order_of_finishing(onward)):
        waiting = [start]
        while waiting:
            name = waiting.pop()
            if name not in circle:
                circle[name] = start
                waiting.extend(each for each in backward[name] if each not in circle)
    return circle


def innermost_first(definitions: Mapping[str, JsonSchema]) -> list[str]:
    """The names of the definitions, each after those it refers to, but for the last step of a circle."""
    return _in_order_of_finishing(_onward(definitions))


def _onward(definitions: Mapping[str, JsonSchema]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(references(schema)) for name, schema in definitions.items()}


def _in_order_of_finishing(onward: Mapping[str, tuple[str, ...]]) -> list[str]:
    finished: list[str] = []
    seen: set[str] = set()
    for start in onward:
        path = [] if start in seen else [(start, iter(onward[start]))]
        seen.add(start)
        while path:
            name, targets = path[-1]
            target = next((each for each in targets if each in onward and each not in seen), None)
            if target is None:
                finished.append(name)
                path.pop()
            else:
                seen.add(target)
                path.append((target, iter(onward[target])))
    return finished
