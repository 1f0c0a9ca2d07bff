"""A task whose answers are new every time: repair requests -> JSON.

The set is made here, by a seed. First and last names of the test rows occur in no training row, and
a third of the test rows are worded in ways that no training row has.
"""

import json
import random
from dataclasses import dataclass
from typing import Any

Chat = list[dict[str, Any]]


def _list(text: str, between: str = " ") -> list[str]:
    """Return the parts of a text."""
    return [part.strip() for part in text.replace("\n", " ").split(between) if part.strip()]


_FIRST = _list("""
Abel Agnes Anton Astrid Bela Birgit Boris Carla Cedric Celine Dario Delia Edgar Elif Enzo Esther
Fabio Farah Femke Gideon Gloria Hamza Hanna Henrik Imani Irma Jasper Jonas Judit Karim Katya Leonie
Lorenzo Luisa Malik Marta Milos Nadia Nikolai Oskar Paula Petra Rafael Renata Samir Selma Stefan
Tamara Tobias Ursula Viktor Wanda Xenia Yusuf Zora
""")
_LAST = _list("""
Adler Almeida Baker Barros Bauer Becker Bianchi Castro Conti Dahl Dubois Eriksen Farkas Ferrari
Fontana Georgiou Grant Hakim Hughes Ibrahim Jansen Kaya Keller Kovac Larsen Lehmann Lindqvist Mancini
Mbeki Meyer Molnar Murphy Nagy Nowak Okoye Ortega Papadakis Pereira Popescu Ramos Ritter Rocha Sato
Schuster Serrano Sharma Stone Suzuki Szabo Tanner Ulrich Vega Visser Wagner Walsh Yilmaz Zeman
""")
_DAYS = _list("Monday Tuesday Wednesday Thursday Friday Saturday")
_DEVICES = _list(
    """
espresso machine; record player; sewing machine; desk lamp; vacuum cleaner; bread maker; ceiling fan;
electric kettle; film camera; floor heater; garden radio; hair dryer
""",
    ";",
)
_SEEN = (
    "Hello, {name} here. My {device} is broken, could you fetch it on {day} from {number} {street}?",
    "Pick-up at {number} {street} on {day}, please: a {device}. {name}",
    "I am {name} and live at {number} {street}. The {device} stopped working; is {day} possible?",
    "Repair request. Customer: {name}. Item: {device}. Address: {number} {street}. Day: {day}.",
    "Could somebody look at our {device} this {day}? {number} {street}, the bell says {name}.",
    "{day} would suit me best for the {device}. Regards, {name}, {number} {street}",
    "my {device} makes a strange noise... can you come {day}? {name}, {number} {street}",
    "Please note for {day}: {name} brings a {device}, home address {number} {street}.",
    "Dear workshop, the {device} of {name} needs care. Collect it at {number} {street} on {day}.",
    "We live at {number} {street} and our {device} is dead. {day} any time. Thank you! {name}",
)
_UNSEEN = (
    "On {day} a courier should go to {number} {street}, where {name} hands over the {device}.",
    "It is about the {device} again, says {name} of {number} {street}, who asks for {day}.",
    "{number} {street}, {name}, {device}, {day}: please confirm.",
)
_STREETS = _list(
    """
Mill Lane; Orchard Road; Harbour Street; Castle Square; Birch Avenue; Station Road; Canal Street;
Chapel Hill; Market Row; Rose Crescent; Bridge Street; Quarry Road
""",
    ";",
)
_SYSTEM = {"role": "system", "content": "Return the repair request as JSON."}


@dataclass(frozen=True)
class Extraction:
    """Training chats, and test chats in known and in new wordings."""

    train: list[Chat]
    known: list[Chat]
    new: list[Chat]


def make_extraction(rows: int = 300, seed: int = 0) -> Extraction:
    """Return the set; 60 test rows have a known wording, 30 a new one."""
    rng = random.Random(seed)
    first, last = rng.sample(_FIRST, len(_FIRST)), rng.sample(_LAST, len(_LAST))
    half_first, half_last = len(first) * 2 // 3, len(last) * 2 // 3
    seen = (first[:half_first], last[:half_last])
    unseen = (first[half_first:], last[half_last:])
    return Extraction(
        train=[_row(rng, _SEEN, *seen) for _ in range(rows)],
        known=[_row(rng, _SEEN, *unseen) for _ in range(60)],
        new=[_row(rng, _UNSEEN, *unseen) for _ in range(30)],
    )


def _row(rng: random.Random, wordings: tuple[str, ...], first: list[str], last: list[str]) -> Chat:
    found = {
        "name": f"{rng.choice(first)} {rng.choice(last)}",
        "device": rng.choice(_DEVICES),
        "day": rng.choice(_DAYS),
        "street": rng.choice(_STREETS),
        "number": rng.randint(1, 240),
    }
    answer = {
        "customer": found["name"],
        "item": found["device"],
        "day": found["day"],
        "address": {"street": found["street"], "number": found["number"]},
    }
    return [
        _SYSTEM,
        {"role": "user", "content": rng.choice(wordings).format(**found)},
        {"role": "assistant", "content": json.dumps(answer)},
    ]
