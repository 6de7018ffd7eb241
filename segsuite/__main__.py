"""``python -m segsuite``, and the command. Processes that it starts load this module again, so it loads nothing by itself."""


def main() -> None:
    """Run the command line."""
    from segsuite.cli import main as run

    run()


if __name__ == "__main__":
    main()
