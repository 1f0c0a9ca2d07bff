"""Every format that is found keeps the promises of `data/format.py`."""

from collections.abc import Callable

import pytest

from selftune.core import plugins
from selftune.core.errors import InvalidInput
from selftune.data import formats
from selftune.data.rows import Row
from selftune.data.sources.format import FALLBACK, format_of, load_format

NAMES = plugins.available(formats)
CHAT = {
    "messages": [
        {"role": "user", "content": "Where is my parcel?"},
        {"role": "assistant", "content": "On its way."},
    ]
}
PROMPT = {"messages": CHAT["messages"][:1], "reference": "soon"}
PREFERENCE = {
    "input": {"messages": CHAT["messages"][:1]},
    "preferred_output": [{"role": "assistant", "content": "On its way."}],
    "non_preferred_output": [{"role": "assistant", "content": "No idea."}],
}
ITEM = {"item": {"question": "Where?", "label": "tracking"}}
FIELDS = {"question": "Where?", "label": "tracking"}
OPENAI: tuple[Row, ...] = (CHAT, PROMPT, PREFERENCE, ITEM, FIELDS)
SAMPLES: dict[str, Row] = {
    "chat": CHAT,
    "prompt": PROMPT,
    "preference": PREFERENCE,
    "item": ITEM,
    "fields": FIELDS,
    "completion": {"prompt": "Where? ->", "completion": " soon\n"},
    "alpaca": {"instruction": "Translate.", "input": "Haus", "output": "house"},
    "sharegpt": {"conversations": [{"from": "human", "value": "Hi"}]},
}


def outcome(act: Callable[[Row], Row], row: Row) -> Row | None:
    """Return what comes out, or None where the row is refused in words that end a sentence."""
    try:
        return act(row)
    except InvalidInput as error:
        said = error.message
    assert said.startswith(("has", "does not"))
    return None


def test_every_format_has_a_sample() -> None:
    assert set(SAMPLES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_has_one_format(name: str) -> None:
    row = SAMPLES[name]
    assert format_of(row) == name
    found = [other for other in NAMES if load_format(other).recognizes(row)]
    assert found == ([] if name == FALLBACK else [name])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_recognised_and_reads_the_same(name: str) -> None:
    shape = load_format(name)
    written = [(row, wrote) for row in OPENAI if (wrote := outcome(shape.write, row)) is not None]
    assert written
    for row, wrote in written:
        assert shape.read(wrote) in (row, {"item": row}, row.get("item"), wrote)
        assert shape.write(shape.read(wrote)) == wrote


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "row",
    [
        {},
        {"messages": None},
        {"messages": [None, 3, {"role": ["user"]}]},
        {"conversations": [None]},
        {"conversations": [{"from": [1], "value": 2}]},
        {"conversation": [{"from": "function_call", "value": "[[]]"}]},
        {"instruction": 1, "output": None, "history": "no"},
        {"prompt": 1, "completion": []},
        {"prompt": [], "chosen": [], "rejected": []},
        {"chosen": "a", "rejected": "b"},
        {"item": {}},
        {"input": 3, "preferred_output": 3, "non_preferred_output": None},
        {"messages": [{"role": "assistant", "tool_calls": [3]}]},
        {"messages": [{"role": "assistant", "tool_calls": 3}], "tools": 3},
    ],
    ids=str,
)
def test_a_row_that_is_not_of_the_shape_is_refused_in_words(name: str, row: Row) -> None:
    shape = load_format(name)
    for act in (shape.read, shape.write):
        assert isinstance(outcome(act, row), dict | None)
    assert shape.recognizes(row) in (True, False)
