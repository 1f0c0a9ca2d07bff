"""How families of models write tool calls: one file each, found by its name.

A module offers `build()`, which returns a `dialect.Family`. Which of them a model speaks is not
told by its name: the renderer lets its chat template write a call, and takes the family that reads
it back.
"""
