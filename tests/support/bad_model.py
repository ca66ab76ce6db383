"""A model that does what its input says, and little of it is good. Logged as code, so that replicas need nothing else.

A row `{"do": DEED}` asks for one of the methods below, `{"do": "leak:20"}` for one with a number. What is not a deed is
only answered.
"""

import contextlib
import ctypes
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import mlflow


class Bad(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.kept = []
        print("the bad model is loaded", flush=True)

    def predict(self, context, model_input, params=None):
        return [self._do(*row["do"].split(":")) for row in model_input.to_dict(orient="records")]

    def _do(self, deed, number="0"):
        method = getattr(self, deed.replace("-", "_"), None)
        return {"pid": os.getpid()} if method is None else method(int(number))

    def tell(self, _number):
        """What it was given to live with."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        torch = sys.modules.get("torch")
        return {
            "pid": os.getpid(),
            "environment": dict(os.environ),
            "files": [soft, hard],
            "core": list(resource.getrlimit(resource.RLIMIT_CORE)),
            "oom_score_adj": Path("/proc/self/oom_score_adj").read_text().strip(),
            "torch_threads": torch.get_num_threads() if torch else None,
            "threads": threading.active_count(),
        }

    def hang(self, _number):
        while True:
            time.sleep(3600)

    def sleep(self, number):
        time.sleep(number)
        return {"pid": os.getpid()}

    def leak(self, number):
        """Keep so many megabytes, and answer."""
        self.kept.append(b"x" * (number << 20))
        return {"pid": os.getpid()}

    def oom(self, _number):
        """Take memory without end, at most 0.8 GB a second: where memory is sampled, nobody can stop it faster."""
        while True:
            self.leak(16)
            time.sleep(0.02)

    def oom_in_a_child(self, _number):
        """Have a process of another session take memory without end."""
        code = "import time\nkept = []\nwhile True: kept.append(b'x' * (16 << 20)) or time.sleep(0.02)"
        subprocess.run([sys.executable, "-c", code], start_new_session=True)
        return {"pid": os.getpid()}

    def segfault(self, _number):
        ctypes.string_at(0)

    def exit(self, _number):
        os._exit(3)

    def fork(self, _number):
        """Fork without end. The forks only stay: if they forked as well, a machine whose cgroups cannot be written to
        would be full before anybody could look."""
        while True:
            try:
                if os.fork() == 0:
                    time.sleep(3600)
            except OSError:
                time.sleep(0.1)

    def leave_a_child(self, _number):
        """Leave a process behind that is in no session of ours, holds all our descriptors and prints without end."""
        child = os.fork()
        if child == 0:
            os.setsid()
            while True:
                os.write(1, b"and on\n" * 1000)
        return {"child": child}

    def threads(self, _number):
        """Start threads without end."""
        while True:
            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()

    def files(self, _number):
        """Open files until it cannot, and say how many it could."""
        opened = []
        try:
            while True:
                opened.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as exc:
            return {"opened": len(opened), "error": exc.strerror}
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def files_kept(self, _number):
        """Open files until it cannot, and keep them."""
        self.kept.append([])
        while True:
            self.kept[-1].append(os.open("/dev/null", os.O_RDONLY))

    def print(self, number):
        """Print so many megabytes."""
        line = b"All work and no play makes this model a dull model.\n"
        for _ in range(number):
            left = line * ((1 << 20) // len(line))
            while left:
                left = left[os.write(1, left) :]
        return {"pid": os.getpid()}

    def close_streams(self, _number):
        """Close standard input, output and error, and go on printing to whatever takes their place."""
        os.closerange(0, 3)
        self.kept.append(threading.Thread(target=self._print_for_ever, daemon=True))
        self.kept[-1].start()
        return {"pid": os.getpid()}

    def _print_for_ever(self):
        while True:
            for descriptor in (0, 1, 2):
                with contextlib.suppress(OSError):
                    os.write(descriptor, b"this is no frame\n" * 10)
            time.sleep(0.01)

    def close_all(self, _number):
        """Close every descriptor there is, our sockets included."""
        os.closerange(0, 1 << 16)
        return {"pid": os.getpid()}

    def not_json(self, _number):
        return object()

    def torch(self, _number):
        """Use every thread that PyTorch would."""
        import torch

        size = 256
        product = torch.rand(size, size) @ torch.rand(size, size)
        return {"pid": os.getpid(), "torch_threads": torch.get_num_threads(), "finite": bool(product.isfinite().all())}


mlflow.models.set_model(Bad())
