"""The command line. `main` is the only place that exits."""

import gc
import os
import re
import signal
import sys

# Allocations, and rounds of the younger generations. A large estate is a million values that all stay, and searching them for
# unreachable cycles takes half a second each time; commands are short, and those that are not get there too.
COLLECTED_AFTER = (50_000, 20, 100)


def main() -> None:
    """Run the command line and exit with its code."""
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a poor terminal is no reason to fail
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the system's wish to end is one as good as Ctrl-C
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # a program that ends closes its connections, which is no news
    gc.set_threshold(*COLLECTED_AFTER)
    code = run(sys.argv[1:])
    gc.freeze()  # the interpreter searches everything once more when it ends
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Where a stream was closed by whoever started us, files that are opened would take its place and get what is printed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (for as long as we live)


def run(arguments: list[str]) -> int:
    """Run one command; every exception becomes an exit code and words, for whoever still listens."""
    try:
        return _run(arguments)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:  # what went wrong cannot even be printed where it belongs
        print(f"error: what is printed cannot be written: {error.strerror} [file_error]", file=sys.stderr)
        return 1


def _run(arguments: list[str]) -> int:
    from typer.main import get_command

    from commonpool.cli.app import part
    from commonpool.cli.failure import INTERRUPTED, report

    words = cwd_first(arguments)
    if "COMP_WORDS" in os.environ:
        _join_what_bash_split()
    try:
        found = get_command(part(words)).main(args=words, prog_name="commonpool", standalone_mode=False)
        if found == INTERRUPTED:  # what the parser makes of Ctrl-C, without a word
            raise KeyboardInterrupt
        return found if isinstance(found, int) else 0
    except BrokenPipeError:
        raise
    except BaseException as error:
        if "_COMMONPOOL_COMPLETE" in os.environ and not isinstance(error, SystemExit):
            return 1  # whoever presses Tab is told nothing
        return report(error, wanted_format(words))


def _join_what_bash_split() -> None:
    """Bash hands `--output=js` over as three words, as the sign parts words to it; whoever completes it sees one."""
    words, place = os.environ["COMP_WORDS"].split("\n"), int(os.environ.get("COMP_CWORD", "0"))
    if "=" not in words:
        return
    joined: list[str] = []
    current = 0
    for number, word in enumerate(words):
        if joined and joined[-1].startswith("--") and (word == "=" or joined[-1].endswith("=")):
            joined[-1] += word
        else:
            joined.append(word)
        if number == place:
            current = len(joined) - 1
    os.environ |= {"COMP_WORDS": "\n".join(joined), "COMP_CWORD": str(current)}


def cwd_first(arguments: list[str]) -> list[str]:
    """`-C DIR` may stand anywhere, as with Pulumi; the parser wants it before the command."""
    for place, word in enumerate(arguments):
        if word in ("-C", "--cwd") and place + 1 < len(arguments):
            return [*arguments[place : place + 2], *arguments[:place], *arguments[place + 2 :]]
    return arguments


def wanted_format(arguments: list[str]) -> str:
    """The format that errors take: also those of a command line that could not be read."""
    found = os.environ.get("COMMONPOOL_OUTPUT", "text")
    for word, value in zip(arguments, [*arguments[1:], ""], strict=False):
        match = re.fullmatch(r"(?:-[A-Za-z]*?o|--output)(?:=?(\w+))?", word)
        if match:
            found = match[1] or value
    return found
