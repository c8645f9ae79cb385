"""The only room that names a backend."""
