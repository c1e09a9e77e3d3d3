"""MkDocs hook: the page of the command line is written from the command line itself."""

from typing import Any


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Replace `<!-- command line -->` by the help of every command.

    Args:
        markdown: the text of a page.
        kwargs: further arguments of MkDocs; not used.
    """
    if "<!-- command line -->" not in markdown:
        return markdown
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from weightgpt.cli import app

    command = get_command(app)
    context = command.context_class(command, info_name="weightgpt")
    return markdown.replace("<!-- command line -->", get_docs_for_click(obj=command, ctx=context, name="weightgpt"))
