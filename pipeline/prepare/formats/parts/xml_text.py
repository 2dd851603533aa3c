"""The text of an XML file, in the encoding that the file declares."""

import codecs
import re
from pathlib import Path

from pipeline.prepare.formats.parts.objects import TEXT_BYTES, read_bounded

DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)["']""")
#: byte order mark → encoding; UTF-32's begins with that of UTF-16
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
REMEDY = 'Name its encoding in the first line, as in <?xml version="1.0" encoding="gbk"?>, or export it again as UTF-8'


def xml_text(path: Path, limit: int = TEXT_BYTES) -> str:
    """The text of an XML file; ValueError says what is wrong with it.

    A byte order mark decides, then the declaration, then UTF-8. A declaration that can be read byte by byte is not in
    UTF-16, whatever it says: some tools write so.
    """
    content = read_bounded(path, limit)
    marked = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    match = DECLARED.match(content)
    declared = match[1].decode("ascii") if match else None
    wide = declared is not None and re.match(r"(utf|ucs)[-_]?(16|32|2|4)", declared.lower()) is not None
    encoding = marked or ("utf-8" if declared is None or wide else declared)
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise ValueError(f"declares an unknown encoding, {encoding}. Export it again as UTF-8") from error
    except ValueError as error:
        raise ValueError(f"is not {encoding.upper()} text, as it {_why(declared, marked)}. {REMEDY}") from error


def _why(declared: str | None, marked: str | None) -> str:
    if marked:
        return "should be by its byte order mark"
    return "declares" if declared else "should be without a declared encoding"
