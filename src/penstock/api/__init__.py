"""The control plane's REST routes: decode, call control, encode."""
