"""From what somebody has to rows that can be trained on, and a test set that is honest.

Each command of `selftune data` is a module here, with a function of its name: convert, check,
describe, split (`split_folder` writes the files), dedupe, generate, mine, distill, paraphrase,
estimate. What they share:

rows.py, problems.py, rules.toml   what a row is, and what can be wrong with it
read.py                            a source of any shape -> rows
sources/ containers/ formats/      places and packing; how rows are packed; the shape of one row
checking/ findings/                one fast pass over a file; what is looked for inside texts
likeness/                          which texts say the same, or nearly
counting/ describing/              tokens and what they cost; one example as a model sees it
synthesis/                         asking a teacher: journal, budget, prompts, novelty
"""
