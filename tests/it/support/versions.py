"""Prints the versions of the packages named, so that a test knows that the interpreter has them."""

import sys
from importlib.metadata import version

for name in sys.argv[1:]:
    print(name, version(name))
