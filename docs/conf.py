"""Sphinx configuration. Nothing here needs a network."""

from __future__ import annotations

import hs_deepatoms

project = "hs_deepatoms"
author = "The hs_deepatoms developers"
copyright = author
release = version = hs_deepatoms.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples"]
html_theme = "pydata_sphinx_theme"
html_title = "hs_deepatoms"
html_show_sourcelink = False
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_gallery",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "show_memory": False,
    "download_all_examples": False,
}
suppress_warnings = ["config.cache"]
