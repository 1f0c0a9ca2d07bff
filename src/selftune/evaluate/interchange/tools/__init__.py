"""One file per tool whose files can be brought in.

Each has `TOOL`, its name for people; `claims(opened)`, whether a file is one of its own; and
`read(files, gaps, options)`, which returns what the files hold. What cannot be taken over is named
in `gaps`.
"""
