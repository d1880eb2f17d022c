"""The BAML adapter: the outline of nested types, and that it otherwise is the JSON adapter."""

from typing import Literal

from pydantic import BaseModel, Field

from repertory.modules import BAMLAdapter
from repertory.signatures import InputField, OutputField, Signature, compile_signature


class Item(BaseModel):
    sku: str = Field(description="as printed\non the box")
    quantity: int = Field(ge=1)


class Tree(BaseModel):
    name: str
    children: list["Tree"]


class Order(Signature):
    """Read the order."""

    mail: str = InputField()
    lines: list[Item] = OutputField(desc="all of them")
    gift: Item | None = OutputField()
    by_name: dict[str, Item] = OutputField()
    tree: Tree = OutputField()
    state: Literal["new", "paid"] = OutputField()


OUTLINE = """{
  lines: [
    {
      sku: string, // as printed on the box
      quantity: integer, at least 1,
    }
  ], // all of them
  gift: {
    sku: string, // as printed on the box
    quantity: integer, at least 1,
  } or null,
  by_name: map from string to {
    sku: string, // as printed on the box
    quantity: integer, at least 1,
  },
  tree: Tree {
    name: string,
    children: [
      Tree
    ],
  },
  state: "new" or "paid",
}"""


def test_the_whole_prompt() -> None:
    system, question = BAMLAdapter().format(compile_signature(Order), (), {"mail": "Two, please"})
    assert system.content == f"Read the order.\n\nReply with a JSON object in this schema:\n{OUTLINE}"
    assert question.content == "mail: Two, please"


def test_replies_are_constrained_and_read_as_json() -> None:
    compiled = compile_signature(Signature.parse("mail -> lines: list[str]"))
    adapter = BAMLAdapter()
    assert adapter.response_schema(compiled, "llama_cpp") is not None
    assert adapter.parse(compiled, '{"lines": ["a"]}').outputs == {"lines": ["a"]}
