"""Models in processes of their own, which the server owns: for models that hold the interpreter's lock, or may crash.

`runtime` is what the server calls: a `Runtime` whose calls go to worker processes. `supervisor` keeps each worker
running, `process` is one worker as the server sees it, `worker` is what runs in it, and `answering` how that answers
one request; `messages` is what the two say, `values` what a model's operations get and give in them.
Nothing is imported here: a worker imports no part of the server that it does not need.
"""
