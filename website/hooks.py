"""What MkDocs calls while it builds: pages of the repository's files, and references.

A name in code type that is public, as `ViTEncoder` or `keras_iwm.views.ViewGenerator`,
becomes a link to its page. One that begins with `keras_iwm.` and does not exist is an
error.
"""

import logging
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from pages import ROOT, downloads, navigation, pages
from public_names import rooms

LOG = logging.getLogger("mkdocs.hooks.references")
CODE = re.compile(
    r"(<pre.*?</pre>|<a\b.*?</a>|<h\d.*?</h\d>)|<code>([\w.]*\w)</code>", re.S
)
ROOMS = list(rooms())
PAGE_OF = {
    spelling: f"reference/{room.name}/{public.name}/"
    for room in ROOMS
    for public in room.public_names
    for spelling in (
        public.name,
        f"{room.name}.{public.name}",
        f"keras_iwm.{room.name}.{public.name}",
    )
}
PAGE_OF |= {f"keras_iwm.{room.name}": f"reference/{room.name}/" for room in ROOMS}
PAGE_OF["keras_iwm"] = "reference/"


def on_config(config):
    """Sets the navigation, which follows the repository's files."""
    config.nav = navigation()


def on_files(files, config):
    """Adds every page, and what may be downloaded, without writing it anywhere."""
    from mkdocs.structure.files import File

    for path, content in (pages() | downloads()).items():
        files.append(File.generated(config, path, content=content))
    for path in sorted((ROOT / "docs/images").iterdir()):
        place = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def is_known(name):
    """Whether a dotted name is a member of a public class, or a module."""
    owner = name.rpartition(".")[0]
    is_member = owner in PAGE_OF and owner.count(".") == 2
    return is_member or (ROOT / name.replace(".", "/")).with_suffix(".py").exists()


def on_page_content(html, page, config, files):
    """Makes links of public names in code type."""
    up = "../" * page.url.count("/")
    is_past = page.file.src_uri == "CHANGELOG.md"  # may name what is gone

    def linked(match):
        name = match[2]
        if name is None or PAGE_OF.get(name) == page.url:
            return match[0]
        if name in PAGE_OF:
            return f'<a href="{up}{PAGE_OF[name]}">{match[0]}</a>'
        if name.startswith("keras_iwm.") and not (is_known(name) or is_past):
            LOG.warning("%s: no such name: %s", page.file.src_uri, name)
        return match[0]

    return CODE.sub(linked, html)
