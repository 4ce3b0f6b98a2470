"""A model that writes as many words as its prompt says, each with a write of its own. Measures the cost of one item."""

import componentize_py_async_support
import wit_world
from componentize_py_async_support.streams import StreamReader, StreamWriter
from wit_world import exports
from wit_world.imports.types import Delta, Delta_Finish, Delta_Text, Description, Finish, Part_Text, Prompt


class About(exports.About):
    def describe(self) -> Description:
        schema = '{"type": "object", "additionalProperties": false}'
        return Description("model", "counts-out-py", "0.1.0", schema, 0, [])


class Model(exports.Model):
    async def generate(self, prompt: Prompt) -> StreamReader[Delta]:
        texts = (part.value for message in prompt.messages for part in message.parts if isinstance(part, Part_Text))
        words = int("".join(texts))
        writer, reader = wit_world.types_delta_stream()
        componentize_py_async_support.spawn(write(writer, words))
        return reader


async def write(writer: StreamWriter[Delta], words: int) -> None:
    with writer:
        for _ in range(words):
            await writer.write_all([Delta_Text("word ")])
        await writer.write_all([Delta_Finish(Finish("stop", []))])
