"""The spool: what was asked and answered, on disk before the answer leaves. `docs/spool-format.md` tells its bytes."""
