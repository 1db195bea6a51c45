"""Coverage-guided fuzzing of everything that reads bytes of others: ``python -m hmcap.tools.fuzz --all``.

A reader may give a value or raise an ``HmcapError`` of one paragraph. Anything else, an input that takes seconds, and
one that takes half a gigabyte, is a finding, kept as a file. The engine is libFuzzer through ``atheris``
(``pip install atheris==3.0.0``, Linux with Python 3.11 to 3.13), which is no dependency of hmcap; what a found file
did can be seen again without it: ``python -m hmcap.tools.fuzz READER --replay FILE ...``.
"""
