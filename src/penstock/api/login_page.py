"""The log-in page: one form, no script, nothing from elsewhere."""

import base64
import hashlib
from html import escape

_STYLE = """
:root { color-scheme: light dark; --edge: #8884; --accent: #0b6e99; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; font: 16px/1.5 system-ui, sans-serif; }
main { width: min(22rem, 100vw - 4rem); padding: 2rem; border: 1px solid var(--edge); border-radius: 12px; }
h1 { margin: 0 0 1rem; font-size: 1.25rem; }
p { margin: 0 0 1rem; }
form { margin: 0; }
label { display: block; margin-bottom: .25rem; font-weight: 600; }
input, button { box-sizing: border-box; width: 100%; padding: .6rem .75rem; font: inherit; border-radius: 8px; }
input { margin-bottom: 1rem; border: 1px solid var(--edge); }
button { border: 0; background: var(--accent); color: #fff; cursor: pointer; }
code { font-size: .9em; }
.message { padding: .5rem .75rem; border-left: 3px solid #c33; background: #c331; }
.hint { margin: 1rem 0 0; font-size: .875rem; opacity: .75; }
"""

_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Penstock</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Penstock</h1>
{content}
</main>
</body>
</html>
"""

_FORM = """{message}<form method="post" action="/login">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button>
</form>
<p class="hint"><code>penstock login</code> prints a link that needs no token; the first token is in the file
<code>token</code> of the home folder.</p>"""

_LOGGED_IN = """<p>You are logged in as <strong>{principal}</strong>.</p>
<p><a href="/mlflow/">Open MLflow</a></p>
<form method="post" action="/logout"><button>Log out</button></form>"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

PAGE_HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
"""What goes with the page: it loads nothing, sits in no frame, and tells nobody its address, which may hold a code."""


def login_page(message: str = "") -> str:
    """The form that asks for a token, below a message if there is one."""
    shown = f'<p class="message" role="alert">{escape(message)}</p>\n' if message else ""
    return _DOCUMENT.format(style=_STYLE, content=_FORM.format(message=shown))


def logged_in_page(principal: str) -> str:
    """Who is logged in, where to go, and how to leave."""
    return _DOCUMENT.format(style=_STYLE, content=_LOGGED_IN.format(principal=escape(principal)))
