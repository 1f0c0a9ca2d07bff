"""Files that are no text, lines that are no JSON, and files that are too short or too long."""

import gzip
import io
import json
import random
import sqlite3
import zipfile
from collections.abc import Iterator

from tests.data.corpus.parts import (
    among,
    ask,
    case,
    chat,
    dump,
    good_chats,
    good_preferences,
    good_questions,
    lines,
    row_case,
    say,
    sentence,
)

MEGABYTE = 1_000_000
GOOD = lines(good_chats(54))
ROW = dump(chat(ask(), say()))


def nested(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    """Return a row that is nested many times."""
    inner = opening * levels + closing * levels
    return b'{"messages": ' + inner.encode() + b"}"


def zipped(name: str) -> bytes:
    """Return a zip archive of good rows, as spreadsheets and archives are."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, GOOD)
    return target.getvalue()


def noise(size: int) -> bytes:
    """Return bytes that mean nothing, with zeros among them."""
    return b"\x00\xff" + random.Random(7).randbytes(size)


def database() -> bytes:
    """Return an empty SQLite database."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE rows (id INTEGER)")
    try:
        return connection.serialize()
    finally:
        connection.close()


def questions(count: int) -> Iterator[dict[str, object]]:
    """Yield reinforcement rows that share no words but numbers."""
    for at in range(count):
        yield chat(ask(f"who{at} lost{at}"), reference_answer=f"nobody{at}")


def packed(data: bytes) -> bytes:
    """Return data in gzip, the same bytes every time."""
    return gzip.compress(data, mtime=0)


FILES = (
    case("a zip archive", zipped("rows.jsonl"), ("file-not-text", None, None)),
    case("a spreadsheet", zipped("xl/worksheets/sheet1.xml"), ("file-not-text", None, None)),
    case("a picture", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + noise(500), ("file-not-text", None, None)),
    case("noise", noise(100_000), ("file-not-text", None, None)),
    case("a database", database, ("file-not-text", None, None)),
    case("UTF-16", GOOD.decode().encode("utf-16"), ("file-not-text", None, None)),
    case("UTF-16 without a mark", GOOD.decode().encode("utf-16-be"), ("file-not-text", None, None)),
    case("gzip that ends early", packed(GOOD)[:-200], ("file-cut-short", None, None)),
    case("gzip without its end", packed(GOOD)[:-4], ("file-cut-short", None, None)),
    case("nothing", b"", ("file-empty", None, None)),
    case("only whitespace", b" \n\n\t\n", ("file-empty", None, None), *[("line-blank", line, None) for line in (1, 2, 3)]),
    case("an empty gzip", packed(b""), ("file-empty", None, None)),
    case("9 rows", lines(good_chats(9)), ("too-few-examples", None, None)),
    case("one row without a newline", ROW, ("too-few-examples", None, None)),
    case("9 preferences", lines(good_preferences(9)), ("too-few-examples", None, None), method="dpo"),
    case("10 rows", lines(good_chats(10)), ("few-examples", None, None)),
    case("49 rows", lines(good_chats(49)), ("few-examples", None, None)),
    case(
        "50,001 questions",
        lambda: lines(questions(50_001)),
        ("too-many-examples", None, None),
        method="reinforcement",
    ),
    case("a byte order mark", b"\xef\xbb\xbf" + GOOD, ("byte-order-mark", 1, None)),
    case(
        "a byte order mark and Windows line ends",
        b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n"),
        ("byte-order-mark", 1, None),
    ),
)  # fmt: skip

