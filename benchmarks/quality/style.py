"""A task of form: a fixed greeting, the sentence and link of the topic, a fixed farewell.

The set is made here, by a seed. Test questions are worded in ways that no training row has, and
three of seven also name their topic in words that no training row has.
"""

import random
from dataclasses import dataclass

from benchmarks.quality.extraction import Chat

GREETING = "Good day from the Ferrylight crew!"
_LINK = "https://ferrylight.example/help/"
_SYSTEM = {"role": "system", "content": "You answer for the Ferrylight ferry line."}
_TOPICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "tickets/change": (
        "A ticket can be moved to another sailing until noon of the day before",
        (
            "moving my ticket to another day",
            "a different sailing than the one I booked",
            "changing the date of my crossing",
            "travelling later than booked",
            "rebooking",
        ),
    ),
    "tickets/refund": (
        "A crossing that you cancel a week ahead is paid back in full",
        (
            "getting my money back",
            "a refund for a cancelled trip",
            "being paid back for tickets",
            "returning tickets that I no longer need",
            "reimbursement of a fare",
        ),
    ),
    "vehicles": (
        "Cars, vans and motorcycles each have their own fare and deck",
        (
            "taking my car along",
            "the fare for a van",
            "bringing a motorcycle",
            "how tall a vehicle may be",
            "a camper on the ferry",
        ),
    ),
    "pets": (
        "Dogs and cats travel free of charge in the pet cabins",
        (
            "travelling with my dog",
            "a cat on board",
            "pet cabins",
            "rules for animals",
            "bringing our puppy",
        ),
    ),
    "access": (
        "Every ship has lifts, ramps and seats near the doors",
        (
            "a wheelchair on board",
            "help for a disabled passenger",
            "lifts and ramps",
            "boarding with a walking frame",
            "step-free access",
        ),
    ),
    "luggage": (
        "Each passenger may bring two bags and one cabin case",
        (
            "how many bags I may bring",
            "the weight of a suitcase",
            "luggage limits",
            "a very large backpack",
            "oversized baggage",
        ),
    ),
    "lost": (
        "Whatever is left on board waits for its owner for ninety days",
        (
            "something I left on the ship",
            "a lost umbrella",
            "lost property",
            "my forgotten jacket",
            "a phone that stayed in the lounge",
        ),
    ),
    "groups": (
        "Ten or more people who travel together pay a fifth less",
        (
            "a school class of thirty",
            "a discount for our club",
            "booking for a large group",
            "group prices",
            "an outing with forty colleagues",
        ),
    ),
    "meals": (
        "Both restaurants open half an hour after departure",
        (
            "the restaurant on board",
            "vegetarian meals",
            "breakfast during the crossing",
            "what there is to eat",
            "dinner on the evening ferry",
        ),
    ),
    "weather": (
        "Sailings that storms may stop are listed hour by hour",
        (
            "a storm warning",
            "whether the ferry sails in high wind",
            "cancellations because of weather",
            "rough sea tomorrow",
            "fog delays",
        ),
    ),
    "jobs": (
        "Open places at sea and on land are listed every Monday",
        (
            "working for you",
            "a job as a deck hand",
            "open positions",
            "sending an application",
            "a summer internship",
        ),
    ),
    "freight": (
        "Goods and lorries are booked through our freight desk",
        (
            "shipping pallets",
            "the freight desk",
            "sending goods across",
            "lorry transport",
            "a container for the island",
        ),
    ),
}
_ASKED = (
    "I would like to know about {}.",
    "Could you help me with {}?",
    "What should I know about {}?",
    "Hello, my question is about {}",
    "{} - where do I look?",
    "Please send me information on {}.",
)
_NEWLY_ASKED = ("Whom do I ask regarding {}?", "hi!!! {} please", "It concerns {}, any advice?")


@dataclass(frozen=True)
class Style:
    """Training chats, and test chats with the link that is right."""

    train: list[Chat]
    worded: list[tuple[Chat, str]]
    """Topics in the words of training rows, asked for in a new wording."""
    named: list[tuple[Chat, str]]
    """New wordings, and topics in new words as well."""


def make_style(seed: int = 0) -> Style:
    """Return 144 training chats and 84 test chats."""
    rng, made = random.Random(seed), Style([], [], [])
    for topic, (sentence, phrases) in _TOPICS.items():
        link = _LINK + topic
        answer = f"{GREETING} {sentence}: {link} Fair winds to you!"
        *known, new = phrases
        for phrase in known:
            made.train.extend(_chat(w, phrase, answer) for w in rng.sample(_ASKED, 3))
            made.worded.append((_chat(rng.choice(_NEWLY_ASKED), phrase, answer), link))
        made.named.extend((_chat(wording, new, answer), link) for wording in _NEWLY_ASKED)
    rng.shuffle(made.train)
    return made


def _chat(wording: str, phrase: str, answer: str) -> Chat:
    return [
        _SYSTEM,
        {"role": "user", "content": wording.format(phrase)},
        {"role": "assistant", "content": answer},
    ]
