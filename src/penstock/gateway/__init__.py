"""The data plane: one request, from the socket to a replica and back."""
