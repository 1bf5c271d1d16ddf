"""Shows the HTML of a preview in the browser."""

from __future__ import annotations

import base64
import html
import re
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from outspool.api.results.preview import PreviewResult
    from outspool.services.acceptance.attachment_requests import AttachmentRequest

_INLINE = re.compile(r"cid:([\w.@+-]+)")
# Mail programs run no scripts either; what a stranger's text might load stays unloaded.
_POLICY = "default-src 'none'; img-src data: https: http:; style-src 'unsafe-inline'; font-src https: data:"


def open_page(preview: PreviewResult, files: Sequence[AttachmentRequest]) -> None:
    """Write the HTML to a private file, with the inline pictures of `files`, and open it in the browser."""
    folder = Path(tempfile.mkdtemp(prefix="outspool-preview-"))  # for this user alone
    page = folder / "preview.html"
    page.write_text(_build_page(preview, files), encoding="utf-8")
    is_open = webbrowser.open(page.as_uri())
    typer.echo(f"{'Opened' if is_open else 'No browser was found; open this yourself:'} {page}", err=True)


def _build_page(preview: PreviewResult, files: Sequence[AttachmentRequest]) -> str:
    head = (
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{html.escape(preview.subject)}</title>"
    )
    if preview.html is None:
        return f'{head}<pre style="white-space: pre-wrap">{html.escape(preview.text)}</pre>'
    pictures = {file.content_id: _embed(file) for file in files if file.content_id and file.path}
    return head + _INLINE.sub(lambda match: pictures.get(match[1], match[0]), preview.html)


def _embed(file: AttachmentRequest) -> str:
    """Return the picture as a ``data:`` URI."""
    from outspool.domain.attachment import guess_content_type

    content = base64.b64encode(Path(file.path or "").expanduser().read_bytes()).decode()
    return f"data:{guess_content_type(file.filename or '')};base64,{content}"
