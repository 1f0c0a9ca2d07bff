"""Templates print a row's values, and nothing that a stranger writes takes long or reaches out."""

import pytest

from selftune.core.errors import InvalidInput
from selftune.core.templates import MAX_CHARACTERS, MISSING_VARIABLE, fields, fill, roots

ROW = {
    "summary": "A pot",
    "price": 4.0,
    "text": "4.5",
    "empty": None,
    "items": ["a", "b"],
    "long": "x" * 100_000,
    "first name": "Ada",
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Estimate the price.\n\n{{ summary }}\n", "Estimate the price.\n\nA pot\n"),
        ("{{ item.summary }} and {{ item['first name'] }}", "A pot and Ada"),
        ("${{ '%.2f' % price }}", "$4.00"),
        ("{{ '%.2f' | format(text | float) }}", "4.50"),
        ("{{ items | join(', ') }}, {{ item.items[0] }}", "a, b, a"),
        ("{% for one in items %}{{ loop.index }}{{ one }}{% endfor %}", "1a2b"),
        ("{% if empty %}x{% else %}{{ summary.upper() }}{% endif %}", "A POT"),
        ("{{ empty or 'nothing' }}{# a remark #}", "nothing"),
        ("{{ nowhere | default('nothing') }}", "nothing"),
        ("{% raw %}{{ summary }}{% endraw %}", "{{ summary }}"),
        ("{{ price * 2 + 1 }}", "9.0"),
        ("$4 {not} a template %}", "$4 {not} a template %}"),
    ],
)
def test_a_template_is_filled_by_names_with_and_without_item(template: str, text: str) -> None:
    assert fill(template, ROW) == text


def test_values_are_never_templates_themselves() -> None:
    assert fill("{{ text }}", {"text": "{{ 7 * 7 }}"}) == "{{ 7 * 7 }}"


def test_a_field_cannot_hide_the_item_or_the_sample() -> None:
    row = {"item": 1, "sample": 2, "x": 3}
    assert fill("{{ item.x }}{{ sample.output_text }}", row, {"output_text": "y"}) == "3y"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ prise }}", r"'prise' is undefined\. The fields are: summary, price, text"),
        ("{{ item.prise }}", r"has no attribute 'prise'\. The fields are: summary"),
        ("{{ empty }}", "it prints null"),
        ("{{ summary.upper }}", "it prints no value"),
        ("{{ self }}", "it prints no value"),
        ("{{ '%.2f' % text }}", r"a text becomes a number with `\| float`"),
        ("{{ summary", "unexpected end of template"),
        ("{{ price / 0 }}", "division by zero"),
        ("{{ text | center(9) }}", "No filter named 'center'"),
    ],
)
def test_what_cannot_be_filled_says_why_and_which_fields_there_are(
    template: str, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        fill(template, ROW)


@pytest.mark.parametrize(
    "template",
    [
        "{{ summary.__class__.__mro__ }}",
        "{{ item.__init__.__globals__ }}",
        "{{ ''['__class__'] }}",
        "{{ '{0.__class__}'.format(summary) }}",
        "{{ items.append(1) }}",
        "{{ item.update({}) }}",
        "{% import 'os' as os %}",
        "{% include '/etc/passwd' %}",
        "{% set x = 1 %}",
        "{% macro f() %}{% endmacro %}",
        "{{ lipsum(n=1000) }}",
        "{{ items | random }}",
        "{{ 'a' * 10 ** 10 }}",
        "{{ [0] * 10 ** 10 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ 'a' | indent(1000000000) }}",
        "{{ item | tojson(1000000000) }}",
        "{{ long | replace('x', long) }}",
        "{{ long | join(long) }}",
        "{% for i in range(1000000000) %}{% endfor %}",
        "{% for a in long %}{% for b in long %}{% endfor %}{% endfor %}",
        "{% for a in items recursive %}{{ loop(items) }}{% endfor %}",
        "{% for a in long %}{{ long }}{% endfor %}",
        "{{ " + "(" * 5_000 + ")" * 5_000 + " }}",
        "{{ " + "-" * 50_000 + "1 }}",
        "x" * 1_000_001 + "{{ price }}",
    ],
    ids=lambda template: template[:40],
)
def test_no_template_reaches_out_or_goes_on_for_long(template: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        fill(template, ROW)
    assert len(str(raised.value)) < 500


def test_a_text_may_be_as_long_as_any_row() -> None:
    assert len(fill("{{ long }}" * 90, ROW)) == 9_000_000
    with pytest.raises(InvalidInput, match=f"{MAX_CHARACTERS:,} characters"):
        fill("{{ long }}" * 101, ROW)


def test_a_missing_field_has_a_code_of_its_own() -> None:
    for template, code in (("{{ item.prise }}", MISSING_VARIABLE), ("{{ summary", None)):
        with pytest.raises(InvalidInput) as refused:
            fill(template, ROW)
        assert refused.value.code == code


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("no template", set()),
        ("{{ item.a }} {{sample['b']}} {{ c | upper }}", {"item", "sample", "c"}),
        ("{% for one in item.all %}{{ one }}{{ loop.index }}{% endfor %}", {"item"}),
    ],
)
def test_a_template_names_what_it_reads(template: str, names: set[str]) -> None:
    assert roots(template) == names


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("no field", set()),
        (
            "{{ item.label }} of {{ item['sort of'] }}, {{ sample.output_text }}",
            {"label", "sort of"},
        ),
        ("{{ item.order.number }}", {"order"}),
        ("{% for key, value in item.items() %}{{ value }}{% endfor %}", set()),
        ("{{ item.label | default('none') }}", set()),
        ("{{ item.label if item.label is defined else '' }}", set()),
    ],
)
def test_the_fields_that_a_template_cannot_do_without_are_known(
    template: str, names: set[str]
) -> None:
    assert fields(template) == names


@pytest.mark.parametrize("template", ["{{ a", "{% include 'x' %}", "{{" + "(" * 9_000 + "}}"])
def test_a_template_that_is_none_reads_nothing(template: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not valid|asks for too much"):
        roots(template)


@pytest.mark.parametrize("name", ["x", "items", "keys", "get", "A_1"])
@pytest.mark.parametrize("value", ["text", "", "{{ item.y }}", "<b>\n\u2028"])
def test_a_field_alone_says_what_it_says_among_other_words(name: str, value: str) -> None:
    for root, item, sample in (("item", {name: value}, {}), ("sample", {}, {name: value})):
        alone = fill(f"{{{{ {root}.{name} }}}}", item, sample)
        assert alone == value
        assert fill(f"-{{{{{root}.{name}}}}}-", item, sample) == f"-{value}-"
