"""Learning curves: the error of a model by the number of rows that it was trained on.

`laws.py` fits error(n) = a + b n^-c, `fit.py` says how far to trust it, `forecast.py` what more rows
would bring, `words.py` when the fit is too weak to say. Pure functions; nothing is trained here.
"""
