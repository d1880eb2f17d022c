"""Static graphs of programs: traced from code or written in a file, checked and drawn."""

from repertory.modules.graph.graph import Edge, Graph, Node
from repertory.modules.graph.links import Constant, Link, Several, Value

__all__ = ["Constant", "Edge", "Graph", "Link", "Node", "Several", "Value"]
