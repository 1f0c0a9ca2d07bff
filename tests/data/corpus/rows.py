"""Rows that are JSON and no training examples, and messages that are none."""

from tests.data.corpus.parts import (
    SYSTEM,
    among,
    ask,
    case,
    chat,
    preference,
    row_case,
    say,
    system,
)

PNG = "data:image/png;base64,iVBORw0KGgo="


def picture(url: object = "https://lost.example/hat.png", **others: object) -> dict[str, object]:
    """Return a part that shows an image."""
    return {"type": "image_url", "image_url": {"url": url, **others}}


TEXT = {"type": "text", "text": "Whose hat is this?"}

ROWS = (
    row_case("an array as a row", b"[1, 2]", ("row-not-object", None)),
    row_case("a string as a row", b'"hello"', ("row-not-object", None)),
    row_case("null as a row", b"null", ("row-not-object", None)),
    row_case("a number as a row", b"42", ("row-not-object", None)),
    row_case("no messages", {"text": "hello"}, ("messages-missing", None)),
    row_case("messages as text", {"messages": "hello"}, ("messages-missing", None)),
    row_case("messages as null", {"messages": None}, ("messages-missing", None)),
    row_case("messages as an object", {"messages": ask()}, ("messages-missing", None)),
    row_case("an empty object", {}, ("messages-missing", None)),
    row_case("no messages in the list", {"messages": []}, ("messages-empty", None)),
    case(
        "no messages in two lists",
        among({"messages": []}, {"messages": []}),
        ("messages-empty", 7, None),
        ("messages-empty", 8, None),
    ),
    row_case("a key of one's own", chat(ask(), say(), topic="hats"), ("unknown-key", None)),
    row_case("a misspelt key", chat(ask(), say(), tool=[]), ("unknown-key", None)),
    row_case("metadata as text", chat(ask(), say(), metadata="x"), ("metadata-invalid", None)),
    row_case("metadata as a list", chat(ask(), say(), metadata=[1]), ("metadata-invalid", None)),
    row_case(
        "no answer", chat(ask()), ("assistant-missing", None),
    ),
    row_case(
        "only a system message", {"messages": [SYSTEM]}, ("assistant-missing", None),
    ),
    row_case("the user last", chat(ask(), say(), ask("And gloves?")), ("last-not-assistant", 4)),
    row_case(
        "a system message last",
        chat(ask(), say(), system("Be kind.")),
        ("system-misplaced", 4),
        ("last-not-assistant", 4),
    ),
    row_case("weight 0 throughout", chat(ask(), say(weight=0)), ("nothing-to-learn", None)),
    row_case(
        "weight 0.0 in two answers",
        chat(ask(), say(weight=0), ask("And gloves?"), say("No gloves.", weight=0.0)),
        ("nothing-to-learn", None),
    ),
    row_case(
        "a system message in the middle",
        chat(ask(), say(), system("Be brief."), ask("And gloves?"), say("No.")),
        ("system-misplaced", 4),
    ),
    row_case(
        "a developer message in the middle",
        chat(ask(), {"role": "developer", "content": "Be brief."}, say()),
        ("system-misplaced", 3),
    ),
)  # fmt: skip

