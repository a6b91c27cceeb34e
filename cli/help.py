"""The help of the commands: `flask --help` in sections, and an example for each command."""

import sys

import click
from flask.cli import AppGroup

# The sections of `flask --help`; run is Flask's own command.
SECTIONS = {
    "Start": ("run", "doctor"),
    "Your procedures": ("procedures", "openapi"),
    "Databases": ("sql", "taxi"),
    "Credentials": ("auth", "token"),
}
SUMMARY = "Stored procedures as a JSON API. Without a setting, an embedded sample is served."
EXAMPLES = (
    "flask run",
    "flask doctor",
    "flask sql run orders.sql --target embedded",
    "flask auth new-key reports --groups read",
)
EPILOG = (
    "flask COMMAND --help shows the options of a command, and an example. Flask's own options"
    " (--app, --env-file, --debug, --version) go before the command; routes and shell are commands"
    " of Flask."
)


def examples(*lines: str) -> str:
    """The epilog of a command: `lines` as they are typed."""
    heading = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", heading, *(f"  {line}" for line in lines)])


class Commands(AppGroup):
    """The application's commands; `flask --help` shows them in sections."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        # Flask lists the names while it prints the help of the command `flask`, which is its own.
        # Click ends with Exit, which Flask would take for an application that can't be loaded.
        if prints_help() and ctx.parent is None and not ctx.resilient_parsing:
            click.echo(self._sections(ctx))
            raise SystemExit(0)
        return super().list_commands(ctx)

    def _sections(self, ctx: click.Context) -> str:
        flask = ctx.command
        assert isinstance(flask, click.Group), "its commands are listed"
        formatter = ctx.make_formatter()
        formatter.write_usage(ctx.command_path, "[OPTIONS] COMMAND [ARGS]...")
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(SUMMARY)
        width = max(len(name) for names in SECTIONS.values() for name in names)
        for title, names in SECTIONS.items():
            with formatter.section(title):
                found = [(name, flask.get_command(ctx, name)) for name in names]
                formatter.write_dl(
                    [(n.ljust(width), c.get_short_help_str(200)) for n, c in found if c is not None]
                )
        with formatter.section("Examples"):
            for line in EXAMPLES:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")
        formatter.write_paragraph()
        formatter.write_text(EPILOG)
        return formatter.getvalue().rstrip("\n")


def prints_help() -> bool:
    """Whether this is a `flask` command that only prints help, which requires no settings."""
    in_command = click.get_current_context(silent=True) is not None
    return in_command and (len(sys.argv) == 1 or "--help" in sys.argv)
