"""Graders -> promptfoo's assertions with the same verdicts; others are refused with a reason."""

import ast
import re
from collections.abc import Callable
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.evaluate.interchange.found import Row, name_of, rows_in
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.interchange.javascript_regex import is_ascii_only, to_javascript
from selftune.evaluate.interchange.nunjucks import is_template, untranslated
from selftune.evaluate.interchange.promptfoo_assertions import OUTPUT, RUBRIC_TASK, check_schema
from selftune.evaluate.interchange.questions import text_of

_OUTPUT = re.compile(r"\{\{-?\s*sample\.output_text\s*-?\}\}")
_STRING_CHECKS = {
    "eq": "equals",
    "ne": "not-equals",
    "neq": "not-equals",
    "like": "contains",
    "ilike": "icontains",
}
_NEWER = re.compile(r"prefixItems|unevaluated|dependent|minContains|maxContains|\$dynamic")
_LOADED = ("file://", "package:")
_PYTHON = """\
{source}

import json as _json

_sample = {{"output_text": output, "output_tools": []}}
_sample["choices"] = [{{"message": {{"role": "assistant", "content": output}}}}]
try:
    _sample["output_json"] = _json.loads(output)
except ValueError:
    pass
return float(grade(_sample, context["vars"]))
"""


def assertion_of(grader: Row, gaps: Gaps) -> Row:
    """Return the assertion of a grader.

    Raises:
        InvalidInput: it has no counterpart; the message says why.

    """
    kind = str(grader.get("type"))
    make = _TYPES.get(kind)
    if make is None:
        raise InvalidInput(_REASONS.get(kind, "promptfoo has no such assertion"))
    looks_at = str(grader.get("input", OUTPUT)).strip()
    if kind not in ("score_model", "python") and not _OUTPUT.fullmatch(looks_at):
        raise InvalidInput("it looks at something else than the answer's text")
    made = make(grader, gaps)
    if isinstance(made.get("value"), str) and made["value"].startswith(_LOADED):
        raise InvalidInput("its value begins as the name of a file does")
    name = _name(grader)
    return {**made, "metric": name} if name != made["type"] else made


def _name(grader: Row) -> str:
    return name_of(grader.get("name"), str(grader.get("type")))


def _reference(value: Any) -> str:
    text = untranslated(str(value))
    if not text:
        raise InvalidInput("its text is empty")
    return text


def _string_check(grader: Row, _gaps: Gaps) -> Row:
    kind = _STRING_CHECKS[str(grader.get("operation", "eq"))]
    if kind.endswith("equals") and grader["reference"] == "":
        return {"type": kind, "value": ""}
    return {"type": kind, "value": _reference(grader["reference"])}


def _starts_with(grader: Row, _gaps: Gaps) -> Row:
    return {"type": "starts-with", "value": _reference(grader["phrase"])}


def _regex(grader: Row, gaps: Gaps) -> Row:
    pattern = str(grader["pattern"])
    if is_template(pattern):
        raise InvalidInput("its expression has braces that promptfoo takes for a template")
    if is_ascii_only(pattern):
        gaps.note(f"grader {_name(grader)!r}: \\d, \\w, \\s and \\b mean ASCII only in promptfoo")
    found = to_javascript(pattern)
    return {"type": "regex", "value": f"^(?:{found})$" if grader.get("whole") else found}


def _json_schema(grader: Row, _gaps: Gaps) -> Row:
    schema = grader["json_schema"]
    check_schema(schema)
    if _NEWER.search(str(schema)) or is_template(str(schema)):
        raise InvalidInput("its schema has words that promptfoo reads differently")
    return {"type": "is-json", **({"value": schema} if schema else {})}


def _text_similarity(grader: Row, gaps: Gaps) -> Row:
    if grader.get("evaluation_metric") != "cosine":
        raise InvalidInput("promptfoo counts words in another way")
    gaps.note(f"grader {_name(grader)!r}: vectors of another model, check its threshold anew")
    threshold = float(grader.get("pass_threshold", 0.5))
    return {"type": "similar", "value": _reference(grader["reference"]), "threshold": threshold}


def _semantic(grader: Row, gaps: Gaps) -> Row:
    references = list(grader.get("references") or ())
    if len(references) != 1:
        raise InvalidInput("promptfoo compares with one reference")
    similar = {"evaluation_metric": "cosine", "pass_threshold": grader.get("threshold", 0.8)}
    return _text_similarity({**grader, **similar, "reference": references[0]}, gaps)


def _score_model(grader: Row, gaps: Gaps) -> Row:
    texts = [text_of(each.get("content")) for each in rows_in(grader.get("input"))]
    least, most = (float(bound) for bound in grader.get("range", (0.0, 1.0)))
    threshold = float(grader.get("pass_threshold", (least + most) / 2))
    whole = "\n\n".join(texts)
    own = RUBRIC_TASK.partition("{rubric}")
    if whole.startswith(own[0]) and whole.endswith(own[2]):
        rubric = whole.removeprefix(own[0]).removesuffix(own[2])
    else:
        gaps.note(
            f"grader {_name(grader)!r}: promptfoo's judge reads a prompt of its own, with scores "
            "from 0 to 1: check its verdicts anew"
        )
        rubric = _OUTPUT.sub("(the output)", whole)
    share = (threshold - least) / (most - least)
    made = {"type": "llm-rubric", "value": _reference(rubric), "threshold": share}
    return {**made, "provider": f"openai:chat:{grader['model']}"}


def _judge(grader: Row, gaps: Gaps) -> Row:
    if grader.get("against") is not None:
        raise InvalidInput("it compares two answers")
    least = (int(grader.get("pass_score", 4)) - 1) / 4
    gaps.note(
        f"grader {_name(grader)!r}: promptfoo's judge reads a prompt of its own, with scores "
        "from 0 to 1: check its verdicts anew"
    )
    rubric = f"{grader['rubric']}\n\nThe question was:\n{grader['question']}"
    made = {"type": "llm-rubric", "value": _reference(rubric), "threshold": least}
    return {**made, "provider": f"openai:chat:{grader['model']}"}


def _python(grader: Row, gaps: Gaps) -> Row:
    source = str(grader["source"])
    if is_template(source):
        raise InvalidInput("its program has braces that promptfoo takes for a template")
    if any(_is_long_text(node) for node in ast.walk(ast.parse(source))):
        raise InvalidInput("its program has a text of several lines, which promptfoo would indent")
    gaps.note("promptfoo runs Python programs without a sandbox: see that you trust them")
    threshold = float(grader.get("pass_threshold", 1.0))
    return {
        "type": "python",
        "value": _PYTHON.format(source=source.rstrip()),
        "threshold": threshold,
    }


def _is_long_text(node: ast.AST) -> bool:
    is_text = isinstance(node, ast.JoinedStr | ast.Constant)
    return is_text and getattr(node, "end_lineno", 0) != getattr(node, "lineno", 0)


_TYPES: dict[str, Callable[[Row, Gaps], Row]] = {
    "string_check": _string_check,
    "starts_with": _starts_with,
    "regex": _regex,
    "json_schema": _json_schema,
    "text_similarity": _text_similarity,
    "semantic": _semantic,
    "score_model": _score_model,
    "judge": _judge,
    "python": _python,
}
_REASONS = {
    "label": "promptfoo does not compare labels whatever their case and spaces",
    "label_model": "promptfoo's judges give no labels",
    "multi": "promptfoo has no formulas",
}
