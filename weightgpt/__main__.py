"""`python -m weightgpt`."""

from weightgpt.cli import main

if __name__ == "__main__":
    main()