MESSAGES = (
    row_case("a message as text", chat("hello", say()), ("message-not-object", 2)),
    row_case("a message as a list", chat(["user", "hello"], say()), ("message-not-object", 2)),
    row_case("a message as null", chat(ask(), None, say()), ("message-not-object", 3)),
    row_case("no role", chat({"content": "hello"}, say()), ("role-missing", 2)),
    row_case("an empty message", chat(ask(), {}, say()), ("role-missing", 3)),
    row_case("ShareGPT's human", chat({"role": "human", "content": "Hi"}, say()), ("role-unknown", 2)),
    row_case("the role ai", chat(ask(), {"role": "ai", "content": "Hi"}, say()), ("role-unknown", 3)),
    row_case("the role User", chat({"role": "User", "content": "Hi"}, say()), ("role-unknown", 2)),
    row_case("a role with a space", chat({"role": "user ", "content": "Hi"}, say()), ("role-unknown", 2)),
    row_case("null as a role", chat({"role": None, "content": "Hi"}, say()), ("role-unknown", 2)),
    row_case("a list as a role", chat({"role": ["user"], "content": "Hi"}, say()), ("role-unknown", 2)),
    row_case("no content", chat({"role": "user"}, say()), ("content-missing", 2)),
    row_case("null content", chat(ask(None), say()), ("content-missing", 2)),
    row_case("a null answer without calls", chat(ask(), say(None)), ("content-missing", 3)),
    row_case("null content and no calls", chat(ask(), say(None, tool_calls=None)), ("content-missing", 3)),
    row_case("a number as content", chat(ask(), say(42)), ("content-invalid", 3)),
    row_case("an object as content", chat(ask({"text": "Hi"}), say()), ("content-invalid", 2)),
    row_case("true as content", chat(ask(True), say()), ("content-invalid", 2)),
    row_case("no parts as content", chat(ask([]), say()), ("content-invalid", 2)),
    row_case("an empty answer", chat(ask(), say("")), ("answer-empty", 3)),
    row_case("an answer of whitespace", chat(ask(), say(" \n\t ")), ("answer-empty", 3)),
    row_case("an answer of a wide space", chat(ask(), say("\u3000\u2003")), ("answer-empty", 3)),
    row_case("an empty question", chat(ask(""), say()), ("prompt-empty", 2)),
    row_case("a question of whitespace", chat(ask("  "), say()), ("prompt-empty", 2)),
    row_case("a space before the answer", chat(ask(), say(" Not yet.")), ("answer-untrimmed", 3)),
    row_case("a newline after the answer", chat(ask(), say("Not yet.\n")), ("answer-untrimmed", 3)),
    row_case("a weight of the user", chat(ask(weight=1), say()), ("weight-not-assistant", 2)),
    row_case(
        "a weight of the system",
        {"messages": [SYSTEM | {"weight": 0}, ask(), say()]},
        ("weight-not-assistant", 1),
    ),
    row_case("weight 2", chat(ask(), say(weight=2)), ("weight-invalid", 3)),
    row_case("weight 0.5", chat(ask(), say(weight=0.5)), ("weight-invalid", 3)),
    row_case("weight as text", chat(ask(), say(weight="1")), ("weight-invalid", 3)),
    row_case("weight true", chat(ask(), say(weight=True)), ("weight-invalid", 3)),
    row_case("weight -1", chat(ask(), say(weight=-1)), ("weight-invalid", 3)),
    row_case("a name with a space", chat(ask(name="Jo Ann"), say()), ("name-invalid", 2)),
    row_case("an empty name", chat(ask(name=""), say()), ("name-invalid", 2)),
    row_case("a name of 65 letters", chat(ask(name="n" * 65), say()), ("name-invalid", 2)),
    row_case("a number as a name", chat(ask(), say(name=7)), ("name-invalid", 3)),
    row_case("a key of the message", chat(ask(time="9:30"), say()), ("message-unknown-key", 2)),
    row_case("content misspelt beside content", chat(ask(), say(contents="")), ("message-unknown-key", 3)),
)  # fmt: skip

PARTS = (
    row_case("a part as text", chat(ask(["hello"]), say()), ("part-invalid", 2)),
    row_case("a part without a type", chat(ask([{"text": "hello"}]), say()), ("part-invalid", 2)),
    row_case("a part of sound", chat(ask([{"type": "input_audio"}]), say()), ("part-invalid", 2)),
    row_case("a part of another API", chat(ask([{"type": "input_text", "text": "Hi"}]), say()), ("part-invalid", 2)),
    row_case("a text part without text", chat(ask([{"type": "text"}]), say()), ("part-invalid", 2)),
    row_case("a text part of a number", chat(ask([{"type": "text", "text": 7}]), say()), ("part-invalid", 2)),
    row_case("an image without an address", chat(ask([TEXT, {"type": "image_url"}]), say()), ("part-invalid", 2)),
    row_case("an image as text", chat(ask([TEXT, {"type": "image_url", "image_url": "https://x"}]), say()), ("part-invalid", 2)),
    row_case("an unknown detail", chat(ask([TEXT, picture(detail="best")]), say()), ("part-invalid", 2)),
    row_case("an image from the assistant", chat(ask(), say([TEXT, picture()])), ("part-not-allowed", 3)),
    row_case(
        "an image from the system",
        {"messages": [{"role": "system", "content": [picture()]}, ask(), say()]},
        ("part-not-allowed", 1),
        ("system-inconsistent", None),
    ),
    row_case("a refusal from the user", chat(ask([{"type": "refusal", "refusal": "No."}]), say()), ("part-not-allowed", 2)),
    row_case("an image of a local file", chat(ask([TEXT, picture("hat.png")]), say()), ("image-invalid", 2)),
    row_case("an image of another kind", chat(ask([TEXT, picture("data:image/gif;base64,R0lGOD")]), say()), ("image-invalid", 2)),
    row_case("an image by ftp", chat(ask([TEXT, picture("ftp://lost.example/hat.png")]), say()), ("image-invalid", 2)),
    case(
        "an image of 12 MB",
        lambda: among(chat(ask([TEXT, picture(PNG + "A" * 16_000_000)]), say())),
        ("image-too-large", 7, 2),
    ),
    case(
        "a second image of 12 MB",
        lambda: among(chat(ask([picture(), picture(PNG + "A" * 16_000_000)]), say())),
        ("image-too-large", 7, 2),
    ),
    row_case("11 images", chat(ask([TEXT, *[picture()] * 11]), say()), ("too-many-images", None)),
    row_case(
        "12 images in two messages",
        chat(ask([TEXT, *[picture()] * 6]), say(), ask([TEXT, *[picture()] * 6]), say("Mine.")),
        ("too-many-images", None),
    ),
)  # fmt: skip

