"""One file per section of the report: `TITLE`, `ORDER`, and `render(results)`, which returns HTML or ""."""
