"""One module a drill, found by its name: its docstring says what will be broken, `run` breaks it on the bench.

No drill knows another. Adding one is adding one file, and the contract test finds it.
"""
