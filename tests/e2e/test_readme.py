"""The README's example runs as it is printed."""

import json
import re
import subprocess
import sys
from pathlib import Path

from support.stack import Stack, clean_environment, penstock

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_readme_example(stack: Stack, tmp_path: Path) -> None:
    register, serve = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "register.py").write_text(register)
    (tmp_path / "serve.py").write_text(serve)
    query = next(block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "curl" in block)
    script = penstock("env", home=stack.home).stdout + query
    path = f"{Path(sys.executable).parent}:{clean_environment()['PATH']}"
    try:
        result = subprocess.run(
            ["bash", "-euc", script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=180,
            env=clean_environment({"PATH": path}),
        )
        assert result.returncode == 0, result.stderr
        said = next(block for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL))
        assert json.loads(result.stdout.strip().splitlines()[-1]) == json.loads(said)
    finally:
        stack.call("DELETE", "/api/2.0/serving-endpoints/iris")
