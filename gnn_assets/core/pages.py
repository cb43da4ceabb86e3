"""Pages for people: how templates are rendered, and the look that pages share.

A template stands beside the code that fills it. Every value is escaped; what is not there is an error and not a hole.
``page.css.jinja`` beside this module holds colours, text and tables; a page includes it and adds its own.
"""

from pathlib import Path

import jinja2


def page_environment(folder: Path) -> jinja2.Environment:
    """What renders the templates of a folder, which may include those beside this module.

    Args:
        folder: where the templates are.
    """
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
