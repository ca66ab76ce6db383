"""`penstock login`: a link that logs a browser in."""

from urllib.parse import urlencode

from penstock.cli.session import HomeOption, JsonOption, command, print_json, running_stack
from penstock.client.api import ApiClient


def login_link(api: ApiClient, url: str) -> str:
    """A link below a stack's address for clients; whoever opens it first, within ten minutes, is logged in."""
    code = api.call("POST", "/api/2.0/penstock/login-codes")["code"]
    return f"{url}/login?{urlencode({'code': code})}"


@command
def login(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Print a link that logs a browser in, once, within ten minutes."""
    stack = running_stack(home)
    link = login_link(ApiClient(stack.local_url, stack.token), stack.url)
    if as_json:
        print_json({"url": link})
    else:
        print(link)
