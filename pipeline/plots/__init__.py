"""Pictures and figures of predictions; they decide no result."""
