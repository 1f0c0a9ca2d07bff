"""The whole corpus of broken inputs."""

from tests.data.corpus import content, files, rows, tools
from tests.data.corpus.parts import Broken

EVERYTHING: tuple[Broken, ...] = (*files.ALL, *rows.ALL, *tools.ALL, *content.ALL)
