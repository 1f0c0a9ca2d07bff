"""From questions to a round that is kept: what `selftune eval run` and the end of `selftune run` do.

`plan.py` reads an eval file, `home.py` knows who answers, `round.py` asks, grades and keeps. Nothing
here opens the database unless a model of this machine is asked.
"""
