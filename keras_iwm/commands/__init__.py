"""Programs, each a module with a `main`: `keras-iwm NAME` runs it."""
