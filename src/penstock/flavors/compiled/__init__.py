"""The compiled input: decided once, from a model's signature, how a body becomes what the model predicts on.

    body --envelope--> format, content --formats--> rows of a layout --columns--> an Input
    [Input, ...] --layout--> DataFrame or matrix          (column signatures, table.py)
    [Input, ...] --tensors--> ndarray or dict of ndarrays (tensor signatures)

The rule that makes it MLflow's equal: it takes only what it positively recognises, and says None to everything else,
which then goes to MLflow's own code, byte for byte. So errors, odd conversions and messages are MLflow's. Of what it
takes, the result has the values, types, column order, index and memory layout that MLflow's parsing and schema
enforcement would have given. `tests/fuzz/test_compiled_input.py` compares the two.
"""
