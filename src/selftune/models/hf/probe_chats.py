"""Chats that a trained model is compared on: neutral, written for this, with no user's data.

Between them they have several languages and scripts, code, numbers, a system message, several
turns, and a tool call. What they say is of no importance; that they are always the same is.
"""

from typing import Any


def _said(*texts: str, system: str | None = None) -> dict[str, Any]:
    """Return a row of a user and an assistant by turns."""
    roles = ("user", "assistant")
    messages: list[dict[str, Any]] = [
        {"role": roles[number % 2], "content": text} for number, text in enumerate(texts)
    ]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return {"messages": messages}


_TOOL = {
    "type": "function",
    "function": {
        "name": "find_train",
        "description": "Find the next train between two stations.",
        "parameters": {
            "type": "object",
            "properties": {
                "start": {"type": "string"},
                "end": {"type": "string"},
                "bicycles": {"type": "integer"},
            },
            "required": ["start", "end"],
        },
    },
}
_CALL = {
    "id": "call_0001",
    "type": "function",
    "function": {
        "name": "find_train",
        "arguments": '{"start": "Basel", "end": "Lugano", "bicycles": 2}',
    },
}

CHATS: dict[str, dict[str, Any]] = {
    "plain": _said(
        "What does a lighthouse do?",
        "It shows ships where the coast is, by a light that turns or blinks.",
    ),
    "system": _said(
        "The kettle that I ordered has not come yet.",
        "I am sorry to hear that. Which number does your order have?",
        system="You answer for a shop. Be short and polite.",
    ),
    "turns": _said(
        "Name a river.",
        "The Loire.",
        "And one that is longer?",
        "The Danube: about 2,850 km, almost three times as long.",
        "Thank you!",
        "You are welcome.",
    ),
    "german": _said(
        "Wie spät fährt der letzte Bus über die Brücke?",
        "Um 23:40 Uhr; danach hilft nur ein Spaziergang von zwanzig Minuten.",
    ),
    "french": _said(
        "Où puis-je goûter un fromage affiné à la montagne ?",
        "À l’alpage, où l’on vous en coupe volontiers un morceau.",
    ),
    "chinese": _said("请用一句话介绍灯塔。", "灯塔用灯光为船只指明海岸的方向。"),
    "arabic": _said("ما لون السماء عند الغروب؟", "غالبًا ما تكون برتقالية وحمراء."),
    "russian": _said("Сколько будет семь умножить на восемь?", "Пятьдесят шесть."),
    "code": _said(
        "Write a Python function that adds two numbers.",
        "```python\ndef add(a: int, b: int) -> int:\n    return a + b  # 2 + 3 == 5\n```\n",
    ),
    "json": _said(
        "Give me the parts of 12.50 EUR as JSON.",
        '{"amount": 12.5, "currency": "EUR", "parts": [12, 50], "exact": true, "note": null}',
    ),
    "signs": _said(
        "Which of these are letters: 🚲 é ß ∑ 7 _ ?",
        "é and ß. 🚲 is a picture, ∑ a sign, 7 a digit, and _ a line.",
    ),
    "tool": {
        "tools": [_TOOL],
        "messages": [
            {"role": "user", "content": "When is the next train from Basel to Lugano, two bikes?"},
            {"role": "assistant", "content": None, "tool_calls": [_CALL]},
            {"role": "tool", "tool_call_id": "call_0001", "content": '{"leaves": "10:03"}'},
            {"role": "assistant", "content": "At 10:03, and both bicycles may come."},
        ],
    },
}
