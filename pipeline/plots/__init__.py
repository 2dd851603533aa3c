"""Pictures and figures of predictions; no result depends on them."""
