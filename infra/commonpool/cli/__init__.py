"""The command line. `main` is the only place that exits."""

import json
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; every exception becomes an exit code and words."""
    from typer.main import get_command

    from commonpool.cli.app import app
    from commonpool.cli.failure import INTERRUPTED, CommandFailed

    try:
        found = get_command(app).main(args=arguments, prog_name="commonpool", standalone_mode=False)
        return found if isinstance(found, int) else 0
    except KeyboardInterrupt:
        print("\ninterrupted; what was applied is recorded, and running again goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except BaseException as error:
        return _fail(error, arguments, CommandFailed)


def _fail(error: BaseException, arguments: list[str], failed: type[Exception]) -> int:
    import typer
    from typer.exceptions import TyperException

    from commonpool.cli.failure import FAILED, CommandFailed, describe, document

    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, (SystemExit, typer.Abort)):
        return FAILED
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        usage = f"{context.command_path} --help" if context is not None else "commonpool --help"
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return FAILED
        error = CommandFailed(error.format_message(), code="usage", next_step=usage)
    failure = describe(error)
    if _wants_json(arguments):
        print(json.dumps(document(failure), indent=2, ensure_ascii=False))
        return FAILED
    for problem in failure.problems:
        print("\n".join(problem.lines()), file=sys.stderr)
    print(f"error: {failure} [{failure.code}]", file=sys.stderr)
    if failure.next_step:
        print(f"  next: {failure.next_step}", file=sys.stderr)
    return FAILED


def _wants_json(arguments: list[str]) -> bool:
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(
        word in ("-o=json", "--output=json", "-ojson") or (word in ("-o", "--output") and value == "json")
        for word, value in pairs
    )
