"""What registered types of several fields have in common."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from repertory.signatures.type_registry import TYPE_KEYWORD


class Structure(BaseModel):
    """An immutable value of several fields. Its JSON schema says which registered type it is."""

    # Built at first use: few programs use more than one or two of them.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    registered_as: ClassVar[str]
    """The name in the registry, which is that of the class."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.registered_as = cls.__name__

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        whole = handler.resolve_ref_schema(schema)
        whole[TYPE_KEYWORD] = cls.registered_as
        if "description" in whole:  # the docstring, of which a model needs what it is
            whole["description"] = whole["description"].partition("\n\n")[0]
        return schema
