"""The data plane: how a call with a key gets in, is counted, and comes to its upstream and back."""
