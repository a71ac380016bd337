"""How Sphinx builds the pages of `examples/guide/` and the reference from the docstrings."""

import re
from importlib.metadata import version as installed
from pathlib import Path

from docutils import nodes
from sphinx.util.nodes import make_refnode

project = "dask-gradcode"
author = "The dask_gradcode developers"
copyright = f"2026, {author}"
version = release = installed("dask-gradcode")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
]
templates_path = [str(Path(__file__).parent / "templates")]
exclude_patterns = ["README.md"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

# A reference to one of our names that leads nowhere is an error. What other projects document is
# not looked up, so that a build needs no network.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!dask_gradcode\.).*")]

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc says types in words, with shapes
toc_object_entries_show_parents = "hide"  # there is no room for the class beside each method
autodoc_default_options = {
    "members": True,
    # what scikit-learn documents is not repeated, nor are the methods that it generates
    "inherited-members": "BaseEstimator,ClassifierMixin,RegressorMixin,RuntimeError",
    "exclude-members": "get_metadata_routing,set_fit_request,set_score_request",
}
numpydoc_show_class_members = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
smartquotes = False  # verify="audit" is code, and what a reader copies must run
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = [str(Path(__file__).parent / "static")]
html_css_files = ["narrow.css"]
html_show_sphinx = False
# A page of the guide has nothing to list beside it, and its tables need the width.
guide = Path(__file__).parents[2] / "examples" / "guide"
html_sidebars = {page.stem: [] for page in guide.glob("*.md")}
html_theme_options = {
    "header_links_before_dropdown": 4,  # one row
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def link_names(app, doctree, page):
    """Make links of our public names, which the guide spells in Markdown that reads anywhere."""
    if "/" in page:  # the reference has roles of its own
        return
    known = app.env.domains["py"].objects
    public = {}
    for full, entry in known.items():
        is_name = entry.objtype in ("class", "function", "data", "exception")
        if is_name and not entry.aliased:
            public.setdefault(full.split(".")[-1], []).append(full)
    for literal in list(doctree.findall(nodes.literal)):
        name = re.match(r"[\w.]+", literal.astext())
        found = public.get(name[0].split(".")[-1], []) if name else []
        full = [one for one in found if name[0] in (one, one.split(".")[-1])]
        if len(full) != 1 or isinstance(literal.parent, nodes.reference):
            continue
        where = known[full[0]]
        link = make_refnode(
            app.builder, page, where.docname, where.node_id, literal.deepcopy(), full[0]
        )
        literal.replace_self(link)


def setup(app):
    """Have Sphinx call what is above."""
    app.connect("doctree-resolved", link_names)
