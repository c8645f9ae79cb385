"""Sections of our docstrings that Griffe does not know, in words that it does."""

import re
import textwrap

import griffe

ARGUMENTS = re.compile(r"^Args:$", re.M)
CALL_ARGUMENTS = re.compile(r"^Call arguments:$", re.M)
# Griffe wants a type or a name before a colon; ours are sentences.
RETURNS = re.compile(r"^(Returns|Yields):\n((?:(?:    .*)?\n)+)", re.M)
# An example's code is not indented: all that follows belongs to it.
EXAMPLE = re.compile(r"^Example:\n+(.*)", re.M | re.S)


class DocstringSections(griffe.Extension):
    """Names the sections "Call arguments" and "Example" as Griffe names them."""

    def on_object(self, *, obj, **kwargs):
        """Rewrites the docstring of a module, class, function or attribute."""
        if obj.docstring is None:
            return
        text = obj.docstring.value
        if obj.is_class and not obj.parameters:  # its constructor is Keras's
            text = ARGUMENTS.sub("Other Args: Parameters", text)
        text = CALL_ARGUMENTS.sub("Other Args: Call arguments", text)
        text = RETURNS.sub(
            lambda match: f"**{match[1]}:**\n\n{textwrap.dedent(match[2])}\n",
            f"{text}\n",
        )
        obj.docstring.value = EXAMPLE.sub(
            lambda match: f"Examples: Example\n{textwrap.indent(match[1], '    ')}",
            text,
        )
