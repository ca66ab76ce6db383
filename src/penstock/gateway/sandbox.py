"""What MLflow answers is somebody's data, and some of it is HTML: a browser must not run it as a page of ours.

A page that runs under our address could use the session of whoever opened it. So all that MLflow answers is sandboxed,
artifacts above all, on whatever route it may come, except for MLflow's own page and the files that belong to it. The
sandbox takes effect only where an answer is opened as a page: what the UI fetches is not touched.
"""

SANDBOX = ((b"content-security-policy", b"sandbox"), (b"x-content-type-options", b"nosniff"))


def sandbox_of(path: str) -> tuple[tuple[bytes, bytes], ...]:
    """Headers for MLflow's answer on a path of its own, in place of what it sets itself."""
    is_page = path == "/" or path.startswith("/static-files/")
    return () if is_page else SANDBOX
