"""A persona that reads a value of its state as often as its message says. Measures the cost of one read."""

from wit_world import exports
from wit_world.imports import state
from wit_world.imports.types import Description, Part_Text, Prompt, Recollection, Turn


class About(exports.About):
    def describe(self) -> Description:
        schema = '{"type": "object", "additionalProperties": false}'
        return Description("persona", "asks-its-state-py", "0.1.0", schema, 0, [])


class Persona(exports.Persona):
    async def compose(self, turn: Turn, recalled: Recollection) -> Prompt:
        times = int("".join(part.value for part in turn.message.parts if isinstance(part, Part_Text)))
        for _ in range(times):
            state.get(state.Scope.USER, "value")
        return Prompt([turn.message], [], [], [])
