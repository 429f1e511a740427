"""How Sphinx builds the site: `make docs`. Nothing is downloaded and nothing is run."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
DOCS = Path(__file__).parent.resolve()
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import site_text  # noqa: E402
from pygments.lexers.special import TextLexer  # noqa: E402

import smh  # noqa: E402

project = "smh"
author = "the smh authors"
copyright = "Apache-2.0"
release = version = smh.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
nitpicky = True
# Bases and types that no page is about: a reader of the reference needs no more than their names.
nitpick_ignore_regex = [
    ("py:class", r"smh\..*\.(_\w+|Counted|Left|Member|OwnNumbers|Printed|Shown|Sums)")
]

html_theme = "furo"
html_title = f"smh {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["versions.js"]
html_search_scorer = str(DOCS / "static" / "scorer.js")
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
# The commands are copied without their prompt.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # run.py and the tests run them

# In docstrings `smh.save` is a link, and `whatever` is code.
default_role = "py:obj"
add_module_names = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Cost", "notes_style"), ("Reference", "notes_style")]


def setup(app):
    """Lets docstrings be written, and pages be included, as they read best where they lie."""
    app.connect("autodoc-process-docstring", site_text.markdown_in_docstring, priority=100)
    app.connect("autodoc-process-docstring", site_text.colons_again, priority=900)
    app.connect("autodoc-process-signature", site_text.signature_of_init)
    app.connect("include-read", site_text.relative_links)
    app.connect("doctree-read", site_text.names_of_others)
    app.add_lexer("dictionary", TextLexer)  # a block of format.md that the tests read
