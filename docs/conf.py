"""Settings of the documentation, built by `make docs`."""

from importlib.metadata import version as installed_version
from typing import Any

import torch
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxTranslator

# -- Project ---------------------------------------------------------------------------

project = "torchmanifold"
author = "The torchmanifold contributors"
copyright = "2026, the torchmanifold contributors"
version = release = installed_version("torchmanifold")

# -- Extensions --------------------------------------------------------------------------

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
# A word in single backticks in a docstring is code.
default_role = "code"

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

napoleon_google_docstring = True
napoleon_numpy_docstring = False
# "Example:" is a heading like any other, not an admonition.
napoleon_use_admonition_for_examples = False
# Docstrings describe the returned value in words; its type is in the signature.
napoleon_use_rtype = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}

# Names that live elsewhere. No inventory is downloaded: a build needs no network.
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|numpy|np|scipy|pandas|matplotlib|click|rich|collections|typing|nn)\b.*"),
    (r"py:.*", r"(abc|concurrent|contextlib|pathlib|types)\..*"),
    (r"py:.*", r"(Tensor|Any|Callable|Mapping|Sequence|Iterable|Iterator|Path)"),
    # The standard library, and the table that rich makes.
    (r"py:.*", r"(BrokenExecutor|Executor|Future|Style|JustifyMethod|ModuleType)"),
    # Names from the package that gathers them; their reference is under the file's own name.
    (r"py:.*", r"(torchmanifold\.parametrize\.)?(ParametrizationList|register_parametrization)"),
    # Pieces of types that Sphinx cuts at a bar.
    (r"py:.*", r"(types\.Annotated|dict|list|tuple)\[.*"),
    # Private names of a file: a base class, an alias of a type.
    (r"py:.*", r"torchmanifold\..*\.(_\w+|F|R|Model|Point|Watch)"),
]

# -- Appearance ------------------------------------------------------------------------------

html_theme = "furo"
html_title = f"torchmanifold {release}"
html_static_path = ["_static"]

# -- The gallery: every script of examples/ is run ---------------------------------------------

torch.set_num_threads(2)

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1,
}

# -- Formulas ------------------------------------------------------------------------------------
# As MathML, which browsers draw, so the site needs no network and no script.


def _mathml(node: nodes.Node, display: str) -> str:
    # The bar of a norm that carries an index would be stretched alone, out of line with the other.
    bar = "&#x02016;</mo>"
    formula = convert(node.astext(), display=display)
    return formula.replace(f"<mo>{bar}", f'<mo stretchy="false">{bar}')


def _inline(self: SphinxTranslator, node: nodes.math) -> None:
    self.body.append(_mathml(node, "inline"))
    raise nodes.SkipNode


def _displayed(self: SphinxTranslator, node: nodes.math_block) -> None:
    formula = _mathml(node, "block")
    self.body.append(f'<div style="margin: 1em 0; overflow: auto hidden">{formula}</div>')
    raise nodes.SkipNode


# -- Docstrings of properties --------------------------------------------------------------------
# Napoleon reads "words: more words" in the docstring of a property as a type and its
# description. Ours are sentences, so they are put back as they were.

_sentences: dict[str, list[str]] = {}


def _keep(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what == "property":
        _sentences[name] = list(lines)


def _put_back(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what == "property":
        lines[:] = _sentences[name]


def setup(app: Sphinx) -> None:
    """Register the writers of formulas, and the hooks around napoleon, whose priority is 500."""
    app.add_html_math_renderer("mathml", (_inline, None), (_displayed, None))
    app.config.html_math_renderer = "mathml"
    app.connect("autodoc-process-docstring", _keep, priority=400)
    app.connect("autodoc-process-docstring", _put_back, priority=600)