FORMATS = (
    row_case("an eval item among chats", {"item": {"question": "Hat?"}}, ("messages-missing", None)),
    row_case("a completion among chats", {"prompt": "Hat?", "completion": "No."}, ("messages-missing", None)),
    row_case("ShareGPT among chats", {"conversations": [{"from": "human", "value": "Hat?"}]}, ("messages-missing", None)),
    row_case("Alpaca among chats", {"instruction": "Hat?", "output": "No."}, ("messages-missing", None)),
    row_case("a preference among chats", preference(), ("wrong-method", None)),
    row_case("a chat among preferences", chat(ask(), say()), ("wrong-method", None), method="dpo"),
    row_case("half a preference among chats", preference(preferred_output=None), ("wrong-method", None)),
)  # fmt: skip

_OUTPUT_FAULT = ("preference-output-invalid", None)
PREFERENCES = (
    row_case("no input", preference(input=None), ("preference-input-invalid", None), ("system-inconsistent", None), method="dpo"),
    row_case("a text as input", preference(input="Hat?"), ("preference-input-invalid", None), ("system-inconsistent", None), method="dpo"),
    row_case("an input without messages", preference(input={"prompt": "Hat?"}), ("preference-input-invalid", None), ("system-inconsistent", None), method="dpo"),
    row_case("an input with no message", preference(input={"messages": []}), ("messages-empty", None), ("system-inconsistent", None), method="dpo"),
    row_case("an unknown role in the input", preference(input={"messages": [SYSTEM, {"role": "human", "content": "Hat?"}]}), ("role-unknown", 2), method="dpo"),
    row_case("no preferred output", preference(preferred_output=None), _OUTPUT_FAULT, method="dpo"),
    row_case("no rejected output", preference(non_preferred_output=None), _OUTPUT_FAULT, method="dpo"),
    row_case("two preferred outputs", preference(preferred_output=[say("One."), say("Two.")]), _OUTPUT_FAULT, method="dpo"),
    row_case("a preferred output as text", preference(preferred_output="Yes."), _OUTPUT_FAULT, method="dpo"),
    row_case("a preferred output of the user", preference(preferred_output=[ask("Yes.")]), _OUTPUT_FAULT, method="dpo"),
    row_case("an empty rejected output", preference(non_preferred_output=[say("")]), _OUTPUT_FAULT, method="dpo"),
    row_case("an input that is answered", preference(input={"messages": [SYSTEM, ask("Hat?"), say("No.")]}), ("preference-input-answered", 3), method="dpo"),
    row_case("an input of one answer", preference(input={"messages": [SYSTEM, say("No.")]}), ("preference-input-answered", 2), method="dpo"),
    row_case("equal outputs", preference(preferred_output=[say("Same.")], non_preferred_output=[say("Same.")]), ("preference-outputs-equal", None), method="dpo"),
    row_case("equal long outputs", preference(preferred_output=[say("Same. " * 50 + ".")], non_preferred_output=[say("Same. " * 50 + ".")]), ("preference-outputs-equal", None), method="dpo"),
    row_case("a key beside the outputs", preference(score=3), ("unknown-key", None), method="dpo"),
)  # fmt: skip

REINFORCEMENT = (
    row_case("an answered question", chat(ask(), say(), reference_answer="x"), ("last-not-user", 3), method="reinforcement"),
    row_case("a tool message last", chat(ask(), say(None, tool_calls=[{"id": "a", "type": "function", "function": {"name": "find", "arguments": "{}"}}]), {"role": "tool", "tool_call_id": "a", "content": "[]"}, tools=[{"type": "function", "function": {"name": "find"}}]), ("last-not-user", 4), method="reinforcement"),
    row_case("only a system prompt", {"messages": [SYSTEM]}, ("last-not-user", 1), method="reinforcement"),
    row_case("a preference among questions", preference(), ("wrong-method", None), method="reinforcement"),
    row_case("an empty last question", chat(ask("")), ("prompt-empty", 2), method="reinforcement"),
)  # fmt: skip

ALL = (*ROWS, *MESSAGES, *PARTS, *FORMATS, *PREFERENCES, *REINFORCEMENT)
