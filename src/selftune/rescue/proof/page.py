"""A proof as a page, as Markdown and as JSON: the conclusion first, then evaluate's own report."""

from collections.abc import Iterable
from importlib.resources import files

from jinja2 import Environment
from markupsafe import Markup

from selftune.evaluate.markdown import plain, to_markdown
from selftune.evaluate.page import to_html
from selftune.evaluate.rounds import RoundFolder
from selftune.evaluate.statistics import Interval
from selftune.evaluate.write import ReportFiles
from selftune.rescue.proof.alike import Alike
from selftune.rescue.proof.run import Proof
from selftune.rescue.record.recordings import ARM
from selftune.store.whole_files import write_whole

_COLORS = {"switch": "better", "do not tune": "equivalent", "keep": "worse"}
COLUMNS = (
    "",
    "says the same",
    "nearness in meaning (cosine)",
    "as good, by the judge",
    "says the same, against the model itself",
)


def proof_html(proof: Proof) -> str:
    """Return the page."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = files("selftune.rescue.proof").joinpath("lead.html.j2").read_text(encoding="utf-8")
    lead = environment.from_string(text).render(
        proof=proof,
        color=_COLORS.get(proof.conclusion.outcome, ""),
        columns=columns(proof),
        rows=rows(proof),
    )
    named = proof.report.model_copy(update={"name": f"In place of {proof.model}"})
    return to_html(named, Markup(lead))  # rendered with escaping, just above


def proof_markdown(proof: Proof) -> str:
    """Return the conclusion with its reasons, the table of agreement, and the report."""
    found = proof.conclusion
    lines = [f"**{plain(found.words)}**", "", *(f"- {plain(each)}" for each in found.reasons), ""]
    lines += [_line(columns(proof)), "|---" * len(columns(proof)) + "|"]
    lines += [_line(row) for row in rows(proof)]
    lines += ["", *(f"> {plain(note)}" for note in proof.notes), ""]
    return "\n".join(lines) + "\n" + to_markdown(proof.report)


def columns(proof: Proof) -> tuple[str, ...]:
    """Return the names of the columns that have something in them."""
    return tuple(name for name, is_there in zip(COLUMNS, _there(proof), strict=True) if is_there)


def rows(proof: Proof) -> tuple[tuple[str, ...], ...]:
    """Return the table of agreement with the recorded answers."""
    there = _there(proof)
    return tuple(
        tuple(cell for cell, is_there in zip(_cells(each), there, strict=True) if is_there)
        for each in proof.alike
    )


def write_proof(proof: Proof, folder: RoundFolder) -> ReportFiles:
    """Write the proof as HTML, Markdown and JSON into the folder of its round."""
    written = ReportFiles(
        html=folder.path / "proof.html",
        markdown=folder.path / "proof.md",
        json_file=folder.path / "proof.json",
    )
    for path, text in (
        (written.html, proof_html(proof)),
        (written.markdown, proof_markdown(proof)),
        (written.json_file, proof.model_dump_json(indent=1)),
    ):
        write_whole(path, text.encode(), durable=False)
    return written


def _there(proof: Proof) -> tuple[bool, ...]:
    near = any(each.near is not None for each in proof.alike)
    judged = any(each.judged is not None for each in proof.alike)
    behind = any(each.behind is not None for each in proof.alike)
    return True, True, near, judged, behind


def _cells(each: Alike) -> tuple[str, ...]:
    own = "the yardstick" if each.arm == ARM else "-"
    behind = own if each.behind is None else _points(each.behind)
    return each.arm, _share(each.same), _number(each.near), _share(each.judged), behind


def _share(found: Interval | None) -> str:
    if found is None:
        return "-"
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"


def _number(found: Interval | None) -> str:
    return "-" if found is None else f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _points(found: Interval) -> str:
    return f"{100 * found.value:+.1f} points ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(plain(cell) for cell in cells) + " |"