LINES = (
    row_case("bytes that are not UTF-8", ROW.replace(b"violet", b"vi\xff\xfelet"), ("line-not-utf8", None)),
    row_case("Latin-1", ROW.replace(b"violet", "vïolet".encode("latin-1")), ("line-not-utf8", None)),
    row_case("a character that is cut", ROW[:-1] + b"\xe2\x82", ("line-not-utf8", None)),
    row_case("surrogates in bytes", ROW.replace(b"violet", b"\xed\xa0\x80"), ("line-not-utf8", None)),
    row_case("a line that is cut", ROW[:40], ("line-not-json", None)),
    row_case("prose", b"Here are the rows:", ("line-not-json", None)),
    row_case("a comma after the row", ROW + b",", ("line-not-json", None)),
    row_case("a comma before the end", ROW[:-1] + b",}", ("line-not-json", None)),
    row_case("single quotes", str(chat(ask(), say())).encode(), ("line-not-json", None)),
    row_case("smart quotes", ROW.replace(b'"', "“".encode()), ("line-not-json", None)),
    row_case("a comment", b"// the next rows are about hats", ("line-not-json", None)),
    row_case("two rows on a line", ROW + ROW, ("line-not-json", None)),
    row_case("a tab in a string", ROW.replace(b"violet", b"vio\tlet"), ("line-not-json", None)),
    row_case("a zero byte in a string", ROW.replace(b"violet", b"vio\0let"), ("line-not-json", None)),
    row_case("a zero byte after the row", ROW + b"\0", ("line-not-json", None)),
    row_case("a wrong escape", ROW.replace(b"violet", b"vio\\xlet"), ("line-not-json", None)),
    row_case("half a surrogate pair", ROW.replace(b"violet", b"\\ud83d"), ("line-not-json", None)),
    row_case("None and True", b'{"messages": None, "kept": True}', ("line-not-json", None)),
    row_case("unquoted keys", b"{messages: []}", ("line-not-json", None)),
    row_case("a leading zero", b'{"messages": 007}', ("line-not-json", None)),
    row_case("HTML on a line", b"<html><body>502 Bad Gateway</body></html>", ("line-not-json", None)),
    case(
        "a row over several lines",
        among(*json.dumps({"messages": []}, indent=1).encode().replace(b"[]", b"[\n]").split(b"\n")),
        *[("line-not-json", line, None) for line in (7, 8, 9, 10)],
    ),
    row_case("101 levels", nested(101), ("line-too-deep", None)),
    row_case("10,000 objects in one another", nested(10_000, '{"a":', "}").replace(b":}", b":1}"), ("line-too-deep", None)),
    case("2,000,000 levels", lambda: among(nested(2 * MEGABYTE)), ("line-too-deep", 7, None)),
    case("a line of 65 MB", lambda: among(ROW.replace(b"violet", b"v" * 65 * MEGABYTE)), ("line-too-long", 7, None)),
    case("a line of 70 MB and no rows", lambda: b"x" * 70 * MEGABYTE, ("line-too-long", 1, None), ("too-few-examples", None, None)),
    row_case("a blank line", b"", ("line-blank", None)),
    row_case("a line of spaces", b"  \t ", ("line-blank", None)),
    case("a blank line at the end", GOOD + b"\n", ("line-blank", 55, None)),
    row_case("a key twice", b'{"messages": [], ' + ROW[1:], ("duplicate-key", None)),
    row_case("a role twice", ROW.replace(b'"role": "user"', b'"role": "system", "role": "user"'), ("duplicate-key", None)),
    row_case("a role twice, with spaces", ROW.replace(b'"role": "user"', b'"role" : "system", "role": "user"'), ("duplicate-key", None)),
    row_case("NaN", b'{"messages": NaN}', ("number-not-json", None)),
    row_case("Infinity", ROW[:-1] + b', "weight": Infinity}', ("number-not-json", None)),
    row_case("minus Infinity", ROW[:-1] + b', "metadata": {"a": -Infinity}}', ("number-not-json", None)),
    row_case("a number beyond doubles", ROW[:-1] + b', "metadata": {"a": 1e999}}', ("number-not-json", None)),
)  # fmt: skip

# What is unusual and right: nothing is found.
ACCEPTED = (
    case("Windows line ends", GOOD.replace(b"\n", b"\r\n")),
    case("no newline at the end", GOOD.rstrip(b"\n")),
    case("gzip", packed(GOOD)),
    case("spaces around rows", b"\n".join(b"  " + line + b"\t" for line in GOOD.splitlines()) + b"\n"),
    case("100 levels", among(chat(ask(), say(), metadata=json.loads(nested(97))))),
    case("an integer of 4,000 digits", among(chat(ask(), say(), metadata={"a": 10**4_000}))),
    case("colons in texts", among(chat(ask('He said: "a": "b", \\":'), say('{"a": 1, "a": 2}')))),
    case("good preferences", lines(good_preferences(54)), method="dpo"),
    case("good questions", lines(good_questions(54)), method="reinforcement"),
)  # fmt: skip

OTHER_FILES = (
    case(
        "an HTML page",
        b"<!DOCTYPE html>\n<html>\n<body>\n<h1>502 Bad Gateway</h1>\n</body>\n</html>\n",
        *[("line-not-json", line, None) for line in range(1, 7)],
        ("too-few-examples", None, None),
    ),
    case(
        "an array of good rows on one line",
        json.dumps(good_chats(54)).encode(),
        ("needs-converting", None, None),
    ),
    case(
        "rows of ShareGPT",
        lines(
            {
                "conversations": [
                    {"from": "human", "value": sentence(2 * at)},
                    {"from": "gpt", "value": sentence(2 * at + 1)},
                ]
            }
            for at in range(54)
        ),
        ("needs-converting", None, None),
    ),
    case(
        "rows of Alpaca",
        lines(
            {"instruction": sentence(2 * at), "output": sentence(2 * at + 1)} for at in range(54)
        ),
        ("needs-converting", None, None),
    ),
    case(
        "a line of 50 MB",
        lambda: among(ROW.replace(b"violet", b"violet " * 7 * MEGABYTE)),
        ("example-too-long", 7, None),
        ("length-outlier", 7, None),
    ),
    case(
        "5 MB of one letter",
        lambda: among(ROW.replace(b"violet", b"v" * 5 * MEGABYTE)),
        ("example-too-long", 7, None),
        ("length-outlier", 7, None),
    ),
    case(
        "300,000 messages in a row",
        lambda: among(
            b'{"messages": ['
            + b'{"role": "user", "content": "Hat?"}, ' * 300_000
            + dump(say())
            + b"]}"
        ),
        ("example-too-long", 7, None),
        ("length-outlier", 7, None),
        ("system-inconsistent", 7, None),
    ),
    case(
        "10,000 blank lines",
        lambda: GOOD + b"\n" * 10_000,
        *[("line-blank", line, None) for line in range(55, 10_055)],
    ),
    case(
        "10,000 keys",
        lambda: among(dump(chat(ask(), say()) | {f"key {at}": at for at in range(10_000)})),
        ("unknown-key", 7, None),
    ),
)

ALL = (*FILES, *LINES, *OTHER_FILES, *ACCEPTED)
