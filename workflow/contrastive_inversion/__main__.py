"""`python -m contrastive_inversion`: the command line, for environments that hold its libraries but not the package."""

import sys


def main() -> int:
    """Run a command. It may be stopped while its libraries are still imported, which takes seconds."""
    try:
        from contrastive_inversion.run import cli
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
