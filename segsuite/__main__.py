"""``python -m segsuite``."""

from segsuite.cli import main

if __name__ == "__main__":
    main()
