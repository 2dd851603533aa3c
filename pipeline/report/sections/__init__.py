"""One file, one section of the report: `TITLE`, `ORDER` and `render(results)`."""
