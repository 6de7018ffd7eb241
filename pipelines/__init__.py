"""One folder per method; each may be deleted or copied without touching the rest."""
