"""One-off studies: programs that measure one question and write a page under `docs/results/`.

No other package imports a study, and a user of weightgpt needs none of them. Each study runs by one command; README.md
lists the questions, the commands and the pages.
"""
