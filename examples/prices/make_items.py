"""Make the 1,000 made-up products of the price example: `python make_items.py` writes items.jsonl.

price = category base x brand tier x size factor x material factor x 1.07 ** features x noise

The noise is log-normal with sigma 0.25; all other factors can be read off the summary. The seed is
fixed, so every run writes the same bytes.
"""

import json
import random
from pathlib import Path

SEED = 2027
COUNT = 1000
SIGMA = 0.25
FEATURE_FACTOR = 1.07
BRANDS = {  # the tier of each invented brand
    0.65: ("Pennygate", "Hobbin", "Dunmarrow", "Quickmoss"),
    1.0: ("Brindlework", "Tovarre", "Kestrope", "Ansel & Finch"),
    1.6: ("Sablethorn", "Quillmar", "Maison Orvane", "Lumewick"),
}
SIZES = {
    0.75: ("compact", "small", "space-saving"),
    1.0: ("standard", "medium-sized", "regular"),
    1.35: ("large", "roomy", "full-size"),
}
# category: base price, products, materials with their factors, features, uses
CATEGORIES: dict[str, tuple[float, list[str], dict[str, float], list[str], list[str]]] = {
    "Kitchen Tools": (12, ["Spatula Set", "Colander", "Whisk Trio", "Measuring Cup Set"],
        {"silicone": 1.0, "beech wood": 0.9, "stainless steel": 1.2},
        ["dishwasher safe", "heat-proof handle", "hanging loop", "non-slip grip"],
        ["everyday cooking", "baking with children", "a first apartment"]),
    "Pet Supplies": (24, ["Dog Bed", "Cat Tunnel", "Pet Carrier", "Feeding Station"],
        {"polyester": 0.9, "cotton canvas": 1.1, "bamboo": 1.2},
        ["washable cover", "anti-slip base", "folds flat", "scratch resistant"],
        ["lively puppies", "older animals", "trips to the vet"]),
    "Toys": (20, ["Building Block Set", "Puzzle", "Train Set", "Marble Run"],
        {"plastic": 0.85, "cardboard": 0.9, "maple wood": 1.25},
        ["storage bag", "rounded edges", "extra pieces", "picture guide"],
        ["rainy afternoons", "ages four and up", "playing together"]),
    "Lighting": (46, ["Table Lamp", "Floor Lamp", "Pendant Light", "Reading Light"],
        {"rice paper": 0.85, "powder-coated steel": 1.0, "brass": 1.3},
        ["dimmer", "warm white bulb included", "touch switch", "swivel head"],
        ["the bedside", "a quiet reading corner", "the dining table"]),
    "Bags": (58, ["Backpack", "Weekender", "Messenger Bag", "Tote"],
        {"nylon": 0.9, "waxed canvas": 1.1, "full-grain leather": 1.35},
        ["laptop sleeve", "water-repellent zipper", "padded straps", "hidden pocket"],
        ["commuting", "short trips", "the office"]),
    "Audio": (85, ["Headset", "Bookshelf Speaker", "Portable Speaker", "Radio"],
        {"plastic": 0.9, "aluminum": 1.15, "walnut": 1.3},
        ["Bluetooth", "20-hour battery", "noise reduction", "splash-proof"],
        ["the living room", "long flights", "garden parties"]),
    "Power Tools": (105, ["Cordless Drill", "Jigsaw", "Belt Sander", "Circular Saw"],
        {"plastic": 0.9, "reinforced plastic": 1.05, "magnesium": 1.25},
        ["brushless motor", "second battery", "LED work light", "carry case"],
        ["home repairs", "the workshop", "demanding builds"]),
    "Furniture": (150, ["Office Chair", "Bookcase", "Side Table", "Writing Desk"],
        {"particle board": 0.8, "pine": 1.0, "solid oak": 1.3},
        ["adjustable feet", "tool-free assembly", "cable outlet", "soft-close drawer"],
        ["a home office", "the hallway", "small studios"]),
    "Coffee Machines": (190, ["Espresso Machine", "Filter Coffee Maker", "Bean-to-Cup Machine"],
        {"plastic": 0.85, "brushed steel": 1.1, "copper": 1.25},
        ["milk frother", "built-in grinder", "programmable timer", "self-cleaning"],
        ["busy mornings", "coffee lovers", "a shared kitchen"]),
}  # fmt: skip
DESCRIPTIONS = (
    "A {size} {noun} made mostly of {material}, a good choice for {use}.",
    "Made for {use}: this {noun} comes in a {size} format. Material: {material}.",
    "Built from {material} in a {size} version, this {noun} suits {use}.",
)
DETAILS = ("Features: {0}.", "Comes with: {0}.", "Good to know: {0}.")


def make_item(rng: random.Random) -> dict[str, str | float]:
    """Draw one product and price it by the rule above."""
    category = rng.choice(list(CATEGORIES))
    base, nouns, materials, features, uses = CATEGORIES[category]
    tier, size_factor = rng.choice(list(BRANDS)), rng.choice(list(SIZES))
    brand, size = rng.choice(BRANDS[tier]), rng.choice(SIZES[size_factor])
    noun, material = rng.choice(nouns), rng.choice(list(materials))
    chosen = rng.sample(features, rng.randint(0, 3))
    words = {"size": size, "noun": noun.lower(), "material": material, "use": rng.choice(uses)}
    title = f"{brand} {noun}" if rng.random() < 0.7 else f"{noun} by {brand}"
    lines = [f"Title: {title}", f"Category: {category}", f"Brand: {brand}"]
    lines = [line for line in lines if line.startswith("Title") or rng.random() < 0.75]
    lines.append("Description: " + rng.choice(DESCRIPTIONS).format(**words))
    if chosen:
        lines.append("Details: " + rng.choice(DETAILS).format(", ".join(chosen)))
    price = base * tier * size_factor * materials[material] * FEATURE_FACTOR ** len(chosen)
    return {"summary": "\n".join(lines), "price": round(price * rng.lognormvariate(0.0, SIGMA), 2)}


if __name__ == "__main__":
    generator = random.Random(SEED)
    items: dict[str, dict[str, str | float]] = {}
    while len(items) < COUNT:  # a summary that was drawn before is skipped
        item = make_item(generator)
        items.setdefault(str(item["summary"]), item)
    text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items.values())
    Path(__file__).with_name("items.jsonl").write_text(text, encoding="utf-8", newline="\n")
