"""The files of the documentation site: a hook of mkdocs, named in mkdocs.yml.

Pages keep their paths in the repository, so that a link works on the site as it does in a checkout.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("*.md", "docs/*.md", "data/*.md", "bench/results/*.md")
LINK = re.compile(r"\]\(<?([^)#:\s>]+)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Every page of PAGES, and the files that a page links to, in place of the docs folder."""
    found = {path for pattern in PAGES for path in ROOT.glob(pattern)}
    for page in sorted(found):
        targets = LINK.findall(page.read_text(encoding="utf-8"))
        found |= {file for t in targets if (file := (page.parent / t).resolve()).is_file()}
    theme = [file for file in files if file.abs_src_path and "docs" not in file.abs_src_path]
    own = [
        File.generated(
            config,
            path.relative_to(ROOT).as_posix(),
            abs_src_path=str(path),
            inclusion=InclusionLevel.INCLUDED,
        )
        for path in sorted(found)
    ]
    return Files([*theme, *own])
